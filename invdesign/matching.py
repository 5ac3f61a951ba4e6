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


def reduced(crystal: Crystal) -> Structure:
    """The Niggli-reduced primitive structure that the matcher compares.

    Raises:
        ValueError: if the cell cannot be reduced.
    """
    from pymatgen.core import Structure

    structure = Structure(crystal.lattice, crystal.numbers.tolist(), crystal.frac_coords)
    try:
        return structure.get_reduced_structure(reduction_algo="niggli").get_primitive_structure()
    except Exception as error:  # pymatgen raises whatever its linear algebra does
        raise ValueError(f"the cell cannot be reduced: {error}") from None


def same(first: Structure, second: Structure) -> bool:
    """Whether two structures from `reduced` are one crystal; symmetric, so that order decides nothing."""
    if len(first) != len(second):
        return False
    return bool(_matcher().fit(first, second, symmetric=False, skip_structure_reduction=True)) or bool(
        _matcher().fit(second, first, symmetric=False, skip_structure_reduction=True)
    )


@lru_cache(maxsize=1)
def _matcher() -> StructureMatcher:
    from pymatgen.analysis.structure_matcher import StructureMatcher

    return StructureMatcher()
