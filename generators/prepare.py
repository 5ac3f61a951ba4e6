"""From a file of crystals to a training set: genes, labels, and what was left out and why."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.genes import canonical, encode, primitive_sites
from invdesign.data.clean import crystal_fault, label_faults
from invdesign.data.read import read_table
from invdesign.data.split import by_chemical_system
from invdesign.errors import TrainingError
from invdesign.generators.conditions import CONDITION_PROPERTIES
from invdesign.generators.geneset import MAX_Z
from invdesign.records import Estimate, Failure
from invdesign.units import GRAM_PER_CM3

Predict = Callable[[Sequence[Crystal]], list[Estimate]]
Progress = Callable[[str, int, int | None], None]

GAP_FILLED = ("bulk_modulus", "shear_modulus", "formation_energy", "band_gap")
"""Conditions whose missing labels are filled by a surrogate: one crystal in ten has measured moduli."""


@dataclass(frozen=True)
class Prepared:
    """Genes ready for training.

    Attributes:
        genes: canonical genes.
        labels: (n,) arrays by condition name, NaN where unknown.
        systems: chemical systems.
        split: `train`, `valid` or `test` of each, by chemical system.
        removed: how many rows were left out, by reason; those of `invdesign.data.clean` begin with `faulty`.
        emptied: how many labels of kept crystals were taken for unknown, by property and reason.
        filled: how many labels of each condition a surrogate supplied.
    """

    genes: list[Gene]
    labels: dict[str, FloatArray]
    systems: list[str]
    split: Sequence[str]
    removed: Mapping[str, int]
    emptied: Mapping[str, int]
    filled: Mapping[str, int]


def prepare(
    data: Path,
    predict: Predict | None = None,
    max_sites: int = 20,
    max_energy_above_hull: float = 0.1,
    progress: Progress | None = None,
) -> Prepared:
    """Read a table of crystals and make training genes of it, without what cannot be right.

    Args:
        data: any file that `invdesign.data.read` reads, with label columns.
        predict: supplies missing labels of `GAP_FILLED`; without it they stay unknown.
        max_sites: largest primitive cell kept.
        max_energy_above_hull: crystals known to lie higher (eV/atom) are left out: training on stable crystals
            teaches stability better than conditioning on it.
        progress: told (stage, done, total).

    Raises:
        TrainingError: if fewer than 50 crystals are left.
    """
    removed, emptied = collections.Counter[str](), collections.Counter[str]()
    genes, crystals, rows = [], [], []
    for count, (item, labels) in enumerate(read_table(data)):
        if progress and count % 200 == 0:
            progress("reading crystals", count, None)
        gene, reason = _usable(item, labels, max_sites, max_energy_above_hull)
        if gene is None or isinstance(item, Failure):
            removed[reason] += 1
            continue
        genes.append(gene)
        crystals.append(item)
        faults = label_faults(labels, item)
        emptied.update(f"{name}: {rule}" for name, (rule, _) in faults.items())
        rows.append({name: value for name, value in labels.items() if name not in faults})
    if len(genes) < 50:
        why = ", ".join(f"{n} {reason}" for reason, n in removed.most_common(3))
        raise TrainingError(
            f"{data}: {len(genes)} usable crystals are too few to train on (left out: {why or 'none'})"
        )
    systems = [chemical_system(c.numbers) for c in crystals]
    columns = {n: np.array([r.get(n, np.nan) for r in rows], dtype=float) for n in CONDITION_PROPERTIES}
    columns["energy_above_hull"] = np.maximum(columns["energy_above_hull"], 0.0)
    columns["density"] = _densities(crystals)
    columns["n_sites"] = np.array([primitive_sites(g) for g in genes], dtype=float)
    filled = _fill(columns, crystals, predict)
    split = by_chemical_system(systems).tolist()
    return Prepared(genes, columns, systems, split, removed, emptied, filled)


def _usable(
    item: Crystal | Failure, labels: Mapping[str, float], max_sites: int, limit: float
) -> tuple[Gene | None, str]:
    """The canonical gene of a crystal worth training on, or None with the reason."""
    if isinstance(item, Failure):
        return None, "not readable"
    if item.n_sites > 8 * max_sites:
        return None, f"more than {max_sites} sites"
    if int(item.numbers.max()) >= MAX_Z:
        return None, "element beyond the model's range"
    if labels.get("energy_above_hull", 0.0) > limit:
        return None, f"more than {limit:g} eV/atom above the hull"
    if fault := crystal_fault(item):
        return None, f"faulty: {fault[0]}"
    try:
        gene = encode(item)
    except ValueError:
        return None, "no Wyckoff gene"
    if primitive_sites(gene) > max_sites:
        return None, f"more than {max_sites} sites"
    return canonical(gene), ""


def _densities(crystals: Sequence[Crystal]) -> FloatArray:
    from ase.data import atomic_masses

    return np.array([atomic_masses[c.numbers].sum() / c.volume for c in crystals]) * GRAM_PER_CM3


def _fill(columns: dict[str, FloatArray], crystals: Sequence[Crystal], predict: Predict | None) -> dict[str, int]:
    """Fill missing labels in place; how many of each."""
    if predict is None:
        return {}
    estimates = predict(crystals)
    filled = {}
    for name in GAP_FILLED:
        guess = np.array([e.values[name].mean if name in e.values else np.nan for e in estimates])
        missing = ~np.isfinite(columns[name])
        columns[name] = np.where(missing, guess, columns[name])
        filled[name] = int((missing & np.isfinite(guess)).sum())
    return filled
