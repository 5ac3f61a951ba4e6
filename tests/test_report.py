"""The report: complete, self-contained, true to its table, and safe against what a table or a record may hold."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from run_folder import run_folder

from invdesign.errors import InputError
from invdesign.report import assets, markup
from invdesign.report.candidates import interval, read_run
from invdesign.report.chart_data import chart_data
from invdesign.report.export import write_json
from invdesign.report.page import render, write_report

VOID = {"meta", "br", "img", "input", "link"}
LIMIT = 5_000_000
"""Largest report, bytes."""


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
            "id": f"r-{k}",
        }
        rows.append(row)
    return pd.DataFrame(rows)


RUN: dict[str, Any] = {
    "query": {"targets": ["bulk_modulus>=250", "shear_modulus>=150"], "n": 20, "component": "cutting_tool"},
    "query_in_words": "20 crystals with a high bulk modulus & more.",
    "seed": 7,
    "seconds": 300.0,
    "summary": "4 of 5 candidates are on target",
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
        self.data: dict[str, Any] = {}
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        last = self.tags[-1][1] if self.tags else {}
        if self.open and self.open[-1] == "script" and last.get("type") == "application/json":
            self.data[str(last["id"])] = json.loads(data)
        elif self.open and self.open[-1] == "script" and last.get("class") == "folded":
            inside = Page(data)  # what a browser reads when the candidate is opened
            self.tags += inside.tags
            self.text += inside.text
        elif self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def having(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and attributes.items() <= a.items()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"), 6)


@pytest.fixture(scope="module")
def html(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def without_libraries(html: str) -> str:
    for name in assets.LIBRARIES:
        assert assets.text(name) in html
        html = html.replace(assets.text(name), "")
    return html


def test_the_page_is_small_and_needs_no_network(html: str) -> None:
    assert len(html.encode()) < LIMIT
    page = Page(html)
    rest = without_libraries(html)
    assert not re.search(r"@import|<link|<img|<iframe|\bsrc=|\bfetch\(|XMLHttpRequest|url\((?!#)", rest)
    links = [str(a.get("href")) for _, a in page.tags if "href" in a]
    allowed = ("#", "cif/", markup.MATERIALS_PROJECT, "https://doi.org/")
    assert {link for link in links if "//" in link}
    assert all(link.startswith(allowed) or re.fullmatch(r"[\w.]+", link) for link in links)
    (policy,) = page.having("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy["content"]).split(";"))
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    assert "unsafe" not in rules["script-src"] and "http" not in rules["script-src"]


def test_two_hundred_candidates_stay_within_the_limit(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path, 6))
    rows = [dict(row) | {"rank": k + 1} for k, row in enumerate([*run.rows] * 34)][:200]
    assert len(render(pd.DataFrame(rows), run.record, run.crystals).encode()) < LIMIT


def test_every_candidate_has_its_row_its_page_and_its_drawings(html: str, folder: Path) -> None:
    page, run = Page(html), read_run(folder)
    assert len(run.rows) == 6
    for place, row in enumerate(run.rows, start=1):
        key = f"c{place}"
        assert len(page.having("tbody", **{"class": "one", "data-key": key})) == 1
        assert len(page.having("tr", id=f"page-{key}")) == 1
        assert len(page.having("button", **{"aria-controls": f"page-{key}"})) == 1
        assert page.having("a", href=str(row["file"]))
        drawn = page.data[f"data-{key}"]
        assert len(drawn["scene"]["atoms"]) >= 1 and max(drawn["pattern"]["intensity"]) == 100.0
        assert np.linalg.inv(np.array(drawn["compliance"]) / 1e3)[0, 0] == pytest.approx(row["c11"], rel=0.01)
    assert [c["formula"] for c in page.data["data"]["candidates"]] == [row["formula"] for row in run.rows]


def test_the_sections_and_the_record_are_there(html: str, folder: Path) -> None:
    page, record = Page(html), read_run(folder).record
    sections = [a["id"] for a in page.having("section") if a.get("id")]
    assert sections == ["candidates-section", "charts", "map", "funnel", "glossary", "provenance"]
    assert {a["href"] for a in page.having("a") if str(a["href"])[1:] in sections} >= {f"#{s}" for s in sections}
    for words in (record["query_in_words"], "light stiff beam", "4,000"):
        assert words in page.text, words
    for name, version in record["versions"].items():
        assert name in page.text and version in page.text


def test_known_materials_stand_in_the_table_and_in_the_charts(html: str, folder: Path) -> None:
    page, record = Page(html), read_run(folder).record
    assert record["known_materials"]
    assert len(page.having("tbody", **{"class": "known"})) == len(record["known_materials"])
    for material in record["known_materials"]:
        assert material["name"] in page.text
    kinds = {m["kind"] for m in page.data["data"]["materials"]}
    assert {"metals", "ceramics"} <= kinds


def test_rank_intervals_and_the_summary_stand_where_people_look() -> None:
    frame = table()
    frame["rank_low"], frame["rank_high"] = [1, 1, 2, 3, 4], [2, 3, 4, 5, 5]
    page = Page(render(frame, RUN))
    assert "1–2" in page.text and "4–5" in page.text
    assert "4 of 5 candidates are on target." in page.text


def test_words_of_the_query_limits_and_funnel_are_there() -> None:
    page = Page(render(table(), RUN))
    for words in ("cutting tool", "high bulk modulus & more", "Five of twenty", "5 of 20", "1,000", "seed"):
        assert words in page.text, words
    assert "too far above the hull 55" in page.text
    assert "out: failed: relax 20" in page.text


def test_numbers_are_those_of_the_table() -> None:
    page = Page(render(table(), RUN))
    (first,) = [k for k, (t, a) in enumerate(page.tags) if t == "tbody" and a.get("data-key") == "c1"]
    cells = [a for t, a in page.tags[first:] if t == "td" and str(a.get("class")).startswith("number")]
    assert [float(c["data-value"] or "nan") for c in cells[:2]] == [250.0, 150.0]
    assert "250" in page.text and "± 25" in page.text
    assert "225 – 300" in page.text


def test_an_interval_that_is_not_given_follows_the_scale_of_its_property() -> None:
    row = {"bulk_modulus": 100.0, "bulk_modulus_std": 50.0}
    low, high = interval(row, "bulk_modulus", log=True)
    assert low is not None and high is not None and low > 0 and low * high == pytest.approx(1e4)
    assert interval(row, "bulk_modulus", log=False) == pytest.approx((17.76, 182.24), abs=0.01)
    assert interval(row | {"bulk_modulus_low": 80.0, "bulk_modulus_high": 140.0}, "bulk_modulus", log=True) == (
        80,
        140,
    )


def test_doubt_is_said_in_words_and_not_by_colour_alone() -> None:
    page = Page(render(table(), RUN))
    assert "1 of 5 candidates lies outside" in page.text
    assert "Charge balance could not be decided for 1 candidate (?)" in page.text
    titles = [a.get("title") or "" for _, a in page.tags]
    assert sum("a <metal>" in title for title in titles) == 1


HOSTILE = "<script>alert(1)</script>\"'><b onmouseover=x>&amp;</script>"


@pytest.mark.parametrize("column", ["reason", "formula", "id", "generator", "anion_class", "verdict", "nearest",
                                    "decomposes_into", "verdict_novelty_reason", "ood_reason", "file", "parents",
                                    "bulk_modulus_by_element", "bulk_modulus_source", "potential"])  # fmt: skip
def test_text_from_a_table_cannot_become_markup(column: str) -> None:
    plain, frame = Page(render(table(), RUN)), table()
    frame[column] = HOSTILE
    if column == "ood_reason":
        frame["out_of_distribution"] = True
    page = Page(render(frame, RUN))
    assert len(page.having("script")) == len(plain.having("script"))
    assert not any("onmouseover" in name for _, a in page.tags for name in a)
    bold = [len(p.having("b")) for p in (page, plain)]
    assert bold[0] == bold[1]


def test_text_from_a_record_cannot_become_markup() -> None:
    plain = Page(render(table(), RUN))
    record = RUN | {
        "query_in_words": HOSTILE,
        "warnings": [HOSTILE],
        "versions": {HOSTILE: HOSTILE},
        "funnel": {HOSTILE: {"entered": 1, "passed": 1, "rejected": {HOSTILE: 1}}},
    }
    page = Page(render(table(), record))
    assert len(page.having("script")) == len(plain.having("script"))
    assert not any("onmouseover" in name for _, a in page.tags for name in a)


@pytest.mark.parametrize(
    "file", ["javascript:alert(1)", "../secret.cif", "/etc/x.cif", "cif/../../x.cif", "http://x/y.cif"]
)
def test_links_go_to_crystals_of_the_folder_alone(file: str) -> None:
    frame = table()
    frame["file"] = file
    assert not [a for a in Page(render(frame, RUN)).having("a") if a.get("href") == file]


def test_failed_rows_are_not_shown_and_no_rows_are_said() -> None:
    frame = table()
    frame["failure"] = ["read: broken", *[None] * 4]
    assert len(Page(render(frame, RUN)).having("tbody", **{"class": "one"})) == 4
    assert "No candidate was found" in Page(render(table().iloc[:0], RUN)).text


def test_a_table_without_moduli_still_makes_a_page() -> None:
    frame = table()[["rank", "formula", "space_group", "score"]]
    page = Page(render(frame, {}))
    assert "No candidate has two properties to draw" in page.text
    assert len(page.having("tbody", **{"class": "one"})) == 5


def test_a_component_chooses_the_axes_of_the_charts(folder: Path) -> None:
    found = chart_data(read_run(folder))
    assert set(found["pairs"][0]) == {"density", "youngs_modulus"}
    assert all(pair[0] in found["axes"] and pair[1] in found["axes"] for pair in found["pairs"])


def test_custom_properties_of_the_run_are_shown_and_stay_with_it() -> None:
    from invdesign.properties import PROPERTIES, custom_property

    prop = custom_property("my_gloss", "GU", 0.0, 100.0, log=False)
    frame = table().assign(my_gloss=[80.0 + k for k in range(5)], my_gloss_std=2.0)
    record = RUN | {"query": RUN["query"] | {"targets": ["my_gloss>=50"]}, "custom_properties": [vars(prop)]}
    page = Page(render(frame, record))
    assert page.data["data"]["targets"] == {"my_gloss": [50.0, None]}
    assert "my gloss" in page.text.lower() and "my_gloss" not in PROPERTIES


def test_formulas_have_subscripts() -> None:
    assert markup.formula("Ti2(AlC)3") == "Ti<sub>2</sub>(AlC)<sub>3</sub>"


def test_a_run_folder_gets_its_report_and_another_folder_is_refused(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "candidates.csv", index=False)
    write_json(RUN, tmp_path / "run.json")
    assert "Ti<sub>2</sub>B" in write_report(tmp_path).read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"candidates\.csv"):
        write_report(tmp_path / "other")


@pytest.mark.parametrize("name", ["run.json", "candidates.csv", "candidates.parquet"])
def test_a_damaged_folder_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "candidates.csv", index=False)
    write_json(RUN, tmp_path / "run.json")
    (tmp_path / name).write_bytes(b"\x00\xff broken" if name != "candidates.csv" else b'"unclosed\n1,2,3\n')
    if name == "candidates.csv":
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="run folder"):
        write_report(tmp_path)


def test_a_structure_that_cannot_be_read_costs_its_drawing_alone(tmp_path: Path) -> None:
    run_folder(tmp_path, 3)
    first = next(iter(sorted((tmp_path / "cif").glob("*.cif"))))
    first.write_text("not a crystal", encoding="utf-8")
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "scene" not in page.data["data-c1"] and "scene" in page.data["data-c2"]


def test_libraries_come_with_licence_and_checksum() -> None:
    import hashlib

    home = Path(assets.__file__).parent
    sheet = (home / "assets.md").read_text(encoding="utf-8")
    for name in assets.LIBRARIES:
        assert f"`{hashlib.sha256((home / name).read_bytes()).hexdigest()}`" in sheet
        terms = (home / f"{name.split('.')[0]}.LICENSE.txt").read_text(encoding="utf-8")
        assert "Permission is hereby granted" in terms or "Redistribution and use" in terms
        assert "</script" not in assets.text(name).lower()
