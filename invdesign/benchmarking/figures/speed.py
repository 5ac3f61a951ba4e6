"""Figures and tables of `invdesign benchmark speed`, made from its record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from invdesign.benchmarking.timing import OURS

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


def markdown(record: Row) -> str:
    """The tables of a record: cost and ratios, whether the results are the same, and how the cost grows."""
    head = f"CPU seconds on one core, medians of {record['repeats']} repeats. A ratio above 1: {OURS} is faster."
    costs = ("stage", "way", "items", "CPU ms each", "each CPU second", "memory, MB", "ratio (range)")
    same = ("stage", "beside", "what", "found", "tolerance", "holds")
    growths = ("stage", "way", "with the number of items", "with the atoms in the cell")
    return "\n".join(
        [
            f"{head}\n{_table(costs, _costs(record))}",
            f"## The same result?\n{_table(same, _equalities(record))}",
            f"## Growth of the cost\n\nThe exponent of the cost.\n{_table(growths, _growths(record))}",
        ]
    )


def _each_way(record: Row) -> Iterator[tuple[str, Row, Row]]:
    """Name of the stage in words, the stage, and each of its ways."""
    for name, stage in record["stages"].items():
        for way in stage["ways"]:
            yield name.replace("_", " "), stage, way


def _costs(record: Row) -> Iterator[Sequence[str]]:
    for name, stage, way in _each_way(record):
        if not way["repeats"]:
            yield name, way["name"], "", "", "", "", way["note"]
            continue
        ours, ratio = stage["ways"][0], ""
        if way is not ours and ours["repeats"]:
            found = ratios(ours, way)
            ratio = f"{_number(median(found))} ({_number(min(found))}–{_number(max(found))})"
        items = f"{way['repeats'][0]['items']} {stage['items']}"
        figures = (_number(1000.0 * cost(way)), _number(throughput(way)), _number(memory(way), 2))
        yield name, way["name"], items, *figures, ratio


def _equalities(record: Row) -> Iterator[Sequence[str]]:
    for name, _, way in _each_way(record):
        for row in way["equal"]:
            found = (_number(row["value"]), _number(row["limit"]), "yes" if row["holds"] else "**no**")
            yield name, way["name"], row["what"], *found


def _growths(record: Row) -> Iterator[Sequence[str]]:
    for name, stage, way in _each_way(record):
        found = _number(growth(way), 2), _number(growth_with_atoms(stage, way["name"]), 2)
        if any(found):
            yield name, way["name"], *found


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _number(value: float, digits: int = 3) -> str:
    """A figure with some significant digits, whole where it is large; nothing for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 10.0**digits else f"{value:.{digits}g}"
