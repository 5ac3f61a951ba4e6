"""Progress of long steps on stderr: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(Protocol):
    """Is told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Say that `done` of `total` items (None: unknown) of `stage` are done."""
        ...


def quiet(stage: str, done: int, total: int | None) -> None:
    """Show nothing: the default of the Python API."""


class Lines:
    """Plain lines, at most one per stage and interval, and one when a stage ends."""

    def __init__(self, stream: TextIO, every: float = 10.0) -> None:
        self._stream, self._every = stream, every
        self._start = self._last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        if now - self._last < self._every:
            return
        self._last = now
        of = f"/{total}" if total else ""
        print(f"[{now - self._start:6.0f} s] {stage}: {done}{of}", file=self._stream, flush=True)


class Bars:
    """One bar per stage, by rich."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Move the stage's bar."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)


@contextmanager
def shown(enabled: bool = True) -> Iterator[Progress]:
    """A reporter that suits stderr, for as long as the block lasts."""
    if not enabled:
        yield quiet
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield Bars(bars)
    else:
        yield Lines(sys.stderr)
