"""Cells and headings of tables from outside, what a spreadsheet or a browser makes of ours, and hulls by hand."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invdesign import numbers
from invdesign.checks import plain_unit
from invdesign.data.labels import labels_of, property_of
from invdesign.display import html_table
from invdesign.elements import atomic_number
from invdesign.errors import InputError, StructureReadError
from invdesign.reference.hull import Hull
from invdesign.report import export, markup
from invdesign.selection.desirability import geometric_mean
from invdesign.selection.table_ranking import TableRanking, rank_table
from invdesign.stoichiometry import parse_formula


def ranked(text: str) -> TableRanking:
    return rank_table(pd.read_csv(io.StringIO(text)), "cutting_tool", known=False)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("210", 210.0),
        (" 210 ", 210.0),
        ('"1,230"', 1230.0),
        ('"1,230.5"', 1230.5),
        ("2.1e2", 210.0),
        ("+210", 210.0),
    ],
)
def test_numbers_in_cells(cell: str, value: float) -> None:
    (row,) = ranked(f"name,youngs_modulus,density\na,{cell},3\n").rows
    assert row.material.values["youngs_modulus"].mean == pytest.approx(value)


@pytest.mark.parametrize(
    ("cell", "words"),
    [('"2,5"', "'2,5'"), ('"12,34"', "'12,34'"), ('"1,23,456"', "'1,23,456'"), ("210 GPa", "'210 GPa'"),
    (">200", "'>200'"),
     ("200-220", "'200-220'"), ("210±5", "'210±5'"), ("~210", "'~210'"), ("inf", "inf"), ("-5", "-5"),
     ("−5", "-5"),
     ("=210", "'=210'"), ("yes", "'yes'"), ("0", "0.1 to")],
)  # fmt: skip
def test_cells_that_are_no_value_fail_their_row_alone(cell: str, words: str) -> None:
    found = ranked(f"name,youngs_modulus,density\nbad,{cell},3\ngood,400,3\n")
    assert [row.material.name for row in found.rows] == ["good"]
    assert words in found.failures["bad"]


@pytest.mark.parametrize("cell", ["", "-", "unknown", "nan", "NaN"])
def test_cells_without_a_value(cell: str) -> None:
    (row,) = ranked(f"name,youngs_modulus,density\na,{cell},3\n").rows
    assert "youngs_modulus" not in row.material.values


@pytest.mark.parametrize(
    "heading",
    ["youngs_modulus", "Youngs modulus", "youngs_modulus (GPa)", "Youngs Modulus [GPa]", "youngs_modulus (gpa)",
     "youngs_modulus ( GPa )"],
)  # fmt: skip
def test_headings_with_the_propertys_unit(heading: str) -> None:
    (row,) = ranked(f"name,{heading},density (g/cm3)\na,400,3\n").rows
    assert row.material.values["youngs_modulus"].mean == 400.0


@pytest.mark.parametrize(
    ("heading", "unit"),
    [("youngs_modulus (MPa)", "GPa"), ("youngs_modulus [psi]", "GPa"), ("strength (GPa)", "MPa"),
    ("yield_strength (GPa)", "MPa"),
     ("melting_point (°C)", "K"), ("density (kg/m3)", "g/cm³"), ("thermal_expansion (1/K)", "1e-6/K"),
     ("poisson_ratio (GPa)", "none"), ("price (EUR/kg)", "USD/kg"), ("youngs_modulus_std (MPa)", "GPa")],
)  # fmt: skip
def test_headings_with_another_unit_are_refused(heading: str, unit: str) -> None:
    with pytest.raises(InputError) as error:
        ranked(f"name,{heading},hardness\na,1,2\n")
    assert f"unit of column {heading}" in str(error.value) and unit in str(error.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [("GPa", "gpa"), ("g/cm³", "g/cm3"), ("W/(m K)", "W/(m·K)"), ("MPa m^0.5", "MPa√m"), ("MPa m^0.5", "MPa m½"),
     ("MPa m^0.5", "MPa·m^(1/2)"), ("1e-6/K", "10⁻⁶/K"), ("1e-6/K", "ppm/K"), ("J/(kg K)", "J/kg·K")],
)  # fmt: skip
def test_spellings_of_one_unit(one: str, other: str) -> None:
    assert plain_unit(one) == plain_unit(other)


@pytest.mark.parametrize(
    ("one", "other"), [("GPa", "MPa"), ("eV", "meV"), ("K", "°C"), ("g/cm³", "kg/m3"), ("K", "")]
)
def test_units_that_differ(one: str, other: str) -> None:
    assert plain_unit(one) != plain_unit(other)


@pytest.mark.parametrize(
    ("low", "high", "mean", "words"), [(250, 200, "", "range"), (220, 230, 210, "range"), (1, 2, 3, "range")]
)
def test_ranges_that_cannot_be(low: float, high: float, mean: object, words: str) -> None:
    head = "name,youngs_modulus,youngs_modulus_low,youngs_modulus_high"
    assert "range of youngs_modulus" in ranked(f"{head}\na,{mean},{low},{high}\n").failures["a"]


def test_a_negative_error_is_refused_and_a_range_has_a_middle() -> None:
    assert "youngs_modulus_std" in ranked("name,youngs_modulus,youngs_modulus_std\na,210,-5\n").failures["a"]
    (row,) = ranked("name,youngs_modulus_low,youngs_modulus_high\na,100,400\n").rows
    assert row.material.values["youngs_modulus"].mean == pytest.approx(200.0), (
        "the geometric mean of a log property"
    )


@pytest.mark.parametrize("text", ["name;youngs_modulus\na;210\n", "name,x\na,1\n", "name\n"])
def test_tables_without_a_property(text: str) -> None:
    with pytest.raises(InputError, match="a column such as"):
        ranked(text)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"K_VRH": 250}, {"bulk_modulus": 250.0}), ({"log10(K_VRH)": 2.0}, {"bulk_modulus": 100.0}),
        ({"G_VRH": "80"}, {"shear_modulus": 80.0}), ({"e_above_hull": 0.02}, {"energy_above_hull": 0.02}),
        ({"formation_energy_per_atom": -1.5}, {"formation_energy": -1.5}), ({"band_gap": "n/a"}, {}),
        ({"band_gap": None}, {}),
        ({"bulk_modulus": 1.0, "k_vrh": 2.0}, {"bulk_modulus": 1.0}), ({"colour": "red"}, {}),
        ({"density": float("nan")}, {}),
    ],
)  # fmt: skip
def test_labels_of_databases(columns: dict[str, object], found: dict[str, float]) -> None:
    assert labels_of(columns) == pytest.approx(found)


@pytest.mark.parametrize("value", ["stiff", "2,5", True, [250], "250 GPa", float("inf"), "1e999"])
def test_labels_that_are_no_numbers(value: object) -> None:
    with pytest.raises(StructureReadError, match="K_VRH"):
        labels_of({"K_VRH": value})
    assert property_of(" K_vrh ") == "bulk_modulus" and property_of("log10(K_VRH)") is None


HOSTILE = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "x\r=1",
    '=HYPERLINK("http://x","y")',
]


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_no_text_of_a_table_is_a_formula(dtype: str, tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"=name": pd.Series([*HOSTILE, "fine", "-3.5"], dtype=dtype), "x": range(len(HOSTILE) + 2)}
    )
    text = export.write_table(table, tmp_path / "t.csv").read_text()
    cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
    assert not [c for c in cells if c.startswith(export.FORMULA) and not c.lstrip("+-").replace(".", "").isdigit()]
    assert "fine" in cells and "-3.5" in cells and "'=name" in cells


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> _Tags:
    found = _Tags()
    found.feed(html)
    return found


EVIL = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a'b\"c", "&lt;b&gt;", "O'Neil2", "</td><td>"]


@pytest.mark.parametrize("text", EVIL)
def test_texts_are_shown_as_they_are(text: str) -> None:
    assert parsed(markup.formula(text)).text == text and set(parsed(markup.formula(text)).tags) <= {"sub"}
    assert parsed(markup.material_link(text)).text == text and not parsed(markup.material_link(text)).tags
    page = parsed(html_table((text,), [(text, text)]))
    assert page.text == text * 3 and set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}
    link = parsed(markup.cif_link({"file": f"javascript:{text}"}, "x"))
    assert link.tags == []


@pytest.mark.parametrize("text", [*EVIL, "<!--", "\u2028", "]]>"])
def test_data_for_scripts_cannot_end_their_element(text: str) -> None:
    html = markup.data("d", {"x": text})
    body = html.removeprefix('<script type="application/json" id="d">').removesuffix("</script>")
    assert "<" not in body and json.loads(body) == {"x": text}
    with pytest.raises(ValueError):
        markup.data("d", {"x": float("nan")})


@pytest.mark.parametrize(
    ("text", "html"),
    [("TiAlN2", "TiAlN<sub>2</sub>"), ("Ca3(PO4)2", "Ca<sub>3</sub>(PO<sub>4</sub>)<sub>2</sub>"), ("Li0.5CoO2",
      "Li<sub>0.5</sub>CoO<sub>2</sub>"), ("W", "W"), ("", "")],
)  # fmt: skip
def test_formulas_in_markup(text: str, html: str) -> None:
    assert markup.formula(text) == html


@pytest.mark.parametrize(
    ("group", "shown"),
    [(225, "Fm3\u0305m"), (194, "P6<sub>3</sub>/mmc"), (14, "P2<sub>1</sub>/c"), (62, "Pnma"), (2, "P1\u0305")],
)
def test_symbols_of_groups_in_markup(group: int, shown: str) -> None:
    assert markup.group(group) == shown


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [(-1.2345, 0.05, "-1.23 ± 0.05"), (1e-9, 0.0, "1e-9"), (-0.0, 0.1, "0.00 ± 0.10"),
     (99999.0, 3.0, "99,999 ± 3"),
     (0.5, 1e-9, "0.5000000000 ± 0.0000000010"), (float("inf"), 1.0, "unknown"), (2.0, -1.0, "2.00"),
     (9.996, 0.0, "10.0")],
)  # fmt: skip
def test_numbers_in_print(mean: float, std: float, text: str) -> None:
    assert numbers.with_error(mean, std) == text


def hull(phases: dict[str, float]) -> Hull:
    counts = [{atomic_number(name): n for name, n in parse_formula(text).items()} for text in phases]
    return Hull(list(phases), counts, list(phases.values()))


def energy(found: Hull, text: str) -> float:
    numbers_of = [atomic_number(name) for name, n in parse_formula(text).items() for _ in range(n)]
    mixture = found.mixture(numbers_of)
    assert mixture is not None and sum(mixture.fractions) == pytest.approx(1.0)
    pairs = tuple(sorted((z, numbers_of.count(z)) for z in set(numbers_of)))
    assert float(found.energies([pairs])[0]) == pytest.approx(mixture.energy, abs=1e-9)
    return mixture.energy


@pytest.mark.parametrize(
    ("text", "expected"),
    [("LiF", -3.0), ("Li3F", -1.5), ("LiF3", -1.5), ("Li", 0.0), ("Li2F", -2.0), ("Li4F", -1.2), ("LiNaF2", -2.85),
     ("NaF", -2.7), ("Na3F", -1.35), ("LiNa", 0.0), ("Li3NaF4", -2.925)],
)  # fmt: skip
def test_hull_energies_by_hand(text: str, expected: float) -> None:
    """LiF -3.0 and NaF -2.7 eV/atom; everything else is a mixture of these and of the elements (lever rule)."""
    found = hull({"Li": 0.0, "Na": 0.0, "F": 0.0, "LiF": -3.0, "NaF": -2.7, "Li2F": -0.5, "LiNaF2": -2.0})
    assert energy(found, text) == pytest.approx(expected, abs=1e-9)


def test_the_lowest_phase_of_an_element_is_its_corner_and_an_unknown_element_has_no_hull() -> None:
    found = hull({"Li": 0.3, "Li2": 0.0, "F": 0.0, "LiF": -3.0})
    assert energy(found, "Li") == 0.0
    assert found.mixture([3, 11]) is None and found.mixture([]) is None
    assert np.isnan(found.energies([((3, 1), (11, 1))])[0])


@pytest.mark.parametrize(
    ("table", "weights", "scores"),
    [
        ([[1.0, 0.25]], [1.0, 1.0], [0.5]), ([[1.0, 0.25]], [1.0, 0.0], [1.0]),
        ([[0.5, 0.5, 0.5]], [3.0, 1.0, 2.0], [0.5]),
        ([[0.9, 0.1], [0.5, 0.5]], [1.0, 1.0], [0.3, 0.5]), ([[0.8, 0.1]], [2.0, 1.0], [0.4]),
    ],
)  # fmt: skip
def test_geometric_means_by_hand(table: list[list[float]], weights: list[float], scores: list[float]) -> None:
    assert geometric_mean(np.array(table), np.array(weights)) == pytest.approx(scores, rel=1e-6)
