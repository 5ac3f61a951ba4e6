"""Ideal strength against paths that are computed another way, and what goes wrong in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from scipy.optimize import minimize_scalar

from invdesign.app.strength import wanted
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.data.convert import from_ase
from invdesign.errors import InputError
from invdesign.relaxation.strength import (
    StrengthSettings,
    parse_indices,
    shear_strength,
    tensile_strength,
)
from invdesign.units import GPA

CUTOFF = 5.0
FINE = StrengthSettings(step=0.02, largest=0.4, max_stress=0.02, max_force=0.001)


def argon_like(a: float = 3.75) -> Crystal:
    """Face-centred cubic with Lennard-Jones units of 1 eV and 2.5 Å."""
    return from_ase(bulk("Ar", "fcc", a=a))


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=2.5, epsilon=1.0, rc=CUTOFF * 1.6, smooth=False)


def energy(across: float, along: float) -> float:
    """Energy per atom of a body-centred tetragonal view of fcc: a lattice sum of the test's own, eV."""
    cell = np.array([[across, across, 0.0], [across, 0.0, along], [0.0, across, along]]) / 2.0
    grid = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    r = np.linalg.norm(grid @ cell, axis=1)
    r = r[(r > 1e-9) & (r < CUTOFF * 1.6)]
    shift = (2.5 / (CUTOFF * 1.6)) ** 12 - (2.5 / (CUTOFF * 1.6)) ** 6
    return float(0.5 * (4.0 * ((2.5 / r) ** 12 - (2.5 / r) ** 6 - shift)).sum())


def path(strains: np.ndarray, edge: float) -> np.ndarray:
    """Stress (GPa) along [001], the lateral edge at its minimum: the derivative of the relaxed energy."""

    def lowest(along: float) -> tuple[float, float]:
        found = minimize_scalar(lambda b: energy(b, along), bounds=(0.6 * edge, 1.1 * edge), method="bounded",
                                options={"xatol": 1e-9})  # fmt: skip
        return float(found.fun), float(found.x)

    stresses = []
    for strain in strains:
        along, d = edge * (1.0 + strain), 1e-4
        slope = (lowest(along + d)[0] - lowest(along - d)[0]) / (2 * d)
        stresses.append(slope / (lowest(along)[1] ** 2 / 4.0) * GPA)
    return np.array(stresses)


def test_tension_of_a_lennard_jones_crystal_is_that_of_its_lattice_sum() -> None:
    edge = float(minimize_scalar(lambda a: energy(a, a), bounds=(3.5, 4.1), method="bounded").x)
    found = tensile_strength(argon_like(edge), lennard_jones(), (0, 0, 1), FINE)
    assert found.kind == "tension" and found.plane is None and not found.note
    np.testing.assert_allclose(found.stresses, path(found.strains, edge), atol=0.01 * found.ideal)
    assert found.reached and 0.0 < found.strain < 0.4
    assert found.ideal == pytest.approx(found.stresses.max(), rel=0.02)
    assert found.evaluations > len(found.strains)


def test_directions_that_symmetry_makes_equal_are_equal() -> None:
    settings = StrengthSettings(step=0.02, largest=0.06)
    along = [
        tensile_strength(argon_like(), lennard_jones(), d, settings) for d in ((0, 0, 1), (1, 0, 0), (0, -1, 0))
    ]
    for other in along[1:]:
        np.testing.assert_allclose(other.stresses, along[0].stresses, atol=0.3)
    assert not along[0].reached and along[0].strain == pytest.approx(0.06, abs=1e-6)


def test_the_slope_at_the_start_is_the_elastic_constant() -> None:
    """EMT of copper: Young's modulus along [001] from C11 and C12 of finite strains, and C' in the shear."""
    small = StrengthSettings(step=0.002, largest=0.004, max_stress=0.001, max_force=1e-4)
    crystal = from_ase(bulk("Cu", "fcc", a=3.59))
    found = tensile_strength(crystal, EMT(), (0, 0, 1), small)
    atoms = bulk("Cu", "fcc", a=3.59)
    atoms.calc = EMT()
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-5)
    rest = atoms.cell.array.copy()

    def stress(strain: np.ndarray) -> np.ndarray:
        atoms.set_cell(rest @ (np.eye(3) + strain), scale_atoms=True)
        return atoms.get_stress() * GPA

    d = 1e-3
    pull, shear = np.diag([0.0, 0.0, d]), np.zeros((3, 3))
    shear[0, 2] = shear[2, 0] = d / 2
    both = (stress(pull) - stress(-pull)) / (2 * d)
    c11, c12, c44 = both[2], both[0], (stress(shear)[4] - stress(-shear)[4]) / (2 * d)
    young = (c11 - c12) * (c11 + 2 * c12) / (c11 + c12)
    assert found.stresses[1] / found.strains[1] == pytest.approx(young, rel=0.02)
    cut = shear_strength(crystal, EMT(), (0, 0, 1), (1, 0, 0), small)
    assert cut.stresses[1] / cut.strains[1] == pytest.approx(c44, rel=0.02)


def test_shear_of_close_packed_planes_is_easier_towards_the_fault() -> None:
    settings = StrengthSettings(step=0.04, largest=0.6)
    easy = shear_strength(argon_like(), lennard_jones(), (1, 1, 1), (1, 1, -2), settings)
    hard = shear_strength(argon_like(), lennard_jones(), (1, 1, 1), (-1, -1, 2), settings)
    assert easy.plane == (1, 1, 1) and easy.reached and easy.ideal > 0.0
    assert hard.ideal > 1.3 * easy.ideal or easy.ideal > 1.3 * hard.ideal


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("001", (0, 0, 1)), ("1-10", (1, -1, 0)), ("[2, 2, -4]", (1, 1, -2)), ("1 1 1", (1, 1, 1))],
)
def test_indices(text: str, wanted: tuple[int, int, int]) -> None:
    assert parse_indices(text) == wanted


@pytest.mark.parametrize("text", ["", "12", "000", "abc", "1.5 0 0", "0011", "1-1"])
def test_bad_indices_are_named(text: str) -> None:
    with pytest.raises(InputError, match="direction"):
        parse_indices(text)


def test_a_direction_outside_the_plane_and_bad_settings_are_named() -> None:
    with pytest.raises(InputError, match="within the plane"):
        shear_strength(argon_like(), lennard_jones(), (1, 1, 1), (1, 1, 0))
    with pytest.raises(InputError, match="zero"):
        tensile_strength(argon_like(), lennard_jones(), (0, 0, 0))
    for wrong in ({"step": 0.0}, {"step": 0.7}, {"drop": 1.5}):
        with pytest.raises(InputError):
            StrengthSettings(**wrong)


def test_a_path_that_does_not_come_to_rest_says_so() -> None:
    found = tensile_strength(argon_like(3.9), lennard_jones(), (0, 0, 1), StrengthSettings(max_steps=1))
    assert "did not come to rest" in found.note and not found.reached


def emt() -> EMT:
    """A potential for `--potential test_strength:emt`."""
    return EMT()


def test_the_command_writes_a_row_for_each_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ase.io import write

    write(tmp_path / "cu.cif", bulk("Cu", "fcc", a=3.59, cubic=True))
    (tmp_path / "bad.cif").write_text("nothing")
    out = tmp_path / "strength.csv"
    given = [
        "strength",
        str(tmp_path),
        "--direction",
        "001",
        "--shear",
        "111:11-2",
        "--largest",
        "0.06",
        "--step",
        "0.03",
    ]
    assert run([*given, "--potential", "test_strength:emt", "--out", str(out)]) == 0
    assert "upper bound" in capsys.readouterr().err
    table = pd.read_csv(out, dtype={"direction": str, "plane": str}, keep_default_na=False)
    assert list(table[table.failure == ""].kind) == ["tension", "shear"] and len(table) == 3
    assert list(table[table.failure == ""].direction) == ["001", "11-2"]
    pull = table[table.kind == "tension"].iloc[0]
    assert float(pull.ideal_strength) > 1.0 and not json.loads(str(pull.reached).lower())
    assert "had not fallen" in pull.note
    assert run([*given, "--shear", "111"]) == 2 and run([*given, "--shear", "111:110"]) == 2
    assert run([*given, "--direction", "9"]) == 2


def test_paths_from_words() -> None:
    assert wanted((), ()) == [(None, (0, 0, 1))]
    assert wanted("111", "111:1-10") == [(None, (1, 1, 1)), ((1, 1, 1), (1, -1, 0))]
    assert wanted((), ["001:100"]) == [((0, 0, 1), (1, 0, 0))]
