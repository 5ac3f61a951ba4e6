"""Progress of long steps on stderr: bars on a terminal, a line of HTML in a notebook, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from html import escape
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TextIO, TypeVar

from invdesign.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


SECONDS = "INVDESIGN_PROGRESS_SECONDS"
"""Variable of the environment: least time between two plain lines of progress, 10 by default."""
P = ParamSpec("P")
T = TypeVar("T")


class Progress(Protocol):
    """Is told how far a stage has come."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Say that `done` of `total` items (None: unknown) of `stage` are done."""
        ...


Shown = Progress | bool | None
"""What functions of the Python API take: something that is told, True for progress on stderr, False for none, None
for progress on a terminal and in a notebook and none elsewhere."""


def quiet(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""


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


class Notebook:
    """One line per stage in the output of a notebook's cell, written anew as it moves."""

    def __init__(self, every: float = 0.2) -> None:
        from IPython.display import HTML, display

        self._html, self._every = HTML, every
        self._stages: dict[str, tuple[int, int | None]] = {}
        self._last = 0.0
        self._handle: Any = display(HTML(""), display_id=True)

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Show the stage, if it is time or it is done."""
        self._stages[stage] = done, total
        now = time.monotonic()
        if now - self._last >= self._every or done == total:
            self._last = now
            self._handle.update(self._html(self.html()))

    def html(self) -> str:
        """The lines of all stages."""
        lines = []
        for stage, (done, total) in self._stages.items():
            bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
            lines.append(f"{bar}{escape(stage)}: {done}" + (f" of {total}" if total else ""))
        return "<br>".join(lines)


@contextmanager
def shown(enabled: bool = True) -> Iterator[Progress]:
    """A reporter that suits stderr, for as long as the block lasts."""
    if not enabled:
        yield quiet
    elif in_notebook():
        yield Notebook()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield Bars(bars)
    else:
        yield Lines(sys.stderr, _interval())


def _interval() -> float:
    try:
        return float(os.environ.get(SECONDS, ""))
    except ValueError:
        return 10.0


@contextmanager
def reported(progress: Shown) -> Iterator[Progress]:
    """What a function of the Python API tells its progress to, for as long as the block lasts.

    Raises:
        InputError: if it is nothing that can be told, and neither True, False nor None.
    """
    if callable(progress):
        yield progress
    elif progress is None or isinstance(progress, bool):
        wanted = (in_notebook() or sys.stderr.isatty()) if progress is None else progress
        with shown(wanted) as reporter:
            yield reporter
    else:
        raise InputError("progress", progress, "True, False, or a function of (stage, done, total)")


_ADVANCE: ContextVar[Callable[[int, int], object] | None] = ContextVar("advance", default=None)


@contextmanager
def advancing(tell: Callable[[int, int], object]) -> Iterator[None]:
    """For as long as the block lasts, `tell` gets what code deep inside it says by `advance`."""
    token = _ADVANCE.set(tell)
    try:
        yield
    finally:
        _ADVANCE.reset(token)


def advance(done: int, total: int) -> None:
    """Say that `done` of `total` items are done to whoever listens (`advancing`), if anybody does."""
    if (tell := _ADVANCE.get()) is not None:
        tell(done, total)


def with_progress(function: Callable[P, T]) -> Callable[P, T]:
    """A function of the Python API whose keyword `progress` may be anything of `Shown`; it gets what to tell."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with reported(kwargs.get("progress")) as reporter:  # type: ignore[arg-type]
            kwargs["progress"] = reporter
            return function(*args, **kwargs)

    return call


def told(progress: Shown) -> Progress:
    """What a function that was given no display tells its progress to."""
    return progress if callable(progress) else quiet


def in_notebook() -> bool:
    """Whether this runs in a cell of a Jupyter notebook."""
    module = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return shell is not None and hasattr(shell, "kernel")
