"""The data sheet of a trained surrogate: its notes and the figures of its test part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invdesign.properties import get_property
from invdesign.surrogates.model import Model
from invdesign.training.sheet import Sheet

WHAT = {
    "gate": "Predicts properties of a gene or unrelaxed crystal, to decide what is worth a relaxation.",
    "relaxed": "Predicts properties of a relaxed crystal, with features of SevenNet-l3i5 and the elastic response "
    "of SevenNet-0.",
}


SPLIT = """by chemical system (hash, seed 0, 80 / 10 / 10): trained on the first, intervals calibrated on the
second, figures from the third"""
LICENCE = """Materials Project (A. Jain et al., APL Mater. 1, 011002 (2013); M. de Jong et al., Sci. Data 2, 150009
(2015)), CC BY 4.0."""
LEGEND = """\
Errors of moduli are in log10 GPa, of the others in their unit. `stiff`: K > 250 GPa, G > 150 GPa.
`recall_top_1_in_3_percent`: share of the true top 1 % found in the predicted top 3 %. `near_hull`: crystals within
0.15 eV/atom of the hull, as in Matbench. `zero`: metals, and phases on the hull; `zero_auc` and `zero_brier` are
of their probability, and the miscalibration area of these two properties is that of the whole distribution with
its mass at zero."""


def surrogate_sheet(model: Model, script: str, data: Mapping[str, str] | str, commit: str) -> Sheet:
    """The sheet of a trained surrogate, from what stands in its notes.

    Args:
        model: with figures of its test part in `notes["test"]`.
        script: as in `Sheet`.
        data: as in `Sheet`.
        commit: as in `Sheet`.
    """
    notes, tests = model.notes, model.notes.get("test", {})
    about = [
        WHAT.get(model.stage, f"Surrogate of stage {model.stage}."),
        f"{len(model.members)} networks over symmetry orbits ({model.shape.layers} rounds of messages, width "
        f"{model.shape.width}) with crystal features; half precision.",
    ]
    more = [
        f"Crystals: {_listed(notes.get('crystals', {}))}. Training labels: "
        f"{_listed(notes.get('training labels', {}))}. Set aside: {_listed(notes.get('dropped', {}))}.",
        f"Settings: {_listed(notes.get('settings', {}))}.",
        *_widened(model),
    ]
    for kind, figures in tests.items():
        more += ["", f"## Test set, {kind} geometry", "", *_table(figures)]
    return Sheet(
        about="\n".join(about),
        script=script,
        data=data,
        split=SPLIT,
        seed=f"{notes.get('settings', {}).get('seed', 0)}, of the first network; the others follow",
        metrics=_errors(tests.get("exact", {})),
        commit=commit,
        licence=LICENCE,
        more="\n".join([*more, "", LEGEND]),
    )


def _errors(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Mean absolute errors on the test part in one line."""
    errors = [f"{name} {table['mae']:.4g}{_unit(name)}" for name, table in figures.items() if "mae" in table]
    return f"mean absolute error on the test part: {', '.join(errors)}" if errors else "none: no test part"


def _unit(name: str) -> str:
    prop = get_property(name)
    return f" log10 {prop.unit}" if prop.log else f" {prop.unit}"


def _widened(model: Model) -> list[str]:
    """For which crystals spreads are wider, and by how much."""
    kinds = {
        "structure types that training did not have (factors from the second part)": model.new_prototype,
        "formulas and space groups of no known phase (factors from such crystals of Alexandria, CC BY 4.0; "
        "J. Schmidt et al., in chemical systems of the second part)": model.new_phase,
    }
    return [
        f"Spreads are wider for {kind}: "
        + _listed({n: f"{f:.2f}" for n, f in zip(model.properties, factors, strict=True)})
        + "."
        for kind, factors in kinds.items()
        if factors is not None
    ]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in values.items())


def _table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A markdown table: a row for each figure, a column for each property."""
    names = list(figures)
    rows = list(dict.fromkeys(key for column in figures.values() for key in column))
    heads = [f"{n} ({'log10 ' if get_property(n).log else ''}{get_property(n).unit})" for n in names]
    lines = ["| | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(names)]
    for row in rows:
        cells = [f"{figures[n][row]:.4g}" if row in figures[n] else "" for n in names]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines
