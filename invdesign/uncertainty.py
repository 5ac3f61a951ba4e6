"""What a value with an uncertainty means: spreads in its unit and in log10, 90 % intervals, probabilities.

A `Value` is normal in its unit, or, where its property is modelled in log10 (`Property.log`, passed as `log`
here), log-normal: its mean
is then the median m, and its standard deviation half the distance between the quantiles one sigma below and above
it, m sinh(s) with s the standard deviation of the natural logarithm. Where a value brings a calibrated 90 %
interval, the interval decides on its spread in log10. Spreads are in log10 everywhere; times `LN10` they are in
natural logarithms.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign.records import Value

Z90 = 1.6448536269514722
"""The 95 % quantile of the standard normal distribution: half the width of its central 90 % interval."""
LN10 = math.log(10.0)
_SMALLEST = 1e-12


def plain_std(value: Value) -> float:
    """Standard deviation in the value's unit; 0 where it is not known."""
    return value.std if math.isfinite(value.std) else 0.0


def log10_std(value: Value) -> float:
    """Standard deviation of log10 of a positive value.

    From the 90 % interval where there is one, otherwise from the standard deviation.
    """
    if value.low is not None and value.high is not None and 0.0 < value.low < value.high:
        return math.log10(value.high / value.low) / (2.0 * Z90)
    return std_to_log10(max(value.mean, _SMALLEST), max(plain_std(value), 0.0))


def modelled_std(value: Value, *, log: bool) -> float:
    """Standard deviation in the scale in which a property is modelled: of log10, or in its unit."""
    return log10_std(value) if log else plain_std(value)


@overload
def std_to_log10(median: float, std: float) -> float: ...
@overload
def std_to_log10(median: ArrayLike, std: ArrayLike) -> NDArray[np.float64]: ...
def std_to_log10(median: ArrayLike, std: ArrayLike) -> float | NDArray[np.float64]:
    """Standard deviation of log10 of log-normal quantities, from medians and standard deviations in their unit."""
    if isinstance(median, float) and isinstance(std, float):
        return math.asinh(std / median) / LN10
    return np.asarray(np.arcsinh(np.asarray(std) / np.asarray(median)) / LN10, dtype=np.float64)


@overload
def std_from_log10(median: float, log10_std: float) -> float: ...
@overload
def std_from_log10(median: ArrayLike, log10_std: ArrayLike) -> NDArray[np.float64]: ...
def std_from_log10(median: ArrayLike, log10_std: ArrayLike) -> float | NDArray[np.float64]:
    """The way back: standard deviations in the unit."""
    if isinstance(median, float) and isinstance(log10_std, float):
        return median * math.sinh(log10_std * LN10)
    return np.asarray(np.asarray(median) * np.sinh(np.asarray(log10_std) * LN10), dtype=np.float64)


def normal(mean: float, std: float, source: str = "") -> Value:
    """A normally distributed value with its 90 % interval."""
    return Value(mean, std, mean - Z90 * std, mean + Z90 * std, source)


def log_normal(median: float, log10_std: float, source: str = "") -> Value:
    """A log-normal value with its 90 % interval, from the standard deviation of its log10."""
    arm = 10.0 ** (Z90 * log10_std)
    return Value(median, std_from_log10(median, log10_std), median / arm, median * arm, source)


def modelled_value(centre: float, std: float, source: str = "", *, log: bool) -> Value:
    """A value of a property with its 90 % interval.

    Args:
        centre: mean, or median of a property that is modelled in log10, in the property's unit.
        std: in the scale in which the property is modelled, see `modelled_std`.
        source: what computed it.
        log: whether that scale is log10.
    """
    return (log_normal if log else normal)(centre, std, source)


def with_interval(value: Value, *, log: bool) -> Value:
    """The value with the 90 % interval that its standard deviation implies."""
    if not log or value.mean <= 0.0:
        arm = Z90 * plain_std(value)
        return replace(value, low=value.mean - arm, high=value.mean + arm)
    arm = 10.0 ** (Z90 * log10_std(replace(value, low=None, high=None)))
    return replace(value, low=value.mean / arm, high=value.mean * arm)


def probability_below(limit: float, value: Value | None) -> float:
    """Probability that a normally distributed value is at most `limit`; 0 where there is none."""
    if value is None or not math.isfinite(value.mean):
        return 0.0
    return _below(limit, value.mean, plain_std(value))


def probability_between(
    value: Value, low: float | None = None, high: float | None = None, *, log: bool = False
) -> float:
    """Probability that a quantity lies between two bounds, each of which may be missing.

    Args:
        value: what is known of it.
        low: smallest accepted value, in the value's unit.
        high: largest accepted value.
        log: whether it is log-normal; a value that is not positive never is.
    """
    if not math.isfinite(value.mean):
        return 0.0
    centre, spread = value.mean, plain_std(value)
    if log and value.mean > 0.0:
        centre, spread = math.log10(value.mean), log10_std(value)
        low, high = (None if b is None else math.log10(max(b, _SMALLEST)) for b in (low, high))
    upper = 1.0 if high is None else _below(high, centre, spread)
    lower = 0.0 if low is None else 1.0 - _below(-low, -centre, spread)
    return max(0.0, upper - lower)


def _below(limit: float, mean: float, std: float) -> float:
    if not std > 0.0:
        return 1.0 if mean <= limit else 0.0
    return 0.5 * math.erfc((mean - limit) / (std * math.sqrt(2.0)))


def central_level(error: ArrayLike, std: ArrayLike) -> NDArray[np.float64]:
    """Probability content of the central normal interval that just reaches an error; shapes as `error`."""
    from scipy.special import erf

    scaled = np.abs(np.asarray(error, dtype=np.float64)) / (np.asarray(std, dtype=np.float64) * math.sqrt(2.0))
    return np.asarray(erf(scaled), dtype=np.float64)
