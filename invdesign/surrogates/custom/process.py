"""A Gaussian process over blocks of columns, for some hundreds of labels.

Each block of columns has a squared exponential and a linear kernel of its own, with an amplitude each and a
length; the process is their sum, so that blocks which say nothing of a property are switched off by the data.
Amplitudes, lengths and noise maximise the marginal likelihood under a log-normal prior (Rasmussen and Williams,
Gaussian Processes for Machine Learning, 2006, chapter 5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray

CLIP = 6.0
"""Standardised columns are cut at this many standard deviations."""
TUNED_ON = 600
"""Rows that the parameters are tuned on at most; the process itself uses all."""
AMPLITUDE, LENGTH, SLOPE, NOISE = 0.5, 1.5, 0.3, 0.4
"""Medians of the prior, in units of the labels' standard deviation and of a block's usual distance."""
PRIOR = 1.5
"""Standard deviation of the prior of the logarithms."""
REACH = 4.0
"""How far a logarithm may go from the prior's median."""
JITTER = 1e-6


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process of one quantity.

    Attributes:
        blocks: (b,) number of columns in each block, in order.
        centre: (d,) mean of the columns.
        scale: (d,) their standard deviation; 0 for a column that never changes, which is left out.
        points: (n, d) the training columns, standardised.
        targets: (n,) the labels, standardised.
        label_scale: (2,) mean and standard deviation of the labels.
        logs: (3 b + 1,) logarithms of the blocks' amplitudes, lengths and slopes, and of the noise.
    """

    blocks: tuple[int, ...]
    centre: FloatArray
    scale: FloatArray
    points: FloatArray
    targets: FloatArray
    label_scale: FloatArray
    logs: FloatArray

    def predict(self, columns: FloatArray, chunk: int = 2000) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, noise included, (n,) each, of new labels at (n, d) columns."""
        parts = [self._predict(columns[s : s + chunk]) for s in range(0, len(columns), chunk)]
        mean, std = (np.concatenate(p) for p in zip(*parts, strict=True)) if parts else (np.zeros(0), np.zeros(0))
        return mean, std

    def _predict(self, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
        from scipy.linalg import solve_triangular

        at = standardised(columns, self.centre, self.scale)
        factor, weights = self._solved
        across = kernel(self.logs, _blocks(at, self.blocks), _blocks(self.points, self.blocks))
        explained = (solve_triangular(factor, across.T, lower=True) ** 2).sum(axis=0)
        prior = _variance(self.logs, _blocks(at, self.blocks))
        noise = math.exp(2.0 * self.logs[-1])
        mean, size = self.label_scale
        return mean + size * (across @ weights), size * np.sqrt(np.maximum(prior - explained, 0.0) + noise)

    @cached_property
    def _solved(self) -> tuple[FloatArray, FloatArray]:
        """(n, n) Cholesky factor of the labels' covariance, and (n,) weights of the training points."""
        from scipy.linalg import cho_solve

        blocks = _blocks(self.points, self.blocks)
        covariance = kernel(self.logs, blocks, blocks)
        covariance[np.diag_indices_from(covariance)] += math.exp(2.0 * self.logs[-1]) + JITTER
        factor = np.linalg.cholesky(covariance)
        weights = np.asarray(cho_solve((factor, True), self.targets), dtype=np.float64)
        return np.asarray(factor, dtype=np.float64), weights

    def arrays(self, prefix: str) -> dict[str, Any]:
        """What `process_of` reads, for a file; names begin with the prefix."""
        found = {f"{prefix}.{k}": v for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        found[f"{prefix}.points"] = self.points.astype(np.float32)
        return found | {f"{prefix}.blocks": np.array(self.blocks, dtype=np.int64)}


def process_of(prefix: str, arrays: Mapping[str, Any]) -> Process:
    """A process from the arrays of a file.

    Raises:
        KeyError, TypeError: if one is missing.
    """
    parts = named(prefix, arrays)
    blocks = tuple(int(n) for n in parts.pop("blocks"))
    return Process(blocks=blocks, **{k: v.astype(np.float64) for k, v in parts.items()})


def named(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays whose names begin with a prefix, without it."""
    return {k.removeprefix(f"{prefix}."): v for k, v in arrays.items() if k.startswith(f"{prefix}.")}


def fit_process(
    columns: FloatArray, labels: FloatArray, blocks: Sequence[int], seed: int = 0, steps: int = 60
) -> Process:
    """Fit a process.

    Args:
        columns: (n, d), the blocks side by side.
        labels: (n,).
        blocks: number of columns in each block; they add up to d.
        seed: of the choice of rows that the parameters are tuned on, where there are more than `TUNED_ON`.
        steps: of the tuning, at most.
    """
    centre, spread = columns.mean(axis=0), columns.std(axis=0)
    scale = np.where(spread > 1e-8, spread + 1e-6, 0.0)
    points = standardised(columns, centre, scale)
    mean, size = float(labels.mean()), float(labels.std()) + 1e-12
    targets = (labels - mean) / size
    some = np.sort(np.random.default_rng(seed).permutation(len(labels))[:TUNED_ON])
    logs = _tuned(_blocks(points[some], blocks), targets[some], steps)
    return Process(tuple(blocks), centre, scale, points, targets, np.array([mean, size]), logs)


def standardised(columns: FloatArray, centre: FloatArray, scale: FloatArray) -> FloatArray:
    """(n, d) standardised and clipped; columns without a scale are zero."""
    alive = scale > 0.0
    return np.clip((columns - centre) / np.where(alive, scale, 1.0), -CLIP, CLIP) * alive


def kernel(logs: FloatArray, here: Sequence[FloatArray], there: Sequence[FloatArray]) -> FloatArray:
    """(n, m) covariance of the process at two sets of points, given by their blocks."""
    b = len(here)
    total = np.zeros((len(here[0]), len(there[0])))
    for k, (x, y) in enumerate(zip(here, there, strict=True)):
        width = x.shape[1]
        total += np.exp(2.0 * logs[k] - 0.5 * _squares(x, y) / width * np.exp(-2.0 * logs[b + k]))
        total += np.exp(2.0 * logs[2 * b + k]) * (x @ y.T) / width
    return total


def _variance(logs: FloatArray, at: Sequence[FloatArray]) -> FloatArray:
    """(n,) prior variance of the process."""
    b = len(at)
    slopes = [np.exp(2.0 * logs[2 * b + k]) * (x**2).mean(axis=1) for k, x in enumerate(at)]
    return np.asarray(np.exp(2.0 * logs[:b]).sum() + np.sum(slopes, axis=0))


def _blocks(columns: FloatArray, blocks: Sequence[int]) -> list[FloatArray]:
    return np.split(columns, np.cumsum(blocks)[:-1], axis=1)


def _squares(x: FloatArray, y: FloatArray) -> FloatArray:
    """(n, m) squared distances."""
    return np.maximum((x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2.0 * x @ y.T, 0.0)


def _tuned(blocks: Sequence[FloatArray], targets: FloatArray, steps: int) -> FloatArray:
    """Logarithms of the parameters with the highest posterior."""
    from scipy.optimize import minimize

    b = len(blocks)
    start = np.log(np.array([AMPLITUDE] * b + [LENGTH] * b + [SLOPE] * b + [NOISE]))
    squares = [_squares(x, x) / x.shape[1] for x in blocks]
    products = [x @ x.T / x.shape[1] for x in blocks]
    found = minimize(
        _loss,
        start,
        args=(start, squares, products, targets),
        jac=True,
        method="L-BFGS-B",
        bounds=[(p - REACH, p + REACH) for p in start],
        options={"maxiter": steps},
    )
    return np.asarray(found.x, dtype=np.float64)


def _loss(
    logs: FloatArray,
    start: FloatArray,
    squares: Sequence[FloatArray],
    products: Sequence[FloatArray],
    targets: FloatArray,
) -> tuple[float, FloatArray]:
    """Negative logarithm of the posterior, and its gradient."""
    from scipy.linalg import cho_solve

    b, unit = len(squares), np.eye(len(targets))
    shrink = np.exp(-2.0 * logs[b : 2 * b])
    bells = [np.exp(2.0 * logs[k] - 0.5 * s * shrink[k]) for k, s in enumerate(squares)]
    slopes = [np.exp(2.0 * logs[2 * b + k]) * p for k, p in enumerate(products)]
    noise = math.exp(2.0 * logs[-1])
    factor = np.linalg.cholesky(np.sum([*bells, *slopes], axis=0) + (noise + JITTER) * unit)
    inverse = cho_solve((factor, True), unit)
    weights = inverse @ targets
    pull = 0.5 * (inverse - np.outer(weights, weights))
    off = (logs - start) / PRIOR
    loss = 0.5 * targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * off @ off
    gradient = [2.0 * (pull * bell).sum() for bell in bells]
    gradient += [(pull * bells[k] * s).sum() * shrink[k] for k, s in enumerate(squares)]
    gradient += [2.0 * (pull * slope).sum() for slope in slopes]
    gradient.append(2.0 * noise * np.trace(pull))
    return float(loss), np.array(gradient) + off / PRIOR
