"""Train the Gaussian process of the second stage, find its shares, and calibrate a model again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from invdesign.crystal import FloatArray, Gene, IntArray
from invdesign.represent.genes import decode
from invdesign.surrogates.dataset import Graphs, graphs_of_genes, select
from invdesign.surrogates.features import FloatTable
from invdesign.surrogates.model import Model, process_answers
from invdesign.surrogates.potential_features import CHGNET_FEATURES, PotentialFeatures
from invdesign.surrogates.potential_process import fit
from invdesign.surrogates.scales import to_scale
from invdesign.surrogates.sevennet_features import CHANNELS
from invdesign.surrogates.sevennet_features import N_FEATURES as SEVENNET_FEATURES
from invdesign.surrogates.store import join
from invdesign.surrogates.train import Progress, TrainingData, best_shares, calibrated

PROPERTIES = ("bulk_modulus", "shear_modulus", "formation_energy")
NOISE = 0.05
"""Variance of the labels in units of the process's."""
CHUNK, PORTION = 4000, 500


def joined(genes: Sequence[Gene]) -> Graphs:
    """Graphs of many genes, made in pieces."""
    return join([graphs_of_genes(genes[i : i + CHUNK]) for i in range(0, len(genes), CHUNK)])


def potential_table(
    genes: Sequence[Gene], rows: IntArray, cache: Path | None, name: str, progress: Progress = print
) -> FloatTable:
    """(len(rows), N_FEATURES) potential features of some crystals, kept in portions of `PORTION`.

    Args:
        genes: all crystals.
        rows: those that are wanted.
        cache: folder in which the portions are kept, so that a stopped run goes on where it was.
        name: of the portions' files.
        progress: is told one line at a time.
    """
    potential, parts = PotentialFeatures(), []
    for start in range(0, len(rows), PORTION):
        kept = cache / f"{name}_{start}.npy" if cache else None
        if kept is not None and kept.exists():
            parts.append(np.load(kept))
            continue
        parts.append(potential.compute(decode([genes[i] for i in rows[start : start + PORTION]]))[0])
        progress(f"potential features {start + len(parts[-1])} of {len(rows)}")
        if kept is not None:
            np.save(kept, parts[-1])
    return np.concatenate(parts)


def with_process(model: Model, data: TrainingData, progress: Progress = print, most: int | None = None) -> Model:
    """The model with a Gaussian process, mixed in with the shares that suit the validation part best.

    It learns from the training crystals with moduli of which all inputs are known, or from a random choice of
    `most` of them. The result is calibrated.
    """
    assert data.extra is not None
    features = data.copies[0].features
    inputs = np.concatenate([features, data.extra], axis=1)
    targets = scaled(data, PROPERTIES)
    train = data.rows("train")
    train = train[np.isfinite(inputs[train]).all(axis=1) & np.isfinite(targets[train]).all(axis=1)]
    train = np.random.default_rng(0).permutation(train)[:most]
    process = fit(PROPERTIES, inputs[train], targets[train], groups(features.shape[1]), NOISE)
    valid = data.rows("valid")
    look = select(data.copies[0], valid)
    raw = replace(model, process=None).raw(look, data.extra[valid])
    other = process_answers(process, look, data.extra[valid], model.properties)
    shares = 1.0 - best_shares(raw, other, scaled(data, model.properties)[valid])
    progress(f"shares of the process: {dict(zip(model.properties, shares.round(1).tolist(), strict=True))}")
    notes = {"crystals": len(train), "noise": NOISE, "shares": shares.round(1).tolist()}
    grown = replace(model, process=process, process_shares=shares, notes={**model.notes, "process": notes})
    return recalibrated(grown, data)


def groups(features: int) -> dict[str, tuple[slice, int, float]]:
    """Columns, principal axes and lengths of the process's groups of inputs, of which the first are `features`."""
    chgnet = features + CHGNET_FEATURES
    end = chgnet + SEVENNET_FEATURES
    return {
        "crystal": (slice(0, features), 120, 0.7),
        "CHGNet": (slice(features, chgnet), 80, 0.7),
        "SevenNet": (slice(chgnet + 4, chgnet + 4 + 2 * CHANNELS), 160, 0.7),
        "energies": (slice(end, end + 2), 2, 0.2),
    }


def recalibrated(model: Model, data: TrainingData) -> Model:
    """The model with calibrations of the validation part; the last copy of the crystals is looked at."""
    rows = data.rows("valid")
    raw = model.raw(select(data.copies[-1], rows), None if data.extra is None else data.extra[rows])
    outside = model.memory.percentile(model.memory.distance(raw.columns))
    calibrations, masses = calibrated(model.properties, raw, outside, scaled(data, model.properties)[rows])
    return replace(model, calibrations=calibrations, masses=masses)


def scaled(data: TrainingData, names: Sequence[str]) -> FloatArray:
    """(n, p) labels in the modelled scale."""
    return np.stack([to_scale(name, data.labelled.labels[name]) for name in names], axis=1)
