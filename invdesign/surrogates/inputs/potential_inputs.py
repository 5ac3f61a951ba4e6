"""What the second stage reads of a relaxed crystal: a potential's features, and the elastic response.

Crystals are worked on in threads, one for each core: the potentials spend their time in torch, which lets other
threads run, and with one thread of its own each it is faster than with two for cells of this size. What a crystal
gets does not depend on its batch; where torch runs with another number of threads, moduli move by some tenths of a
GPa where strains are degenerate.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import primitive
from invdesign.progress import advance
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.inputs.potential_features import N_FEATURES, PotentialFeatures
from invdesign.surrogates.inputs.response import N_RESPONSE, ElasticResponse
from invdesign.workers import cpu_count

N_INPUTS = N_FEATURES + N_RESPONSE
CHUNK = 4
"""Crystals that a thread takes at once."""


class PotentialInputs:
    """Both potentials, each loaded at the first call."""

    def __init__(self) -> None:
        self.features, self.response = PotentialFeatures(), ElasticResponse()

    def compute(self, crystals: Sequence[Crystal], strained: NDArray[Any] | None = None) -> FloatTable:
        """(n, `N_INPUTS`) inputs, NaN where a potential cannot read a crystal.

        Args:
            crystals: relaxed.
            strained: (n,) whether the response of each is wanted; None for all.
        """
        wanted = np.ones(len(crystals), dtype=bool) if strained is None else strained
        starts = range(0, len(crystals), CHUNK)
        if not starts:
            return np.zeros((0, N_INPUTS), dtype=np.float32)
        self.features.potential.load()  # before the threads, which would load it twice
        self.response.potential.load()
        with ThreadPoolExecutor(cpu_count()) as threads:
            parts = [crystals[start : start + CHUNK] for start in starts]
            found: list[FloatTable] = []
            for part in threads.map(self._chunk, parts, [wanted[s : s + CHUNK] for s in starts]):
                found.append(part)
                advance(min(CHUNK * len(found), len(crystals)), len(crystals))
            return np.concatenate(found)

    def _chunk(self, crystals: Sequence[Crystal], wanted: NDArray[Any]) -> FloatTable:
        cells = [primitive(crystal) for crystal in crystals]
        features, _ = self.features.compute(cells)
        response = np.full((len(cells), N_RESPONSE), np.nan, dtype=np.float32)
        rows = np.flatnonzero(wanted)
        response[rows] = self.response.compute([cells[i] for i in rows])
        return np.concatenate([features, response], axis=1)
