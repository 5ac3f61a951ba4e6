"""Worker processes of this machine: one item each at a time, one thread each; a lost process costs a repetition.

`concurrent.futures` gives up the whole pool when one process dies and re-imports the caller's main module; a
relaxation may be killed for its memory, and users call us from plain scripts, so the processes here are started
by their own command line and each is watched by one thread of the parent. A worker leaves as soon as its input
ends, busy or not, so that none outlives its parent.
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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from invdesign.errors import InvdesignError
from invdesign.run_log import event

_COMMAND = "from invdesign.workers import serve; serve()"
OWN_GROUP = 0 if os.name == "posix" else None
"""Ctrl-C reaches the parent alone, which stops the others."""
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


ATTEMPTS = 4
"""How often an item is given to a process that dies over it before it is given up (Dask's own default)."""


@dataclass(frozen=True)
class Lost:
    """The answer for an item that raised, took too long, or ended every process that it was given to."""

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
            timeout: seconds after which an item's process is stopped; such an item is not repeated.
        """
        self._start, self._name = pickle.dumps((target, settings)), target.rpartition(":")[2]
        self._n = max(1, n if n is not None else cpu_count())
        self._timeout = timeout
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._lock = threading.Lock()

    def imap(self, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Answer all items; yields (index, answer or :class:`Lost`) as they are completed.

        An item whose process dies is repeated by another one. Processes that are busy when the caller stops taking
        answers are stopped at once.

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
        left = len(items)
        try:
            while left:
                index, answer = done.get()
                if isinstance(answer, WorkerError):
                    raise answer
                left -= 1
                yield index, answer
        finally:
            if left:
                stop.set()
                with self._lock:
                    for process in self._busy:
                        process.kill()
            for thread in threads:
                thread.join()
            self._log(len(items))

    def _log(self, items: int) -> None:
        """Say what each process has done since it was last said."""
        with self._lock:
            shares = [process.share() for process in self._idle]
        event("workers", work=self._name, items=items, processes=[share for share in shares if share["items"]])

    @property
    def is_busy(self) -> bool:
        """Whether a process works on an item."""
        return bool(self._busy)

    def close(self) -> None:
        """Stop the processes. The next :meth:`imap` would start new ones."""
        with self._lock:
            processes, self._idle = self._idle, []
        for process in processes:
            process.dismiss()
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
                    process, answer = self._answer(process, items[index], stop)
                except WorkerError as error:
                    done.put((index, error))
                    return
                done.put((index, answer))
        finally:
            if process is not None:
                self._give(process)

    def one(self, item: object) -> Any:
        """The answer to one item, or :class:`Lost`; may be called by several threads at once.

        Raises:
            WorkerError: if a process cannot even be set up.
        """
        process, answer = self._answer(None, item, threading.Event())
        if process is not None:
            self._give(process)
        return answer

    def _answer(
        self, process: _Process | None, item: object, stop: threading.Event
    ) -> tuple[_Process | None, Any]:
        """An item's answer, and the process that gave it, if it is still there."""
        death = _DiedError("")
        for _ in range(ATTEMPTS):
            process = process or self._take()
            if stop.is_set():
                return process, Lost("stopped")
            try:
                process.set_up(self._start)
                return process, process.ask(item, self._timeout)
            except _LateError as error:
                self._drop(process)
                return None, Lost(str(error))
            except _DiedError as error:
                self._drop(process)
                process, death = None, error
            except WorkerError:
                self._drop(process)
                raise
        if isinstance(death, _StartError):
            raise WorkerError(f"{death}, {ATTEMPTS} times")
        return None, Lost(f"{death}, {ATTEMPTS} times")

    def _take(self) -> _Process:
        """A process that is idle, or a new one; from now on it is among those that are stopped with the rest."""
        with self._lock:
            process = self._idle.pop() if self._idle else _Process()
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


class _StartError(_DiedError):
    """The process ended while it started."""


class _LateError(Exception):
    """The process was stopped because it took too long."""


class _Process:
    """One worker process, seen from the parent."""

    def __init__(self) -> None:
        """Start it."""
        self._ready = False
        self._items, self._busy = 0, 0.0
        self._popen = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-c", _COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=OWN_GROUP,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(import_folders())},
        )

    def set_up(self, start: bytes) -> None:
        """Wait until it is set up, once.

        Raises:
            WorkerError: if it cannot be set up.
            _StartError: if it ended while it started.
        """
        if self._ready:
            return
        try:
            _send(self._stdin, start)
            message = pickle.loads(_receive(self._stdout))
        except (OSError, EOFError):
            code = self._popen.wait()
            raise _StartError(f"a worker process died as it started (exit code {code})") from None
        if message is not None:
            raise WorkerError(str(message))
        self._ready = True

    @property
    def _stdin(self) -> BinaryIO:
        return cast(BinaryIO, self._popen.stdin)

    @property
    def _stdout(self) -> BinaryIO:
        return cast(BinaryIO, self._popen.stdout)

    def ask(self, item: object, timeout: float) -> object:
        """Send an item and wait for its answer.

        Raises:
            _DiedError: if the process ended.
            _LateError: if it was stopped because of the time limit.
        """
        try:
            request = pickle.dumps(item)
        except Exception as error:  # pickle raises whatever an object of the user does
            return Lost(f"{type(error).__name__}: {error}")
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._popen.kill()

        timer = threading.Timer(timeout, stop)
        timer.daemon = True
        timer.start()
        start = time.perf_counter()
        try:
            _send(self._stdin, request)
            reply = _receive(self._stdout)
        except (OSError, EOFError) as error:
            code = self._popen.wait()
            if late.is_set():
                raise _LateError(f"no answer within {timeout:g} s") from error
            raise _DiedError(f"its worker process died (exit code {code})") from error
        finally:
            timer.cancel()
        self._items, self._busy = self._items + 1, self._busy + time.perf_counter() - start
        return pickle.loads(reply)

    def share(self) -> dict[str, Any]:
        """Its id, and the items and seconds that it has answered since this was last asked."""
        items, busy, self._items, self._busy = self._items, self._busy, 0, 0.0
        return {"pid": self._popen.pid, "items": items, "seconds": round(busy, 2)}

    def kill(self) -> None:
        """Stop it at once."""
        self._popen.kill()

    def dismiss(self) -> None:
        """Close its input."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def close(self) -> None:
        """End it: a worker leaves as soon as its input ends; one that does not is stopped."""
        self.dismiss()
        try:
            self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        with contextlib.suppress(OSError):
            self._stdout.close()


def serve() -> None:
    """Body of a worker process: set up, then answer items until the input ends, which ends the process at once."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to handle: it closes our input
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(items,), daemon=True).start()
    answer, failure = _set_up(items.get())
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        _send(answers, pickle.dumps(failure))
        while answer is not None:
            _send(answers, _reply(answer, items.get()))
    os._exit(0)  # the thread that listens cannot be ended


def _reply(answer: Callable[[Any], Any], item: Any) -> bytes:
    try:
        return pickle.dumps(item if isinstance(item, Lost) else answer(item))
    except Exception as error:  # one bad item must not end the run, whatever a library raised
        return pickle.dumps(Lost(f"{type(error).__name__}: {error}"))


def _set_up(start: tuple[str, object] | Lost) -> tuple[Callable[[Any], Any] | None, str | None]:
    """The function that answers items, or why there is none."""
    if isinstance(start, Lost):
        return None, start.reason
    target, settings = start
    try:
        return load_function(target)(settings), None
    except Exception as error:
        return None, f"{target}: {type(error).__name__}: {error}"


def _listen(items: queue.SimpleQueue[Any]) -> None:
    """Take what the parent sends; where its end is closed, or it has died, nobody waits for an answer."""
    while True:
        try:
            items.put(pickle.loads(_receive(sys.stdin.buffer)))
        except EOFError:
            os._exit(0)
        except Exception as error:  # such as a class of a module that cannot be imported here
            items.put(Lost(f"{type(error).__name__}: {error}"))


def _send(stream: BinaryIO, message: bytes) -> None:
    stream.write(len(message).to_bytes(8, "big"))
    stream.write(message)
    stream.flush()


def _receive(stream: BinaryIO) -> bytes:
    """The next message.

    Raises:
        EOFError: if there is none, or half of one.
    """
    size = stream.read(8)
    message = stream.read(int.from_bytes(size, "big"))
    if len(size) < 8 or len(message) < int.from_bytes(size, "big"):
        raise EOFError
    return message


def load_function(target: str) -> Callable[..., Any]:
    """The function named by `package.module:function`."""
    module, _, name = target.partition(":")
    return cast(Callable[..., Any], getattr(importlib.import_module(module), name))
