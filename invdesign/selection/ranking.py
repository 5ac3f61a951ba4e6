"""Selection: from evaluated crystals to a ranked, diverse list in which every row says why it stands there.

Every wish becomes a desirability from 0 to 1 (Derringer and Suich, J. Qual. Technol. 12, 214 (1980)): the
probability that a bound holds; for an extreme or a material index the mean of a ramp over samples of the
uncertain property. The score is their weighted geometric mean, so that no wish can be bought off by another.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry import element_data
from invdesign.chemistry.composition import chemical_system, integer_composition, reduced_formula
from invdesign.crystal import Crystal
from invdesign.elements import SYMBOLS
from invdesign.engine.funnel import target_probability
from invdesign.mechanics.formulas import derive_many, draw, has_moduli, log_spread
from invdesign.properties import PROPERTIES, get_property
from invdesign.query import Query, Target
from invdesign.records import MEASURED, Candidate, Estimate, Evaluation, Status, Value
from invdesign.selection.components import Component, Index, load_component

Array = NDArray[np.float64]

FLOOR = 1e-3
"""Smallest desirability in the geometric mean: one hopeless wish must not hide the order of the others."""
TOLERANCE = 0.1
"""Shortfall (in ln for log properties, otherwise relative to the bound) that costs a sampled bound a factor e."""
ANYTHING = Component("any", radioactive=True, restricted=True)
"""The component of a query that names none."""
STABILITY = "stability"
UNSTABLE = ("stability failed", "too far above the hull")
"""Objections to what lies too far above the hull."""

EXTREMES: dict[str, tuple[float, float]] = {
    "bulk_modulus": (5.0, 450.0),
    "shear_modulus": (3.0, 540.0),
    "youngs_modulus": (8.0, 1150.0),
    "poisson_ratio": (0.05, 0.45),
    "pugh_ratio": (0.8, 6.0),
    "vickers_hardness": (0.2, 100.0),
    "fracture_toughness": (0.1, 8.0),
    "density": (1.0, 22.6),
    "band_gap": (0.0, 10.0),
    "formation_energy": (-4.0, 0.5),
    "energy_above_hull": (0.0, 0.3),
}
"""From where to where known crystals reach: the ramp of a target `name=max` or, downhill, `name=min`."""


@dataclass(frozen=True)
class Diversity:
    """How much alike the listed candidates may be.

    Attributes:
        penalty: share of the score that a candidate loses if its twin is on the list (0: none, below 1).
        per_system: largest share of the list from one chemical system (at least 2 rows).
        per_formula: most rows of one reduced formula.
        per_prototype: largest share of one prototype, space group and occupied positions (at least 2 rows). All
            caps are raised only where places stay free.
    """

    penalty: float = 0.5
    per_system: float = 0.2
    per_formula: int = 2
    per_prototype: float = 0.25


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
    diversity: Diversity = Diversity(),
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
    objectives = _objectives(query, chosen_component)
    table = _desirabilities(eligible, objectives)
    weights = np.array([o.weight for o in objectives])
    scores = _geometric_mean(table, weights)
    front = pareto_front(table)
    chosen = _diverse(eligible, scores, n, diversity)
    chosen.sort(key=lambda i: (-scores[i], eligible[i].candidate.id))
    low, high = _rank_intervals([eligible[i] for i in chosen], objectives, weights)
    ranked = tuple(
        Ranked(
            rank=place + 1,
            row=replace(eligible[i], score=float(scores[i])),
            score=float(scores[i]),
            rank_low=int(low[place]),
            rank_high=int(high[place]),
            pareto=bool(front[i]),
            reason=_reason(eligible[i], query, chosen_component, objectives, table[i], bool(front[i])),
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
    diversity: Diversity = Diversity(0.0, per_system=1.0, per_formula=1_000_000, per_prototype=1.0),
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
            candidate=Candidate(f"{i:07d}", crystal, "", crystal.source or "given"),
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
    objectives = [_Objective(index.name, index.weight, index) for index in indices]
    return _geometric_mean(_desirabilities(rows, objectives), np.array([index.weight for index in indices]))


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
        self._required = frozenset(query.required)

    def objection(self, row: Evaluation) -> str:
        """The first reason against a row, or nothing."""
        return self._of_stages(row) or self._of_elements(row) or self._of_values(row)

    def _of_stages(self, row: Evaluation) -> str:
        if row.failure is not None:
            return f"{row.failure.stage} failed"
        for verdict in row.verdicts.values():
            if verdict.status is Status.FAIL:
                return f"{verdict.name} failed"
            if verdict.status is Status.UNKNOWN and not self._tolerates(verdict.name):
                return f"{verdict.name} unknown"
        if self._require_relaxation and row.relaxation is None:
            return "not relaxed"
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


@dataclass(frozen=True)
class _Objective:
    """One column of the table: what is wanted, and how much it weighs."""

    name: str
    weight: float
    wish: Target | Index | float


def _objectives(query: Query, component: Component) -> list[_Objective]:
    """Targets, constraints, indices and the distance to the hull; equal wishes once."""
    wishes = [_Objective(str(t), component.target_weight, t) for t in query.targets]
    wishes += [_Objective(str(t), component.constraint_weight, t) for t in component.constraints]
    wishes += [_Objective(index.name, index.weight, index) for index in component.indices]
    wishes.append(_Objective(STABILITY, component.stability_weight, query.max_energy_above_hull))
    return list({wish.name: wish for wish in reversed(wishes)}.values())[::-1]


def _desirabilities(rows: Sequence[Evaluation], objectives: Sequence[_Objective], chunk: int = 1000) -> Array:
    """(n_rows, n_objectives) desirabilities in [0, 1]."""
    table = np.zeros((len(rows), len(objectives)))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        sampled = _Samples(part)
        for j, objective in enumerate(objectives):
            table[start : start + chunk, j] = _column(part, objective.wish, sampled)
    return table


def _column(rows: Sequence[Evaluation], wish: Target | Index | float, sampled: _Samples) -> Array:
    if isinstance(wish, Target) and not wish.goal:
        return np.array([target_probability([wish], with_hull(row)) for row in rows])
    return np.asarray(sampled.desirability(wish).mean(axis=1))


def with_hull(row: Evaluation) -> Estimate | None:
    """The estimate, its energy above hull replaced by the relaxed one where there is one."""
    if row.estimate is None or row.energy_above_hull is None:
        return row.estimate
    return replace(row.estimate, values={**row.estimate.values, "energy_above_hull": row.energy_above_hull})


class _Samples:
    """Joint samples of every quantity of some rows, each quantity (n_rows, n_samples); NaN where unknown.

    Rows share their random numbers, so that equal rows get equal desirabilities; `independent` draws each row's
    errors on their own, which is what a comparison of ranks needs.
    """

    def __init__(self, rows: Sequence[Evaluation], independent: bool = False, n_samples: int = 256) -> None:
        self._rows, self._n = rows, n_samples
        self._estimates = [with_hull(row) or Estimate({}) for row in rows]
        self._seeds = [zlib.crc32(row.candidate.id.encode()) if independent else 0 for row in rows]
        self._known: dict[str, Array] = {}
        whole = [i for i, estimate in enumerate(self._estimates) if has_moduli(estimate)]
        if whole:
            crystals = [rows[i].crystal for i in whole]
            seeds = [self._seeds[i] for i in whole] if independent else [0]
            drawn = draw([self._estimates[i] for i in whole], crystals, n_samples, seeds)
            for name, values in drawn.items():
                self._known[name] = np.full((len(rows), n_samples), np.nan)
                self._known[name][whole] = values[:, 1:]
                for i in whole:
                    if (value := self._estimates[i].values.get(name)) is not None and _stands_alone(name, value):
                        self._known[name][i] = self._one(i, name)

    def quantity(self, name: str) -> Array:
        """Samples of a property, of `price` or of `supply_risk`."""
        if name not in self._known:
            self._known[name] = np.stack([self._one(i, name) for i in range(len(self._rows))])
        return self._known[name]

    def _one(self, i: int, name: str) -> Array:
        numbers = self._rows[i].crystal.numbers
        if name == "price":
            return np.full(self._n, element_data.price_per_kg(numbers))
        if name == "supply_risk":
            return np.full(self._n, element_data.supply_risk(numbers))
        value = self._estimates[i].values.get(name)
        if value is None:
            return np.full(self._n, np.nan)
        normal = _normal(self._seeds[i], name, self._n)
        if PROPERTIES[name].log and value.mean > 0:
            return np.asarray(value.mean * np.exp(log_spread(value) * normal))
        return np.asarray(value.mean + value.std * normal)

    def desirability(self, wish: Target | Index | float) -> Array:
        """(n_rows, n_samples) desirability of one wish; 0 where the quantity is unknown."""
        with np.errstate(all="ignore"):
            if isinstance(wish, Index):
                exponent = sum(p * np.log(self.quantity(q)) for q, p in wish.powers.items())
                ramp = _ramp(np.asarray(exponent), math.log(wish.worst), math.log(wish.best))
            elif isinstance(wish, Target):
                ramp = _extreme(wish, self.quantity(wish.name)) if wish.goal else self._soft_bound(wish)
            else:
                ramp = self._stability(wish)
        return np.nan_to_num(ramp, nan=0.0)

    def _soft_bound(self, target: Target) -> Array:
        x = self.quantity(target.name)
        shortfall = np.zeros_like(x)
        log = get_property(target.name).log
        for bound, sign in ((target.low, 1.0), (target.high, -1.0)):
            if bound is not None:
                gap = np.log(bound / x) if log else (bound - x) / max(abs(bound), 0.1)
                shortfall = np.maximum(shortfall, sign * gap)
        return np.asarray(np.exp(-shortfall / TOLERANCE))

    def _stability(self, limit: float) -> Array:
        """1 on the hull or below it, 1/2 at the limit, 0 at twice the limit; 1/2 where there is no hull."""
        values = self.quantity("energy_above_hull")
        ramp = _ramp(values, 2.0 * max(limit, 0.005), 0.0)
        return np.where(np.isfinite(values), ramp, 0.5)


def _stands_alone(name: str, value: Value) -> bool:
    """Whether a value has errors of its own: measured, or a hardness that is no formula in the moduli."""
    return value.source == MEASURED or (name == "vickers_hardness" and value.source.startswith("surrogate"))


@lru_cache(maxsize=4096)
def _normal(seed: int, name: str, n: int) -> Array:
    """Standard normal deviates in antithetic pairs."""
    half = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(n // 2)
    return np.concatenate([half, -half])


def _ramp(x: Array, worst: float, best: float) -> Array:
    return np.clip((x - worst) / (best - worst), 0.0, 1.0)


def _extreme(target: Target, x: Array) -> Array:
    prop = get_property(target.name)
    low, high = EXTREMES.get(target.name, (prop.low, prop.high))
    if prop.log:
        x, low, high = np.log(x), math.log(low), math.log(high)
    return _ramp(x, low, high) if target.goal == "max" else _ramp(x, high, low)


def _geometric_mean(table: Array, weights: Array) -> Array:
    """Weighted geometric mean over the last axis."""
    total = weights.sum()
    return np.asarray(np.exp(np.log(np.maximum(table, FLOOR)) @ weights / (total if total > 0 else 1.0)))


def _rank_intervals(
    rows: Sequence[Evaluation], objectives: Sequence[_Objective], weights: Array
) -> tuple[Array, Array]:
    """5 % and 95 % quantiles of each row's rank among `rows` when all errors are drawn independently."""
    if not rows:
        return np.zeros(0), np.zeros(0)
    sampled = _Samples(rows, independent=True)
    table = np.stack([sampled.desirability(o.wish) for o in objectives], axis=2)
    scores = _geometric_mean(table, weights)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(rows) + 1)[:, None], axis=0)
    low, high = np.quantile(ranks, [0.05, 0.95], axis=1, method="inverted_cdf")
    return low, high


def _diverse(rows: Sequence[Evaluation], scores: Array, n: int, diversity: Diversity) -> list[int]:
    """Greedy choice of up to `n` rows: the best score after a penalty for likeness to those already chosen.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), under caps per system, formula and
    prototype that are doubled only when no row is left below them.
    """
    kinds = [_kinds(row) for row in rows]
    codes = [np.unique([kind[c] for kind in kinds], return_inverse=True)[1].reshape(-1) for c in range(3)]
    likeness, free = np.zeros(len(rows)), np.ones(len(rows), dtype=np.bool_)
    shared = [max(2, math.ceil(share * n)) for share in (diversity.per_system, diversity.per_prototype)]
    caps = np.array([shared[0], diversity.per_formula, shared[1]])
    tally = np.zeros((3, len(rows)), dtype=np.int64)
    chosen: list[int] = []
    while len(chosen) < min(n, len(rows)):
        open_ = free & (tally < caps[:, None]).all(axis=0)
        if not open_.any():
            caps *= 2
            continue
        value = np.where(open_, scores * (1.0 - diversity.penalty * likeness), -np.inf)
        best = int(np.argmax(value))
        chosen.append(best)
        free[best] = False
        same = [code == code[best] for code in codes]
        tally += np.stack(same)
        likeness = np.maximum(likeness, _likeness(*same))
    return chosen


def _likeness(system: NDArray[np.bool_], formula: NDArray[np.bool_], prototype: NDArray[np.bool_]) -> Array:
    """1 for the same formula and prototype, down to 0.3 for the same prototype only and 0 for nothing shared."""
    grade = np.where(prototype, 0.3, 0.0)
    grade = np.where(system, 0.5, grade)
    grade = np.where(formula | (system & prototype), 0.8, grade)
    return np.where(formula & prototype, 1.0, grade)


def _kinds(row: Evaluation) -> tuple[str, str, str]:
    """Chemical system, formula, and prototype: group and Wyckoff positions, or without a gene the atom counts."""
    crystal = row.crystal
    gene = crystal.gene or row.candidate.crystal.gene
    if gene is not None:
        prototype = f"{gene.space_group}:{sorted(gene.wyckoffs)}"
    else:
        prototype = str(sorted(integer_composition(crystal.numbers).values()))
    return chemical_system(crystal.numbers), reduced_formula(crystal.numbers), prototype


def _reason(
    row: Evaluation,
    query: Query,
    component: Component,
    objectives: Sequence[_Objective],
    desirabilities: Array,
    on_front: bool,
) -> str:
    """One sentence: targets, strengths and weaknesses, stability, what was undecided, supply and hazards."""
    parts = [_of_target(row, target) for target in (*query.targets, *component.constraints)]
    parts += _of_indices(objectives, desirabilities)
    parts += _of_hull(row.energy_above_hull)
    for verdict in row.verdicts.values():
        if verdict.status is Status.UNKNOWN:
            why = f" ({verdict.reason})" if verdict.reason else ""
            parts.append(f"{verdict.name.replace('_', ' ')} not decidable{why}")
        elif verdict.status is Status.PASS and verdict.reason:
            parts.append(f"warning: {verdict.reason}")
    if row.estimate is not None and row.estimate.out_of_distribution:
        why = row.estimate.ood_reason or "unlike its training crystals"
        parts.append(f"out of distribution for the property model ({why})")
    risks = element_data.supply_risks(row.crystal.numbers)
    if risks:
        parts.append(f"{' and '.join(risks)} {'is a supply risk' if len(risks) == 1 else 'are supply risks'}")
    parts += element_data.hazards(row.crystal.numbers, cautions=True)
    if on_front:
        parts.append("on the Pareto front")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:] + "."


def _of_target(row: Evaluation, target: Target) -> str:
    prop = get_property(target.name)
    estimate = with_hull(row)
    value = None if estimate is None else estimate.values.get(target.name)
    unit = f" {prop.unit}" if prop.unit else ""
    if value is None:
        return f"{prop.symbol} is not known"
    if target.goal:
        return f"{prop.symbol} {_with_error(value)}{unit}"
    chance = target_probability([target], estimate)
    verb = "meets" if chance >= 0.5 else "may meet" if chance >= 0.05 else "hardly meets"
    return (
        f"{verb} {prop.symbol} {_bound(target)}{unit} ({_with_error(value)}) with {_percent(chance)} probability"
    )


def _percent(chance: float) -> str:
    if 0.01 <= chance <= 0.99:
        return f"{chance:.0%}".replace("%", " %")
    return "more than 99 %" if chance > 0.5 else "less than 1 %"


def _bound(target: Target) -> str:
    if target.high is None:
        return f">= {target.low:g}"
    if target.low is None:
        return f"<= {target.high:g}"
    return f"from {target.low:g} to {target.high:g}"


def _with_error(value: Value) -> str:
    digits = max(0, 1 - math.floor(math.log10(value.std))) if value.std > 0 else 2
    return f"{value.mean:.{digits}f} ± {value.std:.{digits}f}"


def _of_indices(objectives: Sequence[_Objective], desirabilities: Array) -> list[str]:
    graded = [
        (float(d), o.name) for o, d in zip(objectives, desirabilities, strict=True) if isinstance(o.wish, Index)
    ]
    if not graded:
        return []
    best, worst = max(graded), min(graded)
    parts = [f"best in {best[1]} ({best[0]:.2f} of 1)"]
    if worst[1] != best[1]:
        parts.append(f"weakest in {worst[1]} ({worst[0]:.2f})")
    return parts


def _of_hull(value: Value | None) -> list[str]:
    if value is None:
        return ["energy above hull is not known"]
    if abs(value.mean) < 5e-4:
        return [f"on the hull of the known phases (± {value.std:.3f} eV/atom)"]
    where = "above" if value.mean > 0 else "below"
    return [f"{abs(value.mean):.3f} ± {value.std:.3f} eV/atom {where} the hull of the known phases"]
