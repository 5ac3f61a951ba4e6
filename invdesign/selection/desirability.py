"""Desirabilities: how well each row of a list serves each wish, from 0 to 1, with uncertain properties.

Every wish becomes a desirability from 0 to 1 (Derringer and Suich, J. Qual. Technol. 12, 214 (1980)): the
probability that a bound holds; for an extreme or a material index the mean of a ramp over samples of the
uncertain property.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry import element_data
from invdesign.mechanics.derive import draw, has_moduli, log_spread
from invdesign.properties import PROPERTIES, Property
from invdesign.query import Query, Target
from invdesign.records import MEASURED, Estimate, Evaluation, Value
from invdesign.selection.components import Component, Index
from invdesign.selection.targets import target_probability

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
    "price": (0.5, 50_000.0),
    "band_gap": (0.0, 10.0),
    "formation_energy": (-4.0, 0.5),
    "energy_above_hull": (0.0, 0.3),
}
"""From where to where known crystals reach: the ramp of a target `name=max` or, downhill, `name=min`."""


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


def desirabilities(rows: Sequence[Evaluation], objectives: Sequence[Objective], chunk: int = 1000) -> Array:
    """(n_rows, n_objectives) desirabilities in [0, 1]."""
    table = np.zeros((len(rows), len(objectives)))
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        sampled = Samples(part)
        for j, objective in enumerate(objectives):
            table[start : start + chunk, j] = _column(part, objective.wish, sampled)
    return table


def _column(rows: Sequence[Evaluation], wish: Target | Index | float, sampled: Samples) -> Array:
    if isinstance(wish, Target) and not wish.goal:
        return np.array([target_probability([wish], with_hull(row)) for row in rows])
    return np.asarray(sampled.desirability(wish).mean(axis=1))


def with_hull(row: Evaluation) -> Estimate | None:
    """The estimate, its energy above hull replaced by the relaxed one where there is one."""
    if row.estimate is None or row.energy_above_hull is None:
        return row.estimate
    return replace(row.estimate, values={**row.estimate.values, "energy_above_hull": row.energy_above_hull})


class Samples:
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
                        self._known[name][i] = self._one(i, name, PROPERTIES[name].log)

    def quantity(self, name: str, custom: Property | None = None) -> Array:
        """Samples of a property (`custom`, if it is not a shipped one), of `price` or of `supply_risk`."""
        if name not in self._known:
            prop = custom or PROPERTIES.get(name)
            log = prop is not None and prop.log
            self._known[name] = np.stack([self._one(i, name, log) for i in range(len(self._rows))])
        return self._known[name]

    def _one(self, i: int, name: str, log: bool) -> Array:
        numbers = self._rows[i].crystal.numbers
        if name == "price":
            return np.full(self._n, element_data.price_per_kg(numbers))
        if name == "supply_risk":
            return np.full(self._n, element_data.supply_risk(numbers))
        value = self._estimates[i].values.get(name)
        if value is None:
            return np.full(self._n, np.nan)
        normal = _normal(self._seeds[i], name, self._n)
        if log and value.mean > 0:
            return np.asarray(value.mean * np.exp(log_spread(value) * normal))
        return np.asarray(value.mean + value.std * normal)

    def desirability(self, wish: Target | Index | float) -> Array:
        """(n_rows, n_samples) desirability of one wish; 0 where the quantity is unknown."""
        with np.errstate(all="ignore"):
            if isinstance(wish, Index):
                exponent = sum(p * np.log(self.quantity(q)) for q, p in wish.powers.items())
                ramp = _ramp(np.asarray(exponent), math.log(wish.worst), math.log(wish.best))
            elif isinstance(wish, Target):
                ramp = _extreme(wish, self.quantity(wish.name, wish.prop)) if wish.goal else self._soft_bound(wish)
            else:
                ramp = self._stability(wish)
        return np.nan_to_num(ramp, nan=0.0)

    def _soft_bound(self, target: Target) -> Array:
        x = self.quantity(target.name, target.prop)
        shortfall = np.zeros_like(x)
        log = target.prop.log
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
    prop = target.prop
    low, high = EXTREMES.get(target.name, (prop.low, prop.high))
    if prop.log:
        x, low, high = np.log(x), math.log(low), math.log(high)
    return _ramp(x, low, high) if target.goal == "max" else _ramp(x, high, low)


def geometric_mean(table: Array, weights: Array) -> Array:
    """Weighted geometric mean over the last axis."""
    total = weights.sum()
    return np.asarray(np.exp(np.log(np.maximum(table, FLOOR)) @ weights / (total if total > 0 else 1.0)))


def rank_intervals(
    rows: Sequence[Evaluation], objectives: Sequence[Objective], weights: Array
) -> tuple[Array, Array]:
    """5 % and 95 % quantiles of each row's rank among `rows` when all errors are drawn independently."""
    if not rows:
        return np.zeros(0), np.zeros(0)
    sampled = Samples(rows, independent=True)
    table = np.stack([sampled.desirability(o.wish) for o in objectives], axis=2)
    scores = geometric_mean(table, weights)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(rows) + 1)[:, None], axis=0)
    low, high = np.quantile(ranks, [0.05, 0.95], axis=1, method="inverted_cdf")
    return low, high
