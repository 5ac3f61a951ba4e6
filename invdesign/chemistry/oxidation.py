"""Oxidation states, metals and mixed valence as SMACT lists them, and its own test: every call of SMACT.

Davies et al., J. Open Source Softw. 4, 1361 (2019).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

from invdesign.chemistry.composition import integer_composition
from invdesign.elements import SYMBOLS, atomic_number, atomic_numbers, symbol

ALSO_MIXED_VALENT = frozenset({45, 49, 59, 65, 77, 78, 81, 82})
"""Rh, In, Pr, Tb, Ir, Pt, Tl, Pb: mixed-valent in known compounds (Pr6O11, Tb4O7, Pb3O4), not in SMACT's list."""


@cache
def oxidation_states() -> dict[int, tuple[int, ...]]:
    """Non-zero oxidation states by atomic number: those of the ICSD 2024 list seen at least three times."""
    from smact.utils.oxidation import ICSD24OxStatesFilter

    table = ICSD24OxStatesFilter().filter(consensus=3, include_zero=False, commonality="low")
    return {
        atomic_number(row.element): tuple(int(q) for q in str(row.oxidation_state).split())
        for row in table.itertuples()
    }


@cache
def metals() -> frozenset[int]:
    """The metals of SMACT's list (Ge and Sb among them), and Pm, which it lacks."""
    from smact import metals as listed

    return atomic_numbers(name for name in listed if name in SYMBOLS) | {61}


@cache
def mixed_valent() -> frozenset[int]:
    """Elements whose atoms may differ in charge within one compound: SMACT's list and `ALSO_MIXED_VALENT`."""
    from smact.screening import MIXED_VALENCE_ELEMENTS

    return atomic_numbers(MIXED_VALENCE_ELEMENTS) | ALSO_MIXED_VALENT


def smact_valid(numbers: Iterable[int]) -> bool:
    """Charge balance by the installed SMACT with its default settings, on the integer reduced formula.

    Args:
        numbers: atomic numbers, one per atom.
    """
    return _smact(tuple(integer_composition(numbers).items()), None)


def smact14_valid(numbers: Iterable[int]) -> bool:
    """The same with SMACT's oxidation states of 2014, its default when CDVAE was published."""
    return _smact(tuple(integer_composition(numbers).items()), "smact14")


@lru_cache(maxsize=100_000)
def _smact(composition: tuple[tuple[int, int], ...], states: str | None) -> bool:
    from pymatgen.core import Composition
    from smact.screening import smact_validity

    return bool(smact_validity(Composition({symbol(z): n for z, n in composition}), oxidation_states_set=states))
