"""Figures, table and page of `invdesign benchmark search`, made from its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from invdesign.benchmarking.charts import Share, page, shares
from invdesign.benchmarking.metrics import wilson


@dataclass(frozen=True)
class Found:
    """What one run found.

    Attributes:
        relaxations: that were spent.
        listed_on_target: candidates of the list that are on target; at most as many as were wanted.
        on_target: accepted rows that are on target.
        accepted: rows that are stable, unique, new and sound.
        families: anion classes among the accepted rows on target.
        structure_types: among the same.
        best: largest score of an accepted row.
        cpu_seconds: of the main process, of first looks and of relaxations.
        seconds: by the clock.
        calls: of the potential.
    """

    relaxations: int
    listed_on_target: int
    on_target: int
    accepted: int
    families: int
    structure_types: int
    best: float
    cpu_seconds: float
    seconds: float
    calls: int


def summarise(runs: Sequence[Found]) -> dict[str, Any]:
    """Medians over the seeds, ranges of what counts most, and rates over all runs together.

    Args:
        runs: one for each seed.
    """
    spent = sum(run.relaxations for run in runs)
    minutes = sum(run.cpu_seconds for run in runs) / 60.0
    hits = sum(run.on_target for run in runs)
    listed = [run.listed_on_target for run in runs]
    return {
        "listed_on_target": median(listed),
        "range": [min(listed), max(listed)],
        "on_target": median(run.on_target for run in runs),
        "accepted": median(run.accepted for run in runs),
        "families": median(run.families for run in runs),
        "structure_types": median(run.structure_types for run in runs),
        "relaxations": median(run.relaxations for run in runs),
        "calls": median(run.calls for run in runs),
        "cpu_minutes": round(median(run.cpu_seconds for run in runs) / 60.0, 2),
        "on_target_per_relaxation": round(hits / max(1, spent), 4),
        "on_target_per_cpu_minute": round(hits / max(1e-9, minutes), 3),
    }


def markdown(record: Mapping[str, Any]) -> str:
    """The table of a record, one row for each query and arm."""
    head = (
        f"Queries with {record['wanted']} candidates wanted, at most {record['relaxations']} relaxations, "
        f"{record['seeds']} seeds; medians.\n"
    )
    lines = [
        head,
        "| query | arm | on target, of the list | range | on target, all | stable and new | families | "
        "structure types | relaxations | on target per relaxation | per CPU minute |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, arms in record["summary"].items():
        for arm, row in arms.items():
            low, high = row["range"]
            lines.append(
                f"| {name.replace('_', ' ')} | {arm} | {row['listed_on_target']:g} of {record['wanted']} | "
                f"{low}–{high} | {row['on_target']:g} | {row['accepted']:g} | {row['families']:g} | "
                f"{row['structure_types']:g} | {row['relaxations']:g} | {row['on_target_per_relaxation']:.2f} | "
                f"{row['on_target_per_cpu_minute']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def search_page(record: Mapping[str, Any]) -> str:
    """The page of charts."""
    names = list(record["arms"])
    rows = [
        (name.replace("_", " "), {arm: _share(runs) for arm, runs in arms.items()})
        for name, arms in record["runs"].items()
    ]
    text = f"{record['relaxations']} relaxations and {record['seeds']} seeds for each query."
    return page("Search benchmark", text, names, [shares("On target, stable and new per relaxation", rows, names)])


def _share(runs: Sequence[Mapping[str, Any]]) -> Share:
    """On target per relaxation, with Wilson's 95 % interval."""
    hits, spent = sum(run["on_target"] for run in runs), sum(run["relaxations"] for run in runs)
    low, high = wilson(hits, spent)
    return {"count": hits, "of": spent, "value": hits / max(1, spent), "low": low, "high": high}
