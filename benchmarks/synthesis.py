"""Recipes of compounds whose chemical system was left out: precursors, firing temperature, gas.

All chemical systems of the published recipes are put in a random order. The first 400 served to choose the
constants of the estimates. Of each of `-n` others one recipe is drawn, and everything is learnt from the
recipes of no such system. The method of the recipe is given. A set of precursors counts if it is exactly that
of the recipe. A second round also leaves out every paper that a drawn recipe comes from. Baselines: the most
frequent precursors of each element, of the same method; the mean temperature of the method; air.

    python benchmarks/synthesis.py [-n 500] [--seed 0] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.benchmarking.metrics import rate
from invdesign.benchmarking.run import write_record
from invdesign.crystal import FloatArray
from invdesign.synthesis.conditions import conditions
from invdesign.synthesis.precursors import PrecursorModel
from invdesign.synthesis.published import TABLE, Recipes, load_recipes
from invdesign.synthesis.recipe import Recipe
from invdesign.synthesis.suggestion import FAR

TUNING = 400
"""Chemical systems by which constants were chosen."""
MOST = 10
"""Sets that are looked at."""
WITHIN = 150.0
"""Error of the firing temperature that counts as right, °C."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=500, help="targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("synthesis.json"))
    given = parser.parse_args()
    published = load_recipes()
    drawn = draw(published, given.n, given.seed)
    systems = {recipe.system for recipe in drawn}
    apart = [r for r, system in zip(published.rows, published.systems, strict=True) if system not in systems]
    papers = {recipe.source for recipe in drawn}
    figures = {
        "targets": len(drawn),
        "systems": judged(drawn, apart),
        "systems_and_papers": judged(drawn, [r for r in apart if r.source not in papers]),
    }
    write_record(given.out, figures, given.seed, [TABLE])
    print(figures)


def draw(published: Recipes, n: int, seed: int) -> list[Recipe]:
    """One recipe of each of some chemical systems, after those of the tuning."""
    random = np.random.default_rng(seed)
    systems = np.random.default_rng(0).permutation(np.unique(published.systems))
    chosen = random.permutation(systems[TUNING:])[:n]
    members: dict[str, list[int]] = {system: [] for system in chosen}
    for number, system in enumerate(published.systems):
        if system in members:
            members[system].append(number)
    return [published.rows[int(random.choice(members[system]))] for system in chosen]


def judged(drawn: Sequence[Recipe], learnt: Sequence[Recipe]) -> dict[str, Any]:
    """Figures of some targets by what was learnt from some recipes."""
    model = PrecursorModel(Recipes(tuple(learnt)))
    rows = [row(recipe, model) for recipe in drawn]
    fired = [r for r in rows if not math.isnan(r["temperature_error"])]
    gases = [r for r in rows if r["gas"] is not None]
    near = np.array([r["nearest"] for r in rows])
    return {
        "recipes": len(learnt),
        "precursors": places([r["place"] for r in rows]),
        "precursors_by_frequency": places([r["frequency"] for r in rows]),
        "precursors_by_distance": {
            f"{name}": places([r["place"] for r in rows if low <= r["nearest"] < high])
            for name, low, high in (("below 0.5", 0.0, 0.5), ("0.5 to 1", 0.5, 1.0), ("1 to 2", 1.0, 2.0),
                                    ("2 to far", 2.0, FAR), ("far", FAR, math.inf))
        },
        "nearest_percentiles": {str(q): float(np.percentile(near, q)) for q in (50, 90, 95, 99)},
        "temperature": errors([r["temperature_error"] for r in fired]),
        "temperature_mean_of_method": errors([r["mean_error"] for r in fired]),
        "quartiles_hold": share(r["inside"] for r in fired),
        "gas": share(r["gas"] for r in gases),
        "gas_always_air": share(r["air"] for r in gases),
    }  # fmt: skip


def row(recipe: Recipe, model: PrecursorModel) -> dict[str, Any]:
    """What is right and wrong for one target; places are from 1, 0 where the set is not among the suggestions."""
    distances = model.distances(recipe.amounts)
    frequent = frequencies(recipe, model)
    whole = set(frequent) == recipe.sources
    found = conditions(model.recipes, recipe.amounts, recipe.method, distances)
    same = model.recipes.temperatures[model.recipes.methods == recipe.method]
    true = math.nan if recipe.temperature is None else recipe.temperature
    return {
        "place": place(recipe, model.suggest(recipe.amounts, recipe.method, MOST)),
        "frequency": place(recipe, model.ranked(frequent, coupling=0.0)) if whole else 0,
        "nearest": float(distances.min()),
        "temperature_error": found.temperature - true,
        "mean_error": float(np.nanmean(same)) - true,
        "inside": bool(found.low <= true <= found.high),
        "gas": found.atmospheres[0][0] == recipe.atmosphere if recipe.atmosphere else None,
        "air": recipe.atmosphere == "air",
    }


def frequencies(recipe: Recipe, model: PrecursorModel) -> dict[str, FloatArray]:
    """The baseline: how often each precursor brings an element in recipes of the method, whatever the target."""
    found = {}
    for name in sorted(recipe.sources & set(model.uses)):
        use = model.uses[name]
        same = model.recipes.methods[use.recipes[use.row]] == recipe.method
        counts = np.bincount(use.precursor, use.share * same, len(model.recipes.vocabulary))
        found[name] = counts / max(counts.sum(), 1.0)
    return found


def share(flags: Iterable[bool]) -> dict[str, float]:
    """A share with its interval."""
    return rate(flags).to_dict()


def place(recipe: Recipe, suggested: Sequence[Any]) -> int:
    """Place of the set of a recipe among those suggested, from 1; 0 if it is not there."""
    true = set(recipe.precursors)
    return next((i for i, found in enumerate(suggested, 1) if set(found.precursors) == true), 0)


def places(found: Sequence[int]) -> dict[str, Any]:
    """Shares of the targets whose set comes first, and among the first three, five and ten."""
    return {f"first_{k}": share(0 < p <= k for p in found) for k in (1, 3, 5, MOST)}


def errors(found: Sequence[float]) -> dict[str, Any]:
    """Mean and median absolute error, °C, and the share within `WITHIN`."""
    sizes = np.abs(np.array(found))
    return {
        "mean": float(sizes.mean()),
        "median": float(np.median(sizes)),
        "within_150": share(sizes <= WITHIN),
        "n": len(sizes),
    }


if __name__ == "__main__":
    main()
