"""From the process's arguments to its exit code: every error of the user is one line on stderr."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from invdesign.cli.group import commands
from invdesign.errors import InvdesignError, InvdesignWarning
from invdesign.run_log import EVENTS, Readable

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
DEBUG = "INVDESIGN_DEBUG"
AGAIN = 0.02
"""Seconds after which a request to end that was dropped is made again."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM asked the process to end: it stops as it does at Ctrl-C."""


class InterruptedRunError(Exception):
    """Ctrl-C or SIGTERM ended a run that can go on from its folder."""

    def __init__(self, folder: Path, terminated: bool = False) -> None:
        super().__init__(str(folder))
        self.folder, self.terminated = folder, terminated


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # it writes notes about cells to stderr
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _unraisable
    sys.exit(run(args))


def _terminate(_: int, __: object) -> None:
    """End at once, and without this handler if that is asked again."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise TerminatedError


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Ask again to end where Python dropped the request, as in finalizers and callbacks of weak references.

    The signal comes a moment later, from another thread, so that it meets the main thread outside of that code.
    """
    if not issubclass(what.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(what)
        return
    number = signal.SIGINT
    if issubclass(what.exc_type, TerminatedError):
        number = signal.SIGTERM
        signal.signal(number, _terminate)
    send = signal.raise_signal if os.name == "nt" else partial(os.kill, os.getpid())
    again = threading.Timer(AGAIN, send, (number,))
    again.daemon = True
    with suppress(RuntimeError):  # the process is about to end
        again.start()


def run(args: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0, 1 (a defect), 2 (wrong input), 130 (interrupted) or 143 (SIGTERM)."""
    before = os.environ.get(DEBUG)
    try:
        with warnings.catch_warnings():
            if not before:
                warnings.simplefilter("ignore")
            warnings.simplefilter("always", InvdesignWarning)
            warnings.showwarning = _shown  # type: ignore[assignment]  # put back by catch_warnings
            return _run(args)
    finally:
        for handler in [each for each in EVENTS.handlers if isinstance(each, Readable)]:
            EVENTS.removeHandler(handler)
        os.environ.pop(DEBUG, None)
        os.environ |= {} if before is None else {DEBUG: before}


def _run(args: Sequence[str] | None) -> int:
    try:
        code = commands.main(args=None if args is None else list(args), standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except InvdesignError as error:
        return _say(str(error), 2)
    except InterruptedRunError as interrupted:
        how, code = ("terminated", 143) if interrupted.terminated else ("interrupted", 130)
        return _say(f"{how}; go on with: invdesign resume {interrupted.folder}", code)
    except (KeyboardInterrupt, click.Abort) as error:
        terminated = isinstance(error, TerminatedError) or isinstance(error.__cause__, TerminatedError)
        return _say("terminated", 143) if terminated else _say("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _unexpected(error)
    return code if isinstance(code, int) else 0


def _shown(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """A warning as one line: our own as a note, those of libraries with where they come from."""
    where = "" if issubclass(category, InvdesignWarning) else f" ({category.__name__}, {filename}:{lineno})"
    click.echo(f"invdesign: note: {' '.join(str(message).split())}{where}", err=True)


def _say(message: str, code: int) -> int:
    click.echo(f"invdesign: {' '.join(message.split())}", err=True)
    return code


def _unexpected(error: Exception) -> int:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
        return 1
    hint = f"set {DEBUG}=1 or add --verbose to see the traceback"
    return _say(f"unexpected {type(error).__name__}: {error} ({hint})", 1)
