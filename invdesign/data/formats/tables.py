"""Tables of crystals: parquet and CSV, one crystal a row, its labels in the other columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from invdesign.crystal import Crystal
from invdesign.data.convert import from_row
from invdesign.data.formats.json_records import from_record
from invdesign.data.items import Item, OtherContentError, attempt, decoded
from invdesign.data.limits import LARGEST_FILE
from invdesign.errors import StructureReadError
from invdesign.records import Failure

Resolve = Callable[[str], Crystal]
"""Reads the crystal in a file that a table names."""

_PARTS = ("atomic_numbers", "frac_coords")
_LATTICES = ("lattice_parameters", "lattice")
_COLUMNS = (
    "structure", "cif", "poscar", "final_structure", "initial_structure", "cif_string", "file", "path", "filename",
    "cif_file",
)  # fmt: skip
_BATCH = 1024
LONGEST_CELL = 2**24
"""Most characters of a cell, and most bytes of a row: a crystal of a thousand atoms takes a hundredth of it."""
_LARGEST_BATCH = 2**25
_MOST_VALUES = 2**26
_MOST_COLUMNS = 10_000

EXPECTED = (
    "lattice_parameters, atomic_numbers and frac_coords; or structure or cif (JSON or CIF text, or the path of a "
    "file); or file (a path)"
)
"""The columns that a table of crystals may bring its structures in, in words."""


def read_parquet(content: bytes | Path, source: str, resolve: Resolve | None = None) -> Iterator[Item]:
    """Every row of a parquet file.

    Args:
        content: the file or its bytes.
        source: what to call it.
        resolve: reads the files that the table names; without it such a table counts as other content, because
            the files are read in their own right.

    Raises:
        StructureReadError: if the file is damaged.
        OtherContentError: if it has no structure column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(content if isinstance(content, Path) else BytesIO(content))
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type) or pa.types.is_binary(f.type)]
        file = pq.ParquetFile(content if isinstance(content, Path) else BytesIO(content), read_dictionary=texts)
        _check_groups(file.metadata)
        names = list(file.schema_arrow.names)
        yield from _read_rows(_rows_of(file), names, source, resolve)
    except (pa.ArrowException, OSError) as error:
        raise StructureReadError(f"not a parquet file, or damaged: {error}") from None


def _check_groups(metadata: Any) -> None:
    """Refuse groups of rows that would take much memory: a few bytes can stand for millions of equal values."""
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for c in range(group.num_columns):
            column = group.column(c)
            if column.num_values > _MOST_VALUES or column.total_uncompressed_size > LARGEST_FILE:
                raise StructureReadError(
                    f"{column.num_values} values of {column.path_in_schema} in one group of rows"
                )


def _rows_of(file: Any) -> Iterator[Mapping[str, Any] | str]:
    """The rows of a parquet file; a row too large for a crystal is the reason why it is not read."""
    for batch in file.iter_batches(_BATCH):
        if batch.nbytes < _LARGEST_BATCH:
            yield from batch.to_pylist()
            continue
        for k in range(batch.num_rows):
            row = batch.slice(k, 1)
            is_large = row.nbytes > LONGEST_CELL + batch.num_columns * 64
            yield f"a row of {row.nbytes >> 20} MiB" if is_large else row.to_pylist()[0]


def read_csv(stream: TextIO, source: str, resolve: Resolve | None = None) -> Iterator[Item]:
    """Every row of a CSV table with a header; the separator is comma, semicolon or tab.

    A row with too many or too few cells is a failure of its own.

    Args:
        stream: its text, opened without translation of line ends.
        source: what to call it.
        resolve: as in :func:`read_parquet`.

    Raises:
        StructureReadError: if it holds binary data, or a cell that is too large.
        OtherContentError: if it has no structure column.
    """
    csv.field_size_limit(LONGEST_CELL)
    lines = _lines_of(stream)
    header = next((line for line in lines if not line.isspace()), "")
    reader = csv.reader(chain([header.lstrip()], lines), delimiter=max(",;\t", key=header.count))
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(names) > _MOST_COLUMNS:
            raise StructureReadError(f"{len(names)} columns, at most {_MOST_COLUMNS}")
        rows = (_named(names, cells) for cells in reader if cells)
        yield from _read_rows(rows, names, source, resolve)
    except csv.Error as error:
        raise StructureReadError(f"not a CSV table, or damaged: {error}") from None


def _lines_of(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LONGEST_CELL + 1):
        if "\0" in line:
            raise StructureReadError("not a CSV table: it holds binary data")
        if len(line) > LONGEST_CELL:
            raise StructureReadError(f"a line of more than {LONGEST_CELL} characters")
        yield line


def _named(names: list[str], cells: list[str]) -> Mapping[str, Any] | str:
    if len(cells) != len(names):
        return f"{len(cells)} cells in a table of {len(names)} columns"
    return dict(zip(names, cells, strict=True))


def _read_rows(
    rows: Iterable[Mapping[str, Any] | str], names: list[str], source: str, resolve: Resolve | None
) -> Iterator[Item]:
    used, parse = _reader(names, resolve)
    for index, row in enumerate(rows):
        name = f"{source}#{index}"
        if isinstance(row, str):
            yield Item(Failure("read", row, name))
            continue
        if resolve is None and len(used) == 1 and any(_is_path(row[column]) for column in used):
            raise OtherContentError("its structures are files of their own")
        columns = {k: v for k, v in row.items() if k not in used}
        yield attempt(lambda r=row, n=name: parse(r, n), name, columns)  # type: ignore[misc]


def _reader(
    names: list[str], resolve: Resolve | None
) -> tuple[set[str], Callable[[Mapping[str, Any], str], Crystal]]:
    """The columns that hold the structure, and how to read it from a row."""
    by_key = {name.lower(): name for name in reversed(names)}
    lattice = next((k for k in _LATTICES if k in by_key), None)
    if lattice and all(k in by_key for k in _PARTS):
        keys = {k: by_key[k] for k in (lattice, *_PARTS)}
        return set(keys.values()), lambda row, n: from_row({k: row[v] for k, v in keys.items()}, n)
    column = next((by_key[k] for k in _COLUMNS if k in by_key), None)
    if column is None:
        raise OtherContentError(f"no structure column; expected {EXPECTED}")
    return {column}, lambda row, n: _from_cell(row[column], n, resolve)


def _from_cell(cell: Any, source: str, resolve: Resolve | None) -> Crystal:
    if isinstance(cell, bytes):
        cell = decoded(cell)
    if cell is None or not str(cell).strip():
        raise StructureReadError("no structure in this row")
    return resolve(cell.strip()) if resolve and _is_path(cell) else from_record(cell, source)


def _is_path(cell: object) -> bool:
    text = cell.strip() if isinstance(cell, str) else ""
    return bool(text) and "\n" not in text and text[0] not in "{["
