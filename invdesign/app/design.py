"""The functions behind the command line: each takes plain arguments and returns a table or a result.

>>> from invdesign import Query, design
>>> result = design(Query(targets=["bulk_modulus>=250"]), seed=0)  # doctest: +SKIP
>>> result.table  # doctest: +SKIP
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.data.labels import labels_of
from invdesign.errors import InputError, LedgerError, ReferenceMissingError, StructureReadError
from invdesign.progress import Progress, quiet
from invdesign.properties import LOAD, check_load, get_property, property_in
from invdesign.query import Query, Target
from invdesign.records import MEASURED, Candidate, Estimate, Evaluation, Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd
    from pymatgen.core import Structure

    from invdesign.crystal import Crystal
    from invdesign.engine.campaign import Campaign
    from invdesign.engine.drift import Drift
    from invdesign.engine.feedback import Revised, Told
    from invdesign.engine.funnel import Funnel
    from invdesign.engine.ledger import Header
    from invdesign.protocols import Validator
    from invdesign.records import Relaxation
    from invdesign.reference.local import LocalReference
    from invdesign.relaxation.elastic import Elasticity
    from invdesign.selection.ranking import Selection
    from invdesign.surrogates.custom.transfer import TransferSurrogate
    from invdesign.surrogates.explain.explanation import Explanation
    from invdesign.testing import Outcome
    from invdesign.training.tuning import Tuned

Paths = str | Path | Sequence[str | Path]

EXPLAINED = 100
"""Candidates at the head of a list whose predictions are explained."""


@dataclass(frozen=True)
class Result:
    """What a design run found.

    Attributes:
        query: what was asked.
        seed: of the run.
        selection: the ranked list with its reasons.
        funnel: counts at every stage.
        seconds: computing time of all rounds, wall clock.
        folder: the run folder, or None.
        files: paths of the CIF files within the folder, best first; empty without a folder.
        targets: of the query and its component.
        drift: how the relaxed crystals differ from the training data of the surrogates, and how large errors are
            where values came back.
    """

    query: Query
    seed: int
    selection: Selection
    funnel: Funnel
    seconds: float
    folder: Path | None = None
    files: tuple[str, ...] = ()
    targets: tuple[Target, ...] = field(default=())
    drift: Drift | None = None

    @property
    def rows(self) -> list[Evaluation]:
        """The candidates with everything known of them, best first."""
        return self.selection.rows

    @property
    def structures(self) -> list[Structure]:
        """The relaxed crystals as pymatgen structures, best first."""
        return export.structures(row.crystal for row in self.rows)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per candidate, best first: the columns of `candidates.csv`."""
        return _ranked_table(self.selection, self.targets, self.files)

    def summary(self) -> str:
        """The table's most telling columns and how the run went, as text."""
        lines = [_text_table(self.table, self.query)] if len(self.rows) else []
        lines.append(self.selection.shortfall or f"{len(self.rows)} candidates")
        if self.folder is not None:
            lines.append(f"wrote {self.folder / 'candidates.csv'}, cif/, run.json, report.html")
        if self.drift is not None and self.drift.errors:
            lines += self.drift.lines()
        return "\n".join(lines)


def new_run_folder() -> Path:
    """A folder name for a run that was given none."""
    return Path("runs") / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")


def design(
    query: Query,
    seed: int = 0,
    out: str | Path | None = None,
    relaxations: int | None = None,
    workers: int | None = None,
    progress: Progress = quiet,
) -> Result:
    """Find crystals that meet a query.

    Args:
        query: what is asked.
        seed: the same seed gives the same candidates.
        out: run folder to make (None: nothing is written).
        relaxations: budget of relaxations (None: the query's).
        workers: processes for relaxations (None: one per core).
        progress: is told how far each stage has come.

    Raises:
        InputError: if the generator or the component does not exist.
        OutputError: if the folder is not empty or cannot be written.
        ReferenceMissingError: if weights or tables are missing.
    """
    from invdesign.engine.campaign import Campaign, as_searched

    if relaxations is not None:
        query = replace(query, relaxations=relaxations)
    as_searched(query)
    if query.generator not in (*build.generator_names(), "mixture"):
        raise InputError("generator", query.generator, [*build.generator_names(), "mixture"])
    folder = None if out is None else export.new_folder(Path(out))
    parts = build.default_parts(query, workers)
    ledger = None if folder is None else folder / export.LEDGER
    with Campaign(query, seed, parts, ledger, progress=progress) as campaign:
        return _finish(campaign, folder)


def resume(folder: str | Path, workers: int | None = None, progress: Progress = quiet) -> Result:
    """Go on with a run that was stopped, at any moment; what is recorded is not computed again.

    Args:
        folder: the run folder.
        workers: processes for relaxations (None: one per core).
        progress: is told how far each stage has come.

    Raises:
        LedgerError: if there is no ledger, or it is damaged, in use, or of another version.
    """
    with _reopened(Path(folder), workers, progress) as campaign:
        return _finish(campaign, Path(folder))


def feedback(
    folder: str | Path, results: str | Path, workers: int | None = None, progress: Progress = quiet
) -> Result:
    """Tell a finished run what was measured, or computed by DFT, for some of its candidates, and rank them again.

    The values are added to the run's ledger. They replace the estimates of their candidates; where three
    candidates or more have a value of one property, the estimates of all others are corrected as well.

    Args:
        folder: the run folder.
        results: CSV with `id` or `file` as in `candidates.csv`, and columns of properties.
        workers: as in `resume`.
        progress: is told how far each stage has come.

    Raises:
        InputError: if the run is not finished, or the results cannot be read or do not belong to it.
        LedgerError: as in `resume`.
    """
    from invdesign.engine import feedback as results_of

    folder = Path(folder)
    ids = _ids(folder)
    _query_of(folder)  # so that custom properties are known
    told = results_of.read(Path(results), ids)
    with _reopened(folder, workers, progress) as campaign:
        assert campaign.ledger is not None
        _run(campaign)
        results_of.check(told, campaign.rows)
        before = campaign.ledger.feedback()
        known = {name: {**before.get(name, {}), **told.get(name, {})} for name in {**before, **told}}
        results_of.revise(campaign.rows, known, campaign.parts)  # so that nothing is recorded that cannot be used
        campaign.ledger.add_feedback(told)
        return _finish(campaign, folder)


def _ids(folder: Path) -> dict[str, str]:
    """Candidate ids of a finished run by their files."""
    import csv

    path = folder / "candidates.csv"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return {row["file"]: row["id"] for row in csv.DictReader(stream)}
    except (OSError, UnicodeDecodeError, KeyError, csv.Error):
        allowed = f"the folder of a finished run, with candidates.csv; go on with: invdesign resume {folder}"
        raise InputError("run folder", str(folder), allowed) from None


def _query_of(folder: Path) -> tuple[Header, Query]:
    """What a run was asked; custom properties that it brings become known.

    Raises:
        LedgerError: if there is no ledger, or it is damaged.
    """
    from invdesign.engine.ledger import Ledger

    path = folder / export.LEDGER
    if not path.exists():
        raise LedgerError(f"{folder} holds no run: there is no {export.LEDGER} in it")
    with Ledger.read(path) as ledger:
        return ledger.header, ledger.query


@contextmanager
def _reopened(folder: Path, workers: int | None, progress: Progress) -> Iterator[Campaign]:
    """The campaign of a run folder, as it was made."""
    from invdesign.engine.campaign import Campaign, Sizes
    from invdesign.engine.pipeline import GatePolicy

    path = folder / export.LEDGER
    header, query = _query_of(folder)
    export.writable_folder(folder)
    try:
        sizes, policy = Sizes(**header.settings["sizes"]), GatePolicy(**header.settings["policy"])
    except (KeyError, TypeError) as error:
        raise LedgerError(f"{path}: the ledger's settings are damaged ({error})") from None
    parts = build.default_parts(query, workers)
    with Campaign(query, header.seed, parts, path, sizes=sizes, policy=policy, progress=progress) as campaign:
        yield campaign


def _run(campaign: Campaign) -> None:
    """Run the rounds that are left."""
    try:
        for _ in campaign:
            pass
    finally:
        close = getattr(campaign.parts.relaxer, "close", None)
        if close is not None:
            close()


def _finish(campaign: Campaign, folder: Path | None) -> Result:
    """Run the rounds that are left, rank with what came back since, and write the run folder."""
    from invdesign.engine.feedback import revise
    from invdesign.engine.pipeline import LENIENT
    from invdesign.selection.ranking import rank

    _run(campaign)
    seconds = sum(stage.seconds for stage in campaign.funnel.stages.values())
    told = {} if campaign.ledger is None else campaign.ledger.feedback()
    revised = revise(campaign.rows, told, campaign.parts)
    selection = rank(revised.rows, campaign.query, unknown_allowed=LENIENT)
    result = Result(
        campaign.query,
        campaign.seed,
        selection,
        campaign.funnel,
        seconds,
        folder,
        targets=campaign.targets,
        drift=_drift_of_rows(campaign.rows, told),
    )
    if folder is None:
        return result
    files = tuple(export.write_cifs([row.crystal for row in result.rows], folder, verify=True))
    result = replace(result, files=files)
    _write_run(folder, result.table, _run_record(result, campaign, revised))
    return result


def _drift_of_rows(rows: Sequence[Evaluation], told: Told) -> Drift | None:
    """Drift of the relaxed crystals of a run, errors being those of its estimates before anything came back."""
    from invdesign.selection.ranking import with_hull

    chosen = [row for row in rows if row.relaxation is not None and row.estimate is not None]
    known = [{n: v.mean for n, v in told.get(row.candidate.id, {}).items()} for row in chosen]
    estimates = [with_hull(row) or Estimate({}) for row in chosen]
    return _drift([row.crystal for row in chosen], estimates, known) if chosen else None


def _write_run(folder: Path, table: pd.DataFrame, record: dict[str, Any]) -> None:
    """`candidates.csv`, `run.json` and `report.html`."""
    from invdesign.report.page import write_report

    export.write_table(table, folder / "candidates.csv")
    export.write_json(record, folder / "run.json")
    write_report(folder)


def _run_record(result: Result, campaign: Campaign, revised: Revised) -> dict[str, Any]:
    from invdesign.engine.campaign import LEFT_OUT

    selection = result.selection
    funnel = result.funnel.to_dict()
    return {
        "query": result.query.to_dict(),
        "query_in_words": f"{result.query.in_words()} {LEFT_OUT}",
        "custom_properties": _custom_properties(result.query),
        "seed": result.seed,
        "asked": selection.n_wanted,
        "found": len(selection.ranked),
        "shortfall": selection.shortfall,
        "component": selection.component,
        "weights": dict(selection.weights),
        "relaxations": len(campaign.selected),
        "seconds": round(result.seconds, 1),
        "versions": build.versions(),
        "parts": dict(campaign.parts.provenance),
        "feedback": {"candidates": revised.told, "corrected": list(revised.corrected)},
        "warnings": [*_limits(result), *_told(revised, result.drift)],
        "drift": None if result.drift is None else result.drift.to_dict(),
        "funnel": funnel,
        "selection": _selection_counts(selection),
    }


def _custom_properties(query: Query) -> list[dict[str, Any]]:
    """Custom properties that a query brings, so that its report can be written again without their files."""
    return [asdict(property_in(Path(path))) for path in query.surrogates]


def _told(revised: Revised, drift: Drift | None) -> list[str]:
    """What came back after the run, in a sentence."""
    if not revised.told:
        return []
    who = "1 candidate has" if revised.told == 1 else f"{revised.told} candidates have"
    names = ", ".join(get_property(name).label for name in revised.corrected)
    others = f"; the estimates of the others are corrected by them ({names})" if names else ""
    verdict = [f"Drift: {drift.verdict}."] if drift is not None and drift.errors else []
    return [f"{who} values that came back after the run{others}.", *verdict]


def _selection_counts(selection: Selection) -> dict[str, Any]:
    """The last step of the funnel: from the rows that no earlier stage has rejected to the list."""
    earlier = [reason for reason in selection.rejected if reason == "not relaxed" or reason.endswith(" failed")]
    rejected = {reason: count for reason, count in selection.rejected.items() if reason not in earlier}
    if selection.n_eligible > len(selection.ranked):
        rejected["ranked lower"] = selection.n_eligible - len(selection.ranked)
    listed = len(selection.ranked)
    return {"entered": listed + sum(rejected.values()), "passed": listed, "rejected": rejected}


def _limits(result: Result) -> list[str]:
    """What a reader must know, in sentences."""
    lines = [result.selection.shortfall] if result.selection.shortfall else []
    potentials = {row.relaxation.potential for row in result.rows if row.relaxation}
    if potentials:
        names = " and ".join(sorted(potentials))
        lines.append(
            f"Structures and energies come from the universal potential {names}, put on the Materials Project's "
            "scale; moduli come from statistical models. Confirm a candidate by DFT before you make it."
        )
    spreads = [row.energy_above_hull.std for row in result.rows if row.energy_above_hull]
    if spreads:
        typical = sorted(spreads)[len(spreads) // 2]
        lines.append(f"An energy above hull carries a standard deviation of typically {typical:.3f} eV/atom.")
    return lines


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
    items = _watched(maker.propose(n, np.random.default_rng(seed), conditions), "generate", n, progress)
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


def _watched(items: Iterator[Any], stage: str, total: int | None, progress: Progress) -> Iterator[Any]:
    for done, item in enumerate(items, start=1):
        progress(stage, done, total)
        yield item


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
    items, beside = _read_columns(paths, out, progress)
    crystals = [item for item in items if not isinstance(item, Failure)]
    columns = [row for item, row in zip(items, beside, strict=True) if not isinstance(item, Failure)]
    estimates = _with_custom(_estimates(crystals, progress, load), crystals, columns, own)
    reasons = _explained(crystals, estimates, progress) if explain else [{} for _ in crystals]
    rows = iter([_predicted_row(c, e) | why for c, e, why in zip(crystals, estimates, reasons, strict=True)])
    table = _written([_failed_row(item) if isinstance(item, Failure) else next(rows) for item in items], out)
    if drift:
        table.attrs["drift"] = _drift(crystals, estimates, [_known(row) for row in columns])
    return table


def _known(columns: Mapping[str, Any]) -> dict[str, float]:
    """True values beside a crystal; what invdesign itself has predicted names its source, and is none."""
    found = labels_of(columns)
    return {k: v for k, v in found.items() if columns.get(f"{k}_source") in (None, "", MEASURED)}


def _drift(
    crystals: Sequence[Crystal], estimates: Sequence[Estimate], known: Sequence[Mapping[str, float]]
) -> Drift:
    from invdesign.engine.drift import drift
    from invdesign.surrogates import load_gate

    return drift(crystals, estimates, load_gate().model.memory.element_counts, known)


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


def _explained(
    crystals: Sequence[Crystal], estimates: Sequence[Estimate], progress: Progress, batch: int = 32
) -> list[export.Row]:
    """Columns that explain estimates."""
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.explain.explanation import explain

    gate = load_gate().model
    out: list[export.Row] = []
    for start in range(0, len(crystals), batch):
        part = slice(start, start + batch)
        out += map(export.explanation_columns, explain(gate, crystals[part], estimates[part]))
        progress("explain", len(out), len(crystals))
    return out


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
    items = _read(paths, out, progress)
    known = build.reference()
    judges = [build.validator(name, known) for name in (*build.SCREENS, "uniqueness")]
    rows = []
    for done, item in enumerate(items, start=1):
        if isinstance(item, Failure):
            rows.append(_failed_row(item))
        else:
            rows.append(_judged_row(Evaluation(Candidate(item.source, _with_gene(item), "", "given")), judges))
        progress("validate", done, len(items))
    return _written(rows, out)


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
) -> pd.DataFrame:
    """Relax crystals with a universal potential and place them above the hull.

    The folder gets `relaxed.csv` and `cif/` with the relaxed crystals. Arguments and returns as in `predict`.

    Raises:
        InputError: if there is nothing to read or no such potential.
        OutputError: if the folder is not empty or cannot be written.
    """
    folder = export.new_folder(Path(out))
    items = _read(paths, None, progress)
    crystals = [item for item in items if not isinstance(item, Failure)]
    results: dict[int, Any] = {}
    with build.relaxer(potential, workers) as relaxer:
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
    return _written(rows, folder / "relaxed.csv")


def _relaxed_columns(before: Crystal, relaxation: Relaxation, known: LocalReference) -> export.Row:
    from invdesign.crystallography.symmetry import space_group

    columns = export.crystal_columns(relaxation.crystal) | {
        "space_group_before": space_group(before),
        "failure": "",
    }
    columns |= export.value_columns("formation_energy", relaxation.formation_energy)
    distance = known.energy_above_hull(relaxation.crystal, relaxation.formation_energy)
    if distance is not None:
        columns |= export.value_columns("energy_above_hull", distance)
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
    items = _read(paths, out, progress)
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
    return _written(rows, out)


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
    from invdesign.engine.campaign import as_searched
    from invdesign.selection.ranking import rank_known

    targets = as_searched(query).targets
    folder = export.new_folder(Path(out))
    items = _read(paths, None, progress)
    crystals = [item for item in items if not isinstance(item, Failure)]
    estimates = _with_custom(
        _estimates(crystals, progress, query.hardness_load),
        crystals,
        [],
        [build.custom_surrogate(path) for path in query.surrogates],
    )
    selection = rank_known(crystals, estimates, query, n=n)
    files = export.write_cifs([row.crystal for row in selection.rows], folder, verify=len(selection.ranked) <= 500)
    rows = _ranked_rows(selection, targets, files)
    listed = {int(row.candidate.id) for row in selection.rows}
    why = {int(name): objection for name, objection in selection.objections.items()}
    for index in sorted(set(range(len(crystals))) - listed):
        reason = estimates[index].failure or f"not listed: {why.get(index, 'ranked lower')}"
        rows.append(_predicted_row(crystals[index], estimates[index]) | {"failure": reason})
    table = export.frame(rows + [_failed_row(item) for item in items if isinstance(item, Failure)])
    record = {
        "query": query.to_dict(),
        "query_in_words": query.in_words(),
        "custom_properties": _custom_properties(query),
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
    _write_run(folder, table, record)
    return table


def _ranked_table(selection: Selection, targets: Sequence[Target], files: Sequence[str]) -> pd.DataFrame:
    return export.frame(_ranked_rows(selection, targets, files))


def _ranked_rows(selection: Selection, targets: Sequence[Target], files: Sequence[str]) -> list[export.Row]:
    """The ranked list as rows, with what each candidate competes with, and why the best are predicted so."""
    from invdesign.engine.funnel import meets_targets

    known = build.reference()
    best = [item.row for item in selection.ranked[:EXPLAINED]]
    reasons = _explained([row.crystal for row in best], [row.estimate or Estimate({}) for row in best], quiet)
    rows = []
    for place, item in enumerate(selection.ranked):
        row = {"file": files[place]} if files else {}
        row |= export.ranked_columns(item, meets_targets(item.row, targets))
        row |= _rivals(item.row.crystal, known)
        row |= reasons[place] if place < len(reasons) else {}
        rows.append(row)
    return rows


def _rivals(crystal: Crystal, known: LocalReference) -> export.Row:
    """What the crystal would decompose into, and whether its formula is known with another structure."""
    phases = known.decomposition(crystal.numbers)
    return {
        "decomposes_into": " + ".join(f"{share:.2f} {formula}" for formula, share in phases),
        "formula_known": known.known_formula(crystal.numbers),
    }


def _text_table(table: pd.DataFrame, query: Query) -> str:
    """Rank, formula, group, score, the targets' properties and the distance to the hull, in aligned columns."""
    names = dict.fromkeys([*(t.name for t in query.targets), "energy_above_hull"])
    shown = [name for name in names if name in table]
    head = ["rank", "formula", "space_group", "score", *shown, "file"]
    lines = [head]
    for row in table.to_dict("records"):
        values = [_with_error(row, name) for name in shown]
        fixed = [str(row["rank"]), str(row["formula"]), str(row["space_group"]), f"{row['score']:.3f}"]
        lines.append([*fixed, *values, str(row.get("file", ""))])
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _with_error(row: Mapping[Any, Any], name: str) -> str:
    digits = 3 if get_property(name).unit == "eV/atom" else 1
    return f"{row[name]:.{digits}f} ± {row[name + '_std']:.{digits}f}"


def _read(paths: Paths, out: Path | None, progress: Progress) -> list[Crystal | Failure]:
    """Every item of the input; see `_read_columns`."""
    return _read_columns(paths, out, progress)[0]


def _read_columns(
    paths: Paths, out: Path | None, progress: Progress
) -> tuple[list[Crystal | Failure], list[dict[str, Any]]]:
    """Every item of the input and the columns beside it, after a look at whether the output can be written.

    Raises:
        StructureReadError: if none of them could be read.
    """
    from invdesign.data.read import read_columns

    if out is not None:
        export.writable_file(Path(out))
    pairs = list(_watched(read_columns(paths), "read", None, progress))
    items, columns = [item for item, _ in pairs], [beside for _, beside in pairs]
    failures = [item for item in items if isinstance(item, Failure)]
    if len(failures) == len(items):
        why = f": {failures[0].item}: {failures[0].reason}" if failures else ""
        raise StructureReadError(f"none of {len(items)} items could be read as a crystal{why}")
    return items, columns


def _failed_row(failure: Failure) -> export.Row:
    return {"file": failure.item} | export.failure_columns(failure)


def _written(rows: Sequence[export.Row], out: Path | None) -> pd.DataFrame:
    table = export.frame(rows)
    if out is not None:
        export.write_table(table, Path(out))
    return table


def check(name: str, family: str | None = None) -> list[Outcome]:
    """Run the contract tests on a generator, validator or surrogate.

    Args:
        name: as in the tables of parts, or `module:Class`.
        family: `generator`, `validator` or `surrogate` (None: found by the name or by the verbs that it has).

    Raises:
        InputError: if there is no such part.
    """
    from invdesign import testing

    found = [family] if family else build.families(name)
    made = build.part(name, found[0] if found else None)
    kind = found[0] if found else testing.family_of(made)
    return testing.contract(kind)(made)


def train(
    model: str, data: Path, config: Path | None = None, out: Path | None = None, seed: int = 0,
    progress: Progress = quiet,
) -> Path:  # fmt: skip
    """Train a model on crystals with labels and write its weights.

    Args:
        model: a name of the table of trainers, `vae`, `gan` or `surrogate`.
        data: anything that can be read, with columns of labels beside the structures.
        config: YAML with the trainer's settings (None: its defaults).
        out: file of the weights.
        seed: of everything random.
        progress: is told how far it has come.

    Raises:
        InputError: if the data or the settings cannot be read.
        TrainingError: if they cannot lead to a model.
    """
    trainer = build.trainer(model)
    settings = read_yaml(config) if config else {}
    target = export.writable_file(out or Path(f"{model}.safetensors"))
    written: Path = trainer(Path(data), settings | {"seed": seed}, target, progress)
    return written


def train_property(
    data: Path, config: Path | None = None, out: Path | None = None, progress: Progress = quiet, **settings: Any
) -> tuple[Path, str]:
    """Train a surrogate of a custom property, from some tens to some thousands of labels.

    Args:
        data: a table with a crystal and a label in each row; see `invdesign.surrogates.custom.own`.
        config: YAML with settings (None: none); `settings` win.
        out: file of the weights (None: `<property>.safetensors`).
        progress: is told how far it has come.
        **settings: `property`, `unit`, `scale`, `low_fidelity`, `seed`.

    Returns:
        The file, and a report with the learning curve.

    Raises:
        InputError: if the data or the settings cannot be read.
        TrainingError: if they cannot lead to a model.
    """
    from invdesign.settings import settings_of
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.custom.own import CustomSettings, report, train_custom

    chosen = settings_of(CustomSettings, (read_yaml(config) if config else {}) | settings)
    target = export.writable_file(out or Path(f"{chosen.property}.safetensors"))
    transfer = train_custom(load_gate().model, Path(data), chosen, progress)
    transfer.save(target)
    return target, report(transfer)


def tune(
    model: str, data: Path, out: Path, trials: int = 50, config: Path | None = None, pruner: str = "median",
    seed: int = 0, progress: Progress = quiet,
) -> Tuned:  # fmt: skip
    """Search for better training settings and write the best, as `train --config` reads them.

    Args:
        model: `surrogate` or `vae`.
        data: as in `train`.
        out: YAML to write; the study lies beside it, and the same call goes on with it.
        trials: of the study in all.
        config: YAML with settings that are kept (None: none).
        pruner: `median`, `hyperband` or `none`.
        seed: of everything random.
        progress: is told how far it has come.

    Raises:
        InputError: if the data or the settings cannot be read, or the study is one of others.
        TrainingError: if they cannot lead to a model.
    """
    from invdesign.training.tuning import tune

    target = export.writable_file(Path(out))
    return tune(model, Path(data), target, trials, read_yaml(config) if config else {}, pruner, seed, progress)


def read_yaml(path: Path, what: str = "settings") -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        InputError: if it cannot be read or holds something else.
    """
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(what, str(path), f"a readable YAML file ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(what, str(path), f"valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise InputError(what, str(path), "a mapping such as {n: 20}")
    return {str(key): value for key, value in data.items()}


def benchmark_generation(
    out: Path,
    generators: str | None = None,
    n: int | None = None,
    relax: int | None = None,
    quick: bool = False,
    seed: int | None = None,
    workers: int | None = None,
    progress: Progress = quiet,
) -> str:
    """Measure generators and write the record; see `invdesign.benchmarking.generation`.

    Args:
        out: `FILE.json`; a table and the journal are written beside it.
        generators: names separated by commas (None: all).
        n: samples of each (None: 100).
        relax: how many of them are relaxed (None: all, or a dozen if `quick`).
        quick: as above.
        seed: of every random choice (None: 0).
        workers: processes for relaxations (None: one per core).
        progress: is told how far it has come.

    Returns:
        The table in Markdown.

    Raises:
        InputError: if there is no such generator or a number is out of range.
        OutputError: if a file cannot be written, or belongs to another benchmark.
    """
    from invdesign.benchmarking import generation as benchmark

    size = n or benchmark.QUICK["n"]
    most = relax if relax is not None else min(size, benchmark.QUICK["relax"] if quick else size)
    plan = benchmark.Plan(_names(generators), size, seed or 0, most)
    return benchmark.markdown(benchmark.generation(plan, Path(out), workers, progress))


def benchmark_targets(
    out: Path,
    generators: str | None = None,
    targets: Sequence[str] = (),
    n: int | None = None,
    relax: int | None = None,
    quick: bool = False,
    seed: int | None = None,
    workers: int | None = None,
    progress: Progress = quiet,
) -> str:
    """Measure how generators hit targets and write the record; see `invdesign.benchmarking.targets`.

    Args:
        out: `FILE.json`; a table and the journal are written beside it.
        generators: names separated by commas (None: all).
        targets: each a target, or several joined by commas (empty: the shipped ones, six of them if `quick`).
        n: samples for each generator and target (None: 600, or 240 if `quick`).
        relax: how many of them the screen may relax (None: one in thirty, as in a design run).
        quick: as above.
        seed: of every random choice (None: 0).
        workers: processes for relaxations (None: one per core).
        progress: is told how far it has come.

    Returns:
        The tables in Markdown.

    Raises:
        InputError, ConflictError: if there is no such generator or target, or a number is out of range.
        OutputError: if a file cannot be written, or belongs to another benchmark.
    """
    from invdesign.benchmarking import targets as bench
    from invdesign.engine.campaign import SIZES

    size = n or (bench.QUICK_N if quick else bench.N)
    most = relax if relax is not None else max(1, size // SIZES.proposals)
    wanted = tuple(targets) or (bench.QUICK_TARGETS if quick else tuple(bench.TARGETS))
    plan = bench.TargetPlan(_names(generators), size, seed or 0, most, targets=wanted)
    return bench.markdown(bench.targets(plan, Path(out), workers, progress))


def benchmark_surrogates(
    out: Path,
    protocols: str | None = None,
    relaxed: int | None = None,
    quick: bool = False,
    data: Path | None = None,
    workers: int | None = None,
    progress: Progress = quiet,
) -> str:
    """Measure the surrogates and write the record; see `invdesign.benchmarking.surrogates`.

    Args:
        out: `FILE.json`; tables, plots and the journal are written beside it.
        protocols: names separated by commas (None: all).
        relaxed: test crystals for the second stage (None: all, or 200 if `quick`).
        quick: a quarter of the crystals, smaller gates.
        data: table of crystals and labels (None: those of the package).
        workers: processes that train (None: one per core).
        progress: is told how far it has come.

    Returns:
        The tables in Markdown.

    Raises:
        InputError: if there is no such protocol or the data cannot be read.
        OutputError: if a file cannot be written, or belongs to another benchmark.
        ReferenceMissingError: if weights or tables cannot be read.
        WorkerError: if a process that trains ends early.
    """
    from invdesign.benchmarking import surrogates as bench
    from invdesign.benchmarking.splits import PROTOCOLS

    wanted = tuple(PROTOCOLS) if protocols is None else _names(protocols)
    plan = bench.Plan(wanted, relaxed, quick, None if data is None else Path(data))
    return bench.markdown(bench.surrogates(Path(out), plan, workers, progress))


def _names(generators: str | None) -> tuple[str, ...]:
    """Generators by their names, separated by commas; all of them if none are named."""
    if generators is None:
        return build.generator_names()
    return tuple(name.strip() for name in generators.split(","))


def report(folder: Path) -> Path:
    """Write `report.html` of a run folder again."""
    from invdesign.report.page import write_report

    return write_report(folder)
