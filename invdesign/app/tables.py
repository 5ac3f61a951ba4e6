"""Crystals in and tables out, as every command on a user's crystals reads and writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
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


BLOCK = 512
"""Items that are read and worked on at a time, so that memory does not grow with the input but for its table."""


@dataclass(frozen=True)
class Block:
    """Some items of the input, one after the other.

    Attributes:
        items: crystals, or why there is none.
        columns: what stands beside each of them.
        done: number of items before them.
        total: of all items; None where the input goes on behind a first block.
    """

    items: list[Crystal | Failure]
    columns: list[dict[str, Any]]
    done: int
    total: int | None

    @property
    def sound(self) -> list[Crystal]:
        """The crystals."""
        return [item for item in self.items if not isinstance(item, Failure)]

    @property
    def sound_columns(self) -> list[dict[str, Any]]:
        """What stands beside the crystals."""
        pairs = zip(self.items, self.columns, strict=True)
        return [beside for item, beside in pairs if not isinstance(item, Failure)]

    def tell(self, progress: Progress, stage: str) -> Progress:
        """A progress of this block alone, told as one of the whole input."""
        return lambda _, done, __: progress(stage, self.done + done, self.total)


def read(given: Given, progress: Progress) -> list[Crystal | Failure]:
    """Every item of the input; see `read_blocks`."""
    return [item for block in read_blocks(given, progress) for item in block.items]


def read_blocks(given: Given, progress: Progress) -> Iterator[Block]:
    """The input in blocks of `BLOCK` items, each read when it is asked for.

    Args:
        given: the input.
        progress: is told how many items have been read.

    Raises:
        InputError: if something is neither a path nor a crystal.
        StructureReadError: at the end, if none of the items could be read.
    """
    pairs = watched(_pairs(given), "read", None, progress)
    done, failed, first = 0, 0, None
    while part := list(islice(pairs, BLOCK)):
        total = len(part) if done == 0 and len(part) < BLOCK else None
        block = Block([item for item, _ in part], [beside for _, beside in part], done, total)
        unread = [item for item in block.items if isinstance(item, Failure)]
        done, failed, first = done + len(part), failed + len(unread), first or next(iter(unread), None)
        yield block
    if failed == done:
        why = "" if first is None else f": {first.item}: {first.reason}"
        raise StructureReadError(f"none of {done} items could be read as a crystal{why}")


class Rows:
    """Rows of a table as they come, kept by column: 100,000 rows of sixty columns take 0.2 GB, not 2."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {}
        self._n = 0

    def __len__(self) -> int:
        """Number of rows."""
        return self._n

    def add(self, rows: Iterable[export.Row]) -> None:
        """Append rows; a cell that a row or the rows before it lack is empty."""
        for row in rows:
            for name, cell in row.items():
                self._columns.setdefault(name, [math.nan] * self._n).append(cell)
            self._n += 1
            for column in self._columns.values():
                if len(column) < self._n:
                    column.append(math.nan)

    def frame(self) -> pd.DataFrame:
        """The rows as `invdesign.report.export.frame` would put them into a table."""
        import pandas as pd

        return export.frame([]) if not self._n else export.ordered(pd.DataFrame(self._columns))


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


def written(rows: Sequence[export.Row] | Rows, out: Path | None) -> pd.DataFrame:
    """The rows as a table, written to `out` if there is one: as JSON if it is so named, otherwise as CSV."""
    table = rows.frame() if isinstance(rows, Rows) else export.frame(rows)
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
