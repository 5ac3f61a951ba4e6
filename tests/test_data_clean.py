"""Cleaning: each rule has a crystal or label it removes and one it keeps, and the account says which and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invdesign.crystal import Crystal
from invdesign.data.clean import Cleaned, Rules, clean, crystal_fault, label_faults, neighbour_distances
from invdesign.data.convert import from_row
from invdesign.data.read import read_frame

FACES = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
SAMPLE = Path(__file__).parent / "data" / "crystals_sample.parquet"


def row(a: float = 4.2, numbers: tuple[int, int] = (12, 8), x: float = 0.5, **labels: Any) -> dict[str, Any]:
    """Rock salt in its primitive cell, or two atoms nearer or farther."""
    edge = a / np.sqrt(2.0)
    return {
        "material_id": "m",
        "lattice_parameters": [edge, edge, edge, 60.0, 60.0, 60.0],
        "atomic_numbers": list(numbers),
        "frac_coords": [0.0, 0.0, 0.0, x, x, x],
        **labels,
    }


def cleaned(*rows: dict[str, Any], **rules: Any) -> Cleaned:
    return clean(pd.DataFrame(list(rows)), replace(Rules(), **rules))


def broken(*rows: dict[str, Any], **rules: Any) -> list[tuple[str, str]]:
    return [(r.what, r.rule) for r in cleaned(*rows, **rules).removals]


def test_a_sound_crystal_and_its_labels_stay() -> None:
    sound = row(
        bulk_modulus=160.0, shear_modulus=130.0, formation_energy=-3.0, energy_above_hull=-1e-6, band_gap=4.5
    )
    result = cleaned(sound)
    assert result.removals == ()
    assert result.frame[["bulk_modulus", "band_gap"]].to_numpy().tolist() == [[160.0, 4.5]]
    assert result.frame["energy_above_hull"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (row(x=0.12), "too close"),
        (row(a=9.9), "sparse"),
        (row(a=12.0, numbers=(55, 53)), "sparse"),
        (row(a=5.3, numbers=(18, 18)), "noble gas"),
        (row(a=6.0, numbers=(36, 36)), "noble gas"),
        (row(a=5.2, numbers=(14, 2)), "noble gas"),
        (row(a=6.0, numbers=(9, 9)), "isolated"),
        (row(numbers=(12, 0)), "unreadable"),
        ({**row(), "lattice_parameters": None}, "unreadable"),
        ({**row(), "frac_coords": [0.0]}, "unreadable"),
    ],
)
def test_crystals_that_leave(bad: dict[str, Any], rule: str) -> None:
    result = cleaned(row(), {**bad, "material_id": "bad"}, row(a=5.6, numbers=(11, 17)))
    assert [(r.row, r.material, r.what, r.rule) for r in result.removals] == [(1, "bad", "crystal", rule)]
    assert result.removals[0].reason
    assert len(result.frame) == 2


@pytest.mark.parametrize(
    "good",
    [
        row(a=4.2),
        row(a=12.3 / np.sqrt(2.0), numbers=(55, 55)),  # as loose as caesium
        row(a=6.2, numbers=(54, 9)),  # a xenon compound
    ],
)
def test_crystals_that_stay(good: dict[str, Any]) -> None:
    assert broken(good) == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"bulk_modulus": 160.0, "shear_modulus": 130.0}, []),
        ({"bulk_modulus": -3.0}, [("bulk_modulus", "out of range")]),
        ({"bulk_modulus": 20.0, "shear_modulus": 1.0}, [("shear_modulus", "at the floor")]),
        ({"bulk_modulus": 1e4}, [("bulk_modulus", "out of range")]),
        (
            {"bulk_modulus": 660.0, "shear_modulus": 100.0},
            [("bulk_modulus", "stiffer than any solid"), ("shear_modulus", "with its bulk modulus")],
        ),
        ({"bulk_modulus": 430.0, "shear_modulus": 430.0}, [("shear_modulus", "stiffer than any solid")]),
        (
            {"bulk_modulus": 5.0, "shear_modulus": 115.0},
            [("bulk_modulus", "Poisson's ratio too low"), ("shear_modulus", "Poisson's ratio too low")],
        ),
        ({"bulk_modulus": 176.0, "shear_modulus": 4.0}, [("shear_modulus", "Poisson's ratio too high")]),
        (
            {"formation_energy": 4.5, "energy_above_hull": 4.6},
            [("formation_energy", "absurd"), ("energy_above_hull", "with its formation energy")],
        ),
        (
            {"formation_energy": -5.5},
            [("formation_energy", "absurd"), ("energy_above_hull", "with its formation energy")],
        ),
        ({"energy_above_hull": -0.2}, [("energy_above_hull", "below the hull")]),
        ({"energy_above_hull": 6.0}, [("energy_above_hull", "absurd")]),
        ({"band_gap": -1.0}, [("band_gap", "out of range")]),
    ],
)
def test_labels_that_are_emptied(labels: dict[str, float], expected: list[tuple[str, str]]) -> None:
    result = cleaned(row(band_gap=1.0) | labels)
    assert [(r.what, r.rule) for r in result.removals if r.what in labels] == [
        e for e in expected if e[0] in labels
    ]
    assert len(result.frame) == 1
    for name in labels:
        assert result.frame[name].isna().item() == (name in dict(expected))


def test_duplicates_in_any_cell_leave_and_the_best_labelled_stays() -> None:
    again = row(bulk_modulus=160.0)
    edge = 4.2
    conventional = {
        "material_id": "cube",
        "lattice_parameters": [edge, edge, edge, 90.0, 90.0, 90.0],
        "atomic_numbers": [8] * 4 + [12] * 4,
        "frac_coords": np.concatenate([FACES + 0.5, FACES]).reshape(-1) + 0.1,
        "bulk_modulus": 160.0,
        "shear_modulus": 130.0,
    }
    result = cleaned(row(), again, conventional)
    assert [(r.what, r.rule) for r in result.removals] == [("crystal", "duplicate")] * 2
    assert result.frame.material_id.tolist() == ["cube"]
    assert "the same crystal as" in result.removals[0].reason


def test_polymorphs_of_one_volume_are_no_duplicates() -> None:
    """Zinc blende and rock salt scaled to one volume, and MgO with its elements exchanged."""
    assert broken(row(), row(x=0.25)) == []
    assert broken(row(numbers=(12, 8), x=0.25), row(numbers=(8, 12), x=0.25)) == [("crystal", "duplicate")]
    assert broken(row(), row(a=4.3)) == []


def test_polytypes_are_no_duplicates() -> None:
    """Close-packed planes stacked abc and abac have nearly the same distances but are other crystals."""

    def stacked(order: str) -> dict[str, Any]:
        corner = {"a": 0.0, "b": 1 / 3, "c": 2 / 3}
        planes = [[corner[p], 2 * corner[p] % 1.0, k / len(order)] for k, p in enumerate(order)]
        height = len(order) * 2.5 * np.sqrt(2 / 3)
        return {
            "lattice_parameters": [2.5, 2.5, height, 90.0, 90.0, 120.0],
            "atomic_numbers": [27] * len(order),
            "frac_coords": np.concatenate(planes),
        }

    assert broken(stacked("abc"), stacked("abac"), duplicate_distance=0.2) == []
    assert broken(stacked("abc"), stacked("abcabc")) == [("crystal", "duplicate")]


def test_neighbour_distances_do_not_depend_on_the_cell() -> None:
    frame = pd.read_parquet(SAMPLE)
    rng = np.random.default_rng(0)
    for _, r in frame[frame.n_sites <= 8].head(25).iterrows():
        crystal = from_row(r)
        shift = rng.random(3)
        coords = np.concatenate([crystal.frac_coords + shift, crystal.frac_coords + shift + [0, 1, 0]])
        numbers = np.concatenate([crystal.numbers, crystal.numbers])
        cell = np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]]) @ np.diag([1, 2, 1])
        larger = Crystal(cell @ crystal.lattice, numbers, coords @ np.linalg.inv(cell))
        np.testing.assert_allclose(neighbour_distances(larger), neighbour_distances(crystal), rtol=1e-8)


def test_first_neighbours_of_rock_salt() -> None:
    distances = neighbour_distances(from_row(row(a=4.0)))
    expected = [2.0] * 6 + [2.0 * np.sqrt(2.0)] * 12 + [2.0 * np.sqrt(3.0)] * 6
    np.testing.assert_allclose(distances, expected * 2, rtol=1e-9)


def test_the_account_adds_up() -> None:
    frame, failures = read_frame(SAMPLE)
    assert failures == []
    result = clean(frame)
    account = result.account()
    crystals = account[account.what == "crystal"]
    assert len(result.frame) == len(frame) - len(crystals)
    for name, before in result.n_labels.items():
        lost = frame[name].notna().to_numpy()[crystals.row.to_numpy(dtype=int)].sum()
        assert result.frame[name].notna().sum() == before - lost - (account.what == name).sum()
    lines = result.summary().splitlines()
    assert lines[0] == f"{len(frame)} crystals in, {len(result.frame)} kept"
    assert len(lines) == 2 + len(result.n_labels)


def test_columns_under_other_names_are_the_same_labels() -> None:
    raw = pd.read_parquet(SAMPLE)
    frame, _ = read_frame(SAMPLE)
    ours, theirs = clean(frame), clean(raw)
    np.testing.assert_array_equal(ours.frame.bulk_modulus, theirs.frame.bulk_modulus)
    assert ours.frame.material_id.tolist() == theirs.frame.material_id.tolist()
    assert "bulk_modulus_vrh" not in theirs.frame


def test_cleaning_leaves_its_input_and_index_alone() -> None:
    frame = pd.DataFrame([row(a=9.9), row(energy_above_hull=-1e-3)], index=[7, 9])
    before = frame.copy(deep=True)
    assert clean(frame).frame.index.tolist() == [9]
    pd.testing.assert_frame_equal(frame, before)


def test_cleaning_twice_removes_nothing_more() -> None:
    once = clean(pd.read_parquet(SAMPLE))
    assert clean(once.frame).removals == ()


def test_one_crystal_at_a_time() -> None:
    """The same rules for whoever reads a table row by row."""
    crystal = from_row(row())
    assert crystal_fault(crystal) is None
    assert crystal_fault(from_row(row(x=0.12)))[0] == "too close"  # type: ignore[index]
    assert label_faults({"bulk_modulus": 160.0, "shear_modulus": 130.0, "band_gap": float("nan")}, crystal) == {}
    faults = label_faults({"bulk_modulus": 176.0, "shear_modulus": 4.0}, crystal)
    assert faults["shear_modulus"][1] == "K = 176 and G = 4 GPa make Poisson's ratio 0.489"
    assert label_faults({"shear_modulus": 4.0}, crystal, Rules(softest=5.0)).keys() == {"shear_modulus"}
