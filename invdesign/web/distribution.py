"""How a property is distributed among the known crystals: what stands behind the value of a target."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from invdesign.app.feasibility import known_values
from invdesign.errors import InputError
from invdesign.numbers import significant
from invdesign.properties import get_property

BINS = 48
ENDS = (0.002, 0.9995)
"""Quantiles between which the axis runs."""
WIDTH, HEIGHT = 480, 56
"""Size of the drawing."""


@lru_cache(maxsize=64)
def distribution(name: str) -> dict[str, Any]:
    """The distribution of a property among the known crystals.

    Args:
        name: of a shipped property.

    Returns:
        `low` and `high`, the ends of the axis in the property's unit; `log`, whether it is logarithmic; `path`,
        the outline of the histogram as an SVG path within `width` and `height`, empty where nothing is known;
        `words`, the same as a sentence; and `quantiles`, the values at every percent.

    Raises:
        InputError: if there is no such property.
        ReferenceMissingError: if a table cannot be read.
    """
    prop = get_property(name)
    values = known_values(name)
    values = values[values > 0.0] if prop.log else values
    if len(values) < BINS:
        return {"name": name, "path": "", "words": f"No values of known crystals: {prop.label}.", "quantiles": []}
    inside = np.clip(np.quantile(values, ENDS), prop.low, prop.high)
    scaled, ends = (np.log10(values), np.log10(inside)) if prop.log else (values, inside)
    if not ends[1] > ends[0]:
        raise InputError("property", name, "one whose values differ")
    counts, _ = np.histogram(scaled, bins=BINS, range=(ends[0], ends[1]))
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    unit = f" {prop.unit}" if prop.unit else ""
    return {
        "name": name,
        "low": float(f"{inside[0]:.4g}"),
        "high": float(f"{inside[1]:.4g}"),
        "log": prop.log,
        "path": _outline(counts / counts.max()),
        "width": WIDTH,
        "height": HEIGHT,
        "quantiles": [float(f"{q:.4g}") for q in np.quantile(values, np.linspace(0.0, 1.0, 101))],
        "words": (
            f"{prop.label[0].upper()}{prop.label[1:]} of {len(values):,} known crystals: half below "
            f"{significant(middle)}{unit}, nine in ten from {significant(low)} to {significant(high)}{unit}."
        ),
    }


def _outline(heights: np.ndarray[Any, Any]) -> str:
    """The steps of a histogram, heights from 0 to 1, as a closed SVG path."""
    step = WIDTH / len(heights)
    tops = [f"H{k * step:.1f}V{HEIGHT * (1.0 - h):.1f}H{(k + 1) * step:.1f}" for k, h in enumerate(heights)]
    return f"M0 {HEIGHT}{''.join(tops)}V{HEIGHT}Z"
