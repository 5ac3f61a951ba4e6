"""Worker processes for heavy calls: one item each at a time, one thread each, and a lost process loses one item.

`concurrent.futures` gives up the whole pool when one process dies and re-imports the caller's main module; a
relaxation may be killed for its memory, and users call us from plain scripts, so the processes here are started
by their own command line and each is watched by one thread of the parent.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from invdesign.errors import InvdesignError

_COMMAND = "from invdesign.workers import serve; serve()"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


@dataclass(frozen=True)
class Lost:
    """The answer for an item whose worker process ended or was stopped before it answered."""

    reason: str


class WorkerError(InvdesignError):
    """Worker processes cannot be started, so that no item can be processed."""


def cpu_count() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def import_folders() -> list[str]:
    """The folders that this process imports from, the current one last, if it is among them.

    In that place a file of the current folder that is named like a library (`ase.py`) is never taken for it, while
    a module of the user's own there, such as a potential, is found where `PYTHONPATH=.` asks for that.
    """
    here = os.path.realpath(os.curdir)
    others = [folder for folder in sys.path if folder and os.path.realpath(folder) != here]
    return others if len(others) == len(sys.path) else [*others, here]


class Workers:
    """A fixed number of processes that each hold what `target` made and answer one item at a time.

    Processes start with the first items and stay until :meth:`close`, so that a model is loaded once in each.
    """

    def __init__(self, target: str, settings: object, n: int | None = None, timeout: float = 3600.0) -> None:
        """Describe the pool; nothing is started yet.

        Args:
            target: `package.module:function`; called once in each process with `settings`, it returns the
                function that answers an item. Settings, items and answers must pickle.
            settings: the argument of `target`.
            n: number of processes, by default one per usable core.
            timeout: seconds after which an item's process is stopped.
        """
        self._start = pickle.dumps((target, settings))
        self._n = max(1, n if n is not None else cpu_count())
        self._timeout = timeout
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._lock = threading.Lock()

    def imap(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Answer all items; yields (index, answer or :class:`Lost`) as they are completed.

        Raises:
            WorkerError: if a process cannot even be set up.
        """
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        for index in range(len(items)):
            todo.put(index)
        stop = threading.Event()
        threads = [
            threading.Thread(target=self._attend, args=(items, todo, done, stop), daemon=True)
            for _ in range(min(self._n, len(items)))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in items:
                index, answer = done.get()
                if isinstance(answer, WorkerError):
                    raise answer
                yield index, answer
        finally:
            if not todo.empty():
                stop.set()
                with self._lock:
                    for process in self._busy:
                        process.kill()
            for thread in threads:
                thread.join()

    def close(self) -> None:
        """Stop the processes. The next :meth:`imap` would start new ones."""
        with self._lock:
            processes, self._idle = self._idle, []
        for process in processes:
            process.close()

    def _attend(
        self,
        items: Sequence[Any],
        todo: queue.SimpleQueue[int],
        done: queue.SimpleQueue[tuple[int, Any]],
        stop: threading.Event,
    ) -> None:
        """Feed one process until nothing is left to do (one thread of the parent)."""
        process: _Process | None = None
        try:
            while not stop.is_set():
                try:
                    index = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    process = process or self._take()
                    answer = process.ask(items[index], self._timeout)
                except WorkerError as error:
                    done.put((index, error))
                    return
                except _DiedError as error:
                    self._drop(process)
                    process, answer = None, Lost(str(error))
                done.put((index, answer))
        finally:
            if process is not None:
                self._give(process)

    def _take(self) -> _Process:
        with self._lock:
            if self._idle:
                process = self._idle.pop()
                self._busy.add(process)
                return process
        process = _Process(self._start)
        with self._lock:
            self._busy.add(process)
        return process

    def _give(self, process: _Process) -> None:
        with self._lock:
            self._busy.discard(process)
            self._idle.append(process)

    def _drop(self, process: _Process | None) -> None:
        if process is not None:
            with self._lock:
                self._busy.discard(process)
            process.close()


class _DiedError(Exception):
    """The process ended while it was asked something."""


class _Process:
    """One worker process, seen from the parent."""

    def __init__(self, start: bytes) -> None:
        """Start it and wait until it is set up.

        Raises:
            WorkerError: if it cannot be set up.
        """
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(import_folders())},
        )
        try:
            self._stdin.write(start)
            self._stdin.flush()
            message = pickle.load(self._stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            message = f"a worker process ended while it started (exit code {self._popen.wait()})"
        if message is not None:
            self.close()
            raise WorkerError(str(message))

    @property
    def _stdin(self) -> BinaryIO:
        return cast(BinaryIO, self._popen.stdin)

    @property
    def _stdout(self) -> BinaryIO:
        return cast(BinaryIO, self._popen.stdout)

    def ask(self, item: object, timeout: float) -> object:
        """Send an item and wait for its answer.

        Raises:
            _DiedError: if the process ended, or was stopped because of the time limit.
        """
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._popen.kill()

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        try:
            pickle.dump(item, self._stdin)
            self._stdin.flush()
            return pickle.load(self._stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            code = self._popen.wait()
            what = (
                f"no answer within {timeout:g} s"
                if late.is_set()
                else f"its worker process died (exit code {code})"
            )
            raise _DiedError(what) from error
        finally:
            timer.cancel()

    def kill(self) -> None:
        """Stop it at once."""
        self._popen.kill()

    def close(self) -> None:
        """End it: a worker leaves when its input ends; one that does not is stopped."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        try:
            self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        with contextlib.suppress(OSError):
            self._stdout.close()


def serve() -> None:
    """Body of a worker process: set up, then answer items until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle: it closes our input
    requests = sys.stdin.buffer
    target, settings = pickle.load(requests)
    try:
        answer = load_function(target)(settings)
        failure: str | None = None
    except Exception as error:
        answer, failure = None, f"{target}: {type(error).__name__}: {error}"
    pickle.dump(failure, answers)
    answers.flush()
    while answer is not None:
        try:
            item = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = pickle.dumps(answer(item))
        except Exception as error:  # one bad item must not end the run, whatever a library raised
            reply = pickle.dumps(Lost(f"{type(error).__name__}: {error}"))
        try:
            answers.write(reply)
            answers.flush()
        except BrokenPipeError:  # the parent is gone, and nobody is left to tell
            os._exit(0)


def load_function(target: str) -> Callable[..., Any]:
    """The function named by `package.module:function`."""
    module, _, name = target.partition(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))
