"""Commands on crystals: generate, predict, explain, validate, relax, elastic tensors, rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.record import custom_properties, drift_of, write_run
from invdesign.app.result import explained, ranked_rows
from invdesign.app.tables import Paths, failed_row, read, read_with_columns, watched, written
from invdesign.data.labels import labels_of
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.progress import Progress, quiet
from invdesign.properties import LOAD, check_load
from invdesign.query import Query
from invdesign.records import MEASURED, Candidate, Estimate, Evaluation, Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal
    from invdesign.protocols import Validator
    from invdesign.records import Relaxation
    from invdesign.reference.local import LocalReference
    from invdesign.relaxation.elastic import Elasticity
    from invdesign.surrogates.custom.transfer import TransferSurrogate
    from invdesign.surrogates.explain.explanation import Explanation


def generate(
    query: Query,
    n: int,
    seed: int,
    out: Path,
    form: str = "cif",
    guidance: float = 1.0,
    temperature: float = 1.0,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """Sample crystals from the generator that a query names, unscreened and unrelaxed, into a folder.

    The folder gets `candidates.csv` and `cif/` (or `candidates.extxyz`); an item that could not be made is a row
    with the reason.

    Raises:
        InputError: if there is no such generator, or it does not know a condition, or a number is out of range.
        OutputError: if the folder is not empty or cannot be written.
    """
    import numpy as np

    from invdesign.engine.search import conditions_of

    if not math.isfinite(guidance):
        raise InputError("guidance", guidance, "a finite number")
    if not 0.01 <= temperature <= 100.0:
        raise InputError("temperature", temperature, "0.01 to 100")
    if query.generator not in build.generator_names() and ":" not in query.generator:
        raise InputError("generator", query.generator, build.generator_names())
    maker = build.generator(query.generator)
    folder = export.new_folder(out)
    conditions = conditions_of(query)
    asked = {k: v for k, v in conditions.properties.items() if k in {t.name for t in query.targets}}
    conditions = replace(conditions, properties=asked, guidance=guidance, temperature=temperature)
    items = watched(maker.propose(n, np.random.default_rng(seed), conditions), "generate", n, progress)
    made = list(items)
    crystals = [item for item in made if not isinstance(item, Failure)]
    names = iter(_write_samples(crystals, folder, form))
    rows = [
        export.failure_columns(item) if isinstance(item, Failure) else _sample_columns(item, next(names))
        for item in made
    ]
    table = export.frame([{"id": f"{query.generator}-{seed}-{k:05d}"} | row for k, row in enumerate(rows)])
    export.write_table(table, folder / "candidates.csv")
    record = {
        "query": query.to_dict() | {"n": n},
        "seed": seed,
        "found": len(crystals),
        "guidance": guidance,
        "temperature": temperature,
        "versions": build.versions(),
        "parts": build.checksums(),
    }
    export.write_json(record, folder / "run.json")
    return table


def _write_samples(crystals: Sequence[Crystal], folder: Path, form: str) -> list[str]:
    if form == "cif":
        return export.write_cifs(crystals, folder)
    from ase.io import write

    from invdesign.data.convert import to_ase

    write(folder / "candidates.extxyz", [to_ase(crystal) for crystal in crystals], format="extxyz")
    return [f"candidates.extxyz#{k}" for k in range(len(crystals))]


def _sample_columns(crystal: Crystal, file: str) -> export.Row:
    from invdesign.chemistry.composition import reduced_formula
    from invdesign.mechanics.formulas import density

    gene = crystal.gene
    return {
        "file": file,
        "formula": reduced_formula(crystal.numbers),
        "space_group": None if gene is None else gene.space_group,
        "n_sites": crystal.n_sites,
        "density": density(crystal),
        "failure": "",
    }


def predict(
    paths: Paths,
    out: Path | None = None,
    explain: bool = False,
    progress: Progress = quiet,
    surrogates: Sequence[str | Path] = (),
    load: float | None = None,
    drift: bool = False,
) -> pd.DataFrame:
    """Predict the properties of crystals as they are, with uncertainty, derived properties included.

    Args:
        paths: CIF, POSCAR, extxyz, JSON, a folder, a zip, …
        out: CSV to write (None: none).
        explain: add what elements, sites and features contribute, and the nearest known crystals.
        progress: is told how far it has come.
        surrogates: files of custom properties (`train_property`), which are predicted as well. Where the
            input is a table with the column of their low-fidelity label, that is made use of.
        load: of the Vickers hardness, 0.05 to 50 N (None: 4.9 N).
        drift: compare the crystals with the training data; the table's `attrs["drift"]` is the
            `invdesign.engine.drift.Drift`. Properties that stand beside the crystals in a table are taken as true
            values.

    Returns:
        One row per item in the input; an item that cannot be read or predicted has the reason in `failure`.

    Raises:
        InputError, StructureReadError: if there is nothing to read, or nothing of it can be read.
        OutputError: if the table cannot be written.
    """
    load = None if load is None else check_load(load)
    own = [build.custom_surrogate(path) for path in surrogates]
    items, beside = read_with_columns(paths, out, progress)
    crystals = [item for item in items if not isinstance(item, Failure)]
    columns = [row for item, row in zip(items, beside, strict=True) if not isinstance(item, Failure)]
    estimates = _with_custom(_estimates(crystals, progress, load), crystals, columns, own)
    reasons = explained(crystals, estimates, progress) if explain else [{} for _ in crystals]
    rows = iter([_predicted_row(c, e) | why for c, e, why in zip(crystals, estimates, reasons, strict=True)])
    table = written([failed_row(item) if isinstance(item, Failure) else next(rows) for item in items], out)
    if drift:
        table.attrs["drift"] = drift_of(crystals, estimates, [_known(row) for row in columns])
    return table


def _known(columns: Mapping[str, Any]) -> dict[str, float]:
    """True values beside a crystal; what invdesign itself has predicted names its source, and is none."""
    found = labels_of(columns)
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


def explain(crystal: Crystal) -> Explanation:
    """Why a crystal is predicted as it is, and the nearest known crystals with their computed values.

    What is explained is the estimate of `predict`; contributions are those of the gate, and what the second stage
    adds stands apart. See `invdesign.surrogates.explain.explanation` for the definitions.
    """
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.explain.explanation import explain

    return explain(load_gate().model, [crystal], _estimates([crystal], quiet))[0]


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
        out += derive_many(found, part, LOAD if load is None else load)
        progress("predict", len(out), len(crystals))
    return out


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


def validate(paths: Paths, out: Path | None = None, progress: Progress = quiet) -> pd.DataFrame:
    """Judge crystals as they are by every validator that needs no energy.

    The symmetry asked for is the one found at 0.1 Å, so that verdict says whether it stands at 0.01 Å as well.
    Arguments and returns as in `predict`; the verdicts are columns `verdict_<name>` with their reasons.
    """
    items = read(paths, out, progress)
    known = build.reference()
    judges = [build.validator(name, known) for name in (*build.SCREENS, "uniqueness")]
    rows = []
    for done, item in enumerate(items, start=1):
        if isinstance(item, Failure):
            rows.append(failed_row(item))
        else:
            rows.append(_judged_row(Evaluation(Candidate(item.source, _with_gene(item), "", "given")), judges))
        progress("validate", done, len(items))
    return written(rows, out)


def _with_gene(crystal: Crystal) -> Crystal:
    from invdesign.crystallography.cif import gene_of

    return replace(crystal, gene=gene_of(crystal, (0.1,)))


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


def relax(
    paths: Paths,
    out: Path,
    workers: int | None = None,
    potential: str | None = None,
    progress: Progress = quiet,
    **settings: Any,
) -> pd.DataFrame:
    """Relax crystals with a universal potential and place them above the hull.

    The folder gets `relaxed.csv` and `cif/` with the relaxed crystals. Arguments and returns as in `predict`.

    Args:
        paths: as in `predict`.
        out: the folder.
        workers: processes (None: one per core).
        potential: by name, or `package.module:factory` (None: the default).
        progress: is told how far it has come.
        settings: `scale`, the name or file of an energy scale, and fields of
            `invdesign.relaxation.minimise.RelaxSettings`, e.g. `pressure=10.0` (GPa).

    Raises:
        InputError: if there is nothing to read, no such potential, or a setting is out of range.
        OutputError: if the folder is not empty or cannot be written.
        ReferenceMissingError: if there is no such energy scale.
    """
    with build.relaxer(potential, workers, **settings) as relaxer:
        folder = export.new_folder(Path(out))
        items = read(paths, None, progress)
        crystals = [item for item in items if not isinstance(item, Failure)]
        results: dict[int, Any] = {}
        for index, result in relaxer.relax_iter(crystals):
            results[index] = result
            progress("relax", len(results), len(crystals))
    relaxed = [results[k] for k in range(len(crystals))]
    done = [r.crystal for r in relaxed if not isinstance(r, Failure)]
    names = iter(export.write_cifs(done, folder, verify=True))
    answers, known = iter(relaxed), build.reference()
    rows = []
    for item in items:
        answer = item if isinstance(item, Failure) else next(answers)
        if isinstance(item, Failure) or isinstance(answer, Failure):
            source = item.item if isinstance(item, Failure) else item.source
            rows.append({"source": source} | export.failure_columns(answer))
        else:
            rows.append({"source": item.source, "file": next(names)} | _relaxed_columns(item, answer, known))
    return written(rows, folder / "relaxed.csv")


def _relaxed_columns(before: Crystal, relaxation: Relaxation, known: LocalReference) -> export.Row:
    from invdesign.crystallography.symmetry import space_group

    columns = export.crystal_columns(relaxation.crystal) | {
        "space_group_before": space_group(before),
        "failure": "",
    }
    energy = relaxation.formation_energy
    distance = None if energy is None else known.energy_above_hull(relaxation.crystal, energy)
    for name, value in (("formation_energy", energy), ("energy_above_hull", distance)):
        columns |= {name: None} if value is None else export.value_columns(name, value)
    columns |= {"known_phases": known.phases_of_system(relaxation.crystal.numbers)}
    return columns | export.relaxation_columns(relaxation) | {"seconds": relaxation.seconds}


def elastic(
    paths: Paths,
    out: Path | None = None,
    workers: int | None = None,
    potential: str | None = None,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """Relax crystals with a universal potential and compute their elastic tensors with it.

    Such tensors are too soft; they tell stability and anisotropy. `predict` gives the size of the moduli.

    Returns:
        One row per item in the input: `c11` … `c66` in GPa (Voigt), averages, anisotropy, lowest eigenvalue and
        the verdict on Born's criterion; an item without a tensor has the reason in `failure`. Arguments as in
        `predict`.
    """
    items = read(paths, out, progress)
    crystals = [item for item in items if not isinstance(item, Failure)]
    relaxed: dict[int, Relaxation | Failure] = {}
    with build.relaxer(potential, workers) as relaxer:
        for index, result in relaxer.relax_iter(crystals):
            relaxed[index] = result
            progress("relax", len(relaxed), len(crystals))
    answers = iter(_tensors([relaxed[k] for k in range(len(crystals))], potential, workers, progress))
    rows = []
    for item in items:
        answer = item if isinstance(item, Failure) else next(answers)
        if isinstance(answer, Failure):
            file = item.item if isinstance(item, Failure) else item.source
            rows.append({"file": file} | export.failure_columns(answer))
        else:
            rows.append({"file": answer.crystal.source} | _elastic_columns(answer))
    return written(rows, out)


def _tensors(
    relaxed: Sequence[Relaxation | Failure], potential: str | None, workers: int | None, progress: Progress
) -> list[Elasticity | Failure]:
    """Elastic tensors of what could be relaxed, some at a time so that progress can be told."""
    out: list[Elasticity | Failure] = []
    with build.elastic_tensors(potential, workers) as tensors:
        for start in range(0, len(relaxed), 8):
            part = relaxed[start : start + 8]
            found = iter(tensors.compute([r.crystal for r in part if not isinstance(r, Failure)]))
            out += [r if isinstance(r, Failure) else next(found) for r in part]
            progress("elastic tensor", len(out), len(relaxed))
    return out


def _elastic_columns(answer: Elasticity) -> export.Row:
    from invdesign.mechanics.formulas import summarise

    about = summarise(answer.tensor)
    pairs = [(i, j) for i in range(6) for j in range(i, 6)]
    return {
        **export.crystal_columns(answer.crystal),
        "failure": "",
        "elastic_stability": answer.verdict.status.value,
        "elastic_stability_reason": answer.verdict.reason,
        "lowest_eigenvalue": about.eigenvalues[0],
        "potential_bulk_modulus": about.bulk_hill,
        "potential_shear_modulus": about.shear_hill,
        "universal_anisotropy": about.universal_anisotropy,
        "log_anisotropy": about.log_anisotropy,
        "residual": answer.residual,
        **{f"c{i + 1}{j + 1}": round(float(answer.tensor[i, j]), 6) + 0.0 for i, j in pairs},
        "potential": answer.potential,
        "seconds": answer.seconds,
    }


def rank(paths: Paths, query: Query, out: Path, n: int | None = None, progress: Progress = quiet) -> pd.DataFrame:
    """Rank crystals as they are for a component and targets, into a folder like that of a design run.

    Args:
        paths: as in `predict`.
        query: its component, targets and elements.
        out: the folder.
        n: length of the list (None: all that may be listed).
        progress: is told how far it has come.

    Returns:
        The ranked table; crystals that were not ranked stand below, with the reason.
    """
    from invdesign.engine.wishes import completed
    from invdesign.selection.ranking import rank_known

    targets = completed(query).targets
    folder = export.new_folder(Path(out))
    items = read(paths, None, progress)
    crystals = [item for item in items if not isinstance(item, Failure)]
    estimates = _with_custom(
        _estimates(crystals, progress, query.hardness_load),
        crystals,
        [],
        [build.custom_surrogate(path) for path in query.surrogates],
    )
    selection = rank_known(crystals, estimates, query, n=n)
    files = export.write_cifs([row.crystal for row in selection.rows], folder, verify=len(selection.ranked) <= 500)
    rows = ranked_rows(selection, targets, files)
    listed = {int(row.candidate.id) for row in selection.rows}
    why = {int(name): objection for name, objection in selection.objections.items()}
    for index in sorted(set(range(len(crystals))) - listed):
        reason = estimates[index].failure or f"not listed: {why.get(index, 'ranked lower')}"
        rows.append(_predicted_row(crystals[index], estimates[index]) | {"failure": reason})
    table = export.frame(rows + [failed_row(item) for item in items if isinstance(item, Failure)])
    record = {
        "query": query.to_dict(),
        "query_in_words": query.in_words(),
        "custom_properties": custom_properties(query),
        "found": len(selection.ranked),
        "component": selection.component,
        "weights": dict(selection.weights),
        "versions": build.versions(),
        "parts": build.checksums(),
        "warnings": ["The crystals were not relaxed; every property comes from statistical models."],
        "selection": {
            "entered": len(items),
            "passed": len(selection.ranked),
            "rejected": dict(selection.rejected),
        },
    }
    write_run(folder, table, record)
    return table
