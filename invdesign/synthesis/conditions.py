"""At what temperature, how long, by which method and in which gas: from the published recipes nearest to a
target.

The firing temperature is the weighted median of the recipes near the target that state one, with the weights
exp(-(d / d_K)²) of the distance d that the precursors use, too, and the distance d_K of the K-th nearest;
another method, or oxygen in one target alone, counts as a further distance of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray
from invdesign.synthesis.formulas import Amounts
from invdesign.synthesis.published import Recipes

NEAREST = 15
"""K."""
READ = 3 * NEAREST
"""Recipes that have a weight."""
QUARTILES = (0.25, 0.75)


@dataclass(frozen=True)
class Conditions:
    """What the recipes near a target state.

    Attributes:
        temperature: firing temperature, °C; NaN where none is stated.
        low: lower quartile of the temperatures of those recipes, °C.
        high: upper quartile.
        hours: median duration of the firing; NaN where none is stated.
        atmospheres: gas to its share among those that state one, largest first.
    """

    temperature: float
    low: float
    high: float
    hours: float
    atmospheres: tuple[tuple[str, float], ...]


def conditions(recipes: Recipes, target: Amounts, method: str, distances: FloatArray) -> Conditions:
    """Conditions for a target.

    Args:
        recipes: published ones.
        target: amounts of its elements.
        method: `solid-state` or `sol-gel`.
        distances: (n,) of the target to each recipe.
    """
    apart = (recipes.methods != method).astype(float) + (recipes.oxides != ("O" in target))
    far = np.sqrt(distances**2 + apart)
    low, middle, high = quantiles(recipes.temperatures, far, (QUARTILES[0], 0.5, QUARTILES[1]))
    (hours,) = quantiles(recipes.hours, far, (0.5,))
    return Conditions(middle, low, high, hours, shares(recipes.atmospheres, far, skip=""))


def quantiles(values: FloatArray, distances: FloatArray, levels: Sequence[float]) -> list[float]:
    """Weighted quantiles of the values of the nearest recipes that have one; NaN if none has.

    Args:
        values: (n,) with NaN where not stated.
        distances: (n,).
        levels: between 0 and 1.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return [float("nan")] * len(levels)
    rows, weight = nearest(known, distances)
    order = np.argsort(values[rows], kind="stable")
    cumulated = np.cumsum(weight[order]) / weight.sum()
    places = np.minimum(np.searchsorted(cumulated, np.array(levels) - 1e-12), len(rows) - 1)
    return [float(values[rows][order][place]) for place in places]


def shares(
    labels: NDArray[np.str_], distances: FloatArray, skip: str | None = None
) -> tuple[tuple[str, float], ...]:
    """Weighted shares of the labels of the nearest recipes, largest first.

    Args:
        labels: (n,).
        distances: (n,).
        skip: a label that says nothing.
    """
    known = np.flatnonzero(labels != skip) if skip is not None else np.arange(len(labels))
    if not len(known):
        return ()
    rows, weight = nearest(known, distances)
    found: dict[str, float] = {}
    for label, w in zip(labels[rows], weight / weight.sum(), strict=True):
        found[str(label)] = found.get(str(label), 0.0) + float(w)
    return tuple(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def nearest(among: NDArray[np.int64], distances: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """The nearest of some recipes, all of those at the same distance, and their weights."""
    near = np.sort(distances[among])
    order = among[distances[among] <= near[min(READ, len(near)) - 1]]
    width = max(float(near[min(NEAREST, len(near)) - 1]), 1e-6)
    return order, np.exp(-((distances[order] / width) ** 2))
