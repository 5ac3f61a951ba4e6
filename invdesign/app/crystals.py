"""Commands on crystals as they are: predict, explain, validate, rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.record import custom_properties, decision_record, drift_of
from invdesign.app.result import explained, ranked_rows
from invdesign.app.tables import (
    Given,
    Rows,
    failed_row,
    new_file,
    read,
    read_blocks,
    write_run,
    written,
)
from invdesign.checks import text, whole
from invdesign.crystallography.distances import overlap
from invdesign.data.labels import labels_of
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.progress import Progress, Shown, quiet, told, with_progress
from invdesign.properties import LOAD, Property, check_load, get_property, known_properties
from invdesign.query import Query, as_query
from invdesign.records import MEASURED, Candidate, Estimate, Evaluation, Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal
    from invdesign.engine.drift import Drift
    from invdesign.protocols import Validator
    from invdesign.reference.local import LocalReference
    from invdesign.selection.ranking import Selection
    from invdesign.surrogates.custom.transfer import TransferSurrogate
    from invdesign.surrogates.explain.explanation import Explanation


@with_progress
def predict(
    crystals: Given,
    out: str | Path | None = None,
    *,
    explain: bool = False,
    surrogates: Sequence[str | Path] = (),
    load: float | None = None,
    drift: bool = False,
    progress: Shown = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Predict the properties of crystals as they are, with uncertainty, derived properties included.

    >>> predict("my_structure.cif")  # doctest: +SKIP

    Args:
        crystals: files and folders (CIF, POSCAR, extxyz, JSON, zip, …), or crystals: pymatgen structures, ASE
            atoms, `Crystal`, `Gene`, candidates of a result; one or several.
        out: table to write: JSON if it is so named, otherwise CSV (None: none).
        explain: add what elements, sites and features contribute, and the nearest known crystals.
        surrogates: files of custom properties (`train_property`), which are predicted as well. Where the
            input is a table with the column of their low-fidelity label, that is made use of.
        load: of the Vickers hardness, 0.05 to 50 N (None: 4.9 N).
        drift: compare the crystals with the training data; the table's `attrs["drift"]` is the
            `invdesign.engine.drift.Drift`. Properties that stand beside the crystals in a table are taken as true
            values.
        progress: see `invdesign.progress.Shown`.
        overwrite: whether `out` may be there already.

    Returns:
        One row per item in the input; an item that cannot be read or predicted has the reason in `failure`.

    Raises:
        InputError, StructureReadError: if there is nothing to read, or nothing of it can be read.
        OutputError: if the table cannot be written.
    """
    load = None if load is None else check_load(load)
    own = [build.custom_surrogate(path) for path in surrogates]
    file, tell = new_file(out, overwrite), told(progress)
    rows, compared = Rows(), _Compared()
    for block in read_blocks(crystals, tell):
        sound = block.sound
        estimates = _estimates(sound, block.tell(tell, "predict"), load)
        estimates = _with_custom(estimates, sound, block.sound_columns, own)
        reasons = explained(sound, estimates, block.tell(tell, "explain")) if explain else [{} for _ in sound]
        found = iter([_predicted_row(c, e) | why for c, e, why in zip(sound, estimates, reasons, strict=True)])
        rows.add(failed_row(item) if isinstance(item, Failure) else next(found) for item in block.items)
        if drift:
            compared.add(sound, estimates, block.sound_columns)
    table = written(rows, file)
    if drift:
        table.attrs["drift"] = compared.drift(known_properties(surrogate.transfer.prop for surrogate in own))
    return table


@dataclass
class _Compared:
    """Crystals with their estimates and what stands beside them, kept to be compared with the training data."""

    crystals: list[Crystal] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    columns: list[Mapping[str, Any]] = field(default_factory=list)

    def add(
        self, crystals: Sequence[Crystal], estimates: Sequence[Estimate], columns: Sequence[Mapping[str, Any]]
    ) -> None:
        self.crystals += crystals
        self.estimates += estimates
        self.columns += columns

    def drift(self, known: Mapping[str, Property]) -> Drift:
        return drift_of(self.crystals, self.estimates, [_known(row, known) for row in self.columns], known)


def _known(columns: Mapping[str, Any], properties: Mapping[str, Property]) -> dict[str, float]:
    """True values beside a crystal; what invdesign itself has predicted names its source, and is none."""
    found = labels_of(columns, properties)
    return {k: v for k, v in found.items() if columns.get(f"{k}_source") in (None, "", MEASURED)}


def _with_custom(
    estimates: Sequence[Estimate],
    crystals: Sequence[Crystal],
    columns: Sequence[Mapping[str, Any]],
    own: Sequence[TransferSurrogate],
) -> list[Estimate]:
    """The estimates with custom properties."""
    from invdesign.surrogates.custom.own import low_fidelity_labels

    found = list(estimates)
    for surrogate in own:
        more = surrogate.predict(crystals, low_fidelity_labels(columns, surrogate.transfer.low_fidelity))
        found = [
            e if e.failure else replace(e, values={**e.values, **m.values})
            for e, m in zip(found, more, strict=True)
        ]
    return found


def explain(crystal: Given) -> Explanation:
    """Why a crystal is predicted as it is, and the nearest known crystals with their computed values.

    Args:
        crystal: one crystal, or a file that holds one; see `predict`.

    Raises:
        InputError, StructureReadError: if it is not one crystal that can be read.

    What is explained is the estimate of `predict`; contributions are those of the gate, and what the second stage
    adds stands apart. See `invdesign.surrogates.explain.explanation` for the definitions.
    """
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.explain.explanation import explain

    items = read(crystal, quiet)
    sound = [item for item in items if not isinstance(item, Failure)]
    if len(items) != 1:
        raise InputError("crystal", crystal, f"one crystal; there are {len(items)}")
    return explain(load_gate().model, sound, _estimates(sound, quiet))[0]


def _estimates(
    crystals: Sequence[Crystal], progress: Progress, load: float | None = None, batch: int = 64
) -> list[Estimate]:
    """Surrogate estimates of crystals as they are, with the distance to the hull and derived properties."""
    from invdesign.surrogates.hardness import derive_many

    if not crystals:
        return []
    model, known = build.surrogate("relaxed"), build.reference()
    out: list[Estimate] = []
    for start in range(0, len(crystals), batch):
        part = crystals[start : start + batch]
        found = [_placed(e, c, known) for e, c in zip(model.predict(part), part, strict=True)]
        found = derive_many(found, part, LOAD if load is None else load)
        out += [_possible(e, c) for e, c in zip(found, part, strict=True)]
        progress("predict", len(out), len(crystals))
    return out


def _possible(estimate: Estimate, crystal: Crystal) -> Estimate:
    """The estimate, or a failure where atoms overlap or a value is one that no solid has."""
    fault = overlap(crystal)
    for name, value in estimate.values.items():
        prop = get_property(name)
        low = -math.inf if name == "energy_above_hull" else prop.low  # new crystals may lie below the hull
        if not fault and not low <= value.mean <= prop.high:
            fault = f"{prop.label} of {value.mean:.3g} {prop.unit}, possible are {prop.low:g} to {prop.high:g}"
    return replace(estimate, values={}, failure=fault) if fault and not estimate.failure else estimate


def _placed(estimate: Estimate, crystal: Crystal, known: LocalReference) -> Estimate:
    energy = estimate.values.get("formation_energy")
    if energy is None or "energy_above_hull" in estimate.values:
        return estimate
    distance = known.energy_above_hull(crystal, energy)
    if distance is None:
        return estimate
    return replace(estimate, values={**estimate.values, "energy_above_hull": distance})


def _predicted_row(crystal: Crystal, estimate: Estimate) -> export.Row:
    about = {"file": crystal.source} | export.crystal_columns(crystal)
    return about | {"failure": estimate.failure} | export.estimate_columns(estimate)


@with_progress
def validate(
    crystals: Given,
    out: str | Path | None = None,
    *,
    validators: Sequence[str] = (),
    progress: Shown = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Judge crystals as they are by every validator that needs no energy.

    No symmetry is asked for, so that verdict says whether the space group found at 0.1 Å stands at 0.01 Å as well.
    Arguments and returns as in `predict`, `validators` are further ones by name; the verdicts are columns
    `verdict_<name>` with their reasons.
    """
    file, tell = new_file(out, overwrite), told(progress)
    known = build.reference()
    without_energy = build.validator_names(("screen", "inspection", "uniqueness"))
    judges = [build.validator(name, known) for name in dict.fromkeys([*without_energy, *validators])]
    rows = Rows()
    for block in read_blocks(crystals, tell):
        for item in block.items:
            if isinstance(item, Failure):
                rows.add([failed_row(item)])
            else:
                rows.add([_judged_row(Evaluation(Candidate(item.source, item, "", "given")), judges)])
            tell("validate", len(rows), block.total)
    return written(rows, file)


def _judged_row(row: Evaluation, judges: Sequence[Validator]) -> export.Row:
    """A row with every verdict; a validator that breaks down is the row's failure."""
    about = {"file": row.candidate.id} | export.crystal_columns(row.crystal)
    failure = ""
    for judge in judges:
        try:
            verdict = judge.check(row)
        except ReferenceMissingError:  # without it nothing can be judged
            raise
        except Exception as error:  # one crystal must not end the table of all others
            failure = f"{judge.name}: {type(error).__name__}: {error}"
            break
        row = replace(row, verdicts={**row.verdicts, verdict.name: verdict})
    return about | {"failure": failure} | export.verdict_columns(row)


@with_progress
def rank(
    crystals: Given,
    query: Query | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    n: int | None = None,
    *,
    progress: Shown = None,
    **wishes: Any,
) -> pd.DataFrame:
    """Rank crystals as they are for a component and targets.

    >>> rank("my_structures", component="cutting_tool")  # doctest: +SKIP

    Args:
        crystals: as in `predict`; or one CSV of properties alone, ranked beside known materials.
        query: its component, targets and elements.
        out: folder to make, like that of a design run (None: nothing is written).
        n: length of the list (None: all that may be listed).
        progress: see `invdesign.progress.Shown`.
        **wishes: fields of the query.

    Returns:
        The ranked table; crystals that were not ranked stand below, with the reason.
    """
    from invdesign.app.ranking import property_table, rank_properties
    from invdesign.engine.wishes import completed, resolved
    from invdesign.selection.ranking import rank_known

    query = resolved(as_query(query, wishes))
    if (properties := property_table(crystals)) is not None:
        return rank_properties(properties, query, None if out is None else Path(out), n)
    targets, tell = completed(query).targets, told(progress)
    most = None if n is None else whole("n", n)
    folder = None if out is None else export.new_folder(Path(text("out", out, "the name of a folder")))
    items = read(crystals, tell)
    sound = [item for item in items if not isinstance(item, Failure)]
    own = [build.custom_surrogate(path) for path in query.surrogates]
    estimates = _with_custom(_estimates(sound, tell, query.hardness_load), sound, [], own)
    selection = rank_known(sound, estimates, query, n=most)
    files = [] if folder is None else _written_cifs(selection, folder)
    rows = ranked_rows(selection, targets, files)
    table = export.frame([*_with_sources(rows, selection), *_not_listed(selection, sound, estimates, items)])
    if folder is not None:
        write_run(folder, table, _rank_record(query, selection, len(items)))
    return table


def _written_cifs(selection: Selection, folder: Path) -> list[str]:
    return export.write_cifs([r.crystal for r in selection.rows], folder, verify=len(selection.ranked) <= 500)


def _with_sources(rows: Sequence[export.Row], selection: Selection) -> list[export.Row]:
    """The rows with where their crystals come from; nothing generated them."""
    return [
        {k: v for k, v in row.items() if k not in ("generator", "request", "parents")}
        | {"source": item.crystal.source}
        for row, item in zip(rows, selection.rows, strict=True)
    ]


def _not_listed(
    selection: Selection,
    crystals: Sequence[Crystal],
    estimates: Sequence[Estimate],
    items: Sequence[Crystal | Failure],
) -> list[export.Row]:
    """The crystals that were not ranked, and the items that could not be read, with the reasons."""
    listed = {int(row.candidate.id) for row in selection.rows}
    why = {int(name): objection for name, objection in selection.objections.items()}
    rows = []
    for index in sorted(set(range(len(crystals))) - listed):
        reason = estimates[index].failure or f"not listed: {why.get(index, 'ranked lower')}"
        row = _predicted_row(crystals[index], estimates[index])
        rows.append({"source": row.pop("file")} | row | {"failure": reason})
    unread = [{"source": item.item} | export.failure_columns(item) for item in items if isinstance(item, Failure)]
    return rows + unread


def _rank_record(query: Query, selection: Selection, entered: int) -> dict[str, Any]:
    return {
        "query": query.to_dict(),
        "query_in_words": query.in_words(),
        "custom_properties": custom_properties(query),
        "found": len(selection.ranked),
        "component": selection.component,
        "weights": dict(selection.weights),
        **decision_record(selection),
        "versions": build.versions(),
        "parts": build.checksums(),
        "warnings": ["The crystals were not relaxed; every property comes from statistical models."],
        "selection": {
            "entered": entered,
            "passed": len(selection.ranked),
            "rejected": dict(selection.rejected),
        },
    }
