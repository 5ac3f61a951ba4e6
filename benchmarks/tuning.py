"""Does a search for training settings pay? The default against the tuned on chemical systems without a say.

    python benchmarks/tuning.py --data DIR --work DIR [--trials 20] [--out FILE.json]

A small budget: 3,000 crystals with moduli and up to 12 sites, one network of six epochs a trial, exact geometries.
Stopped, the same command goes on with the study in the folder `--work`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from invdesign.tuning import tune

CRYSTALS, SITES = 3000, 12
KEPT = {"epochs": 6, "copies": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with crystals.parquet")
    parser.add_argument("--work", type=Path, required=True, help="folder for the subset and the study")
    parser.add_argument("--trials", type=int, default=20)
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
    if args.out:
        args.out.write_text(json.dumps(asdict(found), indent=1) + "\n")


if __name__ == "__main__":
    main()
