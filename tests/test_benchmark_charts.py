"""Charts of the benchmarks: where marks stand, what is left out, and that pages are well formed."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from invdesign.benchmarking.charts import LEFT, RIGHT, SIDE, WIDTH, cumulative, page, shares, ticks
from invdesign.benchmarking.metrics import KNOWN, Rate

MIDDLE = LEFT + 0.5 * (WIDTH - RIGHT - LEFT)


def svg(figure: str) -> ElementTree.Element:
    """The drawing of a figure; raises if it is not well formed."""
    return ElementTree.fromstring(re.findall(r"<svg.*</svg>", figure, re.DOTALL)[0])


def groups(figure: str) -> dict[str, ElementTree.Element]:
    return {g.findtext("title", ""): g for g in svg(figure).iter("g")}


def test_a_share_stands_at_its_place_with_its_interval():
    half = Rate(5, 10)
    found = groups(shares("Rates", [("unique", {"vae": half.to_dict()})], ["vae"]))
    (group,) = found.values()
    assert list(found) == ["unique, vae: 5 of 10, 50.0 %"]
    circle, line = group.find("circle"), group.find("line")
    assert circle is not None
    assert line is not None
    assert float(circle.attrib["cx"]) == pytest.approx(MIDDLE)
    # Wilson's interval of 5 of 10 is 0.5 +- 0.26341
    reach = 0.26341 * (WIDTH - RIGHT - LEFT)
    assert float(line.attrib["x1"]) == pytest.approx(MIDDLE - reach, abs=0.1)
    assert float(line.attrib["x2"]) == pytest.approx(MIDDLE + reach, abs=0.1)


def test_shares_of_nothing_and_missing_ones_are_left_out():
    rows = [("unique", {"vae": Rate(0, 0).to_dict(), "random": None}), ("new", {"vae": Rate(0, 3).to_dict()})]
    assert list(groups(shares("Rates", rows, ["vae", "random"]))) == ["new, vae: 0 of 3, 0.0 %"]


def test_a_series_keeps_its_colour_in_every_row_and_known_crystals_are_grey():
    rate = Rate(1, 2).to_dict()
    found = groups(
        shares("Rates", [("a", {"vae": rate, KNOWN: rate}), ("b", {"gan": rate})], ["vae", "gan", KNOWN])
    )
    kinds = {title.split(":")[0]: group.attrib["class"] for title, group in found.items()}
    assert kinds == {"a, vae": "series s0", "a, known": "series known", "b, gan": "series s1"}


def test_a_distribution_runs_from_its_least_to_its_largest_value():
    figure = cumulative("Density", "g/cm³", {"vae": [0.0, 2.0, 4.0], "gan": [2.0, 2.0, 2.0]}, ["vae", "gan"], {})
    path = next(p.attrib["d"] for p in svg(figure).iter("path"))
    points = [tuple(map(float, point.split())) for point in path.removeprefix("M").split("L")]
    assert [x for x, _ in points] == [SIDE, SIDE + 0.5 * (WIDTH - RIGHT - SIDE), WIDTH - RIGHT]
    bottom, middle, top = (y for _, y in points)
    assert bottom > middle > top
    assert middle == pytest.approx(0.5 * (bottom + top))


def test_a_distribution_of_fewer_ends_lower():
    curves = {"all": [0.0, 1.0], "half": [0.0, 1.0]}
    paths = [
        p.attrib["d"] for p in svg(cumulative("E", "eV", curves, ["all", "half"], {"half": 0.5})).iter("path")
    ]
    (low, high), (_, half) = ([float(point.split()[1]) for point in d[1:].split("L")] for d in paths)
    assert half == pytest.approx(0.5 * (low + high), abs=0.1)


def test_without_values_there_is_no_figure():
    assert cumulative("Density", "g/cm³", {"vae": []}, ["vae", "gan"], {}) == ""


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1.0, 7.0, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        (-0.05, 0.31, [-0.05, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]),
        (3.0, 97.0, [20.0, 40.0, 60.0, 80.0]),
    ],
)
def test_ticks_are_round_and_few(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_page_escapes_what_it_shows():
    rows = [("bulk_modulus>=300 & <x>", {"<b>": Rate(1, 2).to_dict()})]
    text = page("A < B", "x & y", ["<b>"], [shares("R & S", rows, ["<b>"]), ""])
    assert "<b>" not in text.replace("&lt;b&gt;", "")
    assert "A &lt; B" in text
    assert "&amp; y" in text
    svg(text)
