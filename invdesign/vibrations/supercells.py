"""Supercells for phonons: long enough, as small as that allows, and with the symmetry of the crystal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.distances import reduce_lattice
from invdesign.crystallography.symmetry import conventional

_MOST = 12
"""Multiples of a cell that are tried."""


def shortest_vector(lattice: FloatArray) -> float:
    """Length of the shortest vector of a lattice, Å."""
    return float(np.linalg.norm(reduce_lattice(lattice)[0], axis=1).min())


def choose(crystal: Crystal, min_length: float, max_atoms: int) -> tuple[IntArray, float]:
    """The smallest supercell whose shortest lattice vector has a length, among those that keep the point group.

    These are multiples of the primitive cell, and the conventional cell with each axis multiplied (axes of equal
    length alike). Multiples are even, so that waves that alternate from cell to cell fit. Where `max_atoms` allows
    none, the one with the longest shortest vector is taken.

    Args:
        crystal: a primitive cell.
        min_length: Å.
        max_atoms: of the supercell; the primitive cell itself is always allowed.

    Returns:
        The (3, 3) integer matrix that multiplies the lattice (rows are vectors), and the length of the shortest.
    """
    found = [(shortest_vector(m @ crystal.lattice), _volume(m), m) for m in _candidates(crystal, min_length)]
    allowed = [item for item in found if item[1] * crystal.n_sites <= max_atoms] or found[:1]
    enough = [item for item in allowed if item[0] >= min_length - 1e-6]
    if enough:
        length, _, matrix = min(enough, key=lambda item: (item[1], -item[0]))
    else:
        length, _, matrix = max(allowed, key=lambda item: (round(item[0], 6), -item[1]))
    return matrix, length


def _volume(matrix: IntArray) -> int:
    return abs(round(float(np.linalg.det(matrix))))


def _candidates(crystal: Crystal, min_length: float) -> Iterator[IntArray]:
    """The primitive cell, its even multiples, and the conventional cell with its axes once or an even number of
    times."""
    yield from (n * np.eye(3, dtype=np.int64) for n in (1, *range(2, _MOST + 1, 2)))
    lattice = conventional(crystal).lattice
    matrix = np.rint(lattice @ np.linalg.inv(crystal.lattice)).astype(np.int64)
    if _volume(matrix) < 1 or not np.allclose(matrix @ crystal.lattice, lattice, atol=1e-2):
        return
    lengths = np.linalg.norm(lattice, axis=1)
    for length in np.linspace(0.0, min_length, 41)[1:]:
        multiples = np.ceil(length / lengths - 1e-3).clip(1, _MOST).astype(np.int64)
        multiples += (multiples > 1) & (multiples % 2 == 1)
        yield _right_handed(multiples[:, None] * matrix)


def _right_handed(matrix: IntArray) -> IntArray:
    """The matrix, or minus it, with a positive determinant; the lattice is the same."""
    return matrix if np.linalg.det(matrix) > 0 else -matrix


def commensurate(q: FloatArray, lattice: FloatArray, most: int = 8) -> IntArray | None:
    """The smallest supercell in which a wave of this wave vector repeats, with short vectors.

    Args:
        q: (3,) in reciprocal lattice vectors.
        lattice: (3, 3) rows, Å.
        most: cells of the supercell.

    Returns:
        The (3, 3) integer matrix that multiplies the lattice, or None where it would have more cells.
    """
    for size in range(1, most + 1):
        for matrix in _sublattices(size):
            phase = matrix @ q
            if np.abs(phase - np.rint(phase)).max() < 1e-6:
                _, turn = reduce_lattice(matrix @ lattice)
                return _right_handed(np.asarray(turn @ matrix, dtype=np.int64))
    return None


def _sublattices(size: int) -> Iterator[IntArray]:
    """Every sublattice of this index, as a lower triangular Hermite normal form."""
    for a in (n for n in range(1, size + 1) if size % n == 0):
        for b in (n for n in range(1, size // a + 1) if (size // a) % n == 0):
            c = size // (a * b)
            for x, y, z in itertools.product(range(a), range(a), range(b)):
                yield np.array([[a, 0, 0], [x, b, 0], [y, z, c]], dtype=np.int64)


def multiplied(crystal: Crystal, matrix: IntArray) -> Crystal:
    """The supercell of a crystal.

    Args:
        crystal: any cell.
        matrix: (3, 3) integers that multiply the lattice, rows are vectors.
    """
    from ase import Atoms
    from ase.build import make_supercell

    atoms = Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)
    large = make_supercell(atoms, matrix)
    return Crystal(large.cell.array, large.numbers, large.get_scaled_positions(), None, crystal.source)
