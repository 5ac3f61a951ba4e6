"""Make `invdesign/tables/surrogate_gate.safetensors` and `surrogate_relaxed.safetensors` with their data sheets.

Run: python scripts/train_surrogates.py --data DIR [--out invdesign/tables] [--stage gate|relaxed] [--cache DIR]

`DIR` holds `crystals.parquet`. The relaxed stage mixes in the gate's answers, whose weights must lie in `--out`.
With `--cache`, genes, graphs and potential features are kept there between runs. About 30 minutes for the gate and
20 for the second stage on one core; one thread is best: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from invdesign.represent.genes import decode, primitive_sites
from invdesign.surrogates.assess import assess
from invdesign.surrogates.dataset import Graphs, Labelled, encode_rows, graphs_of_genes, perturb, read_labelled
from invdesign.surrogates.features import FloatTable
from invdesign.surrogates.model import Model, load_model, save_model
from invdesign.surrogates.potential_features import PotentialFeatures
from invdesign.surrogates.sheet import data_sheet
from invdesign.surrogates.store import cached_graphs, join, load_genes, save_genes
from invdesign.surrogates.train import Settings, TrainingData, fit, training_data

NOISY_COPIES = 2
CHUNK = 4000
POTENTIAL_CRYSTALS, POTENTIAL_SITES = 6000, 20
"""Crystals without moduli, and their largest cell, whose potential features are computed for gap and energies."""


def labelled_data(folder: Path, cache: Path | None) -> Labelled:
    """Labels and genes of `crystals.parquet`."""
    path = folder / "crystals.parquet"
    kept = cache / "genes.npz" if cache else None
    if kept is not None and not kept.exists():
        import pandas as pd

        save_genes(encode_rows(pd.read_parquet(path)), kept)
    return read_labelled(path, load_genes(kept) if kept is not None else None)


def graphs(labelled: Labelled, copy: int, cache: Path | None) -> Graphs:
    """Graphs of all crystals: exact (copy 0) or with a generator's errors."""

    def make() -> Graphs:
        genes = labelled.genes if copy == 0 else perturb(labelled.genes, np.random.default_rng(copy))
        return join([graphs_of_genes(genes[i : i + CHUNK]) for i in range(0, len(genes), CHUNK)])

    return cached_graphs(cache / f"graphs_{copy}.npz" if cache else None, make)


def potential_rows(labelled: Labelled) -> np.ndarray:
    """Crystals whose potential features are computed: all with moduli, then a random choice of those with gaps."""
    moduli = np.isfinite(labelled.labels["bulk_modulus"])
    gaps = np.isfinite(labelled.labels["band_gap"]) & np.isfinite(labelled.labels["formation_energy"]) & ~moduli
    small = np.array([primitive_sites(gene) <= POTENTIAL_SITES for gene in labelled.genes])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(gaps & small))[:POTENTIAL_CRYSTALS]
    return np.concatenate([np.flatnonzero(moduli), np.sort(chosen)])


def potential_table(labelled: Labelled, rows: np.ndarray, cache: Path | None) -> FloatTable:
    """(len(rows), N_FEATURES) potential features of some crystals, written every five hundred."""
    kept = cache / "potential.npz" if cache else None
    done = np.load(kept)["values"] if kept is not None and kept.exists() else None
    parts = [] if done is None else [done]
    potential = PotentialFeatures()
    for start in range(0 if done is None else len(done), len(rows), 500):
        crystals = decode([labelled.genes[i] for i in rows[start : start + 500]])
        parts.append(potential.compute(crystals)[0])
        print(f"potential features {start + len(crystals)} of {len(rows)}", flush=True)
        if kept is not None:
            np.savez(kept, values=np.concatenate(parts))
    return np.concatenate(parts)


def gate(folder: Path, cache: Path | None, settings: Settings) -> tuple[Model, TrainingData]:
    """Train the first stage on exact and on perturbed crystals."""
    labelled = labelled_data(folder, cache)
    data = training_data(labelled, [graphs(labelled, k, cache) for k in range(NOISY_COPIES + 1)])
    return fit("gate", data, settings, progress=tell), data


def relaxed(folder: Path, cache: Path | None, settings: Settings, base: Model) -> tuple[Model, TrainingData]:
    """Train the second stage on exact crystals with potential features; the gate's answers are mixed in."""
    labelled = labelled_data(folder, cache)
    rows = potential_rows(labelled)
    extra = potential_table(labelled, rows, cache)
    part = labelled.subset(rows)
    exact = join([graphs_of_genes(part.genes[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)])
    data = training_data(part, [exact], extra)
    return fit("relaxed", data, settings, base=base, progress=tell), data


def tell(line: str) -> None:
    print(line, flush=True)


def finish(model: Model, data: TrainingData, out: Path) -> None:
    """Measure on the test part, and write the weights and their data sheet."""
    metrics = {"exact": assess(model, data, 0)}
    if len(data.copies) > 1:
        metrics["with a generator's errors"] = assess(model, data, -1)
    noted = replace(model, notes={**model.notes, "test": metrics})
    path = out / f"surrogate_{model.stage}.safetensors"
    save_model(noted, path)
    path.with_suffix(".md").write_text(data_sheet(noted))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables"))
    parser.add_argument("--stage", choices=("gate", "relaxed", "both"), default="both")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--members", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    chosen = {k: v for k, v in (("epochs", args.epochs), ("members", args.members)) if v is not None}
    if args.stage in ("gate", "both"):
        finish(*gate(args.data, args.cache, replace(Settings(), **chosen)), args.out)
    if args.stage in ("relaxed", "both"):
        base = load_model(args.out / "surrogate_gate.safetensors")
        finish(*relaxed(args.data, args.cache, replace(RELAXED, **chosen), base), args.out)


RELAXED = Settings(members=4, epochs=25, batch=128, modulus_repeats=1, width=48, layers=2)

if __name__ == "__main__":
    main()
