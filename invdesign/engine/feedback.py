"""What came back of a run: values that were measured, or computed by DFT, for some of its candidates.

A value that came back replaces the estimate of its candidate. Where several candidates have one of the same
property, their errors also correct the estimates of all others, by the regression on composition that corrects the
gate between rounds (`invdesign.engine.online_correction`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from invdesign.data.labels import labels_of, property_of
from invdesign.engine.online_correction import WEIGHTED_PRIORS, Pair, correction
from invdesign.engine.parts import Derive, Parts
from invdesign.errors import InputError, StructureReadError
from invdesign.properties import DERIVED, SHIPPED, Property
from invdesign.records import MEASURED, Estimate, Evaluation, Value
from invdesign.uncertainty import with_interval

LEAST = 3
"""Candidates with a value of a property from which on the estimates of all others are corrected."""
RELATIVE_ERROR = 0.02
"""Standard deviation of a value that came without one, over the value."""
ERRORS = {"band_gap": 0.05, "formation_energy": 0.005, "energy_above_hull": 0.005, "poisson_ratio": 0.01}
"""The same in the property's unit, where a relative error makes no sense."""
BESIDE = ("id", "file", "formula", "note")
"""Columns that a table of results may have beside those of properties."""
MODULI = frozenset({"bulk_modulus", "shear_modulus"})

Properties = Mapping[str, Property]
Told = Mapping[str, Mapping[str, Value]]
"""Values by candidate id and property."""


@dataclass(frozen=True)
class Revised:
    """Rows with what came back.

    Attributes:
        rows: all of them, in their order.
        told: how many have a value that came back.
        corrected: properties whose estimates were corrected in the other rows.
    """

    rows: list[Evaluation]
    told: int
    corrected: tuple[str, ...]


def read(path: Path, ids: Mapping[str, str], known: Properties = SHIPPED) -> dict[str, dict[str, Value]]:
    """Read a CSV of results.

    Args:
        path: columns `id` or `file` (as in `candidates.csv`), properties, and `<property>_std`; an empty cell is
            no value.
        ids: candidate id by file.
        known: properties by name, custom ones included.

    Returns:
        Values by candidate id and property, `feedback` as their source.

    Raises:
        InputError: if the file cannot be read, or a column, a candidate or a value is not valid.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("results", str(path), f"a readable CSV file ({error})") from None
    _check_columns(columns, known)
    found: dict[str, dict[str, Value]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"line {number} of the results"
        name = _candidate(row, ids, where)
        if name in found:
            raise InputError(f"{where}: candidate", name, "each candidate once")
        found[name] = _values(row, where, known)
    if not found:
        raise InputError("results", str(path), "at least one row")
    return found


def _check_columns(columns: Sequence[str], known: Properties) -> None:
    seen: set[tuple[str, bool]] = set()
    for column in columns:
        is_std = column.endswith("_std")
        name = column if column in BESIDE else property_of(column.removesuffix("_std"), known)
        if name is None:
            raise InputError("column of the results", column, [*BESIDE, *known, "<property>_std"])
        if (name, is_std) in seen:
            raise InputError("column of the results", column, f"one column of {name}")
        seen.add((name, is_std))
    if not {"id", "file"} & set(columns):
        raise InputError("columns of the results", ", ".join(columns), "also id or file, as in candidates.csv")


def _candidate(row: Mapping[str, Any], ids: Mapping[str, str], where: str) -> str:
    """The id that a row names, by itself or by its file."""
    name, file = ((row.get(key) or "").strip() for key in ("id", "file"))
    if file and file not in ids:
        raise InputError(f"{where}: file", file, "a file of candidates.csv")
    if name and file and ids[file] != name:
        raise InputError(f"{where}: id", name, f"{ids[file]}, the id of {file}")
    if not (name or file):
        raise InputError(f"{where}: id", name, "the id or the file of a candidate")
    return name or ids[file]


def _values(row: Mapping[Any, Any], where: str, known: Properties) -> dict[str, Value]:
    if None in row:
        raise InputError(where, ", ".join(row[None]), "as many cells as there are columns")
    try:
        means = labels_of({k: v for k, v in row.items() if not k.endswith("_std")}, known)
        given = labels_of({k.removesuffix("_std"): v for k, v in row.items() if k.endswith("_std")}, known)
    except StructureReadError as error:
        raise InputError(where, str(error).split(":")[0], f"numbers ({error})") from None
    if not means:
        raise InputError(where, ", ".join(str(v) for v in row.values() if v), "a value of at least one property")
    return {name: value_of(name, mean, given.get(name), known, f"{where}: ") for name, mean in means.items()}


def value_of(
    name: str, mean: float, std: float | None = None, known: Properties = SHIPPED, where: str = ""
) -> Value:
    """A value that came back.

    Args:
        name: of its property.
        mean: in the property's unit.
        std: its standard deviation (None: that which is usual).
        known: properties by name, custom ones included.
        where: it came from, for errors.

    Raises:
        InputError: if it is outside what the property can be.
    """
    prop = known[name]
    low = -1.0 if name == "energy_above_hull" else prop.low
    if not low <= mean <= prop.high:
        raise InputError(f"{where}{name}", mean, f"{low:g} to {prop.high:g} {prop.unit}".strip())
    std = ERRORS.get(name, RELATIVE_ERROR * abs(mean)) if std is None else std
    if not std >= 0.0:
        raise InputError(f"{where}{name}_std", std, "a number from 0")
    return with_interval(Value(mean, std, source=MEASURED), log=prop.log)


def check(told: Told, rows: Sequence[Evaluation]) -> None:
    """See that values belong to candidates that can have them.

    Raises:
        InputError: if there is no such candidate, it was never relaxed, or its moduli are those of no solid.
    """
    known = {row.candidate.id for row in rows if _estimated(row)}
    for name in told:
        if name not in known:
            raise InputError("candidate", name, "the id of a candidate of this run that was relaxed and predicted")


def _estimated(row: Evaluation) -> bool:
    return row.relaxation is not None and row.estimate is not None and not row.estimate.failure


def revise(
    rows: Sequence[Evaluation], told: Told, parts: Parts, least: int = LEAST, known: Properties = SHIPPED
) -> Revised:
    """Put values that came back in the place of estimates, and let them correct the others.

    Args:
        rows: of a run.
        told: what came back.
        parts: for derived properties, the hull and the verdict on stability.
        least: see `LEAST`.
        known: properties by name, custom ones included.
    """
    pairs = _pairs(rows, told, parts, known)
    correct = correction(pairs, least, WEIGHTED_PRIORS, known)
    out = []
    for row in rows:
        if not _estimated(row):
            out.append(row)
        elif row.candidate.id in told:
            out.append(_judged(_measured(row, told[row.candidate.id], parts), parts))
        else:
            out.append(row if correct is None else _judged(_corrected(row, correct, parts, known), parts))
    learned = tuple(name for name, answers in pairs.items() if len(answers) >= least)
    return Revised(out, sum(row.candidate.id in told for row in rows), learned)


def _pairs(rows: Sequence[Evaluation], told: Told, parts: Parts, known: Properties) -> dict[str, list[Pair]]:
    """Crystal, estimate and the value that came back, by property.

    Of derived properties only where no modulus came back: they follow from the moduli.
    """
    pairs: dict[str, list[Pair]] = {}
    for row in rows:
        if row.candidate.id not in told or not _estimated(row):
            continue
        mine, estimates = _completed(row, told[row.candidate.id], parts), _values_of(row)
        for name in mine.keys() & estimates.keys():
            if name not in DERIVED or not MODULI & mine.keys():
                pairs.setdefault(name, []).append((row.crystal, estimates[name], mine[name].mean))
    return {name: pairs[name] for name in known if name in pairs}


def _values_of(row: Evaluation) -> dict[str, Value]:
    assert row.estimate is not None
    hull = {} if row.energy_above_hull is None else {"energy_above_hull": row.energy_above_hull}
    return {**row.estimate.values, **hull}


def _completed(row: Evaluation, mine: Mapping[str, Value], parts: Parts) -> dict[str, Value]:
    """What came back of a row; a formation energy brings its distance to the hull."""
    if "formation_energy" not in mine or "energy_above_hull" in mine:
        return dict(mine)
    distance = parts.reference.energy_above_hull(row.crystal, mine["formation_energy"])
    return {**mine, **({} if distance is None else {"energy_above_hull": replace(distance, source=MEASURED)})}


def _measured(row: Evaluation, mine: Mapping[str, Value], parts: Parts) -> Evaluation:
    mine = _completed(row, mine, parts)
    return _with_values(row, {**_values_of(row), **mine}, mine, parts)


def _corrected(row: Evaluation, correct: Derive, parts: Parts, known: Properties) -> Evaluation:
    """The row with its estimates moved; derived properties follow the moduli."""
    assert row.estimate is not None
    before = _values_of(row)
    after = correct(Estimate(before), row.crystal).values
    moved = {
        name: replace(value, source=f"{value.source}, corrected by {MEASURED}")
        for name, value in after.items()
        if value is not before[name]
    }
    return _with_values(row, {**before, **moved}, moved, parts) if moved else row


def _with_values(
    row: Evaluation, values: Mapping[str, Value], last: Mapping[str, Value], parts: Parts
) -> Evaluation:
    """The row with these values and what is derived from them, except where `last` knows better."""
    assert row.estimate is not None
    try:
        derived = parts.derive(replace(row.estimate, values=dict(values)), row.crystal)
    except (ValueError, ArithmeticError) as error:
        raise InputError("values of candidate", row.candidate.id, f"those of a solid ({error})") from None
    hull = values.get("energy_above_hull", row.energy_above_hull)
    return replace(
        row, estimate=replace(derived, values={**derived.values, **last}), energy_above_hull=hull
    )  # fmt: skip


def _judged(row: Evaluation, parts: Parts) -> Evaluation:
    """The row with the verdict on its stability given again."""
    verdicts = {v.name: v.check(row) for v in parts.checks if v.name == "stability"}
    return replace(row, verdicts={**row.verdicts, **verdicts})
