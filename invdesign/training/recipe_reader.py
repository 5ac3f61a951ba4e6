"""Training and judging of the reader of recipes on paragraphs with labels by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.synthesis.formulas import parse_formula, precursor_key
from invdesign.synthesis.mentions import materials
from invdesign.synthesis.reader import ROLES, Tagger, features, operations, read_paragraph, roles
from invdesign.synthesis.recipe import Operation
from invdesign.training.rebuild import ROOT

PARAGRAPHS = ROOT / "tests" / "data" / "synthesis_paragraphs.yaml"
STRENGTH = 1.0
"""C of the regression."""
WITHIN = 0.5
"""Temperatures (°C) and hours that differ by no more are the same."""


@dataclass(frozen=True)
class Paragraph:
    """One paragraph with its labels.

    Attributes:
        text: as written.
        targets: formulas.
        precursors: formulas.
        steps: in order; quantities that are not stated are None or empty.
    """

    text: str
    targets: tuple[str, ...]
    precursors: tuple[str, ...]
    steps: tuple[Operation, ...]


@dataclass(frozen=True)
class Score:
    """How much of what is labelled was read.

    Attributes:
        right: read and labelled.
        read: everything that was read.
        labelled: everything that is labelled.
    """

    right: int
    read: int
    labelled: int

    @property
    def precision(self) -> float:
        """Share of what was read that is right; NaN if nothing was read."""
        return self.right / self.read if self.read else float("nan")

    @property
    def recall(self) -> float:
        """Share of what is labelled that was read; NaN if nothing is."""
        return self.right / self.labelled if self.labelled else float("nan")


def load_paragraphs(path: Path = PARAGRAPHS) -> list[Paragraph]:
    """The paragraphs with their labels, in the order of the file."""
    import yaml

    return [_paragraph(each) for each in yaml.safe_load(path.read_text(encoding="utf-8"))]


def _paragraph(given: Mapping[str, Any]) -> Paragraph:
    steps = tuple(_step(text.split()) for text in given["steps"])
    return Paragraph(given["text"], tuple(given["targets"]), tuple(map(str, given["precursors"])), steps)


def _step(words: Sequence[str]) -> Operation:
    kind, celsius, hours, gas = words
    return Operation(
        kind, "", None if celsius == "-" else float(celsius), None if hours == "-" else float(hours),
        "" if gas == "-" else gas,
    )  # fmt: skip


def parts(paragraphs: Sequence[Paragraph]) -> tuple[list[Paragraph], list[Paragraph]]:
    """Those to learn from, and those held out: every second one."""
    return list(paragraphs[0::2]), list(paragraphs[1::2])


def learnt(paragraphs: Sequence[Paragraph]) -> Tagger:
    """The tagger of some paragraphs."""
    from sklearn.linear_model import LogisticRegression

    rows, labels = [], []
    for each in paragraphs:
        found = materials(each.text)
        rows.append(features(each.text, found))
        labels += [_role(each, material.formula) for material in found]
    model = LogisticRegression(C=STRENGTH, max_iter=5000).fit(np.concatenate(rows), labels)
    order = [list(model.classes_).index(role) for role in ROLES]
    return Tagger(model.coef_[order], model.intercept_[order])


def _role(paragraph: Paragraph, formula: str) -> str:
    key = precursor_key(parse_formula(formula))
    if key in _keys(paragraph.targets):
        return "target"
    return "precursor" if key in _keys(paragraph.precursors) else "neither"


def _keys(formulas: Sequence[str]) -> set[Any]:
    return {precursor_key(parse_formula(formula)) for formula in formulas}


def judged(paragraphs: Sequence[Paragraph], tagger: Tagger) -> dict[str, Score]:
    """Precision and recall by kind of entity, over all paragraphs together.

    Targets and precursors count once a paragraph, as substances; steps by kind and order of appearance;
    temperatures, hours and gases with the kind of their step.
    """
    total: dict[str, list[int]] = {}
    for each in paragraphs:
        for kind, (found, labelled) in _compared(each, tagger).items():
            right = sum((found & labelled).values())
            counts = total.setdefault(kind, [0, 0, 0])
            for place, number in enumerate((right, sum(found.values()), sum(labelled.values()))):
                counts[place] += number
    return {kind: Score(*counts) for kind, counts in total.items()}


def _compared(each: Paragraph, tagger: Tagger) -> dict[str, tuple[Counter[Any], Counter[Any]]]:
    found = materials(each.text)
    told = roles(each.text, found, tagger)
    recipes = read_paragraph(each.text, tagger=tagger)
    named = {m.formula for m, role in zip(found, told, strict=True) if role == "target"}
    precursors = recipes[0].precursors if recipes else ()
    steps = operations(each.text)
    compared: dict[str, tuple[Counter[Any], Counter[Any]]] = {
        "target": (Counter(_keys(sorted(named))), Counter(_keys(each.targets))),
        "precursor": (Counter(_keys(precursors)), Counter(_keys(each.precursors))),
        "step": (Counter(s.kind for s in steps), Counter(s.kind for s in each.steps)),
    }
    for kind, of in (("temperature", "temperature"), ("duration", "hours"), ("gas", "atmosphere")):
        compared[kind] = (_quantities(steps, of), _quantities(each.steps, of))
    return compared


def _quantities(steps: Sequence[Operation], name: str) -> Counter[Any]:
    found = [(s.kind, getattr(s, name)) for s in steps if getattr(s, name) not in (None, "")]
    return Counter((kind, value if isinstance(value, str) else round(value / WITHIN / 2)
                    if name == "temperature" else round(value, 2)) for kind, value in found)  # fmt: skip
