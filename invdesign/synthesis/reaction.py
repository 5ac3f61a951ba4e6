"""The reaction of a set of precursors to a target: balanced, with the gases it releases or takes up, and its energy.

Precursors bring every element but hydrogen, nitrogen and oxygen in the amounts of the target; what they bring beyond
it leaves as gas: carbon as CO2, ammonium as NH3, nitrate as NO2, halogens as HX or X2, sulfur as SO2, hydrogen as
H2O. Oxygen is balanced by the atmosphere: O2, or H2 and CO where these reduce.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from invdesign.synthesis import thermo
from invdesign.synthesis.formulas import GASEOUS, Amounts

_HALOGENS = ("F", "Cl", "Br", "I")
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Phase:
    """A solid that takes part.

    Attributes:
        formula: as written.
        amounts: of its elements, per formula unit.
        formation_energy: eV/atom, MP2020 scheme; NaN if not known.
        volume: Å³/atom; NaN if not known.
    """

    formula: str
    amounts: Mapping[str, float]
    formation_energy: float = math.nan
    volume: float = math.nan


@dataclass(frozen=True)
class Reaction:
    """A balanced reaction to one formula unit of the target.

    Attributes:
        reactants: formula and amount of what goes in, gases taken up included.
        products: the target, then the gases released.
        temperature: at which the energy holds, °C.
        atmosphere: whose partial pressures were used.
        energy: reaction free energy, eV per atom of the target; negative drives the reaction. NaN if not known.
        missing: why there is no energy, empty if there is one.
    """

    reactants: tuple[tuple[str, float], ...]
    products: tuple[tuple[str, float], ...]
    temperature: float
    atmosphere: str
    energy: float = math.nan
    missing: str = ""

    @property
    def equation(self) -> str:
        """`BaCO3 + TiO2 → BaTiO3 + CO2`."""
        return " → ".join(" + ".join(_term(*part) for part in side) for side in (self.reactants, self.products))


def _term(formula: str, amount: float) -> str:
    return formula if abs(amount - 1.0) < 5e-4 else f"{amount:.3g} {formula}"


def react(precursors: Sequence[Phase], target: Phase, celsius: float, atmosphere: str = "air") -> Reaction | None:
    """Balance a reaction and compute its free energy.

    Args:
        precursors: the solids that are mixed.
        target: what is to be made; an unknown energy leaves the reaction without one.
        celsius: firing temperature.
        atmosphere: one of `invdesign.synthesis.thermo.PRESSURES`.

    Returns:
        None if the precursors cannot give the target in any amounts.
    """
    amounts = balance([phase.amounts for phase in precursors], target.amounts)
    if amounts is None:
        return None
    released = _gases(amounts, [phase.amounts for phase in precursors], target.amounts, atmosphere)
    taken = {name: -amount for name, amount in released.items() if amount < -_TOLERANCE}
    given = {name: amount for name, amount in released.items() if amount > _TOLERANCE}
    energy, missing = _energy(precursors, amounts, target, released, celsius + thermo.KELVIN, atmosphere)
    return Reaction(
        reactants=tuple((p.formula, a) for p, a in zip(precursors, amounts, strict=True)) + tuple(taken.items()),
        products=((target.formula, 1.0), *given.items()),
        temperature=celsius,
        atmosphere=atmosphere,
        energy=energy,
        missing=missing,
    )


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


def _gases(
    amounts: Sequence[float], precursors: Sequence[Amounts], target: Amounts, atmosphere: str
) -> dict[str, float]:
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
    gas = _Gas(left, {})
    gas.release("NH3", min(ammonium, max(gas.of("N"), 0.0)))
    gas.release("NO2", max(gas.of("N"), 0.0))
    if atmosphere == "ammonia":
        gas.exchange("NH3", gas.of("N"), "H2", -1.5 * gas.of("N"))
    gas.release("N2", gas.of("N") / 2.0)
    gas.release("CO2", gas.of("C"))
    gas.release("SO2", gas.of("S"))
    for name in _HALOGENS:
        if f"H{name}" in thermo.GASES:
            gas.release(f"H{name}", max(min(gas.of(name), gas.of("H")), 0.0))
        gas.release(f"{name}2", gas.of(name) / 2.0)
    gas.release("H2O" if "O" in left else "H2", gas.of("H") / 2.0)
    _balance_oxygen(gas, atmosphere)
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
        for name, count in thermo.GASES[gas].items():
            self.left[name] = self.of(name) - molecules * count

    def exchange(self, first: str, molecules: float, second: str, others: float) -> None:
        """Let two gases go together, as when hydrogen is taken up and water released."""
        self.release(first, molecules)
        self.release(second, others)


def _balance_oxygen(gas: _Gas, atmosphere: str) -> None:
    """Release or take up what is left of the oxygen, by the gas that the atmosphere has for it."""
    oxygen = gas.of("O")
    if atmosphere == "hydrogen":
        gas.exchange("H2O", oxygen, "H2", -oxygen)
    elif atmosphere == "carbon monoxide":
        gas.exchange("CO2", oxygen, "CO", -oxygen)
    elif atmosphere == "ammonia" and oxygen > 0.0:
        gas.exchange("H2O", oxygen, "NH3", -2.0 * oxygen / 3.0)
        gas.release("N2", oxygen / 3.0)
    else:
        gas.release("O2", oxygen / 2.0)


def _energy(
    precursors: Sequence[Phase],
    amounts: Sequence[float],
    target: Phase,
    released: Mapping[str, float],
    kelvin: float,
    atmosphere: str,
) -> tuple[float, str]:
    """Free energy of the reaction, eV per atom of the target; NaN and the reason if one part is not known."""
    total = 0.0
    for phase, amount in [*zip(precursors, amounts, strict=True), (target, -1.0)]:
        free = thermo.solid(phase.amounts, phase.formation_energy, phase.volume, kelvin)
        if free is None or not math.isfinite(free):
            return math.nan, f"no energy is known for {phase.formula}"
        total -= amount * free * sum(phase.amounts.values())
    pressures = thermo.PRESSURES[atmosphere]
    total += sum(n * thermo.gas(name, kelvin, pressures.get(name, 1.0)) for name, n in released.items())
    return total / sum(target.amounts.values()), ""
