"""Honest intervals: conformal factors by predicted value and by distance to the training data.

Split conformal prediction with a scale (Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)), in bins of the distance
to the training data and then of the predicted value (Mondrian: Vovk et al., Algorithmic Learning in a Random World
(2005)), on crystals of chemical systems that the model was not trained on. The two ends are calibrated apart: the
stiffest and the softest crystals are predicted too near the middle, so errors lean. Band gaps and energies above
hull, many of which are exactly zero, have a probability of zero beside (`PointMass`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray
from invdesign.uncertainty import central_level

LEVEL = 0.90
LEAST_IN_BIN = 60
UNSEEN: dict[str, float] = {
    "bulk_modulus": 1.5,
    "shear_modulus": 1.25,
    "band_gap": 1.25,
    "formation_energy": 3.0,
    "energy_above_hull": 1.05,
}
"""How much wider spreads are for a crystal with an element that training hardly had: what three in four elements
needed that were left out one at a time (`benchmarks/surrogate_shift.py`)."""

MOST_WIDENED = 6.0
"""Largest factor for new structure types or compositions."""
GRID = np.linspace(0.0, 1.0, 41)
"""Levels at which the distribution of the non-zero values is kept."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Factors for one property.

    Attributes:
        value_edges: (b - 1,) inner edges of the bins of the predicted value, in the modelled scale.
        low_factor: (b,) distance of the lower end of the 90 % interval over the raw spread, by bin of value.
        high_factor: (b,) that of the upper end.
        std_factor: (b,) standard deviation over the raw spread, by bin of value.
        distance_edges: (c - 1,) inner edges of the bins of the distance percentile.
        distance_factor: (c,) further factor by bin of distance, never smaller farther away.
    """

    value_edges: FloatArray
    low_factor: FloatArray
    high_factor: FloatArray
    std_factor: FloatArray
    distance_edges: FloatArray
    distance_factor: FloatArray

    def widened(self, spread: FloatArray, distance: FloatArray) -> FloatArray:
        """(n,) raw spreads, wider far from the training data."""
        wide: FloatArray = spread * self.distance_factor[np.digitize(distance, self.distance_edges)]
        return wide

    def interval(
        self, predicted: FloatArray, spread: FloatArray, distance: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(n,) ends of the 90 % intervals, in the modelled scale; they hold the predicted value."""
        wide, which = self.widened(spread, distance), np.digitize(predicted, self.value_edges)
        return predicted - wide * self.low_factor[which], predicted + wide * self.high_factor[which]

    def std(self, predicted: FloatArray, spread: FloatArray, distance: FloatArray) -> FloatArray:
        """(n,) standard deviations of the normal distributions that fit the errors best, in the modelled scale."""
        wide = self.widened(spread, distance)
        deviation: FloatArray = wide * self.std_factor[np.digitize(predicted, self.value_edges)]
        return deviation


def fit_calibration(
    predicted: FloatArray,
    spread: FloatArray,
    distance: FloatArray,
    truth: FloatArray,
    bins: int = 5,
    level: float = LEVEL,
) -> Calibration:
    """Fit on crystals that the model has not seen; rows without a label (NaN) are ignored."""
    known = np.isfinite(truth)
    predicted, spread, distance = predicted[known], spread[known], distance[known]
    score = (truth[known] - predicted) / spread
    bins = max(1, min(bins, len(score) // LEAST_IN_BIN))
    value_edges = np.unique(np.quantile(predicted, np.arange(1, bins) / bins))
    which = np.digitize(predicted, value_edges)
    distance_edges = np.array([0.5, 0.8, 0.95]) if len(score) >= 20 * LEAST_IN_BIN else np.array([0.8])
    farness = np.digitize(distance, distance_edges)
    size = np.abs(score) / _by_bin(np.abs(score), which, len(value_edges) + 1, level)[which]
    distance_factor = np.maximum.accumulate(_by_bin(size, farness, len(distance_edges) + 1, level))
    score = score / distance_factor[farness]
    low, high = (_by_bin(side, which, len(value_edges) + 1, 0.5 + 0.5 * level) for side in (-score, score))
    std = np.array([best_std(score[which == b] if (which == b).any() else score) for b in range(len(low))])
    return Calibration(
        value_edges, np.maximum(low, 0.0), np.maximum(high, 0.0), std, distance_edges, distance_factor
    )


def best_std(scores: FloatArray) -> float:
    """The standard deviation of the normal distribution about zero with the least miscalibration area."""
    tried = max(float(np.median(np.abs(scores))), 1e-6) * np.linspace(0.3, 3.0, 109)
    zeros = np.zeros_like(scores)
    return float(tried[np.argmin([miscalibration_area(zeros, np.full_like(scores, t), scores) for t in tried])])


def widening(scores: FloatArray, new: NDArray[np.bool_], level: float = LEVEL) -> FloatArray:
    """(p,) how much wider spreads must be for one kind of crystals than for the others, at least 1.

    The ratio of the conformal quantiles of both kinds; 1 where there are too few of either.

    Args:
        scores: (n, p) absolute errors over spreads of crystals that the model has not seen, NaN where unknown.
        new: (n,) whether a crystal is of that kind, such as of a structure type that training did not have.
        level: of the quantiles.
    """
    factors = np.ones(scores.shape[1])
    for j, column in enumerate(scores.T):
        kinds = [column[np.isfinite(column) & kind] for kind in (new, ~new)]
        if min(map(len, kinds)) >= LEAST_IN_BIN:
            of_new, of_seen = (conformal_quantile(kind, level) for kind in kinds)
            factors[j] = np.clip(of_new / of_seen, 1.0, MOST_WIDENED)
    return factors


@dataclass(frozen=True, eq=False)
class PointMass:
    """How often a non-negative quantity is exactly zero, and what it is otherwise.

    Attributes:
        ratios: (k,) ascending: predicted value over raw spread.
        chances: (k,) probability of zero there, descending.
        least_zero: (1,) probability from which on intervals reach down to zero: nine in ten zeros have it.
        other: calibration on values that are not zero, where zero alone is not enough.
        edges: (b - 1,) bins of the predicted value of the distribution of values that are not zero.
        quantiles: (b, len(GRID)) quantiles of that distribution, in raw spreads from the predicted value.
    """

    ratios: FloatArray
    chances: FloatArray
    least_zero: FloatArray
    other: Calibration
    edges: FloatArray
    quantiles: FloatArray

    def zero_probability(self, predicted: FloatArray, spread: FloatArray) -> FloatArray:
        """(n,) probability that the quantity is zero."""
        return np.interp(predicted / spread, self.ratios, self.chances)

    def interval(
        self, predicted: FloatArray, spread: FloatArray, distance: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(n,) ends of intervals that hold nine in ten zeros and nine in ten other values.

        Zero alone where its probability is above nine in ten.
        """
        zero = self.zero_probability(predicted, spread)
        low, high = self.other.interval(predicted, spread, distance)
        low = np.where(zero >= self.least_zero, 0.0, np.maximum(low, 0.0))
        return low, np.where(zero <= LEVEL, np.maximum(high, low), low)

    def pit(
        self, predicted: FloatArray, spread: FloatArray, distance: FloatArray, truth: FloatArray
    ) -> FloatArray:
        """(n,) probability of values up to the true one, drawn evenly within the mass at zero.

        Uniform if the distribution is right (Czado et al., Biometrics 65, 1254 (2009)).
        """
        zero = self.zero_probability(predicted, spread)
        score = (truth - predicted) / self.other.widened(spread, distance)
        rank = np.empty_like(score)
        which = np.digitize(predicted, self.edges)
        for b, row in enumerate(self.quantiles):
            rank[which == b] = np.interp(score[which == b], row, GRID)
        drawn = np.random.default_rng(0).random(len(truth))
        return np.where(truth == 0.0, zero * drawn, zero + (1.0 - zero) * rank)


def fit_point_mass(
    predicted: FloatArray, spread: FloatArray, distance: FloatArray, truth: FloatArray
) -> PointMass | None:
    """Fit on crystals that the model has not seen; None if there are not enough zeros or not enough others."""
    known = np.isfinite(truth)
    predicted, spread, distance, truth = predicted[known], spread[known], distance[known], truth[known]
    zero = truth == 0.0
    if min(zero.sum(), (~zero).sum()) < 2 * LEAST_IN_BIN:
        return None
    ratios, chances = _falling(predicted / spread, zero.astype(np.float64))
    chance = np.interp(predicted / spread, ratios, chances)
    least_zero = -conformal_quantile(-chance[zero], LEVEL)
    told = ~zero & (chance <= LEVEL)
    columns = predicted[told], spread[told], distance[told], truth[told]

    def mass(level: float) -> PointMass:
        other, unknown = fit_calibration(*columns, level=level), np.zeros(0)
        return PointMass(ratios, chances, np.array([least_zero]), other, unknown, unknown)

    level = _least_level(lambda level: coverage(*mass(level).interval(predicted, spread, distance), truth, ~zero))
    other = mass(level).other
    rows = ~zero
    score = (truth - predicted)[rows] / other.widened(spread, distance)[rows]
    edges = np.unique(np.quantile(predicted[rows], [0.2, 0.4, 0.6, 0.8]))
    which = np.digitize(predicted[rows], edges)
    quantiles = np.stack([np.quantile(score[which == b], GRID) for b in range(len(edges) + 1)])
    return PointMass(ratios, chances, np.array([least_zero]), other, edges, quantiles)


def _least_level(covered: Callable[[float], float]) -> float:
    """The least level at which nine in ten are covered: ends at zero make intervals hold more than their level."""
    levels = np.linspace(0.75, 0.99, 49)
    return float(next((level for level in levels if covered(float(level)) >= LEVEL), levels[-1]))


def _falling(ratio: FloatArray, zero: FloatArray, bins: int = 40) -> tuple[FloatArray, FloatArray]:
    """Means of bins of equal size, made to fall (pooling adjacent violators: Barlow et al. (1972))."""
    order = np.argsort(ratio, kind="stable")
    blocks: list[list[float]] = []
    for rows in np.array_split(order, bins):
        blocks.append([float(zero[rows].sum()), float(len(rows)), float(ratio[rows].sum())])
        while len(blocks) > 1 and blocks[-1][0] * blocks[-2][1] >= blocks[-2][0] * blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    table = np.array(blocks)
    return table[:, 2] / table[:, 1], table[:, 0] / table[:, 1]


def conformal_quantile(scores: FloatArray, level: float = LEVEL) -> float:
    """The smallest score that covers `level` of exchangeable new scores: rank ceil((n + 1) level)."""
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _by_bin(score: FloatArray, which: NDArray[np.int64], count: int, level: float = LEVEL) -> FloatArray:
    """Conformal quantile in every bin; the overall one where a bin has too few."""
    overall = conformal_quantile(score, level)
    return np.array(
        [
            conformal_quantile(score[which == b], level)
            if np.count_nonzero(which == b) >= LEAST_IN_BIN
            else overall
            for b in range(count)
        ]
    )


def coverage(low: FloatArray, high: FloatArray, truth: FloatArray, rows: NDArray[np.bool_] | None = None) -> float:
    """Share of known truths inside their intervals, among some rows or all."""
    known = np.isfinite(truth) if rows is None else np.isfinite(truth) & rows
    return float(np.mean((truth[known] >= low[known]) & (truth[known] <= high[known])))


def miscalibration_area(mean: FloatArray, std: FloatArray, truth: FloatArray) -> float:
    """Area between observed and expected coverage of central normal intervals (Kuleshov et al., ICML 2018)."""
    known = np.isfinite(truth)
    inside = central_level(truth[known] - mean[known], std[known])
    levels = np.linspace(0.01, 0.99, 99)
    observed = np.array([np.mean(inside <= level) for level in levels])
    return float(np.mean(np.abs(observed - levels)))


def pit_area(pit: FloatArray) -> float:
    """The same area from probabilities of the truths: central sets about the median hold what they should."""
    inside = np.abs(2.0 * pit[np.isfinite(pit)] - 1.0)
    levels = np.linspace(0.01, 0.99, 99)
    observed = np.array([np.mean(inside <= level) for level in levels])
    return float(np.mean(np.abs(observed - levels)))
