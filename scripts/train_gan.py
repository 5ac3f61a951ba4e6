"""Train the shipped adversarial generator again: about a quarter of an hour of one core.

Run: python scripts/train_gan.py --data DIR [--critic gene|latent] [--realism-only] [--seed 0] [--out FILE]
     [--work DIR]

DIR holds `crystals.parquet`. It starts from the weights of the shipped autoencoder. With the gene critic, what
`invdesign.training.recipes.design_reward` says (stable, balanced, as asked) is rewarded besides the critic's
opinion.
Interrupted, the same call goes on from the last checkpoint in the work folder. `benchmarks/gan_seeds.py` compares
the weights of several seeds and adds that to the data sheet.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from invdesign.generators.prepare import prepare
from invdesign.generators.train import make_training_set
from invdesign.generators.train_gan import AdversarialConfig, train_gan
from invdesign.surrogates import load_gate
from invdesign.tables import path_of
from invdesign.training.recipes import design_reward

CONFIGS = {
    "gene": AdversarialConfig(critic="gene", steps=700, warmup=150, rate=2e-4, critic_rate=6e-4),
    "latent": AdversarialConfig(critic="latent", steps=1500, warmup=100, rate=2e-4),
}
CURVE = ("step", "critic", "real_seen", "fake_seen", "reward", "divergence", "valid", "unique", "novel")
SHEET = """# Data sheet: `gan.safetensors`

Generator network of the conditional adversarial network over Wyckoff genes, read by `invdesign.generators.gan`:
mapping of noise and conditions, protostructure decoder, geometry decoder. Running means of the weights.

| | |
| --- | --- |
| data | Materials Project crystals (July 2024 snapshot, CC BY 4.0) with at most 20 sites per primitive cell and \
at most 0.1 eV/atom above the hull where that is known, split by chemical system, seed 0: {crystals} for \
training, test never seen |
| starts from | decoders and prior of `vae.safetensors`; the geometry decoder stays as it is |
| critic | `{critic}` (`generators/train_gan.py`), with projection of the conditions |
| reward besides | log probability of lying within 0.1 eV/atom of the hull by the gate and its correction, less \
1.6 for what SMACT calls invalid, less `log(1 + (difference / tolerance)² / 2)` for each asked property that the \
gate misses; genes of the training set are worst |
| settings | {settings} |
| script | `scripts/train_gan.py --data DIR` |

Training curve: loss of the critic; shares of real and of written genes that it tells; reward; divergence from the
start in nats; of 500 samples without any rejection the shares that keep their distances, are unique and are new.

| {names} |
| {rule} |
{rows}

Figures of its samples and other ways of training: `docs/benchmarks/generation.md`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--critic", choices=list(CONFIGS), default="gene")
    parser.add_argument("--realism-only", action="store_true", help="no reward but the critic's opinion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables/gan.safetensors"))
    parser.add_argument("--work", type=Path, default=Path("gan_training"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    prepared = prepare(args.data / "crystals.parquet", load_gate().predict)
    data = make_training_set(prepared.genes, prepared.labels, prepared.split)
    vae = path_of("vae.safetensors")
    config, out = replace(CONFIGS[args.critic], seed=args.seed), args.work / "gan.safetensors"
    reward = design_reward() if args.critic == "gene" and not args.realism_only else None
    history = train_gan(data, config, vae, out, args.work, report, reward)
    shutil.copy(out, args.out)
    args.out.with_suffix(".md").write_text(sheet(config, history, len(data.train)))
    print(f"wrote {args.out}")


def sheet(config: AdversarialConfig, history: Sequence[Mapping[str, float]], crystals: int) -> str:
    """The data sheet."""
    rows = []
    for check in history:
        values = [check.get(name, check.get(f"train/{name}", math.nan)) for name in CURVE]
        rows.append("| " + " | ".join(f"{value:.4g}" for value in values) + " |")
    return SHEET.format(
        crystals=crystals,
        critic=config.critic,
        settings=", ".join(f"{name} {value}" for name, value in asdict(config).items() if name != "critic"),
        names=" | ".join(CURVE),
        rule=" | ".join("---" for _ in CURVE),
        rows="\n".join(rows),
    )


def report(stage: str, done: int, total: int | None) -> None:
    """A line for every hundred steps."""
    if done % 100 == 0:
        print(stage, done, total, flush=True)


if __name__ == "__main__":
    main()
