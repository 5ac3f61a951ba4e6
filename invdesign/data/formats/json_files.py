"""JSON files: one structure, lists and mappings of them, split tables, OPTIMADE answers, ASE's database, a
document a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TextIO

from invdesign.data.formats.json_records import from_record, is_crystal_like, loaded
from invdesign.data.items import Item, OtherContentError, attempt
from invdesign.data.limits import check_size
from invdesign.errors import StructureReadError
from invdesign.records import Failure

LONGEST_LINE = 2**24
"""Most characters of a line of a JSON lines file."""


def read_json(text: str, source: str) -> Iterator[Item]:
    """Every crystal in a JSON text.

    Raises:
        StructureReadError: if it is not JSON, or too large.
        OtherContentError: if it is JSON about something else.
    """
    try:
        document = loaded(text)
    except ValueError as error:
        lines = text.splitlines()
        if sum(1 for line in lines if line.strip()) < 2 or not _is_json(
            next(line for line in lines if line.strip())
        ):
            raise StructureReadError(f"not JSON, or cut off: {error}") from None
        yield from _lines(iter(lines), source)
        return
    if isinstance(document, dict) and {"ids", "nextid"} <= document.keys():
        yield from _ase_rows(document, source)
        return
    records = _records(document)
    if records is None:
        raise OtherContentError("JSON without a crystal in it")
    for index, record in enumerate(records):
        name = source if len(records) == 1 else f"{source}#{index}"
        yield attempt(lambda r=record, n=name: from_record(r, n), name, _beside(record))  # type: ignore[misc]


def read_json_lines(stream: TextIO, source: str) -> Iterator[Item]:
    """A document a line; a line that is broken is a failure of its own."""

    def lines() -> Iterator[str]:
        while line := stream.readline(LONGEST_LINE + 1):
            check_size(len(line), LONGEST_LINE)
            yield line

    yield from _lines(lines(), source)


def _lines(lines: Iterator[str], source: str) -> Iterator[Item]:
    for index, line in enumerate(line for line in lines if line.strip()):
        name = f"{source}#{index}"
        try:
            record = loaded(line)
        except (ValueError, StructureReadError) as error:
            yield Item(Failure("read", f"not JSON: {error}"[:200], name))
            continue
        yield attempt(lambda r=record, n=name: from_record(r, n), name, _beside(record))  # type: ignore[misc]


def _is_json(line: str) -> bool:
    try:
        loaded(line)
    except (ValueError, StructureReadError):
        return False
    return True


def _records(document: object) -> list[Any] | None:
    """The document as a list of things that should each be one crystal; None if it is about something else."""
    if isinstance(document, list):
        return document if any(is_crystal_like(r) for r in document) else None
    if not isinstance(document, dict):
        return None
    if is_crystal_like(document):
        return [document]
    data = document.get("data")
    if isinstance(data, list) and isinstance(document.get("columns"), list):
        names = [str(name) for name in document["columns"]]
        return _records([dict(zip(names, row, strict=False)) for row in data if isinstance(row, list)])
    if isinstance(data, (list, dict)):
        return _records(data)
    return _records(list(document.values()))


def _ase_rows(document: dict[str, Any], source: str) -> Iterator[Item]:
    """The rows of ASE's JSON database, in order of their ids, with their key-value pairs."""
    rows = sorted((int(key), row) for key, row in document.items() if key.isdecimal() and len(key) < 10)
    if not rows:
        raise OtherContentError("an ASE database without rows")
    for number, row in rows:
        name = f"{source}#{number}"
        pairs = row.get("key_value_pairs") if isinstance(row, dict) else None
        columns = pairs if isinstance(pairs, dict) else {}
        yield attempt(lambda r=row, n=name: from_record(r, n), name, columns)  # type: ignore[misc]


def _beside(record: Any) -> dict[str, Any]:
    """The columns beside a structure in a record; a structure's own `properties` count too."""
    if not isinstance(record, dict):
        return {}
    inner = record.get("properties")
    columns = dict(inner) if isinstance(inner, dict) else {}
    columns.update((k, v) for k, v in record.items() if not isinstance(v, (dict, list)))
    return columns
