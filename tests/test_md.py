"""Molecular dynamics: temperature, energy and volume are right, crystals stay or melt, files, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import invdesign as ivd
from invdesign.cli import run
from invdesign.crystal import Crystal
from invdesign.errors import InputError
from invdesign.potentials import calculators as potentials
from invdesign.records import Failure, Status
from invdesign.report import export
from invdesign.vibrations.molecular_dynamics import MDSettings, Simulation, simulate
from invdesign.vibrations.supercells import multiplied

EMT = "ase.calculators.emt:EMT"
FCC = np.ones((3, 3)) - np.eye(3)
COPPER = Crystal(FCC * 1.7948, [29], [[0, 0, 0]], source="copper")  # at rest with EMT
LARGE = multiplied(COPPER, 2 * np.eye(3, dtype=np.int64))


def of(temperature: float, **settings: object) -> Simulation:
    chosen = MDSettings(temperature=temperature, timestep=4.0, **{"steps": 200, **settings})  # type: ignore[arg-type]
    found = simulate(LARGE, potentials.load(EMT), chosen)
    assert isinstance(found, Simulation), found
    return found


def test_supercells_are_multiples() -> None:
    assert LARGE.n_sites == 8 and LARGE.volume == pytest.approx(8 * COPPER.volume)


@pytest.fixture(scope="module")
def warm() -> Simulation:
    return of(300.0)


def test_a_metal_at_room_temperature_stays_crystalline(warm: Simulation) -> None:
    assert warm.verdict.status is Status.PASS and warm.verdict.reason == ""
    # copper's root-mean-square displacement at 300 K is 0.15 Å, of a nearest distance of 2.55 Å
    assert 0.08 < warm.displacement < 0.25 and warm.verdict.value == pytest.approx(
        warm.displacement / 2.54, rel=0.02
    )
    assert warm.temperature == pytest.approx(300.0, rel=0.35)  # eight atoms
    assert 0.0 < warm.volume / COPPER.volume - 1.0 < 0.05
    assert len(warm.times) == 21 and warm.times[-1] == pytest.approx(0.8)


def test_heat_makes_it_larger(warm: Simulation) -> None:
    hot = of(900.0)
    assert hot.volume > 1.01 * warm.volume and hot.volume_error > 0.0
    assert hot.displacement > warm.displacement and hot.energy > warm.energy
    # 3 k_B T/2 of potential energy per atom
    gain = (hot.energy - warm.energy) / (8.617333e-5 * 1.5 * 600.0)
    assert gain == pytest.approx(1.0, abs=0.5)


def test_pressure_makes_it_smaller(warm: Simulation) -> None:
    pressed = of(300.0, pressure=10.0)
    # a bulk modulus of 135 GPa and its rise with pressure: about 6.5 %
    assert pressed.volume / warm.volume - 1.0 == pytest.approx(-0.065, abs=0.025)


def test_at_constant_volume_nothing_changes_the_cell() -> None:
    found = of(300.0, ensemble="nvt", steps=30, every=2)
    assert np.ptp(found.volumes) == pytest.approx(0.0, abs=1e-9)
    assert np.abs(found.cells - LARGE.lattice).max() < 1e-9


def test_a_superheated_crystal_is_no_crystal() -> None:
    found = of(8000.0)
    assert found.verdict.status is Status.FAIL and found.verdict.reason
    assert found.verdict.value is not None and found.verdict.value > 0.15


def test_the_same_seed_gives_the_same_course() -> None:
    one, two, other = (of(300.0, steps=30, every=2, seed=seed) for seed in (0, 0, 1))
    assert (one.volumes == two.volumes).all() and not np.allclose(one.volumes, other.volumes)


def test_a_calculator_that_fails_is_a_failure() -> None:
    argon = Crystal(np.eye(3) * 8.0, [18], [[0, 0, 0]], source="argon")
    found = simulate(argon, potentials.load(EMT), MDSettings())
    assert isinstance(found, Failure) and found.stage == "md" and found.item == "argon"


@pytest.mark.parametrize("settings", [
    {"temperature": -3.0}, {"ensemble": "nve"}, {"steps": 20}, {"timestep": 0.0}, {"settle": 0.95},
])  # fmt: skip
def test_wrong_settings_are_named(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        MDSettings(**settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lenght"):
        ivd.md([COPPER], potential=EMT, lenght=3)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Cu.cif").write_text(export.plain_cif(COPPER)[0], encoding="utf-8")
    (tmp_path / "bad.cif").write_text("data_x\n", encoding="utf-8")
    args = [
        "md",
        str(tmp_path),
        "--potential",
        EMT,
        "--temperature",
        "300",
        "--temperature",
        "600",
        "--steps",
        "150",
    ]
    args += ["--min-length", "5", "--workers", "1"]
    assert run([*args, "--dry-run", "--out", str(tmp_path / "none")]) == 0
    printed = capsys.readouterr()
    assert "2 simulations, 300 steps: about" in printed.err and not (tmp_path / "none").exists()
    assert run([*args, "--out", str(tmp_path / "out")]) == 0
    table = pd.read_csv(tmp_path / "out" / "md.csv")
    good = table[table["failure"].isna()]
    assert list(good["temperature"]) == [300.0, 600.0] and len(table) == 3
    assert set(good["verdict_crystalline"]) == {"pass"}
    assert (good["estimated_seconds"] > 0.1 * good["seconds"]).all()
    folder = tmp_path / "out" / good["folder"].iloc[0]
    assert {p.name for p in folder.iterdir()} == {"course.csv", "trajectory.extxyz", "average.cif", "last.cif"}
    from ase.io import read

    frames = read(folder / "trajectory.extxyz", ":")
    course = pd.read_csv(folder / "course.csv")
    assert len(frames) == len(course) == 16
    assert frames[-1].get_volume() / len(frames[-1]) == pytest.approx(course["volume"].iloc[-1], rel=1e-4)
    assert frames[3].get_potential_energy() / len(frames[3]) == pytest.approx(
        course["potential_energy"][3], rel=1e-4
    )


def test_python_hands_out_simulations() -> None:
    table = ivd.md(
        [COPPER], temperature=300.0, potential=EMT, steps=30, every=2, min_length=5.0, workers=1, relax=False
    )
    assert isinstance(table["simulation"][0], Simulation) and json.dumps(table["volume"].tolist())


@pytest.mark.slow
def test_salt_at_room_temperature_with_the_default_potential() -> None:
    salt = Crystal(FCC * 2.82, [11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], source="NaCl")
    table = ivd.md([salt], temperature=300.0, steps=400, timestep=4.0, min_length=7.0, workers=1)
    row = table.iloc[0]
    assert row["verdict_crystalline"] == "pass" and row["failure"] == ""
    assert 0.0 < row["volume_change"] < 0.08
