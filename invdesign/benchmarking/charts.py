"""The figures of a benchmark's record as one HTML page of inline SVG: shares with intervals, and distributions.

A page is made from the record alone. Colours are variables of the page, so it reads in the light and in the dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from invdesign.benchmarking.metrics import KNOWN
from invdesign.report import assets

WIDTH, LEFT, RIGHT = 620.0, 210.0, 20.0
STEP, GAP, TOP, BOTTOM = 13.0, 9.0, 8.0, 34.0
HEIGHT, SIDE = 300.0, 62.0
"""Height of a distribution, and its left margin, which holds no labels."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by readers of all kinds of colour vision (M. Okabe, K. Ito); a seventh series starts again."""

Share = Mapping[str, float]
"""A rate of a record: count, of, value, low, high."""


def shares(title: str, rows: Sequence[tuple[str, Mapping[str, Share | None]]], names: Sequence[str]) -> str:
    """Shares with their intervals, one line for each series in each row, as a figure.

    Args:
        title: heading.
        rows: label, and the share of each series by name; what is missing, or of nothing, is left out.
        names: the series, in order.
    """
    step = STEP * len(names) + GAP
    height = TOP + step * len(rows) + BOTTOM
    parts = [_percent_grid(height)]
    for number, (label, found) in enumerate(rows):
        top = TOP + step * number
        middle = top + 0.5 * step
        parts.append(f'<text x="{LEFT - 10:g}" y="{middle + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        parts.append(_line(LEFT, top, WIDTH - RIGHT, top, "grid"))
        for place, name in enumerate(names):
            share = found.get(name)
            if share is not None and share["of"]:
                parts.append(_share(label, name, share, top + 0.5 * GAP + STEP * (place + 0.5), place))
    return _figure(title, height, parts)


def _share(label: str, name: str, share: Share, y: float, place: int) -> str:
    low, middle, high = (_across(share[key], 0.0, 1.0) for key in ("low", "value", "high"))
    words = f"{label}, {name}: {share['count']:g} of {share['of']:g}, {100 * share['value']:.1f} %"
    mark = _line(low, y, high, y, "reach") + f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="4"/>'
    return f'<g class="{_kind(name, place)}"><title>{escape(words)}</title>{mark}</g>'


def _percent_grid(height: float) -> str:
    parts = []
    for percent in (0, 25, 50, 75, 100):
        x = _across(percent / 100, 0.0, 1.0)
        parts.append(_line(x, TOP, x, height - BOTTOM, "grid"))
        parts.append(f'<text x="{x:.1f}" y="{height - BOTTOM + 17:.1f}" class="tick middle">{percent} %</text>')
    return "\n".join(parts)


def cumulative(
    title: str, label: str, curves: Mapping[str, Sequence[float]], names: Sequence[str], of: Mapping[str, float]
) -> str:
    """Share of crystals with at most a value, from quantiles that are evenly spaced, as a figure.

    Args:
        title: heading.
        label: the value, with its unit.
        curves: quantiles of each series by name, the least and the largest included.
        names: the series, in order.
        of: where a curve ends if not at 1: the share of crystals that have a value.
    """
    drawn = {name: curves[name] for name in names if len(curves.get(name, ())) > 1}
    if not drawn:
        return ""
    low, high = (pick(v for curve in drawn.values() for v in curve) for pick in (min, max))
    high = high if high > low else low + 1.0
    parts = [_value_grid(low, high, label)]
    for place, name in enumerate(names):
        if name in drawn:
            path = _steps(drawn[name], of.get(name, 1.0), low, high)
            kind = _kind(name, place)
            parts.append(f'<g class="{kind}"><title>{escape(name)}</title><path d="{path}" class="curve"/></g>')
    return _figure(title, HEIGHT, parts)


def _steps(quantiles: Sequence[float], end: float, low: float, high: float) -> str:
    last = len(quantiles) - 1
    points = [(_across(v, low, high, SIDE), _up(end * k / last)) for k, v in enumerate(quantiles)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _value_grid(low: float, high: float, label: str) -> str:
    parts = []
    for value in ticks(low, high):
        x = _across(value, low, high, SIDE)
        parts.append(_line(x, _up(0.0), x, _up(1.0), "grid"))
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15:.1f}" class="tick middle">{value:g}</text>')
    for percent in (0, 50, 100):
        y = _up(percent / 100)
        parts.append(_line(SIDE, y, WIDTH - RIGHT, y, "grid"))
        parts.append(f'<text x="{SIDE - 8:g}" y="{y + 4:.1f}" text-anchor="end" class="tick">{percent} %</text>')
    middle = 0.5 * (SIDE + WIDTH - RIGHT)
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 3:.1f}" class="axis">{escape(label)}</text>')
    return "\n".join(parts)


def ticks(low: float, high: float) -> list[float]:
    """Three to eight round values from `low` to `high`, 1, 2 or 5 times a power of ten apart."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span))
    step = next(m * power for m in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (m * power) <= 8.0)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _across(value: float, low: float, high: float, left: float = LEFT) -> float:
    return left + (value - low) / (high - low) * (WIDTH - RIGHT - left)


def _up(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    return f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" class="{kind}"/>'


def _kind(name: str, place: int) -> str:
    return "series known" if name == KNOWN else f"series s{place % len(COLOURS)}"


def _figure(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH:g} {height:.1f}" role="img" aria-label="{escape(title)}" class="chart">'
    body = "\n".join(parts)
    return f"<figure><figcaption>{escape(title)}</figcaption>\n{head}\n{body}\n</svg></figure>"


def page(title: str, text: str, names: Sequence[str], figures: Sequence[str]) -> str:
    """One page of figures with the legend of their series."""
    style = assets.text("report.css")
    colours = "".join(f".s{i} {{ --series: {colour}; }} " for i, colour in enumerate(COLOURS))
    legend = " ".join(
        f'<span class="{_kind(name, place)}"><span class="dot"></span> {escape(name)}</span>'
        for place, name in enumerate(names)
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}{_STYLE}{colours}\n</style></head>\n<body>\n"
        f'<header><h1>{escape(title)}</h1><p class="query">{escape(text)}</p><p>{legend}</p></header>\n'
        f'<main class="charts">\n' + "\n".join(f for f in figures if f) + "\n</main></body></html>\n"
    )


_STYLE = """.series { --series: var(--accent); } .series.known { --series: var(--quiet); }
.series circle { fill: var(--series); } .series .reach, .series .curve { stroke: var(--series); fill: none; }
.series .reach { stroke-width: 1.6; } .series .curve { stroke-width: 2; }
.series.known .curve { stroke-dasharray: 5 4; } .chart .middle { text-anchor: middle; }
.series .cell { fill: var(--series); } .equal { stroke: var(--quiet); stroke-dasharray: 3 3; }
.series .dot { background: var(--series); margin-left: 0; }
"""

_RATES = (
    ("validity", "distances", "distances sound"),
    ("validity", "smact", "SMACT valid"),
    ("validity", "cdvae_valid", "valid as in CDVAE"),
    ("novelty", "unique", "unique"),
    ("novelty", "gene", "new gene"),
    ("novelty", "structure", "new structure"),
    ("distribution", "coverage_recall", "coverage, recall"),
    ("distribution", "coverage_precision", "coverage, precision"),
    ("relaxed", "space_group_kept", "space group kept"),
    ("relaxed", "stable_at_0.1", "stable at 0.1 eV/atom"),
    ("relaxed", "sun_at_0.1", "S.U.N. at 0.1 eV/atom"),
    ("relaxed", "sun_at_0", "S.U.N. at 0 eV/atom"),
)
_VALUES = {
    "density": "density (g/cm³)",
    "n_elements": "number of elements",
    "n_sites": "atoms in the primitive cell",
    "n_orbits": "orbits",
}


def generation_page(record: Mapping[str, Any]) -> str:
    """The page of `benchmark generation`."""
    found: Mapping[str, Any] = record["generators"]
    names, plan = list(found), record["plan"]
    rates = [
        (title, {name: figures.get(section, {}).get(key) for name, figures in found.items()})
        for section, key, title in _RATES
    ]
    systems = {name: figures["symmetry"]["crystal_systems"] for name, figures in found.items()}
    by_system = [(s, {name: systems[name][s] for name in names}) for s in next(iter(systems.values()))]
    figures = [
        shares("Rates with 95 % intervals", [row for row in rates if any(row[1].values())], names),
        shares("Crystal systems", by_system, names),
        *(
            cumulative(
                f"Samples with at most this {label.split(' (')[0]}",
                label,
                {name: found[name]["distribution"]["quantiles"][key] for name in names},
                names,
                {},
            )
            for key, label in _VALUES.items()
        ),
        _energies(found, names),
    ]
    text = f"{plan['n']} samples each, {plan['relax']} relaxed, seed {plan['seed']}. {record['reference']}."
    return page("Generation benchmark", text, names, figures)


def _energies(found: Mapping[str, Any], names: Sequence[str]) -> str:
    relaxed = {name: found[name]["relaxed"] for name in names if "relaxed" in found[name]}
    return cumulative(
        "Relaxed samples with at most this energy above hull; a curve ends below 100 % where some failed",
        "energy above hull (eV/atom)",
        {name: figures["energy_above_hull_quantiles"] for name, figures in relaxed.items()},
        names,
        {name: figures["placed"]["value"] for name, figures in relaxed.items()},
    )


def targets_page(record: Mapping[str, Any]) -> str:
    """The page of `benchmark targets`."""
    found, plan = record["targets"], record["plan"]
    names = [*plan["generators"], KNOWN]

    def rows(section: str, key: str) -> list[tuple[str, Mapping[str, Share | None]]]:
        return [
            (text, {name: figures.get(section, {}).get(key) for name, figures in one["generators"].items()})
            for text, one in found.items()
        ]

    raw = [
        (text, {**row, KNOWN: found[text]["known_crystals_on_target"]}) for text, row in rows("raw", "on_target")
    ]
    figures = [shares("Raw samples on target, by the gate surrogate", raw, names)]
    if plan["relax"]:
        figures.append(shares("Hits per relaxation", rows("relaxed", "hits_per_relaxation"), names))
        figures.append(shares("On target after relaxation", rows("relaxed", "on_target"), names))
    figures.append(shares("Raw samples that are known crystals", rows("raw", "known"), names))
    text = f"{plan['n']} samples and {plan['relax']} relaxations for each target, seed {plan['seed']}."
    return page("Targets benchmark", f"{text} {KNOWN}: {record['reference']}.", names, figures)


def against(
    title: str, labels: tuple[str, str], curves: Mapping[str, Sequence[tuple[float, float]]], names: Sequence[str]
) -> str:
    """Two numbers of the same kind against each other, with the line on which they are equal, as a figure.

    Args:
        title: heading.
        labels: of the horizontal and of the vertical number, with their unit.
        curves: points of each series by name, joined in their order.
        names: the series, in order.
    """
    values = [v for curve in curves.values() for point in curve for v in point]
    if not values:
        return ""
    low, high = min(0.0, *values), max(values)
    parts = [_two_axes(low, high, labels)]
    for place, name in enumerate(names):
        if curve := curves.get(name):
            points = [(_across(x, low, high, SIDE), _upward(y, low, high)) for x, y in curve]
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in points)
            kind = _kind(name, place)
            text = f'<title>{escape(name)}</title><path d="{path}" class="curve"/>{dots}'
            parts.append(f'<g class="{kind}">{text}</g>')
    return _figure(title, HEIGHT, parts)


def parity(title: str, label: str, table: Mapping[str, Any], place: int = 0) -> str:
    """Counts of crystals by true and predicted value as shaded cells, as a figure.

    Args:
        title: heading.
        label: the value, with its unit.
        table: `low` and `high` of both axes, and `counts`, a row for each true value, a word for each predicted.
        place: of the series, for its colour.
    """
    low, high = table["low"], table["high"]
    counts = [[int(n) for n in row.split()] for row in table["counts"]]
    most = max((n for row in counts for n in row), default=0)
    if not most:
        return ""
    step = (high - low) / len(counts)
    parts = []
    for i, row in enumerate(counts):
        x0, x1 = (_across(low + step * k, low, high, SIDE) for k in (i, i + 1))
        for j, n in enumerate(row):
            if n:
                y1, y0 = (_upward(low + step * k, low, high) for k in (j, j + 1))
                shade = 0.12 + 0.88 * math.sqrt(n / most)
                parts.append(
                    f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}" '
                    f'class="cell" fill-opacity="{shade:.2f}"><title>{n}</title></rect>'
                )
    cells = f'<g class="{_kind("", place)}">' + "".join(parts) + "</g>"
    return _figure(title, HEIGHT, [cells, _two_axes(low, high, (f"true {label}", f"predicted {label}"))])


def _two_axes(low: float, high: float, labels: tuple[str, str]) -> str:
    """Grid and numbers of two axes with one range, and the line on which both are equal."""
    parts = []
    for value in ticks(low, high):
        x, y = _across(value, low, high, SIDE), _upward(value, low, high)
        parts += [_line(x, TOP, x, HEIGHT - BOTTOM, "grid"), _line(SIDE, y, WIDTH - RIGHT, y, "grid")]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15:.1f}" class="tick middle">{value:g}</text>')
        parts.append(f'<text x="{SIDE - 8:g}" y="{y + 4:.1f}" text-anchor="end" class="tick">{value:g}</text>')
    parts.append(_line(SIDE, HEIGHT - BOTTOM, WIDTH - RIGHT, TOP, "equal"))
    middle = 0.5 * (SIDE + WIDTH - RIGHT)
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 3:.1f}" class="axis">{escape(labels[0])}</text>')
    across, up = 14.0, 0.5 * (TOP + HEIGHT - BOTTOM)
    turned = f'transform="rotate(-90 {across:g} {up:g})"'
    parts.append(f'<text x="{across:g}" y="{up:g}" {turned} class="axis">{escape(labels[1])}</text>')
    return "\n".join(parts)


def _upward(value: float, low: float, high: float) -> float:
    return _up((value - low) / (high - low))


def surrogates_page(record: Mapping[str, Any]) -> str:
    """The page of `benchmark surrogates`: coverage, error against spread, and parity of both moduli."""
    found: Mapping[str, Any] = record["plots"]
    names = list(found)
    words = {
        "bulk_modulus": "log10 of the bulk modulus (GPa)",
        "shear_modulus": "log10 of the shear modulus (GPa)",
    }
    figures = []
    for modulus, label in words.items():
        drawn = {name: plots[modulus] for name, plots in found.items() if modulus in plots}
        coverage = {name: list(zip(p["levels"], p["coverage"], strict=True)) for name, p in drawn.items()}
        spread = {name: list(zip(p["spread"], p["error"], strict=True)) for name, p in drawn.items()}
        axes = ("share promised by central intervals", "share of truths inside")
        figures.append(against(f"Coverage, {label}", axes, coverage, names))
        axes = ("predicted standard deviation", "root mean square error")
        figures.append(against(f"Error against spread in ten equal groups, {label}", axes, spread, names))
        figures += [
            parity(f"{name}, {label}", label, drawn[name]["parity"], place)
            for place, name in enumerate(names)
            if name in drawn
        ]
    text = f"{record['crystals']['test']:,} test crystals of the shipped surrogates; split {record['split']}."
    return page("Surrogates benchmark", text, names, figures)
