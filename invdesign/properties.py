"""The properties that invdesign knows: each key once, with its unit, range and how it is modelled.

Moduli are Voigt-Reuss-Hill averages. `log` marks quantities that are positive, spread over decades and
modelled in log10. The table is read-only: custom properties are records that travel with the query
(`Query.properties`) and are handed to whoever needs them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from invdesign.errors import InputError


@dataclass(frozen=True)
class Property:
    """One physical property.

    Attributes:
        name: the key in every table, query and API call.
        unit: its unit, as printed.
        low: smallest value that a target may name.
        high: largest value that a target may name.
        log: whether models work on log10 of it.
        label: the words for a report.
        symbol: the usual symbol.
        derived: whether it is computed from other properties (by `invdesign.mechanics.derive`) or the crystal
            itself.
    """

    name: str
    unit: str
    low: float
    high: float
    log: bool
    label: str
    symbol: str
    derived: bool

    @property
    def is_read(self) -> bool:
        """False for a custom property whose file has not been read yet: only its name is known."""
        return math.isfinite(self.low)


PROPERTIES: Mapping[str, Property] = MappingProxyType(
    {
        p.name: p
        for p in (
            Property("bulk_modulus", "GPa", 0.1, 700.0, True, "bulk modulus", "K", False),
            Property("shear_modulus", "GPa", 0.1, 700.0, True, "shear modulus", "G", False),
            Property("youngs_modulus", "GPa", 0.1, 1500.0, True, "Young's modulus", "E", True),
            Property("poisson_ratio", "", -1.0, 0.5, False, "Poisson's ratio", "ν", True),
            Property("pugh_ratio", "", 0.0, 50.0, False, "Pugh's ratio K/G", "K/G", True),
            Property("vickers_hardness", "GPa", 0.0, 150.0, True, "Vickers hardness", "H_V", True),
            Property("fracture_toughness", "MPa m^0.5", 0.0, 300.0, True, "fracture toughness", "K_IC", True),
            Property("density", "g/cm³", 0.05, 30.0, True, "density", "ρ", True),
            Property("band_gap", "eV", 0.0, 20.0, False, "band gap (PBE)", "E_g", False),
            Property("formation_energy", "eV/atom", -6.0, 5.0, False, "formation energy", "E_f", False),
            Property("energy_above_hull", "eV/atom", 0.0, 5.0, False, "energy above hull", "E_hull", False),
        )
    }
)
"""The properties that every invdesign knows."""

QUANTITIES: Mapping[str, Property] = MappingProxyType(
    {
        p.name: p
        for p in (
            Property("strength", "MPa", 0.001, 1e6, True, "strength", "σ_f", True),
            Property("thermal_conductivity", "W/(m K)", 1e-3, 1e4, True, "thermal conductivity", "λ", True),
            Property("thermal_expansion", "1e-6/K", 1e-2, 1e3, True, "thermal expansion (linear)", "α", True),
            Property("heat_capacity", "J/(kg K)", 10.0, 1e4, True, "heat capacity", "c_p", True),
            Property("melting_point", "K", 100.0, 5000.0, True, "melting point", "T_m", True),
            Property(
                "max_service_temperature", "K", 200.0, 5000.0, True, "maximum service temperature", "T_max", True
            ),
            Property("debye_temperature", "K", 10.0, 3000.0, True, "Debye temperature", "θ_D", True),
            Property("thermal_shock_resistance", "K", 1e-2, 1e6, True, "thermal shock resistance R", "R", True),
            Property("thermal_shock_power", "W/m", 1e-3, 1e8, True, "thermal shock resistance R'", "R'", True),
            Property("price", "USD/kg", 1e-3, 1e8, True, "price", "C", True),
            Property("embodied_energy", "MJ/kg", 1e-2, 1e8, True, "embodied energy", "H_m", True),
            Property("supply_risk", "", 1.0, 10.0, True, "relative supply risk", "SR", True),
            Property("hhi_production", "", 1.0, 1e4, True, "concentration of production (HHI)", "HHI_p", True),
            Property("hhi_reserve", "", 1.0, 1e4, True, "concentration of reserves (HHI)", "HHI_r", True),
            Property(
                "scarcity", "mg/kg", 1e-9, 1e6, True, "crustal abundance of the scarcest element", "w_min", True
            ),
        )
    }
)
"""What components ask for beyond `PROPERTIES`: estimated on demand by `invdesign.mechanics.quantities`."""

SHIPPED: Mapping[str, Property] = MappingProxyType({**PROPERTIES, **QUANTITIES})
"""All properties that every invdesign knows."""
PREDICTED: tuple[str, ...] = tuple(p.name for p in PROPERTIES.values() if not p.derived)
DERIVED: tuple[str, ...] = tuple(p.name for p in PROPERTIES.values() if p.derived)


def get_property(name: str, known: Mapping[str, Property] = SHIPPED) -> Property:
    """Look a property or quantity up by its key, among the shipped ones or in a table of `known_properties`.

    Raises:
        InputError: if there is no property of that name.
    """
    try:
        return known[name]
    except (KeyError, TypeError):
        raise InputError("property", name, known) from None


def known_properties(custom: Iterable[Property] = ()) -> Mapping[str, Property]:
    """The shipped properties and then some custom ones, by name."""
    return {**SHIPPED, **{prop.name: prop for prop in custom}}


def custom_property(name: str, unit: str, low: float, high: float, log: bool) -> Property:
    """A custom property, from the range of its labels; targets may lie somewhat beyond.

    Raises:
        InputError: if the name is not one that a target and a column may have, or taken.
    """
    check_custom_name(name)
    beyond = high - low
    least, most = (low / 10.0, high * 10.0) if log else (low - beyond, high + beyond)
    least = 0.0 if low >= 0.0 and not log else least
    return Property(name, unit, least, most, log, name.replace("_", " "), name, False)


def check_custom_name(name: str) -> str:
    """The name, if a custom property may have it.

    Raises:
        InputError: if it is not one that a target and a column may have, or a shipped property has it.
    """
    sound = isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]*", name)
    if not sound or name.endswith(("_std", "_low", "_high", "_source")):
        allowed = (
            "small letters, digits and _, such as my_melting_point; not ending in _std, _low, _high or _source"
        )
        raise InputError("property", name, allowed)
    if name in SHIPPED:
        raise InputError("property", name, f"a name of your own, such as my_{name}: that one is predicted already")
    return name


def unread_property(name: str) -> Property:
    """A custom property of which only the name is known: its file is read when a run starts."""
    return Property(name, "", -math.inf, math.inf, False, name.replace("_", " "), name, False)


def property_in(path: Path) -> Property:
    """The property that a file of `invdesign train surrogate --property` predicts, from its header alone.

    Raises:
        InputError: if it is no such file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, 1 << 24)))["__metadata__"]
        prop = Property(**json.loads(header["property"]))
        check_custom_name(prop.name)
    except (OSError, ValueError, KeyError, TypeError, InputError):
        allowed = "a file that `invdesign train surrogate --property` wrote"
        raise InputError("surrogate", str(path), allowed) from None
    return prop


LOAD = 4.9
"""The load (N) of a Vickers hardness that names none: HV 0.5."""
LOADS = (0.05, 50.0)
"""Loads (N) between which hardnesses were measured."""


def check_load(load: object) -> float:
    """The load of a Vickers hardness, if it is one that was measured at.

    Raises:
        InputError: if it is not.
    """
    number = isinstance(load, (int, float)) and not isinstance(load, bool)
    if not number or not LOADS[0] <= load <= LOADS[1]:  # type: ignore[operator]
        raise InputError("load", load, f"{LOADS[0]:g} to {LOADS[1]:g} N")
    return float(load)  # type: ignore[arg-type]
