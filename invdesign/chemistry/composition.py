"""Compositions in reduced integers, and the formulas and chemical systems written from them.

Every question about a composition (charge balance, leakage between splits, the hull) is asked of the reduced
integer composition, so that Li2Co2O4 and LiCoO2 are the same substance and get the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.electronegativity import allred
from invdesign.elements import SYMBOLS, symbol

_KEPT_DOUBLE = {
    "LiO": "Li2O2", "NaO": "Na2O2", "KO": "K2O2", "RbO": "Rb2O2", "CsO": "Cs2O2", "HO": "H2O2",
    "O": "O2", "N": "N2", "F": "F2", "Cl": "Cl2", "H": "H2",
}  # fmt: skip
"""Formulas that convention writes as the molecule or peroxide, not fully reduced."""

_POLYANION_GAP = 1.65


def reduced_formula(numbers: Iterable[int] | NDArray[np.int64]) -> str:
    """Write the reduced formula of a cell in pymatgen's convention: `TiB2`, `Ca3(PO4)2`, `O2`.

    Elements stand in order of electronegativity (then of their symbols). Where three or more elements end in
    two that differ by less than 1.65 and occur as a multiple, those two are bracketed as a polyanion.

    Args:
        numbers: (n_sites,) atomic numbers, in any order.

    Raises:
        InputError: if a number is not an atomic number.
    """
    return _formula(tuple(integer_composition(numbers).items()))


def integer_composition(numbers: Iterable[int] | NDArray[np.int64]) -> dict[int, int]:
    """Count the atoms of each element and divide by the greatest common divisor.

    Args:
        numbers: (n_sites,) atomic numbers, in any order.

    Returns:
        Atomic number to count, in increasing order of atomic number; empty for no atoms.
    """
    found, counts = np.unique(_array(numbers), return_counts=True)
    divisor = math.gcd(*counts.tolist()) or 1
    return {z: count // divisor for z, count in zip(found.tolist(), counts.tolist(), strict=True)}


def chemical_system(numbers: Iterable[int] | NDArray[np.int64]) -> str:
    """The elements of a cell as alphabetically sorted symbols: `B-N-Ti`.

    Raises:
        InputError: if a number is not an atomic number.
    """
    return _system(tuple(sorted(set(_array(numbers).tolist()))))


@lru_cache(maxsize=262_144)
def _formula(composition: tuple[tuple[int, int], ...]) -> str:
    amounts = {symbol(z): count for z, count in composition}
    text = _written(amounts)
    return _KEPT_DOUBLE.get(text, text)


@lru_cache(maxsize=262_144)
def _system(numbers: tuple[int, ...]) -> str:
    return "-".join(sorted(symbol(z) for z in numbers))


def _written(amounts: Mapping[str, int]) -> str:
    scale = _electronegativities()
    order = sorted(amounts, key=lambda s: (scale[s], s))
    anion = ""
    if len(order) >= 3 and scale[order[-1]] - scale[order[-2]] < _POLYANION_GAP:
        multiple = math.gcd(amounts[order[-1]], amounts[order[-2]])
        if multiple > 1:
            anion = f"({_joined(order[-2:], amounts, multiple)}){multiple}"
            order = order[:-2]
    return _joined(order, amounts, 1) + anion


def _joined(symbols: list[str], amounts: Mapping[str, int], divisor: int) -> str:
    counts = ((s, amounts[s] // divisor) for s in symbols)
    return "".join(s if count == 1 else f"{s}{count}" for s, count in counts)


@cache
def _electronegativities() -> dict[str, float]:
    """By symbol; elements without one stand last in a formula."""
    return dict(zip(SYMBOLS, np.nan_to_num(allred()[1:], nan=math.inf).tolist(), strict=True))


def _array(numbers: Iterable[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(numbers if isinstance(numbers, np.ndarray) else list(numbers), dtype=np.int64)
