"""A run folder read back: its rows with every column, its record, and the crystals of its CIF files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.properties import Property, known_properties
from invdesign.records import Value
from invdesign.report.export import FULL, LEAN, original
from invdesign.target import Target
from invdesign.uncertainty import with_interval

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

CIF = re.compile(r"cif/[^/\\:<>\"'?*\x00-\x1f]+\.cif")
"""A path of a CIF within a run folder; nothing else is opened or linked."""


@dataclass(frozen=True)
class Run:
    """What a report shows.

    Attributes:
        rows: one per candidate, best first; an entry that is missing has no key.
        record: `run.json`.
        crystals: by the path of the CIF within the folder, in the cell of the CIF.
        folder: where it was read from, or None.
    """

    rows: tuple[Row, ...]
    record: Mapping[str, Any]
    crystals: Mapping[str, Crystal]
    folder: Path | None = None

    @cached_property
    def properties(self) -> Mapping[str, Property]:
        """Every property that a column may hold, custom ones of the run included."""
        return known_properties(Property(**prop) for prop in self.record.get("custom_properties") or ())

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """What the query asks for."""
        return tuple(Target.parse(text, self.properties) for text in self.query.get("targets") or [])

    @property
    def query(self) -> Mapping[str, Any]:
        """The query, empty where none is recorded."""
        return self.record.get("query") or {}

    def crystal(self, row: Row) -> Crystal | None:
        """The crystal of a row, if its CIF could be read."""
        return self.crystals.get(str(row.get("file", "")))


def run_of(table: pd.DataFrame, record: Mapping[str, Any], crystals: Mapping[str, Crystal] | None = None) -> Run:
    """A run from its table, without the rows that failed.

    Args:
        table: `candidates.parquet` or `candidates.csv`, best first.
        record: `run.json`.
        crystals: by file; none: pages come without structures.
    """
    records = ({str(k): original(v) for k, v in row.items() if _told(v)} for row in table.to_dict("records"))
    return Run(tuple(row for row in records if not row.get("failure")), record, crystals or {})


def read_run(folder: Path) -> Run:
    """Read a run folder: the full table if there is one, otherwise the CSV, the record and the crystals.

    Raises:
        InputError: if the folder holds no table or no `run.json`, or one of them cannot be read.
    """
    table, record = read_table(folder), read_record(folder)
    run = run_of(table, record)
    files = [str(row.get("file", "")) for row in run.rows]
    found = {file: crystal for file in files if (crystal := _read(folder, file)) is not None}
    return Run(run.rows, record, found, folder)


def read_table(folder: Path) -> pd.DataFrame:
    """The table of a run folder with every column that there is.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    import pandas as pd

    try:
        if (folder / FULL).is_file():
            return pd.read_parquet(folder / FULL)
        return pd.read_csv(folder / LEAN, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise _unreadable(folder, error) from None


def read_record(folder: Path) -> dict[str, Any]:
    """`run.json` of a run folder.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from None
    query = record.get("query", {}) if isinstance(record, dict) else None
    if not isinstance(query, dict) or not isinstance(query.get("component") or "", str):
        raise _unreadable(folder, "run.json holds no record")
    return record


def _unreadable(folder: Path, error: object) -> InputError:
    return InputError(
        "run folder", str(folder), f"a folder with the candidates.csv and run.json of a run ({error})"
    )


def _read(folder: Path, file: str) -> Crystal | None:
    from invdesign.data.read import read_crystals

    if not CIF.fullmatch(file) or not (folder / file).is_file():
        return None
    found = next(iter(read_crystals(folder / file)), None)
    return found if isinstance(found, Crystal) else None


def _told(value: object) -> bool:
    try:
        return value is not None and bool(value == value) and value != ""
    except (TypeError, ValueError):  # an array, or pandas' NA
        return hasattr(value, "__len__")


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def true(value: object) -> bool:
    """Whether a cell says true, as a boolean or in words."""
    return str(value).lower() in ("true", "1", "1.0")


def interval(row: Row, name: str, log: bool) -> tuple[float | None, float | None]:
    """The 90 % interval of a value: as given, or from the standard deviation; `log` as in `Property.log`."""
    low, high = number(row.get(f"{name}_low")), number(row.get(f"{name}_high"))
    mean, std = number(row.get(name)), number(row.get(f"{name}_std"))
    if (low is None or high is None) and mean is not None and std is not None:
        value = with_interval(Value(mean, std), log=log)
        low, high = value.low, value.high
    return low, high
