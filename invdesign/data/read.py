"""Crystals in, from whatever the user has; what cannot be read is a row with the reason.

    for item in read_crystals(["run/cif", "more.zip"]):
        if isinstance(item, Failure): ...

Formats, by name: CIF (`.cif`, `.mcif`), VASP (`POSCAR*`, `CONTCAR*`, `.vasp`, `.poscar`), extended XYZ (`.xyz`,
`.extxyz`), JSON (`.json`, `.jsonl`), ASE databases (`.db`), tables (`.parquet`, `.csv`, `.tsv`), zips, each of
them also gzipped (`.gz`), and folders of them at any depth.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from invdesign.crystal import Crystal
from invdesign.data import formats, tables
from invdesign.data.formats import Item, OtherContentError, decoded, failure
from invdesign.data.labels import labels_of
from invdesign.errors import InputError, StructureReadError
from invdesign.records import Failure

if TYPE_CHECKING:
    import pandas as pd

FORMATS = "CIF, POSCAR, CONTCAR, extxyz, JSON, ASE .db, parquet, CSV, zip, or a folder of these"
"""What can be read, in words."""

_SUFFIXES = {
    ".cif": "cif", ".mcif": "cif", ".vasp": "poscar", ".poscar": "poscar", ".contcar": "poscar", ".xyz": "extxyz",
    ".extxyz": "extxyz", ".json": "json", ".jsonl": "json", ".db": "db", ".parquet": "parquet", ".csv": "csv",
    ".tsv": "csv", ".zip": "zip",
}  # fmt: skip
_VASP_NAME = re.compile(r"^(poscar|contcar)([._-].*)?$", re.IGNORECASE)
_LARGEST_MEMBER = 2**31
_DEEPEST_ZIP = 3


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
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not given:
        raise InputError("paths", given, f"at least one path of {FORMATS}")
    found: list[tuple[Path, list[Path] | None]] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if _is_file(p, path))
            if not inside:
                raise InputError("folder", str(path), f"a folder that holds {FORMATS}; there is none in it")
            found.append((path, inside))
        elif path.exists():
            found.append((path, None))
        else:
            raise InputError("path", str(path), "a file or folder that exists")
    return found


def _is_file(path: Path, folder: Path) -> bool:
    """Whether to read it; a link that leads nowhere is tried, so that it does not vanish unsaid."""
    return _is_wanted(path.relative_to(folder)) and (path.is_file() or (path.is_symlink() and not path.exists()))


def _is_wanted(path: Path | PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and _kind(path.name) is not None


def _kind(name: str) -> str | None:
    name = name[:-3] if name.lower().endswith(".gz") else name
    known = _SUFFIXES.get(Path(name).suffix.lower())
    return known or ("poscar" if _VASP_NAME.match(name) else None)


def _items(sources: list[tuple[Path, list[Path] | None]]) -> Iterator[Item]:
    for path, inside in sources:
        if inside is None:
            yield from _file(path, str(path), is_alone=True)
            continue
        is_empty = True
        for file in inside:
            for item in _file(file, str(file), is_alone=False):
                is_empty = False
                yield item
        if is_empty:
            yield Item(Failure("read", f"no crystal in any of its {len(inside)} files", str(path)))


def _file(path: Path, source: str, is_alone: bool) -> Iterator[Item]:
    """The items of one file on disk; a failure where it cannot be taken apart at all."""
    kind = _kind(path.name)
    if kind is None:
        yield Item(Failure("read", f"unknown kind of file; known are {FORMATS}", source))
        return

    def resolve(name: str) -> Crystal:
        return _named_file(path.parent / name, source)

    is_packed = path.suffix.lower() == ".gz"
    try:
        if kind in ("db", "parquet") and not is_packed:
            opened = (
                formats.read_ase_db(path, source)
                if kind == "db"
                else tables.read_parquet(path, source, resolve if is_alone else None)
            )
            yield from _passing(opened, is_alone)
            return
        content = path.read_bytes()
        yield from _passing(_content(content, path.name, source, 0, resolve if is_alone else None), is_alone)
    except Exception as error:  # whatever a damaged file brings out; the other files go on
        yield Item(failure(error, source))


def _named_file(path: Path, table: str) -> Crystal:
    """The single crystal in a file that a table names."""
    if not path.is_file():
        raise StructureReadError(f"the file {path.name} that the row names does not exist")
    if _kind(path.name) in (None, "csv", "parquet"):
        raise StructureReadError(f"the file {path.name} that the row names is no structure file")
    return formats.first_crystal(_file(path, str(path), is_alone=True))


def _passing(items: Iterator[Item], is_alone: bool) -> Iterator[Item]:
    """Hand the items on; in a folder or zip, a sound file without crystals is none of our business."""
    try:
        yield from items
    except OtherContentError:
        if is_alone:
            raise


def _content(content: bytes, name: str, source: str, depth: int, resolve: tables.Resolve | None) -> Iterator[Item]:
    """The items of a file's bytes, by the kind that its name says."""
    if name.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise StructureReadError(f"damaged gzip file: {error}") from None
        name = name[:-3]
    kind = _kind(name)
    if not content.strip():
        raise StructureReadError("the file is empty")
    if kind == "zip":
        yield from _zip(content, source, depth)
    elif kind == "db":
        yield from formats.read_ase_db_bytes(content, source)
    elif kind == "parquet":
        yield from tables.read_parquet(content, source, resolve)
    elif kind == "csv":
        yield from tables.read_csv(content, source, resolve)
    else:
        readers = {
            "cif": formats.read_cif, "poscar": formats.read_poscar, "extxyz": formats.read_extxyz,
            "json": formats.read_json,
        }  # fmt: skip
        yield from readers[str(kind)](decoded(content), source)


def _zip(content: bytes, source: str, depth: int) -> Iterator[Item]:
    if depth >= _DEEPEST_ZIP:
        raise StructureReadError(f"zips within zips, more than {_DEEPEST_ZIP} deep")
    try:
        archive = zipfile.ZipFile(BytesIO(content))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise StructureReadError(f"damaged zip: {error}") from None
    is_empty = True
    with archive:
        for member in sorted(archive.infolist(), key=lambda m: m.filename):
            if member.is_dir() or not _is_wanted(PurePosixPath(member.filename)):
                continue
            for item in _member(archive, member, f"{source}/{member.filename}", depth):
                is_empty = False
                yield item
    if is_empty:
        raise StructureReadError("no crystal in the zip")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: str, depth: int) -> Iterator[Item]:
    if member.file_size > _LARGEST_MEMBER:
        yield Item(Failure("read", f"{member.file_size / 2**30:.1f} GiB unpacked is too large", source))
        return
    if member.flag_bits & 1:
        yield Item(Failure("read", "encrypted", source))
        return
    try:
        content = archive.read(member)
        yield from _passing(_content(content, member.filename, source, depth + 1, None), is_alone=False)
    except Exception as error:  # whatever a damaged member brings out; the other members go on
        yield Item(failure(error, source))
