"""ASE's SQLite databases: numbers, positions, cell and key-value pairs of each row, read only, by plain SQL.

The rows are not handed to ASE, which would also build the constraints and calculators that a row names.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from invdesign.crystal import Crystal
from invdesign.data.convert import checked, lattice_of
from invdesign.data.items import Item, OtherContentError, attempt
from invdesign.data.limits import MOST_ATOMS
from invdesign.errors import StructureReadError

_HEAD = b"SQLite format 3\0"
_LONGEST_PAIRS = 2**20
_SECONDS = 10.0
"""Time after which one step of a query is given up: a damaged or made-up file can keep SQLite busy for ever."""
_QUERY = """
SELECT id, pbc, length(numbers), length(positions), length(cell), length(key_value_pairs),
       substr(numbers, 1, :numbers), substr(positions, 1, :positions), substr(cell, 1, 72),
       substr(key_value_pairs, 1, :pairs)
FROM systems ORDER BY id
"""


def read_ase_db(path: Path, source: str) -> Iterator[Item]:
    """Every row of an ASE SQLite database, with its key-value pairs; the file is not written to.

    Raises:
        StructureReadError: if it is no database, or damaged; the rows before the damage have been yielded.
        OtherContentError: if it is another database than ASE's.
    """
    with path.open("rb") as file:
        if file.read(len(_HEAD)) != _HEAD:
            raise StructureReadError("not an SQLite database")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        yield from _rows(connection, source)
    except (sqlite3.Error, OverflowError) as error:
        raise StructureReadError(f"damaged database: {error}") from None
    finally:
        connection.close()


def read_ase_db_bytes(content: bytes, source: str) -> Iterator[Item]:
    """The same for a database that is not a file of its own, such as a zip's member."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "content.db"
        path.write_bytes(content)
        yield from read_ase_db(path, source)


def _rows(connection: sqlite3.Connection, source: str) -> Iterator[Item]:
    deadline = [time.monotonic() + _SECONDS]
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline[0]), 100_000)
    kinds = dict(connection.execute("SELECT name, type FROM sqlite_master"))
    if kinds.get("systems") != "table":
        raise OtherContentError("an SQLite database, but not one of ASE's")
    limits = {"numbers": 4 * MOST_ATOMS, "positions": 24 * MOST_ATOMS, "pairs": _LONGEST_PAIRS}
    for row in connection.execute(_QUERY, limits):
        name = f"{source}#{row[0]}"
        columns: dict[str, Any] = {}
        yield attempt(lambda r=row, n=name, c=columns: _crystal(r, c, n), name, columns)  # type: ignore[misc]
        deadline[0] = time.monotonic() + _SECONDS


def _crystal(row: tuple[Any, ...], columns: dict[str, Any], source: str) -> Crystal:
    _, pbc, n_numbers, n_positions, n_cell, n_pairs, numbers, positions, cell, pairs = row
    if not isinstance(n_numbers, int) or n_numbers % 4 or n_positions != 6 * n_numbers or n_cell != 72:
        raise StructureReadError("numbers, positions and cell of the row do not belong together")
    if n_numbers > 4 * MOST_ATOMS:
        raise StructureReadError(f"{n_numbers // 4} atoms, at most {MOST_ATOMS}")
    if n_pairs is not None and n_pairs > _LONGEST_PAIRS:
        raise StructureReadError(f"key-value pairs of {n_pairs} characters")
    found = json.loads(pairs) if pairs else {}
    columns.update(found if isinstance(found, dict) else {})
    if pbc is not None and int(pbc) & 7 != 7:
        raise StructureReadError("not periodic in three directions")
    matrix = lattice_of(np.frombuffer(cell, dtype="<f8"))
    coords = np.frombuffer(positions, dtype="<f8").reshape(-1, 3) @ np.linalg.inv(matrix)
    return checked(matrix, np.frombuffer(numbers, dtype="<i4"), coords, source)
