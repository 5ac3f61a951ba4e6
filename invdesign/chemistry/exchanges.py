"""Which element takes another's place in known crystals, and how much room an atom takes: one shipped table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.tables import read_arrays

TABLE = "substitution.npz"
PRIOR = 1.0
"""Exchanges of each element assumed beside the observed ones, spread over all elements as often as they occur."""


@dataclass(frozen=True, eq=False)
class Exchanges:
    """What replaces what.

    Attributes:
        counts: (n, n) symmetric weights of observed exchanges, by atomic number.
        element_volume: (n,) volume that an atom suggests, Å³; 0 for elements of no known crystal.
    """

    counts: NDArray[np.float64]
    element_volume: NDArray[np.float64]

    @cached_property
    def probability(self) -> NDArray[np.float64]:
        """(n, n) probability that element `j` takes the place of element `i`, given that `i` is replaced."""
        seen = self.counts.sum(axis=0) * (self.element_volume > 0)
        raw = self.counts + PRIOR * (seen / seen.sum())[None, :]
        np.fill_diagonal(raw, 0.0)
        return np.asarray(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-300), dtype=np.float64)


@lru_cache(maxsize=1)
def load_exchanges() -> Exchanges:
    """The shipped table, made by `scripts/build_substitution.py`.

    Raises:
        ReferenceMissingError: if it cannot be read.
    """
    return Exchanges(**read_arrays(TABLE))
