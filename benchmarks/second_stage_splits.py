"""The second stage under other splits, above all Matbench's folds, which others are measured on.

Run: python benchmarks/second_stage_splits.py --out FILE.json [--protocols matbench,time,all_systems]
     [--cache DIR] [--members N]

Splits, crystals and labels are those of `invdesign benchmark surrogates` and come with the package; `all_systems`
are five folds that share no chemical system, so that every crystal is once in a test part: the stiff tail has some
hundred crystals then, where the one test part of the other figures has 33. For each fold
the second stage is trained anew on the training part's crystals with moduli, without the gate and without other
crystals (`potential_inputs.py` has its settings), calibrated on the calibration part, and asked about the test
part. What the potentials say of the 11,630 crystals (an hour and a half of one core) is kept in `--cache`; then
one and a half minutes of one core for each fold and member. One thread: OMP_NUM_THREADS=1. The potentials have
seen energies and forces of crystals of all parts, but no modulus.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from potential_inputs import SETTINGS
from scipy.stats import spearmanr

from invdesign.benchmarking import splits as protocols
from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import chemical_system
from invdesign.records import Estimate
from invdesign.surrogates.fitting.assess import STIFF, figures
from invdesign.surrogates.fitting.relaxed_stage import potential_table
from invdesign.surrogates.fitting.train import Settings, TrainingData, fit
from invdesign.surrogates.inputs.dataset import select


def folds(protocol: str, data: protocols.Data) -> list[protocols.Fold]:
    """The splits of a protocol."""
    if protocol != "all_systems":
        return protocols.folds(protocol, data)
    systems = np.array([chemical_system(gene.numbers) for gene in data.genes])
    names = np.unique(systems)
    part = dict(zip(names, np.random.default_rng(0).permutation(len(names)) % protocols.FOLDS, strict=True))
    of = np.array([part[name] for name in systems])
    rest = np.where(data.split == "valid", "valid", "train")
    return [protocols.Fold(protocol, str(k + 1), np.where(of == k, "test", rest)) for k in range(protocols.FOLDS)]


def judged(data: TrainingData, settings: Settings) -> tuple[dict[str, Any], list[Estimate]]:
    """Errors of the moduli in log10 and coverage of their 90 % intervals on the test part of one fold."""
    model = fit("relaxed", data, settings, progress=lambda line: None)
    rows = data.rows("test")
    assert data.extra is not None
    estimates = model.estimates(select(data.copies[0], rows), data.extra[rows])
    found: dict[str, Any] = {"crystals": len(rows)}
    for name in protocols.MODULI:
        of_one = figures(name, estimates, data.labelled.labels[name][rows])
        found[name] = {key: of_one[key] for key in ("mae", "coverage_90")}
    return found, estimates


def pooled(estimates: Mapping[int, Estimate], data: protocols.Data) -> dict[str, Any]:
    """All figures of the moduli over the test parts together, each crystal once, and the stiff tail by class."""
    rows = np.array(sorted(estimates))
    labels = {name: values[rows] for name, values in data.labels.items()}
    near = labels["energy_above_hull"] <= protocols.MATBENCH_HULL
    plausible = labels["shear_modulus"] <= 1.5 * labels["bulk_modulus"]
    out: dict[str, Any] = {"crystals": len(rows)}
    for name in protocols.MODULI:
        truth = labels[name]
        mean = np.array([estimates[i].values[name].mean for i in rows])
        out[name] = dict(figures(name, [estimates[i] for i in rows], truth))
        for title, kept in (("all", truth > 0), ("near_hull", near), ("plausible", plausible)):
            stiff = np.flatnonzero((truth > STIFF[name]) & kept)
            systems = [chemical_system(data.genes[rows[i]].numbers) for i in stiff]
            out[name][f"stiff_{title}"] = ranked(mean[stiff], truth[stiff], systems)
    return out


def ranked(mean: np.ndarray, truth: np.ndarray, systems: Sequence[str]) -> dict[str, float]:
    """Bias, and Spearman's coefficient with its standard deviation over draws of chemical systems."""
    found = {"crystals": len(mean), "bias_gpa": float((mean - truth).mean())}
    rng, names = np.random.default_rng(0), sorted(set(systems))
    if len(names) < 5:
        return found
    groups = [np.flatnonzero(np.array(systems) == name) for name in names]
    draws = [np.concatenate([groups[k] for k in rng.integers(len(groups), size=len(groups))]) for _ in range(1000)]
    return found | {
        "spearman": float(spearmanr(mean, truth).statistic),
        "deviation": float(np.std([spearmanr(mean[rows], truth[rows]).statistic for rows in draws])),
    }


def summary(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the folds and standard deviations between them."""
    out: dict[str, Any] = {"crystals": sum(fold["crystals"] for fold in parts)}
    for name in protocols.MODULI:
        errors = [fold[name]["mae"] for fold in parts]
        covered = [fold[name]["coverage_90"] for fold in parts]
        out[name] = {
            "mae": float(np.mean(errors)),
            "between_folds": float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
            "coverage_90": float(np.mean(covered)),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--protocols", default="matbench,time", metavar="A,B")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--members", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = protocols.read()
    n = len(data.genes)
    extra = potential_table(data.genes, np.arange(n), np.ones(n, dtype=bool), args.cache, "package")
    settings = replace(SETTINGS, members=args.members)
    record: dict[str, Any] = {"settings": asdict(settings), "protocols": {}}
    for protocol in args.protocols.split(","):
        parts: list[dict[str, Any]] = []
        estimates: dict[int, Estimate] = {}
        for fold in folds(protocol, data):
            training = replace(protocols.training(fold, data), extra=extra)
            found, answers = judged(training, settings)
            parts.append(found)
            estimates |= dict(zip(training.rows("test").tolist(), answers, strict=True))
            print(protocol, fold.name, found, flush=True)
        record["protocols"][protocol] = {"folds": parts, **summary(parts), "pooled": pooled(estimates, data)}
        write_record(args.out, record, settings.seed, ("labelled_crystals.npz", "energy_scale_sevennet-l3i5.json"))
        print(protocol, record["protocols"][protocol], flush=True)


if __name__ == "__main__":
    main()
