"""What relaxations of generated crystals say about the gate: corrections of its energies and moduli.

The gate is trained on crystals that exist, most of them near the hull, and believes that what a generator proposes
lies near it too; among the proposals that it likes best, its order by energy above hull is no better than chance.
Generators that were rewarded by the gate also write what it takes for stiffer than it is. Here the difference
between what is found after relaxation (the potential's formation energy, the second stage's moduli) and what the
gate predicted before is learned from some thousand proposals: for each property a Gaussian process over the gate's
own view of a crystal, on a basis of some of them (Rasmussen and Williams, Gaussian Processes for Machine Learning,
2006, chapters 2 and 8.3; the variance is that of deterministic training conditionals). Far from all of them it
answers with their mean and a wide spread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.answers import Answers, joined
from invdesign.crystal import Crystal, FloatArray
from invdesign.errors import ReferenceMissingError, TrainingError
from invdesign.properties import get_property
from invdesign.records import Estimate, Value
from invdesign.surrogates.gate import CHUNK
from invdesign.surrogates.inputs.cells import failed, read_graphs
from invdesign.surrogates.model import Memory, Model, Raw
from invdesign.uncertainty import modelled_value

ENERGY = "formation_energy"
CUTS = {ENERGY: (-0.3, 1.0), "bulk_modulus": (-0.5, 0.5), "shear_modulus": (-0.7, 0.7)}
"""What is corrected, and where residuals are cut: eV/atom, and log10 of moduli. Beyond, a crystal is hopeless."""
OPINION_WEIGHT = 2.0
"""How much more the gate's answers count than a direction of its feature space in the distance of crystals."""
"""Half width of a 90 % interval of a normal distribution, in standard deviations."""
LEAST = 100
"""Relaxed proposals below which nothing can be learned."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A Gaussian process of the residual of one property, eV/atom or log10.

    Attributes:
        centre, scale: (d,) of its inputs, see `views`.
        points: (m, d) basis points, standardised.
        length: length of the kernel in standardised units.
        amplitude: standard deviation of the process.
        whiten: (m, m) from kernels with the basis points to independent unit features.
        weights: (m,) mean of the coefficients of these features.
        covariance: (m, m) of the coefficients.
        offset: mean residual of all.
        noise: standard deviation of a residual about the process.
    """

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

    def residual(self, views: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, (n,) each, of what is found after relaxation less what the gate says."""
        features, beyond = self.features(views)
        known = np.einsum("ni,ij,nj->n", features, self.covariance, features, optimize=True)
        return self.offset + features @ self.weights, np.sqrt(known + beyond + self.noise**2)

    def features(self, views: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, m) independent unit features, and (n,) the variance of the process that they do not span."""
        found = kernel((views - self.centre) / self.scale, self.points, self.length) @ self.whiten
        return found, np.maximum(self.amplitude**2 - (found**2).sum(axis=1), 0.0)


@dataclass(frozen=True, eq=False)
class ProposalCorrection:
    """Corrections of one gate.

    Attributes:
        gate: checksum of the gate that it corrects.
        corrections: by property.
        notes: data, split, seed, metrics.
    """

    gate: str
    corrections: Mapping[str, Correction]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save_file

        parts = {f"{name}.{k}": v for name, c in self.corrections.items() for k, v in vars(c).items()}
        arrays = {k: np.ascontiguousarray(v, dtype=np.float32) for k, v in parts.items()}
        save_file(arrays, str(path), metadata={"gate": self.gate, "notes": json.dumps(dict(self.notes))})

    @classmethod
    def load(cls, path: Path) -> ProposalCorrection:
        """Read what `save` wrote.

        Raises:
            ReferenceMissingError: if the file is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        parts: dict[str, dict[str, Any]] = {}
        try:
            with safe_open(str(path), framework="np") as file:
                header = file.metadata()
                for key in file.keys():  # noqa: SIM118
                    name, part = key.rsplit(".", 1)
                    array = file.get_tensor(key).astype(np.float64)
                    parts.setdefault(name, {})[part] = array if array.ndim else float(array)
            corrections = {name: Correction(**each) for name, each in parts.items()}
            return cls(header["gate"], corrections, json.loads(header["notes"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ReferenceMissingError(f"correction {path} cannot be read: {error}") from None


def views(raw: Raw, memory: Memory) -> FloatArray:
    """(n, d) the gate's view of crystals: their places in its feature space, its answers, and log spreads."""
    places = (raw.columns - memory.centre) @ memory.axes
    return np.concatenate([places, raw.mean, np.log(raw.spread)], axis=1).astype(np.float64)


def learned(
    seen: FloatArray,
    residuals: Mapping[str, FloatArray],
    gate: Model,
    basis: int = 400,
    seed: int = 0,
    notes: Mapping[str, Any] = {},
    least: int = LEAST,
) -> ProposalCorrection:
    """Learn from relaxed proposals.

    Args:
        seen: (n, d) `views` of the proposals.
        residuals: by property (n,) what was found after relaxation less what the gate said before, in eV/atom or
            log10; NaN where it is not known.
        gate: the model that they are views of.
        basis: largest number of basis points.
        seed: of the choice of basis points.
        notes: goes into the file.
        least: proposals of a property below which nothing is learned.

    Raises:
        TrainingError: if a property has fewer.
    """
    corrections = {}
    for name, residual in residuals.items():
        known = np.isfinite(residual)
        corrections[name] = fit(seen[known], np.clip(residual[known], *CUTS[name]), gate, basis, seed, least)
    return ProposalCorrection(gate.checksum, corrections, dict(notes))


def fit(
    seen: FloatArray, residual: FloatArray, gate: Model, basis: int = 400, seed: int = 0, least: int = LEAST
) -> Correction:
    """Learn the correction of one property; see `learned`.

    Raises:
        TrainingError: if there are fewer than `least` proposals.
    """
    if len(seen) < least:
        raise TrainingError(f"{len(seen)} relaxed proposals are too few to learn from; at least {least}")
    centre, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-9
    scale[-2 * len(gate.properties) :] /= OPINION_WEIGHT
    x, offset = (seen - centre) / scale, float(residual.mean())
    y = residual - offset
    rng = np.random.default_rng(seed)
    amplitude, length, noise = _hyperparameters(x, y, rng)
    points = x[np.sort(rng.permutation(len(x))[:basis])]
    values, vectors = np.linalg.eigh(kernel(points, points, length))
    kept = values > 1e-6 * values[-1]
    whiten = amplitude * vectors[:, kept] / np.sqrt(values[kept])
    features = kernel(x, points, length) @ whiten
    covariance = np.linalg.inv(features.T @ features / noise**2 + np.eye(features.shape[1]))
    weights = covariance @ (features.T @ y) / noise**2
    return Correction(
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
    )


def _hyperparameters(x: FloatArray, y: FloatArray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Amplitude, length and noise of highest marginal likelihood, on at most 800 of the crystals."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    some = rng.permutation(len(x))[:800]
    start = ConstantKernel(0.1, (1e-5, 10.0)) * RBF(6.0, (1.0, 100.0)) + WhiteKernel(0.05, (1e-5, 1.0))
    found = GaussianProcessRegressor(start).fit(x[some], y[some]).kernel_
    return math.sqrt(found.k1.k1.constant_value), float(found.k1.k2.length_scale), math.sqrt(found.k2.noise_level)


def kernel(a: FloatArray, b: FloatArray, length: float) -> FloatArray:
    """(n, m) squared exponentials of the distances."""
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(np.exp(-0.5 * np.maximum(squared, 0.0) / length**2))


@dataclass(frozen=True, eq=False)
class CorrectedGate:
    """The gate for proposals of generators: its formation energy and moduli corrected by correction.

    Its own energy above hull, which believes that everything lies near the hull, is left out: what is left is the
    corrected formation energy, and the hull.

    Attributes:
        model: the trained ensemble of the gate.
        correction: what was learned from relaxed proposals.
    """

    model: Model
    correction: ProposalCorrection

    def __post_init__(self) -> None:
        """Check that they belong together.

        Raises:
            ReferenceMissingError: if the correction is that of another gate.
        """
        if self.correction.gate != self.model.checksum:
            raise ReferenceMissingError(
                "the correction belongs to another gate; make it again with scripts/train_proposal_correction.py"
            )

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order; see `invdesign.protocols.Surrogate`."""
        found: list[Estimate] = []
        for start in range(0, len(crystals), CHUNK):
            found.extend(self._predict(crystals[start : start + CHUNK]))
        return found

    def answers(self, crystals: Sequence[Crystal], rough: bool = False) -> Answers:
        """The same as arrays, without intervals and marks: what tens of thousands of crystals are judged by.

        Args:
            crystals: with their genes.
            rough: ask the first network of the ensemble alone, in less than half the time.
        """
        parts = [self._answers(crystals[s : s + CHUNK], rough) for s in range(0, len(crystals), CHUNK)]
        names = tuple(name for name in self.model.properties if name != "energy_above_hull")
        return joined(parts, names)

    def _answers(self, crystals: Sequence[Crystal], rough: bool) -> Answers:
        names = [name for name in self.model.properties if name != "energy_above_hull"]
        graphs, failures = read_graphs(crystals)
        sound = np.array([not reason for reason in failures], dtype=bool)
        mean = np.full((len(crystals), len(names)), np.nan)
        std, seen = mean.copy(), np.zeros((len(crystals), len(self._offset)))
        if graphs is not None:
            raw = self.model.raw(graphs, members=1 if rough else None)
            here = views(raw, self.model.memory)
            spreads = self.model.spreads(raw, graphs)
            seen[sound] = (here - self._offset) / self._scale
            for j, name in enumerate(names):
                k = self.model.properties.index(name)
                mean[sound, j], std[sound, j] = raw.mean[:, k], spreads[:, k]
                if name in self.correction.corrections:
                    by, std[sound, j] = self.correction.corrections[name].residual(here)
                    mean[sound, j] += by
        return Answers(tuple(names), mean, std, seen, tuple(failures))

    @property
    def _offset(self) -> FloatArray:
        return self.correction.corrections[ENERGY].centre

    @property
    def _scale(self) -> FloatArray:
        return self.correction.corrections[ENERGY].scale

    def _predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        graphs, failures = read_graphs(crystals)
        if graphs is None:
            return [failed(reason) for reason in failures]
        raw = self.model.raw(graphs)
        seen = views(raw, self.model.memory)
        by = {name: c.residual(seen) for name, c in self.correction.corrections.items()}
        plain = self.model.estimates(graphs, raw=raw)
        made = iter(
            _corrected(e, {name: (float(mean[i]), float(std[i])) for name, (mean, std) in by.items()})
            for i, e in enumerate(plain)
        )
        return [failed(reason) if reason else next(made) for reason in failures]


def _corrected(estimate: Estimate, by: Mapping[str, tuple[float, float]]) -> Estimate:
    values = {name: value for name, value in estimate.values.items() if name != "energy_above_hull"}
    for name in by.keys() & values.keys():
        values[name] = _moved(name, values[name], *by[name])
    return replace(estimate, values=values)


def _moved(name: str, value: Value, by: float, std: float) -> Value:
    """A value after a correction, which brings its own spread: eV/atom, or log10 of a positive property."""
    source = f"{value.source} and correction"
    log = get_property(name).log
    return modelled_value(value.mean * 10.0**by if log else value.mean + by, std, source, log=log)
