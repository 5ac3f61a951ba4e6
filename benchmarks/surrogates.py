"""How good and how fast the shipped surrogates are, on crystals of chemical systems that they have not seen.

Run: python benchmarks/surrogates.py --data DIR --out FILE.json [--relaxed 400]

`DIR` holds `crystals.parquet`. The test part of the split by chemical system (hash, seed 0) is used; the second
stage is run on `--relaxed` of its crystals with moduli. Baselines are trained on the training part: the median,
ridge regression on the composition, gradient boosting on the crystal features. One thread: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign.crystal import Crystal
from invdesign.data.split import by_chemical_system
from invdesign.represent.genes import decode
from invdesign.surrogates import load_gate, load_relaxed
from invdesign.surrogates.assess import figures
from invdesign.surrogates.dataset import Labelled, encode_rows, graphs_of_genes, perturb, read_labelled
from invdesign.surrogates.features import LAST_ELEMENT

SHOWN = ("mae", "coverage_90", "miscalibration_area", "stiff_spearman", "recall_top_1_in_3_percent")


def read(folder: Path, most: int) -> tuple[Labelled, np.ndarray[Any, Any]]:
    """All crystals with moduli, and at most `most` test crystals without, with their split."""
    frame = pd.read_parquet(folder / "crystals.parquet")
    split = by_chemical_system(frame["chemical_system"])
    moduli = frame["bulk_modulus_vrh"].notna().to_numpy()
    energies = np.flatnonzero((split == "test") & ~moduli & frame["formation_energy_per_atom"].notna().to_numpy())
    others = np.random.default_rng(0).permutation(energies)[:most]
    rows = np.sort(np.concatenate([np.flatnonzero(moduli), others]))
    genes = _spread(encode_rows(frame.iloc[rows]), rows, len(frame))
    labelled = read_labelled(folder / "crystals.parquet", genes)
    return labelled, by_chemical_system(labelled.chemical_systems)


def _spread(genes: list[Any], rows: np.ndarray[Any, Any], length: int) -> list[Any]:
    """Genes at their rows, None elsewhere, so that other rows are left out."""
    all_genes: list[Any] = [None] * length
    for row, gene in zip(rows, genes, strict=True):
        all_genes[row] = gene
    return all_genes


def timed(predict: Callable[[list[Crystal]], Any], crystals: list[Crystal]) -> tuple[Any, float]:
    """The result, and crystals a second of one core's time (so that other work on the machine does not count)."""
    predict(crystals[:2])
    start = time.process_time()
    result = predict(crystals)
    return result, len(crystals) / (time.process_time() - start)


def baselines(labelled: Labelled, split: np.ndarray[Any, Any]) -> dict[str, dict[str, float]]:
    """MAE in log10 GPa of the moduli by three simple models."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import RidgeCV

    features = graphs_of_genes(labelled.genes).features
    models = {
        "ridge on composition": (RidgeCV(np.logspace(-4, 2, 7)), slice(0, LAST_ELEMENT)),
        "gradient boosting on crystal features": (
            HistGradientBoostingRegressor(max_iter=300, learning_rate=0.08, max_features=0.3, random_state=0),
            slice(None),
        ),
    }
    found: dict[str, dict[str, float]] = {}
    for name in ("bulk_modulus", "shear_modulus"):
        target = np.log10(labelled.labels[name])
        train, test = (np.flatnonzero((split == p) & np.isfinite(target)) for p in ("train", "test"))
        found[name] = {"median": float(np.abs(target[test] - np.median(target[train])).mean())}
        for title, (model, columns) in models.items():
            model.fit(features[train, columns], target[train])
            error = model.predict(features[test, columns]) - target[test]
            found[name][title] = float(np.abs(error).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--relaxed", type=int, default=400, help="test crystals for the second stage")
    parser.add_argument("--others", type=int, default=3000, help="test crystals without moduli for the gate")
    args = parser.parse_args()
    labelled, split = read(args.data, args.others)
    test = np.flatnonzero(split == "test")
    part = labelled.subset(test)
    found: dict[str, Any] = {"baselines": baselines(labelled, split)}
    gate, relaxed = load_gate(), load_relaxed()
    for title, genes in (("exact", part.genes), ("perturbed", perturb(part.genes, np.random.default_rng(9)))):
        estimates, speed = timed(gate.predict, decode(genes))
        found[f"gate, {title}"] = {n: figures(n, estimates, part.labels[n]) for n in gate.model.properties}
        found[f"gate, {title}"]["crystals_per_second"] = speed
    bare = [replace(c, gene=None) for c in decode(part.genes[:200])]
    found["gate, without genes"] = {"crystals_per_second": timed(gate.predict, bare)[1]}
    stiff = np.flatnonzero(np.isfinite(part.labels["bulk_modulus"]))[: args.relaxed]
    chosen = part.subset(stiff)
    estimates, speed = timed(relaxed.predict, decode(chosen.genes))
    found["relaxed"] = {n: figures(n, estimates, chosen.labels[n]) for n in ("bulk_modulus", "shear_modulus")}
    found["relaxed"]["crystals_per_second"] = speed
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    for title, table in found.items():
        print(title)
        for name, row in table.items():
            shown = row if not isinstance(row, dict) else {k: row[k] for k in SHOWN if k in row} or row
            print("  ", name, shown)


if __name__ == "__main__":
    main()
