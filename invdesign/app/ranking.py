"""Ranking of materials known by their properties alone: a CSV without structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from invdesign import build
from invdesign.app.tables import Given
from invdesign.errors import InputError
from invdesign.properties import PROPERTIES, QUANTITIES
from invdesign.query import Query
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

STRUCTURES = ("file", "cif", "structure", "poscar", "path", "filename", "cif_file", "cif_string", "atomic_numbers")
"""Columns that say where a table's structures are."""


def property_table(paths: Given) -> pd.DataFrame | None:
    """The one CSV among the paths, if it holds properties and no structures; None for anything else."""
    import pandas as pd

    several = list(paths) if isinstance(paths, (list, tuple)) else [paths]
    given = [Path(p) for p in several if isinstance(p, (str, Path))]
    if len(several) != 1 or len(given) != 1 or given[0].suffix.lower() != ".csv" or not given[0].is_file():
        return None
    try:
        table = pd.read_csv(given[0])
    except (OSError, ValueError):  # whatever it is, it is no table of properties
        return None
    names = {str(c).split(" ")[0].split("[")[0].split("(")[0].lower() for c in table.columns}
    holds = any(name in PROPERTIES or name in QUANTITIES for name in names)
    return table if holds and not names & set(STRUCTURES) else None


def rank_properties(table: pd.DataFrame, query: Query, out: Path | None, n: int | None = None) -> pd.DataFrame:
    """Rank a table of properties beside the known engineering materials, into a folder with a table and a record.

    Args:
        table: see `invdesign.selection.table_ranking`.
        query: its component and targets.
        out: the folder (None: nothing is written).
        n: length of the list (None: all).

    Returns:
        The ranked table; materials that miss a constraint, and rows that could not be read, stand below.

    Raises:
        InputError: if the query names no component.
        OutputError: if the folder is not empty or cannot be written.
    """
    from invdesign.selection.components import component_names
    from invdesign.selection.table_ranking import rank_table

    if query.component is None:
        raise InputError("component", "none", ", ".join(component_names()))
    ranking = rank_table(table, query.component, query)
    folder = None if out is None else export.new_folder(out)
    ranked = ranking.table().head(len(ranking.rows) if n is None else n)
    ranked["failure"] = ""
    lost = [*ranking.rejected.items(), *ranking.failures.items()]
    whole = _joined(ranked, [{"name": name, "failure": why} for name, why in lost])
    if folder is None:
        return whole
    export.write_table(whole, folder / "candidates.csv")
    record = {
        "query": query.to_dict(),
        "component": ranking.component,
        "weights": dict(ranking.weights),
        "agreement": ranking.agreement,
        "ignored_columns": list(ranking.ignored),
        "sources": {row.material.name: dict(row.material.sources) for row in ranking.rows if row.known},
        "verdicts": {row.material.name: row.verdict for row in ranking.rows if row.verdict},
        "landmarks": [asdict(row.landmark) for row in ranking.rows[:20]],
        "versions": build.versions(),
    }
    export.write_json(record, folder / "run.json")
    return whole


def _joined(ranked: pd.DataFrame, below: Sequence[dict[str, str]]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([ranked, pd.DataFrame(below, columns=["name", "failure"])], ignore_index=True)
