"""What the training of the second stage needs beside `invdesign.surrogates.fitting.train`: inputs and
calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray, Gene, IntArray
from invdesign.crystallography.genes import decode
from invdesign.surrogates.fitting.train import Progress, TrainingData, best_shares, with_intervals
from invdesign.surrogates.inputs.dataset import Graphs, graphs_of_genes, select
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.inputs.potential_inputs import PotentialInputs
from invdesign.surrogates.inputs.store import join
from invdesign.surrogates.model import Model, base_answers
from invdesign.surrogates.scales import to_scale

CHUNK, PORTION = 4000, 500


def joined(genes: Sequence[Gene]) -> Graphs:
    """Graphs of many genes, made in pieces."""
    return join([graphs_of_genes(genes[i : i + CHUNK]) for i in range(0, len(genes), CHUNK)])


def potential_table(
    genes: Sequence[Gene],
    rows: IntArray,
    strained: NDArray[np.bool_],
    cache: Path | None,
    name: str,
    progress: Progress = print,
) -> FloatTable:
    """(len(rows), columns) of `PotentialInputs` for some crystals, kept in portions of `PORTION`.

    Args:
        genes: all crystals.
        rows: those that are wanted.
        strained: (len(rows),) whether the elastic response is wanted, too.
        cache: folder in which the portions are kept, so that a stopped run goes on where it was.
        name: of the portions' files.
        progress: is told one line at a time.
    """
    inputs, parts = PotentialInputs(), []
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(rows), PORTION):
        kept = cache / f"{name}_{start}.npy" if cache else None
        if kept is not None and kept.exists():
            parts.append(np.load(kept))
            continue
        chosen = slice(start, start + PORTION)
        parts.append(inputs.compute(decode([genes[i] for i in rows[chosen]]), strained[chosen]))
        progress(f"what the potentials say: {start + len(parts[-1])} of {len(rows)}")
        if kept is not None:
            np.save(kept, parts[-1])
    return np.concatenate(parts)


def recalibrated(model: Model, data: TrainingData, per_system: int | None = None) -> Model:
    """The model with shares and calibrations of the validation part; the last copy of crystals is looked at.

    Args:
        model: of any stage.
        data: with that part.
        per_system: crystals of a chemical system that are looked at at most: those with most labels, then by
            chance. New crystals come from new systems: those of one system are not independent, and a hundred
            stackings of one alloy would speak for all.
    """
    rows = data.rows("valid")
    if per_system is not None:
        labels = np.isfinite(scaled(data, model.properties)[rows]).sum(axis=1)
        rows = few_of_each(rows, np.asarray(data.labelled.chemical_systems)[rows], labels, per_system)
    targets = scaled(data, model.properties)[rows]
    look, extra = select(data.copies[-1], rows), None if data.extra is None else data.extra[rows]
    if model.base is not None:
        own = replace(model, base=None, shares=None, response=None).raw(look, extra)
        model = replace(model, shares=best_shares(own, base_answers(model.base, look, model.properties), targets))
    model = with_intervals(model, look, model.raw(look, extra), targets)
    counts = {part: int(np.count_nonzero(data.split == part)) for part in ("valid", "test")}
    notes = {**model.notes, "crystals": {**model.notes.get("crystals", {}), **counts}}
    return replace(model, notes=notes)


def few_of_each(rows: IntArray, groups: NDArray[np.str_], worth: IntArray, most: int) -> IntArray:
    """The rows in order, with at most so many of each group: those worth most, then by chance (seed 0)."""
    mixed = np.random.default_rng(0).permutation(len(rows))
    order = mixed[np.lexsort((-worth[mixed], groups[mixed]))]
    _, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    place = np.arange(len(rows)) - np.repeat(first, sizes)
    return rows[np.sort(order[place < most])]


def scaled(data: TrainingData, names: Sequence[str]) -> FloatArray:
    """(n, p) labels in the modelled scale."""
    return np.stack([to_scale(name, data.labelled.labels[name]) for name in names], axis=1)
