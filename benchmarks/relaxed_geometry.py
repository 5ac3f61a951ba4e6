"""Does the second stage hold on crystals that a potential has relaxed, as in a design run, and not DFT?

Run: python benchmarks/relaxed_geometry.py --out FILE.json [--crystals 300] [--seed 0] [--workers 2]

It was trained on geometries relaxed by DFT, and its figures are of such. Here crystals with computed moduli of
unseen chemical systems (up to 20 sites, by chance) are relaxed with the default potential as in a design run; the
second stage is asked about both geometries: mean absolute error (log10 for moduli) and coverage of the 90 %
intervals against the labels, which belong to the DFT geometry. Three minutes on two cores for 300.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from invdesign.benchmarking import splits as benchmark_protocols
from invdesign.benchmarking.run import write_record
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.records import Estimate, Relaxation
from invdesign.relaxation.relaxer import PotentialRelaxer
from invdesign.surrogates import load_relaxed
from invdesign.surrogates.scales import to_scale

MOST_SITES = 20
TABLES = (
    "surrogate_relaxed.safetensors",
    "surrogate_gate.safetensors",
    "labelled_crystals.npz",
    "energy_scale_sevennet-0.json",
    "energy_scale_sevennet-l3i5.json",
)
NAMES = ("bulk_modulus", "shear_modulus", "band_gap", "formation_energy")


def scaled(name: str, estimates: Sequence[Estimate]) -> np.ndarray:
    """(n,) means in the modelled scale."""
    return to_scale(name, np.array([e.values[name].mean for e in estimates]))


def errors(name: str, estimates: Sequence[Estimate], truth: np.ndarray) -> dict[str, float]:
    """Mean absolute error and coverage of one property."""
    values = [e.values[name] for e in estimates]
    inside = [v.low <= t <= v.high for v, t in zip(values, truth, strict=True) if np.isfinite(t)]
    off = np.abs(scaled(name, estimates) - to_scale(name, truth))
    return {"mae": float(np.nanmean(off)), "coverage_90": float(np.mean(inside)), "n": len(inside)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crystals", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    data = benchmark_protocols.read()
    test = np.random.default_rng(args.seed).permutation(np.flatnonzero(data.split == "test"))
    crystals = decode([data.genes[int(i)] for i in test])
    chosen = [(int(i), c) for i, c in zip(test, crystals, strict=True) if c.n_sites <= MOST_SITES][: args.crystals]
    with PotentialRelaxer(workers=args.workers) as relaxer:
        results = relaxer.relax([crystal for _, crystal in chosen])
    pairs = [(i, c, r.crystal) for (i, c), r in zip(chosen, results, strict=True) if isinstance(r, Relaxation)]
    rows = np.array([i for i, _, _ in pairs])
    surrogate = load_relaxed()
    before, after = (surrogate.predict(part) for part in ([p[1] for p in pairs], [p[2] for p in pairs]))
    record = {
        "crystals": len(chosen),
        "relaxed": len(pairs),
        "volume_ratio": volume_ratio([p[1] for p in pairs], [p[2] for p in pairs]),
        "properties": {
            name: {
                "dft": errors(name, before, data.labels[name][rows]),
                "potential": errors(name, after, data.labels[name][rows]),
                "moved": float(np.abs(scaled(name, after) - scaled(name, before)).mean()),
                "leaning": float((scaled(name, after) - scaled(name, before)).mean()),
            }
            for name in NAMES
        },
    }
    print(json.dumps(record, indent=1))
    write_record(args.out, record, args.seed, TABLES)


def volume_ratio(before: Sequence[Crystal], after: Sequence[Crystal]) -> dict[str, float]:
    """Volume per atom after relaxation over that before: median and mean distance from one."""
    ratio = np.array([(b.volume / b.n_sites) / (a.volume / a.n_sites) for a, b in zip(before, after, strict=True)])
    return {"median": float(np.median(ratio)), "mean_off": float(np.abs(ratio - 1.0).mean())}


if __name__ == "__main__":
    main()
