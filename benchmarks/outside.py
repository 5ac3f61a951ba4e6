"""How well distances to the training data tell what a gate has not seen, and where it errs.

Run: python benchmarks/outside.py --out FILE.json [--folds "prototypes 3,elements B"]

Gates are trained without an element or without a fifth of the prototypes (the small stand-ins and the folds of
`invdesign.benchmarking.splits`), and asked about what was left out and about held-in crystals of unseen chemical
systems; the shipped gate is asked about the test systems. Four measures stand beside each other:

*mark*: the package's, the distance in the space of all features and the embedding. *kinds*: the same without what
says of which elements a crystal is made, the embedding, volume and distances, and (half as much) symmetry each in
units of their number of columns. *disagreement*: deviation between the members over that of its usual size.
*prototype_list*: how few training crystals have the same prototype.

*auc*: area under the ROC curve, left out against held in. *rank_correlation*: Spearman's, with the mean error of
both moduli, of all these crystals. *error_of_marked*: mean error of what lies beyond the 99th percentile of the
validation part, over that of the rest. *stiff_marked*: share of the known crystals with K above 300 GPa that lies
beyond it (shipped gate only), *error_of_stiff_marked* as before among these. Weights were chosen on the folds
`prototypes 1`, `prototypes 2` and the elements N, Ti, Fe and O; the default folds are others. Half a minute of one
core for each; OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from invdesign.benchmarking import splits as protocols
from invdesign.benchmarking.run import write_record
from invdesign.benchmarking.splits import MODULI, SMALL, Data, Fold
from invdesign.surrogates import load_gate
from invdesign.surrogates.fitting.train import AXES, REMEMBERED, fit
from invdesign.surrogates.inputs.features import DISTANCE_NAMES, SYMMETRY_NAMES, VOLUME_NAMES, feature_names
from invdesign.surrogates.model import Model, Raw, run_members, standardise
from invdesign.surrogates.scales import to_scale

FOLDS = "prototypes 3,prototypes 4,prototypes 5,elements B,elements Al,elements S"
NEAREST, STIFF = 5, 300.0


def kinds(columns: np.ndarray, train: np.ndarray) -> np.ndarray:
    """(n,) mean distance to the nearest training crystals by embedding, volume, distances and symmetry."""
    names = feature_names()
    weights = np.zeros(columns.shape[1])
    for group, weight in ((SYMMETRY_NAMES, 0.5), ((*VOLUME_NAMES, *DISTANCE_NAMES), 1.0)):
        weights[[names.index(name) for name in group]] = weight / np.sqrt(len(group))
    spread = columns[train, len(names) :].std(axis=0)
    weights[len(names) :] = 1.0 / np.maximum(spread, 1e-6) / np.sqrt(len(spread))
    used = np.flatnonzero(weights)
    table = (columns[:, used] - columns[train][:, used].mean(axis=0)) * weights[used]
    places = table @ np.linalg.eigh(table[train].T @ table[train])[1][:, -AXES:]
    kept = places[np.random.default_rng(0).permutation(train)[:REMEMBERED]]
    squares = (kept**2).sum(axis=1)
    found = []
    for part in np.array_split(places, max(1, len(places) // 1000)):
        squared = (part**2).sum(axis=1)[:, None] + squares - 2.0 * part @ kept.T
        near = np.partition(squared, NEAREST, axis=1)[:, : NEAREST + 1]
        found.append(np.sqrt(np.maximum(near, 0.0)).mean(axis=1))
    return np.concatenate(found)


def disagreement(model: Model, data: Data) -> np.ndarray:
    """(n,) mean over the properties of the deviation between the members, each over its mean."""
    standard = standardise(data.graphs.features, None, model.feature_scale)
    means = [run_members([m], data.graphs, standard, model.shape, model.target_scale).mean for m in model.members]
    apart = np.std(means, axis=0)
    return (apart / apart.mean(axis=0)).mean(axis=1)


def errors(model: Model, raw: Raw, data: Data, names: tuple[str, ...]) -> np.ndarray:
    """(n,) mean over some properties of the absolute error, each over its mean; NaN where nothing is known."""
    found = []
    for name in names:
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.abs(raw.mean[:, model.properties.index(name)] - to_scale(name, data.labels[name]))
        found.append(error / np.nanmean(error))
    known = np.isfinite(found)
    total = np.where(known, found, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def figures(far: np.ndarray, error: np.ndarray, rows: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """How a measure goes with errors of some crystals."""
    rows = rows[np.isfinite(error[rows])]
    beyond = far[rows] > np.quantile(far[valid], 0.99)
    found = {
        "rank_correlation": float(spearmanr(far[rows], error[rows]).statistic),
        "marked": float(beyond.mean()),
    }
    if beyond.any():
        found["error_of_marked"] = float(error[rows][beyond].mean() / error[rows][~beyond].mean())
    return found


def measures(model: Model, raw: Raw, data: Data, train: np.ndarray) -> dict[str, np.ndarray]:
    """All measures of all crystals."""
    return {
        "mark": model.memory.distance(raw.columns),
        "kinds": kinds(raw.columns, train),
        "disagreement": disagreement(model, data),
    }


def of_fold(fold: Fold, data: Data, prototypes: list[str]) -> dict[str, Any]:
    """Figures of a gate that has not seen something."""
    model = fit("gate", protocols.training(fold, data), SMALL, progress=lambda line: None)
    raw = model.raw(data.graphs)
    train, valid = (np.flatnonzero(fold.split == part) for part in ("train", "valid"))
    rows = np.flatnonzero((fold.split == "test") | (fold.split == "held in"))
    left_out = fold.split[rows] == "test"
    counts = Counter(prototypes[i] for i in train)
    found = measures(model, raw, data, train)
    found["prototype_list"] = -np.array([counts[p] for p in prototypes], dtype=np.float64)
    error = errors(model, raw, data, MODULI)
    out: dict[str, Any] = {"left_out": int(left_out.sum()), "held_in": int((~left_out).sum())}
    out["error_left_out"] = float(np.nanmean(error[rows][left_out]) / np.nanmean(error[rows][~left_out]))
    for title, far in found.items():
        out[title] = {"auc": float(roc_auc_score(left_out, far[rows])), **figures(far, error, rows, valid)}
    return out


def of_shipped(data: Data) -> dict[str, Any]:
    """Figures of the shipped gate: with errors of each property, and of what is very stiff."""
    model = load_gate().model
    raw = model.raw(data.graphs)
    train, valid, test = (np.flatnonzero(data.split == part) for part in ("train", "valid", "test"))
    stiff = np.flatnonzero(data.labels["bulk_modulus"] > STIFF)
    bulk = errors(model, raw, data, MODULI[:1])
    out: dict[str, Any] = {}
    for title, far in measures(model, raw, data, train).items():
        found = {n: figures(far, errors(model, raw, data, (n,)), test, valid) for n in model.properties}
        marked = figures(far, bulk, stiff, valid)
        out[title] = {**found, "stiff_marked": marked["marked"]}
        if "error_of_marked" in marked:
            out[title]["error_of_stiff_marked"] = marked["error_of_marked"]
    return out | {"stiff": len(stiff)}


def means(found: Mapping[str, Mapping[str, Any]], keys: list[str]) -> dict[str, Any]:
    """Means of the figures of all measures over some folds."""
    titles = ("mark", "kinds", "disagreement", "prototype_list")
    names = ("auc", "rank_correlation", "marked")
    return {title: {k: float(np.mean([found[key][title][k] for key in keys])) for k in names} for title in titles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", default=FOLDS, metavar="A,B")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = protocols.read()
    labels = protocols.prototypes(data)
    record: dict[str, Any] = {"shipped": of_shipped(data), "folds": {}}
    print(json.dumps(record["shipped"], indent=1), flush=True)
    wanted = args.folds.split(",")
    for fold in (f for protocol in ("prototypes", "elements") for f in protocols.folds(protocol, data)):
        key = f"{fold.protocol} {fold.name}"
        if key in wanted:
            record["folds"][key] = found = of_fold(fold, data, labels)
            print(key, json.dumps(found), flush=True)
    groups = {p: [key for key in record["folds"] if key.startswith(p)] for p in ("prototypes", "elements")}
    record["means"] = {protocol: means(record["folds"], keys) for protocol, keys in groups.items() if keys}
    write_record(
        args.out, record, "0, of folds and trainings", ("surrogate_gate.safetensors", "labelled_crystals.npz")
    )
    print(json.dumps(record["means"], indent=1))


if __name__ == "__main__":
    main()
