"""Does a search for training settings pay? The default against the tuned on chemical systems without a say.

    python benchmarks/tuning.py --data DIR --work DIR [--trials 20] [--out FILE.json]

A small budget: 3,000 crystals with moduli and up to 12 sites, one network of six epochs a trial, exact geometries.
With `--whole` also the whole training (three networks, ten epochs) with both settings. Stopped, the same command
goes on with the study in the folder `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign.benchmarking.run import write_record
from invdesign.settings import settings_of
from invdesign.surrogates.fitting.train import Settings, fit, mean_error, training_data
from invdesign.surrogates.inputs.dataset import graphs_of_genes, read_labelled, select
from invdesign.surrogates.scales import to_scale
from invdesign.training.tuning import tune

CRYSTALS, SITES = 3000, 12
KEPT = {"epochs": 6, "copies": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with crystals.parquet")
    parser.add_argument("--work", type=Path, required=True, help="folder for the subset and the study")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--whole", action="store_true", help="also train as a whole with both")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    subset = args.work / "crystals.parquet"
    if not subset.exists():
        args.work.mkdir(parents=True, exist_ok=True)
        table = pd.read_parquet(args.data / "crystals.parquet")
        table = table[(table.n_sites <= SITES) & table.bulk_modulus_vrh.notna()]
        table.iloc[np.random.default_rng(0).permutation(len(table))[:CRYSTALS]].to_parquet(subset)
    found = tune("surrogate", subset, args.work / "best.yaml", args.trials, KEPT)
    print("\n".join(found.lines()))
    figures = asdict(found)
    if args.whole:
        figures["whole"] = {"default": error(subset, {}), "tuned": error(subset, found.chosen)}
        print(f"whole training, part without a say: {figures['whole']}")
    if args.out:
        write_record(args.out, figures, 0)


def error(data: Path, chosen: Mapping[str, Any]) -> float:
    """Error of a whole training with settings on the part that decided nothing."""
    labelled = read_labelled(data)
    training = training_data(labelled, [graphs_of_genes(labelled.genes)])
    model = fit("gate", training, settings_of(Settings, dict(chosen)), progress=lambda line: None)
    rows = training.rows("test")
    targets = np.stack([to_scale(p, labelled.labels[p][rows]) for p in model.properties], axis=1)
    return mean_error(model.raw(select(training.copies[0], rows)).mean, targets, model.target_scale[1])


if __name__ == "__main__":
    main()
