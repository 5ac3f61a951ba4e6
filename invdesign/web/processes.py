"""Processes of runs: started apart from the app, so that they outlive it, and found again by their record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from invdesign.errors import InputError, OutputError
from invdesign.progress import SECONDS
from invdesign.web.folder import Runs

SAME = 1.0
"""Seconds by which two readings of the start of one process may differ."""
_children: list[subprocess.Popen[bytes]] = []
"""Processes that this app has started and must collect when they end; nothing else is known of them here."""


def start(runs: Runs, name: str, arguments: Sequence[str], afresh: bool = False) -> None:
    """Start `invdesign` with some arguments for a run.

    Args:
        runs: the folder of runs.
        name: of the run.
        arguments: of the command line.
        afresh: whether the log begins anew.

    Raises:
        InputError: if a process of this run is alive.
        OutputError: if it cannot be started.
    """
    if alive(runs, name) is not None:
        raise InputError("run", name, "one that is not running: stop it first, or wait until it ends")
    runs.beside(name)
    environment = os.environ | {SECONDS: "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "invdesign", *arguments]
    try:
        with runs.log(name).open("wb" if afresh else "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=runs.root,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise OutputError(f"the run cannot be started: {error.strerror}") from None
    _children.append(process)
    with suppress(psutil.Error):
        created = psutil.Process(process.pid).create_time()
        record = {"pid": process.pid, "created": created, "arguments": [*arguments], "started": time.time()}
        runs.write_process(name, record)


def alive(runs: Runs, name: str) -> psutil.Process | None:
    """The process of a run, if it is alive."""
    _children[:] = [child for child in _children if child.poll() is None]
    record = runs.process(name)
    try:
        process = psutil.Process(int(record["pid"]))
        same = abs(process.create_time() - float(record["created"])) < SAME
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, KeyError, TypeError, ValueError):
        return None


def stop(runs: Runs, name: str) -> None:
    """Ask the process of a run to stop; asked again, end it and its workers at once.

    What was recorded by then is kept either way. The signal is SIGTERM, which the command heeds as it does Ctrl-C:
    a process that was started from the background of a shell ignores SIGINT.

    Raises:
        InputError: if there is none.
    """
    process = alive(runs, name)
    if process is None:
        raise InputError("run", name, "one that was started here and is running")
    record = runs.process(name)
    again = "stop_asked" in record
    runs.write_process(name, record | {"stop_asked": time.time()})
    with suppress(psutil.Error):
        family = process.children(recursive=True) if again else []
        process.send_signal(signal.SIGTERM)
        for child in family:
            with suppress(psutil.Error):
                child.terminate()
