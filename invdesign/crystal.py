"""A crystal, and its Wyckoff gene: the two forms in which everything travels.

Arrays are NumPy, lengths Å, lattice vectors are rows, angles degrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from invdesign.elements import SYMBOLS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Gene:
    """A crystal as its symmetry sees it, in the standard setting of its space group.

    The standard setting is that of the International Tables: unique axis b and cell choice 1, hexagonal axes
    for rhombohedral groups, origin choice 2.

    Attributes:
        space_group: number in the International Tables, 1 to 230.
        wyckoffs: one entry per orbit, the index of its Wyckoff position in that group (0 is `a`).
        numbers: one atomic number per orbit.
        free_coords: the free coordinates of all orbits, one orbit after the other, each in [0, 1).
        free_lattice: the free lattice parameters in the order a, b, c (Å), alpha, beta, gamma (degrees), with
            those that the crystal system fixes left out (cubic: a; hexagonal: a, c; monoclinic: a, b, c, beta).
    """

    space_group: int
    wyckoffs: tuple[int, ...]
    numbers: tuple[int, ...]
    free_coords: tuple[float, ...]
    free_lattice: tuple[float, ...]

    @property
    def wyckoff_sequence(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The discrete part: the group and the sorted (Wyckoff index, atomic number) pairs; hashable."""
        return self.space_group, tuple(sorted(zip(self.wyckoffs, self.numbers, strict=True)))


@dataclass(frozen=True, eq=False, repr=False)
class Crystal:
    """A periodic crystal. Its arrays are read-only copies: to change a crystal is to make another.

    Attributes:
        lattice: (3, 3) lattice vectors as rows, Å.
        numbers: (n_sites,) atomic numbers.
        frac_coords: (n_sites, 3) fractional coordinates.
        gene: the Wyckoff gene that it was built from or reduced to, if known.
        source: where it comes from: a material id, a file, a generator's name.
    """

    lattice: FloatArray
    numbers: IntArray
    frac_coords: FloatArray
    gene: Gene | None = None
    source: str = ""

    def __post_init__(self) -> None:
        """Copy the arrays, make the copies read-only and check the shapes.

        Raises:
            ValueError: if the shapes do not belong together or a number is not finite.
        """
        object.__setattr__(self, "lattice", _own(self.lattice, np.float64, (3, 3)))
        object.__setattr__(self, "numbers", _own(self.numbers, np.int64, (-1,)))
        object.__setattr__(self, "frac_coords", coords := _own(self.frac_coords, np.float64, (-1, 3)))
        if len(self.numbers) == 0 or len(coords) != len(self.numbers):
            raise ValueError(f"{len(self.numbers)} atomic numbers for {len(coords)} positions")
        if not (np.isfinite(self.lattice).all() and np.isfinite(coords).all()):
            raise ValueError("lattice or positions are not finite")

    def __repr__(self) -> str:
        """Content of the cell, space group if known, and source."""
        numbers, counts = np.unique(self.numbers, return_counts=True)
        names = [SYMBOLS[z - 1] if 0 < z <= len(SYMBOLS) else f"Z{z}:" for z in numbers.tolist()]
        cell = " ".join(f"{name}{count}" for name, count in zip(names, counts, strict=True))
        group = "" if self.gene is None else f", space group {self.gene.space_group}"
        return f"<Crystal {cell}{group}{f', {self.source}' if self.source else ''}>"

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy or what another process sent, whose arrays would be writeable."""
        self.__dict__.update(state)
        for array in (self.lattice, self.numbers, self.frac_coords):
            array.setflags(write=False)

    @property
    def n_sites(self) -> int:
        """Number of atoms in the cell."""
        return len(self.numbers)

    @cached_property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.lattice)))

    @cached_property
    def lattice_parameters(self) -> tuple[float, float, float, float, float, float]:
        """Lengths a, b, c (Å) and angles alpha, beta, gamma (degrees)."""
        lengths = np.linalg.norm(self.lattice, axis=1)
        unit = self.lattice / lengths[:, None]
        cosines = np.clip([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]], -1.0, 1.0)
        angles = np.degrees(np.arccos(cosines))
        a, b, c = map(float, lengths)
        return a, b, c, float(angles[0]), float(angles[1]), float(angles[2])


def _own(values: ArrayLike, dtype: type, shape: tuple[int, ...]) -> NDArray[Any]:
    """A read-only array that nobody else can change: the given one where it is such, otherwise a copy."""
    if type(values) is not np.ndarray or values.dtype != dtype or not _is_frozen(values):
        values = np.array(values, dtype=dtype)
        values.setflags(write=False)
    return values.reshape(shape)


def _is_frozen(array: NDArray[Any]) -> bool:
    owner = array if array.base is None else array.base
    return type(owner) is np.ndarray and owner.flags.owndata and not owner.flags.writeable
