"""Elastic constants at temperature: they meet the static ones when cold, soften with heat, know their error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import invdesign as ivd
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.mechanics.tensors import WEIGHT, summarise, to_mandel
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure, Status
from invdesign.report import export
from invdesign.vibrations.isothermal import (
    Isothermal,
    IsothermalSettings,
    Strains,
    Stressed,
    at_pressure,
    fitted,
    mean_cell,
    strains,
    stressed,
)
from invdesign.vibrations.molecular_dynamics import MDSettings
from invdesign.vibrations.supercells import multiplied

EMT = "ase.calculators.emt:EMT"
FCC = np.ones((3, 3)) - np.eye(3)
COPPER = Crystal(FCC * 1.7948, [29], [[0, 0, 0]], source="copper")  # at rest with EMT
CUBE = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
LARGE = multiplied(COPPER, 2 * CUBE)
KINDS = strains(COPPER)
SHORT = {"potential": EMT, "elastic": True, "timestep": 4.0, "min_length": 7.0, "workers": 1}


def runs(temperature: float, steps: int, seed: int = 0) -> tuple[list[Stressed], IsothermalSettings]:
    how, found = IsothermalSettings(steps=steps), []
    for cell in KINDS.of(LARGE, how):
        answer = stressed(cell, potentials.load(EMT), MDSettings(temperature, timestep=4.0, seed=seed), how)
        assert isinstance(answer, Stressed), answer
        found.append(answer)
    return found, how


@pytest.fixture(scope="module")
def copper() -> pd.DataFrame:
    """At 10 and 600 K."""
    return ivd.md([COPPER], temperature=[10.0, 600.0], steps=150, elastic_steps=150, **SHORT)


def test_a_cold_crystal_has_its_static_constants(copper: pd.DataFrame) -> None:
    row = copper.iloc[0]
    assert row["supercell_atoms"] == 32 and row["elastic_failure"] == "" and row["elastic_static_failure"] == ""
    for name in ("c11", "c12", "c44", "potential_bulk_modulus", "potential_shear_modulus"):
        # at 10 K the cell has grown by 0.1 %, which costs half a per cent
        allowed = 3.0 * row[f"{name}_error"] + 0.01 * row[f"{name}_static"]
        assert row[name] == pytest.approx(row[f"{name}_static"], abs=allowed), name
    assert {c for c in copper if c[0] == "c" and c[1:].isdigit()} == {"c11", "c12", "c44"}
    assert row["c11"] > 150.0 and row["elastic_stability"] == "pass"
    assert row["elastic_steps"] == 3 * 150 and row["elastic_seconds"] > 0.0


def test_heat_softens(copper: pd.DataFrame) -> None:
    cold, hot = copper.iloc[0], copper.iloc[1]
    for name in ("potential_bulk_modulus", "potential_shear_modulus", "potential_youngs_modulus", "c44"):
        assert hot[name] < cold[name] - 3.0 * (hot[f"{name}_error"] + cold[f"{name}_error"])
        assert hot[f"{name}_static"] == cold[f"{name}_static"]
        assert 0.0 < cold[f"{name}_error"] < hot[f"{name}_error"] < 0.1 * hot[name]
    assert hot["elastic_volume"] > cold["elastic_volume"]


def test_the_averages_are_those_of_the_tensor(copper: pd.DataFrame) -> None:
    row, found = copper.iloc[1], copper["isothermal"][1]
    assert isinstance(found, Isothermal)
    about = summarise(found.tensor)
    assert row["potential_bulk_modulus"] == about.bulk_hill and row["potential_shear_modulus"] == about.shear_hill
    k, g = about.bulk_hill, about.shear_hill
    assert row["potential_youngs_modulus"] == pytest.approx(9 * k * g / (3 * k + g))
    assert row["potential_poisson_ratio"] == pytest.approx((3 * k - 2 * g) / (6 * k + 2 * g))
    assert row["lowest_eigenvalue"] == pytest.approx(row["c11"] - row["c12"])
    assert row["potential_bulk_modulus"] == pytest.approx((row["c11"] + 2 * row["c12"]) / 3)


@pytest.mark.slow
def test_longer_runs_have_smaller_errors() -> None:
    found, how = runs(600.0, 1000)
    early = [replace(each, stresses=each.stresses[: len(each.stresses) // 8]) for each in found]
    short, long = fitted(LARGE, KINDS, early, how), fitted(LARGE, KINDS, found, how)
    places = tuple(np.array(long.constants).T)
    assert (long.errors[places] < short.errors[places]).all()
    assert long.temperature == pytest.approx(600.0, rel=0.1)


def _noise(n: int, how: IsothermalSettings, tensor: np.ndarray, seed: int = 0) -> list[Stressed]:
    """Stresses of strained cells with white noise of 1 GPa."""
    rng = np.random.default_rng(seed)
    stiffness = tensor * np.outer(WEIGHT, WEIGHT)
    signed = [sign * how.strain * mode for mode in KINDS.modes for sign in (1.0, -1.0)]
    return [Stressed(stiffness @ s + rng.normal(size=(n, 6)), 300.0, n, 0.0) for s in signed]


def test_standard_errors_are_those_of_repetitions() -> None:
    tensor = np.diag([170.0] * 3 + [80.0] * 3)
    tensor[:3, :3] += 110.0 * (1 - np.eye(3))
    how = IsothermalSettings(blocks=20)
    many = [fitted(LARGE, KINDS, _noise(400, how, tensor, seed), how) for seed in range(150)]
    for i, j in ((0, 0), (0, 1), (3, 3)):
        spread = np.std([each.tensor[i, j] for each in many], ddof=1)
        assert np.mean([each.errors[i, j] for each in many]) == pytest.approx(spread, rel=0.15)
    for name in ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio"):
        spread = np.std([each.moduli[name].mean for each in many], ddof=1)
        assert np.mean([each.moduli[name].std for each in many]) == pytest.approx(spread, rel=0.15), name


def test_the_verdict_counts_errors() -> None:
    soft = np.diag([100.0] * 3 + [30.0] * 3)
    how = IsothermalSettings()
    for c12, status in ((40.0, "pass"), (160.0, "fail")):
        tensor = soft.copy()
        tensor[:3, :3] += c12 * (1 - np.eye(3))
        found = fitted(LARGE, KINDS, _noise(10_000, how, tensor), how)
        assert found.verdict.status is Status(status), found.verdict
        assert (status == "pass") == (found.verdict.reason == "")
    soft[:3, :3] = 100.0  # two eigenvalues are zero
    many = [fitted(LARGE, KINDS, _noise(100, how, soft, seed), how).verdict for seed in range(200)]
    unknown = [verdict for verdict in many if verdict.status is Status.UNKNOWN]
    assert len(unknown) > 0.8 * len(many) and "the lowest eigenvalue is" in unknown[0].reason


def test_the_same_seed_gives_the_same_constants() -> None:
    one, two, other = (fitted(LARGE, KINDS, *runs(300.0, 125, seed)).tensor for seed in (0, 0, 1))
    assert (one == two).all() and not np.allclose(one, other)


def test_the_mean_cell_gets_its_symmetry_back() -> None:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix()
    grown = np.eye(3) * 1.02 + np.array([[0.001, 0.002, 0], [0.002, -0.001, 0.001], [0, 0.001, 0]])
    average = replace(LARGE, lattice=LARGE.lattice @ grown @ turn)
    found = mean_cell(LARGE, average, KINDS.rotations)
    assert np.abs(found.lattice - 1.02 * LARGE.lattice).max() < 1e-9


def test_the_cell_is_brought_to_its_pressure() -> None:
    tensor = np.diag([170.0] * 3 + [80.0] * 3)
    tensor[:3, :3] += 115.0 * (1 - np.eye(3))  # K = 400/3 GPa
    rest = Stressed(np.tile(to_mandel(np.diag([1.0, 2.0, 3.0])), (5, 1)), 300.0, 5, 0.0)  # a tension of 2 GPa
    found = at_pressure(LARGE, rest, tensor, KINDS, 0.0)
    assert found.volume / LARGE.volume - 1.0 == pytest.approx(-2.0 / (400.0 / 3.0), rel=0.02)
    held = at_pressure(LARGE, rest, tensor, KINDS, -2.0)
    assert held.volume == pytest.approx(LARGE.volume)


def test_under_pressure_they_meet_the_static_ones_at_that_pressure(copper: pd.DataFrame) -> None:
    row = ivd.md(
        [COPPER], temperature=10.0, steps=200, elastic_steps=150, pressure=5.0, **SHORT
    ).iloc[0]  # fmt: skip
    assert row["elastic_pressure"] == pytest.approx(5.0, abs=0.5)
    assert row["c11_static"] > 1.1 * copper["c11_static"][0]
    for name in ("c11", "c12", "c44"):
        assert row[name] == pytest.approx(row[f"{name}_static"], rel=0.03), name


def test_a_hexagonal_crystal_in_the_cell_given() -> None:
    a = 2.54
    lattice = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 1.633 * a]])
    hcp = Crystal(lattice, [29, 29], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], source="hcp")
    row = ivd.md([hcp], temperature=10.0, steps=150, elastic_steps=150, ensemble="nvt", **SHORT).iloc[0]
    assert {"c11", "c12", "c13", "c33", "c44", "c66"} <= set(row.index) and "c14" not in row.index
    for name in ("c11", "c12", "c13", "c33", "c44", "c66"):
        assert row[name] == pytest.approx(row[f"{name}_static"], rel=0.03, abs=1.0), name
    assert row["elastic_volume"] == pytest.approx(row["volume"])
    assert row["c66"] == pytest.approx((row["c11"] - row["c12"]) / 2)


def test_a_crystal_that_melts_has_none() -> None:
    row = ivd.md([COPPER], temperature=8000.0, steps=150, elastic_steps=125, **SHORT).iloc[0]
    assert row["failure"] == "" and row["verdict_crystalline"] == "fail"
    assert row["elastic_failure"].startswith("it does not stay crystalline: ")


def test_a_supercell_that_is_too_small_is_a_row(tmp_path: Path) -> None:
    table = ivd.md([COPPER], temperature=10.0, max_atoms=8, **SHORT)
    words = "the supercell has 8 atoms and its shortest vector 5.1 Å; elastic constants need at least 16 atoms"
    assert (
        len(table) == 1 and words in table["failure"][0] and "raise min_length or max_atoms" in table["failure"][0]
    )


def test_a_calculator_that_fails_is_a_failure() -> None:
    argon = Crystal(np.eye(3) * 8.0, [18], [[0, 0, 0]], source="argon")
    found = stressed(argon, potentials.load(EMT), MDSettings(), IsothermalSettings())
    assert isinstance(found, Failure) and found.stage == "elastic" and found.item == "argon"


@pytest.mark.parametrize(("settings", "words"), [
    ({"elastic": True, "elastic_strain": 0.2}, "elastic_strain: 0.2 .*0.001 to 0.05"),
    ({"elastic": True, "elastic_strain": -0.01}, "elastic_strain"),
    ({"elastic": True, "elastic_steps": 50}, "elastic_steps.*125"),
    ({"elastic": True, "min_length": 3.0}, "min_length: 3.*at least 5 Å"),
    ({"elastic": True, "elastic_stain": 0.01}, "elastic_stain"),
    ({"elastic": "yes"}, "elastic"),
    ({"elastics": True}, "elastics"),
    ({"elastic_strain": 0.01}, "elastic_strain.*used with elastic alone"),
])  # fmt: skip
def test_wrong_settings_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ivd.md([COPPER], potential=EMT, **settings)  # type: ignore[arg-type]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Cu.cif").write_text(export.plain_cif(COPPER)[0], encoding="utf-8")
    args = ["md", str(tmp_path / "Cu.cif"), "--potential", EMT, "--temperature", "50", "--steps", "150"]
    args += ["--min-length", "7", "--workers", "1", "--elastic", "--elastic-steps", "125"]
    assert run([*args, "--elastic-strain", "0.3", "--out", str(tmp_path / "none")]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "0.001 to 0.05" in printed
    assert run([*args, "--dry-run", "--out", str(tmp_path / "none")]) == 0
    said = "1 simulations, 150 steps, 3 runs at constant volume, 375 steps: about"
    assert said in capsys.readouterr().err and not (tmp_path / "none").exists()
    assert run([*args, "--elastic-strain", "0.02", "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "md.csv")
    row = table.iloc[0]
    assert row["elastic_strain"] == 0.02 and row["elastic_steps"] == 375 and row["c11"] > 100.0
    constants = pd.read_csv(tmp_path / "out" / row["folder"] / "elastic.csv").set_index("quantity")
    assert list(constants.columns) == ["unit", "value", "standard_error", "static"]
    assert constants.loc["c11", "value"] == pytest.approx(row["c11"])
    assert constants.loc["c11", "standard_error"] == pytest.approx(row["c11_error"])
    assert constants.loc["potential_shear_modulus", "static"] == pytest.approx(
        row["potential_shear_modulus_static"]
    )
    assert set(constants["unit"].dropna()) == {"GPa"}


def test_strains_are_those_of_the_point_group() -> None:
    assert isinstance(KINDS, Strains) and len(KINDS.basis) == 3 and len(KINDS.modes) == 1
    plus, minus = KINDS.of(LARGE, IsothermalSettings(strain=0.02))
    assert np.abs(plus.lattice + minus.lattice - 2 * LARGE.lattice).max() < 1e-12
    strain = np.linalg.solve(LARGE.lattice, plus.lattice) - np.eye(3)
    assert np.linalg.norm(strain) == pytest.approx(0.02)
