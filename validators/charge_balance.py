"""Charge balance: can the elements of the integer reduced formula take known oxidation states that sum to zero?

The test is SMACT's (Davies et al., J. Open Source Softw. 4, 1361 (2019)) with its default settings: oxidation
states of the ICSD 2024 list seen at least three times, and Pauling's rule that every cation is less
electronegative than every anion. It is solved exactly: Pauling's rule splits the elements, in order of
electronegativity, into cations and anions, and for each split the reachable sums of charges are counted up. So
there is no number of atoms above which a mixed-valence compound would be given up.

That list is long, so that half of all nonsense can be balanced. The charges must also be ones that are common
enough in known compounds (`invdesign.chemistry.charge_states`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from invdesign.chemistry.charge_states import ChargeStates, in_words, listed_states, load_charge_states
from invdesign.chemistry.composition import integer_composition
from invdesign.chemistry.oxidation import metals
from invdesign.element_classes import CLASSES
from invdesign.elements import SYMBOLS, atomic_number
from invdesign.records import Evaluation, Status, Verdict

COVALENT_METALLIC = frozenset({5, 6, 14})
"""B, C and Si: their compounds with metals are as a rule metallic, and the rule rejects a quarter to half of the
known ones that hold no other non-metal."""
PNICTOGENS = frozenset({7, 15, 33})
"""N, P and As: their compounds are metallic where atoms of transition metals are more than theirs (Fe4N, Ni2P)."""

POLYANIONS: dict[int, dict[int, tuple[int, str]]] = {
    7: {3: (1, "an azide")},
    8: {2: (1, "a superoxide"), 3: (1, "an ozonide")},
    16: dict.fromkeys(range(2, 7), (2, "a polysulfide")),
    34: dict.fromkeys(range(2, 7), (2, "a polyselenide")),
    52: dict.fromkeys(range(2, 7), (2, "a polytelluride")),
    53: {3: (1, "a triiodide")},
}
"""Anions of several atoms of one element that are bonded to each other, as alkali and alkaline earth metals form
them: by atomic number and number of atoms, the charge and what its compound is called. Greenwood and Earnshaw,
Chemistry of the Elements, 2nd ed. (1997), chapters 4, 5, 11 and 14 to 17."""
_IONIC = {atomic_number(name): 1 for name in CLASSES["alkali_metals"]} | {
    atomic_number(name): 2 for name in CLASSES["alkaline_earth_metals"]
}


LEAST_LIKELY = 0.015
"""Likelihood below which charges are too uncommon. With shares learnt from other chemical systems, 91 % of the
known compositions pass or are not judged, and 69 % of those with their counts exchanged fail
(`benchmarks/validators.py`)."""
_TRANSITION = frozenset(atomic_number(name) for name in CLASSES["transition_metals"])


@dataclass(frozen=True)
class ChargeBalance:
    """Judges the composition only.

    PASS: one oxidation state per element balances, or, for mixed-valent elements, two, or an alkali or alkaline
    earth metal balances a polyanion such as O2- and N3- (the reason says so). FAIL: none does, or only oxidation
    states that are too uncommon. UNKNOWN: the question does not apply (an element; only metals; a metallic boride,
    carbide or silicide, or metal-rich nitride, phosphide or arsenide, that does not balance), or an element has no
    known oxidation state.

    Attributes:
        mixed_valence: whether atoms of one mixed-valent element may have different charges (Fe3O4).
        least_likely: smallest likelihood of charges that pass; 0 lets all listed oxidation states pass.
        states: how common oxidation states are (None: the shipped table).
    """

    name: ClassVar[str] = "charge_balance"
    mixed_valence: bool = True
    least_likely: float = LEAST_LIKELY
    states: ChargeStates | None = None

    def check(self, row: Evaluation) -> Verdict:
        """Judge the composition of the row's crystal."""
        composition = tuple(integer_composition(row.crystal.numbers).items())
        return Verdict(self.name, *_judge(composition, self))


@lru_cache(maxsize=100_000)
def _judge(composition: tuple[tuple[int, int], ...], rule: ChargeBalance) -> tuple[Status, str]:
    elements = {number for number, _ in composition}
    if len(elements) == 1:
        return Status.UNKNOWN, "an element: there is no charge to balance"
    if elements <= metals():
        return Status.UNKNOWN, "intermetallic: charges are not counted in a metal"
    if lacking := sorted(elements - listed_states().keys()):
        names = ", ".join(SYMBOLS[number - 1] for number in lacking)
        return Status.UNKNOWN, f"no known oxidation states: {names}"
    found = (rule.states or load_charge_states()).most_likely(dict(composition), rule.mixed_valence)
    if found is not None and math.exp(found[0]) >= rule.least_likely:
        mixed = any(len(states) > 1 for _, states in found[1])
        return Status.PASS, "balanced with mixed valence" if mixed else ""
    if kind := polyanion(dict(composition)):
        return Status.PASS, f"balanced as {kind}"
    if kind := metallic(dict(composition)):
        return Status.UNKNOWN, f"metallic {kind}: charges do not decide"
    if found is None:
        return Status.FAIL, "no combination of known oxidation states is neutral and obeys Pauling's rule"
    return Status.FAIL, f"neutral only with uncommon charges: {in_words(found[1])}"


def metallic(composition: dict[int, int]) -> str:
    """What compounds are called that are metallic although they hold non-metals; empty if it is none of them.

    Args:
        composition: atomic number to count.
    """
    others = composition.keys() - metals()
    if len(others) == len(composition):
        return ""
    if others <= COVALENT_METALLIC:
        return "boride, carbide or silicide"
    transition = sum(count for number, count in composition.items() if number in _TRANSITION)
    if others <= COVALENT_METALLIC | PNICTOGENS and transition > sum(composition[z] for z in others & PNICTOGENS):
        return "nitride, phosphide or arsenide, rich in metal"
    return ""


def polyanion(composition: dict[int, int]) -> str:
    """What a compound of alkali and alkaline earth metals with one of the :data:`POLYANIONS` is called; empty if
    it is none.

    Args:
        composition: atomic number to count.
    """
    positive = sum(_IONIC[number] * count for number, count in composition.items() if number in _IONIC)
    others = composition.keys() - _IONIC.keys()
    if len(others) != 1 or not positive:
        return ""
    (anion,) = others
    for size, (charge, name) in POLYANIONS.get(anion, {}).items():
        if positive * size == charge * composition[anion]:
            return name
    return ""
