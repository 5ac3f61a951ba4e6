"""Whether a crystal holds together within the reach of a potential, and how to bring its parts nearer.

A potential with a cut-off says nothing of atoms that are farther apart. Atoms, molecules, chains or layers with
nothing within the cut-off of each other feel no force at any distance, so that a relaxation ends at once and means
nothing. Atoms nearer than the cut-off are taken for connected; a crystal holds together if all its atoms are
connected, periodically in three directions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.distances import shortest_ratio

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

NEAR = 0.95
"""Parts are brought together until they are connected within this share of the reach."""
CLOSEST = 0.75
"""Atoms are not brought nearer than this multiple of the sum of their covalent radii."""
_KINDS = ("atoms or molecules", "chains", "layers", "frameworks")
_FACTORS = np.linspace(0.98, 0.1, 45)
_NAMES = ("cutoff", "r_max", "rcut", "atom_graph_cutoff")
_INNER = ("model", "graph_converter", "models", "potential")


@dataclass(frozen=True, eq=False)
class Parts:
    """The connected parts of a crystal.

    Attributes:
        label: (n_sites,) number of the part of each atom.
        places: (n_sites, 3) fractional coordinates of the atoms, each part in one piece.
        cycles: for each part the (k, 3) whole cell vectors along which it repeats itself.
    """

    label: IntArray
    places: FloatArray
    cycles: tuple[IntArray, ...]

    @property
    def whole(self) -> bool:
        """Whether there is one part that is periodic in three directions."""
        return len(self.cycles) == 1 and _rank(self.cycles[0]) == 3

    @property
    def kind(self) -> str:
        """What the parts are, in words: the least periodic of them decides."""
        return _KINDS[min(_rank(cycle) for cycle in self.cycles)]


def parts(crystal: Crystal, reach: float) -> Parts:
    """The parts of a crystal whose atoms are connected when nearer than `reach` (Å).

    A breadth-first search places every atom of a part next to the one that it was found from; each bond that does
    not fit these places is a repeat of the part.
    """
    from ase.neighborlist import primitive_neighbor_list
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    periodic = (True, True, True)
    cartesian = crystal.frac_coords @ crystal.lattice
    first, second, shift = primitive_neighbor_list("ijS", periodic, crystal.lattice, cartesian, reach)
    n = crystal.n_sites
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(n, n)).tocsr()
    bond = dict(zip(zip(first.tolist(), second.tolist(), strict=True), shift, strict=True))
    label, offset = np.full(n, -1, dtype=np.int64), np.zeros((n, 3), dtype=np.int64)
    cycles: list[IntArray] = []
    for root in range(n):
        if label[root] >= 0:
            continue
        order, before = breadth_first_order(graph, root, directed=False)
        label[order] = len(cycles)
        for atom in order[1:].tolist():
            offset[atom] = offset[before[atom]] + bond[int(before[atom]), atom]
        own = label[first] == len(cycles)
        cycles.append(np.unique(offset[first[own]] + shift[own] - offset[second[own]], axis=0))
    return Parts(label, crystal.frac_coords + offset, tuple(cycles))


def brought_together(crystal: Crystal, reach: float) -> Crystal | None:
    """The crystal with its parts moved towards each other until it holds together; None if that fails.

    Molecules, chains and layers keep their shape; the cell shrinks at right angles to the directions in which they
    are periodic. The space group stays.
    """
    found = parts(crystal, reach)
    periodic = np.concatenate([cycle @ crystal.lattice for cycle in found.cycles])
    _, sizes, rows = np.linalg.svd(np.vstack([periodic, np.zeros((3, 3))]))
    along = rows[: int((sizes > 1e-6).sum())]
    across = np.eye(3) - along.T @ along
    centres = np.stack([found.places[found.label == k].mean(axis=0) for k in range(len(found.cycles))])[
        found.label
    ]
    inner = (found.places - centres) @ crystal.lattice
    for factor in _FACTORS:
        lattice = crystal.lattice @ (np.eye(3) - (1.0 - factor) * across)
        moved = replace(crystal, lattice=lattice, frac_coords=centres + inner @ np.linalg.inv(lattice), gene=None)
        if shortest_ratio(moved) < CLOSEST:
            return None
        if parts(moved, NEAR * reach).whole:
            return moved
    return None


def within_reach(crystal: Crystal, reach: float | None) -> Crystal:
    """The crystal, its parts brought together where a potential of that reach (Å) would see nothing between them.

    As it is where the reach is not known, where nothing is needed, and where they cannot be brought together.
    """
    if reach is None or parts(crystal, reach).whole:
        return crystal
    return brought_together(crystal, reach) or crystal


def reach_of(calculator: Calculator) -> float | None:
    """The cut-off of a calculator's potential, Å, as its object or its model names it; None where it does not."""
    seen: list[Any] = [calculator]
    for holder in seen:
        for name in _NAMES:
            value = _number(getattr(holder, name, None))
            if value is not None:
                return value
        if len(seen) < 20:
            seen += [inner for name in _INNER if (inner := getattr(holder, name, None)) is not None]
    return None


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError, RuntimeError):
        return None
    return found if 0.5 < found < 50.0 else None


def _rank(cycle: IntArray) -> int:
    return int(np.linalg.matrix_rank(cycle)) if len(cycle) else 0
