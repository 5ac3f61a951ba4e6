"""A run folder: tables for people and for machines, what their columns mean, crystals that say what they are.

`candidates.parquet` holds every column. `candidates.csv` holds those that a person reads, rounded by their
errors; `data_dictionary.csv` says what each column means, `datapackage.json` the same for programs (Data Package
standard v1, datapackage.org). `references.bib` names what the run relied on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import OutputError
from invdesign.numbers import rounded
from invdesign.properties import SHIPPED
from invdesign.report import export
from invdesign.report.bibliography import bibliography
from invdesign.report.cif_tags import annotate
from invdesign.report.dictionary import INDEX, Column, described

if TYPE_CHECKING:
    import pandas as pd

DICTIONARY, PACKAGE, REFERENCES = "data_dictionary.csv", "datapackage.json", "references.bib"

BEFORE = (
    "rank",
    "id",
    "file",
    "source",
    "formula",
    "space_group",
    "n_sites",
    "score",
    "rank_low",
    "rank_high",
    "meets_targets",
    "target_probability",
    "pareto",
    "first_by_errors",
)
"""Columns of the lean table before the properties."""
AFTER = ("synthesizability", "out_of_distribution", "anion_class", "generator", "verdict", "reason", "failure")
"""Columns behind them."""


def write_folder(folder: Path, table: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Everything that a run folder holds but the ledger; the CIF files are there already and get their tags.

    Args:
        folder: the run folder.
        table: one row per candidate with every column.
        record: what becomes `run.json`.

    Raises:
        OutputError: if a file cannot be written.
    """
    from invdesign.report.page import write_report

    write_parquet(table, folder / export.FULL)
    lean = lean_table(table)
    export.write_table(lean, folder / export.LEAN)
    export.write_table(dictionary(table, lean), folder / DICTIONARY)
    export.write_json(data_package(table, lean, record), folder / PACKAGE)
    export.write_text(bibliography(record), folder / REFERENCES)
    export.write_json(record, folder / "run.json")
    annotate(folder, table, record)
    write_report(folder)


def write_parquet(table: pd.DataFrame, path: Path) -> Path:
    """Write a table as parquet, whole or not at all.

    Raises:
        OutputError: if it cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    texts = {str(name): table[name].map(_text) for name in table if _mixed(table[name])}
    try:
        table.assign(**texts).to_parquet(draft, index=False)
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from None
    return path


def _mixed(column: pd.Series[Any]) -> bool:
    """Whether a column holds texts and something else, which parquet has no type for."""
    if column.dtype != object:
        return False
    kinds = {type(cell) for cell in column if cell is not None and cell == cell}
    return str in kinds and len(kinds) > 1


def _text(cell: object) -> str | None:
    return None if cell is None or cell != cell else str(cell)


def lean_table(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that people read, numbers with the digits of their errors.

    Of each property and material index the mean and the standard deviation stay, of each verdict the status.
    Intervals, sources, explanations and the course of the relaxation are in the full table. Columns without
    any entry are left out.
    """
    names = [name for name in lean_columns(list(map(str, table))) if table.empty or not _empty(table[name])]
    lean = table[names].copy()
    for name in names:
        if f"{name}_std" in names:
            pairs = [rounded(float(m), float(s)) for m, s in zip(table[name], table[f"{name}_std"], strict=True)]
            lean[name], lean[f"{name}_std"] = [m for m, _ in pairs], [s for _, s in pairs]
    return lean.round({name: 3 for name in ("score", "target_probability", "first_by_errors") if name in lean})


def lean_columns(columns: Sequence[str]) -> list[str]:
    """Names of the lean table, in its order."""
    values = [name for name in columns if name in SHIPPED or name.startswith(INDEX) or f"{name}_std" in columns]
    values = [name for name in values if not name.endswith(("_std", "_low", "_high", "_source"))]
    pairs = [each for name in values for each in (name, f"{name}_std") if each in columns]
    verdicts = [name for name in columns if re.fullmatch(r"verdict_\w+", name) and not name.endswith("_reason")]
    return [name for name in (*BEFORE, *pairs, *verdicts, *AFTER) if name in columns]


def _empty(column: pd.Series[Any]) -> bool:
    return bool((column.isna() | (column.astype(str) == "")).all())


def dictionary(table: pd.DataFrame, lean: pd.DataFrame) -> pd.DataFrame:
    """One row per column of the full table: name, unit, type, meaning, and whether the lean table has it."""
    import pandas as pd

    rows = [
        {"column": c.name, "unit": c.unit, "type": c.type, "meaning": c.meaning, "in_csv": c.name in lean}
        for c in map(described, map(str, table))
    ]
    return pd.DataFrame(rows, columns=["column", "unit", "type", "meaning", "in_csv"])


def data_package(table: pd.DataFrame, lean: pd.DataFrame, record: Mapping[str, Any]) -> dict[str, Any]:
    """`datapackage.json`: the tables of the folder with the schema of each (Data Package standard v1)."""
    versions = record.get("versions") or {}
    return {
        "profile": "data-package",
        "name": "invdesign-run",
        "title": "Candidates of a run of invdesign",
        "description": str(record.get("query_in_words") or ""),
        "sources": [{"title": "invdesign", "version": str(versions.get("invdesign", ""))}],
        "resources": [
            _resource("candidates", export.LEAN, "csv", lean, "Ranked candidates: what a person reads."),
            _resource("candidates-full", export.FULL, "parquet", table, "Ranked candidates: every column."),
        ],
    }


def _resource(name: str, path: str, form: str, table: pd.DataFrame, text: str) -> dict[str, Any]:
    media = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}[form]
    schema: dict[str, Any] = {"fields": [_field(described(str(c))) for c in table], "missingValues": [""]}
    if "id" in table and not table["id"].isna().any() and table["id"].is_unique:
        schema["primaryKey"] = "id"
    return {
        "name": name,
        "path": path,
        "profile": "tabular-data-resource" if form == "csv" else "data-resource",
        "format": form,
        "mediatype": media,
        "encoding": "utf-8",
        "description": text,
        "schema": schema,
    }


def _field(column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {"name": column.name, "type": column.type, "description": column.meaning}
    if column.type == "boolean":
        field |= {"trueValues": ["True"], "falseValues": ["False"]}
    return field | ({"unit": column.unit} if column.unit else {})
