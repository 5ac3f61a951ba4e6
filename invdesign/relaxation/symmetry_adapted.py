"""The changes of a crystal that its space group leaves free, as a few orthonormal coordinates.

A step along these coordinates cannot break the symmetry, and their number is that of the free lattice parameters
and free Wyckoff coordinates: one for rock salt, three for rutile (its two lattice parameters and the oxygen's x).

Conventions: fractional coordinates are columns for the operations, x' = R x + t; lattice vectors are rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.symmetry import operations


@dataclass(frozen=True, eq=False)
class SymmetryAdapted:
    """A symmetrised crystal and its free coordinates q = (strains, displacements).

    Attributes:
        crystal: the symmetrised starting point, q = 0 (a primitive cell).
        rotations: (n_ops, 3, 3) integer rotations of the space group in this cell.
        images: (n_ops, n_sites) index of the atom onto which each operation carries each atom.
        strains: (n_strains, 3, 3) orthonormal symmetric invariant strains.
        displacements: (n_displacements, n_sites, 3) orthonormal invariant Cartesian displacements, translations
            left out.
    """

    crystal: Crystal
    rotations: IntArray
    images: IntArray
    strains: FloatArray
    displacements: FloatArray

    @property
    def n_strains(self) -> int:
        """Number of free strains, 1 to 6; 0 where the cell is fixed."""
        return len(self.strains)

    @property
    def size(self) -> int:
        """Number of free coordinates."""
        return len(self.strains) + len(self.displacements)

    def at(self, q: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The (3, 3) lattice and (n_sites, 3) fractional coordinates at q.

        The strain is logarithmic: lattice = lattice_0 · exp(sum_k q_k B_k).
        """
        values, vectors = np.linalg.eigh(self._strain(q))
        stretch = (vectors * np.exp(values)) @ vectors.T
        shift = np.tensordot(q[self.n_strains :], self.displacements, axes=1)
        lattice = self.crystal.lattice
        return lattice @ stretch, self.crystal.frac_coords + shift @ np.linalg.inv(lattice)

    def gradient(self, q: FloatArray, forces: FloatArray, stress: FloatArray) -> FloatArray:
        """Derivative of the energy with respect to q, eV per Å or per unit strain.

        Args:
            q: (size,) where the forces were computed.
            forces: (n_sites, 3) eV/Å.
            stress: (3, 3) eV/Å³, positive in tension (the energy grows when the cell does), as in ASE.
        """
        values, vectors = np.linalg.eigh(self._strain(q))
        exponential = np.exp(values)
        stretch = (vectors * exponential) @ vectors.T
        volume = self.crystal.volume * float(exponential.prod())
        # dE = V tr(stress dF F^-1) with F = exp(strain); dF by the Daleckii-Krein formula in the eigenbasis
        pull = volume * vectors.T @ np.linalg.solve(stretch, stress) @ vectors
        difference = values[:, None] - values[None, :]
        mean = 0.5 * (values[:, None] + values[None, :])
        divided = np.exp(mean) * np.where(
            np.abs(difference) > 1e-9,
            np.sinh(0.5 * difference) / np.where(difference == 0, 1, 0.5 * difference),
            1.0,
        )
        strain_part = np.tensordot(self.strains, vectors @ (divided * pull) @ vectors.T, axes=2)
        displacement_part = np.tensordot(self.displacements, -forces @ stretch, axes=2)
        return np.concatenate([strain_part, displacement_part])

    def symmetric_forces(self, forces: FloatArray, lattice: FloatArray) -> FloatArray:
        """Average forces (n_sites, 3) over the space group at a lattice of this symmetry."""
        turns = cartesian(self.rotations, lattice)
        total = np.zeros_like(forces)
        for turn, image in zip(turns, self.images, strict=True):
            total[image] += forces @ turn.T
        return np.asarray(total / len(turns))

    def symmetric_stress(self, stress: FloatArray, lattice: FloatArray) -> FloatArray:
        """Average a (3, 3) stress over the point group at a lattice of this symmetry."""
        turns = cartesian(self.rotations, lattice)
        average = np.einsum("gij,jk,glk->il", turns, stress, turns) / len(turns)
        return np.asarray(0.5 * (average + average.T))

    def _strain(self, q: FloatArray) -> FloatArray:
        return np.asarray(np.tensordot(q[: self.n_strains], self.strains, axes=1))


def build(crystal: Crystal, symprec: float = 0.01) -> SymmetryAdapted:
    """Find the space group of a crystal, symmetrise it exactly and span its free coordinates.

    Args:
        crystal: a primitive cell (of another cell the pure translations count as symmetry too).
        symprec: distance tolerance of the symmetry search, Å.

    Raises:
        ValueError: if spglib finds no symmetry at all (overlapping atoms, a flat cell).
    """
    return _spanned(crystal, *operations(crystal, symprec))


def unconstrained(crystal: Crystal) -> SymmetryAdapted:
    """All six strains and all displacements but the translations of a cell as it is."""
    return _spanned(crystal, np.eye(3, dtype=np.int64)[None], np.zeros((1, 3)))


def _spanned(crystal: Crystal, rotations: IntArray, translations: FloatArray) -> SymmetryAdapted:
    images, shifts = images_of(crystal, rotations, translations)
    symmetrised = _symmetrise(crystal, rotations, translations, images, shifts)
    turns = cartesian(rotations, symmetrised.lattice)
    return SymmetryAdapted(symmetrised, rotations, images, _strains(turns), _displacements(turns, images))


def cartesian(rotations: IntArray, lattice: FloatArray) -> FloatArray:
    """Cartesian matrices (n, 3, 3) of fractional rotations, acting on columns."""
    return np.asarray(lattice.T @ rotations @ np.linalg.inv(lattice.T))


def images_of(crystal: Crystal, rotations: IntArray, translations: FloatArray) -> tuple[IntArray, FloatArray]:
    """Onto which atom each operation carries each atom, and by which whole cell vector it misses it.

    Raises:
        ValueError: if an operation does not permute the atoms.
    """
    coords = crystal.frac_coords
    moved = np.einsum("gij,nj->gni", rotations, coords) + translations[:, None, :]
    difference = moved[:, :, None, :] - coords[None, None, :, :]
    shifts = np.rint(difference)
    distance = np.linalg.norm((difference - shifts) @ crystal.lattice, axis=-1)
    distance[:, crystal.numbers[:, None] != crystal.numbers[None, :]] = np.inf
    images = distance.argmin(axis=2)
    if not (np.sort(images, axis=1) == np.arange(crystal.n_sites)).all():
        raise ValueError("a symmetry operation does not permute the atoms")
    picked = np.take_along_axis(shifts, images[:, :, None, None], axis=2)[:, :, 0, :]
    return np.asarray(images, dtype=np.int64), picked


def _symmetrise(
    crystal: Crystal, rotations: IntArray, translations: FloatArray, images: IntArray, shifts: FloatArray
) -> Crystal:
    """The nearest crystal with exactly this symmetry: averaged metric, averaged positions."""
    metric = crystal.lattice @ crystal.lattice.T
    metric = np.einsum("gji,jk,gkl->il", rotations, metric, rotations) / len(rotations)
    inverse = np.linalg.inv(crystal.lattice)
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    lattice = crystal.lattice @ (vectors * np.sqrt(values)) @ vectors.T
    moved = np.einsum("gij,nj->gni", rotations, crystal.frac_coords) + translations[:, None, :] - shifts
    coords = np.zeros_like(crystal.frac_coords)
    for image, place in zip(images, moved, strict=True):
        coords[image] += place
    return Crystal(lattice, crystal.numbers, coords / len(rotations), crystal.gene, crystal.source)


def _strains(turns: FloatArray) -> FloatArray:
    """Orthonormal basis of the symmetric matrices that all rotations leave alone, the isotropic one first."""
    basis = np.zeros((6, 3, 3))
    for k, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        basis[k, i, j] = basis[k, j, i] = 1.0 if i == j else np.sqrt(0.5)
    turned = np.einsum("gij,kjl,gml->kim", turns, basis, turns) / len(turns)
    flat = basis.reshape(6, 9)
    invariant = _fixed(flat @ turned.reshape(6, 9).T) @ flat
    isotropic = np.eye(3).reshape(1, 9) / np.sqrt(3.0)
    rest = invariant - (invariant @ isotropic.T) @ isotropic
    _, sizes, rows = np.linalg.svd(rest, full_matrices=False)
    return np.concatenate([isotropic, rows[sizes > 0.5]]).reshape(-1, 3, 3)


def _displacements(turns: FloatArray, images: IntArray) -> FloatArray:
    """Orthonormal basis (k, n_sites, 3) of the displacements that all operations leave alone."""
    n_ops, n = images.shape
    projector = np.zeros((n, 3, n, 3))
    atoms = np.arange(n)
    for turn, image in zip(turns, images, strict=True):
        projector[image, :, atoms, :] += turn / n_ops
    translations = np.tile(np.eye(3), (n, 1)) / np.sqrt(n)
    flat = projector.reshape(3 * n, 3 * n)
    rigid = translations @ translations.T
    return _fixed(flat - rigid @ flat @ rigid).reshape(-1, n, 3)


def _fixed(projector: FloatArray) -> FloatArray:
    """Rows that span the eigenspace 1 of an orthogonal projector."""
    values, vectors = np.linalg.eigh(0.5 * (projector + projector.T))
    return np.asarray(vectors[:, values > 0.5].T)
