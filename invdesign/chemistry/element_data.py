"""Facts per element that a choice of material needs: mass, price, abundance, supply risk, hazards.

The table is `invdesign/tables/element_data.json`, made by `scripts/build_element_data.py`, which names its
sources. Prices move twofold in a year and are meant for comparison by decades. All functions take atomic numbers,
one per atom of a cell or formula unit, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign.elements import SYMBOLS, symbol
from invdesign.tables import read_json

Array = NDArray[np.float64]

HIGH_SUPPLY_RISK = 8.5
"""From this relative supply risk (scale 1 to 10) on, an element is named as a risk."""


@dataclass(frozen=True)
class ElementTable:
    """Columns indexed by atomic number (index 0 unused); NaN or None where unknown.

    Attributes:
        mass: (119,) standard atomic weight, g/mol.
        price: (119,) USD/kg.
        price_year: year of the list of prices.
        abundance: (119,) in the continental crust, mg/kg.
        supply_risk: (119,) relative supply risk, 1 to 10.
        hhi_production: (119,) Herfindahl-Hirschman index of the production by country, up to 10,000.
        hhi_reserve: (119,) the same of the reserves.
        embodied_energy: (119,) MJ/kg, cradle to gate.
        radioactive: (119,) whether no isotope is stable.
        eu_critical: (119,) whether a critical raw material of the European Union.
        restricted: why compounds are, as a class, toxic or restricted by law.
        caution: why some compounds need care.
    """

    mass: Array
    price: Array
    price_year: int
    abundance: Array
    supply_risk: Array
    hhi_production: Array
    hhi_reserve: Array
    embodied_energy: Array
    radioactive: NDArray[np.bool_]
    eu_critical: NDArray[np.bool_]
    restricted: tuple[str | None, ...]
    caution: tuple[str | None, ...]


@cache
def table() -> ElementTable:
    """The shipped table; read once."""
    raw = read_json("element_data.json")
    return ElementTable(
        mass=_numeric(raw["mass"]),
        price=_numeric(raw["price"]),
        price_year=int(raw["price_year"]),
        abundance=_numeric(raw["abundance"]),
        supply_risk=_numeric(raw["supply_risk"]),
        hhi_production=_numeric(raw["hhi_production"]),
        hhi_reserve=_numeric(raw["hhi_reserve"]),
        embodied_energy=_numeric(raw["embodied_energy"]),
        radioactive=np.array([0, *raw["radioactive"]], dtype=np.bool_),
        eu_critical=np.array([0, *raw["eu_critical"]], dtype=np.bool_),
        restricted=(None, *raw["restricted"]),
        caution=(None, *raw["caution"]),
    )


def _numeric(column: list[float | None]) -> Array:
    return np.array([np.nan, *(np.nan if value is None else value for value in column)], dtype=np.float64)


def atomic_masses(numbers: ArrayLike) -> Array:
    """Atomic weights in g/mol, same shape as `numbers`."""
    return table().mass[np.asarray(numbers, dtype=np.int64)]


def mass_fractions(numbers: ArrayLike) -> dict[int, float]:
    """Share of the mass by atomic number; adds up to 1."""
    elements, counts = np.unique(np.asarray(numbers, dtype=np.int64), return_counts=True)
    masses = counts * table().mass[elements]
    return {int(z): float(m) for z, m in zip(elements, masses / masses.sum(), strict=True)}


def price_per_kg(numbers: ArrayLike) -> float:
    """Price of the elements in a compound, USD/kg, by mass; no processing. NaN if one element has no price."""
    return float(sum(share * table().price[z] for z, share in mass_fractions(numbers).items()))


def embodied_energy(numbers: ArrayLike) -> float:
    """Energy to make the elements of a compound, MJ/kg, by mass; NaN if one is unknown. No processing."""
    return float(sum(share * table().embodied_energy[z] for z, share in mass_fractions(numbers).items()))


def concentration(numbers: ArrayLike, reserves: bool = False) -> float:
    """Herfindahl-Hirschman index of production or reserves, averaged by mass; NaN if unknown (Gaultois 2013)."""
    column = table().hhi_reserve if reserves else table().hhi_production
    return float(sum(share * column[z] for z, share in mass_fractions(numbers).items()))


def price_band(numbers: ArrayLike) -> str:
    """Decade of the price in words, such as `10-100 USD/kg`; `unknown price` if an element has none."""
    price = price_per_kg(numbers)
    if np.isnan(price):
        return "unknown price"
    decade = int(np.floor(np.log10(price)))
    return f"{10.0**decade:g}-{10.0 ** (decade + 1):g} USD/kg"


def scarcest_element(numbers: ArrayLike) -> tuple[str, float]:
    """Symbol and crustal abundance (mg/kg) of the rarest element; unknown abundance counts as rarest (NaN)."""
    elements = np.unique(np.asarray(numbers, dtype=np.int64))
    rank = np.nan_to_num(table().abundance[elements], nan=0.0)
    z = int(elements[int(np.argmin(rank))])
    return symbol(z), float(table().abundance[z])


def supply_risk(numbers: ArrayLike) -> float:
    """Largest relative supply risk among the elements, 1 to 10; NaN if none of them has one."""
    risks = table().supply_risk[np.unique(np.asarray(numbers, dtype=np.int64))]
    return float(np.nanmax(risks)) if np.isfinite(risks).any() else float("nan")


def supply_risks(numbers: ArrayLike, threshold: float = HIGH_SUPPLY_RISK) -> list[str]:
    """Symbols of the elements whose relative supply risk reaches a threshold, in order of atomic number."""
    elements = np.unique(np.asarray(numbers, dtype=np.int64))
    return [SYMBOLS[z - 1] for z in elements if table().supply_risk[z] >= threshold]


def radioactive(numbers: ArrayLike) -> list[str]:
    """Symbols of the elements without a stable isotope."""
    elements = np.unique(np.asarray(numbers, dtype=np.int64))
    return [SYMBOLS[z - 1] for z in elements if table().radioactive[z]]


def hazards(numbers: ArrayLike, cautions: bool = False) -> list[str]:
    """Reasons why a compound of these elements is hazardous; empty if none is known.

    Args:
        numbers: atomic numbers.
        cautions: also name the elements where it depends on the compound.

    Returns:
        One phrase per element and hazard, such as `Pb: toxic to reproduction (RoHS, REACH)`.
    """
    reasons = [f"{name}: radioactive" for name in radioactive(numbers)]
    for z in np.unique(np.asarray(numbers, dtype=np.int64)):
        for reason in (table().restricted[z], table().caution[z] if cautions else None):
            if reason:
                reasons.append(f"{SYMBOLS[z - 1]}: {reason}")
    return reasons
