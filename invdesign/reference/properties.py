"""Properties of the known crystals, computed or predicted: which of them meet a query, or nearly do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.tables import read_arrays

TABLE = "known_properties.npz"
NAMES = ("bulk_modulus", "shear_modulus", "band_gap", "formation_energy", "energy_above_hull")
"""Properties in the table, in the order of its columns."""


DOUBTFUL = {"bulk_modulus": 0.3, "shear_modulus": 0.3, "band_gap": 2.0, "formation_energy": 0.7}
"""A computed value that is farther than this from the estimate (log10 for moduli, eV, eV/atom) is taken for an
error of the calculation: among known crystals with the most extreme computed moduli half are (a shear modulus of
470 GPa beside a bulk modulus of 220)."""


@dataclass(frozen=True, eq=False)
class KnownProperties:
    """Properties of known crystals, in the order of the table of known crystals.

    Attributes:
        computed: (n, 5) by density functional theory, log10 GPa for moduli, eV for the gap, eV/atom for energies;
            NaN where nothing was computed.
        predicted: (n, 5) the same by the screening surrogate; NaN for crystals that it cannot read.
        protostructures: ascending 64-bit hashes of the protostructures of all known crystals.
    """

    computed: NDArray[np.float64]
    predicted: NDArray[np.float64]
    protostructures: NDArray[np.int64]

    @cached_property
    def sound(self) -> NDArray[np.bool_]:
        """(n, 5) whether a value was computed and is not `DOUBTFUL`."""
        far = np.array([DOUBTFUL.get(name, np.inf) for name in NAMES])
        with np.errstate(invalid="ignore"):
            return np.isfinite(self.computed) & ~(np.abs(self.computed - self.predicted) > far)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """(n, 5) computed values where they are sound, otherwise estimates."""
        return np.where(self.sound, self.computed, self.predicted)

    def column(self, name: str) -> NDArray[np.float64]:
        """(n,) one property of `NAMES`, of `values`."""
        found: NDArray[np.float64] = self.values[:, NAMES.index(name)]
        return found


@lru_cache(maxsize=1)
def load_properties() -> KnownProperties:
    """The shipped table, read once per process.

    Raises:
        ReferenceMissingError: if it is not there or cannot be read.
    """
    from invdesign.reference.local import load_known

    raw, known = read_arrays(TABLE), load_known()
    rows: dict[int, int] = {int(number): row for row, number in enumerate(raw["ids"])}
    order = np.array([rows.get(int(known.id(row).rsplit("-", 1)[1]), -1) for row in range(len(known))])
    computed, predicted = (_in_order(raw[name], order) for name in ("computed", "predicted"))
    return KnownProperties(computed, predicted, np.unique(raw["protostructures"]))


def _in_order(values: Any, order: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.astype(np.float64)[order]
    found[order < 0] = np.nan
    return found
