"""What a viewer draws of a crystal: the atoms of its cell with those on its faces, bonds, and the cell's edges."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from invdesign.chemistry.families import anion_class
from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.symmetry import primitive
from invdesign.elements import symbol

MOST_ATOMS = 140
"""A cell that would show more is shown primitive, and at most this many atoms of it."""
REACH = 1.15
"""Two atoms are bonded within this multiple of the sum of their covalent radii (Cordero et al., 2008)."""
EDGE = 1e-3
"""An atom this near to a face (fractional) is shown on the opposite face too."""


def scene(crystal: Crystal) -> dict[str, Any]:
    """The scene as JSON: coordinates in Å, the cell's centre at the origin.

    Returns:
        `cell` (3, 3) lattice vectors, `elements` with symbol, colour and drawn radius (Å), `atoms` as
        [element, x, y, z] and `bonds` as pairs of atoms.
    """
    shown = _shown(crystal)
    if len(shown[0]) > MOST_ATOMS:
        crystal = primitive(crystal, 1e-2)
        shown = _shown(crystal)
    numbers, frac = shown[0][:MOST_ATOMS], shown[1][:MOST_ATOMS]
    positions = (frac - 0.5) @ crystal.lattice
    kinds = sorted(set(numbers.tolist()))
    places = {z: k for k, z in enumerate(kinds)}
    return {
        "cell": np.round(crystal.lattice, 3).tolist(),
        "elements": [_element(z) for z in kinds],
        "atoms": [
            [places[z], *np.round(xyz, 2).tolist()] for z, xyz in zip(numbers.tolist(), positions, strict=True)
        ],
        "bonds": _bonds(numbers, positions),
    }


def _shown(crystal: Crystal) -> tuple[IntArray, FloatArray]:
    """Atomic numbers and fractional coordinates of the atoms in the cell and on its faces."""
    frac = crystal.frac_coords % 1.0
    frac[frac > 1.0 - EDGE] = 0.0
    numbers, coords = [], []
    for z, xyz in zip(crystal.numbers, frac, strict=True):
        choices = [(x, x + 1.0) if x < EDGE else (x,) for x in xyz]
        for place in itertools.product(*choices):
            numbers.append(int(z))
            coords.append(place)
    return np.array(numbers), np.array(coords)


def _element(z: int) -> dict[str, Any]:
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    red, green, blue = (round(255 * channel) for channel in jmol_colors[z])
    radius = round(0.2 + 0.22 * float(covalent_radii[z]), 3)
    return {"symbol": symbol(z), "color": f"#{red:02x}{green:02x}{blue:02x}", "radius": radius}


def _bonds(numbers: IntArray, positions: FloatArray) -> list[list[int]]:
    """Pairs of atoms within bonding distance; in a compound of a non-metal, pairs of metals are left out."""
    from ase.data import covalent_radii

    radii = covalent_radii[numbers]
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    near = (distance < REACH * (radii[:, None] + radii[None])) & (distance > 0.4)
    if anion_class(numbers.tolist()) not in ("intermetallic", "element"):
        other = np.array([anion_class((z, 11)) == "intermetallic" or z == 11 for z in numbers.tolist()])
        near &= ~(other[:, None] & other[None])
    return np.argwhere(np.triu(near, 1)).tolist()
