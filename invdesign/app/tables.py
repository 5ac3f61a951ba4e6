"""Crystals in and tables out, as every command on a user's crystals reads and writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from invdesign.errors import InputError, OutputError, StructureReadError
from invdesign.progress import Progress
from invdesign.records import Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal


Paths = str | Path | Sequence[str | Path]
"""Files and folders of crystals."""
Given = Any
"""Files and folders, or crystals themselves: a `Crystal`, `Gene`, pymatgen `Structure`, ASE `Atoms` or candidate
of a result, or several of these."""


def watched(items: Iterable[Any], stage: str, total: int | None, progress: Progress) -> Iterator[Any]:
    """The items, with progress reported after each."""
    for done, item in enumerate(items, start=1):
        progress(stage, done, total)
        yield item


def read(given: Given, progress: Progress) -> list[Crystal | Failure]:
    """Every item of the input; see `read_with_columns`."""
    return read_with_columns(given, progress)[0]


def read_with_columns(given: Given, progress: Progress) -> tuple[list[Crystal | Failure], list[dict[str, Any]]]:
    """Every item of the input and the columns beside it.

    Raises:
        InputError: if something is neither a path nor a crystal.
        StructureReadError: if none of the items could be read.
    """
    pairs = list(watched(_pairs(given), "read", None, progress))
    items, columns = [item for item, _ in pairs], [beside for _, beside in pairs]
    failures = [item for item in items if isinstance(item, Failure)]
    if len(failures) == len(items):
        why = f": {failures[0].item}: {failures[0].reason}" if failures else ""
        raise StructureReadError(f"none of {len(items)} items could be read as a crystal{why}")
    return items, columns


def _pairs(given: Given) -> Iterator[tuple[Crystal | Failure, dict[str, Any]]]:
    """Crystals, or why there is none, with the columns beside them."""
    from invdesign.data.read import read_columns

    several = list(given) if isinstance(given, Iterable) and _is_collection(given) else [given]
    for place, item in enumerate(several):
        if isinstance(item, (str, Path)):
            yield from read_columns(item)
        else:
            yield _crystal(item, f"given #{place}"), {}


def _is_collection(given: object) -> bool:
    """Whether it holds items: structures and atoms can be iterated over as well."""
    return not isinstance(given, (str, Path)) and not any(hasattr(given, name) for name in ("lattice", "cell"))


def _crystal(item: Any, source: str) -> Crystal | Failure:
    from invdesign.crystal import Crystal, Gene
    from invdesign.crystallography.genes import decode
    from invdesign.data.convert import from_ase, from_pymatgen

    item = getattr(item, "crystal", item)
    try:
        if isinstance(item, Crystal):
            return item if item.source else replace(item, source=source)
        if isinstance(item, Gene):
            return decode([item], source)[0]
        if hasattr(item, "get_scaled_positions"):
            return from_ase(item, source)
        if hasattr(item, "frac_coords"):
            return from_pymatgen(item, source)
    except (StructureReadError, ValueError) as error:
        return Failure("read", str(error), source)
    raise InputError(
        "crystals", item, "a path, a Crystal, a Gene, a pymatgen Structure, ASE Atoms, or a list of these"
    )


def failed_row(failure: Failure) -> export.Row:
    """The row of an item that could not be read."""
    return {"file": failure.item} | export.failure_columns(failure)


def write_run(folder: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """The tables with their dictionary, `run.json`, `references.bib`, the tags of the CIF files, `report.html`."""
    from invdesign.report.folder import write_folder

    write_folder(folder, table, record)


@overload
def new_file(out: None, overwrite: bool = False) -> None: ...


@overload
def new_file(out: str | Path, overwrite: bool = False) -> Path: ...


def new_file(out: str | Path | None, overwrite: bool = False) -> Path | None:
    """A file to write, after a look at whether that can be done.

    Raises:
        OutputError: if it is there already and not to be overwritten, or cannot be written.
    """
    if out is None:
        return None
    path = export.writable_file(Path(out))
    if path.exists() and not overwrite:
        raise OutputError(
            f"output file {path} exists; give another name, or overwrite it: --force (overwrite=True)"
        )
    return path


def written(rows: Sequence[export.Row], out: Path | None) -> pd.DataFrame:
    """The rows as a table, written to `out` if there is one: as JSON if it is so named, otherwise as CSV."""
    table = export.frame(rows)
    if out is not None and out.suffix == ".json":
        out.write_text(table_json(table) + "\n", encoding="utf-8")
    elif out is not None:
        export.write_table(table, out)
    return table


def table_json(table: pd.DataFrame) -> str:
    """A table as a JSON array of rows; an empty cell is null."""
    import json

    rows = [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")]
    return json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """A cell in JSON's types."""
    if value is None or value != value or str(value) in ("<NA>", "inf", "-inf"):
        return None
    return value.item() if hasattr(value, "item") else value


def rows_json(record: Mapping[str, Any], table: pd.DataFrame) -> str:
    """A record with the rows of a table under `candidates`, as JSON."""
    import json

    rows = json.loads(table_json(table))
    return json.dumps(export.finite({**record, "candidates": rows}), indent=1, ensure_ascii=False, allow_nan=False)
