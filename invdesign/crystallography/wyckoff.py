"""The Wyckoff positions of the 230 space groups as affine maps: one table, read once, used in batches.

A position is addressed by its index in the table, `start(group) + wyckoff index` (0 is `a`). The points of an
orbit are `R u + t` in the conventional cell of the standard setting, with the free coordinates `u`; the first
`primitive_multiplicity` maps fill one primitive cell. Made by `scripts/build_wyckoff_table.py`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from invdesign.crystal import FloatArray, IntArray
from invdesign.tables import read_arrays

FREE_LATTICE: dict[str, tuple[int, ...]] = {
    "triclinic": (0, 1, 2, 3, 4, 5),
    "monoclinic": (0, 1, 2, 4),
    "orthorhombic": (0, 1, 2),
    "tetragonal": (0, 2),
    "hexagonal": (0, 2),
    "cubic": (0,),
}
"""Which of a, b, c, alpha, beta, gamma are free, by lattice family (trigonal groups use hexagonal axes)."""


@dataclass(frozen=True)
class WyckoffTable:
    """All arrays of the table.

    Attributes:
        rotation: (n_maps, 3, 3) linear parts R; columns beyond the position's freedom are zero.
        translation: (n_maps, 3) shifts t.
        left_inverse: (n_maps, 3, 3) matrices S with S R = 1 on the free coordinates.
        map_start: (n_positions,) first map of each position.
        multiplicity: (n_positions,) points in the conventional cell.
        primitive_multiplicity: (n_positions,) points in a primitive cell.
        freedom: (n_positions,) number of free coordinates, 0 to 3.
        site_symmetry: (n_positions,) index into `site_symmetry_names`.
        site_symmetry_names: oriented site-symmetry symbols.
        letter: (n_positions,) Wyckoff letters.
        group_start: (231,) first position of group g at `group_start[g - 1]`, end at `group_start[g]`.
        primitive_cell: (230, 3, 3) matrices P with `primitive lattice = P @ conventional lattice` (rows).
        enumeration: (n_positions,) rank among the positions of the group with the same site symmetry.
        normalizer_linear: (n_changes, 3, 3) linear parts of the origin and axis changes that map each group on
            itself and relabel its positions; those of group g start at `normalizer_start[g - 1]`, identity first.
        normalizer_shift: (n_changes, 3) their shifts; a point x goes to `linear @ x + shift`.
        normalizer_permutation: (n_changes, 27) where each Wyckoff index goes.
        normalizer_start: (231,) bounds of the groups in these arrays.
    """

    rotation: FloatArray
    translation: FloatArray
    left_inverse: FloatArray
    map_start: IntArray
    multiplicity: IntArray
    primitive_multiplicity: IntArray
    freedom: IntArray
    site_symmetry: IntArray
    site_symmetry_names: tuple[str, ...]
    letter: tuple[str, ...]
    group_start: IntArray
    primitive_cell: FloatArray
    enumeration: IntArray
    normalizer_linear: FloatArray
    normalizer_shift: FloatArray
    normalizer_permutation: IntArray
    normalizer_start: IntArray

    def count(self, space_group: int) -> int:
        """Number of Wyckoff positions of a group."""
        return int(self.group_start[space_group] - self.group_start[space_group - 1])

    def index(self, space_group: int, wyckoff: int) -> int:
        """Index of a position in the table.

        Raises:
            ValueError: if the group has no such position.
        """
        if not (1 <= space_group <= 230 and 0 <= wyckoff < self.count(space_group)):
            raise ValueError(f"space group {space_group} has no Wyckoff position number {wyckoff}")
        return int(self.group_start[space_group - 1]) + wyckoff

    def label(self, space_group: int, wyckoff: int) -> str:
        """Multiplicity and letter, e.g. `4a`."""
        position = self.index(space_group, wyckoff)
        return f"{self.multiplicity[position]}{self.letter[position]}"


@cache
def wyckoff_table() -> WyckoffTable:
    """The table, loaded once."""
    raw = read_arrays("wyckoff.npz")
    start, site = raw["group_start"].astype(np.int64), raw["site_symmetry"].astype(np.int64)
    enumeration = np.zeros(len(site), dtype=np.int64)
    for first, last in itertools.pairwise(start):
        for k in range(first, last):
            enumeration[k] = np.count_nonzero(site[first:k] == site[k])
    return WyckoffTable(
        rotation=raw["rotation"].astype(np.float64),
        translation=raw["translation"].astype(np.float64) / 24.0,
        left_inverse=raw["left_inverse"].astype(np.float64),
        map_start=raw["map_start"].astype(np.int64),
        multiplicity=raw["multiplicity"].astype(np.int64),
        primitive_multiplicity=raw["primitive_multiplicity"].astype(np.int64),
        freedom=raw["freedom"].astype(np.int64),
        site_symmetry=site,
        site_symmetry_names=tuple(raw["site_symmetry_names"].tolist()),
        letter=tuple(raw["letter"].tolist()),
        group_start=start,
        primitive_cell=raw["primitive_cell"].astype(np.float64) / 6.0,
        enumeration=enumeration,
        normalizer_linear=raw["normalizer_linear"].astype(np.float64),
        normalizer_shift=raw["normalizer_shift"].astype(np.float64) / 24.0,
        normalizer_permutation=raw["normalizer_permutation"].astype(np.int64),
        normalizer_start=raw["normalizer_start"].astype(np.int64),
    )


def lattice_family(space_group: int) -> str:
    """Lattice family of a group: the key into `FREE_LATTICE`."""
    limits = ((2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"), (194, "hexagonal"))
    return next((name for last, name in limits if space_group <= last), "cubic")


def free_lattice_names(space_group: int) -> tuple[str, ...]:
    """Names of the free lattice parameters of a group, in the order of `Gene.free_lattice`."""
    names = ("a", "b", "c", "alpha", "beta", "gamma")
    return tuple(names[k] for k in FREE_LATTICE[lattice_family(space_group)])
