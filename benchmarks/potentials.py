"""Relax known crystals from disturbed starts and compare formation energies with the Materials Project's.

    python benchmarks/potentials.py --data DIR --n 500 --potential sevennet-0 [--pre chgnet] [--second chgnet]
        [--out FILE.json]

DIR holds `crystals.parquet` and `mp2020_elemental_references.json.gz`. The crystals have up to 20 sites, lie
within 0.1 eV/atom of the hull and belong to chemical systems on which neither the energy scale nor any model of
the package was fitted (the potentials themselves were trained on the Materials Project). A quarter as many from
0.1 to 0.5 eV/atom are added for the classification at 0.1. Each start is strained by up to 10 % in volume and its
free coordinates are moved by about 0.05 Å, as those of a generated crystal are off.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign.benchmarking.run import write_record
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.crystallography.symmetry import space_group
from invdesign.data.split import by_chemical_system
from invdesign.potentials import calculators as potentials
from invdesign.potentials.energy_scale import published
from invdesign.progress import shown
from invdesign.records import Failure, Relaxation
from invdesign.relaxation.relaxer import PotentialRelaxer
from invdesign.relaxation.symmetry_adapted import build

STABLE = 0.1
"""Energy above the hull up to which a crystal counts as stable, eV/atom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--potential", default=potentials.DEFAULT)
    parser.add_argument("--pre")
    parser.add_argument("--second")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = choose(given.data / "crystals.parquet", given.n, given.seed)
    starts, known = started(rows, given.seed)
    began = time.monotonic()
    with PotentialRelaxer(given.potential, given.workers, pre=given.pre, second=given.second) as relaxer:
        results: list[Relaxation | Failure] = [Failure("relax", "not done")] * len(starts)
        with shown() as progress:
            for done, (index, result) in enumerate(relaxer.relax_iter(starts), start=1):
                results[index] = result
                progress(f"relaxations with {relaxer.potential}", done, len(starts))
    wall = time.monotonic() - began
    raw = published("raw", references(given.data), corrected=given.potential == "chgnet")
    report = {
        "potential": relaxer.potential,
        "wall_seconds": round(wall, 1),
        **summary(rows, known, starts, results, raw),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if given.out:
        scales = [f"energy_scale_{name}.json" for name in (given.potential, given.second) if name]
        write_record(given.out, report, given.seed, (*scales, "hull.parquet"))


def choose(path: Path, n: int, seed: int) -> pd.DataFrame:
    """n crystals near the hull and n / 4 above, of chemical systems held out."""
    table = pd.read_parquet(path)
    held_out = by_chemical_system(table.chemical_system, seed=0) != "train"
    usable = (table.n_sites <= 20) & table.formation_energy_per_atom.notna() & held_out
    height = table.energy_above_hull
    near = table[usable & (height <= STABLE)].sample(n, random_state=seed)
    above = table[usable & (height > STABLE) & (height <= 0.5)].sample(n // 4, random_state=seed)
    return pd.concat([near, above]).reset_index(drop=True)


def started(rows: pd.DataFrame, seed: int) -> tuple[list[Crystal], list[Crystal]]:
    """The disturbed starts and the crystals as known, both symmetrised."""
    rng = np.random.default_rng(seed)
    starts, known = [], []
    for row in rows.itertuples():
        lattice = lattices_from_parameters(np.array([row.lattice_parameters]))[0]
        crystal = Crystal(lattice, row.atomic_numbers, row.frac_coords.reshape(-1, 3), source=row.material_id)
        start, symmetric = disturbed(crystal, rng)
        starts.append(start)
        known.append(symmetric)
    return starts, known


def disturbed(crystal: Crystal, rng: np.random.Generator) -> tuple[Crystal, Crystal]:
    """A crystal moved within its own symmetry, and the symmetrised crystal itself."""
    space = build(crystal, symprec=0.1)
    strain = rng.normal(scale=0.01, size=space.n_strains)
    strain[0] = np.sqrt(3.0) * np.log1p(rng.uniform(-0.1, 0.1)) / 3.0
    lattice, coords = space.at(np.concatenate([strain, rng.normal(scale=0.05, size=len(space.displacements))]))
    return Crystal(lattice, crystal.numbers, coords, source=crystal.source), space.crystal


def references(data: Path) -> dict[str, float]:
    """Energy per atom of each element in its reference state, without corrections."""
    with gzip.open(data / "mp2020_elemental_references.json.gz", "rt") as stream:
        entries = json.load(stream)
    return {name: entry["energy"] / sum(entry["composition"].values()) for name, entry in entries.items()}


def summary(
    rows: pd.DataFrame,
    known: list[Crystal],
    starts: list[Crystal],
    results: list[Relaxation | Failure],
    raw: Any,
) -> dict[str, Any]:
    """Every figure of the benchmark."""
    placed = [
        (i, r) for i, r in enumerate(results) if isinstance(r, Relaxation) and r.formation_energy is not None
    ]
    kept, good = [i for i, _ in placed], [r for _, r in placed]
    label = rows.formation_energy_per_atom.to_numpy()[kept]
    height = rows.energy_above_hull.to_numpy()[kept]
    near = height <= STABLE
    before = np.array([raw.formation_energy(r.crystal, r.energy_per_atom).mean for r in good]) - label
    after = np.array([r.formation_energy.mean for r in good]) - label
    inside = [r.formation_energy.low <= x <= r.formation_energy.high for r, x in zip(good, label, strict=True)]
    volume = [
        r.crystal.volume / r.crystal.n_sites / per_atom(known[i]) - 1 for i, r in zip(kept, good, strict=True)
    ]
    groups = [space_group(r.crystal) == space_group(starts[i]) for i, r in zip(kept, good, strict=True)]
    seconds = np.array([r.seconds for r in good])
    return {
        "crystals": len(rows),
        "relaxed": len(good),
        "converged": sum(r.converged for r in good),
        "failures": [f"{r.item}: {r.reason}" for r in results if isinstance(r, Failure)],
        "formation_energy_before_calibration": errors(before[near]),
        "formation_energy": errors(after[near]),
        "formation_energy_higher_above_hull": errors(after[~near]),
        "inside_90_percent_interval": round(float(np.mean(inside)), 3),
        "stable_at_0.1": classification(height <= STABLE, height + after <= STABLE),
        "stable_at_0.1_before_calibration": classification(height <= STABLE, height + before <= STABLE),
        "volume_change_percent": {"mean": pct(np.mean(volume)), "mean_absolute": pct(np.mean(np.abs(volume)))},
        "space_group_kept": round(float(np.mean(groups)), 4),
        "steps": {"median": float(np.median([r.steps for r in good])), "max": max(r.steps for r in good)},
        "cpu_seconds": {
            "mean": round(float(seconds.mean()), 2),
            "median": round(float(np.median(seconds)), 2),
            "max": round(float(seconds.max()), 1),
        },
    }


def per_atom(crystal: Crystal) -> float:
    return crystal.volume / crystal.n_sites


def pct(value: Any) -> float:
    return round(100.0 * float(value), 2)


def errors(error: FloatArray) -> dict[str, float]:
    """Error figures, eV/atom."""
    size = np.abs(error)
    figures = {
        "crystals": float(len(error)),
        "mean_absolute": size.mean(),
        "median_absolute": np.median(size),
        "mean": error.mean(),
        "median": np.median(error),
        "root_mean_square": np.sqrt((error**2).mean()),
        "absolute_95_percent": np.quantile(size, 0.95),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def classification(truth: Any, found: Any) -> dict[str, float]:
    """Agreement on stability over the whole sample, and precision and recall of `stable`."""
    both = float((truth & found).sum())
    figures = {
        "agreement": (truth == found).mean(),
        "precision": both / max(1.0, float(found.sum())),
        "recall": both / max(1.0, float(truth.sum())),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


if __name__ == "__main__":
    main()
