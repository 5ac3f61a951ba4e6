"""Train the shipped autoencoder again: four stages, about an hour and a half of one core.

Run: python scripts/train_vae.py --data DIR [--out invdesign/tables/vae.safetensors] [--work DIR]

DIR holds `crystals.parquet`, of which crystals known to lie within 0.1 eV/atom of the hull are used. The last two
stages also reward what the decoder writes for lying near the hull, balanced and as asked
(`invdesign.training.recipes`),
and leaving the weights before costs something; their mean is shipped. Stopped, the same call goes on from the last
epoch in the work folder.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from invdesign.generators.network import NetworkConfig
from invdesign.generators.train import TrainConfig, train_from_file
from invdesign.generators.vae import VAEGenerator
from invdesign.surrogates import load_gate
from invdesign.training.recipes import design_reward

FIRST = TrainConfig(epochs=36, rate=2e-3, seed=0, patience=99, network=NetworkConfig(dropout=0.0))
SECOND = replace(FIRST, epochs=8, rate=6e-4, weight_decay=0.03, kl_warmup=0, network=NetworkConfig(dropout=0.1))
THIRD = replace(FIRST, epochs=8, rate=4e-4, kl_warmup=0)
FOURTH = replace(THIRD, epochs=5, anchor=0.1)
STAGE_ONE_EPOCHS, LIMIT = 24, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables/vae.safetensors"))
    parser.add_argument("--work", type=Path, default=Path("vae_training"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    data = args.work / "stable.parquet"
    frame = pd.read_parquet(args.data / "crystals.parquet")
    frame[frame["energy_above_hull"] <= LIMIT].to_parquet(data)
    first, second, third, fourth = (args.work / f"{n}.safetensors" for n in ("first", "second", "third", "fourth"))
    predict = load_gate().predict
    # the rate follows the 36-epoch schedule; validation loss was lowest after epoch 24, where stage one ends
    one = replace(FIRST, epochs=STAGE_ONE_EPOCHS, schedule_epochs=FIRST.epochs)
    train_from_file(data, first, one, predict, args.work / "one")
    train_from_file(data, second, SECOND, predict, args.work / "two", start=first)
    reward = design_reward(LIMIT)
    train_from_file(data, third, THIRD, predict, args.work / "three", start=second, reward=reward)
    train_from_file(data, fourth, FOURTH, predict, args.work / "four", start=third, reward=reward)
    average(third, fourth, args.out)
    print(f"wrote {args.out}")


def average(before: Path, after: Path, out: Path) -> None:
    """Write the mean of two models' weights (Wortsman et al., arXiv:2109.01903).

    The longer the reward drives the decoder, the more stable and the less diverse is what it writes; the mean of
    two points on that way keeps most of the gain and more of the diversity than the last one.
    """
    first, second = VAEGenerator.read(before), VAEGenerator.read(after)
    weights, others = first.model.state_dict(), second.model.state_dict()
    second.model.load_state_dict({name: 0.5 * (w + others[name]) for name, w in weights.items()})
    second.save(out, {"mean of": [before.name, after.name]})


if __name__ == "__main__":
    main()
