"""The tables and weights that the package reads: its own, or those of the folder that `INVDESIGN_TABLES` names.

Each file is made by a script in `scripts/`; its data sheet lies beside it (`docs/rebuild.md` has the whole chain).
Every reader goes through this module, so that a set of tables is exchanged as a whole, never mixed with another.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from invdesign.errors import ReferenceMissingError

if TYPE_CHECKING:
    import numpy as np

VARIABLE = "INVDESIGN_TABLES"
"""Environment variable with the folder to read tables from instead of the package's."""
SHIPPED = Path(__file__).parent
"""Folder of the tables that come with the package."""


def folder() -> Path:
    """The folder that tables are read from.

    Raises:
        ReferenceMissingError: if `INVDESIGN_TABLES` names no folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return SHIPPED
    if not Path(named).is_dir():
        raise ReferenceMissingError(
            f"{VARIABLE}={named}: there is no such folder; name one that `make rebuild` has filled, or unset it"
        )
    return Path(named)


def use(path: Path | str) -> None:
    """Read tables from a folder, in this process and those it starts; to be called before any table is read."""
    os.environ[VARIABLE] = str(Path(path).resolve())


def path_of(name: str) -> Path:
    """Path of a table by its file name; whether it exists is for its reader to find out.

    Raises:
        ReferenceMissingError: if `INVDESIGN_TABLES` names no folder.
    """
    return folder() / name


def checksum(name: str) -> str:
    """First twelve digits of the SHA-256 of a table.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    try:
        return hashlib.sha256(path_of(name).read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise unreadable(name, error) from None


def read_arrays(name: str) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The arrays of an `.npz` table.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    import numpy as np

    try:
        with path_of(name).open("rb") as stream, np.load(stream) as arrays:
            return dict(arrays)
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise unreadable(name, error) from None


def read_json(name: str) -> Any:
    """The content of a `.json` table.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    try:
        return json.loads(path_of(name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None


def unreadable(name: str, error: Exception) -> ReferenceMissingError:
    """What to raise where a table cannot be read: it names the folder if that is not the package's."""
    own = folder() == SHIPPED
    which = f"the shipped table {name}" if own else f"the table {name} of {folder()} ({VARIABLE})"
    return ReferenceMissingError(f"{which} cannot be read: {error}")
