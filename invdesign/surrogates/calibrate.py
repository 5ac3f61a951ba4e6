"""Honest intervals: conformal factors by predicted value and by distance to the training data.

Split conformal prediction with a scale (Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)), in bins of the
predicted value and then of the distance to the training data (Mondrian: Vovk et al., Algorithmic Learning in a
Random World (2005)), on crystals of chemical systems that the model was not trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray

LEVEL = 0.90
NORMAL_68 = 0.6827
"""Share of a normal distribution within one standard deviation."""

LEAST_IN_BIN = 60


@dataclass(frozen=True, eq=False)
class Calibration:
    """Factors for one property.

    Attributes:
        value_edges: (b - 1,) inner edges of the bins of the predicted value, in the modelled scale.
        value_factor: (b,) half-width of the 90 % interval over the raw spread, by bin of predicted value.
        std_factor: (b,) standard deviation over the half-width of the 90 % interval, by bin of predicted value.
        distance_edges: (c - 1,) inner edges of the bins of the distance percentile.
        distance_factor: (c,) further factor by bin of distance.
    """

    value_edges: FloatArray
    value_factor: FloatArray
    std_factor: FloatArray
    distance_edges: FloatArray
    distance_factor: FloatArray

    def half_width(self, predicted: FloatArray, spread: FloatArray, outside: FloatArray) -> FloatArray:
        """(n,) half-widths of the 90 % intervals, in the modelled scale."""
        by_value = self.value_factor[np.digitize(predicted, self.value_edges)]
        by_distance = self.distance_factor[np.digitize(outside, self.distance_edges)]
        half: FloatArray = spread * by_value * by_distance
        return half

    def std(self, predicted: FloatArray, half: FloatArray) -> FloatArray:
        """(n,) standard deviations that go with the half-widths: 68.3 % of errors are smaller."""
        deviation: FloatArray = half * self.std_factor[np.digitize(predicted, self.value_edges)]
        return deviation


def fit_calibration(
    predicted: FloatArray, spread: FloatArray, outside: FloatArray, truth: FloatArray, bins: int = 5
) -> Calibration:
    """Fit on crystals that the model has not seen; rows without a label (NaN) are ignored."""
    known = np.isfinite(truth)
    predicted, spread, outside = predicted[known], spread[known], outside[known]
    score = np.abs(truth[known] - predicted) / spread
    bins = max(1, min(bins, len(score) // LEAST_IN_BIN))
    value_edges = np.unique(np.quantile(predicted, np.arange(1, bins) / bins))
    value_factor = _by_bin(score, np.digitize(predicted, value_edges), len(value_edges) + 1)
    score = score / value_factor[np.digitize(predicted, value_edges)]
    distance_edges = np.array([0.5, 0.8, 0.95]) if len(score) >= 20 * LEAST_IN_BIN else np.array([0.8])
    distance_factor = _by_bin(score, np.digitize(outside, distance_edges), len(distance_edges) + 1)
    score = score / distance_factor[np.digitize(outside, distance_edges)]
    std_factor = _by_bin(score, np.digitize(predicted, value_edges), len(value_edges) + 1, NORMAL_68)
    return Calibration(value_edges, value_factor, std_factor, distance_edges, distance_factor)


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


def coverage(low: FloatArray, high: FloatArray, truth: FloatArray) -> float:
    """Share of known truths inside their intervals."""
    known = np.isfinite(truth)
    return float(np.mean((truth[known] >= low[known]) & (truth[known] <= high[known])))


def miscalibration_area(mean: FloatArray, std: FloatArray, truth: FloatArray) -> float:
    """Area between observed and expected coverage of central normal intervals (Kuleshov et al., ICML 2018)."""
    from scipy.special import erf

    known = np.isfinite(truth)
    inside = erf(np.abs(truth[known] - mean[known]) / (std[known] * np.sqrt(2.0)))
    levels = np.linspace(0.01, 0.99, 99)
    observed = np.array([np.mean(inside <= level) for level in levels])
    return float(np.mean(np.abs(observed - levels)))
