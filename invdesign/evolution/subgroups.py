"""Steps to a subgroup: half of an element's atoms, in the cell or in a doubled one, get another element.

The crystal with the new elements is read again as a gene, so its space group is whatever symmetry is left. Of some
ways to halve the atoms the most symmetric is taken.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.symmetry import quick_space_group

TRIES = 6
"""Ways to halve the atoms that are looked at."""
SYMPREC = 0.01
"""Tolerance (Å) of the symmetry of what results."""
DOUBLED = 0.5
"""Share of the steps in a doubled cell, where that fits."""


def decorated(rng: np.random.Generator, gene: Gene, old: int, new: int, max_sites: int) -> Gene | None:
    """A gene in which half of the atoms of element `old` are `new`; None where there is no way.

    Args:
        rng: source of randomness.
        gene: the parent.
        old: atomic number of the element whose atoms are replaced.
        new: atomic number of the element that takes their places.
        max_sites: largest primitive cell of the result.
    """
    try:
        cell = decode([gene])[0]
        if 2 * cell.n_sites <= max_sites and (rng.random() < DOUBLED or (cell.numbers == old).sum() < 2):
            cell = _doubled(cell, int(rng.integers(3)))
        best = max(_halved(rng, cell, old, new), key=lambda c: quick_space_group(c, SYMPREC) or 0, default=None)
        return None if best is None else encode(best, SYMPREC)
    except ValueError:
        return None


def _doubled(cell: Crystal, axis: int) -> Crystal:
    """The crystal in a cell of twice the length along one vector."""
    lattice, coords = cell.lattice.copy(), cell.frac_coords.copy()
    lattice[axis] *= 2.0
    coords[:, axis] /= 2.0
    shift = np.zeros(3)
    shift[axis] = 0.5
    return Crystal(lattice, np.tile(cell.numbers, 2), np.concatenate([coords, coords + shift]))


def _halved(rng: np.random.Generator, cell: Crystal, old: int, new: int) -> list[Crystal]:
    """The crystal with half of the atoms of one element exchanged, in some of the ways to choose them."""
    atoms = np.flatnonzero(cell.numbers == old)
    if len(atoms) < 2:
        return []
    half = len(atoms) // 2
    if len(atoms) <= 6:
        ways = [list(c) for c in combinations(atoms.tolist(), half)]
        ways = [ways[i] for i in rng.permutation(len(ways))[:TRIES]]
    else:
        ways = [_wave(rng, cell, atoms) for _ in range(TRIES)]
    made = []
    for way in ways:
        if 0 < len(way) < len(atoms):
            numbers = cell.numbers.copy()
            numbers[way] = new
            made.append(Crystal(cell.lattice, numbers, cell.frac_coords))
    return made


def _wave(rng: np.random.Generator, cell: Crystal, atoms: np.ndarray) -> list[int]:
    """About half of the atoms, chosen by the sign of a wave that fits the cell or twice the cell."""
    wave, phase = rng.integers(0, 3, 3) * 0.5, rng.random()
    signs = np.cos(2.0 * np.pi * (cell.frac_coords[atoms] @ wave + phase))
    return [int(a) for a in atoms[signs > 0.0]]
