"""Recipes: formulas, cleaning, reactions, suggestions from published ones, the command, the report's section."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from invdesign import tables
from invdesign.app.recipe import lines, recipe, run_recipes
from invdesign.cli import run
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.records import Failure
from invdesign.report.candidates import run_of
from invdesign.report.finalist import page
from invdesign.synthesis.cleaning import ExcludedError, clean, recipe_of
from invdesign.synthesis.conditions import conditions, nearest, quantiles
from invdesign.synthesis.formulas import key_of, parse_formula, precursor_key, written
from invdesign.synthesis.precursors import PrecursorModel
from invdesign.synthesis.published import Recipes, amounts_of_written, load_recipes
from invdesign.synthesis.reaction import Objection, balance, equation, objection
from invdesign.synthesis.recipe import Recipe
from invdesign.synthesis.suggestion import Synthesis, published_model, suggest


def made(target: str, *precursors: str, method: str = "solid-state", **more: Any) -> Recipe:
    return Recipe(target, precursors, method, **more)


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("Co(NO3)2·6H2O", {"Co": 1, "N": 2, "O": 6}),
        ("La0.8Sr0.2MnO3", {"La": 0.8, "Sr": 0.2, "Mn": 1, "O": 3}),
        ("0.9BaTiO3-0.1BiFeO3", {"Ba": 0.9, "Ti": 0.9, "Bi": 0.1, "Fe": 0.1, "O": 3}),
        ("Ca₃(PO₄)₂", {"Ca": 3, "P": 2, "O": 8}),
    ],
)
def test_formulas_are_read(text: str, amounts: dict[str, float]) -> None:
    assert parse_formula(text) == pytest.approx(amounts)
    assert amounts_of_written(written(amounts)) == pytest.approx(amounts)


@pytest.mark.parametrize("text", ["", "LaxSr1-xMnO3", "Qq2O3", "water", "Ba-2"])
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="formula"):
        parse_formula(text)


def test_salts_named_without_charge_are_one_precursor() -> None:
    keys = {precursor_key(parse_formula(text)) for text in ("Ni(NO3)2", "Ni(NO3)3", "Ni(NO3)2·6H2O")}
    assert len(keys) == 1
    assert precursor_key(parse_formula("NiCO3")) not in keys


@pytest.mark.parametrize(
    ("precursors", "target", "text"),
    [
        (("BaCO3", "TiO2"), "BaTiO3", "BaCO3 + TiO2 → BaTiO3 + CO2"),
        (("Li2CO3", "Fe2O3", "NH4H2PO4"), "LiFePO4",
         "0.5 Li2CO3 + 0.5 Fe2O3 + NH4H2PO4 → LiFePO4 + NH3 + 0.5 CO2 + 1.5 H2O + 0.25 O2"),
        (("Ti", "B"), "TiB2", "Ti + 2 B → TiB2"),
        (("Al",), "AlN", "Al + 0.5 N2 → AlN"),
        (("Cr",), "CrH", "Cr + 0.5 H2 → CrH"),
        (("MgO", "MnO"), "Mg2MnO4", "2 MgO + MnO + 0.5 O2 → Mg2MnO4"),
        (("BaCO3",), "BaTiO3", ""),
        (("LiCl", "Y2O3"), "Li3YCl6", ""),
    ],
)  # fmt: skip
def test_reactions_are_balanced(precursors: tuple[str, ...], target: str, text: str) -> None:
    assert equation({p: parse_formula(p) for p in precursors}, target, parse_formula(target)) == text


def test_every_equation_of_a_published_recipe_conserves_the_elements() -> None:
    rows = load_recipes().rows[::1500]
    checked = 0
    for row in rows:
        text = equation({p: parse_formula(p) for p in row.precursors}, row.target, row.amounts)
        if text:
            left, right = (side.split(" + ") for side in text.split(" → "))
            sums = [total(side) for side in (left, right)]
            assert sums[0] == pytest.approx(sums[1], rel=0.02, abs=0.02), text
            checked += 1
    assert checked > len(rows) / 2


def total(terms: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for term in terms:
        factor, _, formula = term.rpartition(" ")
        for name, amount in parse_formula(formula).items():
            found[name] = found.get(name, 0.0) + float(factor or 1.0) * amount
    return found


def test_an_element_without_a_source_cannot_be_balanced() -> None:
    assert balance([{"Ba": 1, "O": 1}], {"Ba": 1, "Ti": 1, "O": 3}) is None
    assert balance([], {"Ba": 1}) is None


def entry(target: str = "BaTiO3", precursors: tuple[str, ...] = ("BaCO3", "TiO2"), **more: Any) -> dict[str, Any]:
    parts = [
        {"material_formula": p, "composition": [{"formula": p, "amount": "1", "elements": parse_formula(p)}]}
        for p in precursors
    ]
    heat = {"heating_temperature": [{"units": "K", "values": [1473.15]}], "heating_atmosphere": ["Ambient"],
            "heating_time": [{"units": "min", "values": [90.0]}]}  # fmt: skip
    return {
        "targets_string": [target],
        "doi": "10.1/A",
        "target": {"composition": [], "additives": []},
        "precursors": parts,
        "operations": [{"type": "HeatingOperation", "token": "Fired", "conditions": heat}],
    } | more


def test_an_entry_becomes_a_recipe() -> None:
    (found,) = clean([entry(), entry()], "solid-state").recipes
    assert (found.target, found.precursors, found.atmosphere) == ("BaTiO3", ("BaCO3", "TiO2"), "air")
    assert (found.temperature, found.hours, found.source) == (pytest.approx(1200.0), 1.5, "10.1/a")
    assert clean([entry(), entry()], "solid-state").excluded["duplicate"] == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (entry(target="BaxTiO3"), "formula"),
        (entry(target="Si"), "element"),
        (entry(precursors=("BaCO3",)), "supply"),
        (entry(precursors=("BaCO3", "TiO2", "NaCl")), "foreign"),
        (entry(precursors=("BaTiO3",)), "same"),
    ],
)
def test_what_is_left_out_has_a_reason(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ExcludedError, match=reason):
        recipe_of(given, "solid-state", {})
    assert clean([given], "solid-state").excluded[reason] == 1


def test_the_shipped_table_is_clean() -> None:
    recipes = load_recipes()
    assert len(recipes) > 30_000
    assert tables.path_of("recipes.parquet").stat().st_size < 8e6
    for row in recipes.rows[::400]:
        assert row.precursors and row.source.startswith("10.") and row.method in ("solid-state", "sol-gel")
        assert key_of(amounts_of_written(row.target)) == row.key
    fired = recipes.temperatures[np.isfinite(recipes.temperatures)]
    assert len(fired) > 20_000 and fired.min() >= 100.0 and fired.max() <= 2600.0


@pytest.fixture(scope="module")
def few() -> PrecursorModel:
    rows = [
        made("BaTiO3", "BaCO3", "TiO2", temperature=1200.0, atmosphere="air"),
        made("CaTiO3", "CaCO3", "TiO2", temperature=1300.0, atmosphere="air"),
        made("SrTiO3", "SrCO3", "TiO2", temperature=1100.0, atmosphere="oxygen"),
        made("SrTiO3", "Sr(NO3)2", "Ti(OC4H9)4", method="sol-gel", temperature=700.0),
        made("BaZrO3", "Ba(NO3)2", "ZrO(NO3)2", method="sol-gel", temperature=800.0),
        made("CsF", "Cs2CO3", "NH4F"),
        made("SrZr2", "Sr", "Zr"),
    ]
    return PrecursorModel(Recipes(tuple(rows)))


def test_precursors_follow_the_method_and_the_kind_of_compound(few: PrecursorModel) -> None:
    assert few.suggest(parse_formula("BaSrTi2O6"), "solid-state")[0].precursors == ("BaCO3", "SrCO3", "TiO2")
    assert few.suggest(parse_formula("SrZrO3"), "sol-gel")[0].precursors == ("Sr(NO3)2", "ZrO(NO3)2")
    assert few.suggest(parse_formula("SrZr"), "solid-state")[0].precursors == ("Sr", "Zr")
    shares = [each.share for each in few.suggest(parse_formula("BaSrTi2O6"), "solid-state", 50)]
    assert sum(shares) == pytest.approx(1.0) and min(shares) > 0.0


def test_what_goes_together_is_chosen_together(few: PrecursorModel) -> None:
    names = few.recipes.vocabulary
    nitrate, alkoxide, oxide = (names.index(n) for n in ("Sr(NO3)2", "Ti(OC4H9)4", "TiO2"))
    assert few.affinity("Sr", nitrate, "Ti", alkoxide) > 0.0 > few.affinity("Sr", nitrate, "Ti", oxide)
    assert few.affinity("Ti", oxide, "Sr", nitrate) == few.affinity("Sr", nitrate, "Ti", oxide)


def test_an_unknown_element_is_no_evidence(few: PrecursorModel) -> None:
    assert few.suggest(parse_formula("LaTiO3"), "solid-state") == []
    found = suggest("LaTiO3", model=few)
    assert found.routes == () and found.conditions is None and "La" in found.no_evidence
    assert "no evidence" in "\n".join(lines(found))
    assert "gases alone" in suggest("H2O", model=few).no_evidence


def test_temperatures_are_weighted_quantiles_of_what_is_near(few: PrecursorModel) -> None:
    target = parse_formula("BaTiO3")
    found = conditions(few.recipes, target, "solid-state", few.distances(target))
    assert found.temperature in (1100.0, 1200.0, 1300.0) and found.low <= found.temperature <= found.high
    assert found.atmospheres[0][0] == "air" and math.isnan(found.hours)
    assert quantiles(np.array([1.0, 2.0, 9.0, np.nan]), np.zeros(4), (0.5,)) == [2.0]
    assert math.isnan(quantiles(np.array([np.nan]), np.zeros(1), (0.5,))[0])


def test_recipes_at_the_same_distance_all_count() -> None:
    rows, weight = nearest(np.arange(200), np.zeros(200))
    assert len(rows) == 200 and np.ptp(weight) == 0.0


def test_published_compounds_get_their_published_recipe() -> None:
    found = suggest("BaTiO3", "solid-state")
    assert found.known > 100 and found.routes[0].precursors == ("BaCO3", "TiO2")
    assert found.routes[0].reaction == "BaCO3 + TiO2 → BaTiO3 + CO2"
    assert found.conditions is not None and 1000 < found.conditions.temperature < 1400
    assert found.nearest[0].distance == pytest.approx(0.0, abs=1e-6) and found.nearest[0].recipe.source.startswith(
        "10."
    )
    assert len({key_of(n.recipe.amounts) for n in found.nearest}) == len(found.nearest)


def test_oxygen_that_has_to_leave_is_said() -> None:
    routes = {route.precursors: route.note for route in suggest("TiB2", "solid-state").routes}
    assert routes["B", "Ti"] == ""
    assert "reducing" in routes["B", "TiO2"]


def test_what_speaks_against_precursors_puts_them_last() -> None:
    def of(target: str, *precursors: str) -> Objection:
        return objection([parse_formula(name) for name in precursors], parse_formula(target))

    assert of("Ca3AlN3", "AlN", "Ca3N2") is Objection.NONE
    assert of("Ca3AlN3", "Al2O3", "CaCO3") is Objection.REDUCTION
    assert of("GaN", "Ga2S3") is of("GaN", "GaF3") is of("GaN", "GaN") is Objection.IMPLAUSIBLE
    assert of("GaN", "Al") is Objection.UNBALANCED
    assert of("BaTiO3", "BaO2", "TiO2") is Objection.NONE
    assert (
        equation({n: parse_formula(n) for n in ("C", "ZrH2")}, "ZrC", parse_formula("ZrC"))
        == "C + ZrH2 → ZrC + H2"
    )
    first = suggest("Ca3AlN3", "solid-state").routes
    assert [route.note for route in first] == sorted(route.note for route in first) and not first[0].note


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="sol-gel"):
        recipe("BaTiO3", "alchemy")


def test_one_bad_compound_does_not_end_the_rest(tmp_path: Path) -> None:
    (tmp_path / "empty.cif").write_text("nothing")
    found = recipe(["BaTiO3", "Qq", tmp_path / "empty.cif"])
    assert [isinstance(each, Failure) for each in found] == [False, True, True]
    assert "'Qq'" in lines(found[1])[0]
    with pytest.raises(InputError, match="Qq"):
        recipe("Qq")


def test_a_crystal_is_its_composition() -> None:
    from fake_parts import cubic

    (found,) = recipe(cubic(225, 12, 8, 4.21))
    assert isinstance(found, Synthesis) and found.formula == "MgO"


def test_the_command_prints_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "Mg2MnO4", "-n", "2"]) == 0
    out = capsys.readouterr().out
    assert "Mg2MnO4" in out and "https://doi.org/10." in out and " °C" in out
    assert run(["recipe", "Mg2MnO4", "Qq", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["routes"][0]["precursors"] and first["nearest"][0]["doi"] and "failure" in second
    assert run(["recipe", "Qq"]) == 2
    assert "Qq" in capsys.readouterr().err


def test_the_record_and_the_page_of_a_finalist_have_it() -> None:
    record = json.loads(json.dumps({"recipes": run_recipes(["TiB2", "TiB2", "MgO"])}, allow_nan=False))
    assert set(record["recipes"]) == {"TiB2", "MgO"}
    table = pd.DataFrame([{"formula": "TiB2", "failure": ""}, {"formula": "UNKNOWN", "failure": ""}])
    shown = run_of(table, record)
    first, second = (page(place, row, shown) for place, row in enumerate(shown.rows, 1))
    assert "Can it be made?" in first and "https://doi.org/10." in first
    assert "Can it be made?" not in second


def test_a_missing_table_is_said_and_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    load_recipes.cache_clear()
    published_model.cache_clear()
    try:
        with pytest.raises(ReferenceMissingError, match=r"recipes\.parquet"):
            recipe("BaTiO3")
        assert run_recipes(["BaTiO3"]) == {}
    finally:
        load_recipes.cache_clear()
        published_model.cache_clear()
