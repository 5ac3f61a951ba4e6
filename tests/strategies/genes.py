"""Wyckoff genes of all space groups, with atoms that keep their distance."""

from __future__ import annotations

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from invdesign.crystal import Gene
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.genes import decode
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table

ELEMENTS = (3, 5, 6, 7, 8, 9, 12, 13, 14, 16, 20, 22, 26, 29, 38, 40, 47, 56, 72, 74)
COORDINATES = st.integers(21, 979).map(lambda k: k / 1000.0 + 0.000123)
"""Free coordinates off the special values, at which an orbit falls onto another."""
LENGTHS = (4.31, 5.17, 6.03)
ANGLES = (83.0, 98.0, 105.0)


@st.composite
def genes(
    draw: st.DrawFn,
    groups: st.SearchStrategy[int] | None = None,
    orbits: int = 3,
    most_sites: int = 24,
    least_distance: float = 0.9,
) -> Gene:
    """A gene whose crystal has at most `most_sites` atoms, none nearer than `least_distance` (Å) to another.

    Args:
        draw: handed in by Hypothesis.
        groups: space group numbers (None: all).
        orbits: largest number of occupied positions.
        most_sites: in the primitive cell.
        least_distance: Å.
    """
    table = wyckoff_table()
    group = draw(groups if groups is not None else st.integers(1, 230))
    first = int(table.group_start[group - 1])
    count = table.count(group)
    chosen = sorted(draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=orbits)))
    freedom = [int(table.freedom[first + w]) for w in chosen]
    fixed = [w for w, f in zip(chosen, freedom, strict=True) if f == 0]
    assume(len(fixed) == len(set(fixed)))
    assume(sum(int(table.primitive_multiplicity[first + w]) for w in chosen) <= most_sites)
    numbers = draw(st.lists(st.sampled_from(ELEMENTS), min_size=len(chosen), max_size=len(chosen)))
    free = draw(st.lists(COORDINATES, min_size=sum(freedom), max_size=sum(freedom)))
    scale = draw(st.floats(1.0, 1.8))
    full = np.array([*(scale * length for length in LENGTHS), *ANGLES])
    lattice = tuple(full[list(FREE_LATTICE[lattice_family(group)])].tolist())
    gene = Gene(group, tuple(chosen), tuple(numbers), tuple(free), lattice)
    assume(shortest_distance(decode([gene])[0]) >= least_distance)
    return gene
