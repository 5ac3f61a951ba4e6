"""Are two crystals the same? pymatgen's StructureMatcher with its default settings is the referee.

The settings are ltol 0.2, stol 0.3, angle_tol 5 degrees, primitive cells, volumes scaled to each other, no
supercells. Reducing a structure costs more than comparing two, so it is done once per structure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from invdesign.crystal import Crystal

if TYPE_CHECKING:
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

FLATTEST = 200.0
"""Cells whose reduced edges differ by more than this factor are not compared: the matcher would not end."""


def reduced(crystal: Crystal) -> Structure:
    """The Niggli-reduced primitive structure that the matcher compares.

    Raises:
        ValueError: if the cell cannot be reduced.
    """
    from pymatgen.core import Structure

    structure = Structure(crystal.lattice, crystal.numbers.tolist(), crystal.frac_coords)
    try:
        found = structure.get_reduced_structure(reduction_algo="niggli").get_primitive_structure()
    except Exception as error:  # pymatgen raises whatever its linear algebra does
        raise ValueError(f"the cell cannot be reduced: {error}") from None
    if max(found.lattice.abc) > FLATTEST * min(found.lattice.abc):
        raise ValueError(f"the cell is more than {FLATTEST:g} times as long as wide")
    return found


def same(first: Structure, second: Structure) -> bool:
    """Whether two structures from `reduced` are one crystal; symmetric, so that order decides nothing."""
    if len(first) != len(second) or not _alike(first, second):
        return False
    return bool(_matcher().fit(first, second, symmetric=False, skip_structure_reduction=True)) or bool(
        _matcher().fit(second, first, symmetric=False, skip_structure_reduction=True)
    )


def _alike(first: Structure, second: Structure) -> bool:
    """Whether the edges of the reduced cells, brought to one volume, are within a factor of two.

    The matcher allows 20 % for an edge; where they differ by more than this it finds nothing, and takes minutes
    over it for very flat cells.
    """
    scale = (first.volume / second.volume) ** (1.0 / 3.0)
    edges = zip(sorted(first.lattice.abc), sorted(second.lattice.abc), strict=True)
    return all(0.5 < a / (scale * b) < 2.0 for a, b in edges)


@lru_cache(maxsize=1)
def _matcher() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher()
