"""Design runs: start one, go on with one, tell one what came back.

Examples:
    >>> from invdesign import Query, design
    >>> result = design(Query(targets=["bulk_modulus>=250"]), seed=0)  # doctest: +SKIP
    >>> result.table  # doctest: +SKIP
"""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import __version__, build
from invdesign.app.elements import check_elements
from invdesign.app.feasibility import feasibility
from invdesign.app.outcome import outcome
from invdesign.app.record import drift_of_rows, run_record
from invdesign.app.result import Result
from invdesign.checks import text, whole
from invdesign.engine.wishes import completed, resolved
from invdesign.errors import EmptyQueryError, InputError, InvdesignWarning, LedgerError
from invdesign.executors import Workforce, checked, counted_here
from invdesign.progress import Progress, Shown, told, with_progress
from invdesign.query import Query, as_query
from invdesign.report import export
from invdesign.run_log import RunLog, logged
from invdesign.workers import cpu_count

if TYPE_CHECKING:
    from invdesign.engine.campaign import Campaign, Step
    from invdesign.engine.feedback import Told
    from invdesign.engine.ledger import Header


def new_run_folder() -> Path:
    """A folder name for a run that was given none."""
    return Path("runs") / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")


@with_progress
def design(
    query: Query | Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    *,
    minutes: float | None = None,
    workers: Workforce = None,
    ledger: str | None = None,
    progress: Shown = None,
    callback: Callable[[Step], object] | None = None,
    **wishes: Any,
) -> Result:
    """Find crystals that meet a query.

    >>> design(targets=["bulk_modulus>=250"], exclude="toxic", n=5)  # doctest: +SKIP

    Args:
        query: what is asked: a query, or a mapping of its fields.
        seed: the same seed gives the same candidates.
        out: run folder to make (None: nothing is written).
        minutes: time for the run (None: as long as it takes). Relaxations that are not expected to fit are taken
            off the query's budget, and no round begins that would end too late (`resume` goes on).
        workers: processes for relaxations (None: one per core), or an executor.
        ledger: URL of a database server that records the run, `postgresql+psycopg://USER@HOST/DATABASE` (None: a
            file in the run folder). `schema=NAME` in it names the run; by default that is the folder's name.
        progress: see `invdesign.progress.Shown`.
        callback: called with the step of every round; the run stops where it returns True (`resume` goes on).
        **wishes: fields of the query, in place of those of `query`.

    Raises:
        InputError: if a value is not valid, the generator, a validator or the component does not exist, or a part
            does not know an element that is named.
        EmptyQueryError: if nothing is asked for.
        OutputError: if the folder is not empty or cannot be written.
        ReferenceMissingError: if weights or tables are missing.

    Warns:
        InvdesignWarning: if no known crystal comes anywhere near what is asked for.
    """
    from invdesign.engine.campaign import Campaign

    query = checked_query(as_query(query, wishes))
    if warning := feasibility(query).warning():
        warnings.warn(warning, InvdesignWarning, stacklevel=3)
    seed, workers = whole("seed", seed, 0), checked(workers)
    if minutes is not None:
        from invdesign.app.plan import within

        query = within(query, minutes, counted_here(workers))
        callback = _on_time(minutes, callback)
    folder = None if out is None else export.new_folder(Path(text("out", out, "the name of a folder")))
    parts = build.default_parts(query, workers)
    where = None if folder is None else _new_ledger(folder, ledger)
    opened = logged(folder, workers=processes(workers), seed=seed, version=__version__)
    with Campaign(query, seed, parts, where, progress=told(progress)) as campaign, opened as log:
        if folder is not None and ledger is not None and campaign.ledger is not None:
            export.write_text(f"{campaign.ledger.where}\n", folder / export.LEDGER_URL)
        return _finish(campaign, folder, log, callback)


def processes(workers: Workforce) -> int:
    """Worker processes of this machine; none where an executor has them."""
    return (counted_here(workers) or cpu_count()) if workers is None or isinstance(workers, int) else 0


def _new_ledger(folder: Path, url: str | None) -> str | Path:
    """Where a new run is recorded.

    Raises:
        LedgerError: if there is a ledger already.
    """
    from invdesign.engine import server
    from invdesign.engine.ledger import Ledger

    if url is None:
        return folder / export.LEDGER
    if "://" not in url or url.startswith("sqlite:"):
        raise InputError("ledger", url, "the URL of a server, as postgresql+psycopg://USER@HOST/DATABASE")
    where = server.with_schema(url, folder.resolve().name)
    if Ledger.exists(where):
        raise LedgerError(f"{server.shown(where)}: there is a ledger already; resume it, or choose another folder")
    return where


def _on_time(minutes: float, callback: Callable[[Step], object] | None) -> Callable[[Step], object]:
    """A callback that also stops the run where another round like the last would end after some minutes."""
    end = time.monotonic() + 60.0 * minutes

    def stops(step: Step) -> object:
        late = time.monotonic() + step.seconds > end
        return (callback is not None and callback(step) is True) or late

    return stops


def checked_query(query: Query) -> Query:
    """A query that a run can start with: its files read, its parts and its component there, something asked for.

    Raises:
        InputError, ConflictError, EmptyQueryError: if it is none.
    """
    build.check_names(query)
    if query.is_empty:
        raise EmptyQueryError
    query = resolved(query)
    completed(query)
    check_elements(query)
    return query


@with_progress
def resume(
    folder: str | Path, *, more: int | None = None, workers: Workforce = None, progress: Shown = None
) -> Result:
    """Go on with a run that was stopped, at any moment; what is recorded is not computed again.

    Args:
        folder: the run folder.
        more: relaxations to add, after those that are left, with what came back by then (`feedback`). They are
            recorded before the first is spent: if this is stopped, go on without `more`.
        workers: processes for relaxations (None: one per core), or an executor.
        progress: see `invdesign.progress.Shown`.

    Raises:
        LedgerError: if there is no ledger, or it is damaged, in use, or of another version.
        InputError: if `more` is not positive.
    """
    more = None if more is None else whole("more", more)
    folder = Path(text("folder", folder, "the folder of a run"))
    with _reopened(folder, checked(workers), told(progress)) as (campaign, log):
        if more is not None:
            for _ in campaign:
                pass
            campaign.extend(more)
        return _finish(campaign, folder, log)


@with_progress
def feedback(
    folder: str | Path, results: str | Path, *, workers: Workforce = None, progress: Shown = None
) -> Result:
    """Tell a finished run what was measured, or computed by DFT, for some of its candidates, and rank them again.

    The values are added to the run's ledger. They replace the estimates of their candidates; where three
    candidates or more have a value of one property, the estimates of all others are corrected as well.

    Args:
        folder: the run folder.
        results: CSV with `id` or `file` as in `candidates.csv`, and columns of properties.
        workers: as in `resume`.
        progress: see `invdesign.progress.Shown`.

    Raises:
        InputError: if the run is not finished, or the results cannot be read or do not belong to it.
        LedgerError: as in `resume`.
    """
    from invdesign.engine import feedback as results_of

    folder = Path(text("folder", folder, "the folder of a run"))
    ids = _ids(folder)
    custom = resolved(query_of(folder)[1]).known_properties
    told_now = results_of.read(Path(text("results", results, "the path of a CSV file")), ids, custom)
    return feedback_of(folder, told_now, workers=workers, progress=progress)


def feedback_of(
    folder: str | Path, told_now: Told, *, workers: Workforce = None, progress: Shown = None
) -> Result:
    """Record values that came back for candidates of a finished run, and rank them again; see `feedback`.

    Args:
        folder: the run folder.
        told_now: values by candidate id and property.
        workers: as in `resume`.
        progress: see `invdesign.progress.Shown`.

    Raises:
        InputError: if a candidate cannot have values.
        LedgerError: as in `resume`.
    """
    from invdesign.engine import feedback as results_of

    folder = Path(folder)
    custom = resolved(query_of(folder)[1]).known_properties
    with _reopened(folder, checked(workers), told(progress)) as (campaign, log):
        assert campaign.ledger is not None
        _run(campaign)
        results_of.check(told_now, campaign.rows)
        before = campaign.ledger.feedback()
        known = {name: {**before.get(name, {}), **told_now.get(name, {})} for name in {**before, **told_now}}
        # before anything is recorded, so that nothing is that cannot be used
        results_of.revise(campaign.rows, known, campaign.parts, known=custom)
        campaign.ledger.add_feedback(told_now)
        return _finish(campaign, folder, log)


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


def query_of(folder: Path) -> tuple[Header, Query]:
    """What a run was asked.

    Raises:
        LedgerError: if there is no ledger, or it is damaged.
    """
    from invdesign.engine.ledger import Ledger

    if not export.has_ledger(folder):
        raise LedgerError(f"{folder} holds no run: there is no {export.LEDGER} in it")
    with Ledger.read(export.ledger_of(folder)) as ledger:
        return ledger.header, ledger.query


@contextmanager
def _reopened(folder: Path, workers: Workforce, progress: Progress) -> Iterator[tuple[Campaign, RunLog]]:
    """The campaign of a run folder, as it was made, and its log."""
    from invdesign.engine.campaign import Campaign, Sizes
    from invdesign.engine.screening import GatePolicy
    from invdesign.evolution.evolve import EvolutionSettings

    header, query = query_of(folder)
    where = export.ledger_of(folder)
    export.writable_folder(folder)
    try:
        sizes, policy = Sizes(**header.settings["sizes"]), GatePolicy(**header.settings["policy"])
        evolution = EvolutionSettings(**header.settings["evolution"])
    except (KeyError, TypeError) as error:
        raise LedgerError(f"{where}: the ledger's settings are damaged ({error})") from None
    parts = build.default_parts(query, workers)
    with (
        Campaign(
            query, header.seed, parts, where, sizes=sizes, policy=policy, evolution=evolution, progress=progress
        ) as campaign,
        logged(folder, workers=processes(workers), seed=header.seed, version=__version__) as log,
    ):
        yield campaign, log


def _run(campaign: Campaign, callback: Callable[[Step], object] | None = None) -> None:
    """Run the rounds that are left, or until the callback says True."""
    for step in campaign:
        if callback is not None and callback(step) is True:
            break


def _finish(
    campaign: Campaign, folder: Path | None, log: RunLog, callback: Callable[[Step], object] | None = None
) -> Result:
    """Run the rounds that are left, rank with what came back since, and write the run folder."""
    try:
        _run(campaign, callback)
        result = result_of(campaign)
    finally:
        close = getattr(campaign.parts.relaxer, "close", None)
        if close is not None:
            close()
    result = replace(result, record={**result.record, "resources": log.resources()})
    return result if folder is None else result.write(folder)


def result_of(campaign: Campaign) -> Result:
    """What the rounds of a campaign have found so far, ranked, with what came back since."""
    from invdesign.engine.listing import listing

    query, back = campaign.query, {} if campaign.ledger is None else campaign.ledger.feedback()
    found = listing(campaign)
    selection, funnel = found.selection, campaign.funnel + found.funnel
    result = Result(
        query=query,
        seed=campaign.seed,
        selection=selection,
        outcome=outcome(
            selection, found.revised.rows, campaign.targets, query.max_energy_above_hull, campaign.stopped
        ),
        funnel=funnel,
        seconds=sum(stage.seconds for stage in funnel.stages.values()),
        record={},
        targets=campaign.targets,
        drift=drift_of_rows(found.rows, back, query.known_properties),
    )
    return replace(result, record=run_record(result, campaign, found.revised))


def report(folder: Path) -> Path:
    """Write `report.html` of a run folder again."""
    from invdesign.report.page import write_report

    return write_report(folder)
