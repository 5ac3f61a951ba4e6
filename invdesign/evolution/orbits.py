"""A Wyckoff gene as a list of orbits, and back: what moves take apart and put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Gene
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table

Array = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Orbit:
    """One orbit of a gene.

    Attributes:
        wyckoff: index of its Wyckoff position in the group.
        number: atomic number.
        coords: its free coordinates.
    """

    wyckoff: int
    number: int
    coords: tuple[float, ...] = ()


def orbits_of(gene: Gene) -> list[Orbit]:
    """The orbits of a gene with their free coordinates."""
    table = wyckoff_table()
    first = int(table.group_start[gene.space_group - 1])
    found, offset = [], 0
    for wyckoff, number in zip(gene.wyckoffs, gene.numbers, strict=True):
        freedom = int(table.freedom[first + wyckoff])
        found.append(Orbit(wyckoff, number, gene.free_coords[offset : offset + freedom]))
        offset += freedom
    return found


def gene_of(space_group: int, orbits: Iterable[Orbit], free_lattice: tuple[float, ...]) -> Gene:
    """The gene of some orbits, in the order in which genes keep them."""
    rows = sorted(orbits)
    return Gene(
        space_group=space_group,
        wyckoffs=tuple(o.wyckoff for o in rows),
        numbers=tuple(o.number for o in rows),
        free_coords=tuple(u for o in rows for u in o.coords),
        free_lattice=free_lattice,
    )


def sites(space_group: int, orbits: Iterable[Orbit]) -> int:
    """Number of atoms of some orbits in the primitive cell."""
    table = wyckoff_table()
    first = int(table.group_start[space_group - 1])
    return sum(int(table.primitive_multiplicity[first + o.wyckoff]) for o in orbits)


def suggested_volume(space_group: int, orbits: Iterable[Orbit], element_volume: Array) -> float:
    """Volume of the primitive cell that the elements suggest, Å³."""
    table = wyckoff_table()
    first = int(table.group_start[space_group - 1])
    return float(sum(table.primitive_multiplicity[first + o.wyckoff] * element_volume[o.number] for o in orbits))


def rescaled(gene: Gene, orbits: Iterable[Orbit], element_volume: Array) -> Gene:
    """The gene with other orbits, its edges scaled by the volumes that the elements suggest before and after."""
    orbits = list(orbits)
    before = suggested_volume(gene.space_group, orbits_of(gene), element_volume)
    after = suggested_volume(gene.space_group, orbits, element_volume)
    scale = (after / before) ** (1.0 / 3.0) if before > 0.0 and after > 0.0 else 1.0
    return gene_of(gene.space_group, orbits, scaled_lattice(gene, scale))


def scaled_lattice(gene: Gene, scale: float) -> tuple[float, ...]:
    """The free lattice parameters with all lengths multiplied by `scale`."""
    free = FREE_LATTICE[lattice_family(gene.space_group)]
    return tuple(round(v * scale if k < 3 else v, 5) for k, v in zip(free, gene.free_lattice, strict=True))


def relabelled(gene: Gene, swaps: Mapping[int, int], element_volume: Array) -> Gene:
    """The gene with elements exchanged everywhere, and the volume that they suggest."""
    orbits = [Orbit(o.wyckoff, swaps.get(o.number, o.number), o.coords) for o in orbits_of(gene)]
    return rescaled(gene, orbits, element_volume)
