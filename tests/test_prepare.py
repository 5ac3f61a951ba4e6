"""Preparation of a generator's training set: what is left out, what is emptied, and the account of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invdesign.crystallography.genes import primitive_sites
from invdesign.data.clean import crystal_fault
from invdesign.errors import TrainingError
from invdesign.generators.prepare import Prepared, prepare
from invdesign.reference.local import load_known


def rows(n: int = 60) -> list[dict[str, Any]]:
    """Small known crystals, none faulty, with plain labels."""
    known, found = load_known(), []
    for index in range(0, len(known), 97):
        entry = known[index]
        if len(found) < n and primitive_sites(entry.gene) <= 6 and entry.within(0.05):
            crystal = known.crystal(index)
            if crystal_fault(crystal) or crystal.volume > 40.0 * crystal.n_sites:
                continue
            found.append(
                {
                    "lattice_parameters": list(crystal.lattice_parameters),
                    "atomic_numbers": crystal.numbers.tolist(),
                    "frac_coords": crystal.frac_coords.ravel().tolist(),
                    "bulk_modulus": 80.0,
                    "shear_modulus": 40.0,
                    "energy_above_hull": 0.01,
                }
            )
    return found


def prepared(table: list[dict[str, Any]], folder: Path) -> Prepared:
    path = folder / "crystals.parquet"
    pd.DataFrame(table).to_parquet(path)
    return prepare(path)


def test_sound_crystals_and_labels_are_kept(tmp_path: Path) -> None:
    found = prepared(rows(), tmp_path)
    assert len(found.genes) == 60
    assert (dict(found.removed), dict(found.emptied), dict(found.filled)) == ({}, {}, {})
    assert np.isfinite(found.labels["bulk_modulus"]).all()
    assert set(found.split) <= {"train", "valid", "test"}


def test_faulty_crystals_leave_and_are_counted_by_reason(tmp_path: Path) -> None:
    table = rows()
    table[0]["lattice_parameters"] = [20.0, 20.0, 20.0, 90.0, 90.0, 90.0]
    table[1]["atomic_numbers"] = [2] * len(table[1]["atomic_numbers"])
    table[2] |= {"atomic_numbers": [11, 17], "frac_coords": [0.0, 0.0, 0.0, 0.0, 0.0, 0.1]}
    table[2]["lattice_parameters"] = [4.0, 4.0, 4.0, 90.0, 90.0, 90.0]
    table[3]["energy_above_hull"] = 0.5
    found = prepared(table, tmp_path)
    assert len(found.genes) == 56
    assert dict(found.removed) == {
        "faulty: sparse": 1,
        "faulty: noble gas": 1,
        "faulty: too close": 1,
        "more than 0.1 eV/atom above the hull": 1,
    }


def test_faulty_labels_are_emptied_and_their_crystals_stay(tmp_path: Path) -> None:
    table = rows()
    table[0]["shear_modulus"] = 1.0
    table[1] |= {"bulk_modulus": 12.0, "shear_modulus": 90.0}
    table[2]["energy_above_hull"] = -0.01
    table[3]["energy_above_hull"] = -0.5
    found = prepared(table, tmp_path)
    assert len(found.genes) == 60
    assert dict(found.emptied) == {
        "shear_modulus: at the floor": 1,
        "bulk_modulus: Poisson's ratio too low": 1,
        "shear_modulus: Poisson's ratio too low": 1,
        "energy_above_hull: below the hull": 1,
    }
    assert np.isnan(found.labels["shear_modulus"][:2]).all()
    assert found.labels["bulk_modulus"][0] == 80.0
    assert found.labels["energy_above_hull"][2] == 0.0
    assert np.isnan(found.labels["energy_above_hull"][3])


def test_too_few_sound_crystals_are_an_error_that_says_why(tmp_path: Path) -> None:
    table = rows(52)
    for row in table[:5]:
        row["atomic_numbers"] = [2] * len(row["atomic_numbers"])
    with pytest.raises(TrainingError, match=r"47 usable crystals.*5 faulty: noble gas"):
        prepared(table, tmp_path)
