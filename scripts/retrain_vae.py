"""Third stage of the shipped autoencoder: train it further on its own samples that screening finds promising.

Run: python scripts/retrain_vae.py --data DIR [--samples 24000] [--seed 0] [--out FILE] [--work DIR]

DIR holds `crystals.parquet`. The shipped autoencoder draws samples without conditions; those that have a chance
of at least one half of lying within 0.1 eV/atom of the hull, by the gate and its experience, join the known
crystals. Only their skeletons are learned from: their geometry is the model's own and teaches nothing. Their
labels are those of the surrogates.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from invdesign import build
from invdesign.crystal import Crystal, FloatArray
from invdesign.generators.conditions import CONDITION_PROPERTIES, Scaling
from invdesign.generators.geneset import PER_ORBIT, GeneBatch, to_batch
from invdesign.generators.network import NetworkConfig
from invdesign.generators.prepare import prepare
from invdesign.generators.train import TrainConfig, TrainingSet, make_training_set, train_vae
from invdesign.generators.vae import VAEGenerator
from invdesign.mechanics import density
from invdesign.metrics import below
from invdesign.pipeline import predict
from invdesign.records import Candidate, Conditions, Evaluation
from invdesign.represent.genes import canonical
from invdesign.surrogates import load_gate, load_proposal_gate

THIRD = TrainConfig(
    epochs=3,
    rate=4e-4,
    weight_decay=0.03,
    kl_warmup=0,
    check_every=3,
    patience=99,
    network=NetworkConfig(dropout=0.1),
)
CHANCE, LIMIT = 0.5, 0.1


def promising(samples: int, seed: int) -> tuple[list[Crystal], FloatArray]:
    """Samples of the shipped autoencoder that are likely to be stable, and their labels (n, properties)."""
    made = VAEGenerator.load().propose(samples, np.random.default_rng(seed), Conditions())
    crystals = [item for item in made if isinstance(item, Crystal)]
    rows = [Evaluation(Candidate("", crystal, "", "")) for crystal in crystals]
    kept, labels = [], []
    for row in predict(rows, load_proposal_gate(), build.reference()):
        values = row.gate.values if row.gate else {}
        if below(LIMIT, values.get("energy_above_hull")) < CHANCE:
            continue
        known = {name: value.mean for name, value in values.items()}
        known |= {"density": density(row.crystal), "n_sites": float(row.crystal.n_sites)}
        known["energy_above_hull"] = max(0.0, known["energy_above_hull"])
        kept.append(row.crystal)
        labels.append([known.get(name, np.nan) for name in CONDITION_PROPERTIES])
    return kept, np.array(labels)


def skeletons(crystals: list[Crystal], labels: FloatArray, scaling: Scaling, volume: FloatArray) -> GeneBatch:
    """Tensors of crystals without their geometry."""
    genes = [canonical(c.gene) for c in crystals if c.gene is not None]
    batch = to_batch(genes, scaling.transform(labels), volume)
    return replace(
        batch,
        freedom=torch.zeros_like(batch.freedom),
        coords=torch.zeros_like(batch.coords),
        lattice=torch.zeros_like(batch.lattice),
        lattice_mask=torch.zeros_like(batch.lattice_mask),
    )


def joined(a: GeneBatch, b: GeneBatch) -> GeneBatch:
    """Both, padded to the longer skeletons."""
    n = max(a.number.shape[1], b.number.shape[1])
    tensors = {}
    for field in fields(GeneBatch):
        parts = [getattr(part, field.name) for part in (a, b)]
        if field.name in PER_ORBIT:
            parts = [torch.cat([t, t.new_zeros(len(t), n - t.shape[1], *t.shape[2:])], dim=1) for t in parts]
        tensors[field.name] = torch.cat(parts)
    return GeneBatch(**tensors)


def with_own_samples(data: TrainingSet, samples: int, seed: int) -> tuple[TrainingSet, int]:
    """The training set with promising samples, and how many there are."""
    crystals, labels = promising(samples, seed)
    own = skeletons(crystals, labels, data.scaling, data.element_volume)
    return replace(data, train=joined(data.train, own)), len(crystals)


def of_known_energy(data: TrainingSet) -> TrainingSet:
    """The training set without crystals whose energy above hull is unknown."""
    column = CONDITION_PROPERTIES.index("energy_above_hull")

    def known(batch: GeneBatch) -> GeneBatch:
        return batch.take((~batch.labels[:, column].isnan()).nonzero()[:, 0])

    return replace(data, train=known(data.train), valid=known(data.valid))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("invdesign/tables/vae.safetensors"))
    parser.add_argument("--work", type=Path, default=Path("vae_training"))
    args = parser.parse_args()
    prepared = prepare(args.data / "crystals.parquet", load_gate().predict)
    data = make_training_set(prepared.genes, prepared.labels, prepared.split)
    retrain(of_known_energy(data), args.samples, args.seed, args.out, args.work)


def retrain(data: TrainingSet, samples: int, seed: int, out: Path, work: Path) -> None:
    """Train further and write the weights."""
    data, own = with_own_samples(data, samples, seed)
    print(f"{own} of {samples} samples join {len(data.train) - own} crystals", flush=True)
    start = Path(str(build.resources.files("invdesign.tables").joinpath("vae.safetensors")))
    done = work / "third.safetensors"
    train_vae(data, replace(THIRD, seed=seed), done, work / "three", report, start)
    out.write_bytes(done.read_bytes())
    print(f"wrote {out}")


def report(stage: str, done: int, total: int | None) -> None:
    """A line for every epoch."""
    print(stage, done, total, flush=True)


if __name__ == "__main__":
    main()
