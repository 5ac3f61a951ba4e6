"""How a run stands, read from its folder, its log and its process: nothing is remembered here."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from invdesign.app.design import query_of
from invdesign.errors import InputError, InvdesignError
from invdesign.query import Query
from invdesign.report.candidates import read_record
from invdesign.report.export import LEDGER
from invdesign.settings import read_yaml
from invdesign.web import processes
from invdesign.web.folder import Runs

_STEP = re.compile(r"^\[ *(?P<seconds>\d+) s\] (?P<stage>.+): (?P<done>\d+)(?:/(?P<total>\d+))?$")
_ROUND = re.compile(r"^round \d+: .*$")
_ERROR = re.compile(r"^invdesign: (?!note: )(?P<text>.*)$")
TAIL = 64_000
"""Bytes of a log that are read, from its end."""
WORDS = {
    "starting": "is starting",
    "running": "is running",
    "stopping": "is stopping",
    "elsewhere": "is running, started outside this page",
    "stopped": "was stopped; it can go on",
    "finished": "is finished",
    "failed": "could not go on",
}
"""Every state of a run, in words."""
BUSY = frozenset({"starting", "running", "stopping", "elsewhere"})


@dataclass(frozen=True)
class Log:
    """What the last process of a run has said.

    Attributes:
        stage: what it was last busy with.
        done: of `total` items of the stage.
        total: None where it is unknown.
        rounds: a line for every round.
        error: the line with which it gave up; empty if it did not.
        last: the last line.
    """

    stage: str = ""
    done: int = 0
    total: int | None = None
    rounds: tuple[str, ...] = ()
    error: str = ""
    last: str = ""


@dataclass(frozen=True)
class State:
    """How a run stands.

    Attributes:
        name: of the run.
        status: a key of `WORDS`.
        query: what it was asked, in words.
        asked: number of candidates wanted.
        relaxed: relaxations so far.
        budget: relaxations at most.
        found: candidates of a finished run.
        summary: of a finished run.
        log: what its last process has said.
        patience: seconds since it was asked to stop; 0 if it was not.
    """

    name: str
    status: str
    query: str = ""
    asked: int = 0
    relaxed: int = 0
    budget: int = 0
    found: int | None = None
    summary: str = ""
    log: Log = field(default_factory=Log)
    patience: float = 0.0

    @property
    def words(self) -> str:
        """The status in words."""
        return WORDS[self.status]

    @property
    def busy(self) -> bool:
        """Whether a process is at work on it."""
        return self.status in BUSY

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for the scripts of the page."""
        return asdict(self) | {"words": self.words, "busy": self.busy}


def state(runs: Runs, name: str) -> State:
    """How a run stands.

    Raises:
        InputError: if there is no such run.
    """
    folder = runs.run(name)
    process = processes.alive(runs, name)
    record = _record(folder)
    asked_to_stop = float(runs.process(name).get("stop_asked") or 0.0) if process else 0.0
    log, query = read_log(runs.log(name)), _query(runs, name)
    status = _status(folder, process is not None, bool(asked_to_stop), bool(record), log)
    relaxed, extra = _counts(folder)
    return State(
        name=name,
        status=status,
        query=str(record.get("query_in_words") or (query.in_words() if query else "")),
        asked=query.n if query else 0,
        relaxed=relaxed,
        budget=(query.relaxations if query else 0) + extra,
        found=int(record["found"]) if isinstance(record.get("found"), int) else None,
        summary=str(record.get("summary") or ""),
        log=log,
        patience=time.time() - asked_to_stop if asked_to_stop else 0.0,
    )


def _status(folder: Path, alive: bool, stopping: bool, finished: bool, log: Log) -> str:
    there = (folder / LEDGER).is_file()
    if alive:
        return "stopping" if stopping else "running" if there else "starting"
    if there and _held(folder / LEDGER):
        return "elsewhere"
    if finished and not log.error:
        return "finished"
    if there and (not log.error or log.error.startswith(("interrupted", "terminated"))):
        return "finished" if finished else "stopped"
    return "finished" if finished else "failed"


def _held(ledger: Path) -> bool:
    """Whether another process works on a ledger: it keeps a companion file open and a lock."""
    if not ledger.with_name(f"{ledger.name}-wal").exists():
        return False
    beside = ledger.with_name(f".{ledger.name}.lock")
    if not beside.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{beside.as_uri()}?mode=ro", uri=True, timeout=0.0)) as lock:
            lock.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return "locked" in str(error)
    return False


def _record(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder)
    except InputError:
        return {}


def _query(runs: Runs, name: str) -> Query | None:
    """The query of a run: of its ledger, or of the file that it is started with."""
    folder = runs.run(name)
    try:
        if (folder / LEDGER).is_file():
            return _query_of(folder, (folder / LEDGER).stat().st_ino)
        wishes = read_yaml(runs.query(name), "query file")
        return Query.from_dict({key: value for key, value in wishes.items() if key not in ("seed", "workers")})
    except (InvdesignError, OSError):
        return None


def workers_of(runs: Runs, name: str) -> list[str]:
    """The option of worker processes that a run was started with, for whatever goes on with it."""
    try:
        workers = read_yaml(runs.query(name), "query file").get("workers")
    except InvdesignError:
        return []
    return ["--workers", str(workers)] if workers else []


@lru_cache(maxsize=256)
def _query_of(folder: Path, file: int) -> Query:
    del file  # a run that was deleted and made again has another ledger
    return query_of(folder)[1]


def _counts(folder: Path) -> tuple[int, int]:
    """Relaxations that are recorded, and those that were added to the budget."""
    path = folder / LEDGER
    if not path.is_file():
        return 0, 0
    wal = path.with_name(f"{path.name}-wal")
    stamp = tuple((p.stat().st_mtime_ns, p.stat().st_size) for p in (path, wal) if p.exists())
    return _counted(folder, stamp)


@lru_cache(maxsize=256)
def _counted(folder: Path, stamp: object) -> tuple[int, int]:
    from invdesign.engine.ledger import Ledger

    del stamp
    try:
        with Ledger.read(folder / LEDGER) as ledger:
            relaxed = sum(len(ledger.relaxations(number)) for number in range(ledger.rounds()))
            return relaxed, sum(extension.relaxations for extension in ledger.extensions())
    except InvdesignError:  # a ledger that is just being made, or damaged: the log says so
        return 0, 0


def read_log(path: Path) -> Log:
    """The last step, the rounds and the last error of a log; an empty one if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return Log()
    steps = [found for line in lines if (found := _STEP.match(line))]
    rounds = tuple(line for line in lines if _ROUND.match(line))
    end = lines[-1] if lines else ""
    error = _ERROR.match(end)
    text = error["text"] if error else ""
    if not steps:
        return Log(rounds=rounds, error=text, last=end)
    step = steps[-1]
    total = int(step["total"]) if step["total"] else None
    return Log(step["stage"], int(step["done"]), total, rounds, text, end)
