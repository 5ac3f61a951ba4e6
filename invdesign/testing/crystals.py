"""Crystals that parts are tried on: six that exist, and five that no part may stumble over."""

from __future__ import annotations

from functools import cache

import numpy as np

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode

_GENES = (
    Gene(225, (0, 1), (12, 8), (), (4.21,)),
    Gene(221, (0, 1), (55, 17), (), (4.12,)),
    Gene(191, (0, 3), (22, 5), (), (3.03, 3.23)),
    Gene(221, (0, 1, 2), (38, 22, 8), (), (3.905,)),
    Gene(225, (0,), (29,), (), (3.615,)),
    Gene(152, (0, 2), (14, 8), (0.47, 0.413, 0.267, 0.786), (4.913, 5.405)),
)


@cache
def good_crystals() -> tuple[Crystal, ...]:
    """Rock salt MgO, CsCl, TiB2, perovskite SrTiO3, copper, alpha quartz."""
    return tuple(decode(_GENES, "contract"))


@cache
def strained_crystals() -> tuple[Crystal, ...]:
    """The good crystals, each 2 % too long in all directions: something for a relaxation to do."""
    genes = [
        Gene(g.space_group, g.wyckoffs, g.numbers, g.free_coords, tuple(1.02 * a for a in g.free_lattice))
        for g in _GENES
    ]
    return tuple(decode(genes, "contract"))


@cache
def broken_crystals() -> tuple[Crystal, ...]:
    """Two atoms on one place, a crushed cell, a nearly flat cell, a lone noble gas, an element without data."""
    cube = np.eye(3)
    return (
        Crystal(4.0 * cube, np.array([11, 17]), np.zeros((2, 3)), source="two atoms on one place"),
        Crystal(0.8 * cube, np.array([74]), np.zeros((1, 3)), source="crushed"),
        Crystal(np.diag([5.0, 5.0, 1e-3]), np.array([6]), np.zeros((1, 3)), source="flat"),
        Crystal(60.0 * cube, np.array([2]), np.zeros((1, 3)), source="a lone noble gas"),
        Crystal(4.0 * cube, np.array([118, 8]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), source="oganesson"),
    )


def all_crystals() -> tuple[Crystal, ...]:
    """Good and broken ones."""
    return (*good_crystals(), *broken_crystals())


def identical(first: Crystal, second: Crystal) -> bool:
    """Whether two cells, of whatever choice, are one crystal: same lengths to 1 %, atoms on the same places."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    # the matcher itself would reduce cells by 0.25 Å, in which a pseudo-symmetric crystal has two primitive cells
    matcher = StructureMatcher(ltol=0.01, stol=0.02, angle_tol=0.5, scale=False, primitive_cell=False)
    whole = (Structure(c.lattice, c.numbers.tolist(), c.frac_coords) for c in (first, second))
    a, b = (structure.get_primitive_structure(tolerance=0.01) for structure in whole)
    return bool(matcher.fit(a, b))
