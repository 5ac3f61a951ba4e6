"""The second stage under other splits, above all Matbench's folds, which others are measured on.

Run: python benchmarks/second_stage_splits.py --out FILE.json [--protocols matbench,time] [--cache DIR]
     [--members N]

Splits, crystals and labels are those of `invdesign benchmark surrogates` and come with the package. For each fold
the second stage is trained anew on the training part's crystals with moduli, without the gate and without other
crystals (`potential_inputs.py` has its settings), calibrated on the calibration part, and asked about the test
part. What the potentials say of the 11,630 crystals (an hour and a half of one core) is kept in `--cache`; then
one and a half minutes of one core for each fold and member. One thread: OMP_NUM_THREADS=1. The potentials have
seen energies and forces of crystals of all parts, but no modulus.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from potential_inputs import SETTINGS

from invdesign import benchmark_protocols as protocols
from invdesign.surrogates.calibrate import coverage
from invdesign.surrogates.dataset import select
from invdesign.surrogates.scales import to_scale
from invdesign.surrogates.train import Settings, TrainingData, fit
from invdesign.surrogates.train_relaxed import potential_table


def judged(data: TrainingData, settings: Settings) -> dict[str, Any]:
    """Errors of the moduli in log10 and coverage of their 90 % intervals on the test part of one fold."""
    model = fit("relaxed", data, settings, progress=lambda line: None)
    rows = data.rows("test")
    assert data.extra is not None
    raw = model.raw(select(data.copies[0], rows), data.extra[rows])
    outside = model.memory.percentile(model.memory.distance(raw.columns))
    found: dict[str, Any] = {"crystals": len(rows)}
    for name in protocols.MODULI:
        j, truth = model.properties.index(name), to_scale(name, data.labelled.labels[name][rows])
        ends = model.calibrations[name].interval(raw.mean[:, j], raw.spread[:, j], outside)
        found[name] = {
            "mae": float(np.nanmean(np.abs(raw.mean[:, j] - truth))),
            "coverage_90": coverage(*ends, truth),
        }
    return found


def summary(folds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the folds and standard deviations between them."""
    out: dict[str, Any] = {"crystals": sum(fold["crystals"] for fold in folds)}
    for name in protocols.MODULI:
        errors = [fold[name]["mae"] for fold in folds]
        covered = [fold[name]["coverage_90"] for fold in folds]
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
        folds = []
        for fold in protocols.folds(protocol, data):
            folds.append(judged(replace(protocols.training(fold, data), extra=extra), settings))
            print(protocol, fold.name, folds[-1], flush=True)
        record["protocols"][protocol] = {"folds": folds, **summary(folds)}
        args.out.write_text(json.dumps(record, indent=1) + "\n")
        print(protocol, summary(folds), flush=True)


if __name__ == "__main__":
    main()
