"""Stable, unique and new: how many of a generator's raw samples are, by a universal potential; with any weights.

A quick look at variants of one generator (weights, temperatures, conditions); `invdesign benchmark generation`
compares generators at length. Relaxations of crystals that will not come within 0.1 eV/atom of the hull are
stopped early, so that a sample costs a third of a second.

Run: python benchmarks/stable_new.py vae [-n 200] [--weights FILE] [--temperature 1] [--energy-above-hull 0]
     [--potential chgnet] [--seed 2] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build
from invdesign.benchmarking.metrics import rate
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.generators.gan import GANGenerator
from invdesign.generators.vae import VAEGenerator
from invdesign.protocols import Generator
from invdesign.records import Candidate, Conditions, Evaluation, Failure, Relaxation, Status

LIMIT = 0.1


def generator(name: str, weights: Path | None) -> Generator:
    """A generator with weights of one's own, or the shipped ones."""
    if weights is None:
        return build.generator(name)
    return {"vae": VAEGenerator, "gan": GANGenerator}[name].load(weights)


def judged(crystals: Sequence[Crystal], potential: str | None, workers: int | None) -> dict[str, list[bool]]:
    """For every crystal whether it is stable, new, both and the first of its kind, and keeps its space group."""
    reference, unique = build.reference(), build.validator("uniqueness")
    relaxer = build.relaxer(potential, workers, ceiling=partial(build.ceiling, reference, LIMIT))
    found: dict[str, list[bool]] = {
        "stable": [],
        "new": [],
        "stable, unique and new": [],
        "stable keeps group": [],
    }
    results = sorted(relaxer.relax_iter(crystals))
    relaxer.close()
    for index, result in results:
        energy = None
        if isinstance(result, Relaxation):
            energy = reference.energy_above_hull(result.crystal, result.formation_energy)
        if isinstance(result, Failure) or energy is None:
            continue
        stable, new = energy.mean <= LIMIT, reference.match(result.crystal) is None
        row = Evaluation(Candidate(str(index), result.crystal, "", ""))
        found["stable"].append(stable)
        found["new"].append(new)
        found["stable, unique and new"].append(stable and new and unique.check(row).status is Status.PASS)
        gene = crystals[index].gene
        if stable and gene is not None:
            found["stable keeps group"].append(space_group(result.crystal, 0.1) == gene.space_group)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["vae", "gan", "substitution", "random"])
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--energy-above-hull", type=float)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--potential", help="of the judge; by default that of design runs")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    conditions = Conditions(temperature=args.temperature)
    if args.energy_above_hull is not None:
        conditions = replace(conditions, properties={"energy_above_hull": args.energy_above_hull})
    made = generator(args.name, args.weights).propose(args.n, np.random.default_rng(args.seed), conditions)
    crystals = [item for item in made if isinstance(item, Crystal)]
    found = judged(crystals, args.potential, args.workers)
    record: dict[str, Any] = {
        key: rate(values, len(values) if key == "stable keeps group" else args.n).to_dict()
        for key, values in found.items()
    }
    record |= {
        "asked": vars(args) | {"weights": str(args.weights.name) if args.weights else "shipped", "out": None},
        "space groups": len({c.gene.space_group for c in crystals if c.gene}),
        "elements": len({z for c in crystals for z in c.numbers.tolist()}),
        "versions": build.versions(),
    }
    text = json.dumps(record, indent=1, default=str)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
