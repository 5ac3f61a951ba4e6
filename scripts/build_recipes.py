"""Build the table of published recipes.

    python scripts/build_recipes.py --data DIR [--out FOLDER]

DIR holds `synthesis_solid_state.json.xz` and `synthesis_sol_gel.json.xz` (text-mined recipes). Writes
`recipes.parquet` and a data sheet beside it. Deterministic; about a minute on one core.
"""

from __future__ import annotations

import json
import lzma
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from invdesign.synthesis.cleaning import REASONS, clean
from invdesign.synthesis.published import COLUMNS, TABLE
from invdesign.synthesis.recipe import Recipe
from invdesign.training.rebuild import begin, options, run, sources
from invdesign.training.sheet import Sheet

FILES = {"solid-state": "synthesis_solid_state.json.xz", "sol-gel": "synthesis_sol_gel.json.xz"}


def main() -> None:
    given = begin(options(__doc__))
    data = sources(given, *FILES.values())
    warnings.simplefilter("ignore")  # pymatgen warns of every electronegativity that it lacks
    recipes: list[Recipe] = []
    excluded = dict.fromkeys(REASONS, 0)
    for method, name in FILES.items():
        cleaned = clean(entries(given.data / name), method)
        recipes += cleaned.recipes
        for reason, count in cleaned.excluded.items():
            excluded[reason] += count
    write(recipes, given.out / TABLE)
    metrics = figures(recipes)
    Sheet(
        about=ABOUT,
        script="python scripts/build_recipes.py --data DIR",
        data=data,
        split="nothing is held out; benchmarks/synthesis.py leaves out chemical systems itself",
        seed="none: nothing is random",
        metrics=metrics,
        commit=given.commit,
        licence="O. Kononova et al., Sci. Data 6, 203 (2019), CC BY 4.0.",
        more="\n".join(["Left out:", "", *(f"- {n:,}: {REASONS[why]}" for why, n in excluded.items())]),
    ).write(given.out / TABLE)
    print(f"{given.out / TABLE}: {metrics}")


def entries(path: Path) -> list[dict[str, Any]]:
    """The entries of one published file."""
    with lzma.open(path, "rt", encoding="utf-8") as stream:
        whole = json.load(stream)
    found: list[dict[str, Any]] = whole["reactions"] if isinstance(whole, dict) else whole
    return found


def write(recipes: Sequence[Recipe], path: Path) -> None:
    """Write the table, in an order that compresses well and does not depend on that of the source."""
    rows = sorted(recipes, key=lambda r: (r.target, r.method, r.source, r.precursors))
    numbers = {name: pa.array([getattr(r, name) for r in rows], pa.float32()) for name in ("temperature", "hours")}
    texts = {name: pa.array([getattr(r, name) for r in rows], pa.string())
             for name in ("target", "method", "atmosphere", "source")}  # fmt: skip
    sets = {"precursors": pa.array([" ".join(r.precursors) for r in rows], pa.string())}
    columns = numbers | texts | sets
    pq.write_table(
        pa.table({name: columns[name] for name in COLUMNS}), path, compression="zstd", compression_level=19
    )


def figures(recipes: Sequence[Recipe]) -> str:
    """How many recipes state what."""
    compounds = len({r.key for r in recipes})
    systems = len({r.system for r in recipes})
    fired = np.array([r.temperature for r in recipes if r.temperature is not None])
    stated = sum(1 for r in recipes if r.atmosphere)
    return (
        f"{len(recipes):,} recipes of {compounds:,} compounds in {systems:,} chemical systems; "
        f"{len(fired):,} state a firing temperature (median {np.median(fired):.0f} °C), {stated:,} a gas"
    )


ABOUT = """\
Published recipes, one a row: `target` (formula of what was made), `precursors` (formulas, joined by spaces,
without water), `method` (`solid-state` or `sol-gel`), `temperature` (firing, °C: the highest of any heating
step), `hours` (of that step), `atmosphere` (its gas), `source` (DOI). Numbers that are not stated are
empty. The source names no year.

Text-mined by O. Kononova et al. from articles; `invdesign.synthesis.cleaning` says what is left out and why. Of a
series with a variable amount, the middle member is taken. Nitrates and acetates of a metal count as one precursor
each."""

if __name__ == "__main__":
    run(main)
