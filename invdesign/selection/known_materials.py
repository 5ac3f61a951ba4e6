"""Known engineering materials: what a new crystal is held against, with measured ranges and a source for each.

The table is `invdesign/tables/engineering_materials.json`, made by `scripts/build_engineering_materials.py`;
its data sheet names the sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from invdesign.errors import InputError
from invdesign.mechanics.isotropic import completed
from invdesign.properties import PROPERTIES, QUANTITIES
from invdesign.records import Value
from invdesign.tables import read_json
from invdesign.uncertainty import LN10, Z90, log_normal, normal

SINGLE = 0.05
"""Relative standard deviation of a value of which one source gives one number."""


@dataclass(frozen=True)
class Material:
    """A material that can be bought.

    Attributes:
        name: with its condition, e.g. `7075-T6 aluminium`.
        values: property or quantity to value; what is not there is unknown.
        family: `steel`, `ceramic`, `polymer`, …
        formula: of its one phase; empty for alloys, polymers and composites.
        sources: by property, what the value was read in.
    """

    name: str
    values: Mapping[str, Value]
    family: str = ""
    formula: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)


@cache
def known_materials() -> tuple[Material, ...]:
    """The shipped table; read once.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    raw = read_json("engineering_materials.json")
    titles = {key: source["title"] for key, source in raw["sources"].items()}
    return tuple(_material(entry, titles) for entry in raw["materials"])


def known_material(name: str) -> Material:
    """One material by its name.

    Raises:
        InputError: if there is none of that name.
    """
    for material in known_materials():
        if material.name == name:
            return material
    raise InputError("known material", name, [m.name for m in known_materials()])


def _material(entry: Mapping[str, object], titles: Mapping[str, str]) -> Material:
    given: Mapping[str, list[object]] = entry["values"]  # type: ignore[assignment]
    kept = {name: value for name, value in given.items() if name in PROPERTIES or name in QUANTITIES}
    return Material(
        name=str(entry["name"]),
        values=completed({n: ranged(n, float(str(v[0])), float(str(v[1])), str(v[2])) for n, v in kept.items()}),
        family=str(entry["family"]),
        formula=str(entry.get("formula", "")),
        sources={name: " and ".join(titles[k] for k in str(v[2]).split("+")) for name, v in kept.items()},
    )


def ranged(name: str, low: float, high: float, source: str) -> Value:
    """A measured range as a value: its middle (geometric for log properties), the range as 90 % interval."""
    prop = PROPERTIES.get(name) or QUANTITIES[name]
    if not prop.log or low <= 0.0:
        middle = 0.5 * (low + high)
        return normal(middle, 0.5 * (high - low) / Z90 or SINGLE * abs(middle), source)
    return log_normal(math.sqrt(low * high), 0.5 * math.log10(high / low) / Z90 or SINGLE / LN10, source)
