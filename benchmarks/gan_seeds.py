"""How stable adversarial training is: the same figures for generators that differ in nothing but their seed.

Run: python benchmarks/gan_seeds.py FILE FILE … [-n 500] [--relax 100] [--seed 0] [--workers N] --out FILE.json

Each FILE holds weights that `scripts/train_gan.py --seed S --out FILE` wrote. They are measured as `invdesign
benchmark generation` measures; beside the figures of each, their mean and standard deviation over the files.
Stopped, the same command goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from invdesign.benchmark import Plan, default_bench, generation
from invdesign.errors import InvdesignError
from invdesign.generators.gan import GANGenerator

FIGURES = (
    "validity.smact",
    "symmetry.groups_that_occur",
    "symmetry.wyformer_space_group_chi2",
    "novelty.unique",
    "novelty.gene",
    "novelty.structure",
    "distribution.coverage_recall",
    "distribution.coverage_precision",
    "distribution.elements_total_variation",
    "distribution.elements_that_occur",
    "relaxed.stable_at_0.1",
    "relaxed.sun_at_0.1",
    "relaxed.space_group_kept",
)


def figure(found: Mapping[str, Any], path: str) -> float:
    """A figure of a generator by its place in the record, rates as shares."""
    value: Any = found
    group, name = path.split(".", 1)
    value = found[group][name]
    return float(value["value"] if isinstance(value, Mapping) else value)


def over_seeds(record: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each figure over the generators of a record."""
    table = {}
    for path in FIGURES:
        values = [figure(found, path) for found in record["generators"].values()]
        table[path] = {"mean": fmean(values), "std": stdev(values), "least": min(values), "most": max(values)}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--relax", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    files = {path.stem: path for path in args.weights}
    if len(files) < max(2, len(args.weights)):
        parser.error("two files of weights or more, with different names")
    bench = default_bench(Plan(("gan",)), args.workers)
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for name, path in files.items()}
    about = {**bench.about, "weights": digests}
    bench = replace(bench, generator=lambda name: GANGenerator.load(files[name]), about=about)
    try:
        record = generation(Plan(tuple(files), args.n, args.seed, args.relax), args.out, bench=bench)
    except InvdesignError as error:
        raise SystemExit(str(error)) from None
    finally:
        bench.relaxer.close()  # type: ignore[attr-defined]
    record["generators"].pop("known", None)
    record["over seeds"] = over_seeds(record)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["over seeds"], indent=1))


if __name__ == "__main__":
    main()
