"""Train the shipped adversarial generator again: about an hour of one core.

Run: python scripts/train_gan.py --data DIR [--critic gene|latent] [--out FILE] [--work DIR]

DIR holds `crystals.parquet`. It starts from the weights of the shipped autoencoder. The first 1,500 steps follow
the critic alone; with the gene critic, the rest is also rewarded for the chance of lying within 0.1 eV/atom of the
hull by the gate and its experience. Interrupted, the same call goes on from the last checkpoint in the folder.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from invdesign import build
from invdesign.crystal import Crystal, FloatArray
from invdesign.generators.prepare import prepare
from invdesign.generators.train import make_training_set
from invdesign.generators.train_gan import AdversarialConfig, Merit, train_gan
from invdesign.metrics import below
from invdesign.pipeline import predict
from invdesign.records import Candidate, Evaluation
from invdesign.surrogates import load_gate, load_proposal_gate

REALISM, STEPS = 1500, 2000
FIRST = AdversarialConfig(steps=REALISM, warmup=300, critic_rate=6e-4)


def chance_of_stability(limit: float = 0.1) -> Merit:
    """Log probability that a crystal relaxes to within the limit of the hull, by the gate and its experience."""
    gate, reference = load_proposal_gate(), build.reference()

    def merit(crystals: Sequence[Crystal]) -> FloatArray:
        rows = predict([Evaluation(Candidate("", c, "", "")) for c in crystals], gate, reference)
        values = [row.gate.values.get("energy_above_hull") if row.gate else None for row in rows]
        return np.log([max(1e-9, below(limit, value)) for value in values])

    return merit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--critic", choices=["gene", "latent"], default="gene")
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables/gan.safetensors"))
    parser.add_argument("--work", type=Path, default=Path("gan_training"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    prepared = prepare(args.data / "crystals.parquet", load_gate().predict)
    data = make_training_set(prepared.genes, prepared.labels, prepared.split)
    vae = Path(str(build.resources.files("invdesign.tables").joinpath("vae.safetensors")))
    first, out, folder = (
        replace(FIRST, critic=args.critic, seed=args.seed),
        args.work / "gan.safetensors",
        args.work,
    )
    history = train_gan(data, first, vae, out, folder, report)
    if args.critic == "gene":
        second = replace(first, steps=STEPS)
        history = train_gan(data, second, vae, out, folder, report, merit=chance_of_stability())
    shutil.copy(out, args.out)
    sheet = {"config": asdict(first), "steps_with_merit": STEPS - REALISM, "checks": history}
    args.out.with_suffix(".json").write_text(json.dumps(sheet, indent=1) + "\n")
    print(f"wrote {args.out}")


def report(stage: str, done: int, total: int | None) -> None:
    """A line for every hundred steps."""
    if done % 100 == 0:
        print(stage, done, total, flush=True)


if __name__ == "__main__":
    main()
