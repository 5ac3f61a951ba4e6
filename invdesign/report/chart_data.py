"""Numbers behind the charts of a report: candidates, known materials, known crystals, axes and guide lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from invdesign.errors import InvdesignError
from invdesign.properties import Property
from invdesign.report import markup
from invdesign.report.candidates import Row, Run, interval, number, true
from invdesign.report.dictionary import INDEX
from invdesign.report.listing import columns, key_of
from invdesign.tables import read_json

CLASSES = {
    "metals": ("steel", "cast iron", "tool steel", "alloy", "metal"),
    "ceramics": ("ceramic", "superhard"),
    "cemented carbides": ("cemented carbide",),
    "glasses": ("glass",),
    "polymers": ("polymer",),
    "composites": ("composite",),
    "stone": ("stone",),
}
"""What an Ashby chart draws as one bubble: known materials by the words that their family ends with."""
PAIRS = (
    ("density", "youngs_modulus"),
    ("bulk_modulus", "shear_modulus"),
    ("vickers_hardness", "fracture_toughness"),
)
"""Axes of a chart where neither a component nor the targets name any."""
MASS_LAWS = ({"youngs_modulus": 1.0, "density": -1.0}, {"youngs_modulus": 0.5, "density": -1.0})
"""Indices of a light stiff tie and beam, drawn where no component brings its own."""
HARDNESSES = (10.0, 20.0, 40.0)
"""Vickers hardnesses (GPa) whose lines are drawn over bulk and shear modulus."""


def chart_data(run: Run) -> dict[str, Any]:
    """Everything that the charts draw, as JSON; see `assets/charts.js`."""
    axes = _axes(run)
    return {
        "axes": {name: _axis(prop) for name, prop in axes.items()},
        "candidates": [_candidate(place, row, axes, run) for place, row in enumerate(run.rows, start=1)],
        "materials": list(_materials(axes)),
        "cloud": _cloud(axes),
        "pairs": _pairs(run, axes),
        "laws": _laws(run),
        "lines": _lines(),
        "targets": {t.name: [t.low, t.high] for t in run.targets if t.name in axes},
        "parallel": _parallel(run, axes),
        "wide": bool(run.query.get("component")),
    }


def _axes(run: Run) -> dict[str, Property]:
    """Properties that two candidates or more have: those that a chart may show."""
    need = min(2, len(run.rows))
    counts = {n: sum(number(row.get(n)) is not None for row in run.rows) for n in run.properties}
    return {name: prop for name, prop in run.properties.items() if counts[name] >= need > 0}


def _axis(prop: Property) -> dict[str, Any]:
    label = prop.label[:1].upper() + prop.label[1:]
    return {"label": label, "symbol": prop.symbol, "unit": markup.plain_unit(prop.unit), "log": prop.log}


def _candidate(place: int, row: Row, axes: Mapping[str, Property], run: Run) -> dict[str, Any]:
    values = {}
    for name in axes:
        mean = number(row.get(name))
        if mean is not None:
            low, high = interval(row, name, axes[name].log)
            values[name] = [
                _short(v) for v in (low if low is not None else mean, mean, high if high is not None else mean)
            ]
    place_on_map = [number(row.get("map_x")), number(row.get("map_y"))]
    return {
        "key": key_of(place),
        "rank": place,
        "formula": str(row.get("formula", "")),
        "group": number(row.get("space_group")),
        "family": str(row.get("anion_class") or ""),
        "front": true(row.get("pareto")),
        "far": true(row.get("out_of_distribution")),
        "values": values,
        "indices": {
            k.removeprefix(INDEX): _short(v)
            for k in row
            if k.startswith(INDEX) and not k.endswith("_std") and (v := number(row.get(k))) is not None
        },
        "score": number(row.get("score")),
        "map": place_on_map if None not in place_on_map else None,
        "texts": {n: _text(n, row, axes[n]) for n in values},
    }


def _text(name: str, row: Row, prop: Property) -> str:
    std = number(row.get(f"{name}_std"))
    from invdesign.numbers import with_error

    return with_error(float(row[name]), math.nan if std is None else std, markup.plain_unit(prop.unit))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _materials(axes: Mapping[str, Property]) -> Iterator[dict[str, Any]]:
    """Known engineering materials with the ranges of what the charts may show."""
    from invdesign.selection.known_materials import known_materials

    for material in known_materials():
        values = {}
        for name, value in material.values.items():
            if name in axes and value.low is not None and value.high is not None:
                values[name] = [_short(value.low), _short(value.mean), _short(value.high)]
        if values:
            kind = next((k for k, words in CLASSES.items() if material.family.endswith(words)), "others")
            yield {"name": material.name, "family": material.family, "kind": kind, "values": values}


def _cloud(axes: Mapping[str, Property]) -> dict[str, list[float]]:
    """A sample of known crystals, by property; see `ashby_cloud.md`."""
    table: Mapping[str, list[float]] = read_json("ashby_cloud.json")["values"]
    return {name: values for name, values in table.items() if name in axes}


def _pairs(run: Run, axes: Mapping[str, Property]) -> list[list[str]]:
    """Two pairs of axes to begin with: of the component's indices, of the targets, the usual ones."""
    wanted = [*_index_pairs(run), *_target_pairs(run), *PAIRS]
    found = [list(pair) for pair in wanted if all(name in axes for name in pair)]
    distinct = [pair for k, pair in enumerate(found) if sorted(pair) not in [sorted(p) for p in found[:k]]]
    if not distinct and len(axes) > 1:
        distinct = [list(axes)[:2]]
    return distinct[:2]


def _index_pairs(run: Run) -> Iterator[tuple[str, str]]:
    """What each index trades off; an index of one quantity goes with the quantity of the next."""
    singles = []
    for law in _laws(run, usual=False):
        names = sorted(law["powers"], key=lambda name: law["powers"][name])
        if len(names) >= 2:
            yield names[0], names[-1]
        singles += names
    singles = list(dict.fromkeys(singles))
    yield from ((b, a) for a, b in itertools.pairwise(singles))


def _target_pairs(run: Run) -> Iterator[tuple[str, str]]:
    names = list(dict.fromkeys(t.name for t in run.targets))
    yield from itertools.pairwise(names)
    if len(names) == 1 and names[0] != "density":
        yield "density", names[0]


def _laws(run: Run, usual: bool = True) -> list[dict[str, Any]]:
    """Material indices as products of powers: the component's, heaviest first, else those of light stiffness."""
    from invdesign.selection.components import load_component

    try:
        indices = load_component(str(run.query.get("component"))).indices
    except InvdesignError:  # no component, or a file that is gone
        indices = ()
    ordered = sorted(indices, key=lambda index: -index.weight)
    laws = [{"name": i.name, "powers": dict(i.powers), "up": i.best > i.worst} for i in ordered]
    if laws or not usual:
        return laws
    return [{"name": _power_text(powers), "powers": powers, "up": True} for powers in MASS_LAWS]


def _power_text(powers: Mapping[str, float]) -> str:
    return "√E/ρ" if powers["youngs_modulus"] == 0.5 else "E/ρ"


def _lines() -> list[dict[str, Any]]:
    """Lines y = a x^b of equal hardness by Chen's formula H = 2 (G³/K²)^0.585 - 3.

    Chen et al., Intermetallics 19, 1275 (2011): G = ((H + 3)/2)^(1/1.755) K^(2/3).
    """
    return [
        {
            "x": "bulk_modulus",
            "y": "shear_modulus",
            "factor": ((hardness + 3.0) / 2.0) ** (1.0 / 1.755),
            "power": 2.0 / 3.0,
            "label": f"H_V {hardness:g} GPa (Chen)",
        }
        for hardness in HARDNESSES
    ]


def _parallel(run: Run, axes: Mapping[str, Property]) -> list[str]:
    """Axes of the parallel coordinates: the columns of the table that are properties, then what is left."""
    first = [column.key for column in columns(run) if column.key in axes]
    rest: Sequence[str] = [
        name for name in axes if name not in first and name not in ("formation_energy", "band_gap")
    ]
    return [*first, *rest][:8]
