"""Limits of what is read, and the opening of files: regular files only, of a size that can be read whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from invdesign.errors import StructureReadError

MOST_ATOMS = 1000
"""Most atoms in one cell: the surrogates, the potentials and the search for symmetry are made for fewer than
200."""
LARGEST_TEXT = 100 * 2**20
"""Most bytes of a file that is read whole: CIF, POSCAR, JSON, and what an archive holds."""
LARGEST_FILE = 2 * 2**30
"""Most bytes of a file that is read in pieces: tables, databases, trajectories, archives, vasprun.xml."""
LARGEST_ARCHIVE = 512 * 2**20
"""Most bytes that the members of one archive may have unpacked, together."""
HIGHEST_RATIO = 200
"""Most bytes that one packed byte may stand for, beyond the first mebibyte; text packs to a twentieth at best."""
MOST_MEMBERS = 200_000
"""Most members of an archive."""
LONGEST_LINE = 2**20
"""Most characters of a line of a POSCAR or an extended XYZ file."""


def regular_file(path: Path) -> os.stat_result:
    """The state of a regular file.

    Raises:
        StructureReadError: if it is a device, a pipe, a socket or a folder, if it cannot be looked at, or if it
            is larger than any file that is read."""
    try:
        state = path.stat()
    except OSError as error:
        raise StructureReadError(f"cannot be opened: {error.strerror or error}") from None
    if not stat.S_ISREG(state.st_mode):
        raise StructureReadError("not a regular file")
    check_size(state.st_size, LARGEST_FILE)
    return state


def read_whole(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        StructureReadError: as in :func:`regular_file`, and if it is too large to be read whole.
    """
    check_size(regular_file(path).st_size, LARGEST_TEXT)
    with path.open("rb") as file:
        content = file.read(LARGEST_TEXT + 1)
    check_size(len(content), LARGEST_TEXT)
    return content


def check_size(size: int, most: int) -> None:
    """Refuse a file that is too large.

    Raises:
        StructureReadError: if `size` is above `most`, both in bytes.
    """
    if size > most:
        raise StructureReadError(f"{size / 2**20:.0f} MiB, too large to be read (at most {most / 2**20:.0f} MiB)")
