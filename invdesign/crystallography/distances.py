"""Distances between atoms under periodic boundary conditions, measured against covalent radii.

Exact for every cell: the search covers all periodic images that could be nearer than what is already found, so a
skewed cell hides nothing.
"""

from __future__ import annotations

import math

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray

# fmt: off
COVALENT_RADII: FloatArray = np.array([
    np.nan, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07, 1.05, 1.02,
    1.06, 2.03, 1.76, 1.70, 1.60, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.20, 1.19, 1.20, 1.20,
    1.16, 2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39,
    1.40, 2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87,
    1.75, 1.70, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.40, 1.50, 1.50, 2.60, 2.21, 2.15,
    2.06, 2.00, 1.96, 1.90, 1.87, 1.80, 1.69,
] + [np.nan] * 22)
# fmt: on
"""Covalent radius by atomic number, Å: Cordero et al., Dalton Trans. 2008, 2832 (low-spin C sp3 values, as in
ASE); NaN where they give none (Z = 0 and Z > 96)."""

SHORTEST_TRANSLATION = 1.0
"""Å: no lattice of a crystal has a shorter vector (two atoms of H2 are 0.74 Å apart, two cells of any crystal
are not)."""
SMALLEST_ATOM = 1.0
"""Å³ per atom: diamond, which packs most atoms into a volume at ambient pressure, has 5.7."""
CLOSEST = 0.5
"""Smallest possible distance over the sum of covalent radii; in Å where an element has no radius."""
_IMAGE_LIMIT = 40_000
_PAIRS_AT_ONCE = 2**21


def shortest_ratio(crystal: Crystal) -> float:
    """Smallest d_ij / (r_i + r_j) over all pairs of atoms, periodic images included (an atom's own too).

    Args:
        crystal: any cell.

    Returns:
        The ratio: about 1 for a covalent bond, 0 for atoms on top of each other; NaN if an element has no radius.
    """
    return float(_shortest(crystal, COVALENT_RADII[crystal.numbers]))


def shortest_distance(crystal: Crystal) -> float:
    """Smallest distance between two atoms, Å, periodic images included."""
    return float(_shortest(crystal, np.full(crystal.n_sites, 0.5)))


def overlap(crystal: Crystal) -> str:
    """Which atoms are too near for any crystal, in words; empty if none are.

    No crystal known from experiment has atoms nearer than half the sum of their covalent radii (`docs/data.md`).
    """
    ratio = shortest_ratio(crystal)
    if ratio < CLOSEST:
        return f"two atoms at {ratio:.2g} of the sum of their covalent radii (at least {CLOSEST:g})"
    if math.isnan(ratio) and (distance := shortest_distance(crystal)) < CLOSEST:
        return f"two atoms at {distance:.2g} Å (at least {CLOSEST:g})"
    return ""


def covalent_volume_ratio(crystal: Crystal) -> float:
    """Volume of the cell over the summed volumes of its atoms' covalent spheres; NaN if a radius is missing."""
    radii = COVALENT_RADII[crystal.numbers]
    return float(crystal.volume / (4.0 / 3.0 * np.pi * (radii**3).sum()))


def cell_fault(lattice: FloatArray, n_atoms: int, is_reduced: bool = False) -> str:
    """Why no crystal can have this cell, in words; empty if one can. Cheap, so that it comes before any search.

    Args:
        lattice: (3, 3) rows, Å.
        n_atoms: number of atoms in it.
        is_reduced: whether the rows are already those of `reduce_lattice`.
    """
    volume = abs(float(np.linalg.det(lattice)))
    if volume < SMALLEST_ATOM * n_atoms:
        return f"{n_atoms} atoms in {volume:.3g} Å³, less than {SMALLEST_ATOM:g} Å³ for each"
    reduced = lattice if is_reduced else reduce_lattice(lattice)[0]
    shortest = math.sqrt((reduced * reduced).sum(axis=1).min())
    if shortest < SHORTEST_TRANSLATION:
        return f"the cell repeats after {shortest:.2g} Å, at least {SHORTEST_TRANSLATION:g} Å is possible"
    return ""


def reduce_lattice(lattice: FloatArray) -> tuple[FloatArray, IntArray]:
    """A basis of the same lattice with short vectors (Semaev's three-dimensional form of Gauss's reduction).

    Args:
        lattice: (3, 3) rows, Å.

    Returns:
        The reduced (3, 3) rows, shortest first, and the integer matrix `m` with `reduced = m @ lattice`.
    """
    gram = (lattice @ lattice.T).tolist()
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    order = [0, 1, 2]
    for _ in range(100):
        order.sort(key=lambda i: gram[i][i])
        if not (_shorten(gram, rows, order[1], order[0]) or _shorten(gram, rows, order[2], order[0], order[1])):
            break
    transform = np.array([rows[i] for i in order], dtype=np.int64)
    return transform @ lattice, transform


def _shorten(gram: list[list[float]], rows: list[list[int]], row: int, one: int, two: int | None = None) -> bool:
    """Take from one vector the nearest combination of one or two others; did that shorten it?"""
    best, step = gram[row][row] * (1.0 - 1e-10), (0, 0)
    for m, n in _combinations(gram, row, one, two):
        length = gram[row][row] - 2.0 * m * gram[row][one] + m * m * gram[one][one]
        if two is not None:
            length += n * n * gram[two][two] - 2.0 * n * gram[row][two] + 2.0 * m * n * gram[one][two]
        if length < best:
            best, step = length, (m, n)
    for other, times in zip((one, two), step, strict=True):
        if other is not None and times:
            rows[row] = [a - times * b for a, b in zip(rows[row], rows[other], strict=True)]
            gram[row] = [a - times * b for a, b in zip(gram[row], gram[other], strict=True)]
            for line in gram:
                line[row] -= times * line[other]
    return step != (0, 0)


def _combinations(gram: list[list[float]], row: int, one: int, two: int | None) -> list[tuple[int, int]]:
    """Integer coefficients around the real ones that bring the combination nearest to the vector."""
    if two is None:
        return [(round(gram[row][one] / gram[one][one]), 0)] if gram[one][one] > 0.0 else []
    determinant = gram[one][one] * gram[two][two] - gram[one][two] ** 2
    if determinant <= 0.0:
        return []
    m = round((gram[row][one] * gram[two][two] - gram[row][two] * gram[one][two]) / determinant)
    n = round((gram[row][two] * gram[one][one] - gram[row][one] * gram[one][two]) / determinant)
    return [(m + i, n + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]


def _shortest(crystal: Crystal, radii: FloatArray) -> float:
    """Smallest d_ij / (r_i + r_j) for the given radii, Å."""
    if not np.isfinite(radii).all():
        return float("nan")
    lattice, transform = reduce_lattice(crystal.lattice)
    if abs(np.linalg.det(lattice)) < 1e-6:
        return 0.0
    coords = crystal.frac_coords @ np.linalg.inv(transform)
    first, second = np.triu_indices(crystal.n_sites)
    delta = coords[first] - coords[second]
    delta -= np.rint(delta)
    sums = radii[first] + radii[second]
    images = _images(lattice, _bound(lattice, delta, sums, first != second) * float(sums.max()))
    shifts, is_home, is_own = images @ lattice, ~images.any(axis=1), first == second
    step, smallest = max(1, _PAIRS_AT_ONCE // len(images)), math.inf
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        squared = _squared(delta[part] @ lattice, shifts)
        squared[np.ix_(is_own[part], is_home)] = np.inf
        smallest = min(smallest, float((squared / (sums[part] * sums[part])[:, None]).min()))
    return math.sqrt(smallest)


def _bound(lattice: FloatArray, delta: FloatArray, sums: FloatArray, apart: FloatArray) -> float:
    """A ratio that the answer cannot exceed, from wrapped differences and the shortest lattice vectors."""
    own = np.sqrt((lattice * lattice).sum(axis=1).min()) / sums.min()
    vectors = delta[apart] @ lattice
    if not len(vectors):
        return float(own)
    pairs = np.sqrt((vectors * vectors).sum(axis=1)) / sums[apart]
    return float(min(own, pairs.min()))


def _images(lattice: FloatArray, reach: float) -> IntArray:
    """All cell shifts that can bring a wrapped difference (|x| <= 1/2) within `reach`, (n_images, 3)."""
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    most = np.floor(reach / spacing + 0.5 + 1e-9).astype(int)
    if np.prod(2.0 * most + 1) > _IMAGE_LIMIT:
        most = np.minimum(most, 16)
    images: IntArray = np.indices(2 * most + 1).reshape(3, -1).T - most
    return images


def _squared(pairs: FloatArray, shifts: FloatArray) -> FloatArray:
    """Squared lengths of every pair vector plus every shift, (n_pairs, n_images)."""
    squared = (pairs * pairs).sum(axis=1)[:, None] + (shifts * shifts).sum(axis=1) + 2.0 * (pairs @ shifts.T)
    return np.asarray(np.maximum(squared, 0.0))
