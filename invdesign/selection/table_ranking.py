"""Ranking of a table: materials known by their properties alone, without a structure, as in an engineer's CSV.

A column is a property or quantity by its name, as `youngs_modulus`, with or without its own unit in brackets; its
standard deviation is `<name>_std`, its range `<name>_low` and `<name>_high`. The first of the columns `name`,
`material`, `formula`, `id` names a row. `yield_strength`, `flexural_strength` and `tensile_strength` stand for
`strength`, in this order. Other columns are left aside and named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign.checks import plain_signs, plain_unit
from invdesign.errors import InputError
from invdesign.mechanics.isotropic import completed
from invdesign.properties import PROPERTIES, QUANTITIES, get_property
from invdesign.query import Query
from invdesign.records import Estimate, Value
from invdesign.selection.components import Component, load_component
from invdesign.selection.decision import MOST, Decision, decide
from invdesign.selection.desirability import Subject, objectives_of, sampled_desirabilities
from invdesign.selection.known_materials import SINGLE, Material, known_materials
from invdesign.selection.landmarks import judged
from invdesign.selection.verdicts import Landmark, best_landmark, verdict
from invdesign.uncertainty import Z90

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

NAMES = ("name", "material", "formula", "id")
"""Columns that name a row, the first that is there."""
STRENGTHS = ("strength", "yield_strength", "flexural_strength", "tensile_strength")
"""Columns that are read as the strength, the first that has a number."""
_SUFFIX = re.compile(r"_(std|low|high)$")
_UNIT = re.compile(r"\s*[\[(](.*)[\])]\s*$")
_NO_UNIT = ("", "-", "1")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
"""Commas that part groups of three digits; any other comma may be a decimal one."""


@dataclass(frozen=True)
class TableRow:
    """One row of a ranked table.

    Attributes:
        rank: 1 is best.
        material: its name and values.
        known: whether it comes from the shipped table.
        score: weighted geometric mean of the desirabilities, 0 to 1.
        rank_low: best rank that the errors allow (5 % quantile).
        rank_high: worst rank likewise (95 % quantile).
        ranks: by method of decision.
        first_by_errors: share of samples of the values in which it is among the first five.
        first_by_weights: share of samples of the weights likewise.
        landmark: desirabilities, index values, unmet constraints and unknown quantities.
        verdict: how it compares with the best material of the shipped table; empty for such a material.
    """

    rank: int
    material: Material
    known: bool
    score: float
    rank_low: int
    rank_high: int
    ranks: Mapping[str, int]
    first_by_errors: float
    first_by_weights: float
    landmark: Landmark
    verdict: str = ""


@dataclass(frozen=True)
class TableRanking:
    """A ranked table.

    Attributes:
        rows: those that meet the constraints or may meet them, best first.
        rejected: names of the others, with the constraints that they do not meet.
        failures: rows of the table that could not be read, with the reason.
        ignored: columns that say nothing of a property.
        agreement: whether other methods agree on the order, in words.
        component: its name.
        weights: by objective.
    """

    rows: tuple[TableRow, ...]
    rejected: Mapping[str, str]
    failures: Mapping[str, str]
    ignored: tuple[str, ...]
    agreement: str
    component: str
    weights: Mapping[str, float]

    def table(self) -> pd.DataFrame:
        """The ranked rows as a table: place, score, sensitivity, index values, properties, verdict."""
        import pandas as pd

        return pd.DataFrame([_columns(row) for row in self.rows])


def rank_table(
    table: pd.DataFrame, component: str | Component, query: Query | None = None, known: bool = True
) -> TableRanking:
    """Rank materials of which properties are known, and no structure, for a component.

    Args:
        table: one material a row; see the module for the columns.
        component: name, path or component.
        query: further targets.
        known: also rank the shipped engineering materials, in the same list.

    Raises:
        InputError: if no column is a property, or the component cannot be loaded.
    """
    part = load_component(component)
    query = Query() if query is None else query
    columns = _columns_of(table)
    materials, failures = _materials(table, columns)
    shipped = known_materials() if known else ()
    names = {m.name for m in materials}
    listed = [*materials, *(m for m in shipped if m.name not in names)]
    marks = judged(listed, query, part)
    fit = [mark for mark in marks if not mark.unmet]
    best = best_landmark([m for m in judged(shipped, query, part) if m.name not in names], part)
    by_name = {m.name: m for m in listed}
    decision = _decided(fit[:MOST], by_name, query, part)
    rows = [
        _row(place, by_name[mark.name], mark.name not in names, mark, decision, best, part)
        for place, mark in enumerate(fit)
    ]
    used = set(columns) | {f"{name}_{end}" for name in columns for end in ("std", "low", "high")}
    bare = {str(column): _bare(str(column)) for column in table.columns}
    return TableRanking(
        rows=tuple(rows),
        rejected={mark.name: f"{', '.join(mark.unmet)} not met" for mark in marks if mark.unmet},
        failures=failures,
        ignored=tuple(c for c, b in bare.items() if b not in used and b not in NAMES),
        agreement=decision.text([mark.name for mark in fit[:MOST]]),
        component=part.name,
        weights={o.name: o.weight for o in objectives_of(query, part)},
    )


def _decided(
    marks: Sequence[Landmark], materials: Mapping[str, Material], query: Query, part: Component
) -> Decision:
    objectives = objectives_of(query, part)
    subjects = [Subject(m.name, Estimate(materials[m.name].values), exists=True) for m in marks]
    table = np.array([[m.desirabilities[o.name] for o in objectives] for m in marks]).reshape(-1, len(objectives))
    sampled = sampled_desirabilities(subjects, objectives) if subjects else np.zeros((0, 1, len(objectives)))
    return decide(table, sampled, np.array([o.weight for o in objectives]))


def _row(
    place: int,
    material: Material,
    known: bool,
    mark: Landmark,
    decision: Decision,
    best: Landmark | None,
    part: Component,
) -> TableRow:
    head = place < MOST
    return TableRow(
        rank=place + 1,
        material=material,
        known=known,
        score=mark.score,
        rank_low=int(decision.low[place]) if head else place + 1,
        rank_high=int(decision.high[place]) if head else place + 1,
        ranks={m: int(r[place]) for m, r in decision.ranks.items()} if head else {},
        first_by_errors=float(decision.first_by_errors[place]) if head else 0.0,
        first_by_weights=float(decision.first_by_weights[place]) if head else 0.0,
        landmark=mark,
        verdict="" if known else verdict(mark.indices, material.values, part, best),
    )


def _columns_of(table: pd.DataFrame) -> dict[str, str]:
    """Property by column of its central value, strengths under their own names.

    Raises:
        InputError: if there is none.
    """
    found = {}
    for column in map(str, table.columns):
        name = _bare(column)
        _check_unit(column, name)
        if name in PROPERTIES or name in QUANTITIES or name in STRENGTHS:
            found[name] = column
        elif (stem := _SUFFIX.sub("", name)) != name and (stem in PROPERTIES or stem in QUANTITIES):
            found.setdefault(stem, "")
    if not found:
        raise InputError(
            "table", list(map(str, table.columns)), f"a column such as {', '.join([*PROPERTIES][:4])}"
        )
    return found


def _check_unit(column: str, name: str) -> None:
    """See that a unit in a heading is that of the property."""
    unit, stem = _UNIT.search(column), _SUFFIX.sub("", name)
    stem = "strength" if stem in STRENGTHS else stem
    if unit is None or (stem not in PROPERTIES and stem not in QUANTITIES):
        return
    prop = get_property(stem)
    if plain_unit(unit[1]) not in ([plain_unit(prop.unit)] if prop.unit else _NO_UNIT):
        raise InputError(f"unit of column {column}", unit[1], prop.unit or "none")


def _bare(column: str) -> str:
    return _UNIT.sub("", column).strip().lower().replace(" ", "_")


def _materials(table: pd.DataFrame, columns: Mapping[str, str]) -> tuple[list[Material], dict[str, str]]:
    bare = {_bare(str(c)): str(c) for c in table.columns}
    naming = next((bare[n] for n in NAMES if n in bare), None)
    materials: list[Material] = []
    failures: dict[str, str] = {}
    for place, row in enumerate(table.to_dict("records"), start=1):
        given = "" if naming is None else str(row[naming]).strip()
        name = given if given and given != "nan" else f"row {place}"
        if any(m.name == name for m in materials):
            name = f"{name} (row {place})"
        try:
            values = _values(row, columns, bare)
        except InputError as error:
            failures[name] = str(error)
            continue
        materials.append(Material(name, completed(values), family="given"))
    return materials, failures


def _values(row: Mapping[Any, Any], columns: Mapping[str, str], bare: Mapping[str, str]) -> dict[str, Value]:
    """The values of one row.

    Raises:
        InputError: if a cell is no number, or one that the property cannot have.
    """
    out: dict[str, Value] = {}
    for name in (*(n for n in columns if n not in STRENGTHS), *(n for n in STRENGTHS if n in columns)):
        target = "strength" if name in STRENGTHS else name
        cells = {end: _number(row, bare.get(f"{name}{end}")) for end in ("", "_std", "_low", "_high")}
        value = _value(target, cells)
        if value is not None:
            out.setdefault(target, value)
    return out


def _value(name: str, cells: Mapping[str, float]) -> Value | None:
    prop = get_property(name)
    mean, std, low, high = (cells[end] for end in ("", "_std", "_low", "_high"))
    if low > high or mean < low or mean > high:
        raise InputError(f"range of {name}", f"{low:g} to {high:g}", "the lower end first, the value within")
    if std < 0:
        raise InputError(f"{name}_std", std, "a number from 0")
    if math.isnan(mean) and low <= high:
        mean = math.sqrt(low * high) if prop.log and low > 0 else 0.5 * (low + high)
    if math.isnan(mean):
        return None
    if not prop.low <= mean <= prop.high or (prop.log and mean <= 0):
        raise InputError(name, mean, f"{prop.low:g} to {prop.high:g} {prop.unit}".strip())
    if low < high:
        return Value(mean, (high - low) / (2.0 * Z90), low, high, "given")
    return Value(mean, std if std >= 0 else SINGLE * abs(mean), None, None, "given")


def _number(row: Mapping[Any, Any], column: str | None) -> float:
    """A cell as a number, NaN where it is empty.

    Raises:
        InputError: if it is neither.
    """
    cell = None if column is None else row.get(column)
    if cell is None or (isinstance(cell, float) and math.isnan(cell)) or str(cell).strip() in ("", "-", "unknown"):
        return math.nan
    text = plain_signs(str(cell).strip())
    try:
        return float(text.replace(",", "") if _THOUSANDS.fullmatch(text) else text)
    except ValueError:
        raise InputError(f"column {column}", cell, "a number or nothing") from None


def _columns(row: TableRow) -> dict[str, Any]:
    about: dict[str, Any] = {
        "rank": row.rank,
        "name": row.material.name,
        "family": row.material.family,
        "known": row.known,
        "score": row.score,
        "rank_low": row.rank_low,
        "rank_high": row.rank_high,
        "first_by_errors": row.first_by_errors,
        "first_by_weights": row.first_by_weights,
        **{f"rank_{method}": place for method, place in row.ranks.items()},
    }
    for name, value in row.landmark.indices.items():
        about |= {f"index: {name}": value.mean}
    for name, value in row.material.values.items():
        about |= {name: value.mean, f"{name}_std": value.std}
    return about | {"unknown": "; ".join(row.landmark.unknown), "verdict": row.verdict}
