"""The functions behind the command line: each takes plain arguments and returns a table or a result.

>>> from invdesign.app.tables import read, written
from invdesign.app.result import Result
from invdesign.app.record import drift_of_rows, write_run, run_record
from invdesign import Query, design
>>> result = design(Query(targets=["bulk_modulus>=250"]), seed=0)  # doctest: +SKIP
>>> result.table  # doctest: +SKIP
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign import build
from invdesign.app.elements import check_elements
from invdesign.app.record import drift_of_rows, run_record, write_run
from invdesign.app.result import Result
from invdesign.errors import InputError, LedgerError
from invdesign.progress import Progress, quiet
from invdesign.query import Query
from invdesign.report import export

if TYPE_CHECKING:
    from invdesign.engine.campaign import Campaign
    from invdesign.engine.ledger import Header


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
        InputError: if the generator or the component does not exist, or a part does not know an element.
        OutputError: if the folder is not empty or cannot be written.
        ReferenceMissingError: if weights or tables are missing.
    """
    from invdesign.engine.campaign import Campaign
    from invdesign.engine.wishes import completed

    if relaxations is not None:
        query = replace(query, relaxations=relaxations)
    completed(query)
    if query.generator not in (*build.generator_names(), "mixture"):
        raise InputError("generator", query.generator, [*build.generator_names(), "mixture"])
    check_elements(query)
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
    from invdesign.engine.screening import GatePolicy

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
        drift=drift_of_rows(campaign.rows, told),
    )
    if folder is None:
        return result
    files = tuple(export.write_cifs([row.crystal for row in result.rows], folder, verify=True))
    result = replace(result, files=files)
    write_run(folder, result.table, run_record(result, campaign, revised))
    return result


def report(folder: Path) -> Path:
    """Write `report.html` of a run folder again."""
    from invdesign.report.page import write_report

    return write_report(folder)
