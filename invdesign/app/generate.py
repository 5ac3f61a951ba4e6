"""Raw samples of a generator: unscreened and unrelaxed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.tables import watched
from invdesign.checks import number, text, whole
from invdesign.engine.search import conditioned, conditions_of
from invdesign.engine.wishes import resolved
from invdesign.errors import InputError, InvdesignWarning
from invdesign.progress import Shown, told, with_progress
from invdesign.query import Query, as_query
from invdesign.records import Conditions, Failure
from invdesign.report import export

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal

FORMS = ("cif", "extxyz")
TRANSLATED = ("youngs_modulus", "vickers_hardness")
"""Wishes that are translated into moduli (`invdesign.engine.search.conditioned`)."""
MODULI = frozenset({"bulk_modulus", "shear_modulus"})
UNHEEDED = (
    "formula", "anonymous_formula", "n_elements", "min_sites", "prototype", "like", "start", "keep", "component",
)  # fmt: skip
"""Wishes that a run checks and searches for, and no generator knows."""


@with_progress
def generate(
    query: Query | str | Mapping[str, Any] | None = None,
    n: int = 100,
    seed: int = 0,
    out: str | Path | None = None,
    *,
    form: str = "cif",
    guidance: float = 1.0,
    temperature: float = 1.0,
    progress: Shown = None,
    **wishes: Any,
) -> pd.DataFrame:
    """Sample crystals from a generator, unscreened and unrelaxed.

    >>> generate("vae", n=5, targets=["bulk_modulus>=250"])  # doctest: +SKIP

    Args:
        query: a query, or the name of a generator.
        n: number of samples.
        seed: the same seed gives the same samples.
        out: folder to make, with `candidates.csv` and `cif/` or `candidates.extxyz` (None: nothing is written).
        form: `cif` or `extxyz`.
        guidance: weight of the conditions.
        temperature: of sampling.
        progress: see `invdesign.progress.Shown`.
        **wishes: fields of the query.

    Returns:
        One row per sample; one that could not be made has the reason in `failure`. Without a folder the column
        `crystal` holds the crystals.

    Warns:
        InvdesignWarning: if the generator takes no notice of something that the query asks for.

    Raises:
        InputError: if there is no such generator, or it does not know a condition, or a value is not valid.
        OutputError: if the folder is not empty or cannot be written.
    """
    import numpy as np

    n, seed = whole("n", n), whole("seed", seed, 0)
    guidance = number("guidance", guidance, -1000.0, 1000.0)
    temperature = number("temperature", temperature, 0.01, 100.0)
    if form not in FORMS:
        raise InputError("form", form, FORMS)
    query = resolved(
        as_query(None, {"generator": query, **wishes}) if isinstance(query, str) else as_query(query, wishes)
    )
    maker = build.generator(query.generator)
    if ignored := unheeded(query):
        warnings.warn(f"{query.generator} takes no notice of {', '.join(ignored)}", InvdesignWarning, stacklevel=3)
    folder = None if out is None else export.new_folder(Path(text("out", out, "the name of a folder")))
    conditions = replace(_conditions(query), guidance=guidance, temperature=temperature)
    items = watched(maker.propose(n, np.random.default_rng(seed), conditions), "generate", n, told(progress))
    made = list(items)
    crystals = [item for item in made if not isinstance(item, Failure)]
    files = iter([] if folder is None else _write_samples(crystals, folder, form))
    rows = [
        export.failure_columns(item) if isinstance(item, Failure) else _sample_columns(item, next(files, None))
        for item in made
    ]
    table = export.frame([{"id": f"{query.generator}-{seed}-{k:05d}"} | row for k, row in enumerate(rows)])
    if folder is not None:
        export.write_table(table, folder / "candidates.csv")
        export.write_json(_record(query, n, seed, crystals, conditions), folder / "run.json")
    return table


def _record(query: Query, n: int, seed: int, crystals: Sequence[Crystal], asked: Conditions) -> dict[str, Any]:
    return {
        "query": query.to_dict() | {"n": n},
        "seed": seed,
        "found": len(crystals),
        "guidance": asked.guidance,
        "temperature": asked.temperature,
        "versions": build.versions(),
        "parts": build.checksums(),
    }


def _conditions(query: Query) -> Conditions:
    """What the query itself asks of a generator."""
    conditions = conditions_of(query)
    asked = conditioned(query.targets)
    return replace(conditions, properties={k: v for k, v in conditions.properties.items() if k in asked})


def unheeded(query: Query) -> list[str]:
    """What a query asks for and raw samples of its generator take no notice of, in words."""
    known = set(build.generator_part(query.generator).conditioned_on)
    heeded = {name for name in _conditions(query).properties if name in known}
    found = [
        str(t) for t in query.targets if t.name not in heeded and not (t.name in TRANSLATED and MODULI & heeded)
    ]
    said = query.said()
    return found + [f"{name} {said[name]}" for name in UNHEEDED if name in said]


def _write_samples(crystals: Sequence[Crystal], folder: Path, form: str) -> list[str]:
    if form == "cif":
        return export.write_cifs(crystals, folder)
    from ase.io import write

    from invdesign.data.convert import to_ase

    write(folder / "candidates.extxyz", [to_ase(crystal) for crystal in crystals], format="extxyz")
    return [f"candidates.extxyz#{k}" for k in range(len(crystals))]


def _sample_columns(crystal: Crystal, file: str | None) -> export.Row:
    from invdesign.chemistry.composition import reduced_formula
    from invdesign.mechanics.derive import density

    gene = crystal.gene
    where = {"crystal": crystal} if file is None else {"file": file}
    return where | {
        "formula": reduced_formula(crystal.numbers),
        "space_group": None if gene is None else gene.space_group,
        "n_sites": crystal.n_sites,
        "density": density(crystal),
        "failure": "",
    }
