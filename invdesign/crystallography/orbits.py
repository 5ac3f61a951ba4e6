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
"""Å: no two atoms of a crystal are nearer (H2 has 0.74 Å); copies of an atom that are, and are not one atom,
are an error."""
_EXACT = 1e-5
_ROUNDS = 4


def orbit(setting: Setting, position: FloatArray, slack: FloatArray, metric: FloatArray) -> FloatArray:
    """All atoms of an orbit in the cell.

    Args:
        setting: the operations.
        position: (3,) fractional coordinates as printed.
        slack: (3,) how far each may be off by its printed digits.
        metric: (3, 3) metric tensor of the cell, Å².

    Returns:
        (n, 3) fractional coordinates, the first nearest to `position`; n divides the group's order.

    Raises:
        ValueError: if copies are nearer than `APART` and the digits do not allow that they are one atom.
    """
    images = setting.rotations @ position + setting.translations
    moves = images - position
    moves -= np.rint(moves)
    lengths = lengths_of(moves, metric)
    if not (lengths < APART).sum() > 1:
        return np.asarray(images)
    reach = np.abs(setting.rotations - np.eye(3)) @ slack + 1e-9
    near = (lengths < SAME) | ((np.abs(moves) <= reach).all(axis=1) & (lengths < APART))
    settled = position + moves[near].mean(axis=0)
    for _ in range(_ROUNDS):
        images = setting.rotations @ settled + setting.translations
        moves = images - settled
        moves -= np.rint(moves)
        lengths = lengths_of(moves, metric)
        near = lengths < SAME
        if lengths[near].max() < _EXACT:
            break
        settled = settled + moves[near].mean(axis=0)
    if (
        _is_too_far(settled - position, slack, metric)
        or (lengths[~near] < APART).any()
        or lengths[near].max() > _EXACT
    ):
        nearest = float(lengths[lengths > _EXACT].min(initial=np.inf))
        raise ValueError(f"{nearest:.2g} Å from a copy of itself, more than its printed digits allow")
    return _distinct(images, int(near.sum()))


def lengths_of(moves: FloatArray, metric: FloatArray) -> FloatArray:
    """Lengths of fractional moves, Å; any leading shape."""
    return np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", moves, metric, moves), 0.0))


def _is_too_far(shift: FloatArray, slack: FloatArray, metric: FloatArray) -> bool:
    return bool((np.abs(shift) > slack * (1.0 + 1e-6) + 1e-9).any() and lengths_of(shift, metric) > SAME)


def _distinct(images: FloatArray, times: int) -> FloatArray:
    """One of each set of `times` equal images, in order."""
    if times == 1:
        return images
    moves = images[:, None] - images
    first = (np.abs(moves - np.rint(moves)) < 1e-4).all(axis=2).argmax(axis=1)
    return np.asarray(images[np.unique(first)])
