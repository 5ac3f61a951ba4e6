"""Bonding classes: how far the empirical formulas for hardness and toughness hold for a kind of compound.

The correction and the scatter of each class were fitted to measured hardnesses (`benchmarks/hardness.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign.elements import atomic_number

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BondingClass:
    """How far the formulas hold for one kind of bonding.

    Attributes:
        name: the class.
        label: in words.
        hardness_shift: median of log10(measured / Mazhnik-Oganov hardness).
        hardness_scatter: robust standard deviation of the same.
        toughness_scatter: standard deviation of log10 of measured over estimated fracture toughness.
        note: what to keep in mind, for reports.
    """

    name: str
    label: str
    hardness_shift: float
    hardness_scatter: float
    toughness_scatter: float
    note: str = ""


DUCTILE = "toughness is a lower bound (no plasticity in the formula)"
"""The note of classes whose toughness comes mostly from plasticity."""
BONDING_CLASSES: dict[str, BondingClass] = {
    c.name: c
    for c in (
        BondingClass("refractory", "boride, carbide, nitride", -0.04, 0.22, 0.15),
        BondingClass("metalloid", "silicide, germanide, pnictide", -0.09, 0.20, 0.20),
        BondingClass("oxide", "oxide", 0.00, 0.30, 0.20),
        BondingClass("chalcogenide", "semiconducting chalcogenide", -0.53, 0.25, 0.25),
        BondingClass("ionic", "ionic crystal", -0.36, 0.22, 0.25, "slips easily: hardness formulas overestimate"),
        BondingClass("intermetallic", "intermetallic compound", -0.17, 0.26, 0.40, DUCTILE),
        BondingClass("metal", "elemental metal", -0.89, 0.28, 0.50, DUCTILE),
    )
}

_GROUPS = (
    ("F", "Cl", "Br", "I"),
    ("O", "S", "Se", "Te"),
    ("B", "C", "N"),
    ("Si", "P", "Ge", "As", "Sb", "H", "He", "Ne", "Ar", "Kr", "Xe", "At", "Rn", "Po", "Ts", "Og"),
    ("Li", "Na", "K", "Rb", "Cs", "Fr", "Mg", "Ca", "Sr", "Ba", "Ra"),
    ("O",),
)
"""Halogens, chalcogens, light nonmetals, metalloids and the rest of the nonmetals, easy cations, oxygen."""


def bonding_class(numbers: ArrayLike, band_gap: float | None = None) -> BondingClass:
    """The kind of bonding that decides how well hardness formulas hold.

    Composition decides, by the shares of nonmetals and by the cations; the band gap (eV) tells metallic
    chalcogenides from semiconducting ones where it is known.

    Args:
        numbers: atomic numbers, one per atom.
        band_gap: predicted or computed band gap, eV.
    """
    return BONDING_CLASSES[_class_name(np.asarray(numbers, dtype=np.int64), band_gap)]


def _class_name(numbers: NDArray[np.int64], band_gap: float | None) -> str:
    halogen, chalcogen, light, metalloid, easy, oxygen = _membership()[:, numbers].mean(axis=1).tolist()
    nonmetal = halogen + chalcogen + light + metalloid
    cations = 1.0 - halogen - chalcogen
    if halogen >= 0.2:
        return "ionic"
    if nonmetal < 0.22:
        return "metal" if (numbers == numbers[0]).all() else "intermetallic"
    if chalcogen >= 0.3:
        if cations > 0 and easy / cations >= 0.45:
            return "ionic"
        if oxygen >= 0.3:
            return "oxide"
        return "metalloid" if band_gap is not None and band_gap < 0.1 else "chalcogenide"
    return "refractory" if light >= 0.5 * nonmetal else "metalloid"


@cache
def _membership() -> Array:
    """(6, 119): one where an atomic number belongs to that group."""
    mask = np.zeros((len(_GROUPS), 119))
    for row, group in enumerate(_GROUPS):
        mask[row, [atomic_number(symbol) for symbol in group]] = 1.0
    return mask
