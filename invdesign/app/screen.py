"""Screens of very many candidates: generated, checked and judged by the gate in shards; nothing is relaxed.

A folder holds the question (`screen.json`), one file per finished shard (`parts/`), and, once all are there, the
best candidates, a random sample of the others and the record. All but the files of the shards is made of them anew
at the end, so that a screen that was stopped anywhere ends as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import __version__, build
from invdesign.app.design import checked_query, processes
from invdesign.checks import text, whole
from invdesign.engine.shards import LARGEST, Counts, Plan, Screener
from invdesign.engine.shortlist import Sample, Shortlist
from invdesign.engine.wishes import resolved
from invdesign.errors import InputError, OutputError, PartError
from invdesign.executors import Workforce, checked, pool
from invdesign.progress import Progress, Shown, told, with_progress
from invdesign.query import Query, as_query
from invdesign.records import Candidate, Evaluation
from invdesign.report import export
from invdesign.run_log import Usage, event, logged
from invdesign.workers import Lost, load_function

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.engine.shard_table import Part
    from invdesign.executors.protocol import Pool

HEADER, PARTS, SAMPLE = "screen.json", "parts", "sample.parquet"
MAKER = "invdesign.build:default_parts"
"""What makes the parts in each process."""
WORKER = "invdesign.app.screen:worker"
LOOKED = 100
"""Candidates of the list that are looked at more closely in one task."""
SECONDS_EACH = 0.5
"""Time limit of a shard for each of its candidates, seconds; they take some milliseconds."""
BEAT = 5.0
"""Seconds between two reports of progress while nothing is finished."""


@dataclass(frozen=True)
class Header:
    """What a screen was asked; its folder is held to it.

    Attributes:
        query: what is asked, resolved.
        n: candidates that the generators are asked for.
        shard: candidates of a shard.
        seed: of the screen.
        keep: length of the list, and of the random sample of the others.
        version: of invdesign.
        parts: checksums of the weights.
    """

    query: dict[str, Any]
    n: int
    shard: int
    seed: int
    keep: int
    version: str
    parts: dict[str, str]

    @property
    def plan(self) -> Plan:
        """Its shards."""
        return Plan(self.n, self.shard)

    def about(self, number: int) -> dict[str, Any]:
        """What the file of a shard is of: everything that its candidates follow from, and its number."""
        asked = {k: v for k, v in asdict(self).items() if k != "keep"}
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return {"screen": digest, "shard": number}


@dataclass(frozen=True)
class Work:
    """What a worker process is set up with.

    Attributes:
        header: of the screen.
        maker: `module:function` that makes the parts for a query.
    """

    header: Header
    maker: str


@dataclass(frozen=True, repr=False)
class Screened:
    """A finished screen.

    Attributes:
        table: the best candidates, best first, one row each.
        record: what is written to `run.json`.
        folder: where it is.
    """

    table: pd.DataFrame
    record: Mapping[str, Any]
    folder: Path

    def __repr__(self) -> str:
        """The lines that the command prints."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """What was found and at which rate, in words."""
        c, rates = self.record["counts"], self.record["genes_per_cpu_second"]
        left = {**c["failed"], **c["rejected"]}
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(left.items(), key=lambda i: -i[1]))
        speed = ", ".join(f"{stage} {rate:.0f}" for stage, rate in rates.items())
        return [
            f"{c['asked']:,} asked for, {c['made']:,} generated, {c['judged']:,} judged by the gate"
            + (f"; left out: {why}" if why else ""),
            f"a second of one core: {speed}; most memory of a process {c['peak_mb']:.0f} MB",
            f"the best {len(self.table):,}, {self.record['sampled']:,} of the others at random, and all in "
            f"{self.record['shards']:,} parts of {self.record['part_bytes'] / 1e6:.1f} MB together: {self.folder}",
        ]


@with_progress
def screen(
    query: Query | Mapping[str, Any] | None = None,
    n: int = 10_000,
    seed: int = 0,
    out: str | Path = "screen",
    *,
    keep: int = 1000,
    shard: int | None = None,
    workers: Workforce = None,
    progress: Shown = None,
    **wishes: Any,
) -> Screened:
    """Generate, check and judge very many candidates; keep the best.

    >>> screen(targets=["bulk_modulus>=250"], n=1_000_000, out="wide")  # doctest: +SKIP

    Args:
        query: what is asked: a query, or a mapping of its fields. Its generator, further validators, component,
            custom properties and limit above the hull count as in a design run; relaxations and search do not.
        n: candidates that the generators are asked for.
        seed: the same seed gives the same candidates, with any workers.
        out: folder to make.
        keep: length of the list of the best, each protostructure once; as many of the others are drawn at random.
        shard: candidates of one task and of one file (None: 1,000 or more, at most a thousand files or so).
        workers: processes (None: one per core), or an executor.
        progress: see `invdesign.progress.Shown`.
        **wishes: fields of the query.

    Raises:
        InputError, ConflictError, EmptyQueryError: as `invdesign.design`.
        OutputError: if the folder is not empty or cannot be written.
        PartError: if shards could not be worked through; those that were are kept.
    """
    query, workers = checked_query(as_query(query, wishes)), checked(workers)
    plan = Plan.of(n, shard)
    header = Header(
        query=query.to_dict(),
        n=plan.n,
        shard=plan.size,
        seed=whole("seed", seed, 0),
        keep=whole("keep", keep, 1, LARGEST),
        version=__version__,
        parts=build.checksums(),
    )
    folder = Path(text("out", out, "the name of a folder"))
    if is_screen(folder):
        raise OutputError(
            f"{folder} holds a screen; go on with: invdesign resume {folder}, or choose another folder"
        )
    export.new_folder(folder)
    export.write_json(asdict(header), folder / HEADER)
    return _run(folder, header, workers, told(progress))


@with_progress
def resume(folder: str | Path, *, workers: Workforce = None, progress: Shown = None) -> Screened:
    """Go on with a screen that was stopped; shards that are there are not worked through again.

    Args:
        folder: of the screen.
        workers: processes (None: one per core), or an executor.
        progress: see `invdesign.progress.Shown`.

    Raises:
        InputError: if there is no screen in it, or it is damaged, or of another version or other weights.
        OutputError, PartError: as `screen`.
    """
    folder = Path(folder)
    header = header_of(folder)
    now = {"version": __version__, "parts": build.checksums()}
    for name, value in now.items():
        if getattr(header, name) != value:
            was = header.version if name == "version" else "other weights"
            raise InputError("screen", str(folder), f"one that this version of invdesign began, not {was}")
    export.writable_folder(folder)
    return _run(folder, header, checked(workers), told(progress))


def is_screen(folder: Path) -> bool:
    """Whether a folder is that of a screen."""
    return (folder / HEADER).is_file()


def header_of(folder: Path) -> Header:
    """What a screen was asked.

    Raises:
        InputError: if there is none in the folder, or it cannot be read.
    """
    try:
        return Header(**json.loads((folder / HEADER).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())[:100]
        raise InputError("screen", str(folder), f"a folder with a whole {HEADER} ({why})") from None


def status(folder: Path) -> dict[str, Any]:
    """How far a screen has come, from its files alone: by any process, on any machine that reaches them.

    Raises:
        InputError: as `header_of`.
    """
    plan = header_of(folder).plan
    done = sum(part_path(folder / PARTS, k).is_file() for k in range(len(plan)))
    state = "finished" if (folder / "run.json").is_file() else "not finished"
    return {"state": state, "shards_done": done, "shards": len(plan), "candidates": plan.n}


def _run(folder: Path, header: Header, workers: Workforce, progress: Progress) -> Screened:
    """Work through the shards that are missing, and write what all of them give."""
    start, plan = time.monotonic(), header.plan
    best, drawn = Shortlist(header.keep), Sample(2 * header.keep, header.seed)
    tally = _Tally(best, drawn)
    parts = export.writable_folder(folder / PARTS)
    missing = [k for k in range(len(plan)) if not tally.read(part_path(parts, k), header.about(k))]
    limit = max(3600.0, SECONDS_EACH * plan.size)
    found = pool(workers, WORKER, Work(header, MAKER), limit)
    with logged(folder, workers=processes(workers), seed=header.seed, version=__version__) as log:
        rows = _listed(found, folder, header, missing, tally, progress)
        resources = log.resources()
    cost = {"seconds_of_last_call": time.monotonic() - start, "resources": resources}
    return _written(folder, header, rows, tally, cost)


def _listed(
    found: Pool, folder: Path, header: Header, missing: Sequence[int], tally: _Tally, progress: Progress
) -> list[Evaluation]:
    """Work through shards and look at the best of all; the workers have ended then.

    Raises:
        PartError: if something could not be worked through.
    """
    plan, best, parts = header.plan, tally.best, folder / PARTS
    try:
        with _beating(progress, "generate and screen", plan.n) as tell:
            tell(tally.counts.asked)
            lost = _work(found.imap(missing), missing, parts, header, tally, tell)
        if lost:
            number, why = min(lost.items())
            raise PartError(
                f"{len(lost)} of {len(plan)} shards could not be worked through (shard {number}: {why}); the"
                f" others are kept; go on with: invdesign resume {folder}"
            )
        with _beating(progress, "look at the best", len(best)) as tell:
            return _looked(found.imap(items := _items(best)), len(items), tell)
    finally:
        found.close()


class _Tally:
    """What the shards have given so far; its memory does not grow with their number."""

    def __init__(self, best: Shortlist, drawn: Sample) -> None:
        self.best, self.drawn, self.counts, self.bytes = best, drawn, Counts(), 0

    def read(self, path: Path, about: Mapping[str, Any]) -> bool:
        """Take the file of a shard, if it is there and whole."""
        from invdesign.engine.shard_table import ShardFileError, decoded

        try:
            self.take(decoded(path, about), path.stat().st_size)
        except (FileNotFoundError, ShardFileError):  # it is computed again
            return False
        return True

    def take(self, part: Part, size: int) -> None:
        """Take the candidates of a shard."""
        chances, ids = part.log_chance, part.ids
        self.best.offer_many(chances, ids.__getitem__, part.keys, part.row)
        judged = [i for i, chance in enumerate(chances.tolist()) if chance == chance]
        self.drawn.offer_many([ids[i] for i in judged], lambda i: part.row(judged[i]))
        self.counts.add(part.counts)
        self.bytes += size


def _work(
    answers: Iterator[tuple[int, Any]],
    missing: Sequence[int],
    parts: Path,
    header: Header,
    tally: _Tally,
    tell: Callable[[int], None],
) -> dict[int, str]:
    """Write the shards as they come; why the others did not."""
    from invdesign.engine.shard_table import decoded, write_part

    lost: dict[int, str] = {}
    for index, answer in answers:
        number = missing[index]
        if isinstance(answer, Lost):
            lost[number] = answer.reason
            continue
        write_part(answer, part_path(parts, number))
        part = decoded(answer, header.about(number))
        tally.take(part, len(answer))
        event("shard", number=number, **part.counts)
        tell(tally.counts.asked)
    return lost


def part_path(parts: Path, number: int) -> Path:
    """The file of a shard."""
    return parts / f"{number:06d}.parquet"


def _items(best: Shortlist) -> list[list[Mapping[str, Any]]]:
    """The list in pieces that a worker looks at."""
    rows = [entry.row for entry in best.best()]
    return [rows[k : k + LOOKED] for k in range(0, len(rows), LOOKED)]


def _looked(answers: Iterator[tuple[int, Any]], pieces: int, tell: Callable[[int], None]) -> list[Evaluation]:
    """The list with estimates, derived properties and the verdicts of the more expensive checks.

    Raises:
        PartError: if a piece could not be looked at.
    """
    found: dict[int, list[Evaluation]] = {}
    for index, answer in answers:
        if isinstance(answer, Lost):
            raise PartError(f"the best candidates could not be looked at: {answer.reason}; what was found is kept")
        found[index] = answer
        tell(sum(map(len, found.values())))
    return [row for k in range(pieces) for row in found[k]]


def _written(
    folder: Path, header: Header, rows: Sequence[Evaluation], tally: _Tally, cost: Mapping[str, Any]
) -> Screened:
    """Tables, CIF files and the record."""
    import math

    from invdesign.report.folder import write_parquet

    best = tally.best.best()
    files = export.write_cifs([row.candidate.crystal for row in rows], folder)
    table = export.frame(
        [
            {"rank": place, "file": file, "chance": math.exp(entry.log_chance), "log_chance": entry.log_chance}
            | export.evaluation_columns(replace(row, estimate=row.gate))
            | {"protostructure": entry.key}
            for place, (row, entry, file) in enumerate(zip(rows, best, files, strict=True), start=1)
        ]
    )
    write_parquet(table, folder / export.FULL)
    export.write_table(table, folder / export.LEAN)
    others = tally.drawn.without({entry.id for entry in best}, header.keep)
    write_parquet(export.frame([dict(row) for row in others]), folder / SAMPLE)
    record = {**_record(header, tally, len(rows), len(others)), **cost}
    export.write_json(record, folder / "run.json")
    for draft in (folder / PARTS).glob(".*.part"):  # of processes that were killed
        draft.unlink(missing_ok=True)
    return Screened(table, record, folder)


def _record(header: Header, tally: _Tally, found: int, sampled: int) -> dict[str, Any]:
    c = tally.counts
    return {
        **asdict(header),
        "found": found,
        "sampled": sampled,
        "shards": len(header.plan),
        "part_bytes": tally.bytes,
        "counts": c.to_dict(),
        "genes_per_cpu_second": {
            stage: c.made / spent for stage, spent in [*c.seconds.items(), ("together", sum(c.seconds.values()))]
            if spent > 0.0
        },
        "versions": build.versions(),
    }  # fmt: skip


@contextmanager
def _beating(progress: Progress, stage: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function that is told how much is done; progress is reported every few seconds even if nothing is told."""
    done, over, lock = [0], threading.Event(), threading.Lock()

    def report() -> None:
        with lock:
            progress(stage, done[0], total)

    def tell(now: int) -> None:
        done[0] = now
        report()

    def beat() -> None:
        while not over.wait(BEAT):
            report()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        over.set()
        thread.join()


def worker(work: Work) -> Callable[[Any], Any]:
    """Set up a worker process: it answers the number of a shard with its file, rows of the list with evaluations.

    Args:
        work: what is asked, and what makes the parts.
    """
    from invdesign.engine.shard_table import encoded, gene_of_row, table

    query = resolved(Query.from_dict(work.header.query))
    parts = load_function(work.maker)(query)
    screener = Screener(query, work.header.seed, work.header.plan, parts)

    def shard(number: int) -> bytes:
        counts, batches = Counts(), []
        for batch in screener.shard(number, counts):
            start = time.process_time()
            batches.append(table(batch))
            counts.seconds["record"] = counts.seconds.get("record", 0.0) + time.process_time() - start
        counts.peak_mb = 1000.0 * (Usage.now().peak_gb or 0.0)
        return encoded(batches, counts, work.header.about(number))

    def look(rows: Sequence[Mapping[str, Any]]) -> list[Evaluation]:
        from invdesign.crystallography.genes import decode
        from invdesign.engine.pipeline import predict, screen

        found = [
            Evaluation(
                Candidate(
                    row["id"], decode([gene_of_row(row)], row["generator"])[0], row["request"], row["generator"]
                )
            )
            for row in rows
        ]
        found = screen(found, (*screener.checks, *parts.inspections))
        return predict_all(found, lambda r: predict(r, parts.gate, parts.reference, parts.derive))

    return lambda item: shard(item) if isinstance(item, int) else look(item)


def predict_all(
    rows: Sequence[Evaluation], work: Callable[[Sequence[Evaluation]], list[Evaluation]]
) -> list[Evaluation]:
    """Predict rows whatever the checks say of them: they stand on the list already."""
    answered = work([replace(row, verdicts={}, failure=None) for row in rows])
    return [
        replace(row, gate=found.gate, failure=row.failure or found.failure)
        for row, found in zip(rows, answered, strict=True)
    ]
