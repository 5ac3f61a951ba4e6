"""The map of materials space: known crystals in the plane, and where a new crystal stands among them.

The plane is a t-SNE embedding (van der Maaten and Hinton, J. Mach. Learn. Res. 9, 2579 (2008)) of the space in
which the gate compares crystals, made once by `scripts/build_materials_map.py`. A new crystal is placed at the
mean of its nearest known crystals in that space, weighted by the inverse square of their distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Crystal
from invdesign.report.candidates import Run, number
from invdesign.tables import read_arrays

if TYPE_CHECKING:
    from invdesign.surrogates.model import Model

TABLE = "materials_map.npz"
NEAREST = 5
DRAWN = 3000
"""Known crystals that a report shows, drawn at random with seed 0."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MaterialsMap:
    """Known crystals in the plane.

    Attributes:
        ids: (n,) numbers of their Materials Project ids.
        xy: (n, 2) places.
        formulas: (n,) reduced formulas.
        kinds: (n,) index of each one's family in `families`.
        families: names.
        label_texts: names of the clusters.
        label_xy: (k, 2) where these stand.
        label_sizes: (k,) share of the crystals in each cluster.
    """

    ids: NDArray[np.int32]
    xy: Array
    formulas: NDArray[np.str_]
    kinds: NDArray[np.int64]
    families: tuple[str, ...]
    label_texts: tuple[str, ...]
    label_xy: Array
    label_sizes: Array


@cache
def load_map() -> MaterialsMap:
    """The shipped table; read once.

    Raises:
        ReferenceMissingError: if it cannot be read.
    """
    raw = read_arrays(TABLE)
    return MaterialsMap(
        ids=raw["ids"],
        xy=raw["xy"].astype(np.float64),
        formulas=raw["formulas"],
        kinds=raw["kinds"].astype(np.int64),
        families=tuple(map(str, raw["families"])),
        label_texts=tuple(map(str, raw["label_texts"])),
        label_xy=raw["label_xy"].astype(np.float64),
        label_sizes=raw["label_sizes"].astype(np.float64),
    )


def places(crystals: Sequence[Crystal], model: Model) -> list[tuple[float, float] | None]:
    """Where crystals stand on the map; None for one that the gate cannot read.

    Args:
        crystals: any.
        model: the gate's.
    """
    from invdesign.surrogates.explain.nearest import labelled_for, positions
    from invdesign.surrogates.inputs.cells import read_graphs

    graphs, reasons = read_graphs(crystals)
    table, known = load_map(), labelled_for(model)
    if graphs is None or not len(table.ids):
        return [None for _ in crystals]
    rows = {int(number): row for row, number in enumerate(table.ids)}
    order = np.array([rows.get(int(str(name).rsplit("-", 1)[1]), -1) for name in known.ids])
    at, there = positions(model, model.raw(graphs).columns), order >= 0
    found = iter(_placed(at, known.positions[there], table.xy[order[there]]))
    return [None if reason else next(found) for reason in reasons]


def _placed(at: NDArray[np.float32], known: NDArray[np.float32], xy: Array) -> list[tuple[float, float]]:
    """Mean place of the nearest known crystals, by inverse squared distance."""
    squared = (at**2).sum(axis=1)[:, None] + (known**2).sum(axis=1) - 2.0 * at @ known.T
    out = []
    for row in np.maximum(squared, 1e-9):
        near = np.argsort(row, kind="stable")[:NEAREST]
        weights = 1.0 / row[near]
        x, y = (weights[:, None] * xy[near]).sum(axis=0) / weights.sum()
        out.append((float(x), float(y)))
    return out


def map_data(run: Run) -> dict[str, Any] | None:
    """What the chart of the map draws, as JSON; None if no candidate has a place on it."""
    if not any(number(row.get("map_x")) is not None for row in run.rows):
        return None
    table = load_map()
    shown = np.sort(np.random.default_rng(0).permutation(len(table.ids))[:DRAWN])
    low, high = table.xy.min(axis=0) - 3.0, table.xy.max(axis=0) + 3.0
    return {
        "x": np.round(table.xy[shown, 0], 1).tolist(),
        "y": np.round(table.xy[shown, 1], 1).tolist(),
        "formula": table.formulas[shown].tolist(),
        "kind": table.kinds[shown].tolist(),
        "family": list(table.families),
        "colour": [COLOURS.get(name, "#9aa5b1") for name in table.families],
        "labels": [
            {"text": _label(text), "x": round(float(x), 1), "y": round(float(y), 1), "size": round(float(size), 3)}
            for text, (x, y), size in zip(table.label_texts, table.label_xy, table.label_sizes, strict=True)
        ],
        "range": [[float(low[0]), float(high[0])], [float(low[1]), float(high[1])]],
    }


def _label(text: str) -> str:
    """The name of a cluster without the element that its family names already: `oxides: O, N` is `oxides: N`."""
    family, _, elements = text.partition(": ")
    others = [e for e in elements.split(", ") if e and e != NAMESAKES.get(family)]
    return f"{family}: {', '.join(others)}" if others else family


NAMESAKES = {"oxides": "O", "nitrides": "N", "borides": "B", "carbides": "C", "hydrides": "H"}
FAMILIES = {
    "oxide": "oxides",
    **dict.fromkeys(("fluoride", "chloride", "bromide", "iodide"), "halides"),
    **dict.fromkeys(("sulfide", "selenide", "telluride"), "chalcogenides"),
    "nitride": "nitrides",
    "boride": "borides",
    "carbide": "carbides",
    **dict.fromkeys(("silicide", "germanide"), "silicides and germanides"),
    **dict.fromkeys(("phosphide", "arsenide", "antimonide"), "pnictides"),
    "hydride": "hydrides",
    "intermetallic": "intermetallics",
    "element": "elements",
}
"""Family on the map by `invdesign.chemistry.families.anion_class`."""
COLOURS = {
    "oxides": "#d1605e",
    "halides": "#6a9f58",
    "chalcogenides": "#d7a02c",
    "nitrides": "#4c78a8",
    "borides": "#8a6a4f",
    "carbides": "#5f6368",
    "silicides and germanides": "#7f9ab5",
    "pnictides": "#a874b3",
    "hydrides": "#67b8b1",
    "intermetallics": "#a9b2bd",
    "elements": "#3f4750",
}
"""Colour of the dots by family."""
