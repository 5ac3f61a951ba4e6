"""Targets against estimates: the probability that bounds hold, and whether the central values meet them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from invdesign.records import Estimate, Evaluation, Value
from invdesign.target import Target
from invdesign.uncertainty import probability_between


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
    return probability_between(value, target.low, target.high, log=prop.log)


def meets_targets(row: Evaluation, targets: Iterable[Target]) -> bool:
    """Whether the means of the relaxed estimate satisfy every bound."""
    if row.estimate is None or row.estimate.failure:
        return False
    values = row.estimate.values
    return all(t.name in values and t.holds(values[t.name].mean) for t in targets)
