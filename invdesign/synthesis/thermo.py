"""Free energies of solids, elements and gases at a temperature, on the scale of the hull.

Every energy is relative to the elements at 298 K. A compound has its formation energy (density functional theory,
MP2020 scheme) and the thermal part of a descriptor for solids (C. J. Bartel et al., Nat. Commun. 9, 4168 (2018), eq. 4,
error about 50 meV/atom); elements and gases have measured values (NIST-JANAF, FactSage; as tabulated in pymatgen).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from invdesign.chemistry.element_data import table as element_table
from invdesign.elements import atomic_number
from invdesign.synthesis.formulas import Amounts
from invdesign.tables import read_json

TABLE = "free_energies.json"
COLDEST, HOTTEST = 300.0, 2000.0
"""Range of the tables and of the descriptor, K; temperatures beyond are set to its ends."""
KELVIN = 273.15
_BOLTZMANN = 8.617333262e-5

GASES: dict[str, dict[str, float]] = {
    "O2": {"O": 2}, "N2": {"N": 2}, "H2": {"H": 2}, "Cl2": {"Cl": 2}, "Br2": {"Br": 2}, "I2": {"I": 2},
    "F2": {"F": 2}, "CO2": {"C": 1, "O": 2}, "CO": {"C": 1, "O": 1}, "H2O": {"H": 2, "O": 1},
    "NH3": {"N": 1, "H": 3}, "NO2": {"N": 1, "O": 2}, "HCl": {"H": 1, "Cl": 1}, "HBr": {"H": 1, "Br": 1},
    "HF": {"H": 1, "F": 1}, "SO2": {"S": 1, "O": 2}, "H2S": {"H": 2, "S": 1},
}  # fmt: skip
"""Gases that reactions take up and release, with their atoms."""
PRESSURES = {
    "air": {"O2": 0.21, "N2": 0.78}, "oxygen": {"O2": 1.0}, "nitrogen": {"N2": 1.0, "O2": 1e-5},
    "argon": {"O2": 1e-5}, "vacuum": {"O2": 1e-6}, "hydrogen": {"H2": 0.05, "H2O": 1e-3},
    "carbon monoxide": {"CO": 0.1, "CO2": 0.01}, "ammonia": {"NH3": 1.0}, "carbon dioxide": {"CO2": 1.0, "O2": 1e-5},
    "hydrogen sulfide": {"O2": 1e-5},
}  # fmt: skip
"""Partial pressures (bar) that stand for each atmosphere; a gas not named is at 1 bar, as released."""


@dataclass(frozen=True)
class _Table:
    """Tabulated free energies, eV per atom (elements) or molecule (gases), at `temperatures` (K)."""

    temperatures: tuple[float, ...]
    elements: dict[str, list[float]]
    gases: dict[str, list[float]]


@cache
def _table() -> _Table:
    raw = read_json(TABLE)
    return _Table(tuple(raw["temperatures"]), raw["elements"], raw["gases"])


def within(kelvin: float) -> float:
    """The nearest temperature that the tables cover, K."""
    return min(max(kelvin, COLDEST), HOTTEST)


def gas(name: str, kelvin: float, pressure: float = 1.0) -> float:
    """Free energy of a gas, eV per molecule, relative to its elements at 298 K.

    Args:
        name: one of `GASES`.
        kelvin: temperature.
        pressure: partial pressure, bar.
    """
    kelvin = within(kelvin)
    standard = float(np.interp(kelvin, _table().temperatures, _table().gases[name]))
    return standard + _BOLTZMANN * kelvin * math.log(pressure)


def element(name: str, kelvin: float) -> float | None:
    """Free energy of an element in its stable form, eV/atom, relative to 298 K; None if not tabulated."""
    values = _table().elements.get(name)
    return None if values is None else float(np.interp(within(kelvin), _table().temperatures, values))


def solid(amounts: Amounts, formation_energy: float, volume: float, kelvin: float) -> float | None:
    """Free energy of a solid, eV/atom, relative to its elements at 298 K.

    Args:
        amounts: of its elements.
        formation_energy: eV/atom; not used for an element.
        volume: Å³/atom.
        kelvin: temperature.

    Returns:
        None for an element without tabulated values.
    """
    if len(amounts) == 1:
        return element(next(iter(amounts)), kelvin)
    return formation_energy + thermal(volume, reduced_mass(amounts), within(kelvin))


def thermal(volume: float, mass: float, kelvin: float) -> float:
    """Thermal part of a compound's free energy by Bartel's descriptor, eV/atom.

    Args:
        volume: Å³/atom.
        mass: reduced mass, g/mol.
        kelvin: 300 to 2000 K.
    """
    slope = -2.48e-4 * math.log(volume) - 8.94e-5 * mass / volume
    return slope * kelvin + 0.181 * math.log(kelvin) - 0.882


def reduced_mass(amounts: Amounts) -> float:
    """Reduced mass of a compound, averaged over pairs of its elements (eq. 6 of the same paper), g/mol."""
    names = sorted(amounts)
    mass = {name: float(element_table().mass[atomic_number(name)]) for name in names}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    total = sum((amounts[a] + amounts[b]) * mass[a] * mass[b] / (mass[a] + mass[b]) for a, b in pairs)
    return total / ((len(names) - 1) * sum(amounts.values()))
