"""Train the autoencoder: `vae.safetensors` with its data sheet, in two parts with the proposal correction between.

    python scripts/train_vae.py --data DIR --part likelihood [--out FOLDER] [--work DIR] [--small]
    python scripts/train_vae.py --data DIR --part reward [--out FOLDER] [--work DIR] [--small]

DIR holds `crystals.parquet`, of which crystals known to lie within 0.1 eV/atom of the hull are used.

`likelihood` (stages one and two) needs the gate in the folder, which fills missing labels. Its weights write the
proposals that the first proposal correction is learned from (`scripts/train_proposal_correction.py`). `reward`
(stages three and four) needs that correction: it also rewards what the decoder writes for lying near the hull,
balanced and as asked (`invdesign.training.recipes.design_reward`), and leaving the weights before costs something;
the mean of both stages is what is kept. It goes on from the weights of the other part in the work folder.

Stopped, the same call goes on from the last epoch in the work folder. An hour and a half of one core in all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from invdesign.errors import InputError
from invdesign.generators.network import NetworkConfig
from invdesign.generators.sampler import protostructure_hash
from invdesign.generators.train import TrainConfig, sample_shares, train_from_file
from invdesign.generators.vae import VAEGenerator
from invdesign.surrogates import PROPOSAL_CORRECTION, load_gate, weights_of
from invdesign.training.rebuild import begin, built, options, run, sources
from invdesign.training.recipes import design_reward
from invdesign.training.sheet import Sheet

LIMIT = 0.1
"""Highest energy above hull of the crystals that are learned from, eV/atom."""
CHECKED = 1000
"""Samples that the figures of the data sheet are of."""


@dataclass(frozen=True)
class Plan:
    """Settings of the four stages."""

    first: TrainConfig
    second: TrainConfig
    third: TrainConfig
    fourth: TrainConfig


def plan(first: TrainConfig, epochs: tuple[int, int, int]) -> Plan:
    """The later stages by the first: lower rates, dropout in the second, rewards and anchors in the last two."""
    start = replace(first, schedule_epochs=None, kl_warmup=0)
    dropped = replace(first.network, dropout=0.1)
    return Plan(
        first=first,
        second=replace(start, epochs=epochs[0], rate=6e-4, weight_decay=0.03, network=dropped),
        third=replace(start, epochs=epochs[1], rate=4e-4),
        fourth=replace(start, epochs=epochs[2], rate=4e-4, anchor=0.1),
    )


# the rate follows a 36-epoch schedule; validation loss was lowest after epoch 24, where stage one ends
FULL = plan(TrainConfig(epochs=24, schedule_epochs=36, rate=2e-3, seed=0, patience=99), (8, 8, 5))
SMALL = plan(
    TrainConfig(
        epochs=30,
        schedule_epochs=36,
        rate=2e-3,
        batch=32,
        seed=0,
        patience=99,
        check_every=30,
        check_samples=200,
        network=NetworkConfig(width=64),
    ),
    (4, 2, 1),
)
ABOUT = """\
Conditional variational autoencoder over Wyckoff genes ({parameters:.1f} M parameters, float32), read by
`invdesign.generators.vae`. Also inside: element volumes, scaling of the conditions, 64-bit checksums of the
training protostructures (so that the sampler can leave known genes out)."""
LABELS = """\
Labels: density, number of sites and energy above hull of every crystal; computed (DFT) bulk and shear modulus,
formation energy and band gap where known, otherwise the prediction of the gate in the same folder ({filled})."""
REWARD = """\
rewarded besides (policy gradient, weight {weight:g}) for the log probability that what the decoder writes lies
within 0.1 eV/atom of the hull, by the gate and its correction, less 1.6 for what SMACT calls invalid, less
`log(1 + (difference / tolerance)² / 2)` for each asked property that the gate misses; training genes are worst;
less {anchor:g} for each nat of divergence from the stage before; geometry decoder held"""


def main() -> None:
    parser = options(__doc__, small=True)
    parser.add_argument("--part", choices=("likelihood", "reward"), required=True)
    parser.add_argument("--work", type=Path, default=Path("vae_training"), help="folder of stages and checkpoints")
    given = begin(parser)
    data = sources(given, "crystals.parquet") | built(weights_of("gate"))
    stages = SMALL if given.small else FULL
    table = stable(given.data, given.work)
    out = given.out / VAEGenerator.weights
    if given.part == "likelihood":
        first, second = (train(given.work, table, name, stages) for name in ("first", "second"))
        VAEGenerator.read(second).save(out, {"stages": [first.name, second.name]})
    else:
        if not (given.work / "second.safetensors").is_file():
            raise InputError("work folder", str(given.work), "one in which --part likelihood has ended")
        data |= built(PROPOSAL_CORRECTION)
        third, fourth = (train(given.work, table, name, stages, reward=True) for name in ("third", "fourth"))
        average(third, fourth, out)
    sheet(out, given, stages, data)
    print(f"{out}: {shares(out, CHECKED)}")


def stable(folder: Path, work: Path) -> Path:
    """The crystals that are learned from, as a table in the work folder."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "stable.parquet"
    frame = pd.read_parquet(folder / "crystals.parquet")
    frame[frame["energy_above_hull"] <= LIMIT].to_parquet(path)
    return path


BEFORE = {"second": "first", "third": "second", "fourth": "third"}
"""The stage whose weights a stage goes on from."""


def train(work: Path, table: Path, name: str, stages: Plan, reward: bool = False) -> Path:
    """One stage: its weights in the work folder; those that are there are taken as they are."""
    out, done = work / f"{name}.safetensors", work / f"{name}.json"
    if out.exists() and done.exists():
        return out
    start = work / f"{BEFORE[name]}.safetensors" if name in BEFORE else None
    said = design_reward(LIMIT) if reward else None
    config: TrainConfig = getattr(stages, name)
    return train_from_file(table, out, config, load_gate().predict, work / name, start=start, reward=said)


def average(before: Path, after: Path, out: Path) -> None:
    """Write the mean of two models' weights (Wortsman et al., arXiv:2109.01903).

    The longer the reward drives the decoder, the more stable and the less diverse is what it writes; the mean of
    two points on that way keeps most of the gain and more of the diversity than the last one.
    """
    first, second = VAEGenerator.read(before), VAEGenerator.read(after)
    weights, others = first.model.state_dict(), second.model.state_dict()
    second.model.load_state_dict({name: 0.5 * (w + others[name]) for name, w in weights.items()})
    second.save(out, {"mean of": [before.name, after.name]})


class Hashed(frozenset[int]):
    """Protostructures by their checksums."""

    def __contains__(self, key: object) -> bool:
        """Whether the protostructure is among them."""
        return super().__contains__(protostructure_hash(key))


def shares(weights: Path, n: int) -> str:
    """What plain samples are like, nothing rejected or redrawn."""
    generator = VAEGenerator.read(weights)
    found = sample_shares(generator, Hashed(generator.trained_on), n, seed=0)
    kept = ", ".join(f"{name} {found[name]:.3f}" for name in ("valid", "unique", "novel"))
    return f"shares of {n:,} samples, none rejected, that keep their distances, are unique and are new: {kept}"


def sheet(out: Path, given: Any, stages: Plan, data: dict[str, str]) -> None:
    """Write the data sheet."""
    made = json.loads((given.work / "first.json").read_text())
    counts, filled = made["crystals"], made["labels filled by the gate surrogate"]
    parameters = sum(p.numel() for p in VAEGenerator.read(out).model.parameters()) / 1e6
    parts = ["likelihood"] if given.part == "likelihood" else ["likelihood", "reward"]
    lines = [LABELS.format(filled=", ".join(f"{n} {k:,}" for n, k in filled.items())), ""]
    lines += ["| stage | training |", "| --- | --- |"]
    for name in ("first", "second", "third", "fourth")[: 2 * len(parts)]:
        lines.append(f"| {name} | {stage(getattr(stages, name), rewarded=name in ('third', 'fourth'))} |")
    lines += ["", "Weights: " + ("of the second stage." if len(parts) == 1 else "mean of the last two stages.")]
    Sheet(
        about=ABOUT.format(parameters=parameters),
        script=", ".join(f"`python scripts/train_vae.py --data DIR --part {part}`" for part in parts),
        data=data,
        split=f"by chemical system, seed 0: {counts.get('train', 0):,} crystals to train on, "
        f"{counts.get('valid', 0):,} watched, {counts.get('test', 0):,} never seen",
        seed=f"{stages.first.seed}, of every stage",
        metrics=shares(out, CHECKED),
        commit=given.commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013), CC BY 4.0.",
        more="\n".join(lines),
    ).write(out)


def stage(config: TrainConfig, rewarded: bool) -> str:
    """The settings of a stage in words."""
    words = f"{config.epochs} epochs, the best check kept; peak rate {config.rate:g}, batch {config.batch}, "
    words += f"dropout {config.network.dropout:g}, weight decay {config.weight_decay:g}"
    if not rewarded:
        return words
    said = REWARD.format(weight=config.reward_weight, anchor=config.anchor).replace("\n", " ")
    return f"{words}; {said}"


if __name__ == "__main__":
    run(main)
