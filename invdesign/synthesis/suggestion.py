"""How a compound might be made: sets of precursors with reactions, conditions, and the nearest known recipes."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.synthesis.conditions import Conditions, conditions, shares
from invdesign.synthesis.formulas import Amounts, Key, key_of, parse_formula, sources, written
from invdesign.synthesis.precursors import PrecursorModel
from invdesign.synthesis.published import Recipes, load_recipes
from invdesign.synthesis.reaction import Objection, equation, objection
from invdesign.synthesis.recipe import METHODS, Recipe
from invdesign.synthesis.synthesizability import Synthesizability, score_formula

REDUCING = "oxygen has to leave: needs a reducing agent"
CITED = 3
"""Nearest recipes that are named."""
FAR = 3.0
"""Distance to the nearest recipe beyond which there is no evidence: see docs/methods/recipes.md."""


@dataclass(frozen=True)
class Route:
    """One set of precursors.

    Attributes:
        precursors: formulas.
        share: probability among the sets that were put together.
        reaction: balanced, with the gases taken up and released; empty if the set cannot be balanced.
        note: what the reaction needs beyond heat; empty if nothing.
    """

    precursors: tuple[str, ...]
    share: float
    reaction: str
    note: str = ""


@dataclass(frozen=True)
class Neighbour:
    """A published recipe near the target.

    Attributes:
        recipe: the record, with its DOI.
        distance: of the compositions; 0 is the same compound.
    """

    recipe: Recipe
    distance: float


@dataclass(frozen=True)
class Synthesis:
    """How a compound might be made.

    Attributes:
        formula: of the compound.
        known: number of published recipes of this very compound.
        method: the one that the rest is for.
        methods: method to its share among the recipes near the compound, largest first.
        routes: sets of precursors, likeliest first.
        conditions: of the firing; None without evidence.
        nearest: published recipes of different compounds or of this one, nearest first.
        no_evidence: why nothing is suggested; empty if something is.
        score: of synthesizability, of the composition; None where its table is missing.
    """

    formula: str
    known: int
    method: str
    methods: tuple[tuple[str, float], ...]
    routes: tuple[Route, ...]
    conditions: Conditions | None
    nearest: tuple[Neighbour, ...]
    no_evidence: str = ""
    score: Synthesizability | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record in plain types, without the numbers that nobody stated."""
        found = asdict(self)
        found["nearest"] = [
            {"formula": n.recipe.target, "precursors": list(n.recipe.precursors), "method": n.recipe.method,
             "temperature": n.recipe.temperature, "doi": n.recipe.source, "distance": round(n.distance, 3)}
            for n in self.nearest
        ]  # fmt: skip
        found["methods"] = _rounded(self.methods)
        if self.score is not None:
            values = asdict(self.score)
            found["score"] = {k: _number(v) if isinstance(v, float) else v for k, v in values.items()}
        if self.conditions is not None:
            values = found["conditions"] | {"atmospheres": _rounded(self.conditions.atmospheres)}
            found["conditions"] = {k: _number(v) if isinstance(v, float) else v for k, v in values.items()}
        return found


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def _rounded(shares: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Shares of more than half a per cent, to three decimals."""
    return {name: round(share, 3) for name, share in shares if share > 0.005}


@cache
def published_model() -> PrecursorModel:
    """The model of the shipped recipes."""
    return PrecursorModel(load_recipes())


def suggest(
    target: str | Amounts, method: str | None = None, k: int = 5, model: PrecursorModel | None = None
) -> Synthesis:
    """How a compound might be made, by published recipes.

    Args:
        target: formula, or amounts of the elements.
        method: `solid-state` or `sol-gel`; None: what the recipes near it use most.
        k: number of sets of precursors.
        model: learnt from other recipes than the shipped ones.

    Raises:
        InputError: if the formula cannot be read, or there is no such method.
        ReferenceMissingError: if the table of recipes is missing.
    """
    amounts: Amounts = parse_formula(target) if isinstance(target, str) else target
    if method is not None and method not in METHODS:
        raise InputError("method", method, METHODS)
    model = model or published_model()
    formula = target if isinstance(target, str) else written(amounts)
    distances = model.distances(amounts)
    methods = shares(model.recipes.methods, distances)
    chosen = method or methods[0][0]
    near = _neighbours(model.recipes, distances)
    known = sum(1 for n in np.flatnonzero(distances < 0.1) if key_of(model.recipes.amounts[n]) == key_of(amounts))
    reason, score = _no_evidence(model, amounts, distances), _score(amounts)
    if reason:
        return Synthesis(formula, known, chosen, methods, (), None, near, reason, score)
    routes = tuple(
        _route(found.precursors, found.share, formula, amounts) for found in model.suggest(amounts, chosen, k)
    )
    found = conditions(model.recipes, amounts, chosen, distances)
    return Synthesis(formula, known, chosen, methods, routes, found, near, "", score)


def _score(amounts: Amounts) -> Synthesizability | None:
    """The score of the composition; None where its table is missing."""
    try:
        return score_formula(amounts)
    except ReferenceMissingError:
        return None


def _no_evidence(model: PrecursorModel, amounts: Amounts, distances: FloatArray) -> str:
    """Why the recipes say nothing of a compound; empty if they do."""
    wanted = sources(amounts)
    if not wanted:
        return "it is made of gases alone"
    missing = sorted(wanted - set(model.uses))
    if missing:
        return f"no published recipe brings {', '.join(missing)}"
    if float(distances.min()) > FAR:
        return "no published recipe makes a compound of similar composition"
    return ""


def _route(precursors: tuple[str, ...], share: float, formula: str, amounts: Amounts) -> Route:
    parts = {name: parse_formula(name) for name in precursors}
    reaction = equation(parts, formula, amounts)
    note = REDUCING if objection(list(parts.values()), amounts) is Objection.REDUCTION else ""
    return Route(precursors, round(share, 4), reaction, note)


def _neighbours(recipes: Recipes, distances: FloatArray) -> tuple[Neighbour, ...]:
    """The nearest recipes, one of each compound, those that state a temperature first."""
    found: dict[Key, Neighbour] = {}
    unstated = np.isnan(recipes.temperatures)
    for row in np.lexsort((unstated, np.round(distances, 6))):
        key = key_of(recipes.amounts[row])
        if key not in found:
            found[key] = Neighbour(recipes.rows[int(row)], float(distances[row]))
        if len(found) == CITED:
            break
    return tuple(found.values())
