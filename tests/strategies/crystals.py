"""Crystals, and the many forms in which one and the same crystal may be written down."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from strategies.genes import genes


@st.composite
def crystals(draw: st.DrawFn, with_gene: bool = True, **options: object) -> Crystal:
    """The crystal of a gene; without one, it has to be found.

    Args:
        draw: handed in by Hypothesis.
        with_gene: whether the crystal carries its gene.
        options: of `genes`.
    """
    crystal = decode([draw(genes(**options))], "strategy")[0]  # type: ignore[arg-type]
    return crystal if with_gene else bare(crystal)


def bare(crystal: Crystal) -> Crystal:
    """The crystal without its gene."""
    return Crystal(crystal.lattice, crystal.numbers, crystal.frac_coords, source=crystal.source)


@st.composite
def unimodular(draw: st.DrawFn, steps: int = 3, most: int = 2) -> np.ndarray:
    """An integer (3, 3) matrix of determinant one: another choice of cell of the same lattice."""
    matrix = np.eye(3, dtype=np.int64)
    for _ in range(draw(st.integers(1, steps))):
        row, other = draw(st.permutations(range(3)))[:2]
        matrix[row] += draw(st.integers(-most, most)) * matrix[other]
    return matrix


@st.composite
def rotations(draw: st.DrawFn) -> np.ndarray:
    """A (3, 3) rotation matrix, from a unit quaternion."""
    q = np.array([draw(st.floats(-1.0, 1.0)) for _ in range(4)]) + np.array([1.1, 0.0, 0.0, 0.0])
    w, x, y, z = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def translated(crystal: Crystal, shift: Sequence[float]) -> Crystal:
    """All atoms moved by the same fractional vector: another origin."""
    return Crystal(
        crystal.lattice, crystal.numbers, crystal.frac_coords + np.asarray(shift), source=crystal.source
    )


def permuted(crystal: Crystal, order: Sequence[int] | np.ndarray) -> Crystal:
    """The atoms in another order."""
    rows = list(order)
    return Crystal(crystal.lattice, crystal.numbers[rows], crystal.frac_coords[rows], source=crystal.source)


def in_cell(crystal: Crystal, matrix: np.ndarray) -> Crystal:
    """The crystal in the cell with the vectors `matrix @ lattice`, with as many atoms more as it is larger."""
    size = round(abs(float(np.linalg.det(matrix))))
    shifts = np.array(list(itertools.product(range(-4 * size, 4 * size + 1), repeat=3))) if size > 1 else None
    inverse = np.linalg.inv(matrix)
    if shifts is None:
        return Crystal(matrix @ crystal.lattice, crystal.numbers, np.mod(crystal.frac_coords @ inverse, 1.0))
    inside = np.mod(shifts @ inverse + 1e-9, 1.0).round(6)
    _, chosen = np.unique(inside, axis=0, return_index=True)
    coords = np.concatenate([(crystal.frac_coords + shifts[k]) @ inverse for k in chosen])
    numbers = np.tile(crystal.numbers, len(chosen))
    return Crystal(matrix @ crystal.lattice, numbers, np.mod(coords, 1.0), source=crystal.source)


def rotated(crystal: Crystal, rotation: np.ndarray) -> Crystal:
    """The whole crystal turned in space."""
    return Crystal(crystal.lattice @ rotation.T, crystal.numbers, crystal.frac_coords, source=crystal.source)


@dataclass(frozen=True)
class Form:
    """A way to write a crystal down.

    Attributes:
        name: what is done.
        apply: does it.
    """

    name: str
    apply: Callable[[Crystal], Crystal]

    def __repr__(self) -> str:
        """The name, for Hypothesis's reports."""
        return self.name


SUPERCELLS = (np.diag([2, 1, 1]), np.diag([1, 1, 2]), np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]]))


@st.composite
def equal_forms(draw: st.DrawFn, supercells: bool = True) -> Form:
    """A change that leaves the crystal the same: origin, order, axes, whole cells, a supercell, a rotation."""
    kinds = ["translation", "permutation", "cell choice", "whole cells", "rotation"] + ["supercell"] * supercells
    kind = draw(st.sampled_from(kinds))
    if kind == "translation":
        shift = [draw(st.integers(0, 999)) / 1000.0 for _ in range(3)]
        return Form(f"translation by {shift}", lambda c: translated(c, shift))
    if kind == "permutation":
        seed = draw(st.integers(0, 2**16))
        return Form(
            "permutation", lambda c: permuted(c, np.random.default_rng(seed).permutation(c.n_sites).tolist())
        )
    if kind == "whole cells":
        seed = draw(st.integers(0, 2**16))
        return Form("whole cells", lambda c: _by_whole_cells(c, np.random.default_rng(seed)))
    if kind == "rotation":
        turn = draw(rotations())
        return Form("rotation", lambda c: rotated(c, turn))
    matrix = draw(unimodular()) if kind == "cell choice" else draw(st.sampled_from(SUPERCELLS))
    return Form(f"{kind} {matrix.tolist()}", lambda c: in_cell(c, matrix))


def _by_whole_cells(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    shifts = rng.integers(-2, 3, (crystal.n_sites, 3))
    return Crystal(crystal.lattice, crystal.numbers, crystal.frac_coords + shifts, source=crystal.source)
