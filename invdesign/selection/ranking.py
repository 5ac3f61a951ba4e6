"""Ranking: from evaluated crystals to a ranked, diverse list in which every row says why it stands there.

The score is the weighted geometric mean of the desirabilities (`invdesign.selection.desirability`), so that no
wish can be bought off by another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry import element_data
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.elements import SYMBOLS
from invdesign.mechanics.derive import derive_many
from invdesign.mechanics.quantities import unknown, with_quantities
from invdesign.properties import QUANTITIES
from invdesign.query import Query
from invdesign.records import Candidate, Estimate, Evaluation, Status, Value
from invdesign.selection.components import Component, load_component
from invdesign.selection.decision import MOST, Decision, decide
from invdesign.selection.desirability import (
    Objective,
    Subject,
    desirabilities,
    geometric_mean,
    index_values,
    objectives_of,
    rank_intervals,
    sampled_desirabilities,
    subject_of,
    with_hull,
)
from invdesign.selection.diversity import ALL, EVEN, Diversity, Families, families, spread, spread_text
from invdesign.selection.known_materials import known_materials
from invdesign.selection.landmarks import judged
from invdesign.selection.reasons import reason_for
from invdesign.selection.targets import meets_targets, target_probability
from invdesign.selection.verdicts import Landmark, best_landmark
from invdesign.selection.verdicts import verdict as compared
from invdesign.target import Target
from invdesign.uncertainty import probability_below

Array = NDArray[np.float64]

ANYTHING = Component("any", radioactive=True, restricted=True)
"""The component of a query that names none."""
LIKELY = 0.75
"""Probability to lie within the limit above the hull from which a row on target is listed before others."""
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
        indices: values of the component's material indices that can be told.
        ranks: rank within the list by method of decision (`desirability`, `topsis`, `spotis`).
        first_by_errors: share of samples of the predicted properties in which it is among the first five.
        first_by_weights: share of samples of the weights likewise.
        families: class of its anion, structure type, chemical system, formula.
        verdict: how it compares with the best known material; empty without a component.
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
    indices: Mapping[str, Value] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    first_by_errors: float = float("nan")
    first_by_weights: float = float("nan")
    families: Families | None = None
    verdict: str = ""


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
        agreement: whether other methods of decision agree on the order, in words.
        landmarks: known materials judged by the same wishes, best first; empty for a query without a component.
        variety: how many families are on the list, in words.
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
    agreement: str = ""
    landmarks: tuple[Landmark, ...] = ()
    variety: str = ""

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
    rows = _derived(sorted(rows, key=lambda row: row.candidate.id), _asked(query, chosen_component))
    allowed = None if unknown_allowed is None else frozenset(unknown_allowed)
    judge = _Judge(query, chosen_component, require_relaxation, allowed)
    reasons = [judge.objection(row) for row in rows]
    eligible = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    objectives = objectives_of(query, chosen_component)
    weights = np.array([o.weight for o in objectives])
    table = desirabilities([subject_of(row) for row in eligible], objectives)
    scores = geometric_mean(table, weights)
    kinds = [families(row.crystal, row.crystal.gene or row.candidate.crystal.gene) for row in eligible]
    bounds = [t for t in (*query.targets, *chosen_component.constraints) if not t.goal]
    tiers = np.array([_tier(row, bounds, query.max_energy_above_hull) for row in eligible], dtype=np.int64)
    chosen = spread(kinds, scores, n, diversity, tiers)
    chosen.sort(key=lambda i: (-scores[i], eligible[i].candidate.id))
    work = _Listed(query, chosen_component, objectives, weights)
    ranked, agreement, landmarks = work.ranked(
        [eligible[i] for i in chosen], table[chosen], pareto_front(table)[chosen], [kinds[i] for i in chosen]
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
        agreement=agreement,
        landmarks=landmarks,
        variety=spread_text([kinds[i] for i in chosen]) if chosen else "",
    )


def _tier(row: Evaluation, bounds: Sequence[Target], limit: float) -> int:
    """0: on target, and likely within the limit above the hull (or that is not known); 1: on target; 2: not."""
    if not meets_targets(row, bounds):
        return 2
    above = row.energy_above_hull
    return int(above is not None and probability_below(limit, above) < LIKELY)


@dataclass(frozen=True)
class _Listed:
    """Judges the rows of the list: how firm their order is, and where known materials would stand."""

    query: Query
    component: Component
    objectives: Sequence[Objective]
    weights: Array

    def ranked(
        self, rows: Sequence[Evaluation], table: Array, front: NDArray[np.bool_], kinds: Sequence[Families]
    ) -> tuple[tuple[Ranked, ...], str, tuple[Landmark, ...]]:
        """The places of the list, whether methods agree on them, and known materials."""
        if not rows:
            return (), "", ()
        scores = geometric_mean(table, self.weights)
        subjects = [subject_of(row) for row in rows]
        head = min(len(rows), MOST)
        decision = decide(table[:head], sampled_desirabilities(subjects[:head], self.objectives), self.weights)
        low, high = self._intervals(subjects, decision)
        values = index_values(subjects, self.component.indices)
        landmarks = judged(known_materials(), self.query, self.component, scores) if self.component.indices else ()
        best = best_landmark(landmarks, self.component)
        places = []
        for i, row in enumerate(rows):
            told = decision if i < head else None
            places.append(
                Ranked(
                    rank=i + 1,
                    row=replace(row, score=float(scores[i])),
                    score=float(scores[i]),
                    rank_low=int(low[i]),
                    rank_high=int(high[i]),
                    pareto=bool(front[i]),
                    reason=reason_for(row, self.query, self.component, self.objectives, table[i], bool(front[i])),
                    desirabilities={o.name: float(d) for o, d in zip(self.objectives, table[i], strict=True)},
                    probability=target_probability([t for t in self.query.targets if not t.goal], with_hull(row)),
                    indices=values[i],
                    ranks={} if told is None else {m: int(r[i]) for m, r in told.ranks.items()},
                    first_by_errors=float("nan") if told is None else float(told.first_by_errors[i]),
                    first_by_weights=float("nan") if told is None else float(told.first_by_weights[i]),
                    families=kinds[i],
                    verdict=compared(values[i], subjects[i].estimate.values, self.component, best),
                )
            )
        return tuple(places), decision.text([kind.formula for kind in kinds[:head]]), landmarks

    def _intervals(self, subjects: Sequence[Subject], decision: Decision) -> tuple[Array, Array]:
        """Rank intervals of all rows, those below the head of a long list included."""
        if len(subjects) <= MOST:
            return decision.low.astype(np.float64), decision.high.astype(np.float64)
        return rank_intervals(subjects, self.objectives, self.weights)


def _asked(query: Query, component: Component) -> list[str]:
    """Quantities that targets, constraints and indices name, and the price, which everybody asks for."""
    named = [t.name for t in (*query.targets, *component.constraints)]
    named += [name for index in component.indices for name in index.powers]
    return [name for name in dict.fromkeys([*named, "price"]) if name in QUANTITIES]


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
    subjects = [subject_of(row) for row in rows]
    return geometric_mean(desirabilities(subjects, objectives), np.array([index.weight for index in indices]))


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


def _derived(rows: Sequence[Evaluation], names: Sequence[str]) -> list[Evaluation]:
    """The rows with derived properties where nobody derived them yet, and with the quantities named."""
    todo = [
        i
        for i, row in enumerate(rows)
        if row.estimate is not None and not row.estimate.failure and "density" not in row.estimate.values
    ]
    estimates = [e for e in (rows[i].estimate for i in todo) if e is not None]
    out = list(rows)
    for i, estimate in zip(todo, derive_many(estimates, [rows[i].crystal for i in todo]), strict=True):
        out[i] = replace(rows[i], estimate=estimate)
    told = [i for i, row in enumerate(out) if row.estimate is not None and not row.estimate.failure]
    found = [e for e in (out[i].estimate for i in told) if e is not None]
    for i, estimate in zip(told, with_quantities(found, [out[i].crystal for i in told], names), strict=True):
        out[i] = replace(out[i], estimate=estimate)
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
            if unknown(constraint.name, row.estimate or Estimate({})):
                continue  # nobody can tell; the reason says so
            if target_probability([constraint], with_hull(row)) < self._component.min_probability:
                return f"{constraint} unlikely"
        return ""
