"""Crystals in and tables out, as every command on a user's crystals reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import StructureReadError
from invdesign.progress import Progress
from invdesign.records import Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal


Paths = str | Path | Sequence[str | Path]


def watched(items: Iterator[Any], stage: str, total: int | None, progress: Progress) -> Iterator[Any]:
    """The items, with progress reported after each."""
    for done, item in enumerate(items, start=1):
        progress(stage, done, total)
        yield item


def read(paths: Paths, out: Path | None, progress: Progress) -> list[Crystal | Failure]:
    """Every item of the input; see `_read_columns`."""
    return read_with_columns(paths, out, progress)[0]


def read_with_columns(
    paths: Paths, out: Path | None, progress: Progress
) -> tuple[list[Crystal | Failure], list[dict[str, Any]]]:
    """Every item of the input and the columns beside it, after a look at whether the output can be written.

    Raises:
        StructureReadError: if none of them could be read.
    """
    from invdesign.data.read import read_columns

    if out is not None:
        export.writable_file(Path(out))
    pairs = list(watched(read_columns(paths), "read", None, progress))
    items, columns = [item for item, _ in pairs], [beside for _, beside in pairs]
    failures = [item for item in items if isinstance(item, Failure)]
    if len(failures) == len(items):
        why = f": {failures[0].item}: {failures[0].reason}" if failures else ""
        raise StructureReadError(f"none of {len(items)} items could be read as a crystal{why}")
    return items, columns


def failed_row(failure: Failure) -> export.Row:
    """The row of an item that could not be read."""
    return {"file": failure.item} | export.failure_columns(failure)


def write_run(folder: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """`candidates.csv`, `run.json` and `report.html` of a run folder."""
    from invdesign.report.page import write_report

    export.write_table(table, folder / "candidates.csv")
    export.write_json(record, folder / "run.json")
    write_report(folder)


def written(rows: Sequence[export.Row], out: Path | None) -> pd.DataFrame:
    """The rows as a table, written to `out` if there is one."""
    table = export.frame(rows)
    if out is not None:
        export.write_table(table, Path(out))
    return table
