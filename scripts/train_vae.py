"""Train the shipped autoencoder again: two stages, about an hour of one core.

Run: python scripts/train_vae.py --data DIR [--out invdesign/tables/vae.safetensors] [--work DIR]

DIR holds `crystals.parquet`. Interrupted, the same call goes on from the last epoch in the work folder.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from invdesign.generators.network import NetworkConfig
from invdesign.generators.train import TrainConfig, train_from_file
from invdesign.surrogates import load_gate

FIRST = TrainConfig(epochs=36, rate=2e-3, seed=0, patience=99, network=NetworkConfig(dropout=0.0))
SECOND = replace(FIRST, epochs=8, rate=6e-4, weight_decay=0.03, kl_warmup=0, network=NetworkConfig(dropout=0.1))
STAGE_ONE_EPOCHS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables/vae.safetensors"))
    parser.add_argument("--work", type=Path, default=Path("vae_training"))
    args = parser.parse_args()
    data, first = args.data / "crystals.parquet", args.work / "first.safetensors"
    predict = load_gate().predict
    # the rate follows the 36-epoch schedule; validation loss was lowest after epoch 24, where stage one ends
    one = replace(FIRST, epochs=STAGE_ONE_EPOCHS, schedule_epochs=FIRST.epochs)
    train_from_file(data, first, one, predict, args.work / "one")
    second = train_from_file(
        data, args.work / "second.safetensors", SECOND, predict, args.work / "two", start=first
    )
    shutil.copy(second, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
