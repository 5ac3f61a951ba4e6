"""Ranking: from evaluated crystals to a ranked, diverse list in which every row says why it stands there.

The score is the weighted geometric mean of the desirabilities (`invdesign.selection.desirability`), so that no
wish can be bought off by another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry import element_data
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.elements import SYMBOLS
from invdesign.mechanics.derive import derive_many
from invdesign.query import Query
from invdesign.records import Candidate, Estimate, Evaluation, Status
from invdesign.selection.components import Component, load_component
from invdesign.selection.desirability import (
    Objective,
    desirabilities,
    geometric_mean,
    objectives_of,
    rank_intervals,
    with_hull,
)
from invdesign.selection.diversity import Diversity, diverse
from invdesign.selection.reasons import reason_for
from invdesign.selection.targets import target_probability

Array = NDArray[np.float64]

ANYTHING = Component("any", radioactive=True, restricted=True)
"""The component of a query that names none."""
EVEN = Diversity()
"""The default variety of a list."""
ALL = Diversity(0.0, per_system=1.0, per_formula=1_000_000, per_prototype=1.0)
"""No limit on likeness: what a ranking of known crystals shows."""
NOT_RELAXED = "not relaxed"
"""Objection to what was never chosen for a relaxation, and so was not judged to the end."""
UNSTABLE = ("stability failed", "too far above the hull")
"""Objections to what lies too far above the hull."""


@dataclass(frozen=True)
class Ranked:
    """One place on the list.

    Attributes:
        rank: 1 is best.
        row: the evaluation, its `score` filled.
        score: weighted geometric mean of the desirabilities, 0 to 1.
        rank_low: best rank within the list that its uncertainty allows (5 % quantile).
        rank_high: worst rank likewise (95 % quantile).
        pareto: whether no other eligible row is at least as good in every objective and better in one.
        reason: one sentence.
        desirabilities: by objective, 0 to 1.
        probability: that all targets of the query hold, taken as independent.
    """

    rank: int
    row: Evaluation
    score: float
    rank_low: int
    rank_high: int
    pareto: bool
    reason: str
    desirabilities: Mapping[str, float]
    probability: float


@dataclass(frozen=True)
class Selection:
    """A ranked list and how it came about.

    Attributes:
        ranked: the list, best first.
        rejected: number of rows that were not eligible, by reason.
        objections: the reason by candidate id, for each of these rows.
        nearest: which of the unstable rows came nearest to the hull, in words; empty if there are none.
        n_rows: rows looked at.
        n_eligible: rows that could have been listed.
        weights: weight by objective.
        component: name of the component, or `any`.
        n_wanted: rows asked for.
    """

    ranked: tuple[Ranked, ...]
    rejected: Mapping[str, int]
    n_rows: int
    n_eligible: int
    weights: Mapping[str, float]
    component: str
    n_wanted: int
    objections: Mapping[str, str]
    nearest: str = ""

    @property
    def rows(self) -> list[Evaluation]:
        """The listed evaluations, best first."""
        return [item.row for item in self.ranked]

    @property
    def shortfall(self) -> str:
        """Why there are fewer than asked for; empty if there are not."""
        if len(self.ranked) >= self.n_wanted:
            return ""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejected.items())
        found = (
            f"{len(self.ranked)} of {self.n_wanted} wanted: {self.n_eligible} of {self.n_rows} rows were eligible"
        )
        return ". ".join(part for part in (f"{found} ({reasons})" if reasons else found, self.nearest) if part)


def rank(
    rows: Sequence[Evaluation],
    query: Query,
    component: str | Component | None = None,
    n: int | None = None,
    *,
    require_relaxation: bool = True,
    unknown_allowed: Iterable[str] | None = None,
    diversity: Diversity = EVEN,
) -> Selection:
    """Rank evaluated crystals and choose a diverse list.

    Eligible is a row without failure and without FAIL verdict, with an estimate, allowed elements, and a fair
    chance for every constraint of the component; with `require_relaxation` also relaxed and, where the hull is
    known, within the query's limit above it. Deterministic; ties go by candidate id.

    Args:
        rows: evaluations; the order does not matter.
        query: targets, elements and the hull limit.
        component: name, path or component (None: the query's own, if it has one).
        n: length of the list (None: the query's).
        require_relaxation: False for known crystals that are ranked as they are.
        unknown_allowed: validators whose UNKNOWN is accepted (None: all).
        diversity: how much alike the rows may be.

    Raises:
        InputError: if the component cannot be loaded.
    """
    chosen_component = _component(component, query)
    n = query.n if n is None else n
    rows = _derived(sorted(rows, key=lambda row: row.candidate.id))
    allowed = None if unknown_allowed is None else frozenset(unknown_allowed)
    judge = _Judge(query, chosen_component, require_relaxation, allowed)
    reasons = [judge.objection(row) for row in rows]
    eligible = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    objectives = objectives_of(query, chosen_component)
    table = desirabilities(eligible, objectives)
    weights = np.array([o.weight for o in objectives])
    scores = geometric_mean(table, weights)
    front = pareto_front(table)
    chosen = diverse(eligible, scores, n, diversity)
    chosen.sort(key=lambda i: (-scores[i], eligible[i].candidate.id))
    low, high = rank_intervals([eligible[i] for i in chosen], objectives, weights)
    ranked = tuple(
        Ranked(
            rank=place + 1,
            row=replace(eligible[i], score=float(scores[i])),
            score=float(scores[i]),
            rank_low=int(low[place]),
            rank_high=int(high[place]),
            pareto=bool(front[i]),
            reason=reason_for(eligible[i], query, chosen_component, objectives, table[i], bool(front[i])),
            desirabilities={o.name: float(d) for o, d in zip(objectives, table[i], strict=True)},
            probability=target_probability([t for t in query.targets if not t.goal], with_hull(eligible[i])),
        )
        for place, i in enumerate(chosen)
    )
    counts = Counter(reason for reason in reasons if reason)
    return Selection(
        ranked=ranked,
        rejected=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        n_rows=len(rows),
        n_eligible=len(eligible),
        weights={o.name: o.weight for o in objectives},
        component=chosen_component.name,
        n_wanted=n,
        objections={row.candidate.id: reason for row, reason in zip(rows, reasons, strict=True) if reason},
        nearest=_nearest([row for row, reason in zip(rows, reasons, strict=True) if reason in UNSTABLE], query),
    )


def _nearest(unstable: Sequence[Evaluation], query: Query) -> str:
    """Which unstable row came nearest to the hull, and how many would be let in by twice the limit."""
    placed = [(row.energy_above_hull.mean, row) for row in unstable if row.energy_above_hull is not None]
    if not placed:
        return ""
    least, row = min(placed, key=lambda item: (item[0], item[1].candidate.id))
    wider = 2.0 * query.max_energy_above_hull
    within = sum(energy <= wider for energy, _ in placed)
    formula = reduced_formula(row.crystal.numbers)
    where = f"{formula} comes nearest, {least:.2f} eV/atom above the hull"
    return f"Of the unstable ones {where}; {within} are within {wider:g}"


def rank_known(
    crystals: Sequence[Crystal],
    estimates: Sequence[Estimate],
    query: Query,
    component: str | Component | None = None,
    n: int | None = None,
    diversity: Diversity = ALL,
) -> Selection:
    """Rank known crystals as they are, without relaxation; by default all of them, however alike.

    Args:
        crystals: what to rank; `source` names them.
        estimates: one per crystal, same order.
        query: targets and elements; its hull limit rejects none.
        component: as in `rank`.
        n: length of the list (None: all).
        diversity: as in `rank`.

    Raises:
        InputError: if the component cannot be loaded.
    """
    rows = [
        Evaluation(
            candidate=Candidate(f"{i:07d}", crystal, "", "given"),
            estimate=estimate,
            energy_above_hull=estimate.values.get("energy_above_hull"),
        )
        for i, (crystal, estimate) in enumerate(zip(crystals, estimates, strict=True))
    ]
    count = len(rows) if n is None else n
    return rank(rows, query, component, count, require_relaxation=False, diversity=diversity)


def suitability(rows: Sequence[Evaluation], component: str | Component) -> Array:
    """How well the estimates of some rows serve the material indices of a component, bounds left aside.

    Args:
        rows: evaluations; only their `estimate` and crystal are looked at.
        component: name, path or component.

    Returns:
        (n_rows,) weighted geometric mean of the indices' desirabilities, 0 to 1; 1 for a component without any.

    Raises:
        InputError: if the component cannot be loaded.
    """
    indices = load_component(component).indices
    if not indices:
        return np.ones(len(rows))
    objectives = [Objective(index.name, index.weight, index) for index in indices]
    return geometric_mean(desirabilities(rows, objectives), np.array([index.weight for index in indices]))


def pareto_front(table: Array) -> NDArray[np.bool_]:
    """Which rows no other row dominates; larger is better, equal rows do not dominate each other.

    Args:
        table: (n_rows, n_objectives).

    Returns:
        (n_rows,) mask.
    """
    unique, inverse = np.unique(table, axis=0, return_inverse=True)
    alive = np.arange(len(unique))[::-1]
    position = 0
    while position < len(alive):
        pivot = unique[alive[position]]
        keep = (unique[alive] > pivot).any(axis=1)
        keep[position] = True
        position = int(keep[:position].sum()) + 1
        alive = alive[keep]
    mask = np.zeros(len(unique), dtype=np.bool_)
    mask[alive] = True
    return mask[inverse.reshape(-1)]


def _component(component: str | Component | None, query: Query) -> Component:
    wanted = query.component if component is None else component
    return ANYTHING if wanted is None else load_component(wanted)


def _derived(rows: Sequence[Evaluation]) -> list[Evaluation]:
    """The rows with derived properties where the moduli are there and nobody derived them yet."""
    todo = [
        i
        for i, row in enumerate(rows)
        if row.estimate is not None and not row.estimate.failure and "density" not in row.estimate.values
    ]
    estimates = [e for e in (rows[i].estimate for i in todo) if e is not None]
    out = list(rows)
    for i, estimate in zip(todo, derive_many(estimates, [rows[i].crystal for i in todo]), strict=True):
        out[i] = replace(rows[i], estimate=estimate)
    return out


class _Judge:
    """Says why a row may not be listed."""

    def __init__(
        self, query: Query, component: Component, require_relaxation: bool, unknown_allowed: frozenset[str] | None
    ) -> None:
        self._query, self._component = query, component
        self._require_relaxation, self._unknown_allowed = require_relaxation, unknown_allowed
        self._elements = frozenset(query.allowed_elements) - set(component.forbid)
        self._required = frozenset(query.required_elements)

    def objection(self, row: Evaluation) -> str:
        """The first reason against a row, or nothing."""
        return self._of_stages(row) or self._of_elements(row) or self._of_values(row)

    def _of_stages(self, row: Evaluation) -> str:
        if self._require_relaxation and row.relaxation is None and not row.selected:
            return NOT_RELAXED
        if row.failure is not None:
            return f"{row.failure.stage} failed"
        for verdict in row.verdicts.values():
            if verdict.status is Status.FAIL:
                return f"{verdict.name} failed"
            if verdict.status is Status.UNKNOWN and not self._tolerates(verdict.name):
                return f"{verdict.name} unknown"
        if self._require_relaxation and row.relaxation is None:
            return NOT_RELAXED
        return "no estimate" if row.estimate is None or row.estimate.failure else ""

    def _tolerates(self, validator: str) -> bool:
        return self._unknown_allowed is None or validator in self._unknown_allowed

    def _of_elements(self, row: Evaluation) -> str:
        symbols = {SYMBOLS[z - 1] for z in np.unique(row.crystal.numbers)}
        if not symbols <= self._elements:
            return "element not allowed"
        if not self._required <= symbols:
            return "required element missing"
        if not self._component.radioactive and element_data.radioactive(row.crystal.numbers):
            return "radioactive"
        restricted = element_data.table().restricted
        if not self._component.restricted and any(restricted[z] for z in row.crystal.numbers):
            return "toxic element"
        return ""

    def _of_values(self, row: Evaluation) -> str:
        hull = row.energy_above_hull
        if self._require_relaxation and hull is not None and hull.mean > self._query.max_energy_above_hull:
            return UNSTABLE[1]
        for constraint in self._component.constraints:
            if target_probability([constraint], with_hull(row)) < self._component.min_probability:
                return f"{constraint} unlikely"
        return ""
