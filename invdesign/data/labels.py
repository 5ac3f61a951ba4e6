"""The names under which tables and databases keep the properties that invdesign knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from invdesign.errors import StructureReadError
from invdesign.properties import PROPERTIES, Property

ALIASES: dict[str, str] = {
    **{name: name for name in PROPERTIES},
    "bulk_modulus_vrh": "bulk_modulus",
    "k_vrh": "bulk_modulus",
    "shear_modulus_vrh": "shear_modulus",
    "g_vrh": "shear_modulus",
    "formation_energy_per_atom": "formation_energy",
    "e_form": "formation_energy",
    "e_above_hull": "energy_above_hull",
    "hull_distance": "energy_above_hull",
    "youngs_modulus_vrh": "youngs_modulus",
}
"""Column name (lower case) to property; units are those of `invdesign.properties` (GPa, eV/atom, eV, g/cm³)."""

_LOG10 = "log10("
_EMPTY = {"", "nan", "none", "null", "na", "n/a", "-", "<na>"}


def labels_of(columns: Mapping[str, Any], known: Mapping[str, Property] = PROPERTIES) -> dict[str, float]:
    """Property values among the columns of a row; a property without a value is left out.

    `log10(K_VRH)` is understood as the logarithm of `K_VRH`. A column named exactly as the property wins over an
    alias.

    Args:
        columns: a row of a table.
        known: properties by name, custom ones included.

    Raises:
        StructureReadError: if a property's column holds something that is not a finite number.
    """
    found: dict[str, float] = {}
    for column, value in sorted(columns.items(), key=lambda item: str(item[0]) in known):
        name, is_log = _property_of(str(column), known)
        if name is None or _is_empty(value):
            continue
        number = _number(str(column), value)
        found[name] = 10.0**number if is_log else number
    return found


def property_of(column: str, known: Mapping[str, Property] = PROPERTIES) -> str | None:
    """The property that a column of that name holds, or None."""
    name, is_log = _property_of(column, known)
    return None if is_log else name


def _property_of(column: str, known: Mapping[str, Property]) -> tuple[str | None, bool]:
    key = column.strip().lower()
    is_log = key.startswith(_LOG10) and key.endswith(")")
    plain = key[len(_LOG10) : -1] if is_log else key
    return ALIASES.get(plain, plain if plain in known else None), is_log


def _is_empty(value: object) -> bool:
    if value is None or (isinstance(value, str) and value.strip().lower() in _EMPTY):
        return True
    return isinstance(value, float) and math.isnan(value)


def _number(column: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise StructureReadError(f"{column}: {value!r} is not a number")
    return number
