"""Polytypes: crystals of the same composition whose layers or units are the same and stacked in another order.

Two crystals are taken for polytypes when their atoms have the same surroundings and the same room: each kind of
site, told by its element and the elements of its neighbours, occurs equally often in both; the mean distance to
the neighbours, in units of the cube root of the volume per atom, agrees within 2 %; and the number of atoms
that are two bonds away within 6 % (face-centred cubic stacking has 42 and hexagonal 44; rutile has 10 titanium
atoms around titanium and brookite 9). Neighbours are the atoms up to 1.25 times the distance of the nearest.

The atoms of a close-packed element, with 11 or 12 neighbours each, are compared on average, so that a stacking
fault or a twin boundary in every cell makes no new crystal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Crystal
from invdesign.crystallography.matching import reduced

if TYPE_CHECKING:
    from pymatgen.core import Structure

NEAR = 1.25
"""Neighbours are the atoms up to this multiple of the distance of the nearest."""
REACH = 2.5
"""Where neighbours are sought, in units of the cube root of the volume per atom."""
DISTANCE, SECOND, SHARE = 0.02, 0.06, 0.01
"""Relative tolerances of the mean distance and of the number of second neighbours; tolerance of a kind's share."""
PACKED = frozenset([11, 12])
"""Numbers of neighbours in a close-packed element: one is missing at a fault."""
Kind = tuple[int, tuple[tuple[int, int], ...]]
"""Atomic number of a site, and how many neighbours of each atomic number it has."""
Bond = tuple[int, tuple[int, int, int]]
"""Index of an atom and the offset of its cell."""


@dataclass(frozen=True)
class Surroundings:
    """What a kind of site sees, on average.

    Attributes:
        share: of the atoms that are of this kind.
        distance: to the neighbours, in units of the cube root of the volume per atom.
        second: atoms that are two bonds away.
    """

    share: float
    distance: float
    second: float


def are_polytypes(first: Crystal | Structure, second: Crystal | Structure) -> bool:
    """Whether two crystals of the same reduced formula are polytypes of each other, or the same.

    Args:
        first: any cell.
        second: any cell.
    """
    return alike(surroundings(first), surroundings(second))


def alike(one: Mapping[Kind, Surroundings], two: Mapping[Kind, Surroundings]) -> bool:
    """Whether the surroundings in two crystals are those of polytypes."""
    first, second = _packing(one), _packing(two)
    if first is not None and second is not None:
        return first[0] == second[0] and _alike(first[1], second[1])
    return bool(one) and one.keys() == two.keys() and all(_alike(one[kind], two[kind]) for kind in one)


def _packing(found: Mapping[Kind, Surroundings]) -> tuple[int, Surroundings] | None:
    """A close-packed element and its surroundings on average; None for other crystals."""
    elements = {number for number, _ in found}
    if len(elements) != 1 or not {sum(n for _, n in neighbours) for _, neighbours in found} <= PACKED:
        return None
    distance = sum(seen.share * seen.distance for seen in found.values())
    second = sum(seen.share * seen.second for seen in found.values())
    return elements.pop(), Surroundings(1.0, distance, second)


def surroundings(crystal: Crystal | Structure) -> dict[Kind, Surroundings]:
    """What each kind of site of a crystal sees; empty if an atom has no neighbour in reach.

    Raises:
        ValueError: if the crystal's cell cannot be reduced.
    """
    structure = reduced(crystal) if isinstance(crystal, Crystal) else crystal
    unit = (structure.volume / len(structure)) ** (1.0 / 3.0)
    bonds, lengths = _bonds(structure, REACH * unit)
    if not all(bonds):
        return {}
    numbers = [site.specie.Z for site in structure]
    found: dict[Kind, list[tuple[float, int]]] = defaultdict(list)
    for i, mine in enumerate(bonds):
        counts = Counter(numbers[j] for j, _ in mine)
        found[numbers[i], tuple(sorted(counts.items()))].append((lengths[i] / unit, _second(bonds, i)))
    return {
        kind: Surroundings(len(seen) / len(numbers), *np.mean(np.array(seen), axis=0).tolist())
        for kind, seen in found.items()
    }


def _alike(one: Surroundings, two: Surroundings) -> bool:
    return (
        abs(one.share - two.share) <= SHARE
        and abs(one.distance - two.distance) <= DISTANCE * max(one.distance, two.distance)
        and abs(one.second - two.second) <= SECOND * max(one.second, two.second)
    )


def _bonds(structure: Structure, reach: float) -> tuple[list[list[Bond]], list[float]]:
    """The neighbours of every atom, and their mean distance (Å)."""
    centres, others, offsets, distances = structure.get_neighbor_list(reach)
    bonds: list[list[Bond]] = []
    lengths: list[float] = []
    for i in range(len(structure)):
        here = np.flatnonzero(centres == i)
        near = here[distances[here] <= NEAR * distances[here].min()] if len(here) else here
        bonds.append([(int(others[k]), _offset(offsets[k])) for k in near])
        lengths.append(float(distances[near].mean()) if len(near) else 0.0)
    return bonds, lengths


def _offset(offset: NDArray[np.float64]) -> tuple[int, int, int]:
    a, b, c = np.rint(offset).astype(int).tolist()
    return a, b, c


def _second(bonds: list[list[Bond]], start: int) -> int:
    """Number of atoms that are two bonds away from an atom."""
    first = {(start, (0, 0, 0)), *bonds[start]}
    reached = {(k, (a + x, b + y, c + z)) for j, (a, b, c) in bonds[start] for k, (x, y, z) in bonds[j]}
    return len(reached - first)
