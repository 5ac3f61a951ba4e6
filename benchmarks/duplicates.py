"""Duplicates: how many planted ones are missed, how many near misses are taken for one, and what the search costs.

    python benchmarks/duplicates.py [-n 10000] [--planted 500] [--generator vae] [--seed 0] [--out FILE.json]

Planted duplicates are known crystals as supercells, from another origin, strained, with their sites in another
order, as their mirror image, and in another setting of the cell: the table of known crystals has to find each.
Near misses have the formula of a known crystal and another number of atoms in the primitive cell, so that they are
other crystals: supercells with two unlike atoms exchanged, and other phases of the formula. The cost is that of n
candidates, looked for among all known crystals and among each other: raw samples of a generator, and each
twentieth of them once more as a supercell from another origin.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build
from invdesign.benchmarking.metrics import rate
from invdesign.benchmarking.run import write_record
from invdesign.benchmarking.speed_crystals import known, supercell
from invdesign.benchmarking.timing import cpu_seconds
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import primitive
from invdesign.records import Candidate, Conditions, Evaluation, Failure, Status
from invdesign.reference.local import LocalReference, load_known
from invdesign.validators.novelty import Novelty
from invdesign.validators.uniqueness import Uniqueness

CELLS = (2, 16)
"""Atoms in the primitive cells of the crystals that are planted."""
STRAIN = 0.02
"""Largest component of a planted strain."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-n", type=int, default=10_000, help="candidates")
    parser.add_argument("--planted", type=int, default=500, help="duplicates, and as many near misses")
    parser.add_argument("--generator", default="vae")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the record as JSON")
    given = parser.parse_args()
    found = {
        "planted": planted(given.planted, np.random.default_rng(given.seed)),
        "near_misses": near_misses(given.planted, np.random.default_rng(given.seed + 1)),
        "search": search(given.generator, given.n, given.seed),
    }
    print(json.dumps(found, indent=1))
    if given.out:
        tables = ("known_crystals.parquet", "known_formulas.parquet", f"{given.generator}.safetensors")
        write_record(given.out, found, given.seed, tables)


def shifted(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """From another origin."""
    return replace(crystal, frac_coords=(crystal.frac_coords + rng.random(3)) % 1.0, gene=None)


def strained(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """With a random strain."""
    strain = rng.uniform(-STRAIN, STRAIN, (3, 3))
    return replace(crystal, lattice=crystal.lattice @ (np.eye(3) + 0.5 * (strain + strain.T)), gene=None)


def reordered(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """With its sites in another order."""
    order = rng.permutation(crystal.n_sites)
    return replace(crystal, numbers=crystal.numbers[order], frac_coords=crystal.frac_coords[order], gene=None)


def mirrored(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """Its mirror image: the enantiomorph of a chiral crystal."""
    return replace(crystal, frac_coords=(-crystal.frac_coords) % 1.0, gene=None)


def resettled(crystal: Crystal, rng: np.random.Generator) -> Crystal:
    """In another cell of the same lattice: some vectors added to others, and their order turned round."""
    change = np.eye(3, dtype=int)
    for _ in range(3):
        i, j = rng.choice(3, size=2, replace=False)
        change[i] += int(rng.choice([-1, 1])) * change[j]
    change = np.roll(change, int(rng.integers(3)), axis=0)
    coords = crystal.frac_coords @ np.linalg.inv(change)
    return replace(crystal, lattice=change @ crystal.lattice, frac_coords=coords % 1.0, gene=None)


KINDS: dict[str, Callable[[Crystal, np.random.Generator], Crystal]] = {
    "supercell": supercell,
    "origin": shifted,
    "strain": strained,
    "order of sites": reordered,
    "enantiomorph": mirrored,
    "setting": resettled,
}
"""What is done to a known crystal that leaves it the same."""


def planted(n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Share of the planted duplicates that are found, by kind, and those that are missed.

    Args:
        n: number of them, in equal parts of each kind.
        rng: source of randomness.
    """
    table, names = load_known(), list(KINDS)
    found: dict[str, list[bool]] = {name: [] for name in names}
    missed, cpu = [], cpu_seconds()
    for number, crystal in enumerate(known(n, CELLS, rng)):
        kind = names[number % len(names)]
        hit = table.match(KINDS[kind](crystal, rng)) is not None
        found[kind].append(hit)
        if not hit:
            missed.append(f"{crystal.source} ({kind})")
    everything = [hit for hits in found.values() for hit in hits]
    return {
        "found": rate(everything).to_dict(),
        "by_kind": {name: rate(hits).to_dict() for name, hits in found.items()},
        "missed": missed,
        "cpu_seconds": cpu_seconds() - cpu,
    }


def near_misses(n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Share of other crystals of the same formula that are taken for the crystal, by kind, and their names."""
    found: dict[str, list[bool]] = {}
    wrong = []
    for kind, pairs in (("exchanged atoms", exchanged(n, rng)), ("other phase", phases(10 * n, rng))):
        for crystal, other in islice(pairs, n // 2):
            hit = same(reduced(crystal), reduced(other))
            found.setdefault(kind, []).append(hit)
            if hit:
                wrong.append(f"{crystal.source} and {other.source} ({kind})")
    everything = [hit for hits in found.values() for hit in hits]
    by_kind = {kind: rate(hits).to_dict() for kind, hits in found.items()}
    return {"taken_for_one": rate(everything).to_dict(), "by_kind": by_kind, "false": wrong}


def exchanged(n: int, rng: np.random.Generator) -> Iterator[tuple[Crystal, Crystal]]:
    """Of n known crystals, those with a supercell in which two unlike atoms have changed places."""
    for crystal in known(n, CELLS, rng):
        other = supercell(crystal, rng)
        first = int(rng.integers(other.n_sites))
        unlike = np.flatnonzero(other.numbers != other.numbers[first])
        second = int(rng.choice(unlike))
        numbers = other.numbers.copy()
        numbers[[first, second]] = numbers[[second, first]]
        other = replace(other, numbers=numbers)
        if primitive(other).n_sites != primitive(crystal).n_sites:
            yield crystal, other


def phases(n: int, rng: np.random.Generator) -> Iterator[tuple[Crystal, Crystal]]:
    """Of n known crystals, those with another of the formula and with another number of atoms."""
    table = load_known()
    for crystal in known(n, CELLS, rng):
        mine = primitive(crystal).n_sites
        for row in table.rows_of_formula(reduced_formula(crystal.numbers)):
            if table.sites[row] <= 2 * CELLS[1] and table.id(row) != crystal.source:
                other = table.crystal(row)
                if primitive(other).n_sites != mine:
                    yield crystal, other
                    break


def search(generator: str, n: int, seed: int) -> dict[str, Any]:
    """Cost of asking for each of n raw samples whether it is known, and whether it has come before."""
    proposed = build.generator(generator).propose(round(n / 1.05), np.random.default_rng(seed), Conditions())
    crystals = [each for each in proposed if not isinstance(each, Failure)]
    again = [supercell(crystal, np.random.default_rng(seed)) for crystal in crystals[::20]]
    crystals += again
    rows = [Evaluation(Candidate(str(i), crystal, "", "")) for i, crystal in enumerate(crystals)]
    novelty, unique = Novelty(LocalReference()), Uniqueness()
    novelty.check(rows[0])
    cpu, wall = cpu_seconds(), time.perf_counter()
    answers = [(novelty.check(row).status, unique.check(row).status) for row in rows]
    return {
        "generator": generator,
        "candidates": len(rows),
        "known": sum(first is Status.FAIL for first, _ in answers),
        "repeated": sum(second is Status.FAIL for _, second in answers),
        "planted_repeats": len(again),
        "known_crystals": len(load_known()),
        "cpu_seconds": cpu_seconds() - cpu,
        "seconds": time.perf_counter() - wall,
    }


if __name__ == "__main__":
    main()
