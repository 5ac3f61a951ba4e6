"""Properties of the known crystals, computed or predicted: which of them meet a query, or nearly do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.tables import read_arrays

TABLE = "known_properties.npz"
NAMES = ("bulk_modulus", "shear_modulus", "band_gap", "formation_energy", "energy_above_hull")
"""Properties in the table, in the order of its columns."""


@dataclass(frozen=True, eq=False)
class KnownProperties:
    """Properties of known crystals, in the order of the table of known crystals.

    Attributes:
        values: (n, 5) log10 GPa for moduli, eV for the gap, eV/atom for energies; NaN where nothing is known.
        computed: (n, 5) whether a value was computed by density functional theory; otherwise it is an estimate.
        protostructures: ascending 64-bit hashes of the protostructures of all known crystals.
    """

    values: NDArray[np.float64]
    computed: NDArray[np.bool_]
    protostructures: NDArray[np.int64]

    def column(self, name: str) -> NDArray[np.float64]:
        """(n,) one property of `NAMES`."""
        found: NDArray[np.float64] = self.values[:, NAMES.index(name)]
        return found

    def is_known(self, hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether a known crystal has that protostructure."""
        return np.isin(hashes, self.protostructures)


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
    values: Any = raw["values"].astype(np.float64)[order]
    values[order < 0] = np.nan
    computed = np.unpackbits(raw["computed"], axis=1, count=len(NAMES)).astype(bool)[order]
    return KnownProperties(values, computed & (order >= 0)[:, None], np.unique(raw["protostructures"]))
