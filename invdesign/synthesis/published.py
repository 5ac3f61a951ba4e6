"""The shipped table of published recipes, as arrays that the estimates read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray
from invdesign.synthesis.formulas import Amounts, parse_formula, sources
from invdesign.synthesis.inputs import composition_inputs
from invdesign.synthesis.recipe import Recipe

TABLE = "recipes.parquet"
COLUMNS = ("target", "precursors", "method", "temperature", "hours", "atmosphere", "source")
"""Columns of the table: the fields of `Recipe`; precursors are joined by spaces, unknown numbers are NaN."""
_PART = re.compile(r"([A-Z][a-z]?)([0-9.]*)")


def amounts_of_written(text: str) -> dict[str, float]:
    """Amounts of a formula as `written` of `invdesign.synthesis.formulas` writes it: without brackets."""
    return {name: float(amount or 1.0) for name, amount in _PART.findall(text)}


@dataclass(frozen=True, eq=False)
class Recipes:
    """Recipes with what is computed of them once.

    Attributes:
        rows: the recipes.
    """

    rows: tuple[Recipe, ...]

    def __len__(self) -> int:
        """Number of recipes."""
        return len(self.rows)

    @cached_property
    def amounts(self) -> tuple[Amounts, ...]:
        """Amounts of each target."""
        return tuple(amounts_of_written(row.target) for row in self.rows)

    @cached_property
    def systems(self) -> NDArray[np.str_]:
        """(n,) chemical system of each target, `Ba-O-Ti`."""
        return np.array(["-".join(sorted(amounts)) for amounts in self.amounts])

    @cached_property
    def inputs(self) -> FloatArray:
        """(n, d) targets as `composition_inputs` describes them."""
        return composition_inputs(self.amounts)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Formulas of all precursors."""
        return tuple(sorted({name for row in self.rows for name in row.precursors}))

    @cached_property
    def brings(self) -> Mapping[str, frozenset[str]]:
        """Precursor to the elements that it brings: all but hydrogen and oxygen, and nitrogen beside oxygen."""
        return {name: brought(parse_formula(name)) for name in self.vocabulary}

    @cached_property
    def temperatures(self) -> FloatArray:
        """(n,) firing temperatures, °C; NaN where not stated."""
        return np.array([np.nan if row.temperature is None else row.temperature for row in self.rows])

    @cached_property
    def oxides(self) -> NDArray[np.bool_]:
        """(n,) whether the target holds oxygen."""
        return np.array(["O" in amounts for amounts in self.amounts])

    @cached_property
    def hours(self) -> FloatArray:
        """(n,) duration of the firing, hours; NaN where not stated."""
        return np.array([np.nan if row.hours is None else row.hours for row in self.rows])

    @cached_property
    def atmospheres(self) -> NDArray[np.str_]:
        """(n,) gases of the firing, empty where not stated."""
        return np.array([row.atmosphere for row in self.rows])

    @cached_property
    def methods(self) -> NDArray[np.str_]:
        """(n,) methods."""
        return np.array([row.method for row in self.rows])


def brought(amounts: Amounts) -> frozenset[str]:
    """Elements that a precursor is chosen for: a nitride brings nitrogen, nitrates and ammonium salts do not."""
    found = sources(amounts)
    return found | ({"N"} if "N" in amounts and not {"O", "H"} & set(amounts) else frozenset())


@cache
def load_recipes() -> Recipes:
    """The recipes of the table.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    import pyarrow.parquet as pq

    from invdesign import tables

    try:
        columns = pq.read_table(tables.path_of(TABLE), columns=list(COLUMNS)).to_pydict()
    except (OSError, ValueError) as error:
        raise tables.unreadable(TABLE, error) from None
    return Recipes(tuple(_recipe(values) for values in zip(*(columns[name] for name in COLUMNS), strict=True)))


def _recipe(values: Sequence[object]) -> Recipe:
    target, precursors, method, temperature, hours, atmosphere, source = values
    return Recipe(
        target=str(target),
        precursors=tuple(str(precursors).split()),
        method=str(method),
        temperature=_known(temperature),
        hours=_known(hours),
        atmosphere=str(atmosphere),
        source=str(source),
    )


def _known(value: object) -> float | None:
    return float(value) if isinstance(value, float) and value == value else None
