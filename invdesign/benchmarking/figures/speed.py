"""Figures and tables of `invdesign benchmark speed`, made from its record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Row = Mapping[str, Any]


def ratios(ours: Row, theirs: Row) -> list[float]:
    """CPU seconds for one item by another way over those by the package's own, one for each repeat."""
    pairs = zip(ours["repeats"], theirs["repeats"], strict=True)
    return [each(b) / max(each(a), 1e-9) for a, b in pairs]


def each(spent: Row) -> float:
    """CPU seconds for one item."""
    return float(spent["cpu"]) / int(spent["items"])


def cost(way: Row) -> float:
    """Median of the CPU seconds for one item over the repeats; NaN where nothing was measured."""
    return median(each(spent) for spent in way["repeats"]) if way["repeats"] else math.nan


def throughput(way: Row) -> float:
    """Items in one CPU second; NaN where nothing was measured."""
    return 1.0 / max(cost(way), 1e-9)


def memory(way: Row) -> float:
    """Largest rise of the resident memory over the repeats, MB."""
    found = [spent["memory"] for spent in way["repeats"] if spent["memory"] is not None]
    return max(found, default=math.nan)


def growth(way: Row) -> float:
    """Exponent of the cost as the number of items grows: 1 where it grows as the number does."""
    if not way["small"] or not way["repeats"]:
        return math.nan
    few, many = (median(spent["cpu"] for spent in way[key]) for key in ("small", "repeats"))
    sizes = [way[key][0]["items"] for key in ("small", "repeats")]
    if sizes[0] == sizes[1] or few <= 0.0 or many <= 0.0:
        return math.nan
    return math.log(many / few) / math.log(sizes[1] / sizes[0])


def growth_with_atoms(stage: Row, way: str) -> float:
    """Exponent of the cost of an item as its number of atoms grows; NaN where it was not measured."""
    seconds = stage["by_sites"].get(way)
    if not seconds or min(seconds) <= 0.0:
        return math.nan
    return math.log(seconds[1] / seconds[0]) / math.log(stage["sites"][1] / stage["sites"][0])


def rows(record: Row) -> list[dict[str, str]]:
    """The table's rows as text: one for each way of each stage."""
    found = []
    for name, stage in record["stages"].items():
        ours = stage["ways"][0]
        for way in stage["ways"]:
            row = {"stage": name.replace("_", " "), "items": stage["items"], "way": way["name"]}
            found.append(row | (_figures(stage, ours, way) if way["repeats"] else {"equal": way["note"]}))
    return found


def _figures(stage: Row, ours: Row, way: Row) -> dict[str, str]:
    factors = ratios(ours, way) if way is not ours and ours["repeats"] else []
    return {
        "n": str(way["repeats"][0]["items"]),
        "cpu": _number(1000.0 * cost(way)),
        "rate": _number(throughput(way)),
        "memory": _number(memory(way)),
        "ratio": f"{median(factors):.3g} ({min(factors):.3g}–{max(factors):.3g})" if factors else "",
        "growth": _number(growth(way), 2),
        "atoms": _number(growth_with_atoms(stage, way["name"]), 2),
        "equal": equalities(way["equal"]),
    }


def equalities(found: Sequence[Row]) -> str:
    """What was compared, in words."""
    return "; ".join(
        f"{row['what']} {row['value']:.3g} ({'' if row['holds'] else 'NOT '}within {row['limit']:g})"
        for row in found
    )


def _number(value: float, digits: int = 3) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}g}"


COLUMNS = {
    "stage": "stage", "way": "way", "n": "n", "items": "items", "cpu": "CPU ms each", "rate": "each CPU second",
    "memory": "memory, MB", "ratio": "ratio (range)", "growth": "grows with n", "atoms": "with atoms",
    "equal": "the same?",
}  # fmt: skip


def markdown(record: Row) -> str:
    """The table of a record."""
    head = f"CPU seconds on one core, {record['repeats']} repeats in turns; medians.\n"
    lines = [head, "| " + " | ".join(COLUMNS.values()) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows(record):
        lines.append("| " + " | ".join(row.get(key, "") for key in COLUMNS) + " |")
    return "\n".join(lines) + "\n"
