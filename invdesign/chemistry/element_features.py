"""Numbers that describe each element: the shipped table, as one array indexed by atomic number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.tables import read_json


@dataclass(frozen=True, eq=False)
class ElementFeatures:
    """The table.

    Attributes:
        columns: names of the columns.
        values: (last + 1, n_columns); row Z is the element of atomic number Z, row 0 is zeros.
    """

    columns: tuple[str, ...]
    values: FloatArray

    @property
    def last(self) -> int:
        """The largest atomic number in the table."""
        return len(self.values) - 1

    def column(self, name: str) -> FloatArray:
        """(last + 1,) one column, indexed by atomic number.

        Raises:
            ValueError: if there is no such column.
        """
        return self.values[:, self.columns.index(name)]


@cache
def element_features() -> ElementFeatures:
    """Read the shipped table (made by `scripts/build_element_features.py`)."""
    raw = read_json("element_features.json")
    values = np.array(raw["values"], dtype=np.float64)
    return ElementFeatures(tuple(raw["columns"]), np.vstack([np.zeros(values.shape[1]), values]))
