"""What a run learns about its screening surrogate: a Gaussian process of its errors, on its own embedding.

The error of each property, in units of the standard deviation that the surrogate gave, is taken as a process over
the crystals: a part that is smooth in the surrogate's embedding, one that is linear in the composition, and one
that all share (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5). The
shares of these parts maximise the marginal likelihood under a prior, over a grid. Where a crystal is near some
that were relaxed, means move and spreads shrink; elsewhere the surrogate's word stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from invdesign.answers import Answers
from invdesign.crystal import Crystal

Array = NDArray[np.float64]

LEAST = 8
"""Crystals with a known error below which nothing is learned of a property."""
MOST = 500
"""Latest crystals that are learned from at most: the cost grows with the third power."""
TUNED_ON = 300
"""Crystals on which the shares are chosen, at most."""
N_ELEMENTS = 119
SMOOTH, COMPOSITION, COMMON = (0.3, 0.7, 1.5), (0.3, 0.8), (0.2, 0.6)
"""Standard deviations of the three parts that are tried, in units of the surrogate's standard deviation."""
NOISE = (0.15, 0.3, 0.6)
"""The same of what is left."""
LENGTHS = (0.25, 0.5, 1.0)
"""Lengths of the smooth part that are tried, in units of the median distance of the crystals that are learned
from."""
Correct = Callable[[Answers, Sequence[Crystal]], Answers]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was found of crystals that the surrogate had judged before.

    Attributes:
        crystals: as they were judged.
        answers: what the surrogate said, uncorrected.
        found: by property (n,) what was found, in the units of `answers`; NaN where it is not known.
        errors: by property (n,) standard deviation of what was found.
    """

    crystals: Sequence[Crystal]
    answers: Answers
    found: Mapping[str, Array]
    errors: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class ErrorProcess:
    """The process of one property's error.

    Attributes:
        views: (m, d) embedding of the crystals learned from.
        shares: (m, `N_ELEMENTS`) atomic fractions of the same.
        parts: standard deviations of the smooth, the compositional and the common part.
        noise: (m,) of what is left, the error of what was found included.
        left: what is left of a new crystal.
        length: of the smooth part.
        weights: (m,) of the crystals in the mean.
        factor: (m, m) lower Cholesky factor of their covariance.
    """

    views: Array
    shares: Array
    parts: tuple[float, float, float]
    noise: Array
    left: float
    length: float
    weights: Array
    factor: Array

    def at(self, views: Array, shares: Array) -> tuple[Array, Array]:
        """Mean and standard deviation, (n,) each, of the error in units of the surrogate's spread."""
        from scipy.linalg import solve_triangular

        across = _kernel(views, shares, self.views, self.shares, self.parts, self.length)
        explained = (solve_triangular(self.factor, across.T, lower=True, check_finite=False) ** 2).sum(axis=0)
        prior = self.parts[0] ** 2 + self.parts[1] ** 2 * (shares**2).sum(axis=1) + self.parts[2] ** 2
        return across @ self.weights, np.sqrt(np.maximum(prior - explained, 0.0) + self.left**2)


def learn(evidence: Evidence) -> Correct | None:
    """A function that corrects the surrogate's answers about other crystals; None while too little is known."""
    shares = _shares(evidence.crystals)
    views = evidence.answers.views
    processes: dict[str, ErrorProcess] = {}
    for name, found in evidence.found.items():
        mean, std = evidence.answers.column(name)
        known = np.flatnonzero(np.isfinite(found) & np.isfinite(mean) & (std > 0.0))[-MOST:]
        if len(known) < LEAST:
            continue
        error = (found[known] - mean[known]) / std[known]
        extra = evidence.errors[name][known] / std[known]
        processes[name] = _fitted(views[known], shares[known], np.clip(error, -6.0, 6.0), extra)
    if not processes:
        return None

    def correct(answers: Answers, crystals: Sequence[Crystal]) -> Answers:
        here = _shares(crystals)
        mean, std = answers.mean.copy(), answers.std.copy()
        for name, process in processes.items():
            if name in answers.names and len(answers):
                j = answers.names.index(name)
                by, spread = process.at(answers.views, here)
                mean[:, j] += by * answers.std[:, j]
                std[:, j] = answers.std[:, j] * spread
        return replace(answers, mean=mean, std=std)

    return correct


def _fitted(views: Array, shares: Array, error: Array, extra: Array) -> ErrorProcess:
    """The process whose shares are the likeliest."""
    some = np.linspace(0, len(error) - 1, min(len(error), TUNED_ON)).astype(int)
    scale = _median_distance(views[some])
    squares = _squares(views[some], views[some])
    product = shares[some] @ shares[some].T
    best, choice = -np.inf, (SMOOTH[0], COMPOSITION[0], COMMON[0], NOISE[-1], LENGTHS[0])
    for length in LENGTHS:
        bell = np.exp(-0.5 * squares / (length * scale) ** 2)
        for smooth, composition, common, noise in itertools.product(SMOOTH, COMPOSITION, COMMON, NOISE):
            covariance = smooth**2 * bell + composition**2 * product + common**2
            covariance[np.diag_indices_from(covariance)] += noise**2 + extra[some] ** 2
            evidence = _log_evidence(covariance, error[some])
            if evidence > best:
                best, choice = evidence, (smooth, composition, common, noise, length)
    smooth, composition, common, noise, length = choice
    parts, reach = (smooth, composition, common), length * scale
    spread = np.sqrt(noise**2 + extra**2)
    covariance = _kernel(views, shares, views, shares, parts, reach)
    covariance[np.diag_indices_from(covariance)] += spread**2
    factor = np.linalg.cholesky(covariance)
    weights = np.linalg.solve(factor.T, np.linalg.solve(factor, error))
    return ErrorProcess(views, shares, parts, spread, noise, reach, weights, np.asarray(factor))


def _log_evidence(covariance: Array, error: Array) -> float:
    """Logarithm of the marginal likelihood, up to a constant."""
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return -np.inf
    white = np.linalg.solve(factor, error)
    return float(-0.5 * white @ white - np.log(np.diag(factor)).sum())


def _kernel(
    views: Array,
    shares: Array,
    others: Array,
    their_shares: Array,
    parts: tuple[float, float, float],
    length: float,
) -> Array:
    """(n, m) covariance of the errors of two sets of crystals, without noise."""
    smooth = parts[0] ** 2 * np.exp(-0.5 * _squares(views, others) / length**2)
    return np.asarray(smooth + parts[1] ** 2 * (shares @ their_shares.T) + parts[2] ** 2)


def _squares(a: Array, b: Array) -> Array:
    """(n, m) squared distances."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(np.maximum(squared, 0.0))


def _median_distance(views: Array) -> float:
    """Median distance of the crystals from each other; 1 where all are in one place."""
    distances = np.sqrt(_squares(views, views))[np.triu_indices(len(views), 1)]
    found = float(np.median(distances)) if len(distances) else 0.0
    return found if found > 0.0 else 1.0


def _shares(crystals: Sequence[Crystal]) -> Array:
    """(n, `N_ELEMENTS`) atomic fractions by atomic number."""
    out = np.zeros((len(crystals), N_ELEMENTS))
    for i, crystal in enumerate(crystals):
        counts = np.bincount(crystal.numbers, minlength=N_ELEMENTS)
        out[i] = counts / counts.sum()
    return out
