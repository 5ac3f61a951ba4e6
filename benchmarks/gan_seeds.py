"""How stable adversarial training is: the same figures for generators that differ in nothing but their seed.

Run: python benchmarks/gan_seeds.py FILE FILE … [-n 500] [--relax 100] [--seed 0] [--workers N] --out FILE.json
     [--sheet invdesign/tables/gan.md]

Each FILE holds weights that `scripts/train_gan.py --seed S --out FILE` wrote. They are measured as `invdesign
benchmark generation` measures; beside the figures of each, their mean and standard deviation over the files.
Stopped, the same command goes on. With `--sheet`, the table becomes the last part of that data sheet.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from invdesign.benchmarking.generation import Plan, default_bench, generation
from invdesign.benchmarking.run import write_record
from invdesign.errors import InvdesignError
from invdesign.generators.gan import GANGenerator

FIGURES = {
    "validity.smact": "SMACT valid",
    "symmetry.groups_that_occur": "space groups that occur",
    "symmetry.wyformer_space_group_chi2": "space groups, χ² as in WyFormer",
    "novelty.unique": "unique",
    "novelty.gene": "new gene",
    "novelty.structure": "new structure",
    "distribution.coverage_recall": "coverage of known crystals, recall",
    "distribution.coverage_precision": "coverage, precision",
    "distribution.elements_total_variation": "elements, total variation",
    "distribution.elements_that_occur": "elements that occur",
    "relaxed.stable_at_0.1": "stable at 0.1 eV/atom",
    "relaxed.sun_at_0.1": "stable, unique and new",
    "relaxed.space_group_kept": "space group kept by relaxation",
}
TITLE = "## Over seeds"
TABLES = ("hull.parquet", "known_crystals.parquet", "energy_scale_sevennet-0.json", "surrogate_gate.safetensors")


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


def section(record: Mapping[str, Any]) -> str:
    """The part of the data sheet about seeds and modes."""
    names, plan = list(record["generators"]), record["plan"]
    lines = [
        TITLE,
        "",
        f"{plan['n']} samples of each, {plan['relax']} relaxed (`benchmarks/gan_seeds.py`), rates as shares.",
        "",
        "| | " + " | ".join([*names, "mean", "standard deviation"]) + " |",
        "| --- |" + " ---: |" * (len(names) + 2),
    ]
    for path, title in FIGURES.items():
        each = [figure(found, path) for found in record["generators"].values()]
        summary = record["over seeds"][path]
        cells = [f"{value:.3g}" for value in (*each, summary["mean"], summary["std"])]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--relax", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    files = {path.stem: path for path in args.weights}
    if len(files) < max(2, len(args.weights)):
        parser.error("two files of weights or more, with different names")
    bench = default_bench(Plan(("gan",)), args.workers)
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for name, path in files.items()}
    about = {**bench.about, "weights": digests}
    bench = replace(bench, generator=lambda name: GANGenerator.load(files[name]), about=about, prints=None)
    try:
        record = generation(Plan(tuple(files), args.n, args.seed, args.relax), args.out, bench=bench)
    except InvdesignError as error:
        raise SystemExit(str(error)) from None
    finally:
        bench.relaxer.close()  # type: ignore[attr-defined]
    record["generators"].pop("known", None)
    record["over seeds"] = over_seeds(record)
    record.pop("run")
    write_record(args.out, record, args.seed, TABLES)
    print(section(record))
    if args.sheet:
        before = args.sheet.read_text().split(TITLE)[0].rstrip()
        args.sheet.write_text(f"{before}\n\n{section(record)}")


if __name__ == "__main__":
    main()
