"""What relaxations of generated crystals say about the gate: a correction of its formation energies.

The gate is trained on crystals that exist, most of them near the hull, and believes that what a generator proposes
lies near it too; among the proposals that it likes best, its order by energy above hull is no better than chance.
Here the difference between the formation energy that a potential finds after relaxation and the one that the gate
predicted before is learned from some thousand proposals: a Gaussian process over the gate's own view of a crystal,
on a basis of some of them (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and
8.3; the variance is that of deterministic training conditionals). Far from all of them it answers with their mean
and a wide spread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray
from invdesign.errors import ReferenceMissingError, TrainingError
from invdesign.records import Estimate, Value
from invdesign.surrogates.gate import CHUNK, failed, read_graphs
from invdesign.surrogates.model import Memory, Model, Raw

ENERGY = "formation_energy"
LOWEST, HIGHEST = -0.3, 1.0
"""Residuals (eV/atom) are cut here: beyond, a crystal is hopeless and was not relaxed to the end."""
OPINION_WEIGHT = 2.0
"""How much more the gate's answers count than a direction of its feature space in the distance of crystals."""
LEAST = 100
"""Relaxed proposals below which nothing can be learned."""


@dataclass(frozen=True, eq=False)
class Experience:
    """A Gaussian process of the residual of the formation energy, eV/atom.

    Attributes:
        gate: fingerprint of the gate that it corrects.
        centre, scale: (d,) of its inputs, see `views`.
        points: (m, d) basis points, standardised.
        length: length of the kernel in standardised units.
        amplitude: standard deviation of the process, eV/atom.
        whiten: (m, m) from kernels with the basis points to independent unit features.
        weights: (m,) mean of the coefficients of these features.
        covariance: (m, m) of the coefficients.
        offset: mean residual of all.
        noise: standard deviation of a residual about the process.
        notes: data, split, seed, metrics.
    """

    gate: str
    centre: FloatArray
    scale: FloatArray
    points: FloatArray
    length: float
    amplitude: float
    whiten: FloatArray
    weights: FloatArray
    covariance: FloatArray
    offset: float
    noise: float
    notes: Mapping[str, Any]

    def residual(self, views: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, (n,) each, eV/atom, of the potential's energy minus the gate's."""
        features = _kernel((views - self.centre) / self.scale, self.points, self.length) @ self.whiten
        known = np.einsum("ni,ij,nj->n", features, self.covariance, features, optimize=True)
        beyond = np.maximum(self.amplitude**2 - (features**2).sum(axis=1), 0.0)
        return self.offset + features @ self.weights, np.sqrt(known + beyond + self.noise**2)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save_file

        arrays = {k: np.ascontiguousarray(v) for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        numbers = {k: getattr(self, k) for k in ("length", "amplitude", "offset", "noise")}
        header = {"gate": self.gate, "numbers": json.dumps(numbers), "notes": json.dumps(dict(self.notes))}
        save_file(arrays, str(path), metadata=header)

    @classmethod
    def load(cls, path: Path) -> Experience:
        """Read what `save` wrote.

        Raises:
            ReferenceMissingError: if the file is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="np") as file:
                header = file.metadata()
                arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            numbers, notes = json.loads(header["numbers"]), json.loads(header["notes"])
            return cls(gate=header["gate"], notes=notes, **numbers, **arrays)
        except (OSError, SafetensorError, KeyError, TypeError) as error:
            raise ReferenceMissingError(f"experience {path} cannot be read: {error}") from None


def views(raw: Raw, memory: Memory) -> FloatArray:
    """(n, d) the gate's view of crystals: their places in its feature space, its answers, and log spreads."""
    places = (raw.columns - memory.centre) @ memory.axes
    return np.concatenate([places, raw.mean, np.log(raw.spread)], axis=1).astype(np.float64)


def fit(
    seen: FloatArray,
    residual: FloatArray,
    gate: Model,
    basis: int = 400,
    seed: int = 0,
    notes: Mapping[str, Any] = {},
) -> Experience:
    """Learn from relaxed proposals.

    Args:
        seen: (n, d) `views` of the proposals.
        residual: (n,) formation energy by the potential after relaxation, less the gate's before, eV/atom.
        gate: the model that they are views of.
        basis: largest number of basis points.
        seed: of the choice of basis points.
        notes: goes into the file.

    Raises:
        TrainingError: if there are fewer than `LEAST` proposals.
    """
    if len(seen) < LEAST:
        raise TrainingError(f"{len(seen)} relaxed proposals are too few to learn from; at least {LEAST}")
    centre, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-9
    scale[-2 * len(gate.properties) :] /= OPINION_WEIGHT
    x, y = (seen - centre) / scale, np.clip(residual, LOWEST, HIGHEST)
    offset = float(y.mean())
    rng = np.random.default_rng(seed)
    amplitude, length, noise = _hyperparameters(x, y - offset, rng)
    points = x[np.sort(rng.permutation(len(x))[:basis])]
    values, vectors = np.linalg.eigh(_kernel(points, points, length))
    kept = values > 1e-6 * values[-1]
    whiten = amplitude * vectors[:, kept] / np.sqrt(values[kept])
    features = _kernel(x, points, length) @ whiten
    covariance = np.linalg.inv(features.T @ features / noise**2 + np.eye(features.shape[1]))
    weights = covariance @ (features.T @ (y - offset)) / noise**2
    return Experience(
        gate=gate.fingerprint,
        centre=centre,
        scale=scale,
        points=points,
        length=length,
        amplitude=amplitude,
        whiten=whiten,
        weights=weights,
        covariance=covariance,
        offset=offset,
        noise=noise,
        notes=dict(notes or {}),
    )


def _hyperparameters(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Amplitude, length and noise of highest marginal likelihood, on at most 800 of the crystals."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    some = rng.permutation(len(x))[:800]
    start = ConstantKernel(0.1, (1e-3, 10.0)) * RBF(6.0, (1.0, 100.0)) + WhiteKernel(0.05, (1e-3, 1.0))
    found = GaussianProcessRegressor(start).fit(x[some], y[some]).kernel_
    return math.sqrt(found.k1.k1.constant_value), float(found.k1.k2.length_scale), math.sqrt(found.k2.noise_level)


def _kernel(a: FloatArray, b: FloatArray, length: float) -> FloatArray:
    """(n, m) squared exponentials of the distances."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(np.exp(-0.5 * np.maximum(squared, 0.0) / length**2))


@dataclass(frozen=True, eq=False)
class ExperiencedGate:
    """The gate for proposals of generators: its formation energy corrected by experience.

    Its own energy above hull, which believes that everything lies near the hull, is left out: what is left is the
    corrected formation energy, and the hull.

    Attributes:
        model: the trained ensemble of the gate.
        experience: what was learned from relaxed proposals.
    """

    model: Model
    experience: Experience

    def __post_init__(self) -> None:
        """Check that they belong together.

        Raises:
            ReferenceMissingError: if the experience is that of another gate.
        """
        if self.experience.gate != self.model.fingerprint:
            raise ReferenceMissingError(
                "the experience belongs to another gate; make it again with scripts/train_experience.py"
            )

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order; see `invdesign.protocols.Surrogate`."""
        found: list[Estimate] = []
        for start in range(0, len(crystals), CHUNK):
            found.extend(self._predict(crystals[start : start + CHUNK]))
        return found

    def _predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        graphs, failures = read_graphs(crystals)
        if graphs is None:
            return [failed(reason) for reason in failures]
        raw = self.model.raw(graphs)
        mean, std = self.experience.residual(views(raw, self.model.memory))
        plain = self.model.estimates(graphs, raw=raw)
        made = iter([_corrected(e, float(m), float(s)) for e, m, s in zip(plain, mean, std, strict=True)])
        return [failed(reason) if reason else next(made) for reason in failures]


def _corrected(estimate: Estimate, by: float, std: float) -> Estimate:
    values = {name: value for name, value in estimate.values.items() if name != "energy_above_hull"}
    if ENERGY in values:
        source = f"{values[ENERGY].source} and experience"
        values[ENERGY] = Value(values[ENERGY].mean + by, std, source=source)
    return replace(estimate, values=values)
