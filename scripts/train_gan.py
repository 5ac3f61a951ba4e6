"""Train the adversarial generator: `gan.safetensors` with its data sheet; a quarter of an hour of one core.

    python scripts/train_gan.py --data DIR [--out FOLDER] [--critic gene|latent] [--realism-only] [--seed 0]
        [--work DIR] [--small]

DIR holds `crystals.parquet`. It starts from the weights of the autoencoder in the folder. With the gene critic,
what `invdesign.training.recipes.design_reward` says (stable, balanced, as asked) is rewarded besides the critic's
opinion, by the gate and its correction in the folder. Interrupted, the same call goes on from the last checkpoint
in the work folder. `benchmarks/gan_seeds.py` compares the weights of several seeds.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from invdesign.generators.gan import GANGenerator
from invdesign.generators.prepare import prepare
from invdesign.generators.train import make_training_set
from invdesign.generators.train_gan import AdversarialConfig, train_gan
from invdesign.generators.vae import VAEGenerator
from invdesign.surrogates import PROPOSAL_CORRECTION, load_gate, weights_of
from invdesign.tables import path_of
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.recipes import design_reward
from invdesign.training.sheet import Sheet

CONFIGS = {
    "gene": AdversarialConfig(critic="gene", steps=700, warmup=150, rate=2e-4, critic_rate=6e-4),
    "latent": AdversarialConfig(critic="latent", steps=1500, warmup=100, rate=2e-4),
}
SMALL = {"steps": 30, "warmup": 10, "batch": 64, "check_every": 30, "check_samples": 200}
CURVE = ("step", "critic", "real_seen", "fake_seen", "reward", "divergence", "valid", "unique", "novel")
ABOUT = """\
Generator network of the conditional adversarial network over Wyckoff genes, read by `invdesign.generators.gan`:
mapping of noise and conditions, protostructure decoder, geometry decoder. Running means of the weights. It starts
from decoders and prior of `vae.safetensors`; the geometry decoder stays as it is."""
MORE = """\
Critic: `{critic}` (`generators/train_gan.py`), with projection of the conditions. {reward}Settings: {settings}.

Training curve: loss of the critic; shares of real and of written genes that it tells; reward; divergence from the
start in nats; of the samples of a check, without any rejection, the shares that keep their distances, are unique
and are new.

| {names} |
| {rule} |
{rows}"""
REWARD = """\
Reward besides: log probability of lying within 0.1 eV/atom of the hull by the gate and its correction, less 1.6
for what SMACT calls invalid, less `log(1 + (difference / tolerance)² / 2)` for each asked property that the gate
misses; genes of the training set are worst. """


def main() -> None:
    parser = options(__doc__, small=True)
    parser.add_argument("--critic", choices=list(CONFIGS), default="gene")
    parser.add_argument("--realism-only", action="store_true", help="no reward but the critic's opinion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("gan_training"), help="folder of checkpoints")
    args = begin(parser)
    args.work.mkdir(parents=True, exist_ok=True)
    rewarded = args.critic == "gene" and not args.realism_only
    needed = (VAEGenerator.weights, weights_of("gate"), *([PROPOSAL_CORRECTION] if rewarded else []))
    data = sources(args, "crystals.parquet") | built(*needed)
    prepared = prepare(args.data / "crystals.parquet", load_gate().predict)
    training = make_training_set(prepared.genes, prepared.labels, prepared.split)
    config = replace(CONFIGS[args.critic], seed=args.seed, **(SMALL if args.small else {}))
    made, reward = args.work / GANGenerator.weights, design_reward() if rewarded else None
    history = train_gan(training, config, path_of(VAEGenerator.weights), made, args.work, report, reward)
    out = args.out / GANGenerator.weights
    shutil.copy(made, out)
    sheet(args, config, history, len(training.train), rewarded, data).write(out)
    print(f"wrote {out}")


def sheet(
    args: Any,
    config: AdversarialConfig,
    history: Sequence[Mapping[str, float]],
    crystals: int,
    rewarded: bool,
    data: dict[str, str],
) -> Sheet:
    """The data sheet."""
    rows = []
    for check in history:
        values = [check.get(name, check.get(f"train/{name}", math.nan)) for name in CURVE]
        rows.append("| " + " | ".join(f"{value:.4g}" for value in values) + " |")
    last = history[-1]
    flags = f" --critic {config.critic}" * (config.critic != "gene") + " --realism-only" * args.realism_only
    return Sheet(
        about=ABOUT,
        script=f"python scripts/train_gan.py --data DIR{flags}",
        data=data,
        split="crystals of at most 20 sites and 0.1 eV/atom above the hull where that is known, by chemical "
        f"system, seed 0: {crystals:,} to train on, test never seen",
        seed=str(config.seed),
        metrics=f"of {config.check_samples} samples without any rejection at the end: valid {last['valid']:.3f}, "
        f"unique {last['unique']:.3f}, novel {last['novel']:.3f}",
        commit=args.commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013), CC BY 4.0.",
        more=MORE.format(
            critic=config.critic,
            reward=REWARD if rewarded else "",
            settings=", ".join(f"{name} {value}" for name, value in asdict(config).items() if name != "critic"),
            names=" | ".join(CURVE),
            rule=" | ".join("---" for _ in CURVE),
            rows="\n".join(rows),
        ),
    )


def report(stage: str, done: int, total: int | None) -> None:
    """A line for every hundred steps."""
    if done % 100 == 0:
        print(stage, done, total, flush=True)


if __name__ == "__main__":
    run(main)
