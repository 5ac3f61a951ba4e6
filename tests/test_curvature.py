"""Curvature at a relaxed crystal: against brute-force differences and elastic tensors, minima, saddle points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import primitive
from invdesign.potentials import calculators as potentials
from invdesign.relaxation import curvature
from invdesign.relaxation.curvature import CurvatureSettings, measure
from invdesign.relaxation.dynamics import supercell
from invdesign.relaxation.elastic import Elasticity, elastic_tensor
from invdesign.relaxation.minimise import GiveUpError, Relaxed, RelaxSettings, evaluate
from invdesign.relaxation.relaxer import relax_one

EMT = "ase.calculators.emt:EMT"
FCC = np.ones((3, 3)) - np.eye(3)
BCC = np.ones((3, 3)) - 2.0 * np.eye(3)
HEXAGONAL = np.array([[2.55, 0.0, 0.0], [-1.275, 2.2083648, 0.0], [0.0, 0.0, 4.16]])
CRYSTALS = {
    "fcc": Crystal(FCC * 1.8, [29], [[0, 0, 0]]),
    "hcp": Crystal(HEXAGONAL, [29, 29], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
    "L10": Crystal(np.diag([2.8, 2.8, 3.7]), [29, 79], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "L12": Crystal(np.eye(3) * 3.75, [79, 29, 29, 29], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]),
    "bcc": Crystal(BCC * 1.45, [29], [[0, 0, 0]]),
}
TIGHT = RelaxSettings(max_force=1e-4, max_stress=1e-3)


def at_rest(crystal: Crystal) -> tuple[Crystal, object]:
    calculator = potentials.load(EMT)
    found = relax_one(crystal, [calculator], TIGHT)
    assert isinstance(found, Relaxed)
    return primitive(found.crystal), calculator


def brute_force(crystal: Crystal, calculator: object, step: float = 0.005) -> np.ndarray:
    """(3 n, 3 n) force constants by central differences of every coordinate."""
    n = crystal.n_sites
    rows = []
    for k in range(3 * n):
        pair = []
        for sign in (1.0, -1.0):
            shift = np.zeros(3 * n)
            shift[k] = sign * step
            coords = crystal.frac_coords + shift.reshape(n, 3) @ np.linalg.inv(crystal.lattice)
            pair.append(evaluate(calculator, crystal.numbers, crystal.lattice, coords)[1].ravel())  # type: ignore[arg-type]
        rows.append(-(pair[0] - pair[1]) / (2.0 * step))
    return np.array(rows)


@pytest.mark.parametrize("name", CRYSTALS)
def test_force_constants_are_those_of_all_displacements(name: str) -> None:
    cell, calculator = at_rest(CRYSTALS[name])
    large = supercell(cell)
    probe = curvature._Probe(calculator, cell)  # type: ignore[arg-type]
    symmetry = curvature._symmetry(large)
    plan = curvature._displacements(symmetry)
    settings = CurvatureSettings(displacement=0.002)
    springs = curvature._springs(probe, large, symmetry, plan, settings)
    n = large.n_sites
    assert np.abs(springs.reshape(3 * n, 3 * n) - brute_force(large, calculator)).max() < 0.05
    # far fewer displacements than coordinates
    assert sum(map(len, plan.values())) <= 2 * len(set(cell.numbers.tolist()))


@pytest.mark.parametrize("name", ["fcc", "hcp", "L10", "L12"])
def test_the_softest_strain_is_that_of_the_elastic_tensor(name: str) -> None:
    cell, calculator = at_rest(CRYSTALS[name])
    limits = CurvatureSettings(least_spring=1e-3)
    found = measure(cell, supercell(cell), calculator, limits)  # type: ignore[arg-type]
    tensor = elastic_tensor(cell, calculator)  # type: ignore[arg-type]
    assert found is not None and isinstance(tensor, Elasticity)
    assert found.modulus == pytest.approx(tensor.eigenvalues[0], rel=0.06, abs=1.0)
    assert found.is_minimum == (found.modulus > limits.least_modulus and found.spring > limits.least_spring)


def test_a_saddle_point_has_a_mode_that_lowers_the_energy() -> None:
    cell, calculator = at_rest(CRYSTALS["bcc"])
    large = supercell(cell)
    found = measure(cell, large, calculator)  # type: ignore[arg-type]
    assert found is not None and not found.is_minimum and found.spring < -0.1
    assert np.linalg.norm(found.pattern, axis=1).max() == pytest.approx(1.0)
    energies = []
    for size in (0.0, 0.02):
        coords = large.frac_coords + size * found.pattern @ np.linalg.inv(large.lattice)
        energies.append(evaluate(calculator, large.numbers, large.lattice, coords)[0])  # type: ignore[arg-type]
    expected = 0.5 * found.spring * 0.02**2 * float((found.pattern**2).sum())
    assert energies[1] - energies[0] == pytest.approx(expected, rel=0.15)


def test_without_symmetry_it_would_take_too_many_calls() -> None:
    rng = np.random.default_rng(0)
    cell = CRYSTALS["L12"]
    shaken = replace(cell, frac_coords=cell.frac_coords + rng.normal(scale=0.02, size=(4, 3)))
    calculator = potentials.load(EMT)
    assert measure(shaken, shaken, calculator, CurvatureSettings(most_calls=11)) is None
    assert measure(shaken, shaken, calculator, CurvatureSettings(most_calls=12)) is not None


def test_soft_modes_are_looked_at_from_both_sides() -> None:
    cell, calculator = at_rest(CRYSTALS["L10"])
    large = supercell(cell)
    plain = measure(cell, large, calculator, CurvatureSettings(soft=1e-9))  # type: ignore[arg-type]
    careful = measure(cell, large, calculator)  # type: ignore[arg-type]
    assert plain is not None and careful is not None
    lowest = np.sort(np.linalg.eigvalsh(brute_force(large, calculator)))[3]
    assert careful.calls > plain.calls + 1
    assert careful.spring == pytest.approx(lowest, abs=0.01)
    doubtful = measure(cell, large, calculator, CurvatureSettings(soft=50.0, most_soft=1))  # type: ignore[arg-type]
    assert doubtful is not None and not doubtful.is_minimum and doubtful.spring == 0.0


def test_an_answer_that_is_not_finite_ends_it() -> None:
    from ase.calculators import emt

    class Broken(emt.EMT):  # type: ignore[misc]
        def calculate(self, *args: object, **options: object) -> None:
            super().calculate(*args, **options)
            self.results["forces"] = self.results["forces"] * np.nan

    cell, _ = at_rest(CRYSTALS["fcc"])
    with pytest.raises(GiveUpError, match="not finite"):
        measure(cell, supercell(cell), Broken())
