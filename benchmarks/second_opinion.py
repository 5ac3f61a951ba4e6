"""Do other potentials agree? Relax the CIFs of a run again with a potential that had no part in it.

For every candidate: energy above hull by the other potential (its own calibrated scale), whether it is stable
there (at most 0.1 eV/atom), still new (no match among the known crystals), unique within the list, and keeps its
space group. A structure relaxed by one potential is only the start for the other.

Run: python benchmarks/second_opinion.py RUN [--potential chgnet] [--workers 2] [--out FILE.json]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
from pathlib import Path

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher

from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import primitive, space_group
from invdesign.data.convert import to_pymatgen
from invdesign.data.read import read_crystals
from invdesign.records import Relaxation
from invdesign.reference.local import LocalReference
from invdesign.relaxation.relaxer import PotentialRelaxer


def first_of_its_kind(crystals: list[Crystal]) -> list[bool]:
    """Whether a crystal matches none before it (StructureMatcher, default settings)."""
    matcher, structures = StructureMatcher(), [to_pymatgen(c) for c in crystals]
    return [not any(matcher.fit(s, before) for before in structures[:i]) for i, s in enumerate(structures)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--potential", default="chgnet")
    parser.add_argument("--limit", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    read = sorted(read_crystals([args.run / "cif"]), key=lambda item: str(getattr(item, "source", item)))
    crystals = [primitive(item) for item in read if isinstance(item, Crystal)]
    reference = LocalReference()
    with PotentialRelaxer(args.potential, workers=args.workers) as relaxer:
        results = relaxer.relax(crystals)
    unique, rows = first_of_its_kind(crystals), []
    for crystal, result, alone in zip(crystals, results, unique, strict=True):
        row = {"file": Path(crystal.source).name, "formula": reduced_formula(crystal.numbers), "unique": alone}
        if isinstance(result, Relaxation):
            energy = result.formation_energy
            place = None if energy is None else reference.energy_above_hull(result.crystal, energy)
            row |= {
                "energy_above_hull": None if place is None else round(place.mean, 4),
                "stable": place is not None and place.mean <= args.limit,
                "new": reference.match(result.crystal) is None
                and not reference.phase_without_crystal(result.crystal.numbers),
                "space_group_kept": space_group(result.crystal, 0.1) == space_group(crystal, 0.1),
            }
        else:
            row |= {"stable": False, "new": False, "space_group_kept": False, "reason": result.reason}
        rows.append(row)
    record = {
        "folder": args.run.name,
        "potential": args.potential,
        "limit_eV_per_atom": args.limit,
        "candidates": len(read),
        "agreed": float(np.mean([r["stable"] and r["new"] and r["unique"] for r in rows])) if rows else 0.0,
        **{key: float(np.mean([r[key] for r in rows])) for key in ("stable", "new", "unique", "space_group_kept")},
        "rows": rows,
    }
    print(json.dumps(record, indent=2))
    if args.out:
        tables = (f"energy_scale_{args.potential}.json", "hull.parquet", "known_crystals.parquet")
        write_record(args.out, record, "none: nothing is random", tables)


if __name__ == "__main__":
    main()
