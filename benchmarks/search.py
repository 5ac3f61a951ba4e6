"""Does the search help? The same query with the Optuna search and without, shipped parts, seed by seed.

Both arms spend the same relaxations on the same query with the same gate; only the conditions of the requests
differ. What counts is what a relaxation brings: crystals that are accepted (stable, new, unique, sound) and whose
means are on target. A run is recorded in a ledger under --work, so that an interrupted benchmark goes on.

Run: python benchmarks/search.py [--seeds 3] [--relaxations 40] [--workers 2] [--work DIR] [--out FILE.json]
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import Query, build
from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import reduced_formula
from invdesign.engine.campaign import Campaign
from invdesign.engine.parts import Parts
from invdesign.selection.targets import meets_targets, target_probability

RESULTS = Path(__file__).parent / "results" / "search.json"
ARMS = ("optuna", "none")
TABLES = (*build.TRAINED, "hull.parquet", "known_crystals.parquet", "energy_scale_sevennet-0.json")
FIGURES = ("accepted", "on_target", "score", "stable", "target_probability", "formulas")


def parts_for(query: Query, shared: Parts | None, workers: int) -> Parts:
    """Parts of a campaign: models and worker processes are shared, the memory of uniqueness is not."""
    if shared is None:
        return build.default_parts(query, workers)
    return replace(shared, unique=build.validator("uniqueness"))


def run(query: Query, seed: int, parts: Parts, ledger: Path) -> dict[str, Any]:
    """One campaign to the end of its budget, and what it found."""
    with Campaign(query, seed, parts, ledger) as campaign:
        steps = list(campaign)
        found, relaxed = campaign.accepted, campaign.selected
        stable = [r.energy_above_hull for r in relaxed if r.energy_above_hull is not None]
        targets = campaign.targets
        return {
            "seed": seed,
            "relaxations": len(relaxed),
            "accepted": len(found),
            "on_target": sum(meets_targets(row, targets) for row in found),
            "score": float(sum(row.score for row in found)),
            "stable": sum(value.mean <= query.max_energy_above_hull for value in stable),
            "target_probability": float(
                np.mean([target_probability(targets, row.estimate or row.gate) for row in relaxed])
            ),
            "formulas": len({reduced_formula(row.crystal.numbers) for row in found}),
            "rounds": [dict(step.counts) for step in steps],
            "seconds": round(sum(step.seconds for step in steps), 1),
        }


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means by arm, and the differences seed by seed with their standard error."""
    out: dict[str, Any] = {}
    for name in FIGURES:
        values = {arm: np.array([row[name] for row in rows], dtype=float) for arm, rows in runs.items()}
        gain = values["optuna"] - values["none"]
        out[name] = {
            **{arm: round(float(v.mean()), 4) for arm, v in values.items()},
            "difference": round(float(gain.mean()), 4),
            "standard_error": round(float(gain.std(ddof=1) / np.sqrt(len(gain))), 4) if len(gain) > 1 else None,
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help="default: bulk_modulus>=250, shear_modulus>=150")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--relaxations", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/search"), help="folder of the ledgers")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    targets = args.target or ["bulk_modulus>=250", "shear_modulus>=150"]
    # as many candidates as relaxations are asked for, so that no run ends before its budget is spent
    query = Query(targets=targets, n=args.relaxations, relaxations=args.relaxations)
    args.work.mkdir(parents=True, exist_ok=True)
    shared: Parts | None = None
    runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in ARMS}
    try:
        for seed in range(args.seeds):
            for arm in ARMS:
                mine = replace(query, search=arm)
                shared = parts_for(mine, shared, args.workers)
                row = run(mine, seed, shared, args.work / f"{arm}_{args.relaxations}_{seed}.sqlite")
                runs[arm].append(row)
                print(arm, {key: row[key] for key in ("seed", "seconds", *FIGURES)}, flush=True)
    finally:
        if shared is not None:
            shared.relaxer.close()  # type: ignore[attr-defined]
    record = {
        "query": query.to_dict() | {"search": list(ARMS)},
        "seeds": args.seeds,
        "relaxations": args.relaxations,
        "summary": summary(runs),
        "runs": runs,
        "parts": dict(shared.provenance) if shared else {},
    }
    write_record(args.out, record, f"0 to {args.seeds - 1}", TABLES)
    print(json.dumps(record["summary"], indent=2))


if __name__ == "__main__":
    main()
