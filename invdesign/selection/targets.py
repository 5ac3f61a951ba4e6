"""Targets against estimates: the probability that bounds hold, and whether the central values meet them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from invdesign.records import Estimate, Evaluation, Value
from invdesign.target import Target, probability_between

_Z90 = 1.6448536269514722


def target_probability(targets: Iterable[Target], estimate: Estimate | None) -> float:
    """Probability that all targets hold, the properties taken as independent; 0 where one has no estimate.

    Log properties are judged as normal in log10. A target `name=max` or `name=min` contributes the place of
    the mean between the bounds of the property, so that it orders rows without ever excluding one.
    """
    if estimate is None or estimate.failure:
        return 0.0
    product = 1.0
    for target in targets:
        value = estimate.values.get(target.name)
        product *= 0.0 if value is None else _one_target(target, value)
    return product


def _one_target(target: Target, value: Value) -> float:
    prop = target.prop
    if not math.isfinite(value.mean):
        return 0.0
    if target.goal:
        place = min(1.0, max(0.0, (value.mean - prop.low) / (prop.high - prop.low)))
        return place if target.goal == "max" else 1.0 - place
    if not prop.log or value.mean <= 0.0:
        return target.probability(value.mean, _spread(value))
    low, high = (None if b is None else math.log10(max(b, 1e-12)) for b in (target.low, target.high))
    return probability_between(low, high, math.log10(value.mean), log_spread(value))


def log_spread(value: Value) -> float:
    """Standard deviation of log10 of a positive quantity: from its 90 % interval if it has one."""
    if value.low is not None and value.high is not None and 0.0 < value.low < value.high:
        return (math.log10(value.high) - math.log10(value.low)) / (2.0 * _Z90)
    return _spread(value) / max(value.mean, 1e-12) / math.log(10.0)


def _spread(value: Value) -> float:
    return value.std if math.isfinite(value.std) else 0.0


def below(limit: float, value: Value | None) -> float:
    """Probability that a normally distributed value is at most `limit`; 0 where there is none."""
    if value is None or not math.isfinite(value.mean):
        return 0.0
    return probability_between(None, limit, value.mean, _spread(value))


def meets_targets(row: Evaluation, targets: Iterable[Target]) -> bool:
    """Whether the means of the relaxed estimate satisfy every bound."""
    if row.estimate is None or row.estimate.failure:
        return False
    values = row.estimate.values
    return all(t.name in values and t.holds(values[t.name].mean) for t in targets)
