"""Rates with honest denominators: what share of a set of rows is on target, stable, novel.

A row that failed counts in every denominator and never in a numerator. Where a relaxation has decided, its
answer (0 or 1) stands; where not, the gate's probability does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invdesign.records import Evaluation, Status
from invdesign.selection.targets import target_probability
from invdesign.target import Target
from invdesign.uncertainty import probability_below


@dataclass(frozen=True)
class StageCount:
    """What one stage did: `entered` rows came in, `passed` left unmarked, `rejected` by reason.

    `entered == passed + sum(rejected.values())`.
    """

    entered: int = 0
    passed: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, other: StageCount) -> StageCount:
        """Counts of both together."""
        reasons = dict(self.rejected)
        for reason, count in other.rejected.items():
            reasons[reason] = reasons.get(reason, 0) + count
        return StageCount(
            self.entered + other.entered, self.passed + other.passed, reasons, self.seconds + other.seconds
        )


@dataclass(frozen=True)
class Funnel:
    """Counts at every stage, in the order of the stages."""

    stages: Mapping[str, StageCount] = field(default_factory=dict)

    def __add__(self, other: Funnel) -> Funnel:
        """Both funnels, stage by stage."""
        merged = dict(self.stages)
        for name, count in other.stages.items():
            merged[name] = merged.get(name, StageCount()) + count
        return Funnel(merged)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for `run.json`: stage to entered, passed, rejected by reason, seconds."""
        return {
            name: {
                "entered": c.entered,
                "passed": c.passed,
                "rejected": dict(sorted(c.rejected.items(), key=lambda item: (-item[1], item[0]))),
                "seconds": round(c.seconds, 3),
            }
            for name, c in self.stages.items()
        }


def target_yield(rows: Sequence[Evaluation], targets: Sequence[Target]) -> float:
    """Mean probability over all rows that the targets hold."""
    return _mean(
        0.0 if row.failed and row.relaxation is None else target_probability(targets, row.estimate or row.gate)
        for row in rows
    )


def stability_yield(rows: Sequence[Evaluation], limit: float) -> float:
    """Mean probability over all rows of an energy above hull of at most `limit`, eV/atom."""
    return _mean(_stable(row, limit) for row in rows)


def _stable(row: Evaluation, limit: float) -> float:
    if row.energy_above_hull is not None:
        return float(row.energy_above_hull.mean <= limit)
    if row.failed or row.gate is None:
        return 0.0
    return probability_below(limit, row.gate.values.get("energy_above_hull"))


def novelty_yield(rows: Sequence[Evaluation]) -> float:
    """Share of rows that no check rejected and whose gene no earlier row of the set has."""
    seen: set[object] = set()
    fresh = 0
    for row in rows:
        gene = row.candidate.crystal.gene
        key = row.candidate.id if gene is None else gene.wyckoff_sequence
        fresh += not row.failed and key not in seen
        seen.add(key)
    return fresh / len(rows) if rows else 0.0


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def accepted(row: Evaluation, limit: float, lenient: frozenset[str]) -> bool:
    """Whether a row may stand on the final list.

    It is relaxed, placed at most `limit` eV/atom above the hull, nothing failed, and every verdict is PASS;
    UNKNOWN is let through only for the validators named in `lenient`.
    """
    if row.failed or row.relaxation is None or row.energy_above_hull is None:
        return False
    if not row.energy_above_hull.mean <= limit:
        return False
    return all(v.status is Status.PASS or v.name in lenient for v in row.verdicts.values())
