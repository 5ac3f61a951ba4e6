"""Vibrations of crystals by phonopy with a universal potential: force constants, bands, free energy, expansion.

Phonopy (A. Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)) chooses the displacements by symmetry and does the lattice
dynamics; the potential gives the forces. The non-analytical term of polar crystals is left out, because universal
potentials know no charges: optical branches do not split at the zone centre.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.symmetry import operations
from invdesign.elements import symbol
from invdesign.relaxation.minimise import GiveUpError, evaluate

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from phonopy import Phonopy

SYMPREC = 1e-4
"""Tolerance of the symmetry search on a crystal that was relaxed within its space group, Å."""


def force_constants(
    crystal: Crystal, calculator: Calculator, supercell: IntArray, displacement: float = 0.03
) -> Phonopy:
    """Force constants of a relaxed crystal from symmetry-reduced displacements in a supercell.

    Args:
        crystal: a primitive cell.
        calculator: an ASE calculator with forces.
        supercell: (3, 3) integer matrix; its columns are the supercell's vectors in those of the cell.
        displacement: of one atom at a time, Å.

    Raises:
        GiveUpError: if the potential's forces are not finite.
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(
        symbols=[symbol(z) for z in crystal.numbers.tolist()],
        cell=crystal.lattice,
        scaled_positions=crystal.frac_coords,
    )
    phonon = Phonopy(cell, supercell, primitive_matrix=np.eye(3), symprec=SYMPREC)
    phonon.generate_displacements(distance=displacement)
    _, rest, _ = evaluate(calculator, crystal.numbers, crystal.lattice, crystal.frac_coords)
    at_rest = rest[_unit_atoms(phonon)]
    phonon.forces = [_forces(calculator, moved) - at_rest for moved in phonon.supercells_with_displacements]
    phonon.produce_force_constants(show_drift=False)
    phonon.symmetrize_force_constants()
    return phonon


def supercell_of(crystal: Crystal, max_atoms: int, longest: float = 12.0) -> IntArray:
    """The largest supercell that doubles lattice vectors, has the crystal's symmetry and is not too large.

    Of equally large ones the one whose shortest vector is longest. Vectors longer than `longest` (Å) stay.

    Args:
        crystal: a primitive cell.
        max_atoms: most atoms of the supercell.
        longest: Å.

    Returns:
        (3, 3) integer matrix; the identity if nothing larger fits.
    """
    rotations, _ = operations(crystal, SYMPREC)
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    best, best_key = np.eye(3, dtype=np.int64), (1, float(lengths.min()))
    for times in product((1, 2), repeat=3):
        size = int(np.prod(times))
        if size * crystal.n_sites > max_atoms or any(
            t > 1 and a > longest for t, a in zip(times, lengths, strict=True)
        ):
            continue
        matrix = np.diag(times)
        turned = np.linalg.inv(matrix) @ rotations @ matrix
        if not np.allclose(turned, np.rint(turned), atol=1e-6):
            continue
        key = (size, float((lengths * times).min()))
        if key > best_key:
            best, best_key = matrix, key
    return np.asarray(best, dtype=np.int64)


def _unit_atoms(phonon: Phonopy) -> IntArray:
    """(n_supercell,) the atom of the cell of which each atom of the supercell is a copy."""
    supercell = phonon.supercell
    index = {int(atom): k for k, atom in enumerate(supercell.u2s_map)}
    return np.array([index[int(atom)] for atom in supercell.s2u_map], dtype=np.int64)


def _forces(calculator: Calculator, atoms: object) -> FloatArray:
    _, forces, _ = evaluate(calculator, atoms.numbers, atoms.cell, atoms.scaled_positions)  # type: ignore[attr-defined]
    if not np.isfinite(forces).all():
        raise GiveUpError("the potential's forces on a displaced crystal are not finite")
    return forces
