"""What the scripts that make tables and weights share: options, and source data that are what they should be.

Each script reads the tables that it depends on from the folder it writes to (`--out`), so a chain of them builds a
set that belongs together without touching the one in use. Source data are compared with checksums before anything
is built; a folder of data may bring checksums of its own, as the small sample does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from invdesign import tables
from invdesign.errors import InputError, InvdesignError
from invdesign.training.sheet import commit

ROOT = Path(__file__).resolve().parents[2]
"""Root of the checkout; scripts are run from one."""
SOURCES = "data_sources.json"
"""File with name, origin, licence and checksum of each source file: in `scripts`, or beside the data."""


def options(doc: str, data: bool = True, small: bool = False) -> argparse.ArgumentParser:
    """A parser of the options that these scripts have in common.

    Args:
        doc: docstring of the script.
        data: whether it reads source data.
        small: whether it has settings for a trial at small scale.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = "folder of the tables: those that are needed are read from it, those that are made are written to it"
    parser.add_argument("--out", type=Path, default=tables.SHIPPED, help=f"{where} (the package's)")
    if data:
        parser.add_argument("--data", type=Path, required=True, help="folder of the source data")
        parser.add_argument("--any-data", action="store_true", help="also build from data with other checksums")
    if small:
        parser.add_argument("--small", action="store_true", help="a trial at small scale: minutes, poor weights")
    return parser


def begin(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the options, make the folder of the tables, and read tables from there from now on.

    Args:
        parser: of `options`.
        arguments: those of the command line (None: of this process).
    """
    found = parser.parse_args(arguments)
    found.out.mkdir(parents=True, exist_ok=True)
    tables.use(found.out)
    found.commit = commit(ROOT)
    return found


def sources(given: argparse.Namespace, *names: str) -> dict[str, str]:
    """Checksums of source files, after comparison with those that are written down.

    Args:
        given: options with `data` and `any_data`.
        names: file names in the folder of the data.

    Raises:
        InputError: if a file is missing, or is not the one that is written down.
    """
    beside = given.data / SOURCES
    listed: dict[str, Any] = json.loads((beside if beside.exists() else ROOT / "scripts" / SOURCES).read_text())
    return {name: _checked(given.data / name, listed.get(name, {}), given.any_data) for name in names}


def _checked(path: Path, listed: dict[str, Any], anything: bool) -> str:
    if not path.is_file():
        obtain = listed.get("obtain", "docs/rebuild.md says where data come from")
        raise InputError("source data", str(path), f"a file; {obtain}")
    found = digest(path)
    if found != listed.get("sha256") and not anything:
        wanted = f"SHA-256 {listed['sha256']}" if "sha256" in listed else "one of the files that are written down"
        raise InputError(
            "source data", f"{path.name} (SHA-256 {found[:12]}…)", f"{wanted}; --any-data builds from others"
        )
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run(main: Callable[[], None]) -> None:
    """Run a script; what is wrong with its input is one line and exit code 2, as for `invdesign` itself."""
    try:
        main()
    except InvdesignError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def built(*names: str) -> dict[str, str]:
    """Checksums of tables that another one is made from.

    Args:
        names: their file names.

    Raises:
        ReferenceMissingError: if one is not there.
    """
    return {name: tables.checksum(name) for name in names}
