"""Training of the gene autoencoder with Lightning: data, conditions, schedule, and when to stop.

Training stops on the share of valid, unique and novel samples, not on the loss alone: longer training raises
validity and lowers novelty, and their product has a maximum.
"""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from invdesign.crystal import FloatArray, Gene
from invdesign.crystallography.genes import protostructure_hash
from invdesign.errors import TrainingError
from invdesign.generators.conditions import CONDITION_PROPERTIES, Scaling
from invdesign.generators.geneset import MAX_Z, GeneBatch, fit_element_volumes, to_batch
from invdesign.generators.model import GeneVAE
from invdesign.generators.network import ConditionTensors, NetworkConfig
from invdesign.generators.prepare import Predict, Progress, prepare
from invdesign.generators.reward import Reward, Written, log_likelihood, policy_loss, rewards, write
from invdesign.generators.vae import VAEGenerator
from invdesign.settings import settings_of

ENOUGH_NOVELTY = 0.85
"""Share of new Wyckoff sequences beyond which more novelty is no reward: it would reward an untrained model."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training.

    Attributes:
        epochs: passes over the data.
        schedule_epochs: epochs over which the learning rate falls, if other than `epochs`.
        batch: crystals per step.
        rate: peak learning rate (warm-up, then cosine decay).
        weight_decay: of AdamW.
        kl_weight: weight of the latent's divergence from its prior, as far as it exceeds `kl_floor`.
        kl_floor: nats of information that the latent carries free of charge, so that it is not ignored.
        kl_warmup: epochs of linear rise of the weight.
        property_weight: weight of the property head's squared error.
        drop_all: share of crystals trained without any condition.
        drop_each: chance of each scalar condition to be absent otherwise.
        reward_weight: weight of the policy gradient of a reward, if one is given; the geometry decoder then stays
            as it is.
        anchor: weight of the divergence from the starting weights that is taken off a reward.
        rare: share of the crystals written for a reward that are asked for rare values of the conditions.
        max_sites: largest primitive cell that is written for a reward.
        check_every: epochs between checks of validity and novelty.
        check_samples: samples of such a check.
        patience: checks without improvement before training stops.
        seed: of everything random.
    """

    epochs: int = 36
    schedule_epochs: int | None = None
    batch: int = 256
    rate: float = 2e-3
    weight_decay: float = 0.01
    kl_weight: float = 1.0
    kl_floor: float = 8.0
    kl_warmup: int = 3
    property_weight: float = 0.3
    drop_all: float = 0.15
    drop_each: float = 0.5
    reward_weight: float = 8.0
    anchor: float = 0.2
    rare: float = 0.5
    max_sites: int = 20
    check_every: int = 4
    check_samples: int = 1000
    patience: int = 4
    seed: int = 0
    network: NetworkConfig = field(default_factory=NetworkConfig)


def random_conditions(batch: GeneBatch, config: TrainConfig) -> ConditionTensors:
    """Conditions of a training batch: each crystal's own values and elements, partly hidden at random."""
    b, p = batch.labels.shape
    nothing = torch.rand(b) < config.drop_all
    shown = torch.rand(b, p) > config.drop_each
    present = shown & ~batch.labels.isnan() & ~nothing[:, None]
    mine = torch.zeros(b, MAX_Z, dtype=torch.bool)
    mine[torch.arange(b)[:, None].expand_as(batch.number), batch.number] = True
    mine[:, 0] = False
    kind = torch.rand(b)
    wants = (kind > 0.4) & ~nothing
    rate = torch.where(kind > 0.85, 1.0, torch.rand(b))
    required = mine & (torch.rand(b, MAX_Z) < rate[:, None]) & wants[:, None]
    limit = torch.rand(b)
    restricted = (limit > 0.5) & ~nothing
    others = torch.rand(b, MAX_Z) < torch.where(limit > 0.8, 0.0, torch.rand(b))[:, None]
    allowed = (mine | others) & restricted[:, None]
    return ConditionTensors(batch.labels, present, required, allowed, restricted)


def joined(parts: Sequence[ConditionTensors]) -> ConditionTensors:
    """Conditions one after the other."""
    return ConditionTensors(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def rarity(labels: Tensor, bins: int = 20) -> Tensor:
    """(n,) weights with which rows are drawn such that the rare values of each of (n, p) labels come up too.

    For each label the range from its 0.1 to its 99.9 percentile is cut into bins that get equal shares of the
    draws; a row has the sum of its labels' weights.
    """
    weights = torch.zeros(len(labels))
    for column in labels.T:
        known = ~column.isnan()
        if known.any():
            low, high = column[known].quantile(torch.tensor([0.001, 0.999]))
            place = ((column[known] - low) / (high - low).clamp(min=1e-6) * bins).long().clamp(0, bins - 1)
            counts = torch.bincount(place, minlength=bins)
            weights[known] += 1.0 / counts[place].float() / (counts > 0).sum()
    return weights


class LightningVAE(pl.LightningModule):
    """The training step of `GeneVAE`."""

    def __init__(self, config: TrainConfig, steps: int) -> None:
        super().__init__()
        self.config, self.steps = config, steps
        self.vae = GeneVAE(config.network)
        self.reward: Callable[[Written], Tensor] | None = None
        self.asking: Callable[[int], GeneBatch] | None = None
        self.start: tuple[GeneVAE, ...] = ()  # no part of the module: it is neither learned nor saved

    def follow(self, reward: Callable[[Written], Tensor], asking: Callable[[int], GeneBatch]) -> None:
        """From now on also raise the (b,) reward of what the decoder writes; the geometry decoder is held.

        Args:
            reward: of Wyckoff sequences.
            asking: so many crystals, for whose conditions Wyckoff sequences are written besides those of the
                batch.
        """
        self.reward, self.asking, self.start = reward, asking, (copy.deepcopy(self.vae).requires_grad_(False),)
        for part in (self.vae.geometry, self.vae.geometry_embedding, self.vae.geometry_condition):
            part.requires_grad_(False)

    def _loss(self, batch: GeneBatch, stage: str) -> Tensor:
        terms = self.vae.losses(batch, random_conditions(batch, self.config))
        warm = min(1.0, (self.current_epoch + 1) / max(1, self.config.kl_warmup))
        nll = terms["group"] + terms["position"] + terms["element"] + terms["lattice"] + terms["coordinate"]
        excess = (terms["kl"] - self.config.kl_floor).clamp(min=0.0)
        loss = nll + self.config.kl_weight * warm * excess + self.config.property_weight * terms["property"]
        named = {f"{stage}/{name}": value for name, value in (terms | {"nll": nll, "loss": loss}).items()}
        self.log_dict(named, batch_size=len(batch), on_step=False, on_epoch=True)
        return loss

    def training_step(self, batch: GeneBatch, _: int) -> Tensor:
        """One step."""
        loss = self._loss(batch, "train")
        return loss if self.reward is None else loss + self.config.reward_weight * self._policy_loss(batch)

    def _policy_loss(self, batch: GeneBatch) -> Tensor:
        """Of Wyckoff sequences for the conditions of some of the batch and of some rare ones."""
        assert self.reward is not None and self.asking is not None
        c, rare = self.config, int(self.config.rare * len(batch))
        parts = [batch.take(torch.randperm(len(batch))[rare:]), self.asking(rare)]
        conditions = joined([random_conditions(part, c) for part in parts if len(part)])
        written = write(self.vae, conditions, c.max_sites)
        reward = self.reward(written)
        with torch.no_grad():
            start = log_likelihood(self.start[0], written, c.max_sites)
        mine = log_likelihood(self.vae, written, c.max_sites)
        divergence = mine.detach() - start
        for name, value in (("reward", reward), ("divergence", divergence)):
            self.log(f"train/{name}", value.mean(), batch_size=len(batch), on_step=False, on_epoch=True)
        return policy_loss(mine, reward - c.anchor * divergence)

    def validation_step(self, batch: GeneBatch, _: int) -> None:
        """One batch of the validation split."""
        self._loss(batch, "valid")

    def transfer_batch_to_device(self, batch: GeneBatch, device: torch.device, dataloader_idx: int) -> GeneBatch:
        """Batches are used where they are made, on the CPU."""
        return batch

    def _rate(self, step: int) -> float:
        """Share of the peak learning rate: linear warm-up, then a cosine down to a fiftieth."""
        warm = max(1, self.steps // 12)
        if step < warm:
            return (step + 1) / warm
        return 0.02 + 0.49 * (1.0 + math.cos(math.pi * min(1.0, (step - warm) / max(1, self.steps - warm))))

    def configure_optimizers(self) -> Any:
        """AdamW; its rate depends on the step alone, so that a longer training can resume a shorter one."""
        c = self.config
        optimizer = torch.optim.AdamW(self.parameters(), lr=c.rate, weight_decay=c.weight_decay, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class BucketLoader:
    """Batches of similar length, in an order that depends on seed and epoch only."""

    def __init__(self, data: GeneBatch, size: int, seed: int, shuffle: bool = True) -> None:
        self.data, self.size, self.seed, self.shuffle, self.epoch = data, size, seed, shuffle, 0

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.size)

    def __iter__(self) -> Iterator[GeneBatch]:
        rng = np.random.default_rng((self.seed, self.epoch))
        length = self.data.length.numpy() + (rng.uniform(-0.9, 0.9, len(self.data)) if self.shuffle else 0.0)
        order = np.argsort(length, kind="stable")
        starts = np.arange(0, len(order), self.size)
        if self.shuffle:
            rng.shuffle(starts)
            self.epoch += 1
        for start in starts:
            yield self.data.take(torch.from_numpy(order[start : start + self.size].copy()))


@dataclass(frozen=True)
class TrainingSet:
    """Genes with their labels, ready for the network."""

    train: GeneBatch
    valid: GeneBatch
    scaling: Scaling
    element_volume: FloatArray
    known: frozenset[Any]


def make_training_set(
    genes: Sequence[Gene], labels: Mapping[str, FloatArray], split: Sequence[str]
) -> TrainingSet:
    """Tensors, scaling and element volumes from genes, labels (NaN where unknown) and split names.

    Raises:
        TrainingError: if a split is empty.
    """
    from invdesign.crystallography.genes import protostructure

    columns = [np.asarray(labels.get(n, np.full(len(genes), np.nan)), dtype=float) for n in CONDITION_PROPERTIES]
    values, names = np.stack(columns, axis=1), np.asarray(split)
    parts = {name: np.flatnonzero(names == name).tolist() for name in ("train", "valid")}
    for name, rows in parts.items():
        if len(rows) == 0:
            raise TrainingError(f"the {name} split holds no crystal; {len(genes)} crystals in all")
    volume = fit_element_volumes([genes[i] for i in parts["train"]])
    scaling = Scaling.fit(values[parts["train"]])
    scaled = scaling.transform(values)
    batches = {n: to_batch([genes[i] for i in rows], scaled[rows], volume) for n, rows in parts.items()}
    known = frozenset(protostructure(genes[i]) for i in parts["train"])
    return TrainingSet(batches["train"], batches["valid"], scaling, volume, known)


class GeneratorCheck(pl.Callback):
    """Every few epochs: sample, measure validity, uniqueness and novelty, keep the best, stop when it falls."""

    def __init__(
        self, data: TrainingSet, config: TrainConfig, out: Path, progress: Progress | None = None
    ) -> None:
        self.data, self.config, self.out, self.progress = data, config, out, progress
        self.best, self.waited = -1.0, 0

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure, log and perhaps stop."""
        epoch = trainer.current_epoch + 1
        if self.progress:
            self.progress("epochs", epoch, trainer.max_epochs)
        if trainer.sanity_checking or (epoch % self.config.check_every and epoch != trainer.max_epochs):
            return
        assert isinstance(module, LightningVAE)
        module.vae.eval()
        trained_on = frozenset(protostructure_hash(key) for key in self.data.known)
        generator = VAEGenerator(module.vae, self.data.scaling, self.data.element_volume, trained_on=trained_on)
        shares = sample_shares(generator, self.data.known, self.config.check_samples, self.config.seed)
        module.vae.train()
        for name, value in shares.items():
            module.log(f"check/{name}", value)
        _LOG.info("epoch %d: %s", epoch, ", ".join(f"{k} {v:.3f}" for k, v in shares.items()))
        if shares["score"] > self.best:
            self.best, self.waited = shares["score"], 0
            generator.save(self.out, {"epoch": epoch, "config": _plain(self.config), "check": shares})
        else:
            self.waited += 1
            trainer.should_stop = self.waited >= self.config.patience

    def state_dict(self) -> dict[str, Any]:
        """For resuming."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """For resuming."""
        self.best, self.waited = state_dict["best"], state_dict["waited"]


def sample_shares(generator: Any, known: frozenset[Any], n: int, seed: int) -> dict[str, float]:
    """Shares of `n` plain samples that are complete at the first try, keep distances, are unique and novel."""
    from invdesign.crystallography.distances import shortest_ratio
    from invdesign.crystallography.genes import protostructure

    crystals, attempts = generator.first_draws(n, np.random.default_rng(seed))
    far = [shortest_ratio(c) > 0.6 for c in crystals]
    keys = [protostructure(c.gene) for c in crystals]
    valid = sum(far) / max(1, attempts)
    unique = len(set(keys)) / max(1, len(keys))
    novel = sum(k not in known for k in keys) / max(1, len(keys))
    return {"valid": valid, "unique": unique, "novel": novel, "score": valid * unique * min(novel, ENOUGH_NOVELTY)}


class Watched(pl.Callback):
    """Tells a function the epoch and the negative evidence bound of the validation part."""

    def __init__(self, watch: Callable[[int, float], None]) -> None:
        self.watch = watch

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Tell it."""
        found = trainer.callback_metrics
        self.watch(trainer.current_epoch, float(found["valid/nll"] + found["valid/kl"]))


def evidence(generator: VAEGenerator, batch: GeneBatch, config: TrainConfig) -> float:
    """Negative evidence bound of crystals that have been made into a batch, nats per crystal."""
    torch.manual_seed(config.seed)
    generator.model.eval()
    total = 0.0
    with torch.inference_mode():
        for part in BucketLoader(batch, 512, config.seed, shuffle=False):
            terms = generator.model.losses(part, random_conditions(part, config))
            bound = sum(terms[k] for k in ("group", "position", "element", "lattice", "coordinate", "kl"))
            total += float(bound) * len(part)
    return total / len(batch)


def _plain(config: TrainConfig) -> dict[str, Any]:
    return asdict(config)


def train_vae(
    data: TrainingSet,
    config: TrainConfig,
    out: Path,
    checkpoints: Path,
    progress: Progress | None = None,
    start: Path | None = None,
    reward: Reward | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> Path:
    """Train and write the best weights to `out` (safetensors); resumes from `checkpoints/last.ckpt` if there.

    With `start`, weights of the same network sizes are trained further instead of random ones (fine-tuning).
    With `reward`, the decoder is also taught to write crystals of high reward. `watch` is told the epoch, from 0,
    and the negative evidence bound of the validation part (nats per crystal); what it raises ends the training.

    Returns:
        the path of the weights.
    """
    pl.seed_everything(config.seed, verbose=False)
    loader = BucketLoader(data.train, config.batch, config.seed)
    module = LightningVAE(config, steps=len(loader) * (config.schedule_epochs or config.epochs))
    if start is not None:
        data = _start_from(start, module, data)
    if reward is not None:
        known = frozenset(protostructure_hash(key) for key in data.known)
        writer = VAEGenerator(module.vae, data.scaling, data.element_volume, trained_on=known)
        weights = rarity(data.train.labels)
        module.follow(
            lambda written: rewards(writer, written, reward),
            lambda n: data.train.take(torch.multinomial(weights, n, replacement=True)),
        )
    saver = pl.callbacks.ModelCheckpoint(checkpoints, filename="best", monitor="valid/nll", save_last=True)
    trainer = pl.Trainer(
        max_epochs=config.epochs,
        accelerator="cpu",
        logger=pl.loggers.CSVLogger(checkpoints, name="logs"),
        callbacks=[
            GeneratorCheck(data, config, out, progress),
            saver,
            *([] if watch is None else [Watched(watch)]),
        ],
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    last = checkpoints / "last.ckpt"
    trainer.fit(
        module,
        loader,  # type: ignore[arg-type]
        BucketLoader(data.valid, 512, config.seed, shuffle=False),  # type: ignore[arg-type]
        ckpt_path=str(last) if last.exists() else None,
    )
    if not out.exists():
        raise TrainingError("training ended before its first check: no weights were written")
    return out


def _start_from(start: Path, module: LightningVAE, data: TrainingSet) -> TrainingSet:
    """Take over weights; the data are brought to the units that these weights know."""
    old = VAEGenerator.load(start)
    if replace(old.model.config, dropout=0.0) != replace(module.config.network, dropout=0.0):
        raise TrainingError(f"{start} has other network sizes than the training: {old.model.config}")
    module.vae.load_state_dict(old.model.state_dict())
    return in_units_of(old, data)


def in_units_of(old: VAEGenerator, data: TrainingSet) -> TrainingSet:
    """The training set with labels and volumes in the units that older weights know."""
    if np.allclose(old.scaling.mean, data.scaling.mean) and np.allclose(old.element_volume, data.element_volume):
        return data
    train, valid = (_rescaled(batch, data, old) for batch in (data.train, data.valid))
    return TrainingSet(train, valid, old.scaling, old.element_volume, data.known)


def _rescaled(batch: GeneBatch, data: TrainingSet, old: VAEGenerator) -> GeneBatch:
    """Labels and volumes in the units of older weights."""
    labels = batch.labels.double() * torch.from_numpy(data.scaling.deviation) + torch.from_numpy(data.scaling.mean)
    labels = (labels - torch.from_numpy(old.scaling.mean)) / torch.from_numpy(old.scaling.deviation)
    volumes = (torch.from_numpy(np.asarray(v)) for v in (data.element_volume, old.element_volume))
    mine, theirs = ((batch.sites * v[batch.number]).sum(1) for v in volumes)
    lattice = batch.lattice.clone()
    lattice[:, 0] += (mine / theirs).log().float()
    return replace(batch, labels=labels.float(), lattice=lattice)


def train_from_file(
    data: Path,
    out: Path,
    config: TrainConfig | None = None,
    predict: Predict | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
    start: Path | None = None,
    reward: Reward | None = None,
) -> Path:
    """Train the autoencoder on a file of crystals and write its weights and a data sheet.

    Interrupted, the same call goes on from the last epoch: checkpoints lie beside `out` unless told otherwise.

    Args:
        data: a table of crystals with labels (see `invdesign.data.read`).
        out: the weights, safetensors; `<out>.json` beside it is the data sheet.
        config: settings.
        predict: supplies missing labels (see `prepare`).
        checkpoints: folder for checkpoints and logs.
        progress: told (stage, done, total).
        start: as in `train_vae`.
        reward: as in `train_vae`.

    Raises:
        TrainingError: if there is too little to train on.
    """
    config, folder = config or TrainConfig(), checkpoints or out.with_suffix(".checkpoints")
    prepared = prepare(data, predict, progress=progress)
    training = make_training_set(prepared.genes, prepared.labels, prepared.split)
    train_vae(training, config, out, folder, progress, start, reward)
    names, counts = np.unique(np.asarray(prepared.split), return_counts=True)
    sheet = {
        "data": data.name,
        "crystals": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "left out": dict(prepared.removed),
        "labels emptied": dict(prepared.emptied),
        "labels filled by the gate surrogate": dict(prepared.filled),
        "split": "by chemical system, seed 0; trained on train, watched on valid, test never seen",
        "config": _plain(config),
    }
    out.with_suffix(".json").write_text(json.dumps(sheet, indent=2) + "\n")
    return out


def config_from(settings: Mapping[str, Any]) -> TrainConfig:
    """A `TrainConfig` from a mapping such as a YAML file's.

    Raises:
        InputError: if a key is unknown or a value is not valid.
    """
    values = dict(settings)
    network = settings_of(NetworkConfig, values.pop("network", {}))
    return replace(settings_of(TrainConfig, values), network=network)
