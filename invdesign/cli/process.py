"""From the process's arguments to its exit code: every error of the user is one line on stderr."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from invdesign.cli.group import commands
from invdesign.errors import InvdesignError, InvdesignWarning

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
DEBUG = "INVDESIGN_DEBUG"


class InterruptedRunError(Exception):
    """Ctrl-C ended a run that can go on from its folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # it writes notes about cells to stderr
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 (a defect), 2 (wrong input) or 130 (interrupted)."""
    before = os.environ.get(DEBUG)
    try:
        with warnings.catch_warnings():
            if not before:
                warnings.simplefilter("ignore")
            warnings.simplefilter("always", InvdesignWarning)
            warnings.showwarning = _shown  # type: ignore[assignment]  # put back by catch_warnings
            return _run(args)
    finally:
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
        return _say(f"interrupted; go on with: invdesign resume {interrupted.folder}", 130)
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted", 130)
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
