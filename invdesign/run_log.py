"""The log of a run: one JSON object a line in `run.log`, by the standard `logging`; and what a run cost.

Whatever is worth a line says so by `event`, wherever it stands; nothing is written unless a run has its log open
(`logged`). A log that cannot be written never ends a run: what counts is in the ledger.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NAME = "run.log"
EVENTS = logging.getLogger(__name__)
"""Events as records at INFO; `fields` of a record is the mapping that is written."""
EVENTS.setLevel(logging.INFO)
EVENTS.propagate = False
EVENTS.addHandler(logging.NullHandler())
WATT_PER_CORE, WATT_PER_GB = 12.0, 0.3725
"""Power of a core that works and of a gigabyte of memory, W: L. Lannelongue, J. Grealey and M. Inouye, Adv. Sci.
8, 2100707 (2021)."""


def event(name: str, **fields: Any) -> None:
    """Say that something happened, with plain values."""
    EVENTS.info(name, extra={"fields": fields})


def line(record: logging.LogRecord) -> dict[str, Any]:
    """Time (UTC), event and fields of a record, in this order."""
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    return {"time": when, "event": record.getMessage(), **getattr(record, "fields", {})}


class JsonLines(logging.FileHandler):
    """Appends records to a file as JSON lines, for as long as that can be written."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return json.dumps(line(record), default=str)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Say nothing: a full disk is reported by what must be written."""


class Readable(logging.StreamHandler[Any]):
    """Records as lines for a person, on stderr."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            name: value for name, value in getattr(record, "fields", {}).items() if value not in ({}, [], "")
        }
        return f"invdesign: {record.getMessage()}: " + ", ".join(
            f"{name} {value}" for name, value in fields.items()
        )


@dataclass(frozen=True)
class Usage:
    """What this process and the processes that it has waited for used so far.

    Attributes:
        seconds: wall clock.
        cpu_seconds: of all of them.
        peak_gb: largest memory of this process, GB (1e9 bytes).
        worker_peak_gb: of the largest of the others.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float | None
    worker_peak_gb: float | None

    @classmethod
    def now(cls) -> Usage:
        """As it is now; memory is None where the system does not tell (Windows)."""
        if sys.platform == "win32":
            return cls(time.monotonic(), time.process_time(), None, None)
        import resource

        own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
        unit = 1.0 if sys.platform == "darwin" else 1024.0
        return cls(time.monotonic(), cpu, own.ru_maxrss * unit / 1e9, others.ru_maxrss * unit / 1e9)


class RunLog:
    """The log of one sitting of a run, and what that sitting costs."""

    def __init__(self, path: Path | None, workers: int) -> None:
        """Note what was used before.

        Args:
            path: of the log (None: nothing is written).
            workers: processes of this machine.
        """
        self.path, self.workers, self._before = path, workers, Usage.now()

    def resources(self) -> dict[str, Any]:
        """What all sittings of the run cost, as `run.json` tells it. Call it when the workers have ended.

        A sitting that was killed has left no line, so the numbers are lower bounds. Work of other machines (a Dask
        cluster, a batch system) is not in them.

        Returns:
            `cpu_hours`, `wall_hours`, `peak_memory_gb` (this process and as many workers as the largest; an upper
            bound), `energy_kwh` (estimated by `WATT_PER_CORE` and `WATT_PER_GB`) and `sittings`.
        """
        now, then = Usage.now(), self._before
        memory = None
        if now.peak_gb is not None and now.worker_peak_gb is not None:
            memory = round(now.peak_gb + self.workers * now.worker_peak_gb, 2)
        here = {
            "cpu_seconds": round(now.cpu_seconds - then.cpu_seconds, 1),
            "seconds": round(now.seconds - then.seconds, 1),
            "peak_memory_gb": memory,
        }
        earlier = _earlier(self.path)
        event("ended", **here)
        return _costs([*earlier, here])


def _costs(sittings: list[dict[str, Any]]) -> dict[str, Any]:
    cpu = sum(each["cpu_seconds"] for each in sittings) / 3600.0
    wall = sum(each["seconds"] for each in sittings) / 3600.0
    peaks = [each["peak_memory_gb"] for each in sittings if each.get("peak_memory_gb") is not None]
    kilowatt_hours = (cpu * WATT_PER_CORE + wall * max(peaks, default=0.0) * WATT_PER_GB) / 1000.0
    return {
        "cpu_hours": round(cpu, 4),
        "wall_hours": round(wall, 4),
        "peak_memory_gb": max(peaks, default=None),
        "energy_kwh": round(kilowatt_hours, 5),
        "sittings": len(sittings),
    }


def _earlier(path: Path | None) -> list[dict[str, Any]]:
    """The sittings that a log tells of; what cannot be read, as the last line of a killed process, is left out."""
    found = []
    for read in read_log(path) if path is not None else ():
        numbers = [read.get(name) for name in ("cpu_seconds", "seconds")]
        if read.get("event") == "ended" and all(isinstance(n, (int, float)) for n in numbers):
            found.append(dict(read))
    return found


def read_log(path: Path) -> list[Mapping[str, Any]]:
    """The events of a log, in their order; what is no JSON object is left out."""
    found: list[Mapping[str, Any]] = []
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            with suppress(ValueError, RecursionError):
                value = json.loads(text)
                if isinstance(value, dict):
                    found.append(value)
    return found


@contextmanager
def logged(folder: Path | None, *, workers: int = 0, **about: Any) -> Iterator[RunLog]:
    """Events go to `run.log` of a folder for as long as the block lasts.

    Args:
        folder: run folder (None: nowhere).
        workers: processes of this machine.
        **about: what the first line of this sitting says, such as the seed.
    """
    path = None if folder is None else folder / NAME
    handler = None
    if path is not None:
        with suppress(OSError):
            handler = JsonLines(path, encoding="utf-8")
            EVENTS.addHandler(handler)
    try:
        event("started", pid=os.getpid(), workers=workers, **about)
        yield RunLog(path, workers)
    finally:
        if handler is not None:
            EVENTS.removeHandler(handler)
            with suppress(OSError):
                handler.close()
