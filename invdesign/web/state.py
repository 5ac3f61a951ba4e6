"""How a run stands, read from its folder, its log and its process: nothing is remembered here."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from invdesign.app.design import query_of
from invdesign.errors import InputError, InvdesignError
from invdesign.query import Query
from invdesign.report import export
from invdesign.report.candidates import read_record
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
    relaxed, extra = _counted(folder, _stamp(folder)) if export.has_ledger(folder) else (0, 0)
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


def _status(folder: Path, alive: bool, stopping: bool, written: bool, log: Log) -> str:
    there = export.has_ledger(folder)
    if alive:
        return "stopping" if stopping else "running" if there else "starting"
    if there and _is_running(folder):
        return "elsewhere"
    if log.error and not log.error.startswith(("interrupted", "terminated")):
        return "finished" if written else "failed"
    if there:
        return "finished" if written and _ledger_state(folder, _stamp(folder)) != "stopped" else "stopped"
    return "finished" if written else "failed"


def _is_running(folder: Path) -> bool:
    """Whether another process works on the ledger of a run."""
    from invdesign.engine.database import is_running

    try:
        return is_running(export.ledger_of(folder))
    except InvdesignError:  # a server that does not answer, or a file that is no ledger
        return False


@lru_cache(maxsize=256)
def _ledger_state(folder: Path, stamp: object) -> str:
    """The state of a run by its ledger; empty where that cannot be read."""
    from invdesign.app.runs import status

    del stamp
    try:
        return status(folder).state
    except InvdesignError:
        return ""


def _record(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder)
    except InputError:
        return {}


def _query(runs: Runs, name: str) -> Query | None:
    """The query of a run: of its ledger, or of the file that it is started with."""
    folder = runs.run(name)
    try:
        if export.has_ledger(folder):
            file = folder / (export.LEDGER_URL if (folder / export.LEDGER_URL).exists() else export.LEDGER)
            return _query_of(folder, file.stat().st_ino)
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


def _stamp(folder: Path) -> object:
    """What changes when something is recorded: the ledger's files; on a server, which does not say, the second."""
    names = (export.LEDGER, f"{export.LEDGER}-wal", export.LEDGER_URL)
    found = [p.stat() for name in names if (p := folder / name).exists()]
    server = int(time.monotonic()) if (folder / export.LEDGER_URL).exists() else 0
    return server, tuple((f.st_ino, f.st_mtime_ns, f.st_size) for f in found)


@lru_cache(maxsize=256)
def _counted(folder: Path, stamp: object) -> tuple[int, int]:
    """Relaxations that are recorded, and those that were added to the budget."""
    from invdesign.engine.ledger import Ledger

    del stamp
    try:
        with Ledger.read(export.ledger_of(folder)) as ledger:
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
