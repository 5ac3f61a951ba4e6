"""The report: complete, self-contained, true to its table, and readable without colours or scripts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from invdesign.errors import InputError
from invdesign.report.charts import Chart, Guide, Point, draw
from invdesign.report.export import write_json
from invdesign.report.page import formula_html, render, write_report

VOID = {"meta", "br", "img", "input", "link"}


def table(n: int = 5) -> pd.DataFrame:
    """Candidates with made-up but consistent numbers."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(n):
        moduli = {
            "bulk_modulus": 250.0 + 10 * k,
            "shear_modulus": 150.0 + 20 * k,
            "youngs_modulus": 380.0 + 30 * k,
        }
        row: dict[str, Any] = {
            "rank": k + 1,
            "file": f"cif/{k}.cif",
            "formula": f"Ti{k + 2}B",
            "space_group": 191 + k,
        }
        row |= {"score": 0.9 - 0.1 * k, "meets_targets": k != 1, "pareto": k == 0, "out_of_distribution": k == 2}
        values = moduli | {"density": rng.uniform(4, 9), "energy_above_hull": 0.02 * k - 0.01}
        for name, value in values.items():
            row |= {
                name: value,
                f"{name}_std": 0.1 * abs(value),
                f"{name}_low": value * 0.9,
                f"{name}_high": value * 1.2,
            }
        row |= {"verdict_novelty": "pass", "verdict_charge_balance": "unknown" if k == 3 else "pass"}
        row |= {
            "verdict_charge_balance_reason": "a <metal>" if k == 3 else None,
            "reason": "Stiff & light.",
            "id": "r-1",
        }
        rows.append(row)
    return pd.DataFrame(rows)


RUN: dict[str, Any] = {
    "query": {"targets": ["bulk_modulus>=250", "shear_modulus>=150"], "n": 20, "component": "cutting_tool"},
    "query_in_words": "20 crystals with a high bulk modulus & more.",
    "seed": 7,
    "seconds": 300.0,
    "versions": {"invdesign": "0.1.0"},
    "warnings": ["Five of twenty."],
    "funnel": {
        "propose": {"entered": 1000, "passed": 990, "rejected": {"incomplete": 10}, "seconds": 1.0},
        "relax": {"entered": 80, "passed": 60, "rejected": {"failed: relax": 20}, "seconds": 99.0},
    },
    "selection": {"entered": 60, "passed": 5, "rejected": {"too far above the hull": 55}},
}  # fmt: skip


class Page(HTMLParser):
    """Text and tags of a page; complains about tags that are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def count(self, tag: str, **attributes: str) -> int:
        return sum(t == tag and attributes.items() <= a.items() for t, a in self.tags)


def test_the_page_is_whole_and_needs_no_network() -> None:
    html = render(table(), RUN)
    page = Page(html)
    assert not re.search(r"https?://|@import|<link|<img|src=", html)
    assert page.count("tr") == 6
    assert page.count("svg") == 2
    for words in ("cutting tool", "high bulk modulus & more", "Five of twenty", "5 of 20", "1,000", "seed"):
        assert words in page.text, words
    assert "too far above the hull 55" in page.text
    assert "out: failed: relax 20" in page.text


def test_numbers_are_those_of_the_table() -> None:
    page = Page(render(table(), RUN))
    values = [float(a["data-value"] or 0) for tag, a in page.tags if tag == "td" and a.get("class") == "number"]
    assert values[:3] == pytest.approx([250.0, 150.0, -0.01])
    assert "225 – 300" in page.text


def test_doubt_is_said_in_words_and_not_by_colour_alone() -> None:
    page = Page(render(table(), RUN))
    assert "1 of 5 candidates lies outside" in page.text
    assert "Charge balance could not be decided for 1 candidate (?)" in page.text
    labels = [a.get("aria-label") or "" for _, a in page.tags]
    assert sum(label == "charge balance could not be decided: a <metal>" for label in labels) == 1
    assert sum(label == "novelty passed" for label in labels) == 5


def test_text_from_a_table_cannot_become_markup() -> None:
    frame = table()
    frame["reason"] = "<script>alert(1)</script>"
    frame["formula"] = "<b>Ti</b>"
    page = Page(render(frame, RUN))
    assert page.count("script") == 1
    assert page.count("b") == Page(render(table(), RUN)).count("b")


def test_failed_rows_are_not_shown_and_no_rows_are_said() -> None:
    frame = table()
    frame["failure"] = ["read: broken", *[None] * 4]
    assert Page(render(frame, RUN)).count("tr") == 5
    assert "No candidate was found" in Page(render(table().iloc[:0], RUN)).text


def test_a_table_without_moduli_still_makes_a_page() -> None:
    frame = table()[["rank", "formula", "space_group", "score"]]
    page = Page(render(frame, {}))
    assert page.count("svg") == 0
    assert "nothing to draw" in page.text


def test_formulas_have_subscripts() -> None:
    assert formula_html("Ti2(AlC)3") == "Ti<sub>2</sub>(AlC)<sub>3</sub>"


def test_a_run_folder_gets_its_report_and_another_folder_is_refused(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "candidates.csv", index=False)
    write_json(RUN, tmp_path / "run.json")
    assert "Ti<sub>2</sub>B" in write_report(tmp_path).read_text()
    with pytest.raises(InputError, match=r"candidates\.csv"):
        write_report(tmp_path / "other")


def chart(**changes: Any) -> Chart:
    point = Point("c1", "1", "one", (90.0, 100.0, 130.0), (40.0, 50.0, 70.0), front=True)
    other = Point("c2", "2", "two", (190.0, 200.0, 230.0), (140.0, 150.0, 170.0))
    return Chart(**({"title": "t", "x_label": "x", "y_label": "y", "points": [point, other]} | changes))


def circles(svg: str) -> list[tuple[float, float]]:
    """Centres of the markers, the Pareto front last."""
    found = ElementTree.fromstring(svg).iter("circle")
    return [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in found]


def test_axes_are_logarithmic_and_point_the_right_way() -> None:
    third = Point("c3", "3", "three", (400.0, 400.0, 400.0), (450.0, 450.0, 450.0))
    (x2, y2), (x3, y3), (x1, y1) = circles(draw(chart(points=[*chart().points, third])))
    assert x1 < x2 < x3
    assert y1 > y2 > y3
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)


def test_bars_span_the_interval() -> None:
    svg = ElementTree.fromstring(draw(chart()))
    bar = next(p.attrib["d"] for p in svg.iter("path") if p.attrib.get("data-key") == "c1")
    low, high = (float(v) for v in re.match(r"M([\d.]+) [\d.]+H([\d.]+)", bar).groups())  # type: ignore[union-attr]
    centre = circles(draw(chart()))[-1][0]
    assert low < centre < high
    ratio = (high - centre) / (centre - low)
    assert ratio == pytest.approx(np.log(130 / 100) / np.log(100 / 90), rel=0.02)


def test_what_is_asked_for_and_guides_are_drawn_only_where_they_are() -> None:
    plain = draw(chart())
    assert "asked for" not in plain
    assert "asked for" in draw(chart(wanted=(150.0, None, 100.0, None)))
    assert "equal" in draw(chart(guides=[Guide("equal", lambda x: x)]))
    assert "equal" not in draw(chart(guides=[Guide("equal", lambda x: 1e6 * x)]))


def test_points_that_have_no_place_on_a_logarithmic_axis_are_left_out() -> None:
    bad = Point("c9", "9", "nine", (-1.0, 0.0, 1.0), (1.0, 2.0, 3.0))
    assert len(circles(draw(chart(points=[*chart().points, bad])))) == 2
    assert "nothing to draw" in draw(chart(points=[bad]))
