"""The scalar conditions of the generators, and their scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign.crystal import FloatArray

CONDITION_PROPERTIES: tuple[str, ...] = (
    "bulk_modulus",
    "shear_modulus",
    "formation_energy",
    "energy_above_hull",
    "band_gap",
    "density",
    "n_sites",
)
"""Scalar conditions in the order of the network's inputs."""

LOG_CONDITIONS = frozenset(("bulk_modulus", "shear_modulus", "density", "n_sites"))


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of each scalar condition in model units (log10 where `LOG_CONDITIONS` says so)."""

    mean: FloatArray
    deviation: FloatArray

    def transform(self, values: FloatArray) -> FloatArray:
        """(n, p) property values in their own units to standardised model units."""
        logs = np.array([name in LOG_CONDITIONS for name in CONDITION_PROPERTIES])
        with np.errstate(invalid="ignore", divide="ignore"):
            model = np.where(logs, np.log10(np.clip(values, 1e-3, None)), values)
        return (model - self.mean) / self.deviation

    def inverse(self, model: FloatArray) -> FloatArray:
        """(n, p) property values in their own units from standardised model units."""
        logs = np.array([name in LOG_CONDITIONS for name in CONDITION_PROPERTIES])
        values = np.asarray(model) * self.deviation + self.mean
        return np.where(logs, 10.0 ** np.where(logs, values, 0.0), values)

    @classmethod
    def fit(cls, values: FloatArray) -> Scaling:
        """From (n, p) values with NaN where unknown."""
        unit = cls(np.zeros(values.shape[1]), np.ones(values.shape[1])).transform(values)
        known = np.isfinite(unit).any(axis=0)
        mean, deviation = np.zeros(values.shape[1]), np.ones(values.shape[1])
        mean[known] = np.nanmean(unit[:, known], axis=0)
        deviation[known] = np.clip(np.nanstd(unit[:, known], axis=0), 1e-3, None)
        return cls(mean, deviation)
