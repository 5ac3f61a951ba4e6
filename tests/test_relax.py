"""Relaxation: symmetry, energies, failures, worker processes. EMT (fast, in ASE) stands in where it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.protocols import Relaxer
from invdesign.records import Failure, Relaxation
from invdesign.relaxation.minimise import RelaxSettings
from invdesign.relaxation.relaxer import PotentialRelaxer, relax_one

EMT = "ase.calculators.emt:EMT"
METALS = ["Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"]
SCALE = EnergyScale(
    "emt", dict.fromkeys(METALS, 0.0), {}, 0.01, dict.fromkeys(METALS, 0.0), dict.fromkeys(METALS, 0.0), 1.6
)
FCC = np.ones((3, 3)) - np.eye(3)


def gold_copper(a: float, c: float, source: str = "CuAu") -> Crystal:
    return Crystal(np.diag([a, a, c]), [29, 79], [[0, 0, 0], [0.5, 0.5, 0.5]], source=source)


def ordered(n: int) -> list[Crystal]:
    rng = np.random.default_rng(0)
    return [gold_copper(2.8 + 0.3 * rng.random(), 3.6 + 0.5 * rng.random(), f"c{i}") for i in range(n)]


@pytest.fixture(scope="module")
def emt() -> object:
    return potentials.load(EMT)


def relaxed(crystal: Crystal, calculator: object, **settings: float) -> Relaxation:
    result = relax_one(crystal, [calculator], RelaxSettings(**settings))  # type: ignore[list-item, arg-type]
    assert not isinstance(result, Failure), result
    return result  # type: ignore[return-value]


def test_copper_finds_the_lattice_constant_of_emt(emt: object) -> None:
    """3.590 Å: the minimum of ASE's EMT for copper, by ASE's own equation of state."""
    result = relaxed(Crystal(FCC * 2.0, [29], [[0, 0, 0]]), emt, max_stress=0.01)
    assert result.converged
    assert 2 * result.crystal.lattice[0, 1] == pytest.approx(3.590, abs=0.002)
    assert result.volume_change == pytest.approx((3.590 / 4.0) ** 3 - 1, abs=0.003)
    assert result.crystal.gene is not None
    assert result.crystal.gene.space_group == 225


def test_agrees_with_ase_where_symmetry_does_not_matter(emt: object) -> None:
    """A triclinic cell against ASE's own BFGS with its cell filter, in energy."""
    from ase import Atoms
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    crystal = Crystal(
        [[3.9, 0, 0], [0.4, 4.0, 0], [-0.3, 0.5, 4.1]],
        [29, 79, 29, 79],
        [[0.01, 0, 0], [0.45, 0.52, 0.03], [0.52, 0.03, 0.53], [0.02, 0.48, 0.49]],
    )
    ours = relaxed(crystal, emt, max_force=0.005, max_stress=0.02, max_steps=300)
    atoms = Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)
    atoms.calc = emt
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.005, steps=500)
    assert ours.converged
    assert ours.energy_per_atom == pytest.approx(atoms.get_potential_energy() / 4, abs=2e-3)


def test_energy_belongs_to_the_returned_structure(emt: object) -> None:
    from ase import Atoms

    result = relaxed(gold_copper(3.1, 3.5), emt)
    crystal = result.crystal
    atoms = Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.frac_coords, pbc=True)
    atoms.calc = emt
    assert atoms.get_potential_energy() / 2 == pytest.approx(result.energy_per_atom, abs=1e-9)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= result.max_force + 1e-9
    assert np.abs(atoms.get_stress()).max() * 160.2 < 0.2


def test_another_cell_comes_back_primitive(emt: object) -> None:
    cubic = Crystal(np.eye(3) * 3.8, [29] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    assert relaxed(cubic, emt).crystal.n_sites == 1


def test_step_limit_gives_the_best_structure_unconverged(emt: object) -> None:
    start = gold_copper(3.4, 3.0)
    short, full = relaxed(start, emt, max_steps=3), relaxed(start, emt)
    assert not short.converged
    assert short.steps == 3
    assert full.converged
    assert short.energy_per_atom > full.energy_per_atom


def test_failures_are_rows_and_the_others_succeed() -> None:
    crystals = [
        gold_copper(2.9, 3.7),
        Crystal(np.eye(3) * 4, [29, 29], [[0, 0, 0], [0.05, 0, 0]], source="overlap"),
        Crystal(np.eye(3) * 4, [29, 10], [[0, 0, 0], [0.5, 0.5, 0.5]], source="neon"),
        gold_copper(2.9, 3.8),
    ]
    with PotentialRelaxer(EMT, workers=1, scale=SCALE) as relaxer:
        first, overlap, neon, last = relaxer.relax(crystals)
    assert isinstance(first, Relaxation)
    assert isinstance(last, Relaxation)
    assert isinstance(overlap, Failure)
    assert (overlap.stage, overlap.item) == ("relax", "overlap")
    assert "nearer than 0.5" in overlap.reason
    assert isinstance(neon, Failure)
    assert "Ne" in neon.reason or "NotImplemented" in neon.reason


def test_an_expanding_crystal_is_stopped(emt: object) -> None:
    start = Crystal(FCC * 1.0, [79], [[0, 0, 0]])  # a third of gold's volume at most
    result = relax_one(start, [emt], RelaxSettings(max_volume=1.5))  # type: ignore[list-item]
    assert isinstance(result, Failure)
    assert "volume" in result.reason


def test_results_do_not_depend_on_the_number_or_order_of_workers() -> None:
    crystals = ordered(6)
    with PotentialRelaxer(EMT, workers=1, scale=SCALE) as relaxer:
        assert isinstance(relaxer, Relaxer)
        one = relaxer.relax(crystals)
    with PotentialRelaxer(EMT, workers=2, scale=SCALE) as relaxer:
        two = relaxer.relax(crystals[::-1])[::-1]
        indices = sorted(index for index, _ in relaxer.relax_iter(crystals))
    assert indices == list(range(6))
    for a, b in zip(one, two, strict=True):
        assert isinstance(a, Relaxation)
        assert isinstance(b, Relaxation)
        assert a.crystal.source == b.crystal.source
        assert a.energy_per_atom == b.energy_per_atom
        assert (a.crystal.lattice == b.crystal.lattice).all()


PLUGIN = """
import os, time
from ase.calculators.emt import EMT as Plain

class Deadly(Plain):
    def calculate(self, atoms, *args, **kwargs):
        if 13 in atoms.numbers:
            os._exit(9)
        if 28 in atoms.numbers:
            time.sleep(60)
        super().calculate(atoms, *args, **kwargs)

def broken():
    raise RuntimeError("no weights")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "deadly_potential.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    return "deadly_potential"


def test_a_dying_and_a_hanging_process_lose_one_crystal_each(plugin: str) -> None:
    crystals = ordered(4)
    crystals[1] = Crystal(FCC * 2.0, [13], [[0, 0, 0]], source="kills")
    crystals[2] = Crystal(FCC * 1.8, [28], [[0, 0, 0]], source="hangs")
    with PotentialRelaxer(f"{plugin}:Deadly", workers=2, scale=SCALE, max_seconds=1.0) as relaxer:
        results = relaxer.relax(crystals)
    assert [type(r) for r in results] == [Relaxation, Failure, Failure, Relaxation]
    assert "died (exit code 9)" in results[1].reason  # type: ignore[union-attr]
    assert "no answer within 10 s" in results[2].reason  # type: ignore[union-attr]


def test_a_potential_that_cannot_load_ends_the_run(plugin: str) -> None:
    from invdesign.workers import WorkerError

    with (
        PotentialRelaxer(f"{plugin}:broken", workers=1, scale=SCALE) as relaxer,
        pytest.raises(WorkerError, match="no weights"),
    ):
        relaxer.relax(ordered(1))


def test_wrong_names_are_refused_at_construction() -> None:
    with pytest.raises(InputError, match="chgnet, sevennet-0, sevennet-l3i5"):
        PotentialRelaxer("nosuch")
    with pytest.raises(InputError, match="no module nosuch"):
        PotentialRelaxer("nosuch.module:make")
    with pytest.raises(InputError, match="max_steps"):
        PotentialRelaxer(EMT, scale=SCALE, max_step=3)
    with pytest.raises(InputError, match="max_force"):
        PotentialRelaxer(EMT, scale=SCALE, max_force=0)
    with pytest.raises(InputError, match="workers"):
        PotentialRelaxer(EMT, scale=SCALE, workers=0)
    with pytest.raises(InputError, match="fixed cell"):
        PotentialRelaxer(EMT, scale=SCALE, pressure=5.0, fixed_cell=True)
    with pytest.raises(InputError, match="pressure"):
        PotentialRelaxer(EMT, scale=SCALE, pressure=float("nan"))
    with pytest.raises(ReferenceMissingError, match="fit one with"):
        PotentialRelaxer(EMT, scale="emt")
    with pytest.raises(ReferenceMissingError, match="no energy scale"):
        PotentialRelaxer(EMT, second="sevennet-0")


def test_chgnet_keeps_symmetry_and_lowers_the_energy() -> None:
    """Perturbed within their symmetry: rock salt by volume, rutile in both axes and the oxygen's coordinate."""
    pytest.importorskip("chgnet")
    nacl = Crystal(FCC * 3.0, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]])
    silicon = Crystal(FCC * 2.6, [14, 14], [[0, 0, 0], [0.25, 0.25, 0.25]])
    x = 0.32
    rutile = Crystal(
        np.diag([4.8, 4.8, 2.85]),
        [22, 22, 8, 8, 8, 8],
        [[0, 0, 0], [0.5, 0.5, 0.5], [x, x, 0], [-x, -x, 0], [0.5 - x, 0.5 + x, 0.5], [0.5 + x, 0.5 - x, 0.5]],
    )
    starts = [nacl, silicon, rutile]
    chgnet = potentials.load("chgnet")
    for start, group in zip(starts, [225, 227, 136], strict=True):
        result = relaxed(start, chgnet)
        assert result.converged
        assert space_group(result.crystal, symprec=1e-4) == group
        assert result.energy_per_atom < potentials.energy_of(start, chgnet) - 1e-3
        assert potentials.energy_of(result.crystal, chgnet) == pytest.approx(result.energy_per_atom, abs=2e-5)
        assert result.steps <= 12


@pytest.mark.slow
def test_sevennet_gives_the_same_bits_in_any_order_and_a_second_opinion() -> None:
    pytest.importorskip("chgnet")
    starts = [
        Crystal(FCC * 2.2, [12, 8], [[0, 0, 0], [0.5, 0.5, 0.5]], source="MgO"),
        Crystal(FCC * 2.1, [22, 7], [[0, 0, 0], [0.5, 0.5, 0.5]], source="TiN"),
        Crystal(FCC * 2.7, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], source="NaCl"),
    ]
    with PotentialRelaxer("sevennet-0", workers=1, second="chgnet") as relaxer:
        forward, backward = relaxer.relax(starts), relaxer.relax(starts[::-1])[::-1]
    for one, other, expected in zip(forward, backward, [-3.04, -1.90, -2.11], strict=True):
        assert isinstance(one, Relaxation)
        assert isinstance(other, Relaxation)
        assert one.energy_per_atom == other.energy_per_atom
        assert one.formation_energy == other.formation_energy
        assert one.formation_energy.mean == pytest.approx(expected, abs=0.06)
        assert "chgnet" in one.formation_energy.source


def test_a_crystal_near_a_higher_symmetry_is_put_there(emt: object) -> None:
    """Copper with one atom in four 0.06 Å off its place is within reach of the cubic cell."""
    coords = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    coords[0] += [0.015, 0.007, 0.003]
    start = Crystal(3.6 * np.eye(3), np.full(4, 29), coords)
    assert space_group(start, 0.01) != 225
    loose = {"max_force": 5.0, "max_stress": 50.0}
    risen = relaxed(start, emt, **loose)
    assert risen.crystal.gene is not None and risen.crystal.gene.space_group == 225
    assert space_group(risen.crystal, 1e-3) == 225 and risen.crystal.n_sites == 1
    kept = relaxed(start, emt, rise_symprec=0.011, **loose)
    assert space_group(kept.crystal, 0.01) == space_group(start, 0.01)


def test_a_hopeless_crystal_is_given_up_and_a_useful_one_is_not(emt: object) -> None:
    start = gold_copper(3.4, 4.6)
    whole = relaxed(start, emt)
    settings = RelaxSettings()

    def with_ceiling(energy: float) -> Relaxation:
        result = relax_one(start, [emt], settings, ceiling=energy)  # type: ignore[list-item]
        assert not isinstance(result, Failure)
        return result  # type: ignore[return-value]

    useful = with_ceiling(whole.energy_per_atom + 1e-3)
    assert useful.converged
    assert useful.energy_per_atom == whole.energy_per_atom
    hopeless = with_ceiling(whole.energy_per_atom - 5.0)
    assert not hopeless.converged
    assert hopeless.steps == settings.hopeless_after
    assert hopeless.energy_per_atom > whole.energy_per_atom - 5.0


def test_the_ceiling_is_a_formation_energy() -> None:
    start = gold_copper(3.4, 4.6)
    asked: list[str] = []

    def ceiling(crystal: Crystal) -> float | None:
        asked.append(crystal.source)
        return None if len(asked) == 2 else -9.0

    scale = SCALE.__class__(**{**vars(SCALE), "elements": {**SCALE.elements, "Cu": -7.0}})
    with PotentialRelaxer(EMT, workers=1, scale=scale, ceiling=ceiling) as relaxer:
        given_up, whole, again = relaxer.relax([start, start, start])
    assert isinstance(given_up, Relaxation) and isinstance(whole, Relaxation) and isinstance(again, Relaxation)
    assert len(asked) == 3
    assert whole.converged and not given_up.converged and not again.converged
    assert given_up.formation_energy.mean == pytest.approx(given_up.energy_per_atom + 3.5)


def test_without_an_energy_scale_there_is_no_formation_energy() -> None:
    copper = Crystal(FCC * 1.85, [29], [[0, 0, 0]])
    with PotentialRelaxer(EMT, workers=1) as relaxer:
        (plain,) = relaxer.relax([copper])
    with PotentialRelaxer(EMT, workers=1, scale="mp2020") as relaxer:
        (placed,) = relaxer.relax([copper])
    with PotentialRelaxer(EMT, workers=1, scale=SCALE, pressure=20.0) as relaxer:
        (pressed,) = relaxer.relax([copper])
    assert isinstance(plain, Relaxation) and isinstance(placed, Relaxation) and isinstance(pressed, Relaxation)
    assert plain.converged and plain.formation_energy is None
    assert "no energy scale for the potential 'ase.calculators.emt:EMT'" in plain.note
    assert placed.formation_energy is not None and placed.note == ""
    assert placed.formation_energy.mean == pytest.approx(placed.energy_per_atom + 4.0993, abs=1e-3)
    assert pressed.formation_energy is None and "at 20 GPa" in pressed.note


def test_an_element_that_the_scale_does_not_know_leaves_the_relaxation() -> None:
    scale = SCALE.__class__(**{**vars(SCALE), "elements": {"Ag": 0.0}})
    with PotentialRelaxer(EMT, workers=1, scale=scale) as relaxer:
        (found,) = relaxer.relax([Crystal(FCC * 1.85, [29], [[0, 0, 0]])])
    assert isinstance(found, Relaxation)
    assert found.converged and found.formation_energy is None and "does not know Cu" in found.note


def test_an_element_that_the_potential_does_not_know_is_named_in_a_short_line() -> None:
    polonium = Crystal(np.eye(3) * 3.35, [84], [[0, 0, 0]], source="Po")
    with PotentialRelaxer("sevennet-0", workers=1) as relaxer:
        (found,) = relaxer.relax([polonium])
    assert found == Failure("relax", "the potential sevennet-0 does not know Po", "Po")


def test_under_pressure_the_enthalpy_is_at_its_minimum(emt: object) -> None:
    """The volume at 30 GPa is where the slope of the energy is -30 GPa, by finite differences."""
    copper = Crystal(FCC * 1.8, [29], [[0, 0, 0]])
    pressed = relaxed(copper, emt, pressure=30.0, max_stress=0.005).crystal
    step = 1e-3

    def energy(stretch: float) -> float:
        cell = Crystal(pressed.lattice * stretch ** (1 / 3), [29], [[0, 0, 0]])
        return potentials.energy_of(cell, emt)  # type: ignore[arg-type]

    slope = (energy(1 + step) - energy(1 - step)) / (2 * step * pressed.volume) * 160.21766
    assert slope == pytest.approx(-30.0, abs=0.05)
    assert pressed.volume < relaxed(copper, emt).crystal.volume


def test_a_fixed_cell_stays_and_its_atoms_move(emt: object) -> None:
    start = Crystal(np.diag([3.0, 3.0, 6.0]), [29, 79, 29], [[0, 0, 0], [0.5, 0.5, 0.27], [0, 0, 0.53]])
    found = relaxed(start, emt, fixed_cell=True, max_force=0.01)
    assert found.converged and found.volume_change == pytest.approx(0.0, abs=1e-12)
    assert np.sort(np.linalg.norm(found.crystal.lattice, axis=1)) == pytest.approx([3, 3, 6])
    assert found.rms_displacement > 0.01
    assert abs(relaxed(start, emt, max_force=0.01).volume_change) > 1e-3


def test_free_symmetry_keeps_the_cell_and_leaves_a_saddle(emt: object) -> None:
    """Square copper sheets stacked on top of each other are a saddle: only a free, shaken cell slides off it."""
    numbers, coords = [29] * 4, np.array([[0, 0, 0], [0.5, 0.5, 0], [0, 0, 0.5], [0.5, 0.5, 0.5]])
    cell = np.diag([3.6, 3.6, 5.0])
    saddle = relaxed(Crystal(cell, numbers, coords), emt)
    shaken = Crystal(cell, numbers, coords + np.random.default_rng(0).normal(0, 0.02, coords.shape))
    free = relaxed(shaken, emt, free_symmetry=True, max_force=0.01, max_stress=0.05, max_steps=400)
    assert saddle.crystal.n_sites == 1 and free.crystal.n_sites == 4
    assert free.converged
    assert free.energy_per_atom < saddle.energy_per_atom - 0.05
    assert free.energy_per_atom == pytest.approx(
        relaxed(Crystal(FCC * 1.8, [29], [[0, 0, 0]]), emt).energy_per_atom, abs=0.01
    )
