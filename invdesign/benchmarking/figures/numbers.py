"""Numbers that every record holds: quantiles, medians, and how a figure is written in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray


def quantiles(values: Sequence[float]) -> list[float]:
    """The least value, 49 between that part the values in fiftieths, and the largest; nothing of nothing."""
    return [float(q) for q in np.quantile(values, np.linspace(0.0, 1.0, 51))] if values else []


def median(values: Sequence[float] | FloatArray) -> float:
    """The median; NaN of nothing."""
    return float(np.median(values)) if len(values) else float("nan")


def cell(value: Any) -> str:
    """A figure in a table: a rate in percent with its interval, a number, or nothing."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        if not value["of"]:
            return ""
        share, low, high = (100 * value[key] for key in ("value", "low", "high"))
        digits = 0 if high >= 10.0 else 1 if high >= 1.0 else 2
        return f"{share:.{max(1, digits)}f} ({low:.{digits}f}–{high:.{digits}f})"
    return f"{value:d}" if isinstance(value, int) else f"{value:.3g}"
