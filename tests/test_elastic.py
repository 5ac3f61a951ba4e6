from __future__ import annotations

import itertools

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.mechanics.tensors import WEIGHT, summarise
from invdesign.records import Failure, Status
from invdesign.relaxation import elastic


def emt():
    from ase.calculators.emt import EMT

    return EMT()


@pytest.fixture(scope="module")
def copper() -> Crystal:
    """At the lattice constant of effective medium theory."""
    a = 3.5898256
    return Crystal(np.array([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]]), [29], [[0, 0, 0]])


@pytest.fixture(scope="module")
def ordered_alloy() -> Crystal:
    """CuAu in L1_0, tetragonal, at rest in effective medium theory."""
    return Crystal(np.diag([2.79498022, 2.79498022, 3.58079763]), [29, 79], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_copper_has_the_constants_of_the_potential(copper):
    found = elastic.elastic_tensor(copper, emt())
    # C11, C12, C44 of effective medium theory for copper, computed here by hand from energies, below.
    assert found.verdict.status is Status.PASS
    assert (found.n_independent, found.n_modes, found.n_evaluations) == (3, 1, 3)
    cubic = elastic.elastic_tensor(conventional(copper), emt())
    c11, c12, c44 = cubic.tensor[0, 0], cubic.tensor[0, 1], cubic.tensor[3, 3]
    assert energy_constants(copper) == pytest.approx((c11 + 2 * c12, c11 - c12, c44), rel=0.01)
    assert np.allclose(np.sort(found.eigenvalues), [c11 - c12] * 2 + [2 * c44] * 3 + [c11 + 2 * c12], rtol=1e-6)


def conventional(crystal: Crystal) -> Crystal:
    a = crystal.volume * 4
    coords = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    return Crystal(np.eye(3) * a ** (1 / 3), np.repeat(crystal.numbers, 4), coords)


def energy_constants(crystal: Crystal) -> tuple[float, float, float]:
    """C11 + 2 C12, C11 - C12 and C44 (GPa) from second differences of the energy: an independent route."""
    from ase import Atoms

    cube = conventional(crystal)

    def energy(strain: np.ndarray) -> float:
        atoms = Atoms(
            cube.numbers, cell=cube.lattice @ (np.eye(3) + strain), scaled_positions=cube.frac_coords, pbc=1
        )
        atoms.calc = emt()
        return atoms.get_potential_energy() / cube.volume * 160.21766208

    def curvature(strain: np.ndarray) -> float:
        h = 0.004
        return (energy(h * strain) - 2 * energy(0 * strain) + energy(-h * strain)) / h**2

    shear = np.zeros((3, 3))
    shear[1, 2] = shear[2, 1] = 0.5
    return curvature(np.eye(3)) / 3, curvature(np.diag([1.0, -1.0, 0.0])) / 2, curvature(shear)


def test_symmetry_reduced_strains_agree_with_all_six(ordered_alloy):
    found = elastic.elastic_tensor(ordered_alloy, emt())
    assert found.n_independent == 6 and found.n_modes < 6 and found.converged
    without = elastic.elastic_tensor(ordered_alloy, emt(), elastic.ElasticSettings(symprec=1e-12))
    assert np.allclose(found.tensor, found.tensor.T)
    rotated = found.tensor[[1, 0, 2, 4, 3, 5]][:, [1, 0, 2, 4, 3, 5]]
    assert np.allclose(found.tensor, rotated, atol=1e-6)
    assert np.allclose(found.tensor, without.tensor, atol=0.5)


def test_tensor_does_not_depend_on_frame_or_cell(ordered_alloy):
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [20, 30, 40], degrees=True).as_matrix()
    turned = Crystal(ordered_alloy.lattice @ turn, ordered_alloy.numbers, ordered_alloy.frac_coords)
    doubled = Crystal(
        np.diag([1, 1, 2]) @ ordered_alloy.lattice,
        np.tile(ordered_alloy.numbers, 2),
        np.concatenate([ordered_alloy.frac_coords, ordered_alloy.frac_coords + np.array([0, 0, 1])]) / [1, 1, 2],
    )
    plain = summarise(elastic.elastic_tensor(ordered_alloy, emt()).tensor)
    for other in (turned, doubled):
        summary = summarise(elastic.elastic_tensor(other, emt()).tensor)
        assert summary.shear_hill == pytest.approx(plain.shear_hill, abs=0.3)
        assert summary.universal_anisotropy == pytest.approx(plain.universal_anisotropy, abs=0.02)


class Springs:
    """An ASE calculator of two sublattices: an elastic medium whose inner displacement is a spring.

    Energy per cell: (V/2) ε:C:ε + (k/2) |u - A ε|² with u the displacement of the second atom, so that the relaxed
    tensor is C exactly and the clamped one is stiffer.
    """

    def __new__(cls, tensor: np.ndarray, lattice: np.ndarray, coupling: float, spring: float = 8.0):
        from ase.calculators.calculator import Calculator, all_changes

        volume = abs(np.linalg.det(lattice))
        stiffness = tensor * np.outer(WEIGHT, WEIGHT) / elastic.GPA

        class Model(Calculator):
            implemented_properties = ("energy", "forces", "stress")

            def calculate(self, atoms=None, properties=None, system_changes=all_changes):
                super().calculate(atoms, properties, system_changes)
                strain = np.linalg.inv(lattice) @ atoms.cell[:] - np.eye(3)
                e = elastic.to_mandel(0.5 * (strain + strain.T))
                home = np.array([0.5, 0.5, 0.5]) @ atoms.cell[:]
                follow = coupling * np.array([e[3], e[4], e[5]]) / np.sqrt(2)
                gap = atoms.positions[1] - atoms.positions[0] - home - follow
                stress = stiffness @ e
                stress[3:] -= spring * coupling * gap / np.sqrt(2) / volume
                self.results = {
                    "energy": 0.5 * volume * e @ stiffness @ e + 0.5 * spring * gap @ gap,
                    "forces": spring * np.stack([gap, -gap]),
                    "stress": stress[[0, 1, 2, 3, 4, 5]] / WEIGHT,
                }

        return Model()


def cubic_tensor(c11: float, c12: float, c44: float) -> np.ndarray:
    tensor = np.zeros((6, 6))
    tensor[:3, :3] = c12
    np.fill_diagonal(tensor[:3, :3], c11)
    tensor[[3, 4, 5], [3, 4, 5]] = c44
    return tensor


ZINCBLENDE = np.array([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]])


def two_atoms(position: float = 0.5) -> Crystal:
    return Crystal(ZINCBLENDE, [30, 16], [[0, 0, 0], [position] * 3])


def test_the_ions_follow_the_strain():
    truth = cubic_tensor(160, 60, 80)
    found = elastic.elastic_tensor(two_atoms(), Springs(truth, ZINCBLENDE, coupling=3.0))
    # The ions stop at 0.01 eV/Å, which leaves at most spring * 1 mÅ in the stress.
    assert np.allclose(found.tensor, truth, atol=1.5)
    clamped = elastic.elastic_tensor(
        two_atoms(), Springs(truth, ZINCBLENDE, coupling=3.0), elastic.ElasticSettings(max_force=1e3)
    )
    assert clamped.tensor[3, 3] > truth[3, 3] + 20


@pytest.mark.parametrize(
    ("constants", "status"),
    [((160, 60, 80), Status.PASS), ((100, 120, 50), Status.FAIL), ((100, 50, -20), Status.FAIL)],
)
def test_born_verdict(constants, status):
    found = elastic.elastic_tensor(two_atoms(), Springs(cubic_tensor(*constants), ZINCBLENDE, 0.0))
    assert found.verdict.status is status
    assert found.verdict.value == pytest.approx(found.eigenvalues[0])
    assert (status is Status.PASS) == (found.verdict.reason == "")


def test_what_cannot_be_judged_is_unknown():
    huge = elastic.elastic_tensor(two_atoms(), Springs(cubic_tensor(9000, 0, 100), ZINCBLENDE, 0.0))
    assert huge.verdict.status is Status.UNKNOWN and "implausible" in huge.verdict.reason
    stuck = elastic.elastic_tensor(
        two_atoms(),
        Springs(cubic_tensor(160, 60, 80), ZINCBLENDE, 3.0),
        elastic.ElasticSettings(max_steps=1, max_force=1e-9),
    )
    assert stuck.verdict.status is Status.UNKNOWN and "rest" in stuck.verdict.reason


def test_bad_starts_are_failures_with_a_reason(copper):
    squeezed = Crystal(copper.lattice * 0.95, copper.numbers, copper.frac_coords, source="squeezed")
    failure = elastic.elastic_tensor(squeezed, emt())
    assert isinstance(failure, Failure) and "stress" in failure.reason and failure.item == "squeezed"
    displaced = elastic.elastic_tensor(
        two_atoms(0.53), Springs(cubic_tensor(160, 60, 80), ZINCBLENDE, 0.0), elastic.ElasticSettings(symprec=1e-4)
    )
    assert isinstance(displaced, Failure) and "force" in displaced.reason
    uranium = Crystal(copper.lattice, [92], [[0, 0, 0]])
    assert isinstance(elastic.elastic_tensor(uranium, emt()), Failure)


@pytest.mark.parametrize("name", ["strains", "max_force", "max_steps"])
def test_wrong_settings(name):
    with pytest.raises(InputError, match=name):
        elastic.ElasticSettings(**{name: (0.0,) if name == "strains" else -1})


# Number of independent constants by crystal class, and a crystal system's generators (Nye, Physical Properties of
# Crystals): rotations by axis and order; a minus sign is an inversion axis or a mirror.
CLASSES = {"1": 21, "2": 13, "222": 9, "4": 7, "422": 6, "3": 7, "32": 6, "6": 5, "622": 5, "23": 3, "432": 3}


def rotations(name: str) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    def axis(vector, order):
        unit = np.array(vector) / np.linalg.norm(vector)
        return Rotation.from_rotvec(2 * np.pi / order * unit).as_matrix()

    z, x, diagonal = (0, 0, 1), (1, 0, 0), (1, 1, 1)
    generators = {
        "1": [],
        "2": [axis(z, 2)],
        "222": [axis(z, 2), axis(x, 2)],
        "4": [axis(z, 4)],
        "422": [axis(z, 4), axis(x, 2)],
        "3": [axis(z, 3)],
        "32": [axis(z, 3), axis(x, 2)],
        "6": [axis(z, 6)],
        "622": [axis(z, 6), axis(x, 2)],
        "23": [axis(z, 2), axis(diagonal, 3)],
        "432": [axis(z, 4), axis(diagonal, 3)],
    }[name]
    group = [np.eye(3)]
    grown = True
    while grown:
        products = [a @ b for a, b in itertools.product(group, generators)]
        fresh = [p for p in products if not any(np.allclose(p, g) for g in group)]
        grown = bool(fresh)
        if fresh:
            group.append(fresh[0])
    return np.array(group)


@pytest.mark.parametrize("name", CLASSES)
def test_number_of_independent_constants_is_that_of_nye(name):
    basis = elastic.symmetric_basis(rotations(name))
    assert len(basis) == CLASSES[name]
    flat = basis.reshape(len(basis), -1)
    assert np.allclose(flat @ flat.T, np.eye(len(basis)))
    modes = elastic.strain_modes(basis)
    rows = np.einsum("kab,mb->kma", basis, modes).reshape(len(basis), -1)
    assert np.linalg.matrix_rank(rows) == len(basis)
    assert len(modes) <= {21: 6, 13: 5, 9: 4, 3: 1}.get(len(basis), 3)


def test_projection_agrees_with_pymatgen():
    from pymatgen.analysis.elasticity import ElasticTensor
    from pymatgen.core import Lattice, Structure

    structure = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    )
    crystal = Crystal(structure.lattice.matrix, list(structure.atomic_numbers), structure.frac_coords)
    rng = np.random.default_rng(1)
    raw = cubic_tensor(300, 120, 90) + 10 * rng.standard_normal((6, 6))
    raw = 0.5 * (raw + raw.T)
    theirs = ElasticTensor.from_voigt(raw).fit_to_structure(structure).voigt
    basis = elastic.symmetric_basis(elastic.point_group(crystal))
    weights = np.outer(WEIGHT, WEIGHT)
    ours = np.einsum("kab,kcd,cd->ab", basis, basis, raw * weights) / weights
    assert np.allclose(ours, theirs, atol=1e-6)


def test_wrong_names_are_refused_before_a_process_starts():
    with pytest.raises(InputError, match="workers"):
        elastic.ElasticTensors(workers=0)
    with pytest.raises(InputError, match="potential"):
        elastic.ElasticTensors("no-such-potential")


@pytest.mark.slow
def test_workers_give_the_same(copper):
    strange = Crystal(copper.lattice, [92], [[0, 0, 0]], source="u")
    with elastic.ElasticTensors("ase.calculators.emt:EMT", workers=1) as tensors:
        first, second = tensors.compute([copper, strange])
    assert np.allclose(first.tensor, elastic.elastic_tensor(copper, emt()).tensor)
    assert first.potential and isinstance(second, Failure) and second.item == "u"
