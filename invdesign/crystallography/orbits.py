"""Orbits of atoms whose coordinates were rounded: what lies on a special position within the printed digits is
put there.

A coordinate printed as 0.333 may be anything from 0.332 to 0.334 (rounded or cut off), so an atom printed at
(0.333, 0.667, z) may lie on the threefold axis; its copies, a hundredth of an ångström apart, are then one atom.
"""

from __future__ import annotations

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.crystallography.settings import Setting

SAME = 0.05
"""Å: atoms nearer than this are one atom in any crystal, whatever the digits."""
APART = 0.5
"""Å: no two atoms of a crystal are nearer (H2 has 0.74 Å), so what is farther apart is never merged."""
_EXACT = 1e-5
_ROUNDS = 4


def orbit(setting: Setting, position: FloatArray, slack: FloatArray, metric: FloatArray) -> FloatArray:
    """All atoms of an orbit in the cell.

    Copies that the printed digits allow to be one atom are one; others are kept, however near, for whoever judges
    distances.

    Args:
        setting: the operations.
        position: (3,) fractional coordinates as printed.
        slack: (3,) how far each may be off by its printed digits.
        metric: (3, 3) metric tensor of the cell, Å².

    Returns:
        (n, 3) fractional coordinates; n divides the group's order.

    Raises:
        ValueError: if copies lie on top of each other and no position near to the printed one is special.
    """
    images = setting.rotations @ position + setting.translations
    moves, lengths = _moves(images, position, metric)
    reach = np.abs(setting.rotations - np.eye(3)) @ slack + 1e-9
    near = (lengths < SAME) | ((np.abs(moves) <= reach).all(axis=1) & (lengths < APART))
    if near.sum() == 1:
        return images
    settled = position + moves[near].mean(axis=0)
    for _ in range(_ROUNDS):
        special = setting.rotations @ settled + setting.translations
        moves, distances = _moves(special, settled, metric)
        is_fixed = distances < SAME
        if distances[is_fixed].max() < _EXACT:
            break
        settled = settled + moves[is_fixed].mean(axis=0)
    shift = settled - position
    is_allowed = bool((np.abs(shift) <= slack * (1.0 + 1e-6) + 1e-9).all()) or lengths_of(shift, metric) < SAME
    if is_allowed and distances[is_fixed].max() < _EXACT:
        return _distinct(special, int(is_fixed.sum()))
    nearest = float(np.partition(lengths, 1)[1])
    if nearest < SAME:
        raise ValueError(f"{nearest:.2g} Å from a copy of itself, on no special position")
    return images


def _moves(images: FloatArray, position: FloatArray, metric: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shortest fractional moves from a position to its images, and their lengths in Å."""
    moves = images - position
    moves -= np.rint(moves)
    return moves, lengths_of(moves, metric)


def lengths_of(moves: FloatArray, metric: FloatArray) -> FloatArray:
    """Lengths of fractional moves, Å; any leading shape."""
    squares: FloatArray = np.einsum("...i,ij,...j->...", moves, metric, moves)
    lengths: FloatArray = np.sqrt(np.maximum(squares, 0.0))
    return lengths


def _distinct(images: FloatArray, times: int) -> FloatArray:
    """One of each set of `times` equal images, in order."""
    if times == 1:
        return images
    moves = images[:, None] - images
    first = (np.abs(moves - np.rint(moves)) < 1e-4).all(axis=2).argmax(axis=1)
    return np.asarray(images[np.unique(first)])
