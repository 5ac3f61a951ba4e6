"""The symmetric subspace: its size, exact symmetry along it, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.relaxation.symmetry_adapted import build, operations

ROCKSALT = Crystal(2.1 * (np.ones((3, 3)) - np.eye(3)), [12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]])
RUTILE = Crystal(
    np.diag([4.6, 4.6, 2.96]),
    [22, 22, 8, 8, 8, 8],
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.305, 0.305, 0], [0.695, 0.695, 0], [0.195, 0.805, 0.5], [0.805, 0.195, 0.5]],
)
WURTZITE = Crystal(
    [[3.11, 0, 0], [-1.555, 1.555 * np.sqrt(3), 0], [0, 0, 4.98]],
    [13, 13, 7, 7],
    [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.382], [2 / 3, 1 / 3, 0.882]],
)
TRICLINIC = Crystal(
    [[4.1, 0, 0], [0.7, 4.4, 0], [-0.5, 0.9, 5.0]],
    [29, 79, 29, 47],
    [[0, 0, 0], [0.45, 0.52, 0.08], [0.52, 0.03, 0.55], [0.06, 0.48, 0.47]],
)
MONOCLINIC = Crystal(  # P2_1 by construction: two general positions
    [[4.0, 0, 0], [0, 4.6, 0], [-0.8, 0, 5.2]],
    [29, 29, 79, 79],
    [[0.1, 0.0, 0.2], [0.9, 0.5, 0.8], [0.6, 0.1, 0.6], [0.4, 0.6, 0.4]],
)


@pytest.mark.parametrize(
    ("crystal", "strains", "displacements"),
    [
        (ROCKSALT, 1, 0),
        (RUTILE, 2, 1),
        (WURTZITE, 2, 1),  # polar: the common shift along c is left out
        (TRICLINIC, 6, 9),
        (MONOCLINIC, 4, 5),
    ],
    ids=["rocksalt", "rutile", "wurtzite", "triclinic", "monoclinic"],
)
def test_size_is_the_number_of_free_parameters(crystal: Crystal, strains: int, displacements: int) -> None:
    space = build(crystal)
    assert (space.n_strains, len(space.displacements)) == (strains, displacements)


@pytest.mark.parametrize("crystal", [RUTILE, WURTZITE, MONOCLINIC], ids=["rutile", "wurtzite", "monoclinic"])
def test_any_point_has_the_same_space_group(crystal: Crystal) -> None:
    space = build(crystal)
    q = np.random.default_rng(0).normal(scale=0.05, size=space.size)
    lattice, coords = space.at(q)
    moved = Crystal(lattice, crystal.numbers, coords)
    assert np.abs(lattice - crystal.lattice).max() > 0.01
    assert space_group(moved, symprec=1e-6) == space_group(crystal, symprec=1e-3)


def test_a_noisy_crystal_is_symmetrised_exactly() -> None:
    rng = np.random.default_rng(1)
    noisy = Crystal(
        RUTILE.lattice + rng.normal(scale=1e-3, size=(3, 3)),
        RUTILE.numbers,
        RUTILE.frac_coords + rng.normal(scale=5e-4, size=(6, 3)),
    )
    assert space_group(noisy, symprec=1e-5) != 136
    assert space_group(build(noisy, symprec=0.05).crystal, symprec=1e-6) == 136
    assert len(operations(noisy, 1e-5)[0]) < len(operations(noisy, 0.05)[0])


@pytest.mark.parametrize("crystal", [TRICLINIC, MONOCLINIC], ids=["triclinic", "monoclinic"])
def test_gradient_is_the_derivative_of_the_energy(crystal: Crystal) -> None:
    """Against central differences of ASE's EMT at a strongly strained point, where strains do not commute."""
    from ase import Atoms
    from ase.calculators.emt import EMT

    space = build(crystal)

    def energy(q: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        lattice, coords = space.at(q)
        atoms = Atoms(crystal.numbers, cell=lattice, scaled_positions=coords, pbc=True, calculator=EMT())
        return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)

    q = np.random.default_rng(2).normal(scale=0.06, size=space.size)
    _, forces, stress = energy(q)
    analytic = space.gradient(q, forces, stress)
    h = 1e-5
    steps = h * np.eye(space.size)
    numeric = np.array([(energy(q + s)[0] - energy(q - s)[0]) / (2 * h) for s in steps])
    assert np.abs(numeric).max() > 0.1
    np.testing.assert_allclose(analytic, numeric, atol=2e-4)


def test_forces_and_stress_are_averaged_over_the_group() -> None:
    space = build(RUTILE)
    rng = np.random.default_rng(3)
    forces = space.symmetric_forces(rng.normal(size=(6, 3)), RUTILE.lattice)
    stress = space.symmetric_stress(rng.normal(size=(3, 3)), RUTILE.lattice)
    np.testing.assert_allclose(forces[:2], 0.0, atol=1e-12)  # titanium sits on an inversion centre
    np.testing.assert_allclose(forces[2], -forces[3], atol=1e-12)
    assert forces[2, 0] == pytest.approx(forces[2, 1])
    assert forces[2, 2] == pytest.approx(0.0, abs=1e-12)
    assert stress[0, 0] == pytest.approx(stress[1, 1])
    np.testing.assert_allclose(stress - np.diag(np.diag(stress)), 0.0, atol=1e-12)


def test_overlapping_atoms_are_refused() -> None:
    with pytest.raises(ValueError, match=r"symmetry|permute"):
        build(Crystal(np.eye(3) * 4, [12, 12], [[0, 0, 0], [0.0005, 0, 0]]), symprec=0.01)
