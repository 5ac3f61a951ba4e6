"""What the shipped autoencoder's raw samples are: validity, novelty, symmetry, obedience to conditions, speed.

Raw means: as `invdesign generate vae` writes them, neither screened nor relaxed. The known crystals are those of
the package (103,000 protostructures); the sampler leaves out the genes that it was trained on, and the share of
new genes without that is printed beside. Relaxation is by the default potential.

Run: python benchmarks/vae_samples.py [-n 1000] [--relax 200] [--seed 0] [--out FILE.json]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import platform
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np

from invdesign.crystal import Crystal
from invdesign.crystallography.genes import protostructure
from invdesign.crystallography.symmetry import space_group
from invdesign.elements import atomic_numbers
from invdesign.generators.sampler import SamplingConfig
from invdesign.generators.vae import VAEGenerator
from invdesign.records import Candidate, Conditions, Evaluation, Relaxation, Status
from invdesign.reference.local import LocalReference
from invdesign.relaxation.relaxer import PotentialRelaxer
from invdesign.surrogates import load_gate
from invdesign.validators.charge_balance import ChargeBalance
from invdesign.validators.distances import Distances


def draw(generator: VAEGenerator, n: int, seed: int, conditions: Conditions) -> list[Crystal]:
    items = generator.propose(n, np.random.default_rng(seed), conditions)
    return [item for item in items if isinstance(item, Crystal)]


def raw_figures(generator: VAEGenerator, n: int, seed: int) -> tuple[dict, list[Crystal]]:
    clock, wall = time.process_time(), time.perf_counter()
    crystals = draw(generator, n, seed, Conditions())
    wall, clock = time.perf_counter() - wall, time.process_time() - clock
    rows = [Evaluation(Candidate("x", c, "r", "vae")) for c in crystals]
    distances = Counter(Distances().check(row).status for row in rows)
    charge = Counter(ChargeBalance().check(row).status for row in rows)
    keys = [protostructure(c.gene) for c in crystals]
    known = {protostructure(k.gene) for k in LocalReference().known_genes()}
    plain = VAEGenerator(
        generator.model, generator.scaling, generator.element_volume, SamplingConfig(skip_known=False)
    )
    unfiltered = [protostructure(c.gene) for c in draw(plain, n, seed, Conditions())]
    return {
        "asked": n,
        "given": len(crystals),
        "draws": generator.counts,
        "distances_pass": distances[Status.PASS] / n,
        "charge_balance": {status.value: charge[status] / n for status in Status},
        "p1_share": sum(k[0] == 1 for k in keys) / n,
        "unique_genes": len(set(keys)) / n,
        "new_genes": sum(k not in known for k in keys) / n,
        "new_genes_if_training_genes_are_kept": sum(k not in known for k in unfiltered) / n,
        "space_group_as_asked_by_spglib": sum(space_group(c, 0.1) == c.gene.space_group for c in crystals) / n,
        "crystals_per_second": n / wall,
        "cpu_seconds": clock,
    }, crystals


def conditioned_figures(generator: VAEGenerator, n: int, seed: int) -> dict:
    cubic = draw(generator, n, seed, Conditions(space_groups=frozenset([225])))
    system = atomic_numbers(["Ti", "B", "N"])
    nitrides = draw(generator, n, seed, Conditions(allowed=system))
    gate, means = load_gate(), {}
    for wanted in (50.0, 300.0):
        found = gate.predict(draw(generator, n, seed, Conditions(properties={"bulk_modulus": wanted})))
        means[f"{wanted:g}"] = float(np.mean([e.values["bulk_modulus"].mean for e in found if e.values]))
    return {
        "space_group_225": {
            "given": len(cubic),
            "are_225_by_spglib": sum(space_group(c, 0.1) == 225 for c in cubic),
        },
        "chemical_system_Ti_B_N": {
            "given": len(nitrides),
            "with_other_elements": sum(not set(c.numbers.tolist()) <= system for c in nitrides),
        },
        "mean_gate_bulk_modulus_of_samples_asked_for": means,
        "difference_GPa": means["300"] - means["50"],
    }


def relaxed_figures(crystals: list[Crystal], potential: str | None, workers: int) -> dict:
    reference, settings = LocalReference(), {"potential": potential} if potential else {}
    with PotentialRelaxer(workers=workers, **settings) as relaxer:
        results = relaxer.relax(crystals)
    done = [(c, r) for c, r in zip(crystals, results, strict=True) if isinstance(r, Relaxation)]
    kept = sum(space_group(r.crystal, 0.1) == c.gene.space_group for c, r in done)
    places = [reference.energy_above_hull(r.crystal, r.formation_energy) for _, r in done]
    stable = [p is not None and p.mean <= 0.1 for p in places]
    new = [
        reference.match(r.crystal) is None and not reference.phase_without_crystal(r.crystal.numbers)
        for _, r in done
    ]
    n = len(crystals)
    return {
        "relaxed": n,
        "potential": done[0][1].potential if done else "",
        "failed": n - len(done),
        "space_group_kept": kept / n,
        "stable_at_0.1": sum(stable) / n,
        "new_structures": sum(new) / n,
        "stable_and_new_at_0.1": sum(s and f for s, f in zip(stable, new, strict=True)) / n,
        "median_rms_displacement_A": float(np.median([r.rms_displacement for _, r in done])),
        "cpu_seconds_each": float(np.mean([r.seconds for _, r in done])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--relax", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--potential")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    generator = VAEGenerator.load()
    record, crystals = raw_figures(generator, args.n, args.seed)
    figures = {"raw": record, "conditioned": conditioned_figures(generator, args.n, args.seed)}
    if args.relax:
        figures["relaxed"] = relaxed_figures(crystals[: args.relax], args.potential, args.workers)
    packages = ("invdesign", "torch", "numpy", "spglib", "smact", "pymatgen", "chgnet", "sevenn")
    figures |= {
        "seed": args.seed,
        "versions": {p: metadata.version(p) for p in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread per process",
    }
    print(json.dumps(figures, indent=2))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
