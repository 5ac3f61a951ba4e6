"""How many samples SMACT calls valid, beside as many known crystals: more than the benchmark of generation takes.

Run: python benchmarks/smact_share.py [--generators vae,gan] [-n 3000] [--seed 0] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from invdesign import build
from invdesign.benchmarking.metrics import rate, smact_valid
from invdesign.benchmarking.samples import Plan, draw_known
from invdesign.crystal import Crystal
from invdesign.records import Conditions
from invdesign.reference.local import load_known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", default="vae,gan")
    parser.add_argument("-n", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    plan = Plan(tuple(args.generators.split(",")), n=args.n, seed=args.seed)
    crystals = {"known": draw_known(load_known(), plan, args.n)}
    for name in plan.generators:
        made = build.generator(name).propose(
            args.n, np.random.default_rng(args.seed), Conditions(max_sites=plan.max_sites)
        )
        crystals[name] = [item for item in made if isinstance(item, Crystal)]
    record = {name: rate(smact_valid(c.numbers) for c in found).to_dict() for name, found in crystals.items()}
    text = json.dumps({"seed": args.seed, "versions": build.versions(), "smact_valid": record}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
