"""What an executor promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable


class Pool(Protocol):
    """Processes that each hold one function."""

    def imap(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Answer all items; yields (index, answer) as they are completed.

        The answer is `invdesign.workers.Lost` for an item that raised, took too long, or ended every process that
        it was given to.

        Raises:
            WorkerError: if the processes cannot be set up, or the cluster is lost.
        """
        ...

    def close(self) -> None:
        """Let go of the processes."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Makes pools of processes. What it needs is started by the first of them."""

    def pool(self, target: str, settings: object, timeout: float) -> Pool:
        """Processes that each hold what a function makes of its settings.

        Args:
            target: `package.module:function`; called once in each process with `settings`, it returns the function
                that answers an item. Settings, items and answers must pickle.
            settings: the argument of `target`.
            timeout: seconds of wall clock after which an item is given up.
        """
        ...

    def close(self) -> None:
        """Stop what was started."""
        ...


Workforce = int | Executor | None
"""What the argument `workers` of functions may be: a number of processes of this machine (None: one per core), or
an executor."""
