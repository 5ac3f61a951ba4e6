"""How a design run came out: how many are on target, stable and new, what came nearest, and the last step of the
funnel."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from invdesign.app.solid_solutions import SolidSolution, lines_of, solid_solutions
from invdesign.chemistry.composition import reduced_formula
from invdesign.records import Evaluation, Status, Value
from invdesign.selection.desirability import with_hull
from invdesign.selection.ranking import NOT_RELAXED, Selection
from invdesign.selection.targets import meets_targets
from invdesign.target import Target
from invdesign.uncertainty import log10_std


@dataclass(frozen=True)
class Outcome:
    """What a run has found, in numbers.

    Attributes:
        wanted: candidates asked for.
        listed: candidates on the list.
        on_target: of these, how many have every mean on target; None for a query without targets.
        stable_and_new: of these, how many lie within the limit above the hull and are none of the known crystals.
        nearest: the relaxed crystal that comes nearest to the targets without meeting them, in words; empty where
            as many as asked for meet them, and where there is none.
        shortfall: why fewer are listed than asked for; empty otherwise.
        solid_solutions: of which orderings were met, those that serve the targets best first.
        stopped: why the budget was not spent; empty where it was, or enough is found.
    """

    wanted: int
    listed: int
    on_target: int | None
    stable_and_new: int
    nearest: str = ""
    shortfall: str = ""
    solid_solutions: tuple[SolidSolution, ...] = ()
    stopped: str = ""

    @property
    def is_short(self) -> bool:
        """Whether fewer are on target than were asked for."""
        return self.on_target is not None and self.on_target < self.wanted

    def set_apart(self) -> list[str]:
        """What was set apart, in words: in full where the list is short, otherwise that there is such a thing."""
        found = lines_of(self.solid_solutions)
        return found if self.is_short else found[:1]

    def summary(self) -> str:
        """One line: `5 of 8 on target, 8 stable and new`."""
        noun = "candidate" if self.listed == 1 else "candidates"
        first = f"{self.listed} {noun}"
        if self.on_target is not None and self.listed:
            first = f"{self.on_target} of {self.listed} on target"
        return f"{first}, {self.stable_and_new} stable and new" if self.listed else "no candidate"

    def lines(self) -> list[str]:
        """The summary, and why it is no better."""
        apart = self.set_apart()[:2] if self.is_short else []
        lines = (self.summary(), self.shortfall, self.nearest, self.stopped, *apart)
        return [line for line in lines if line]


def outcome(
    selection: Selection,
    rows: Sequence[Evaluation],
    targets: Sequence[Target],
    limit: float,
    stopped: str = "",
) -> Outcome:
    """How a run came out.

    Args:
        selection: the ranked list.
        rows: every row of the run.
        targets: of the query and its component.
        limit: above the hull, eV/atom.
        stopped: why the budget was not spent.
    """
    listed = selection.rows
    bounds = [target for target in targets if not target.goal]
    hits = sum(meets_targets(row, bounds) for row in listed) if bounds else None
    enough = hits is None or hits >= selection.n_wanted
    return Outcome(
        wanted=selection.n_wanted,
        listed=len(listed),
        on_target=hits,
        stable_and_new=sum(_stable_and_new(row, limit) for row in listed),
        nearest="" if enough else nearest_to(bounds, rows),
        shortfall="" if len(listed) >= selection.n_wanted else _shortfall_of(selection),
        solid_solutions=tuple(solid_solutions(rows, targets)),
        stopped=stopped,
    )


def _shortfall_of(selection: Selection) -> str:
    """Why the list is short: what became of the crystals on which a relaxation was spent."""
    lost = {reason: n for reason, n in selection.rejected.items() if reason != NOT_RELAXED}
    judged = selection.n_rows - selection.rejected.get(NOT_RELAXED, 0)
    why = ", ".join(f"{count} {reason}" for reason, count in lost.items())
    head = f"{len(selection.ranked)} of {selection.n_wanted} wanted: of {judged} relaxed, {selection.n_eligible} "
    could = f"{head}could be listed ({why})" if why else f"{head}could be listed"
    return ". ".join(part for part in (could, selection.nearest) if part)


def _stable_and_new(row: Evaluation, limit: float) -> bool:
    hull, novelty = row.energy_above_hull, row.verdicts.get("novelty")
    stable = hull is not None and hull.mean <= limit
    return stable and novelty is not None and novelty.status is Status.PASS


def nearest_to(targets: Sequence[Target], rows: Iterable[Evaluation]) -> str:
    """The sound relaxed crystal that comes nearest to the targets without meeting them, in words; or nothing.

    Nearest is the smallest of the largest shortfalls, each in standard deviations of its own estimate.
    """
    off = [(_shortfall(targets, row), row) for row in rows if row.relaxation is not None and not row.failed]
    near = [(far, row.candidate.id, row) for far, row in off if 0.0 < far < math.inf]
    if not near:
        return ""
    row = min(near, key=lambda item: item[:2])[2]
    found = ", ".join(_beside(target, value) for target, value in _values(targets, row))
    return f"Nearest to the targets without meeting them: {reduced_formula(row.crystal.numbers)} ({found})"


def _values(targets: Iterable[Target], row: Evaluation) -> list[tuple[Target, Value]]:
    estimate = with_hull(row)
    values = {} if estimate is None else estimate.values
    return [(target, values[target.name]) for target in targets if target.name in values]


def _shortfall(targets: Sequence[Target], row: Evaluation) -> float:
    """Largest distance of a mean from its bounds, in standard deviations; infinite where a value is missing."""
    known = _values(targets, row)
    if len(known) < len(targets):
        return math.inf
    return max((_distance(target, value) for target, value in known), default=0.0)


def _distance(target: Target, value: Value) -> float:
    bound = target.low if target.low is not None and value.mean < target.low else target.high
    if target.holds(value.mean) or bound is None:
        return 0.0
    if target.prop.log and value.mean > 0.0 and bound > 0.0:
        return abs(math.log10(bound / value.mean)) / max(log10_std(value), 1e-9)
    return abs(bound - value.mean) / max(value.std, 1e-9)


def _beside(target: Target, value: Value) -> str:
    digits = max(0, 1 - math.floor(math.log10(value.std))) if value.std > 0 else 2
    unit = f" {target.prop.unit}" if target.prop.unit else ""
    met = "" if target.holds(value.mean) else f", wanted {str(target).removeprefix(target.name)}"
    return f"{target.prop.symbol} {value.mean:.{digits}f} ± {value.std:.{digits}f}{unit}{met}"


def selection_counts(
    selection: Selection, before: Sequence[Evaluation], after: Sequence[Evaluation]
) -> dict[str, Any]:
    """The last step of the funnel: from the relaxed crystals that nothing has rejected to the list.

    Args:
        selection: the list made of `after`.
        before: the rows of the run as the last stage left them.
        after: the same rows with what came back since; the same objects where nothing did.

    Returns:
        `entered`, `passed` and `rejected` by reason; where values that came back brought rows back that an earlier
        stage had rejected, also `restored`, and `entered + restored == passed + sum(rejected)`.
    """
    sound = {row.candidate.id for row in before if _sound(row)}
    restored = {row.candidate.id for row in after if _sound(row)} - sound
    listed = {row.candidate.id for row in selection.rows}
    reasons = Counter(
        selection.objections.get(name, "ranked lower") for name in sorted(sound | restored) if name not in listed
    )
    counts: Mapping[str, int] = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    more = {"restored": len(restored)} if restored else {}
    return {"entered": len(sound), "passed": len(listed), "rejected": counts, **more}


def _sound(row: Evaluation) -> bool:
    return row.relaxation is not None and not row.failed
