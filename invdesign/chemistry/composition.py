"""Compositions in reduced integers, and the formulas and chemical systems written from them.

Every question about a composition (charge balance, leakage between splits, the hull) is asked of the reduced
integer composition, so that Li2Co2O4 and LiCoO2 are the same substance and get the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.elements import SYMBOLS, symbol

_ELECTRONEGATIVITY = (
    2.20, math.inf, 0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, math.inf, 0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16,
    math.inf, 0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96,
    3.00, 0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 1.90, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66,
    2.60, 0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 1.13, 1.17, 1.20, 1.20, 1.10, 1.22, 1.23, 1.24, 1.25, 1.10, 1.27,
    1.30, 1.50, 2.36, 1.90, 2.20, 2.20, 2.28, 2.54, 2.00, 1.62, 2.33, 2.02, 2.00, 2.20, 2.20, 0.70, 0.90, 1.10,
    1.30, 1.50, 1.38, 1.36, 1.28, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30, 1.30,
    *(math.inf,) * 15,
)  # fmt: skip
"""Pauling electronegativities in order of atomic number (infinite where there is none), as in pymatgen."""

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
    order = sorted(amounts, key=lambda s: (_PAULING[s], s))
    anion = ""
    if len(order) >= 3 and _PAULING[order[-1]] - _PAULING[order[-2]] < _POLYANION_GAP:
        multiple = math.gcd(amounts[order[-1]], amounts[order[-2]])
        if multiple > 1:
            anion = f"({_joined(order[-2:], amounts, multiple)}){multiple}"
            order = order[:-2]
    return _joined(order, amounts, 1) + anion


def _joined(symbols: list[str], amounts: Mapping[str, int], divisor: int) -> str:
    counts = ((s, amounts[s] // divisor) for s in symbols)
    return "".join(s if count == 1 else f"{s}{count}" for s, count in counts)


_PAULING = dict(zip(SYMBOLS, _ELECTRONEGATIVITY, strict=True))


def _array(numbers: Iterable[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(numbers if isinstance(numbers, np.ndarray) else list(numbers), dtype=np.int64)
