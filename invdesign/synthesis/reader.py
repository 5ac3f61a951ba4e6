"""Recipes from a user's own text: rules find what a paragraph names, a small trained tagger says what it is for.

A multinomial logistic regression gives every material of a paragraph its role from the words around it and from
which elements it shares with the others: target, precursor, or neither (crucible, medium, flux, gas). Weights are
learnt by `scripts/train_recipe_reader.py` from paragraphs that were written for it. Steps get their quantities by
rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.errors import InputError
from invdesign.synthesis.formulas import key_of, parse_formula, precursor_key, sources
from invdesign.synthesis.mentions import Event, Material, events, materials, sentences
from invdesign.synthesis.recipe import LEAST_FIRING, MOST_FIRING, Operation, Recipe, firing
from invdesign.tables import read_json

TABLE = "recipe_reader.json"
ROLES = ("target", "precursor", "neither")
HOT = 250.0
"""A temperature (°C) without a step from here on is a heating step."""
_BEFORE, _AFTER = 45, 30
"""Characters on either side that the tagger looks at."""
_CUES = {
    "powder_after": ("after", r"^s?\s*\(?[^.;]{0,14}powder"),
    "made_after": ("after", r"^[^.;,]{0,22}\b(?:was|were|is|ceramics|nanoparticles)\b[^.;]{0,20}\b(?:prepared|"
                            r"made|synthesi[sz]ed|obtained|produced|fabricated|grown|formed|by)|^ formed"),
    "then_after": ("after", r"^ was (?:then|finally)"),
    "flux_after": ("after", r"^ (?:served|as flux|flux)|^ powders? bed"),
    "from_before": ("before", r"\b(?:from|using|between|dissolv\w+|reacting|mixed|weighed|reduction of|mixture of)"
                              r"\b[^.;]*$"),
    "with_before": ("before", r"\bwith\b[^.;]{0,12}$"),
    "goal_before": ("before", r"(?:goal|target|objective|want|trying|for|to give|gave|prepare|prepared|make|form|"
                              r"powders? of|samples? of|phase|pure|polycrystalline|obtain)\W{0,4}(?:was )?$"),
    "list_before": ("before", r"(?:,|\band|\+|:)\s*(?:the )?$"),
    "in_before": ("before", r"\b(?:in|into|under|flowing|of)\s+(?:an? )?$"),
    "excess_before": ("before", r"excess of $|not enough|% $"),
}  # fmt: skip
NAMES = (*_CUES, "first", "place", "elements", "covered", "covers", "element", "repeated", "named")


@dataclass(frozen=True, eq=False)
class Tagger:
    """The trained regression.

    Attributes:
        weights: (roles, features).
        bias: (roles,).
    """

    weights: FloatArray
    bias: FloatArray

    def chances(self, rows: FloatArray) -> FloatArray:
        """(n, roles) probability of each role."""
        logits = rows @ self.weights.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


@cache
def load_tagger() -> Tagger:
    """The shipped weights.

    Raises:
        ReferenceMissingError: if they are not there or cannot be read.
    """
    found = read_json(TABLE)
    return Tagger(np.array(found["weights"]), np.array(found["bias"]))


def features(text: str, found: Sequence[Material]) -> FloatArray:
    """(n, `len(NAMES)`) what the tagger reads of each material of a text."""
    held = [frozenset(parse_formula(each.formula)) for each in found]
    rows = [_row(text, found, held, k) for k in range(len(found))]
    return np.array(rows, dtype=np.float64).reshape(-1, len(NAMES))


def _row(text: str, found: Sequence[Material], held: Sequence[frozenset[str]], k: int) -> list[float]:
    each, mine = found[k], held[k]
    sides = {
        "before": text[max(0, each.start - _BEFORE) : each.start],
        "after": text[each.end : each.end + _AFTER],
    }
    cues = [float(bool(re.search(pattern, sides[side], re.I))) for side, pattern in _CUES.values()]
    smaller = [
        other for other in held if other < mine or (other & mine and len(other) <= len(mine) and other != mine)
    ]
    brought: frozenset[str] = frozenset().union(*smaller) if smaller else frozenset()
    needed = sources(dict.fromkeys(mine, 1.0))
    larger = any(sources(dict.fromkeys(mine, 1.0)) < sources(dict.fromkeys(other, 1.0)) for other in held)
    return [
        *cues,
        float(k == 0),
        each.start / max(len(text), 1),
        len(mine) / max(len(other) for other in held),
        float(len(needed) > 1 and needed <= brought),
        float(larger),
        float(len(mine) == 1),
        float(sum(other == mine for other in held) > 1),
        float(each.named),
    ]


def roles(text: str, found: Sequence[Material], tagger: Tagger | None = None) -> list[str]:
    """The role of each material of a text."""
    if not found:
        return []
    chances = (tagger or load_tagger()).chances(features(text, found))
    return [ROLES[k] for k in chances.argmax(axis=1)]


def read_paragraph(text: str, source: str = "", tagger: Tagger | None = None) -> list[Recipe]:
    """Recipes of a paragraph, one for each target; none if it names no target or no precursor.

    Args:
        text: the paragraph.
        source: the user's own name of it.
        tagger: another than the shipped one.

    Raises:
        ReferenceMissingError: if the weights of the tagger are missing.
    """
    found = materials(text)
    told = roles(text, found, tagger)
    targets = _distinct([m.formula for m, role in zip(found, told, strict=True) if role == "target"])
    named = _distinct([m.formula for m, role in zip(found, told, strict=True) if role == "precursor"])
    precursors = tuple(sorted(formula for formula in named if formula not in targets))
    steps = operations(text)
    hottest = firing(steps) or Operation("heating")
    method = (
        "sol-gel" if re.search(r"\bsol\b|\bgel\b|sol-gel|\bcitric\b|\bcitrate\b", text, re.I) else "solid-state"
    )
    return [
        Recipe(target, precursors, method, hottest.temperature, hottest.hours, hottest.atmosphere, source, steps)
        for target in targets
        if precursors
    ]


def _distinct(formulas: Sequence[str]) -> tuple[str, ...]:
    """Each substance once, as it is written first."""
    return tuple({precursor_key(parse_formula(formula)): formula for formula in reversed(formulas)}.values())[::-1]


def operations(text: str) -> tuple[Operation, ...]:
    """The steps of a paragraph in order, each with the quantities of its sentence that are nearest to it."""
    found: list[Operation] = []
    for _, sentence in sentences(text):
        found += _of_sentence(events(sentence), last=found[-1] if found else None)
    return tuple(found)


def _of_sentence(told: Sequence[Event], last: Operation | None) -> list[Operation]:
    quantities = ("temperature", "hours", "gas")
    steps: list[Operation] = []
    waiting: dict[str, Event] = {}
    for each in told:
        if each.kind not in quantities:
            steps.append(Operation(each.kind, each.word))
            if waiting:
                steps[-1] = _filled(steps[-1], waiting)
                waiting = {}
        elif each.kind == "temperature" and (
            not steps or steps[-1].temperature is not None or _cold(steps[-1], each)
        ):
            if not steps and any(other.kind not in quantities and other.start > each.start for other in told):
                waiting[each.kind] = each
            elif each.value >= HOT:
                steps.append(_filled(Operation("heating"), {each.kind: each} | waiting))
                waiting = {}
        elif not steps:
            waiting[each.kind] = each
        else:
            steps[_place(steps, each)] = _filled(steps[_place(steps, each)], {each.kind: each})
    if waiting and "temperature" in waiting and not steps:
        steps.append(_filled(Operation("heating"), waiting))
    return steps


def _cold(step: Operation, each: Event) -> bool:
    """Whether a step is none that is done at such a temperature."""
    return step.kind in ("mixing", "grinding", "shaping", "cooling", "washing", "dissolving") and each.value >= HOT


def _place(steps: Sequence[Operation], each: Event) -> int:
    """The step that a quantity belongs to: a gas to the last heating step, others to the last step."""
    if each.kind == "gas":
        hot = [k for k, step in enumerate(steps) if step.kind == "heating"]
        return hot[-1] if hot else len(steps) - 1
    return len(steps) - 1


def _filled(step: Operation, told: Mapping[str, Event]) -> Operation:
    """A step with quantities that it does not have yet; gases of steps that are no heating are dropped."""
    for kind, each in told.items():
        if kind == "temperature" and step.temperature is None:
            hot = step.kind != "heating" or LEAST_FIRING <= each.value <= MOST_FIRING
            step = replace(step, temperature=each.value) if hot else step
        elif kind == "hours" and step.hours is None:
            step = replace(step, hours=round(each.value, 3))
        elif kind == "gas" and step.kind == "heating" and step.atmosphere in ("", "argon", "nitrogen"):
            better = each.word == "hydrogen" or not step.atmosphere
            step = replace(step, atmosphere=each.word) if better else step
    return step


def read_text(text: str, source: str) -> tuple[list[Recipe], list[str]]:
    """Recipes of a text whose paragraphs are parted by empty lines, and why others gave none.

    Args:
        text: the text.
        source: its name; paragraphs are numbered behind it.
    """
    recipes: list[Recipe] = []
    without: list[str] = []
    parts = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    for number, part in enumerate(parts, 1):
        found = read_paragraph(" ".join(part.split()), f"{source}, paragraph {number}")
        recipes += found
        if not found:
            without.append(f"{source}, paragraph {number}: no target with its precursors is named")
    return recipes, without


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """A recipe in plain types."""
    steps = [{k: v for k, v in vars(step).items() if v not in (None, "")} for step in recipe.operations]
    return {
        "target": recipe.target, "precursors": list(recipe.precursors), "method": recipe.method,
        "temperature": recipe.temperature, "hours": recipe.hours, "atmosphere": recipe.atmosphere,
        "source": recipe.source, "operations": steps,
    }  # fmt: skip


def of_dict(given: object) -> Recipe:
    """A recipe from what `to_dict` wrote, or a user by hand: target and precursors are needed.

    Raises:
        InputError: if something is missing or cannot be read.
    """
    if not isinstance(given, Mapping) or not given.get("target") or not isinstance(given.get("precursors"), list):
        raise InputError("own recipe", str(given)[:80], "an object with a target and a list of precursors")
    for formula in [given["target"], *given["precursors"]]:
        key_of(parse_formula(str(formula)))
    steps = tuple(Operation(**dict(step)) for step in given.get("operations") or ())
    return Recipe(
        str(given["target"]), tuple(map(str, given["precursors"])), str(given.get("method") or "solid-state"),
        _number(given.get("temperature")), _number(given.get("hours")), str(given.get("atmosphere") or ""),
        str(given.get("source") or "own recipe"), steps,
    )  # fmt: skip


def _number(value: object) -> float | None:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
