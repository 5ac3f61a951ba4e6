"""Known crystals with computed moduli, and which of them are nearest to a crystal as a gate sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.properties import PREDICTED
from invdesign.surrogates.inputs.dataset import graphs_of_genes
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.model import Model
from invdesign.tables import read_arrays

TABLE = "labelled_crystals.npz"
CHUNK = 2000


@dataclass(frozen=True)
class Neighbour:
    """A known crystal that resembles another one.

    Attributes:
        id: its Materials Project id.
        formula: reduced formula.
        space_group: number in the International Tables.
        experimental: known from experiment; None where that is not known.
        distance: in the gate's space, as a multiple of what is usual between a held-out crystal and its five
            nearest training crystals; 0 is the same crystal.
        values: what density functional theory gave for it, by property, in the property's unit.
    """

    id: str
    formula: str
    space_group: int
    experimental: bool | None
    distance: float
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class LabelledCrystals:
    """Known crystals with computed moduli.

    Attributes:
        ids: Materials Project ids.
        formulas: reduced formulas.
        space_groups: (n,) numbers in the International Tables.
        experimental: (n,) 1, 0, or -1 where unknown.
        labels: (n, 5) values of `PREDICTED` by density functional theory, NaN where unknown.
        positions: (n, q) where they lie in the space of the gate `gate`.
        gate: checksum of that gate.
    """

    ids: np.ndarray[Any, Any]
    formulas: np.ndarray[Any, Any]
    space_groups: np.ndarray[Any, Any]
    experimental: np.ndarray[Any, Any]
    labels: FloatTable
    positions: FloatTable
    gate: str

    def nearest(self, at: FloatTable, unit: float, k: int) -> list[tuple[Neighbour, ...]]:
        """The `k` nearest of each of (n, q) positions, nearest first; distances in `unit`."""
        squared = (at**2).sum(axis=1)[:, None] + (self.positions**2).sum(axis=1) - 2.0 * at @ self.positions.T
        found = []
        for row in np.sqrt(np.maximum(squared, 0.0)):
            rows = np.argsort(row, kind="stable")[:k]
            found.append(tuple(self._neighbour(int(i), float(row[i]) / unit) for i in rows))
        return found

    def _neighbour(self, row: int, distance: float) -> Neighbour:
        experimental = int(self.experimental[row])
        return Neighbour(
            str(self.ids[row]),
            str(self.formulas[row]),
            int(self.space_groups[row]),
            None if experimental < 0 else bool(experimental),
            distance,
            {n: float(v) for n, v in zip(PREDICTED, self.labels[row], strict=True) if np.isfinite(v)},
        )


def load_labelled() -> LabelledCrystals:
    """Read the shipped table.

    Raises:
        ReferenceMissingError: if it cannot be read.
    """
    raw = read_arrays(TABLE)
    floats = {name: raw[name].astype(np.float32) for name in ("labels", "positions")}
    return LabelledCrystals(**(raw | floats | {"gate": str(raw["gate"])}))


@lru_cache(maxsize=2)
def labelled_for(model: Model) -> LabelledCrystals:
    """The shipped crystals in the space of a gate; another gate than the shipped one reads them anew."""
    table = load_labelled()
    if table.gate == model.checksum:
        return table
    return LabelledCrystals(
        **(vars(table) | {"positions": _positions_of(model, table.ids), "gate": model.checksum})
    )


def _positions_of(model: Model, ids: np.ndarray[Any, Any]) -> FloatTable:
    """(n, q) positions of known crystals by their ids."""
    from invdesign.reference.local import load_known

    known = load_known()
    rows = {known.id(row): row for row in range(len(known))}
    genes = [known[rows[str(i)]].gene for i in ids]
    parts = [
        positions(model, model.raw(graphs_of_genes(genes[s : s + CHUNK])).columns)
        for s in range(0, len(genes), CHUNK)
    ]
    return np.concatenate(parts)


def positions(model: Model, columns: FloatTable) -> FloatTable:
    """(n, q) where crystals lie in a model's space, from what `Model.raw` gives."""
    return ((columns - model.memory.centre) @ model.memory.axes).astype(np.float32)


def usual_distance(model: Model) -> float:
    """Median distance between a held-out crystal and its nearest training crystals."""
    distances: FloatArray = model.memory.distances.astype(np.float64)
    return float(np.median(distances))
