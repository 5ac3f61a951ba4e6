"""Crystals in, from whatever the user has; what cannot be read is a row with the reason.

    for item in read_crystals(["run/cif", "more.zip"]):
        if isinstance(item, Failure): ...

Formats, by name: CIF (`.cif`, `.mcif`), VASP (`POSCAR*`, `CONTCAR*`, `*_POSCAR`, `.vasp`, `.poscar`,
`vasprun.xml`), extended XYZ (`.xyz`, `.extxyz`), JSON (`.json`, `.jsonl`), ASE databases (`.db`), tables
(`.parquet`, `.csv`, `.tsv`), zip and tar archives, each of them also gzipped (`.gz`), and folders of them at
any depth. `.txt` behind such a name is passed over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from invdesign.crystal import Crystal
from invdesign.data.formats import archives, tables
from invdesign.data.formats.archives import Stream
from invdesign.data.formats.cif import read_cif
from invdesign.data.formats.databases import read_ase_db, read_ase_db_bytes
from invdesign.data.formats.extxyz import read_extxyz
from invdesign.data.formats.json_files import read_json, read_json_lines
from invdesign.data.formats.poscar import read_poscar
from invdesign.data.formats.vasprun import read_vasprun
from invdesign.data.items import Item, OtherContentError, decoded, failure, first_crystal
from invdesign.data.labels import labels_of
from invdesign.data.limits import regular_file
from invdesign.errors import InputError, StructureReadError
from invdesign.records import Failure

if TYPE_CHECKING:
    import pandas as pd

FORMATS = "CIF, POSCAR, CONTCAR, vasprun.xml, extxyz, JSON, ASE .db, parquet, CSV, zip, tar, or a folder of these"
"""What can be read, in words."""

_SUFFIXES = {
    ".cif": "cif", ".mcif": "cif", ".vasp": "poscar", ".poscar": "poscar", ".contcar": "poscar", ".xyz": "extxyz",
    ".extxyz": "extxyz", ".json": "json", ".jsonl": "jsonl", ".db": "db", ".parquet": "parquet", ".csv": "csv",
    ".tsv": "csv", ".zip": "zip", ".tar": "tar", ".tgz": "tar",
}  # fmt: skip
_VASP_NAME = re.compile(r"(?:.*[._-])?(?:poscar|contcar)\d{0,9}(?:[._-].*)?", re.IGNORECASE)
_RUN_NAME = re.compile(r"(?:.*[._-])?vasprun(?:[._-].*)?\.xml", re.IGNORECASE)
_ARCHIVES = ("zip", "tar")


def read_crystals(paths: str | Path | Sequence[str | Path]) -> Iterator[Crystal | Failure]:
    """Read every crystal in the given files and folders, in a fixed order.

    A crystal's `source` and a failure's `item` are the path, with `#index` for one of several in a file and
    `archive.zip/member` within a zip. In folders and zips, files of unknown kinds are passed over.

    Args:
        paths: one or several files or folders.

    Raises:
        InputError: at once, if a path does not exist or a folder holds no file that could be read.
    """
    return (item.result for item in _items(_sources(paths)))


def read_columns(paths: str | Path | Sequence[str | Path]) -> Iterator[tuple[Crystal | Failure, dict[str, Any]]]:
    """Read crystals with all columns that stand beside them, as they are written.

    Args and errors as in :func:`read_crystals`.
    """
    return ((item.result, dict(item.columns)) for item in _items(_sources(paths)))


def read_table(path: str | Path) -> Iterator[tuple[Crystal | Failure, dict[str, float]]]:
    """Read crystals with the properties that stand beside them, for training.

    Properties are taken from the columns of a table, the key-value pairs of an ASE database, the comment line of
    an extended XYZ frame, or the keys beside a JSON structure; `invdesign.data.labels` lists the names. A property
    without a value is missing from the mapping; a value that is not a number makes the row a failure.

    Args:
        path: anything that :func:`read_crystals` reads.

    Raises:
        InputError: at once, if the path does not exist or a folder holds no file that could be read.
    """
    return (_labelled(item) for item in _items(_sources(path)))


def read_frame(path: str | Path) -> tuple[pd.DataFrame, list[Failure]]:
    """Read training data into one table with the columns that all of invdesign uses.

    Args:
        path: anything that :func:`read_crystals` reads.

    Returns:
        The table, one row per readable crystal: `source`, `material_id` (the source where there is none),
        `formula`, `chemical_system`, `n_sites`, `lattice_parameters`, `atomic_numbers`, `frac_coords` (as in
        :func:`~invdesign.data.convert.from_row`), every property found, under its own name, and all other columns
        that the data came with; and the failures.

    Raises:
        InputError: as in :func:`read_table`.
    """
    import pandas as pd

    from invdesign.chemistry.composition import chemical_system, reduced_formula
    from invdesign.data.labels import property_of

    rows, failures = [], []
    for item in _items(_sources(path)):
        result, labels = _labelled(item)
        if isinstance(result, Failure):
            failures.append(result)
            continue
        beside = {k: v for k, v in item.columns.items() if property_of(str(k)) is None}
        rows.append(
            {
                **beside,
                "source": result.source,
                "material_id": beside.get("material_id") or result.source,
                "formula": reduced_formula(result.numbers),
                "chemical_system": chemical_system(result.numbers),
                "n_sites": result.n_sites,
                "lattice_parameters": result.lattice_parameters,
                "atomic_numbers": result.numbers,
                "frac_coords": result.frac_coords.reshape(-1),
                **labels,
            }
        )
    return pd.DataFrame(rows), failures


def _labelled(item: Item) -> tuple[Crystal | Failure, dict[str, float]]:
    if isinstance(item.result, Failure):
        return item.result, {}
    try:
        return item.result, labels_of(item.columns)
    except StructureReadError as error:
        return failure(error, item.result.source), {}


def _sources(paths: str | Path | Sequence[str | Path]) -> list[tuple[Path, list[Path] | None]]:
    """Every path with, for a folder, the files to read in it."""
    many = isinstance(paths, Iterable) and not isinstance(paths, (str, os.PathLike))
    given: list[Any] = list(paths) if isinstance(paths, Iterable) and many else [paths]
    for path in given:
        if not isinstance(path, (str, os.PathLike)) or not str(path):
            raise InputError("path", path, f"the path of {FORMATS}")
    if not given:
        raise InputError("paths", given, f"at least one path of {FORMATS}")
    found: list[tuple[Path, list[Path] | None]] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if _is_wanted(p.relative_to(path)) and not p.is_dir())
            if not inside:
                raise InputError("folder", str(path), f"a folder that holds {FORMATS}; there is none in it")
            found.append((path, inside))
        elif path.exists() or path.is_symlink():
            found.append((path, None))
        else:
            raise InputError("path", str(path), "a file or folder that exists")
    return found


def _is_wanted(path: Path | PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) and part != ".." for part in path.parts)
    return not hidden and _kind(path.name) is not None


def _kind(name: str) -> str | None:
    """The kind of file that a name says; None for one that is not known."""
    name = name.lower()
    if name.endswith(".txt"):
        name = name[:-4] if _kind(name[:-4]) else name
    is_packed = name.endswith(".gz")
    name = name[:-3] if is_packed else name
    if _RUN_NAME.fullmatch(name):
        return "vasprun"
    known = _SUFFIXES.get(Path(name).suffix)
    return known or ("poscar" if _VASP_NAME.fullmatch(name) else None)


def _is_packed(name: str) -> bool:
    name = name.lower().removesuffix(".txt")
    return name.endswith((".gz", ".tgz"))


def _items(sources: list[tuple[Path, list[Path] | None]]) -> Iterator[Item]:
    for path, inside in sources:
        is_empty, is_alone = True, inside is None
        for file in [path] if inside is None else inside:
            for item in _file(file, str(file), is_alone):
                is_empty = False
                yield item
        if is_empty:
            where = "it" if inside is None else f"any of its {len(inside)} files"
            yield Item(Failure("read", f"no crystal in {where}", str(path)))


def _file(path: Path, source: str, is_alone: bool) -> Iterator[Item]:
    """The items of one file on disk; a failure where it cannot be taken apart at all."""
    kind = _kind(path.name)
    if kind is None:
        yield Item(Failure("read", f"unknown kind of file; known are {FORMATS}", source))
        return

    def resolve(name: str) -> Crystal:
        return _named_file(path.parent / name, source)

    try:
        size = regular_file(path).st_size
        yield from _passing(_opened(path, kind, source, size, resolve if is_alone else None), is_alone)
    except Exception as error:  # whatever a damaged file brings out; the other files go on
        yield Item(failure(error, source))


def _opened(path: Path, kind: str, source: str, size: int, resolve: tables.Resolve | None) -> Iterator[Item]:
    is_packed = _is_packed(path.name)
    if kind == "db" and not is_packed:
        yield from read_ase_db(path, source)
    elif kind == "parquet" and not is_packed:
        yield from tables.read_parquet(path, source, resolve)
    else:
        with archives.open_file(path) as file:
            stream = archives.unzipped(file, size) if is_packed else file
            if kind in _ARCHIVES:
                yield from _archive(stream, kind, source, size)
            else:
                yield from _content(stream, kind, source, resolve)


def _named_file(path: Path, table: str) -> Crystal:
    """The single crystal in a file that a table names."""
    if not path.is_file():
        raise StructureReadError(f"the file {path.name} that the row names does not exist")
    if _kind(path.name) in (None, "csv", "parquet", *_ARCHIVES):
        raise StructureReadError(f"the file {path.name} that the row names is no structure file")
    return first_crystal(_file(path, str(path), is_alone=True))


def _passing(items: Iterator[Item], is_alone: bool) -> Iterator[Item]:
    """Hand the items on; in a folder or archive, a sound file without crystals is passed over."""
    try:
        yield from items
    except OtherContentError:
        if is_alone:
            raise


def _content(stream: Stream, kind: str, source: str, resolve: tables.Resolve | None) -> Iterator[Item]:
    """The items of a file's bytes, by its kind."""
    if not stream.peek(1):
        raise StructureReadError("the file is empty")
    if kind == "csv":
        with _text(stream, newline="") as text:
            yield from tables.read_csv(text, source, resolve)
    elif kind in ("extxyz", "jsonl"):
        with _text(stream) as text:
            yield from (read_extxyz if kind == "extxyz" else read_json_lines)(text, source)
    elif kind == "vasprun":
        yield from read_vasprun(stream, source)
    else:
        yield from _whole(archives.read_all(stream), kind, source, resolve)


def _whole(content: bytes, kind: str, source: str, resolve: tables.Resolve | None) -> Iterator[Item]:
    if content.isspace():
        raise StructureReadError("the file is empty")
    if kind == "db":
        yield from read_ase_db_bytes(content, source)
    elif kind == "parquet":
        yield from tables.read_parquet(content, source, resolve)
    else:
        reader = {"cif": read_cif, "poscar": read_poscar, "json": read_json}[kind]
        yield from reader(decoded(content), source)


def _text(stream: Stream, newline: str | None = None) -> TextIOWrapper:
    """The text of a stream: UTF-8 with or without a byte order mark, UTF-16 with one; other bytes are replaced."""
    head = stream.peek(2)[:2]
    encoding = "utf-16" if head in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return TextIOWrapper(stream, encoding, errors="replace", newline=newline)


def _archive(stream: Stream, kind: str, source: str, size: int) -> Iterator[Item]:
    is_empty = True
    members = archives.zip_members(stream, size) if kind == "zip" else archives.tar_members(stream)
    for member in members:
        if not _is_wanted(_path(member)):
            continue
        for item in _member(member, f"{source}/{member.name}"):
            is_empty = False
            yield item
    if is_empty:
        raise StructureReadError(f"no crystal in the {kind} archive")


def _path(member: archives.Member) -> PurePosixPath:
    return PurePosixPath(member.name.replace("\\", "/"))


def _member(member: archives.Member, source: str) -> Iterator[Item]:
    kind = str(_kind(_path(member).name))
    try:
        if member.problem:
            raise StructureReadError(member.problem)
        if kind in _ARCHIVES:
            raise StructureReadError("an archive within an archive; unpack it first")
        with member.open() as file:
            stream = archives.unzipped(file, member.size) if _is_packed(member.name) else file
            yield from _passing(_content(stream, kind, source, None), is_alone=False)
    except Exception as error:  # whatever a damaged member brings out; the other members go on
        yield Item(failure(error, source))
