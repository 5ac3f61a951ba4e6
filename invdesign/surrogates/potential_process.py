"""The second stage's other half: a Gaussian process on what two potentials make of a relaxed crystal.

Its inputs are the crystal's features, those of CHGNet and the invariant channels of SevenNet-0, each group reduced
to its principal axes. It learns log10 of the moduli, and of the formation energy the difference to the mean of the
potentials' own formation energies, which is small and carries over to chemistry that was not trained on. A second
set of weights, on the logarithms of the leave-one-out errors, says how large errors are near a crystal (Rasmussen
and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5.4.2). Labels that are many spreads
from what their neighbours say are drawn in first: some are failed calculations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invdesign.crystal import FloatArray
from invdesign.surrogates.features import FloatTable

ENERGY = "formation_energy"
ANCHORS = 2
"""The last columns of the inputs are formation energies by potentials, eV/atom."""
CLIP = 6.0
"""Standardised inputs are cut at this many standard deviations."""
FARTHEST = 5.0
"""A label this many spreads from its leave-one-out prediction is drawn in to `DRAWN` of them."""
DRAWN = 3.0
DISAGREEMENT = 0.3
"""Share of the difference between the potentials' formation energies that is added, in squares, to the error."""
LEAST_ERROR = 0.05
"""Errors below this part of their median count as this large when their logarithm is learned."""


@dataclass(frozen=True, eq=False)
class PotentialProcess:
    """A Gaussian process with a Matérn kernel of order 3/2.

    Attributes:
        properties: names, in the order of the outputs.
        centre, scale: (c,) of the inputs.
        axes: (c, d) from standardised inputs to the space of the kernel.
        points: (n, d) training crystals there.
        weights: (n, p) of the kernels for the values, after `offset`.
        errors: (n, p) of the kernels for the log errors, after `error_offset`.
        offset, error_offset: (p,) values and log errors far from all training crystals.
    """

    properties: tuple[str, ...]
    centre: FloatTable
    scale: FloatTable
    axes: FloatTable
    points: FloatTable
    weights: FloatTable
    errors: FloatTable
    offset: FloatTable
    error_offset: FloatTable

    def answers(self, features: FloatTable, extra: FloatTable) -> tuple[FloatArray, FloatArray]:
        """Values in the modelled scale and mean absolute errors, (n, p) each; NaN where an input is not known."""
        inputs = np.concatenate([features, extra], axis=1)
        known = np.isfinite(inputs).all(axis=1)
        mean = np.full((len(inputs), len(self.properties)), np.nan)
        spread = mean.copy()
        if known.any():
            at = _project(inputs[known], self.centre, self.scale, self.axes)
            near = _kernel(torch.from_numpy(at), torch.from_numpy(self.points)).numpy()
            mean[known] = near @ self.weights + self.offset
            spread[known] = np.exp(near @ self.errors + self.error_offset)
            if ENERGY in self.properties:
                column = self.properties.index(ENERGY)
                apart = np.ptp(inputs[known, -ANCHORS:], axis=1)
                mean[known, column] += anchor(inputs[known])
                spread[known, column] = np.hypot(spread[known, column], DISAGREEMENT * apart)
        return mean, spread


def anchor(inputs: FloatTable) -> FloatArray:
    """(n,) mean of the potentials' own formation energies, eV/atom."""
    return inputs[:, -ANCHORS:].mean(axis=1, dtype=np.float64)


def fit(
    properties: Sequence[str],
    inputs: FloatTable,
    targets: FloatArray,
    groups: Mapping[str, tuple[slice, int, float]],
    noise: float,
) -> PotentialProcess:
    """Learn from crystals of which everything is known.

    Args:
        properties: names.
        inputs: (n, c) features, potentials' features and formation energies.
        targets: (n, p) labels in the modelled scale.
        groups: columns of the inputs, number of principal axes kept, and root mean square distance from the
            centre along them, in lengths of the kernel.
        noise: variance of the labels in units of the process's.
    """
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
    standard = _standard(inputs, centre, scale)
    axes = _principal(standard, groups)
    points = (standard @ axes).astype(np.float16).astype(np.float32)  # as it will be written
    values = targets.copy()
    if ENERGY in properties:
        values[:, list(properties).index(ENERGY)] -= anchor(inputs)
    factor, variances = _solver(points, noise)
    offset = np.median(values, axis=0)
    left_out = _solve(factor, values - offset) / variances[:, None]
    usual = np.median(np.abs(left_out), axis=0) / 0.6745
    wild = np.abs(left_out) > FARTHEST * usual
    values = np.where(wild, values - left_out + np.sign(left_out) * DRAWN * usual, values)
    logs = np.log(np.maximum(np.abs(left_out), LEAST_ERROR * usual))
    error_offset = logs.mean(axis=0)
    factor_2, _ = _solver(points, 10.0, with_variances=False)
    return PotentialProcess(
        tuple(properties),
        centre.astype(np.float32),
        scale,
        axes,
        points,
        _solve(factor, values - offset).astype(np.float32),
        _solve(factor_2, logs - error_offset).astype(np.float32),
        offset.astype(np.float32),
        error_offset.astype(np.float32),
    )


def _standard(inputs: FloatTable, centre: FloatTable, scale: FloatTable) -> FloatTable:
    return np.clip((inputs - centre) / scale, -CLIP, CLIP).astype(np.float32)


def _project(inputs: FloatTable, centre: FloatTable, scale: FloatTable, axes: FloatTable) -> FloatTable:
    return np.asarray(_standard(inputs, centre, scale) @ axes, dtype=np.float32)


def _principal(standard: FloatTable, groups: Mapping[str, tuple[slice, int, float]]) -> FloatTable:
    """(c, d) principal axes of each group of columns, scaled."""
    parts = []
    for columns, count, length in groups.values():
        part = standard[:, columns].astype(np.float64)
        values, vectors = np.linalg.eigh(part.T @ part / len(part))
        kept = vectors[:, ::-1][:, :count] * length / np.sqrt(values.sum())
        axes = np.zeros((standard.shape[1], kept.shape[1]))
        axes[columns] = kept
        parts.append(axes)
    return np.concatenate(parts, axis=1).astype(np.float16).astype(np.float32)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) Matérn kernel of order 3/2 of unit length."""
    squared = (a**2).sum(dim=1)[:, None] + (b**2).sum(dim=1) - 2.0 * a @ b.T
    distance = (3.0 * squared.clamp(min=0.0)).sqrt()
    return (1.0 + distance) * torch.exp(-distance)


def _solver(points: FloatTable, noise: float, with_variances: bool = True) -> tuple[Tensor, Any]:
    """The Cholesky factor of kernel plus noise, and the diagonal of its inverse."""
    matrix = _kernel(torch.from_numpy(points), torch.from_numpy(points))
    matrix.diagonal().add_(noise)
    factor = torch.linalg.cholesky(matrix)
    return factor, torch.cholesky_inverse(factor).diagonal().numpy().copy() if with_variances else None


def _solve(factor: Tensor, values: FloatArray) -> FloatArray:
    found = torch.cholesky_solve(torch.from_numpy(values.astype(np.float32)), factor)
    return found.numpy().astype(np.float64)
