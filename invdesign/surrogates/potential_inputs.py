"""What the second stage reads of a relaxed crystal: a potential's features, and the elastic response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Crystal
from invdesign.surrogates.features import FloatTable
from invdesign.surrogates.potential_features import PotentialFeatures
from invdesign.surrogates.response import N_RESPONSE, ElasticResponse
from invdesign.symmetry import primitive


class PotentialInputs:
    """Both potentials, each loaded at the first call."""

    def __init__(self) -> None:
        self.features, self.response = PotentialFeatures(), ElasticResponse()

    def compute(self, crystals: Sequence[Crystal], strained: NDArray[Any] | None = None) -> FloatTable:
        """(n, `N_FEATURES` + `N_RESPONSE`) inputs, NaN where a potential cannot read a crystal.

        Args:
            crystals: relaxed.
            strained: (n,) whether the response of each is wanted; None for all.
        """
        cells = [primitive(crystal) for crystal in crystals]
        features, _ = self.features.compute(cells)
        response = np.full((len(cells), N_RESPONSE), np.nan, dtype=np.float32)
        wanted = np.arange(len(cells)) if strained is None else np.flatnonzero(strained)
        response[wanted] = self.response.compute([cells[i] for i in wanted])
        return np.concatenate([features, response], axis=1)
