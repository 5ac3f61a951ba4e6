"""Phonons: numbers of phonopy itself and by hand, known stable and unstable crystals, files, bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import invdesign as ivd
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.data.read import read_columns
from invdesign.errors import InputError, MissingDependencyError
from invdesign.executors import Local, Pool
from invdesign.mechanics.tensors import point_group
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure, Status
from invdesign.report import export
from invdesign.units import AVOGADRO, BOLTZMANN
from invdesign.vibrations import harmonic as force_constants
from invdesign.vibrations import modes
from invdesign.vibrations.harmonic import bands, frequencies, harmonic
from invdesign.vibrations.modes import Mode, imaginary_modes, judge
from invdesign.vibrations.phonons import Phonons, phonons, relaxed
from invdesign.vibrations.settings import PhononSettings
from invdesign.vibrations.supercells import choose, commensurate, shortest_vector
from invdesign.vibrations.thermal import thermal
from invdesign.vibrations.work import PotentialPool

EMT = "ase.calculators.emt:EMT"
FCC = np.ones((3, 3)) - np.eye(3)
BCC = np.ones((3, 3)) - 2.0 * np.eye(3)
COPPER = Crystal(FCC * 1.8, [29], [[0, 0, 0]], source="copper")
CUBIC = Crystal(BCC * 1.45, [29], [[0, 0, 0]], source="bcc copper")
DULONG_PETIT = 3.0 * BOLTZMANN * AVOGADRO
"""J/(mol K) per mole of atoms."""


@pytest.fixture(scope="module")
def pool() -> Iterator[PotentialPool]:
    with PotentialPool(EMT, workers=2) as made:
        yield made


class Counting(Local):
    """Processes of this machine, and how many pools were asked for."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[str] = []

    def pool(self, target: str, settings: object, timeout: float) -> Pool:
        self.asked.append(target)
        return super().pool(target, settings, timeout)


def test_an_executor_computes_what_the_processes_of_this_machine_do(pool: PotentialPool) -> None:
    elsewhere = Counting()
    with PotentialPool(EMT, elsewhere) as made:
        (there,), (here,) = made.evaluate([COPPER]), pool.evaluate([COPPER])
    assert elsewhere.asked == ["invdesign.vibrations.work:answers"]
    assert not isinstance(there, Failure) and not isinstance(here, Failure)
    assert there.energy == here.energy and np.array_equal(there.stress, here.stress)
    with pytest.raises(InputError, match="workers"):
        PotentialPool(EMT, workers=0)


def of(crystal: Crystal, pool: PotentialPool, qha: bool = False, **settings: object) -> Phonons:
    chosen = PhononSettings(**{"min_length": 7.0, **settings})  # type: ignore[arg-type]
    (start,) = relaxed([crystal], pool, chosen)
    found = phonons(start, pool, chosen, qha)
    assert isinstance(found, Phonons), found
    return found


# supercells


@pytest.mark.parametrize("cell", [FCC * 2.715, np.eye(3) * 3.9, np.diag([2.5, 2.5, 7.0])])
def test_a_supercell_is_long_enough_and_keeps_the_symmetry(cell: np.ndarray) -> None:
    crystal = Crystal(cell, [29], [[0, 0, 0]])
    matrix, length = choose(crystal, 9.0, 10_000)
    large = Crystal(matrix @ cell, [29], [[0, 0, 0]])
    assert length == pytest.approx(shortest_vector(large.lattice)) and length >= 9.0
    assert len(point_group(large)) == len(point_group(crystal))
    # the smallest: no even multiple of the primitive cell is smaller
    assert np.linalg.det(matrix) <= (2 * np.ceil(4.5 / shortest_vector(cell) - 1e-9)) ** 3 + 1e-6


def test_a_supercell_that_would_be_too_large_is_the_longest_that_fits() -> None:
    perovskite = Crystal(np.eye(3) * 3.9, [38, 22, 8, 8, 8], np.eye(5, 3) * 0.5)
    matrix, length = choose(perovskite, 20.0, 50)
    assert (matrix == 2 * np.eye(3)).all() and length == pytest.approx(7.8)
    assert (choose(perovskite, 20.0, 3)[0] == np.eye(3)).all()


@pytest.mark.parametrize(("q", "size"), [
    ((0.0, 0.0, 0.0), 1), ((0.5, 0.0, 0.0), 2), ((0.5, 0.5, 0.5), 2), ((1 / 3, 1 / 3, 0.0), 3),
    ((0.25, 0.5, 0.0), 4), ((0.5, 1 / 3, 0.0), 6),
])  # fmt: skip
def test_the_smallest_supercell_of_a_wave(q: tuple[float, float, float], size: int) -> None:
    matrix = commensurate(np.array(q), np.eye(3) * 4.0)
    assert matrix is not None and np.linalg.det(matrix) == pytest.approx(size)
    phase = matrix @ np.array(q)
    assert np.allclose(phase, np.rint(phase))
    assert commensurate(np.array([1 / 11, 0.0, 0.0]), np.eye(3)) is None


# force constants against phonopy's own use, and laws of physics


def test_frequencies_are_those_that_phonopy_gives_with_the_same_calculator(pool: PotentialPool) -> None:
    from ase import Atoms
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    settings = PhononSettings(min_length=7.0)
    (start,) = relaxed([COPPER], pool, settings)
    assert not isinstance(start, (Failure, Crystal))
    crystal = start.crystal
    cell = PhonopyAtoms(numbers=crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords)
    found = harmonic(crystal, pool, settings)
    matrix = found.phonopy.supercell_matrix
    theirs = Phonopy(cell, supercell_matrix=matrix, primitive_matrix=np.eye(3))
    theirs.generate_displacements(distance=0.02)
    forces = []
    for each in theirs.supercells_with_displacements:
        atoms = Atoms(numbers=each.numbers, cell=each.cell, scaled_positions=each.scaled_positions, pbc=True)
        atoms.calc = potentials.load(EMT)
        forces.append(atoms.get_forces())
    theirs.forces = forces
    theirs.produce_force_constants()
    theirs.symmetrize_force_constants()
    q = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5], [0.25, 0.25, 0.0]])
    assert np.abs(frequencies(found, q) - theirs.run_qpoints(q).frequencies).max() < 1e-6
    assert frequencies(found, q[1:2]).max() == pytest.approx(8.14, abs=0.01)


def test_acoustic_modes_at_the_centre_are_zero_and_the_sum_rule_holds(pool: PotentialPool) -> None:
    found = harmonic(of(COPPER, pool).crystal, pool, PhononSettings(min_length=7.0))
    assert np.abs(frequencies(found, np.zeros((1, 3)))).max() < 1e-3
    assert found.sum_rule < 1e-8  # EMT's forces sum to zero
    assert np.abs(found.phonopy.force_constants.sum(axis=1)).max() < 1e-10
    # the slope at the centre is a velocity of sound, the same along a path and opposite to it
    q = np.array([[0.01, 0.0, 0.01], [-0.01, 0.0, -0.01]])
    one, two = frequencies(found, q)
    assert np.allclose(one, two, atol=1e-6) and one.min() > 0.01


def test_the_heat_capacity_goes_to_three_boltzmann_constants_per_atom(pool: PotentialPool) -> None:
    found = of(COPPER, pool, max_temperature=4000.0, temperature_step=20.0)
    assert found.thermal is not None and found.verdict.status is Status.PASS
    at = found.thermal
    assert at.heat_capacity[-1] == pytest.approx(DULONG_PETIT, rel=1e-3)
    assert (np.diff(at.heat_capacity) >= 0).all() and at.heat_capacity[0] == 0.0 and at.entropy[0] == 0.0
    # S = -dF/dT and C = T dS/dT, on the grid
    electronvolt = 96.4853321233e3
    slope = -np.gradient(at.free_energy * electronvolt, at.temperatures)
    assert np.allclose(slope[15:-1], at.entropy[15:-1], rtol=2e-3)
    assert np.allclose((at.temperatures * np.gradient(at.entropy, at.temperatures))[10:-5],
                       at.heat_capacity[10:-5], rtol=5e-3)  # fmt: skip
    # the zero-point energy is half the sum of the modes: h/2 times the mean frequency, 3 modes an atom
    x, y = found.dos_frequencies, found.dos
    assert np.trapezoid(y, x) == pytest.approx(3.0, abs=0.02)
    zero_point = 0.5 * 4.135667696e-3 * np.trapezoid(x * y, x)
    assert at.at("free_energy", 0.0) == pytest.approx(zero_point, rel=5e-3)


def test_properties_per_atom_do_not_depend_on_the_cell(pool: PotentialPool) -> None:
    conventional = Crystal(np.eye(3) * 3.6, [29] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    one, two = of(COPPER, pool), of(conventional, pool)
    assert one.thermal is not None and two.thermal is not None and two.crystal.n_sites == 1
    assert one.thermal.at("entropy", 300.0) == pytest.approx(two.thermal.at("entropy", 300.0), rel=1e-3)


def test_the_thermal_expansion_is_that_of_the_gruneisen_parameter(pool: PotentialPool) -> None:
    found = of(COPPER, pool, qha=True)
    at = found.expansion
    assert at is not None and at.left_out == () and len(at.volumes) == 7
    k = int(np.flatnonzero(at.temperatures == 300.0)[0])
    assert (np.diff(at.volume) > 0).all() and at.thermal_expansion[0] == pytest.approx(0.0, abs=1e-7)
    # alpha = gamma C_V / (K V); the expansion of copper is 5.0e-5 per kelvin, EMT is somewhat softer
    assert 4e-5 < at.thermal_expansion[k] < 8e-5 and 1.5 < at.gruneisen[k] < 3.0
    pascal, cubic_metre = 1e9, 1e-30 * AVOGADRO
    energy = at.bulk_modulus[k] * pascal * at.volume[k] * cubic_metre
    # Cp = Cv (1 + alpha gamma T), by way of Cp - Cv = alpha² K V T
    gap = at.thermal_expansion[k] ** 2 * energy * 300.0
    assert found.thermal is not None
    assert at.heat_capacity[k] - found.thermal.at("heat_capacity", 300.0) == pytest.approx(gap, rel=0.3)


# imaginary modes


def test_an_unstable_crystal_is_reported_and_followed(pool: PotentialPool) -> None:
    found = of(CUBIC, pool, follow=2)
    first = found.imaginary[0]
    assert found.verdict.status is Status.FAIL and first.is_exact and first.frequency < -0.5
    assert found.verdict.value == first.frequency and "THz at q = (" in found.verdict.reason
    assert found.thermal is None and any("imaginary" in note for note in found.notes)
    assert found.child is not None and found.child.gain > 0.01
    assert space_group(found.child.crystal) != 229 and "becomes" in found.child.becomes
    # the child rests: its own energy is lower by the gain
    (answer,) = pool.evaluate([found.child.crystal])
    assert not isinstance(answer, Failure)
    energy = answer.energy / found.child.crystal.n_sites
    assert found.energy_per_atom - energy == pytest.approx(found.child.gain, abs=1e-5)
    assert of(CUBIC, pool).child is None


def test_modes_between_the_q_points_of_the_supercell_decide_nothing() -> None:
    exact, between = Mode((0.5, 0.5, 0.0), -1.25, 1, True), Mode((0.1, 0.0, 0.0), -0.2, 1, False)
    assert judge([]).status is Status.PASS
    assert judge([exact, between]).reason == "imaginary: -1.25 THz at q = (1/2, 1/2, 0)"
    assert judge([between]).status is Status.UNKNOWN


def test_displacements_follow_the_eigenvector(pool: PotentialPool) -> None:
    settings = PhononSettings(min_length=7.0)
    (start,) = relaxed([CUBIC], pool, settings)
    assert not isinstance(start, (Failure, Crystal))
    found = harmonic(start.crystal, pool, settings)
    mode = imaginary_modes(found, bands(found), settings)[0]
    cells = modes.displaced(found, mode, 0.02)
    assert cells
    rest, *pushed = pool.evaluate([start.crystal, *cells])
    assert not isinstance(rest, Failure)
    for cell, answer in zip(cells, pushed, strict=True):
        assert not isinstance(answer, Failure)
        assert answer.energy / cell.n_sites < rest.energy / start.crystal.n_sites
        curvature = _curvature(start.crystal, cell, answer.energy - rest.energy * cell.n_sites)
        assert curvature == pytest.approx(mode.frequency, rel=0.1)


def _curvature(crystal: Crystal, cell: Crystal, gain: float) -> float:
    """Frequency (THz, negative) of a mode of one element by the energy along it."""
    from ase.data import atomic_masses

    coords = cell.frac_coords @ cell.lattice @ np.linalg.inv(crystal.lattice)
    shift = (coords - np.rint(coords)) @ crystal.lattice
    shift -= shift.mean(axis=0)
    mass = atomic_masses[crystal.numbers[0]] * 1.66053906660e-27
    square = 2.0 * gain * 1.602176634e-19 / (mass * (shift**2).sum() * 1e-20)
    return float(-np.sqrt(-square) / (2.0 * np.pi * 1e12))


# files, the command and its errors


def test_a_folder_for_each_crystal_and_one_bad_item_ends_nothing(tmp_path: Path) -> None:
    crystals = [COPPER, Crystal(FCC * 2.0, [18], [[0, 0, 0]], source="argon"), CUBIC]
    table = ivd.phonons(crystals, tmp_path / "out", potential=EMT, follow=True, workers=2, min_length=8.0)
    assert list(table["source"]) == ["copper", "argon", "bcc copper"]
    assert table["failure"][1] and not table["failure"][0] and not table["failure"][2]
    assert list(table["verdict_phonons"])[::2] == ["pass", "fail"] and table["child_gain"][2] > 0.01
    folder = tmp_path / "out" / table["folder"][0]
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "bands.png",
        "crystal.cif",
        "phonons.json",
        "phonopy_params.yaml",
        "thermal.csv",
        "thermal.png",
    }
    saved = json.loads((folder / "phonons.json").read_text(encoding="utf-8"))
    assert saved["verdict"]["status"] == "pass" and saved["bands"][0]["from"] == "Γ"
    thermal_table = pd.read_csv(folder / "thermal.csv")
    assert list(thermal_table) == ["temperature", "free_energy", "entropy", "heat_capacity"]
    at_room = thermal_table[thermal_table["temperature"] == 300.0].iloc[0]
    assert at_room["heat_capacity"] == pytest.approx(table["heat_capacity_300"][0], rel=1e-4)
    child = tmp_path / "out" / table["folder"][2] / "child.cif"
    ((item, _),) = read_columns(child)
    assert isinstance(item, Crystal) and space_group(item) != 229
    assert pd.read_csv(tmp_path / "out" / "phonons.csv").shape[0] == 3


def test_phonopy_reads_the_file_back(tmp_path: Path) -> None:
    import phonopy

    table = ivd.phonons([COPPER], tmp_path / "out", potential=EMT, workers=1, min_length=8.0)
    path = tmp_path / "out" / table["folder"][0] / "phonopy_params.yaml"
    again = phonopy.load(path, log_level=0)
    values = again.run_qpoints([[0.5, 0.0, 0.5]]).frequencies
    assert values.max() == pytest.approx(table["highest_frequency"][0], rel=0.02)


def test_crystals_can_be_taken_as_they_are(pool: PotentialPool) -> None:
    stretched = Crystal(FCC * 1.84, [29], [[0, 0, 0]])
    as_given, at_rest = of(stretched, pool, relax=False), of(stretched, pool)
    assert as_given.crystal.volume == pytest.approx(stretched.volume)
    assert as_given.bands.frequencies[0].max() < at_rest.bands.frequencies[0].max()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Cu.cif").write_text(export.plain_cif(COPPER)[0], encoding="utf-8")
    args = ["phonons", str(tmp_path / "Cu.cif"), "--potential", EMT, "--out", str(tmp_path / "out")]
    assert run([*args, "--no-relax", "--min-length", "7", "--max-temperature", "500"]) == 0
    assert "1 crystals, 0 failed" in capsys.readouterr().out
    row = pd.read_csv(tmp_path / "out" / "phonons.csv").iloc[0]
    assert row["verdict_phonons"] == "pass" and row["supercell_length"] >= 7.0
    assert run([*args[:-1], "-", "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed["heat_capacity_300"] == pytest.approx(row["heat_capacity_300"], rel=0.02)


@pytest.mark.parametrize(("settings", "words"), [
    ({"min_length": -1.0}, "min_length"), ({"meshes": 3.0}, "meshes"), ({"volumes": (1.0,)}, "volumes"),
    ({"follow": -1}, "follow"), ({"temperature_step": 2000.0}, "temperature_step"),
])  # fmt: skip
def test_wrong_settings_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ivd.phonons([COPPER], potential=EMT, **settings)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'invdesign\[phonons\]'"):
        force_constants.check_installed()


def test_too_few_volumes_give_a_note_and_no_expansion(pool: PotentialPool) -> None:
    found = of(COPPER, pool, qha=True, min_volumes=8)
    assert found.expansion is None and any("8 are needed" in note for note in found.notes)
    assert found.thermal is not None and thermal is not None


# the default potential


def cubic_perovskite(a: int, b: int, x: int, edge: float) -> Crystal:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal(np.eye(3) * edge, [a, b, x, x, x], places)


@pytest.fixture(scope="module")
def default_pool() -> Iterator[PotentialPool]:
    with PotentialPool() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(("crystal", "highest"), [
    (Crystal(FCC * 2.715, [14, 14], [[0, 0, 0], [0.25, 0.25, 0.25]], source="Si"), 15.5),
    (Crystal(FCC * 2.105, [12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], source="MgO"), 21.5),
    (Crystal(FCC * 2.82, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], source="NaCl"), 7.9),
], ids=["Si", "MgO", "NaCl"])  # fmt: skip
def test_stable_crystals_have_real_modes(crystal: Crystal, highest: float, default_pool: PotentialPool) -> None:
    found = of(crystal, default_pool, min_length=10.0)
    assert found.verdict.status is Status.PASS and found.imaginary == () and found.thermal is not None
    assert found.thermal.at("heat_capacity", 1000.0) == pytest.approx(DULONG_PETIT, rel=0.03)
    # the potential is too soft, and lacks the longitudinal splitting of ionic crystals: below the measured maximum
    top = max(float(f.max()) for f in found.bands.frequencies)
    assert 0.6 * highest < top < 1.02 * highest
    assert found.sum_rule < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("crystal", [
    cubic_perovskite(56, 22, 8, 4.0), cubic_perovskite(82, 22, 8, 3.95), cubic_perovskite(55, 82, 53, 6.3),
], ids=["BaTiO3", "PbTiO3", "CsPbI3"])  # fmt: skip
def test_cubic_perovskites_have_imaginary_modes(crystal: Crystal, default_pool: PotentialPool) -> None:
    found = of(crystal, default_pool, follow=2)
    assert found.verdict.status is Status.FAIL and found.thermal is None
    assert found.child is not None and found.child.gain > 0.005
    assert space_group(found.child.crystal, 0.01) != 221
