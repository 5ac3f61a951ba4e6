"""Build the tables of formulas that others have computed or made.

    python scripts/build_formulas.py --data DIR [--out FOLDER]

DIR holds `oqmd_formulas.parquet` (reduced formulas that the OQMD has computed) and `synthesis_solid_state.json.xz`
and `synthesis_sol_gel.json.xz` (text-mined recipes). Writes `computed_formulas.parquet` and
`synthesised_formulas.parquet` with a data sheet beside each. Deterministic; about a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import lzma
import warnings
from collections.abc import Iterator
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pymatgen.core import Composition

from invdesign.chemistry.composition import reduced_formula
from invdesign.elements import SYMBOLS, atomic_number
from invdesign.reference.formulas import COMPUTED_TABLE, SYNTHESISED_TABLE
from invdesign.training.rebuild import begin, options, run, sources
from invdesign.training.sheet import Sheet

OQMD = "oqmd_formulas.parquet"
RECIPES = ("synthesis_solid_state.json.xz", "synthesis_sol_gel.json.xz")
DENOMINATOR = 24
"""Amounts are read as fractions with denominators up to this."""
MOST_ATOMS = 200
"""Formulas with more atoms than this are solid solutions of odd composition, and left out."""


def main() -> None:
    given = begin(options(__doc__))
    data = sources(given, OQMD, *RECIPES)
    warnings.simplefilter("ignore")  # pymatgen warns of every electronegativity that it lacks
    about, metrics = build_computed(given.data / OQMD, given.out)
    sheet(given.out / COMPUTED_TABLE, about, {OQMD: data[OQMD]}, metrics, given)
    about, metrics = build_synthesised([given.data / name for name in RECIPES], given.out)
    sheet(given.out / SYNTHESISED_TABLE, about, {name: data[name] for name in RECIPES}, metrics, given)


def build_computed(source: Path, out: Path) -> tuple[str, str]:
    """Write the OQMD's formulas in this package's notation.

    Returns:
        what the table holds, and figures.
    """
    given = pd.read_parquet(source, columns=["reduced_formula"]).reduced_formula
    found = sorted({formula for text in given if (formula := integer_formula(text)) is not None})
    write(pa.table({"formula": found}), out / COMPUTED_TABLE)
    size = (out / COMPUTED_TABLE).stat().st_size / 1e6
    return COMPUTED.format(n=len(found), size=size), f"{len(found):,} formulas of {len(given):,} in the source"


def build_synthesised(files: list[Path], out: Path) -> tuple[str, str]:
    """Write every target of a recipe that is a compound of whole numbers of atoms.

    Returns:
        what the table holds, and figures.
    """
    recipes: dict[str, int] = {}
    first: dict[str, str] = {}
    given: set[str] = set()
    n_recipes = 0
    for reaction in reactions(files):
        n_recipes += 1
        given |= set(reaction["targets_string"])
        for formula in {f for text in reaction["targets_string"] if (f := integer_formula(text)) is not None}:
            recipes[formula] = recipes.get(formula, 0) + 1
            first.setdefault(formula, reaction["doi"])
    found = sorted(recipes)
    table = pa.table(
        {
            "formula": found,
            "recipes": pa.array([recipes[f] for f in found], pa.uint16()),
            "doi": [first[f] for f in found],
        }
    )
    write(table, out / SYNTHESISED_TABLE)
    size = (out / SYNTHESISED_TABLE).stat().st_size / 1e6
    about = SYNTHESISED.format(n=len(found), size=size, most=MOST_ATOMS, denominator=DENOMINATOR)
    return about, f"{len(found):,} formulas, of {len(given):,} targets of {n_recipes:,} recipes"


def reactions(sources: list[Path]) -> Iterator[dict[str, Any]]:
    """The recipes of files in the format of Kononova et al."""
    for source in sources:
        with lzma.open(source, "rt", encoding="utf-8") as stream:
            yield from json.load(stream)["reactions"]


def integer_formula(text: str) -> str | None:
    """The reduced formula of a compound, or None where it is no compound of whole numbers of at most 200 atoms."""
    try:
        amounts = {element.symbol: float(amount) for element, amount in Composition(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if len(amounts) < 2 or not set(amounts) <= set(SYMBOLS):
        return None
    close = {symbol: fraction(amount) for symbol, amount in amounts.items()}
    if None in close.values():
        return None
    whole = lcm(*(n.denominator for n in close.values()))
    counts = {symbol: int(n * whole) for symbol, n in close.items()}
    if min(counts.values()) < 1 or sum(counts.values()) > MOST_ATOMS:
        return None
    return reduced_formula([atomic_number(symbol) for symbol, count in counts.items() for _ in range(count)])


def fraction(amount: float) -> Fraction | None:
    """An amount as a fraction: thirds and sixths may be written with two digits (0.67, 0.17)."""
    simple, fine = (Fraction(amount).limit_denominator(n) for n in (6, DENOMINATOR))
    if abs(simple - amount) < 5e-3:
        return simple
    return fine if abs(fine - amount) < 1e-3 else None


def write(table: pa.Table, path: Path) -> None:
    pq.write_table(
        table, path, compression="zstd", compression_level=19, use_dictionary=False,
        column_encoding={name: "DELTA_BYTE_ARRAY" for name in ("formula", "doi") if name in table.column_names},
    )  # fmt: skip


def sheet(path: Path, about: str, data: dict[str, str], metrics: str, given: argparse.Namespace) -> None:
    """Write the data sheet of one of the two tables."""
    Sheet(
        about=about,
        script="python scripts/build_formulas.py --data DIR",
        data=data,
        split="nothing is held out: nothing is learned",
        seed="none: nothing is random",
        metrics=metrics,
        commit=given.commit,
        licence="S. Kirklin et al., npj Comput. Mater. 1, 15010 (2015), CC BY 4.0."
        if path.name == COMPUTED_TABLE
        else "O. Kononova et al., Sci. Data 6, 203 (2019), CC BY 4.0.",
    ).write(path)
    print(f"{path}: {metrics}")


COMPUTED = """\
{n:,} reduced formulas that the OQMD has computed, {size:.2f} MB: most of them hypothetical prototypes (Heusler
compounds and the like). There are no structures and no energies beside them, so a hit is a remark ("this formula
was computed elsewhere") and no verdict.

Column: `formula`, in pymatgen's convention, sorted."""

SYNTHESISED = """\
The {n:,} reduced formulas that are targets of published recipes (solid state and sol-gel), {size:.2f} MB. The
recipes were extracted from text by machine, so that some formulas are wrong. Left out are targets that are no
compound of whole numbers of at most {most} atoms (amounts are read as fractions with denominators up to
{denominator}): solid solutions of odd compositions for the most part.

Columns: `formula`, in pymatgen's convention, sorted; `recipes`, how many have it as a target; `doi` of one."""

if __name__ == "__main__":
    run(main)
