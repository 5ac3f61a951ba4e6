"""Alexandria's table: crystals, moduli of fits that are believed, formation energies on the scale in use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign.data.alexandria import crystals_of, formation_energies, read_alexandria
from invdesign.potentials.energy_scale import EnergyScale


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Caesium chloride's structure of NiAl and of MgO, the latter with a bad fit."""
    rows = pd.DataFrame(
        {
            "material_id": ["agm1", "agm2"],
            "species": [["Al", "Ni"], ["Mg", "O"]],
            "frac": [[[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]] * 2,
            **{side: [2.89, 2.66] for side in "abc"},
            **{angle: [90.0, 90.0] for angle in ("alpha", "beta", "gamma")},
            "nsites": [2, 2],
            "E_P000": [-10.5, -11.0],
            "K0_BM3_derived": [159.0, 150.0],
            "rms_fit_GPa": [0.1, 3.0],
        }
    )
    rows.to_parquet(tmp_path / "eos.parquet")
    return tmp_path / "eos.parquet"


def test_crystals_and_moduli(table: Path) -> None:
    found = read_alexandria(table)
    assert found.formula.tolist() == ["AlNi", "MgO"] and found.chemical_system.tolist() == ["Al-Ni", "Mg-O"]
    assert found.bulk_modulus[0] == 159.0 and np.isnan(found.bulk_modulus[1])
    assert read_alexandria(table, believed=5.0).bulk_modulus[1] == 150.0
    nickel_aluminide = crystals_of(found)[0]
    assert nickel_aluminide.numbers.tolist() == [13, 28] and nickel_aluminide.source == "agm1"
    assert nickel_aluminide.volume == pytest.approx(2.89**3)
    assert nickel_aluminide.frac_coords[1] == pytest.approx([0.5, 0.5, 0.5])


def test_formation_energies_count_from_the_elements(table: Path) -> None:
    found = read_alexandria(table)
    scale = EnergyScale.load("mp2020")
    alloy, oxide = formation_energies(found, crystals_of(found))
    assert alloy == pytest.approx(-5.25 - 0.5 * (scale.elements["Al"] + scale.elements["Ni"]))
    plain = -5.5 - 0.5 * (scale.elements["Mg"] + scale.elements["O"])
    assert oxide - plain == pytest.approx(-0.687 / 2, abs=1e-3)  # the oxide correction of MP2020
