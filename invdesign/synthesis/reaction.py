"""The reaction of a set of precursors to a target: balanced, with the gases it releases or takes up.

Precursors bring every element but hydrogen, nitrogen and oxygen in the amounts of the target; what they bring
beyond it leaves as gas: carbon as CO2, ammonium as NH3, nitrate as NO2, halogens as HX or X2, sulfur as SO2,
hydrogen as H2O. What is missing of nitrogen and oxygen is taken up as N2 and O2, whatever gas the firing has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from invdesign.synthesis.formulas import GASEOUS, Amounts, key_of

_HALOGENS = ("F", "Cl", "Br", "I")
_TOLERANCE = 1e-4


GASES: dict[str, dict[str, float]] = {
    "O2": {"O": 2}, "N2": {"N": 2}, "H2": {"H": 2}, "Cl2": {"Cl": 2}, "Br2": {"Br": 2}, "I2": {"I": 2},
    "F2": {"F": 2}, "CO2": {"C": 1, "O": 2}, "H2O": {"H": 2, "O": 1}, "NH3": {"N": 1, "H": 3},
    "NO2": {"N": 1, "O": 2}, "HCl": {"H": 1, "Cl": 1}, "HBr": {"H": 1, "Br": 1}, "HI": {"H": 1, "I": 1},
    "HF": {"H": 1, "F": 1}, "SO2": {"S": 1, "O": 2},
}  # fmt: skip
"""Gases that reactions take up and release, with their atoms."""


def equation(precursors: Mapping[str, Amounts], formula: str, target: Amounts) -> str:
    """The balanced reaction to one formula unit of a target: `BaCO3 + TiO2 → BaTiO3 + CO2`.

    Args:
        precursors: formula of each to its amounts.
        formula: of the target, as it is to be written.
        target: its amounts.

    Returns:
        empty if the precursors cannot give the target in any amounts.
    """
    amounts = balance(list(precursors.values()), target)
    if amounts is None:
        return ""
    gases = _gases(amounts, list(precursors.values()), target)
    left = [*zip(precursors, amounts, strict=True), *((name, -n) for name, n in gases.items() if n < 0.0)]
    right = [(formula, 1.0), *((name, n) for name, n in gases.items() if n > 0.0)]
    return " → ".join(" + ".join(_term(*part) for part in side) for side in (left, right))


class Objection(IntEnum):
    """What speaks against a set of precursors, the least first."""

    NONE = 0
    REDUCTION = 1
    """A target without oxygen from oxides: a reducing agent is needed, which the equation does not name."""
    IMPLAUSIBLE = 2
    """The target itself as precursor, a halogen set free as F2, or a target without oxygen that takes O2 up."""
    UNBALANCED = 3
    """No amounts of the precursors give the target."""


def objection(precursors: Sequence[Amounts], target: Amounts) -> Objection:
    """What speaks against a set of precursors for a target, by its balanced reaction."""
    amounts = balance(precursors, target)
    if amounts is None:
        return Objection.UNBALANCED
    gases = _gases(amounts, precursors, target)
    oxygen = 0.0 if "O" in target else gases.get("O2", 0.0)
    if oxygen < 0.0 or "F2" in gases or key_of(target) in map(key_of, precursors):
        return Objection.IMPLAUSIBLE
    return Objection.REDUCTION if oxygen > 0.0 else Objection.NONE


def _term(formula: str, amount: float) -> str:
    return formula if abs(amount - 1.0) < 5e-4 else f"{amount:.3g} {formula}"


def balance(precursors: Sequence[Amounts], target: Amounts) -> list[float] | None:
    """Amounts of the precursors for one formula unit of the target, all positive; None if there are none.

    Where several amounts would do (two precursors of one element), the most even ones are taken.
    """
    from scipy.optimize import nnls

    rows = sorted(set(target) - GASEOUS)
    if not rows or not precursors:
        return None
    matrix = np.array([[phase.get(name, 0.0) for phase in precursors] for name in rows])
    wanted = np.array([target[name] for name in rows])
    evenness = 1e-4 * np.eye(len(precursors))
    found, _ = nnls(np.vstack([matrix, evenness]), np.concatenate([wanted, np.zeros(len(precursors))]))
    if np.abs(matrix @ found - wanted).max() > _TOLERANCE * wanted.max() or found.min() < 1e-6:
        return None
    return [float(amount) for amount in found]


def _gases(amounts: Sequence[float], precursors: Sequence[Amounts], target: Amounts) -> dict[str, float]:
    """Gases released (positive) and taken up (negative), molecules per formula unit of the target."""
    left: dict[str, float] = {}
    ammonium = 0.0
    for amount, phase in zip(amounts, precursors, strict=True):
        for name, count in phase.items():
            left[name] = left.get(name, 0.0) + amount * count
        if phase.get("H", 0.0) >= 3.0 * phase.get("N", 0.0) > 0.0:
            ammonium += amount * phase["N"]
    for name, count in target.items():
        left[name] = left.get(name, 0.0) - count
    oxygen = any("O" in phase for phase in precursors)
    gas = _Gas(left, {})
    gas.release("NH3", min(ammonium, max(gas.of("N"), 0.0)))
    gas.release("NO2", max(gas.of("N"), 0.0))
    gas.release("N2", gas.of("N") / 2.0)
    gas.release("CO2", gas.of("C"))
    gas.release("SO2", gas.of("S"))
    for name in _HALOGENS:
        gas.release(f"H{name}", max(min(gas.of(name), gas.of("H")), 0.0))
        gas.release(f"{name}2", gas.of(name) / 2.0)
    water = oxygen if gas.of("H") > 0.0 else "O" in target
    gas.release("H2O" if water else "H2", gas.of("H") / 2.0)
    gas.release("O2", gas.of("O") / 2.0)
    return {name: molecules for name, molecules in gas.released.items() if abs(molecules) > _TOLERANCE}


@dataclass(frozen=True)
class _Gas:
    """What is left of each element, and the molecules released so far (negative: taken up)."""

    left: dict[str, float]
    released: dict[str, float]

    def of(self, name: str) -> float:
        """Atoms of an element that are left."""
        return self.left.get(name, 0.0)

    def release(self, gas: str, molecules: float) -> None:
        """Let some molecules go."""
        self.released[gas] = self.released.get(gas, 0.0) + molecules
        for name, count in GASES[gas].items():
            self.left[name] = self.of(name) - molecules * count
