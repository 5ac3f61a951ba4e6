"""Vickers hardness at a load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_parts import cubic

from invdesign import build
from invdesign.cli import run
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.mechanics import derive as mechanics
from invdesign.mechanics.bonding import BONDING_CLASSES
from invdesign.properties import check_load
from invdesign.query import Query
from invdesign.records import Candidate, Estimate, Evaluation, Value
from invdesign.report.export import plain_cif
from invdesign.selection.desirability import Samples
from invdesign.surrogates import hardness
from invdesign.surrogates.hardness import NAME, derive, derive_many, load_hardness

TIC, MGO, NACL = cubic(225, 22, 6, 4.33), cubic(225, 12, 8, 4.21), cubic(225, 11, 17, 5.64)


def moduli(K: float, G: float) -> Estimate:
    return Estimate({"bulk_modulus": Value(K, 0.05 * K), "shear_modulus": Value(G, 0.1 * G)})


ESTIMATES = {"TiC": moduli(250, 180), "MgO": moduli(155, 125), "NaCl": moduli(25, 15)}
CRYSTALS = {"TiC": TIC, "MgO": MGO, "NaCl": NACL}


def test_textbook_hardnesses() -> None:
    """Handbooks: TiC 28, MgO 6, NaCl 0.25 GPa."""
    found = dict(zip(CRYSTALS, derive_many(list(ESTIMATES.values()), list(CRYSTALS.values())), strict=True))
    values = {name: e.values[NAME] for name, e in found.items()}
    assert values["TiC"].mean == pytest.approx(26.0, rel=0.3)
    assert values["MgO"].mean == pytest.approx(6.0, rel=0.5)
    assert values["NaCl"].mean < 0.6
    for value in values.values():
        assert value.low is not None and value.high is not None
        assert 0.0 < value.low < value.mean < value.high
        assert value.source == "surrogate:hardness (4.9 N)"


def test_small_loads_give_harder_values() -> None:
    at = [derive_many([ESTIMATES["TiC"]], [TIC], load)[0].values[NAME].mean for load in (0.2, 2.0, 20.0)]
    assert at[0] > at[1] > at[2]


def test_all_other_properties_are_those_of_mechanics() -> None:
    ours, theirs = derive(ESTIMATES["TiC"], TIC).values, mechanics.derive(ESTIMATES["TiC"], TIC).values
    assert ours.keys() == theirs.keys()
    assert {k for k in ours if ours[k] != theirs[k]} == {NAME}


def test_without_moduli_there_is_none_and_failures_stay() -> None:
    bare, broken = derive_many([Estimate({}), Estimate({}, failure="unreadable")], [TIC, MGO])
    assert NAME not in bare.values and "density" in bare.values
    assert broken.failure == "unreadable" and not broken.values


def test_far_from_all_measurements_the_formula_stands() -> None:
    """A composition of elements that were never measured together, far out in every direction."""
    model = load_hardness()
    shares = np.zeros((1, 103))
    shares[0, [53, 54]] = 0.5  # Xe, Cs
    K, G, kinds = np.array([10.0]), np.array([5.0]), [BONDING_CLASSES["metal"]]
    value = model.values(shares, K, G, kinds)[0]
    near = model.values(hardness.fractions([TIC.numbers]), np.array([250.0]), np.array([180.0]), kinds[:1])[0]
    assert value.low is not None and value.high is not None and near.low is not None and near.high is not None
    assert value.high / value.low > 2.0 * near.high / near.low
    assert value.low <= 10.0 ** hardness.formula(K, G, kinds)[0] <= value.high


def test_the_shipped_model_is_better_than_the_formula_where_it_matters() -> None:
    groups = load_hardness().notes["groups"]
    for group in ("crystal", "no crystal"):
        gain = groups[group]["gain"]
        assert gain["mean"] > 2.0 * gain["standard error"]
        assert 0.85 <= groups[group]["coverage"] <= 0.95


def test_a_file_reads_back(tmp_path: Path) -> None:
    model = load_hardness()
    model.save(tmp_path / "x.safetensors")
    again = load_hardness(tmp_path / "x.safetensors")
    args = (
        hardness.fractions([TIC.numbers]),
        np.array([250.0]),
        np.array([180.0]),
        [BONDING_CLASSES["refractory"]],
    )
    assert model.values(*args) == again.values(*args)
    (tmp_path / "y.safetensors").write_text("x")
    with pytest.raises(ReferenceMissingError, match="hardness"):
        load_hardness(tmp_path / "y.safetensors")


@pytest.mark.parametrize("load", [0.0, -1.0, 100.0, float("nan")])
def test_loads_beyond_those_measured_are_refused(load: float) -> None:
    with pytest.raises(InputError, match=r"0.05 to 50 N"):
        check_load(load)


def test_predict_takes_a_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "TiC.cif").write_text(plain_cif(TIC)[0])
    found = []
    for load in ("0.5", "10"):
        out = tmp_path / f"{load}.csv"
        assert run(["predict", str(tmp_path / "TiC.cif"), "--load", load, "--out", str(out)]) == 0
        found.append(pd.read_csv(out).iloc[0])
    assert found[0][NAME] > found[1][NAME]
    assert found[1][f"{NAME}_source"] == "surrogate:hardness (10 N)"
    assert run(["predict", str(tmp_path / "TiC.cif"), "--load", "500", "--out", str(tmp_path / "x.csv")]) == 2
    assert "0.05 to 50 N" in capsys.readouterr().err


def test_ranking_draws_hardness_from_its_own_errors() -> None:
    row = Evaluation(Candidate("a", TIC, "", ""), estimate=derive(ESTIMATES["TiC"], TIC))
    assert row.estimate is not None
    value, samples = row.estimate.values[NAME], Samples([row]).quantity(NAME)
    assert np.median(samples) == pytest.approx(value.mean, rel=0.02)
    assert 0.5 * np.subtract(*np.quantile(samples, [0.84, 0.16])) == pytest.approx(value.std, rel=0.2)


def test_a_design_run_predicts_hardness_at_the_load_of_its_query() -> None:
    light, heavy = (build.default_parts(Query(hardness_load=load), workers=1) for load in (0.2, 20.0))
    values = [parts.derive(ESTIMATES["TiC"], TIC).values[NAME] for parts in (light, heavy)]
    assert values[0].mean > 1.05 * values[1].mean
    assert "(20 N)" in values[1].source


def test_a_query_names_its_load() -> None:
    asked = Query(targets=["vickers_hardness>=20"], hardness_load=9.8)
    assert asked.in_words().endswith("hardness at 9.8 N.")
    assert Query.from_dict(asked.to_dict()) == asked
    assert "hardness at" not in Query().in_words()
    for wrong in (0.01, 100, "much", True):
        with pytest.raises(InputError, match=r"0.05 to 50 N"):
            Query(hardness_load=wrong)  # type: ignore[arg-type]
