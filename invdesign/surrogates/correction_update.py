"""How a proposal correction goes on learning from finished runs, without the data that it was made of.

The correction is a Gaussian process on a basis: a linear model of its features with a normal distribution of their
coefficients. New relaxations update that distribution by Bayes' rule, which gives what fitting on old and new data
together would give for the same basis and hyperparameters. Before, the basis is extended by some of the new
crystals; their part that the old basis does not span enters with the prior of the process (incremental inducing
points: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapter 8.3). What is still not
spanned by the basis counts as noise of a new relaxation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.crystal import FloatArray, IntArray
from invdesign.surrogates.proposal_correction import CUTS, Correction, kernel

FOLDS = 5
LEAST = 20
"""Relaxations with a property below which its correction is left alone."""
NEW_POINTS = 200
"""Crystals, at most, that extend the basis."""


@dataclass(frozen=True)
class Judged:
    """How an updated correction does on crystals of chemical systems that it has not seen.

    Attributes:
        name: of the property.
        n: crystals.
        before, after: mean absolute errors, eV/atom or log10.
        doubt: standard error of their difference.
    """

    name: str
    n: int
    before: float
    after: float
    doubt: float

    @property
    def helps(self) -> bool:
        """Whether the error falls by more than a standard error."""
        return self.before - self.after > self.doubt

    def line(self) -> str:
        """In words."""
        verdict = "updated" if self.helps else "left alone"
        unit = "eV/atom" if self.name == "formation_energy" else "log10"
        return (
            f"{self.name}: mean absolute error {self.before:.4f} before, {self.after:.4f} after "
            f"(± {self.doubt:.4f} {unit}, {self.n} crystals, {FOLDS} folds by chemical system): {verdict}"
        )


def updated(old: Correction, seen: FloatArray, residual: FloatArray, seed: int = 0) -> Correction:
    """The correction after further relaxations.

    Args:
        old: so far.
        seen: (n, d) `views` of the crystals.
        residual: (n,) what was found after relaxation less what the gate said, eV/atom or log10.
        seed: of the choice of further basis points.
    """
    grown = extended(old, _chosen(old, seen, seed))
    features, beyond = grown.features(seen)
    noise = grown.noise**2 + beyond
    weighted = features / noise[:, None]
    precision = np.linalg.inv(grown.covariance)
    covariance = np.linalg.inv(precision + weighted.T @ features)
    weights = covariance @ (precision @ grown.weights + weighted.T @ (residual - grown.offset))
    return replace(grown, covariance=0.5 * (covariance + covariance.T), weights=weights)


def extended(old: Correction, points: FloatArray) -> Correction:
    """The same process on a larger basis, of which the new part is not known yet.

    Args:
        old: so far.
        points: (k, d) standardised.
    """
    if not len(points):
        return old
    known = kernel(points, old.points, old.length) @ old.whiten
    left = old.amplitude**2 * kernel(points, points, old.length) - known @ known.T
    values, vectors = np.linalg.eigh(0.5 * (left + left.T))
    kept = values > 1e-4 * old.amplitude**2
    if not kept.any():
        return old
    scaled = vectors[:, kept] / np.sqrt(values[kept])
    n_old, n_new = old.whiten.shape[1], int(kept.sum())
    whiten = np.zeros((len(old.points) + len(points), n_old + n_new))
    whiten[: len(old.points), :n_old] = old.whiten
    whiten[: len(old.points), n_old:] = -old.whiten @ (known.T @ scaled)
    whiten[len(old.points) :, n_old:] = old.amplitude**2 * scaled
    covariance = np.eye(n_old + n_new)
    covariance[:n_old, :n_old] = old.covariance
    weights = np.concatenate([old.weights, np.zeros(n_new)])
    return replace(
        old, points=np.vstack([old.points, points]), whiten=whiten, covariance=covariance, weights=weights
    )


def _chosen(old: Correction, seen: FloatArray, seed: int) -> FloatArray:
    """Standardised crystals that extend the basis."""
    order = np.random.default_rng(seed).permutation(len(seen))[:NEW_POINTS]
    return np.asarray((seen[np.sort(order)] - old.centre) / old.scale)


def judged(
    name: str, old: Correction, seen: FloatArray, residual: FloatArray, systems: Sequence[str], seed: int = 0
) -> Judged:
    """Errors of the old and the updated correction, each crystal by an update without its chemical system."""
    before = np.abs(residual - old.residual(seen)[0])
    after = np.full(len(seen), np.nan)
    for train, test in folds(systems, seed):
        after[test] = np.abs(
            residual[test] - updated(old, seen[train], residual[train], seed).residual(seen[test])[0]
        )
    gain = before - after
    doubt = float(gain.std(ddof=1) / np.sqrt(len(gain))) if len(gain) > 1 else np.inf
    return Judged(name, len(seen), float(before.mean()), float(after.mean()), doubt)


def folds(systems: Sequence[str], seed: int = 0) -> list[tuple[IntArray, IntArray]]:
    """Indices to learn from and to judge by; a chemical system is in one fold."""
    names = sorted(set(systems))
    place = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % FOLDS, strict=True))
    mine = np.array([place[name] for name in systems])
    return [(np.flatnonzero(mine != k), np.flatnonzero(mine == k)) for k in range(FOLDS) if (mine == k).any()]


def learn(
    old: Mapping[str, Correction],
    seen: FloatArray,
    residuals: Mapping[str, FloatArray],
    systems: Sequence[str],
    seed: int = 0,
    least: int = LEAST,
) -> tuple[dict[str, Correction], list[Judged]]:
    """Corrections after further relaxations; one that does not do better on unseen systems is left as it was.

    Args:
        old: by property.
        seen: (n, d) `views` of the crystals.
        residuals: by property (n,), NaN where it is not known.
        systems: (n) chemical systems.
        seed: of folds and basis points.
        least: crystals of a property below which it is left alone.
    """
    new, verdicts = dict(old), []
    for name, correction in old.items():
        residual = residuals.get(name)
        known = np.isfinite(residual) if residual is not None else np.zeros(len(seen), dtype=bool)
        if (
            residual is None
            or known.sum() < least
            or len({s for s, k in zip(systems, known, strict=True) if k}) < 2
        ):
            continue
        mine, here = seen[known], np.clip(residual[known], *CUTS[name])
        verdict = judged(name, correction, mine, here, [s for s, k in zip(systems, known, strict=True) if k], seed)
        verdicts.append(verdict)
        if verdict.helps:
            new[name] = updated(correction, mine, here, seed)
    return new, verdicts
