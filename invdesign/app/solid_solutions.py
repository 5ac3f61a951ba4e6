"""What a run has set apart: crystals that are one ordering of a known solid solution.

Such a crystal is no new phase, yet the alloy of its composition may be what is wanted. They are offered beside the
list, grouped by the elements that share a site, with the range of mixing in which they were met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from invdesign.chemistry.composition import reduced_formula
from invdesign.elements import atomic_number
from invdesign.records import Evaluation, Status
from invdesign.selection.targets import target_probability
from invdesign.target import Target

REASON = re.compile(r"(?P<shared>\S+(?: and \S+)*) would share a site of a parent in space group (?P<parent>\d+)")
KNOWN = re.compile(r"; (\S+) is known with that structure")
SHOWN = 5
"""Solid solutions that a record names, at most."""


@dataclass(frozen=True)
class SolidSolution:
    """Crystals of a run that are orderings of one solid solution.

    Attributes:
        shared: sets of symbols that share a site.
        parent: space group of the parent.
        known: id of a known crystal with the parent's structure.
        crystals: how many were met.
        ranges: for each element of a shared site, its least and largest share among those that share it.
        best: formula of the ordering with the largest chance to meet the targets, by the best estimate there is.
        values: what it is believed to have, for each target: mean, in the property's unit.
        target_probability: that chance.
    """

    shared: tuple[tuple[str, ...], ...]
    parent: int
    known: str
    crystals: int
    ranges: Mapping[str, tuple[float, float]]
    best: str
    values: Mapping[str, float]
    target_probability: float

    def __str__(self) -> str:
        """The solid solution in words."""
        versions = "1 ordered version" if self.crystals == 1 else f"{self.crystals} ordered versions"
        sites = " and ".join("-".join(group) for group in self.shared)
        mixed = ", ".join(f"{s} {_percent(low, high)} %" for s, (low, high) in self.ranges.items())
        values = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.values.items())
        best = f"; best by the estimates: {self.best}" + (f" ({values})" if values else "")
        return (
            f"{sites} on a shared site (space group {self.parent}, structure of {self.known}): {mixed}; "
            f"{versions}{best}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for `run.json`."""
        return asdict(self)


def solid_solutions(rows: Iterable[Evaluation], targets: Sequence[Target]) -> list[SolidSolution]:
    """The solid solutions of which a run has met orderings, those that serve the targets best first.

    Args:
        rows: of the run; those that the validator `disorder` fails count.
        targets: of the query.
    """
    groups: dict[tuple[str, int, str], list[Evaluation]] = {}
    for row in rows:
        verdict = row.verdicts.get("disorder")
        if verdict is None or verdict.status is not Status.FAIL:
            continue
        found, known = REASON.match(verdict.reason), KNOWN.search(verdict.reason)
        if found:
            key = (found["shared"], int(found["parent"]), known[1] if known else "")
            groups.setdefault(key, []).append(row)
    made = [_made(key, members, targets) for key, members in groups.items()]
    return sorted(made, key=lambda s: (-s.target_probability, -s.crystals, s.best))


def lines_of(found: Sequence[SolidSolution]) -> list[str]:
    """A sentence for a person, and one for each of the first solid solutions; nothing where there is none."""
    if not found:
        return []
    met = sum(each.crystals for each in found)
    head = (
        f"Set apart: {met} ordered versions of {len(found)} known solid solutions. Such a crystal is no new "
        "phase; an alloy of its composition may exist, and may be what is wanted (run.json lists them)."
    )
    return [head, *(f"Solid solution: {each}." for each in found[:SHOWN])]


def _made(key: tuple[str, int, str], rows: Sequence[Evaluation], targets: Sequence[Target]) -> SolidSolution:
    shared = tuple(tuple(group.split("/")) for group in key[0].split(" and "))
    chances = [_chance(row, targets) for row in rows]
    first = max(range(len(rows)), key=lambda i: (chances[i], rows[i].candidate.id))
    estimate = rows[first].estimate or rows[first].gate
    values = {} if estimate is None else estimate.values
    return SolidSolution(
        shared=shared,
        parent=key[1],
        known=key[2],
        crystals=len(rows),
        ranges={name: share for group in shared for name, share in _ranges(group, rows)},
        best=reduced_formula(rows[first].crystal.numbers),
        values={t.name: values[t.name].mean for t in targets if t.name in values},
        target_probability=chances[first],
    )


def _chance(row: Evaluation, targets: Sequence[Target]) -> float:
    estimate = row.estimate or row.gate
    return 0.0 if estimate is None else float(target_probability(targets, estimate))


def _ranges(group: Sequence[str], rows: Sequence[Evaluation]) -> Iterable[tuple[str, tuple[float, float]]]:
    counts = [[int((row.crystal.numbers == atomic_number(name)).sum()) for name in group] for row in rows]
    shares = [[n / sum(row) for n in row] for row in counts if sum(row)]
    for place, name in enumerate(group):
        column = [row[place] for row in shares]
        if column:
            yield name, (round(min(column), 3), round(max(column), 3))


def _percent(low: float, high: float) -> str:
    return f"{100 * low:.0f}" if round(100 * low) == round(100 * high) else f"{100 * low:.0f} to {100 * high:.0f}"
