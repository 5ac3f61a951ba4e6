"""Desirabilities: how well each row of a list serves each wish, from 0 to 1, with uncertain properties.

Every wish becomes a desirability from 0 to 1 (Derringer and Suich, J. Qual. Technol. 12, 214 (1980)). For a
bound it is the probability that it holds, times a margin from 1/2 at the bound to 1 where the best known
crystals are, so that lists in which every bound holds are still told apart; for an extreme or a material index
the mean of a ramp over samples of the uncertain property. What cannot be told is worth 1/2 in an index and
nothing in a target.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Crystal
from invdesign.mechanics.derive import draw, has_moduli
from invdesign.mechanics.quantities import OF_ELEMENTS, quantities
from invdesign.properties import QUANTITIES, Property, get_property
from invdesign.query import Query, Target
from invdesign.records import MEASURED, Estimate, Evaluation, Value
from invdesign.selection.components import Component, Index
from invdesign.selection.targets import target_probability
from invdesign.uncertainty import log10_std

Array = NDArray[np.float64]

FLOOR = 1e-3
"""Smallest desirability in the geometric mean: one hopeless wish must not hide the order of the others."""
TOLERANCE = 0.1
"""Shortfall (in ln for log properties, otherwise relative to the bound) that costs a sampled bound a factor e."""
STABILITY = "stability"
"""Name of the wish for a small energy above hull."""

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
    "strength": (1.0, 5000.0),
    "thermal_conductivity": (0.1, 2000.0),
    "thermal_expansion": (0.5, 200.0),
    "heat_capacity": (100.0, 3000.0),
    "melting_point": (300.0, 4200.0),
    "max_service_temperature": (320.0, 2800.0),
    "debye_temperature": (80.0, 2200.0),
    "thermal_shock_resistance": (10.0, 3000.0),
    "thermal_shock_power": (10.0, 1e5),
    "price": (0.05, 1e5),
    "embodied_energy": (1.0, 1e5),
    "supply_risk": (1.0, 10.0),
    "hhi_production": (500.0, 1e4),
    "hhi_reserve": (500.0, 1e4),
    "scarcity": (1e-3, 4.6e5),
}
"""From where to where known crystals reach: the ramp of a target `name=max` or, downhill, `name=min`."""


UNKNOWN = 0.5
"""Desirability of an index whose quantity cannot be told: neither good news nor bad news."""


@dataclass(frozen=True)
class Subject:
    """What is judged: a crystal, or a material without a structure.

    Attributes:
        id: unique in its list.
        estimate: its properties; the energy above hull is the relaxed one where there is one.
        crystal: the structure; None for materials known by their properties alone.
        exists: whether it can be bought, so that the distance to the hull says nothing.
    """

    id: str
    estimate: Estimate
    crystal: Crystal | None = None
    exists: bool = False


def subject_of(row: Evaluation) -> Subject:
    """An evaluated crystal as a subject."""
    return Subject(row.candidate.id, with_hull(row) or Estimate({}), row.crystal)


@dataclass(frozen=True)
class Objective:
    """One column of the table: what is wanted, and how much it weighs."""

    name: str
    weight: float
    wish: Target | Index | float


def objectives_of(query: Query, component: Component) -> list[Objective]:
    """Targets, constraints, indices and the distance to the hull; equal wishes once."""
    wishes = [Objective(str(t), component.target_weight, t) for t in query.targets]
    wishes += [Objective(str(t), component.constraint_weight, t) for t in component.constraints]
    wishes += [Objective(index.name, index.weight, index) for index in component.indices]
    wishes.append(Objective(STABILITY, component.stability_weight, query.max_energy_above_hull))
    return list({wish.name: wish for wish in reversed(wishes)}.values())[::-1]


def desirabilities(subjects: Sequence[Subject], objectives: Sequence[Objective], chunk: int = 1000) -> Array:
    """(n_subjects, n_objectives) desirabilities in [0, 1]."""
    table = np.zeros((len(subjects), len(objectives)))
    for start in range(0, len(subjects), chunk):
        part = subjects[start : start + chunk]
        sampled = Samples(part)
        for j, objective in enumerate(objectives):
            table[start : start + chunk, j] = _column(part, objective.wish, sampled)
    return table


def _column(subjects: Sequence[Subject], wish: Target | Index | float, sampled: Samples) -> Array:
    if isinstance(wish, Target) and not wish.goal:
        chances = np.array([target_probability([wish], s.estimate) for s in subjects])
        means = (s.estimate.values.get(wish.name) for s in subjects)
        return chances * _margin(wish, np.array([0.0 if value is None else value.mean for value in means]))
    return np.asarray(sampled.desirability(wish).mean(axis=1))


def _margin(target: Target, x: Array) -> Array:
    """From 1/2 at a bound to 1 where the best known crystals are; 1 within a range with two bounds."""
    if target.low is not None and target.high is not None:
        return np.ones_like(x)
    lowest, highest = _reach(target)
    bound, best = (target.low, highest) if target.low is not None else (target.high, lowest)
    start = float(bound or 0.0)
    if target.prop.log and min(start, best) > 0:
        x, start, best = np.log(np.maximum(x, 1e-12)), math.log(start), math.log(best)
    return 0.5 + 0.5 * _ramp(x, start, best) if best != start else np.ones_like(x)


def with_hull(row: Evaluation) -> Estimate | None:
    """The estimate, its energy above hull replaced by the relaxed one where there is one."""
    if row.estimate is None or row.energy_above_hull is None:
        return row.estimate
    return replace(row.estimate, values={**row.estimate.values, "energy_above_hull": row.energy_above_hull})


class Samples:
    """Joint samples of every quantity of some subjects, each quantity (n_subjects, n_samples); NaN where unknown.

    Subjects share their random numbers, so that equal ones get equal desirabilities; `independent` draws the
    errors of each on their own, which is what a comparison of ranks needs.
    """

    def __init__(self, subjects: Sequence[Subject], independent: bool = False, n_samples: int = 256) -> None:
        self._subjects, self._n = subjects, n_samples
        self._seeds = [zlib.crc32(s.id.encode()) if independent else 0 for s in subjects]
        self._whole = [i for i, s in enumerate(subjects) if s.crystal is not None and has_moduli(s.estimate)]
        self._cells = [c for c in (subjects[i].crystal for i in self._whole) if c is not None]
        self._estimates = [subjects[i].estimate for i in self._whole]
        self._drawn_seeds = [self._seeds[i] for i in self._whole] if independent else [0]
        self._drawn: dict[str, Array] = {}
        self._known: dict[str, Array] = {}
        if self._whole:
            self._drawn = draw(self._estimates, self._cells, n_samples, self._drawn_seeds)
            for name, values in self._drawn.items():
                self._known[name] = self._spread(name, values)

    def quantity(self, name: str, custom: Property | None = None) -> Array:
        """Samples of a property or quantity; `custom` is the property itself where it is no shipped one."""
        if name not in self._known:
            if name in QUANTITIES and self._whole:
                found = quantities([name], self._drawn, self._estimates, self._cells, self._drawn_seeds)
                blank = np.full((len(self._whole), self._n + 1), np.nan)
                self._known[name] = self._spread(name, found.get(name, blank))
            else:
                log = (custom or get_property(name)).log
                self._known[name] = np.stack([self._one(i, name, log) for i in range(len(self._subjects))])
        return self._known[name]

    def _spread(self, name: str, drawn: Array) -> Array:
        """Samples of all subjects, drawn jointly where possible, alone where a value has its own errors."""
        out = np.full((len(self._subjects), self._n), np.nan)
        out[self._whole] = drawn[:, 1:]
        whole = set(self._whole)
        for i, subject in enumerate(self._subjects):
            value = subject.estimate.values.get(name)
            if i not in whole or (value is not None and _stands_alone(name, value)):
                out[i] = self._one(i, name, get_property(name).log)
        return out

    def _one(self, i: int, name: str, log: bool) -> Array:
        subject = self._subjects[i]
        value = subject.estimate.values.get(name)
        if value is None:
            numbers = None if subject.crystal is None else subject.crystal.numbers
            known = OF_ELEMENTS[name](numbers) if numbers is not None and name in OF_ELEMENTS else np.nan
            return np.full(self._n, known)
        normal = _normal(self._seeds[i], name, self._n)
        if log and value.mean > 0:
            return np.asarray(value.mean * 10.0 ** (log10_std(value) * normal))
        return np.asarray(value.mean + value.std * normal)

    def desirability(self, wish: Target | Index | float) -> Array:
        """(n_subjects, n_samples) desirability of one wish; unknown quantities: 1/2 in an index, else 0."""
        with np.errstate(all="ignore"):
            if isinstance(wish, Index):
                ramp = _ramp(np.log(self.index(wish)), math.log(wish.worst), math.log(wish.best))
                return np.nan_to_num(ramp, nan=UNKNOWN)
            if isinstance(wish, Target):
                ramp = _extreme(wish, self.quantity(wish.name, wish.prop)) if wish.goal else self._soft_bound(wish)
            else:
                ramp = self._stability(wish)
        return np.nan_to_num(ramp, nan=0.0)

    def index(self, index: Index) -> Array:
        """(n_subjects, n_samples) values of a material index, in the units of its quantities."""
        with np.errstate(all="ignore"):
            exponent = sum(p * np.log(self.quantity(q)) for q, p in index.powers.items())
            return np.asarray(np.exp(exponent))

    def _soft_bound(self, target: Target) -> Array:
        x = self.quantity(target.name, target.prop)
        shortfall = np.zeros_like(x)
        log = target.prop.log
        for bound, sign in ((target.low, 1.0), (target.high, -1.0)):
            if bound is not None:
                gap = np.log(bound / x) if log else (bound - x) / max(abs(bound), 0.1)
                shortfall = np.maximum(shortfall, sign * gap)
        return np.asarray(np.exp(-shortfall / TOLERANCE) * _margin(target, x))

    def _stability(self, limit: float) -> Array:
        """1 on or below the hull and for what exists, 1/2 at the limit, 0 at twice; 1/2 without a hull."""
        values = self.quantity("energy_above_hull")
        ramp = np.where(np.isfinite(values), _ramp(values, 2.0 * max(limit, 0.005), 0.0), UNKNOWN)
        return np.where([[s.exists] for s in self._subjects], 1.0, ramp)


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
    low, high = _reach(target)
    if target.prop.log:
        x, low, high = np.log(x), math.log(low), math.log(high)
    return _ramp(x, low, high) if target.goal == "max" else _ramp(x, high, low)


def _reach(target: Target) -> tuple[float, float]:
    return EXTREMES.get(target.name, (target.prop.low, target.prop.high))


def geometric_mean(table: Array, weights: Array) -> Array:
    """Weighted geometric mean over the last axis."""
    total = weights.sum()
    return np.asarray(np.exp(np.log(np.maximum(table, FLOOR)) @ weights / (total if total > 0 else 1.0)))


def rank_intervals(
    subjects: Sequence[Subject], objectives: Sequence[Objective], weights: Array
) -> tuple[Array, Array]:
    """5 % and 95 % quantiles of each one's rank when all errors are drawn independently."""
    if not subjects:
        return np.zeros(0), np.zeros(0)
    scores = geometric_mean(sampled_desirabilities(subjects, objectives), weights)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(subjects) + 1)[:, None], axis=0)
    low, high = np.quantile(ranks, [0.05, 0.95], axis=1, method="inverted_cdf")
    return low, high


def sampled_desirabilities(subjects: Sequence[Subject], objectives: Sequence[Objective]) -> Array:
    """(n_subjects, n_samples, n_objectives) desirabilities when all errors are drawn independently."""
    sampled = Samples(subjects, independent=True)
    return np.stack([sampled.desirability(o.wish) for o in objectives], axis=2)


def index_values(subjects: Sequence[Subject], indices: Sequence[Index]) -> list[dict[str, Value]]:
    """Of each subject the material indices that can be told: median, half the one-sigma width, 90 % interval."""
    out: list[dict[str, Value]] = [{} for _ in subjects]
    if not subjects:
        return out
    sampled = Samples(subjects)
    for index in indices:
        quantiles = np.quantile(sampled.index(index), [0.05, 0.15866, 0.5, 0.84134, 0.95], axis=1)
        for found, (low, minus, middle, plus, high) in zip(out, quantiles.T.tolist(), strict=True):
            if math.isfinite(middle):
                found[index.name] = Value(middle, 0.5 * (plus - minus), low, high, "index")
    return out
