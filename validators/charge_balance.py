"""Charge balance: can the elements of the integer reduced formula take known oxidation states that sum to zero?

The test is SMACT's (Davies et al., J. Open Source Softw. 4, 1361 (2019)) with its default settings: oxidation
states of the ICSD 2024 list seen at least three times, and Pauling's rule that every cation is less
electronegative than every anion. It is solved exactly: Pauling's rule splits the elements, in order of
electronegativity, into cations and anions, and for each split the reachable sums of charges are counted up. So
there is no number of atoms above which a mixed-valence compound would be given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import ClassVar

import numpy as np

from invdesign.chemistry.composition import integer_composition
from invdesign.chemistry.electronegativity import pauling
from invdesign.chemistry.oxidation import metals, mixed_valent, oxidation_states
from invdesign.element_classes import CLASSES
from invdesign.elements import SYMBOLS, atomic_number
from invdesign.records import Evaluation, Status, Verdict

COVALENT_METALLIC = frozenset({5, 6, 14})
"""B, C and Si: their compounds with metals are as a rule metallic, and the rule rejects a quarter to half of the
known ones that hold no other non-metal."""


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


@dataclass(frozen=True)
class ChargeBalance:
    """Judges the composition only.

    PASS: one oxidation state per element balances, or, for mixed-valent elements, several, or an alkali or
    alkaline earth metal balances a polyanion such as O2- and N3- (the reason says so). FAIL: none does. UNKNOWN:
    the question does not apply (an element; only metals; a metallic boride, carbide or silicide that does not
    balance), or an element has no known oxidation state.

    Attributes:
        mixed_valence: whether atoms of one mixed-valent element may have different charges (Fe3O4).
    """

    name: ClassVar[str] = "charge_balance"
    mixed_valence: bool = True

    def check(self, row: Evaluation) -> Verdict:
        """Judge the composition of the row's crystal."""
        composition = tuple(integer_composition(row.crystal.numbers).items())
        status, reason = _judge(composition, self.mixed_valence)
        return Verdict(self.name, status, reason)


@lru_cache(maxsize=100_000)
def _judge(composition: tuple[tuple[int, int], ...], mixed_valence: bool) -> tuple[Status, str]:
    elements = {number for number, _ in composition}
    if len(elements) == 1:
        return Status.UNKNOWN, "an element: there is no charge to balance"
    if elements <= metals():
        return Status.UNKNOWN, "intermetallic: charges are not counted in a metal"
    if lacking := sorted(elements - _oxidation_states().keys()):
        names = ", ".join(SYMBOLS[number - 1] for number in lacking)
        return Status.UNKNOWN, f"no known oxidation states: {names}"
    if balances(dict(composition)):
        return Status.PASS, ""
    if mixed_valence and balances(dict(composition), mixed_valence=True):
        return Status.PASS, "balanced with mixed valence"
    if kind := polyanion(dict(composition)):
        return Status.PASS, f"balanced as {kind}"
    if elements & metals() and elements - metals() <= COVALENT_METALLIC:
        return Status.UNKNOWN, "metallic boride, carbide or silicide: charges do not decide"
    return Status.FAIL, "no combination of known oxidation states is neutral and obeys Pauling's rule"


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


def balances(composition: dict[int, int], mixed_valence: bool = False) -> bool:
    """Whether known oxidation states of the elements can sum to zero with cations below anions (Pauling).

    Args:
        composition: atomic number to count; every element must have known oxidation states.
        mixed_valence: whether atoms of an element that can be mixed-valent may differ in charge.
    """
    states, electronegativity = _oxidation_states(), pauling()
    order = sorted(composition, key=electronegativity.__getitem__)
    for split in range(1, len(order)):
        if electronegativity[order[split - 1]] >= electronegativity[order[split]]:
            continue
        sums = {0}
        for rank, number in enumerate(order):
            signed = [q for q in states[number] if (q > 0) == (rank < split)]
            several = mixed_valence and number in mixed_valent()
            totals = _totals(signed, composition[number], several)
            sums = {a + b for a in sums for b in totals}
        if 0 in sums:
            return True
    return False


def _totals(states: list[int], count: int, several: bool) -> set[int]:
    """Charges that `count` atoms can have together, all in one state or each in its own."""
    if not several:
        return {state * count for state in states}
    totals = {0}
    for _ in range(count):
        totals = {total + state for total in totals for state in states}
    return totals


@cache
def _oxidation_states() -> dict[int, tuple[int, ...]]:
    """Non-zero oxidation states by atomic number, for elements that also have an electronegativity."""
    return {number: found for number, found in oxidation_states().items() if np.isfinite(pauling()[number])}
