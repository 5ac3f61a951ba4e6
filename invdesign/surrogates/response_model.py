"""Moduli from the elastic response alone, for crystals with elements that the networks have hardly seen.

Of elements and bonds it knows nothing, so it is worse where there is training data and goes on working where there
is none: the potential has seen all elements. Ridge regression on the columns of the response corrects the
potential's own moduli.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from invdesign.crystal import FloatArray, IntArray
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.inputs.potential_features import N_FEATURES
from invdesign.surrogates.inputs.response import N_RESPONSE, PER_ROUND, ROUNDS

OWN = {
    "bulk_modulus": N_FEATURES + (ROUNDS - 1) * PER_ROUND,
    "shear_modulus": N_FEATURES + (ROUNDS - 1) * PER_ROUND + 2,
}
"""Columns of the potential's own moduli, by Voigt after the last round, in the inputs of the second stage."""
RIDGE = 1.0
CLIP = 4.0
"""Standardised columns are cut at this many standard deviations."""
SHARE = 0.5
"""Its part for a crystal with an element that training hardly had; chosen on eight left-out elements."""


@dataclass(frozen=True, eq=False)
class ResponseModel:
    """A linear correction of the potential's own moduli.

    Attributes:
        centre, scale: (`N_RESPONSE`,) of the columns.
        weights: (`N_RESPONSE` + 1, 2) for log10 of K and G; the last row is the constant.
        spread: (2,) mean absolute errors in training.
    """

    centre: FloatTable
    scale: FloatTable
    weights: FloatTable
    spread: FloatTable

    def answers(self, extra: FloatTable, properties: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Means and spreads, (n, p) each, as modelled; NaN for other properties and unknown responses."""
        found = np.full((2, len(extra), len(properties)), np.nan)
        moduli = _own(extra) + _terms(extra, self.centre, self.scale) @ self.weights
        for k, name in enumerate(OWN):
            if name in properties:
                found[:, :, properties.index(name)] = (
                    moduli[:, k],
                    np.where(np.isfinite(moduli[:, k]), self.spread[k], np.nan),
                )
        return found[0], found[1]


def fit_response_model(extra: FloatTable, moduli: FloatArray, rows: IntArray) -> ResponseModel | None:
    """Learn from some rows of the inputs and of (n, 2) log10 of K and G; None where too few are known."""
    known = rows[np.isfinite(extra[rows, N_FEATURES]) & np.isfinite(moduli[rows]).all(axis=1)]
    if len(known) <= 10 * N_RESPONSE:
        return None
    columns = extra[known, N_FEATURES:]
    centre, scale = columns.mean(axis=0), columns.std(axis=0) + np.float32(1e-6)
    terms, target = _terms(extra[known], centre, scale), moduli[known] - _own(extra[known])
    weights = np.linalg.solve(terms.T @ terms + RIDGE * np.eye(terms.shape[1]), terms.T @ target)
    spread = np.abs(terms @ weights - target).mean(axis=0)
    return ResponseModel(centre, scale, weights.astype(np.float32), spread.astype(np.float32))


def _own(extra: FloatTable) -> FloatArray:
    return extra[:, list(OWN.values())].astype(np.float64)


def _terms(extra: FloatTable, centre: FloatTable, scale: FloatTable) -> FloatArray:
    """(n, `N_RESPONSE` + 1) standardised columns and a one."""
    standard = np.clip((extra[:, N_FEATURES:] - centre) / scale, -CLIP, CLIP)
    return np.concatenate([standard, np.ones((len(extra), 1))], axis=1)
