from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from invdesign.errors import InputError
from invdesign.mechanics.isotropic import completed
from invdesign.query import Query
from invdesign.records import Value
from invdesign.selection.components import component_names, load_component
from invdesign.selection.decision import decide
from invdesign.selection.desirability import geometric_mean
from invdesign.selection.known_materials import known_material, known_materials, ranged
from invdesign.selection.landmarks import judged
from invdesign.selection.table_ranking import rank_table
from invdesign.selection.verdicts import best_landmark, verdict
from invdesign.uncertainty import log10_std

LN10 = np.log(10.0)
SCRIPT = Path(__file__).parent.parent / "scripts" / "build_engineering_materials.py"


def builder():
    spec = importlib.util.spec_from_file_location("build_engineering_materials", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_holds_what_was_asked_with_a_source_for_every_number():
    materials = known_materials()
    assert len(materials) >= 60 and len({m.name for m in materials}) == len(materials)
    families = {m.family for m in materials}
    assert {
        "steel",
        "cast iron",
        "aluminium alloy",
        "titanium alloy",
        "magnesium alloy",
        "nickel alloy",
    } <= families
    assert {
        "copper alloy",
        "ceramic",
        "cemented carbide",
        "superhard",
        "glass",
        "polymer",
        "composite",
    } <= families
    for material in materials:
        assert set(material.values) >= set(material.sources) and all(material.sources.values())
        for value in material.values.values():
            assert value.low <= value.mean <= value.high and value.source


def test_known_values_of_steel_alumina_and_diamond():
    steel = known_material("304 stainless steel")
    assert steel.values["youngs_modulus"].mean == 193
    assert steel.values["bulk_modulus"].mean == pytest.approx(193 / (3 * (1 - 2 * 0.28)), rel=0.03)
    alumina = known_material("alumina, 99.9 %")
    assert alumina.values["fracture_toughness"].low == pytest.approx(4.2)
    assert "Callister" in alumina.sources["fracture_toughness"]
    assert known_material("diamond").values["thermal_conductivity"].high == pytest.approx(2000)
    assert "youngs_modulus" not in known_material("diamond").values  # no source that was read gives it
    with pytest.raises(InputError, match="304 stainless steel"):
        known_material("unobtainium")


def test_the_shipped_table_is_what_the_script_makes():
    import json

    made = builder().build(yaml.safe_load(SCRIPT.with_name("engineering_materials.yaml").read_text("utf-8")))
    shipped = SCRIPT.parent.parent / "invdesign" / "tables" / "engineering_materials.json"
    assert json.loads(shipped.read_text("utf-8")) == json.loads(json.dumps(made))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"density": [7.8, "kit"], "youngs_modulus": [200, "nobody"]}, "unknown source nobody"),
        ({"density": [7.8]}, "write"),
        ({"density": [78, "kit"]}, "not within"),
        ({"density": [7.9, 7.8, "kit"]}, "exchanged"),
        (
            {"youngs_modulus": [200, "kit"], "poisson_ratio": [0.3, "kit"], "shear_modulus": [20, "kit"]},
            "contradicts",
        ),
        ({"poisson_ratio": [0.7, "kit"]}, "not within"),
    ],
)
def test_the_script_refuses_wrong_values(values, words):
    data = {
        "sources": {"kit": {"title": "t"}},
        "classes": {},
        "materials": [{"name": "x", "family": "f", **values}],
    }
    with pytest.raises(ValueError, match=words):
        builder().build(data)


def test_a_range_is_a_90_percent_interval():
    value = ranged("youngs_modulus", 100.0, 400.0, "s")
    assert (value.low, value.mean, value.high) == pytest.approx((100, 200, 400))
    assert LN10 * log10_std(value) == pytest.approx(np.log(2) / 1.6449, rel=1e-3)
    single = ranged("density", 7.8, 7.8, "s")
    assert LN10 * log10_std(single) == pytest.approx(0.05, rel=1e-3)
    assert ranged("poisson_ratio", 0.26, 0.30, "s").mean == pytest.approx(0.28)


def test_isotropic_relations_both_ways():
    there = completed({"youngs_modulus": Value(200.0, 4.0), "poisson_ratio": Value(0.25, 0.0)})
    assert there["bulk_modulus"].mean == pytest.approx(200 / 1.5)
    assert there["shear_modulus"].mean == pytest.approx(80.0)
    assert there["pugh_ratio"].mean == pytest.approx(200 / 1.5 / 80)
    back = completed({"bulk_modulus": Value(200 / 1.5, 1.0), "shear_modulus": Value(80.0, 1.0)})
    assert back["youngs_modulus"].mean == pytest.approx(200.0)
    assert back["poisson_ratio"].mean == pytest.approx(0.25)
    shock = {
        "strength": Value(400.0, 40.0),
        "thermal_expansion": Value(7.5, 0.1),
        "thermal_conductivity": Value(30, 1),
    }
    both = completed({**shock, "youngs_modulus": Value(390.0, 4.0), "poisson_ratio": Value(0.22, 0.0)})
    assert both["thermal_shock_resistance"].mean == pytest.approx(400 * 0.78 / (390 * 7.5) * 1e3)
    assert LN10 * log10_std(both["thermal_shock_resistance"]) == pytest.approx(0.1, rel=0.05)
    assert both["thermal_shock_power"].mean == pytest.approx(30 * both["thermal_shock_resistance"].mean)
    assert completed({"density": Value(1.0, 0.1)}).keys() == {"density"}


def test_every_component_ranks_known_materials_and_says_what_it_does_not_know():
    assert len(component_names()) >= 14
    for name in component_names():
        component = load_component(name)
        marks = judged(known_materials(), Query(), component)
        assert [m.score for m in marks] == sorted((m.score for m in marks), reverse=True)
        fit = [m for m in marks if not m.unmet]
        assert len(fit) >= 10, name
        assert max(m.score for m in fit) - min(m.score for m in fit) > 0.2, name
        assert any(m.unknown for m in marks), name


def test_best_landmarks_are_those_of_textbooks():
    best = {
        name: best_landmark(judged(known_materials(), Query(), load_component(name)), load_component(name)).family
        for name in ("thermal_shock_part", "light_strong_beam", "cutting_tool", "pressure_vessel", "wear_part")
    }
    assert best == {
        "thermal_shock_part": "glass",
        "light_strong_beam": "composite",
        "cutting_tool": "superhard",
        "pressure_vessel": "steel",
        "wear_part": "superhard",
    }


def test_a_verdict_compares_in_words():
    component = load_component("light_stiff_beam")
    alumina = next(m for m in judged(known_materials(), Query(), component) if m.name.startswith("alumina"))
    name = component.indices[0].name
    better = {name: Value(alumina.indices[name].mean * 1.5, 0.01, 7.0, 7.3, "index")}
    values = {"price": Value(100.0, 0.0), "fracture_toughness": Value(2.4, 0.1)}
    text = verdict(better, values, component, alumina)
    assert text == "stiffer per mass than alumina, 99.9 % (1.5 times), four times the price, half the toughness"
    vague = {name: Value(alumina.indices[name].mean * 0.7, 1.0, 1.0, 9.0, "index")}
    assert verdict(vague, {}, component, alumina).startswith("worse than alumina, 99.9 %")
    assert "uncertain" in verdict(vague, {}, component, alumina)
    assert verdict({}, values, component, alumina) == "" and verdict(better, values, component, None) == ""


TABLE = pd.DataFrame(
    {
        "Material": ["my alumina", "my steel", "my foam", "broken"],
        "youngs_modulus [GPa]": [380, "210", 0.1, "stiff"],
        "density (g/cm³)": [3.9, 7.85, 0.2, 1.0],
        "fracture_toughness": [4.0, 60.0, None, 1.0],
        "price": ["20", 1.0, 5.0, 1.0],
        "youngs_modulus_std": [10, 5, 0.01, 1],
        "supplier": ["a", "b", "c", "d"],
    }
)


def test_a_table_of_properties_is_ranked_beside_known_materials():
    ranking = rank_table(TABLE, "light_stiff_beam")
    names = [row.material.name for row in ranking.rows]
    assert names.index("my alumina") < names.index("my steel")
    assert "my foam" in ranking.rejected and "youngs_modulus>=70" in ranking.rejected["my foam"]
    assert "stiff" in ranking.failures["broken"] and "a number" in ranking.failures["broken"]
    assert ranking.ignored == ("supplier",)
    mine = next(row for row in ranking.rows if row.material.name == "my alumina")
    assert not mine.known and mine.verdict and mine.rank_low <= mine.rank <= mine.rank_high
    assert mine.ranks.keys() == {"desirability", "topsis", "spotis"}
    steel = known_material("A36 structural steel")
    near = next(row for row in ranking.rows if row.material.name == steel.name)
    assert near.known and near.verdict == ""
    frame = ranking.table()
    assert list(frame["rank"]) == list(range(1, len(frame) + 1))
    assert {"price", "fracture_toughness", "index: bending stiffness per mass, E^(1/2)/rho", "verdict"} <= set(
        frame
    )
    alone = rank_table(TABLE, "light_stiff_beam", known=False)
    assert {row.material.name for row in alone.rows} == {"my alumina", "my steel"}


def test_a_table_without_a_property_is_refused_in_one_line():
    with pytest.raises(InputError, match="bulk_modulus") as error:
        rank_table(pd.DataFrame({"name": ["a"], "colour": ["red"]}), "spring")
    assert "\n" not in str(error.value)


def test_ranges_strengths_and_impossible_values_in_a_table():
    table = pd.DataFrame(
        {
            "name": ["a", "a", "b", "c"],
            "youngs_modulus_low": [100, 100, 100, 100],
            "youngs_modulus_high": [120, 120, 120, 120],
            "tensile_strength": [500, 500, 500, -5],
            "yield_strength": [300, None, None, None],
        }
    )
    ranking = rank_table(table, "spring", known=False)
    found = {row.material.name: row.material.values for row in ranking.rows}
    assert found["a"]["strength"].mean == 300 and found["b"]["strength"].mean == 500
    assert found["a"]["youngs_modulus"].low == 100 and "a (row 2)" in found
    assert "c" in ranking.failures


def test_methods_agree_on_a_clear_order_and_disagreement_is_said():
    table = np.linspace(0.2, 0.9, 8)[::-1, None] * np.ones((1, 3))
    sampled = np.repeat(table[:, None], 64, axis=1)
    clear = decide(table, sampled, np.ones(3))
    assert list(clear.ranks["topsis"]) == list(clear.ranks["spotis"]) == list(range(1, 9))
    assert list(clear.first_by_errors) == list(clear.first_by_weights) == [1.0] * 5 + [0.0] * 3
    assert (clear.low == clear.high).all() and clear.text(list("abcdefgh")).startswith("Methods agree")
    # The geometric mean forbids to buy off a weakness; TOPSIS and SPOTIS let it be bought off.
    split = np.array(
        [[1.0, 1.0, 0.001], [0.45, 0.45, 0.45], [0.4, 0.4, 0.4], [0.35, 0.35, 0.35], [1.0, 1.0, 0.002]]
    )
    disputed = decide(split, np.repeat(split[:, None], 64, axis=1), np.ones(3))
    assert disputed.ranks["desirability"][0] == 5 and disputed.ranks["spotis"][0] <= 2
    assert "Methods disagree" in disputed.text(list("abcde")) and "a desirability 5" in disputed.text(
        list("abcde")
    )


def test_errors_and_weights_move_the_first_five():
    rng = np.random.default_rng(0)
    table = np.full((10, 2), 0.5) + np.linspace(0.0, 0.01, 10)[::-1, None]
    noisy = np.clip(table[:, None] + 0.2 * rng.standard_normal((10, 256, 2)), 0.01, 1.0)
    loose = decide(table, noisy, np.ones(2))
    assert loose.first_by_errors.min() > 0.3 and loose.first_by_errors.max() < 0.7
    assert loose.first_by_errors.sum() == pytest.approx(5.0)
    assert (loose.high - loose.low).min() >= 6
    opposed = np.stack([np.linspace(0.2, 0.9, 10), np.linspace(0.9, 0.2, 10)], axis=1)
    weighed = decide(opposed, np.repeat(opposed[:, None], 64, axis=1), np.ones(2))
    assert 0.0 < weighed.first_by_weights[0] < 1.0
    assert decide(np.zeros((0, 2)), np.zeros((0, 1, 2)), np.ones(2)).ranks == {}


def test_decision_is_deterministic():
    table = np.random.default_rng(3).random((6, 4))
    sampled = np.repeat(table[:, None], 64, axis=1)
    a, b = (decide(table, sampled, np.array([2.0, 1.0, 0.0, 1.0])) for _ in range(2))
    assert (a.first_by_weights == b.first_by_weights).all()
    order = np.argsort(-geometric_mean(table, np.array([2.0, 1.0, 0.0, 1.0])))
    assert a.ranks["desirability"][order[0]] == 1


def test_the_command_ranks_a_csv_of_properties(tmp_path, capsys):
    import json

    from invdesign.cli import run

    table, out = tmp_path / "store.csv", tmp_path / "out"
    table.write_text("name,youngs_modulus,density,price\nplate,380,3.9,20\nblock,70,2.5,1\nbad,soft,2,1\n")
    assert run(["rank", str(table), "--component", "light_stiff_beam", "--out", str(out)]) == 0
    ranked = pd.read_csv(out / "candidates.csv")
    assert {"plate", "block", "A36 structural steel"} <= set(ranked["name"])
    assert ranked.set_index("name").loc["bad", "failure"].count("\n") == 0
    record = json.loads((out / "run.json").read_text())
    assert "plate" in record["verdicts"] and record["agreement"]
    assert run(["rank", str(table), "--out", str(tmp_path / "none")]) == 2
    assert "cutting_tool" in capsys.readouterr().err
