"""Whether the autoencoder keeps to conditions: space group, elements, bulk modulus; raw samples, not relaxed.

Run: python benchmarks/conditions.py [-n 1000] [--seed 0] [--out FILE.json]

Raw means: as `invdesign generate vae` writes them. What its samples without conditions are like is measured by
`invdesign benchmark generation`, how often targets are hit by `invdesign benchmark targets`. The sampler leaves
out the genes that it was trained on; *new_genes_if_training_genes_are_kept* is the share of new ones without that.
A minute of one core.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.benchmarking.run import write_record
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import protostructure
from invdesign.crystallography.symmetry import space_group
from invdesign.elements import atomic_numbers
from invdesign.generators.sampler import SamplingConfig
from invdesign.generators.vae import VAEGenerator
from invdesign.records import Conditions
from invdesign.reference.local import LocalReference
from invdesign.surrogates import load_gate

TABLES = ("vae.safetensors", "surrogate_gate.safetensors", "known_crystals.parquet")
BULK_MODULI = (50.0, 300.0)
"""What is asked for, GPa."""


def draw(generator: VAEGenerator, n: int, seed: int, conditions: Conditions) -> list[Crystal]:
    items = generator.propose(n, np.random.default_rng(seed), conditions)
    return [item for item in items if isinstance(item, Crystal)]


def conditioned(generator: VAEGenerator, n: int, seed: int) -> dict[str, Any]:
    """How many samples keep to a condition, and the mean predicted bulk modulus of those asked for one."""
    cubic = draw(generator, n, seed, Conditions(space_groups=frozenset([225])))
    system = atomic_numbers(["Ti", "B", "N"])
    nitrides = draw(generator, n, seed, Conditions(allowed=system))
    gate, means = load_gate(), {}
    for wanted in BULK_MODULI:
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


def new_genes(generator: VAEGenerator, n: int, seed: int) -> float:
    """Share of genes that no known crystal has, among samples that may repeat the training set."""
    known = {protostructure(k.gene) for k in LocalReference().known_genes()}
    free = VAEGenerator(
        generator.model, generator.scaling, generator.element_volume, SamplingConfig(skip_known=False)
    )
    keys = [protostructure(c.gene) for c in draw(free, n, seed, Conditions()) if c.gene]
    return sum(key not in known for key in keys) / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="samples for each condition")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the record as JSON")
    args = parser.parse_args()
    generator = VAEGenerator.load()
    record = {
        "samples": args.n,
        "conditioned": conditioned(generator, args.n, args.seed),
        "new_genes_if_training_genes_are_kept": new_genes(generator, args.n, args.seed),
    }
    print(json.dumps(record, indent=1))
    if args.out:
        write_record(args.out, record, args.seed, TABLES)


if __name__ == "__main__":
    main()
