"""Recipes read out of a user's own text: what is named, what it is for, and what becomes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from invdesign.app.own_recipes import model_with, own_recipes, read_recipes
from invdesign.app.recipe import recipe
from invdesign.cli import run
from invdesign.errors import InputError
from invdesign.synthesis.mentions import events, materials, named_formula
from invdesign.synthesis.reader import load_tagger, operations, read_paragraph
from invdesign.training.recipe_reader import Score, judged, learnt, load_paragraphs, parts

TEXT = (
    "Strontium titanate SrTiO3 was prepared from SrCO3 and titania. The powders were milled in ethanol for 6 h, "
    "dried at 80 °C, and calcined at 1273 K for 4 h in air at 5 °C/min in an alumina crucible."
)


def test_held_out_paragraphs_are_read() -> None:
    paragraphs = load_paragraphs()
    train, test = parts(paragraphs)
    assert len(paragraphs) >= 40 and len(test) >= 20 and not {p.text for p in train} & {p.text for p in test}
    found = judged(test, load_tagger())
    assert found["target"].recall >= 0.95 and found["target"].precision >= 0.95
    assert found["precursor"].recall >= 0.95 and found["precursor"].precision >= 0.85
    for kind in ("step", "temperature", "duration", "gas"):
        assert found[kind].recall >= 0.85 and found[kind].precision >= 0.9, kind


def test_the_shipped_tagger_is_that_of_the_paragraphs_to_learn_from() -> None:
    train, _ = parts(load_paragraphs())
    again, shipped = learnt(train), load_tagger()
    assert shipped.weights == pytest.approx(again.weights, abs=1e-3)
    assert shipped.bias == pytest.approx(again.bias, abs=1e-3)


def test_shares_of_nothing_are_nan() -> None:
    assert Score(1, 2, 4).precision == 0.5 and Score(1, 2, 4).recall == 0.25
    assert str(Score(0, 0, 0).precision) == "nan" and str(Score(0, 0, 0).recall) == "nan"


def test_a_paragraph_becomes_a_recipe() -> None:
    (found,) = read_paragraph(TEXT, "notebook")
    assert found.target == "SrTiO3" and found.precursors == ("SrCO3", "TiO2") and found.source == "notebook"
    assert found.method == "solid-state" and found.atmosphere == "air" and found.hours == 4.0
    assert found.temperature == pytest.approx(1000.0)
    assert [step.kind for step in found.operations] == ["grinding", "drying", "heating"]
    assert read_paragraph("We had lunch at 12 and went home.") == []
    assert read_paragraph("") == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Ni(NO3)2·6H2O in water", ["Ni(NO3)2"]),
        ("heated at 700 °C in Ar and H2 to 5 K, 3 V", []),
        ("barium carbonate, iron(III) nitrate, aluminium", ["BaCO3", "Fe(NO3)3", "Al"]),
        ("(NH4)2HPO4 and (Li2CO3)", ["(NH4)2HPO4", "Li2CO3"]),
        ("XRD and SEM in the SI, At last", []),
        ("tungsten powder with carbon black", ["W", "C"]),
    ],
)
def test_materials(text: str, wanted: list[str]) -> None:
    assert [each.formula for each in materials(text)] == wanted


@pytest.mark.parametrize(
    ("metal", "salt", "wanted"),
    [
        ("lanthanum", "nitrate", "La(NO3)3"),
        ("sodium", "carbonate", "Na2CO3"),
        ("calcium", "oxide", "CaO"),
        ("niobium", "pentoxide", "Nb2O5"),
        ("cobalt", "acetate", "Co(CH3COO)2"),
        ("cerium", "dioxide", "CeO2"),
        ("helium", "oxide", ""),
        ("carbon", "", ""),
    ],
)
def test_formulas_by_name(metal: str, salt: str, wanted: str) -> None:
    assert named_formula(metal, salt) == wanted


def test_quantities_go_to_their_steps() -> None:
    first, second = operations("It was heated at 350 °C for 4 h and at 800 °C for 30 min in N2.")
    assert (first.temperature, first.hours, first.atmosphere) == (350.0, 4.0, "")
    assert (second.temperature, second.hours, second.atmosphere) == (800.0, 0.5, "nitrogen")
    (bare,) = operations("Tube furnace, Ar, 1500 °C, 2 days.")
    assert (bare.kind, bare.temperature, bare.hours, bare.atmosphere) == ("heating", 1500.0, 48.0, "argon")
    (between,) = operations("Pellets were sintered between 1000 and 1100 °C.")
    assert between.temperature == 1050.0
    (forming,) = operations("It was fired at 1200 °C in N2 with 5 % H2.")
    assert forming.atmosphere == "hydrogen"
    assert [e.kind for e in events("held at 5 °C/min and 20 MPa")] == []
    assert operations("Before firing the powder was ground.")[0].kind == "grinding"


def test_a_file_is_read_written_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes, out = tmp_path / "notes.txt", tmp_path / "own.json"
    odd = "The new YbRhSi3 was prepared from Yb, RhSi3 and Si. It was heated at 1234 °C for 7 h under argon."
    notes.write_text(f"{TEXT}\n\nNothing here.\n\n{odd}\n", encoding="utf-8")
    assert run(["recipe", "--from", str(notes), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "SrTiO3 from SrCO3 + TiO2" in said.out and "1000 °C 4 h in air" in said.out
    assert "paragraph 2: no target" in said.err
    written = json.loads(out.read_text(encoding="utf-8"))
    assert [each["target"] for each in written] == ["SrTiO3", "YbRhSi3"]
    assert run(["recipe", "--from", str(notes), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    (found,) = recipe("YbRhSi3", own=out)
    assert found.known == 1 and found.nearest[0].recipe.source == "notes.txt, paragraph 3"  # type: ignore[union-attr]
    assert found.routes[0].precursors  # type: ignore[union-attr]
    assert [each.target for each in own_recipes(out)] == ["SrTiO3", "YbRhSi3"]


def test_hand_written_recipes_need_little(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('[{"target": "Mg2MnO4", "precursors": ["MgO", "MnCO3"], "temperature": 900}]')
    (found,) = own_recipes(own)
    assert found.temperature == 900.0 and found.method == "solid-state" and found.source == "own recipe"
    assert "own recipe" in {row.source for row in model_with(own).recipes.rows}


@pytest.mark.parametrize("text", ["{}", "[]", "[{}]", '[{"target": "x", "precursors": ["MgO"]}]', "no json"])
def test_bad_files_of_own_recipes_are_named(text: str, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(text)
    with pytest.raises(InputError):
        own_recipes(own)


def test_bad_texts_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can be read"):
        read_recipes(tmp_path / "gone.txt")
    notes = tmp_path / "notes.txt"
    notes.write_text("Nothing.")
    with pytest.raises(InputError, match="paragraphs that name a target"):
        read_recipes(notes)
    notes.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        read_recipes(notes)
    assert run(["recipe"]) == 2 and run(["recipe", "MgO", "--from", str(notes)]) == 2
    assert run(["recipe", "MgO", "--out", str(notes)]) == 2
