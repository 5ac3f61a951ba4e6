"""One reader per file format: bytes or text in; crystals, failures and the columns that stood beside them out.

Every reader yields :class:`Item` records. A whole file that cannot be taken apart raises
:class:`~invdesign.errors.StructureReadError`; one that is sound but about something else raises
:class:`OtherContentError`, so that a folder's settings and logs are passed over in silence.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

from invdesign.crystal import Crystal
from invdesign.data.convert import from_ase, from_optimade, from_pymatgen, from_row
from invdesign.errors import InvdesignError, StructureReadError
from invdesign.records import Failure

P = ParamSpec("P")
T = TypeVar("T")

_REASON_LENGTH = 200
_SQLITE = b"SQLite format 3\0"


class OtherContentError(StructureReadError):
    """A sound file that holds something else than crystals."""


@dataclass(frozen=True)
class Item:
    """One thing read: a crystal or the reason why not, and the labels or columns that came with it."""

    result: Crystal | Failure
    columns: Mapping[str, Any] = field(default_factory=dict)


def attempt(parse: Callable[[], Crystal], source: str, columns: Mapping[str, Any] | None = None) -> Item:
    """Run one item's parser; whatever it raises becomes the item's failure.

    The parsers are other people's, and a broken file brings out any exception at all, so all are caught here.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Item(parse(), columns or {})
    except Exception as error:
        return Item(failure(error, source), columns or {})


def failure(error: BaseException, item: str) -> Failure:
    """The failure row of an exception, its message squeezed into one line."""
    text = " ".join(str(error).split()).removeprefix("No structure parsed for section 1 in CIF. ")
    if not isinstance(error, (InvdesignError, OSError)):
        text = f"cannot be parsed ({type(error).__name__}: {text})" if text else f"cannot be parsed ({error!r})"
    return Failure("read", text if len(text) <= _REASON_LENGTH else text[: _REASON_LENGTH - 1] + "…", item)


def quiet(function: Callable[P, T]) -> Callable[P, T]:
    """Run a plain function (not a generator) without warnings."""

    @wraps(function)
    def silent(*args: P.args, **kwargs: P.kwargs) -> T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return silent


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8 with or without a byte order mark, UTF-16 with one; other bytes are replaced."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    return content.decode("utf-8-sig", errors="replace")


def read_cif(text: str, source: str) -> Iterator[Item]:
    """Every data block with atoms; blocks without (publication data, powder patterns) are passed over."""
    blocks = re.split(r"^[ \t]*data_", "\n" + _plain_cif(text), flags=re.MULTILINE | re.IGNORECASE)[1:]
    if not blocks:
        raise StructureReadError("no data block: not a CIF, or cut off")
    with_atoms = [b for b in blocks if re.search(r"^\s*_atom_site_(label|type_symbol|fract_x)", b, re.M | re.I)]
    if not with_atoms:
        raise StructureReadError("no atoms in any data block")
    for index, block in enumerate(with_atoms):
        name = source if len(with_atoms) == 1 else f"{source}#{index}"
        yield attempt(lambda b=block, n=name: _cif_block("data_" + b, n), name)  # type: ignore[misc]


def read_poscar(text: str, source: str) -> Iterator[Item]:
    """One VASP structure. The old format without element symbols is refused: it does not name its atoms."""

    def parse() -> Crystal:
        from pymatgen.io.vasp import Poscar

        poscar = Poscar.from_str(text, read_velocities=False)
        if not poscar.true_names:
            raise StructureReadError("POSCAR without element symbols (VASP 4); add them in line 6")
        return from_pymatgen(poscar.structure, source)

    yield attempt(parse, source)


def read_extxyz(text: str, source: str) -> Iterator[Item]:
    """Every frame; one that is broken inside is a failure, one with a broken atom count ends the file."""
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    start, index = 0, 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        name = f"{source}#{index}" if index or _frame_end(lines, 0) < len(lines) else source
        end = _frame_end(lines, start)
        if end <= start:
            yield Item(Failure("read", f"line {start + 1} is not a number of atoms", name))
            return
        yield _frame("\n".join(lines[start:end]), end > len(lines), name)
        start, index = end, index + 1


def read_json(text: str, source: str) -> Iterator[Item]:
    """A pymatgen `Structure`, lists or mappings of them, records with a `structure`, split tables (`columns` and
    `data`), OPTIMADE answers, ASE's JSON database, or one JSON document a line."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not _is_json(lines[0]):
            raise StructureReadError(f"not JSON, or cut off: {error}") from None
        for index, line in enumerate(lines):
            yield _json_line(line, f"{source}#{index}")
        return
    if isinstance(document, dict) and {"ids", "nextid"} <= document.keys():
        yield from _ase_rows(text.encode(), ".json", source)
        return
    records = _records(document)
    if records is None:
        raise OtherContentError("JSON without a crystal in it")
    for index, record in enumerate(records):
        name = source if len(records) == 1 else f"{source}#{index}"
        yield attempt(lambda r=record, n=name: from_record(r, n), name, _beside(record))  # type: ignore[misc]


def read_ase_db(path: Path, source: str) -> Iterator[Item]:
    """Every row of an ASE SQLite database, with its key-value pairs; the file is not written to."""
    import sqlite3

    with path.open("rb") as file:
        if file.read(16) != _SQLITE:
            raise StructureReadError("not an SQLite database")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    except sqlite3.DatabaseError as error:
        raise StructureReadError(f"damaged database: {error}") from None
    finally:
        connection.close()
    if "systems" not in tables:
        raise OtherContentError("an SQLite database, but not one of ASE's")
    yield from _select(str(path), "db", source)


def read_ase_db_bytes(content: bytes, source: str) -> Iterator[Item]:
    """The same for a database that is not a file of its own, such as a zip's member."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "content.db"
        path.write_bytes(content)
        yield from read_ase_db(path, source)


def read_text(text: str, source: str) -> Iterator[Item]:
    """A structure in a table's cell: JSON, CIF or POSCAR, told apart by how it begins."""
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in "{[" and stripped:
        return read_json(stripped, source)
    if re.search(r"^\s*(data_|_cell_length_a)", stripped, re.M | re.I):
        return read_cif(stripped, source)
    return read_poscar(text, source)


def first_crystal(items: Iterator[Item]) -> Crystal:
    """The single crystal of a table's cell.

    Raises:
        StructureReadError: if there is none, or more than one.
    """
    found = list(items)
    if len(found) != 1:
        raise StructureReadError(f"{len(found)} structures in one cell")
    result = found[0].result
    if isinstance(result, Failure):
        raise StructureReadError(result.reason)
    return result


def from_record(record: Any, source: str) -> Crystal:
    """The crystal in a JSON record: a structure, an entry that holds one, or text in a known format.

    Raises:
        StructureReadError: if there is none; the parsers raise more.
    """
    if isinstance(record, str):
        return first_crystal(read_text(record, source))
    if not isinstance(record, dict):
        raise StructureReadError(f"a {type(record).__name__} in place of a structure")
    if {"lattice", "sites"} <= record.keys():
        from pymatgen.core import Structure

        return from_pymatgen(Structure.from_dict(record), source)
    if "attributes" in record:
        return from_optimade(record, source)
    for key in _STRUCTURE_KEYS:
        if record.get(key) is not None:
            return from_record(record[key], source)
    if "atomic_numbers" in record:
        return from_row(record, source)
    raise StructureReadError("no structure in this entry")


_TEXT_FIELD = re.compile(r"^;(.*?)^;", re.MULTILINE | re.DOTALL)
_CIF_NAMES = re.compile(
    r"^[ \t]*(loop_|_atom_site_(?:label|type_symbol|fract_[xyz]|occupancy)|_cell_(?:length|angle)_\w+"
    r"|_symmetry_equiv_pos_as_xyz|_space_group_symop_operation_xyz)(?=\s|$)",
    re.MULTILINE | re.IGNORECASE,
)


def _plain_cif(text: str) -> str:
    """What pymatgen's parser needs: names in lower case, text fields (which may hold anything) on one line."""

    def on_one_line(field: re.Match[str]) -> str:
        words = " ".join(field.group(1).split())
        return f'"{words}"' if words and len(words) < _REASON_LENGTH and '"' not in words else "?"

    text = _TEXT_FIELD.sub(on_one_line, text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CIF_NAMES.sub(lambda name: name.group(0).lower(), text)


def _cif_block(block: str, source: str) -> Crystal:
    from pymatgen.io.cif import CifParser

    parser = CifParser(StringIO(block), occupancy_tolerance=1.01)
    structures = parser.parse_structures(primitive=False, on_error="raise")
    if len(structures) != 1:
        raise StructureReadError(f"{len(structures)} structures in one data block")
    if "implicit_hydrogens" in structures[0].site_properties:
        raise StructureReadError("hydrogen atoms are implied but have no positions")
    crystal = from_pymatgen(structures[0], source)
    problem = parser.check(structures[0]) or ""
    if problem.startswith(("Missing elements", "Incorrect stoichiometry")):
        raise StructureReadError("the atoms do not add up to the formula that the CIF states: " + problem)
    return crystal


def _frame_end(lines: list[str], start: int) -> int:
    try:
        count = int(lines[start].strip())
    except ValueError:
        return start
    return start + count + 2 if count > 0 else start


def _frame(text: str, is_cut: bool, source: str) -> Item:
    if is_cut:
        return Item(Failure("read", "the file ends within the frame", source))
    columns: dict[str, Any] = {}

    def parse() -> Crystal:
        from ase.io import read

        atoms = read(StringIO(text), format="extxyz", index=0)
        columns.update(atoms.info)
        return from_ase(atoms, source)

    return attempt(parse, source, columns)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True


def _json_line(line: str, source: str) -> Item:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        return Item(Failure("read", f"not JSON: {error}", source))
    return attempt(lambda: from_record(record, source), source, _beside(record))


def _records(document: object) -> list[Any] | None:
    """The document as a list of things that should each be one crystal; None if it is about something else."""
    if isinstance(document, list):
        return document if any(_is_crystal_like(r) for r in document) else None
    if not isinstance(document, dict):
        return None
    if _is_crystal_like(document):
        return [document]
    data = document.get("data")
    if isinstance(data, list) and isinstance(document.get("columns"), list):
        rows = [dict(zip(document["columns"], row, strict=False)) for row in data]
        return _records(rows)
    if isinstance(data, (list, dict)):
        return _records(data)
    return _records(list(document.values()))


def _is_crystal_like(record: object) -> bool:
    if isinstance(record, str):
        return bool(re.search(r"^\s*_cell_length_a", record, re.M | re.I))
    if not isinstance(record, dict):
        return False
    return (
        {"lattice", "sites"} <= record.keys()
        or any(_is_crystal_like(record.get(key)) for key in _STRUCTURE_KEYS)
        or "lattice_vectors" in (record.get("attributes") or {})
        or {"lattice_parameters", "atomic_numbers", "frac_coords"} <= record.keys()
    )


_STRUCTURE_KEYS = ("structure", "cif", "final_structure", "initial_structure")


def _beside(record: Any) -> dict[str, Any]:
    """The columns beside a structure in a record; a structure's own `properties` count too."""
    if not isinstance(record, dict):
        return {}
    inner = record.get("properties")
    columns = dict(inner) if isinstance(inner, dict) else {}
    columns.update((k, v) for k, v in record.items() if not isinstance(v, (dict, list)))
    return columns


def _ase_rows(content: bytes, suffix: str, source: str) -> Iterator[Item]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"content{suffix}"
        path.write_bytes(content)
        yield from _select(str(path), suffix[1:], source)


def _select(path: str, kind: str, source: str) -> Iterator[Item]:
    from ase.db import connect

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            database = connect(path, type=kind, use_lock_file=False)
            ids = sorted(row.id for row in database.select(columns=["id"], include_data=False))
    except Exception as error:  # sqlite3, key and type errors, depending on the damage
        raise StructureReadError(f"damaged ASE database: {error}") from None
    for number in ids:
        name = f"{source}#{number}"
        columns: dict[str, Any] = {}

        def parse(number: int = number, name: str = name, columns: dict[str, Any] = columns) -> Crystal:
            row = database.get(number)
            columns.update(row.key_value_pairs)
            return from_ase(row.toatoms(), name)

        yield attempt(parse, name, columns)
