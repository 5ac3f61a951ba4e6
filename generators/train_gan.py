"""Adversarial training of the gene generator with Lightning.

It starts from the decoders of an autoencoder, as text generators start from maximum likelihood (SeqGAN,
arXiv:1609.05473), and leaves them by one of two ways:

- `gene`: a critic reads whole Wyckoff sequences. The generator follows the policy gradient of the critic's log
  odds, with the mean of the batch as baseline, and pays for leaving its start by a divergence penalty.
  It can be given a reward of crystals besides, such as their chance to be stable: realism alone does not make it.
- `latent`: a critic reads latents, real ones from the encoder (Wasserstein distance with gradient penalty,
  arXiv:1704.00028). Only the mapping of noise to latents learns; it has ordinary gradients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from invdesign.crystallography.genes import protostructure_hash
from invdesign.errors import InputError, TrainingError
from invdesign.generators.gan import GANGenerator, GeneCritic, GeneGAN, LatentCritic
from invdesign.generators.geneset import GeneBatch
from invdesign.generators.model import GeneVAE
from invdesign.generators.network import ConditionTensors
from invdesign.generators.prepare import Predict, Progress, prepare
from invdesign.generators.reward import Reward, log_likelihood, policy_loss, rewards, rows_of, write
from invdesign.generators.train import (
    BucketLoader,
    TrainConfig,
    TrainingSet,
    config_from,
    in_units_of,
    make_training_set,
    random_conditions,
    sample_shares,
    train_vae,
)
from invdesign.generators.vae import VAEGenerator
from invdesign.settings import mapping_of, settings_of

CRITICS = ("gene", "latent")


@dataclass(frozen=True)
class AdversarialConfig:
    """Settings of the adversarial training.

    Attributes:
        critic: `gene` or `latent`, see above.
        steps: generator steps.
        batch: crystals per step.
        rate: learning rate of the generator.
        critic_rate: of the critic.
        warmup: steps in which only the critic learns.
        critic_steps: critic steps per generator step (`latent` only).
        anchor: weight of the divergence from the starting weights, nats (`gene` only).
        likelihood: weight of the log likelihood of real genes (`gene` only).
        mismatch: weight of real genes under wrong conditions among the critic's negatives.
        reward_weight: weight of the reward, if one is given (`gene` only).
        reward_limit: log odds beyond which the critic's opinion counts no more.
        penalty: weight of the gradient penalty (`latent` only).
        max_sites: largest primitive cell that the generator writes in training.
        average: decay of the running mean of the weights that is kept.
        check_every: steps between checks of the samples.
        check_samples: samples of a check.
        seed: of everything random.
    """

    critic: str = "gene"
    steps: int = 1500
    batch: int = 256
    rate: float = 1e-4
    critic_rate: float = 3e-4
    warmup: int = 150
    critic_steps: int = 3
    anchor: float = 0.1
    likelihood: float = 0.1
    mismatch: float = 0.5
    reward_weight: float = 1.0
    reward_limit: float = 4.0
    penalty: float = 10.0
    max_sites: int = 20
    average: float = 0.995
    check_every: int = 100
    check_samples: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the critic.

        Raises:
            InputError: if there is no such critic.
        """
        if self.critic not in CRITICS:
            raise InputError("critic", self.critic, CRITICS)


def from_autoencoder(vae: GeneVAE) -> GeneGAN:
    """A generator that starts as the autoencoder's decoders behind its prior."""
    gan = GeneGAN(vae.config)
    gan.load_state_dict(vae.state_dict(), strict=False)  # no encoder and property head; the mapping starts at zero
    return gan


class LightningGAN(pl.LightningModule):
    """The training steps of both ways; optimisation by hand, since two networks learn in turn."""

    def __init__(
        self,
        config: AdversarialConfig,
        vae: GeneVAE,
        sampler: Callable[[GeneGAN], GANGenerator] | None = None,
        reward: Reward | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.reward, self.sampler = reward, sampler
        self.config, self.vae, self.gan = config, vae.eval().requires_grad_(False), from_autoencoder(vae)
        self.gan.eval()  # no dropout: the likelihood of what was written must be that of the writer
        self.averaged = from_autoencoder(vae).requires_grad_(False)
        network = vae.config
        self.critic = GeneCritic(network) if config.critic == "gene" else LatentCritic(network)
        self.step = 0

    def training_step(self, batch: GeneBatch, _: int) -> None:
        """One step of the critic and one of the generator."""
        conditions = random_conditions(batch, TrainConfig())
        self.step += 1
        step = self._gene_step if self.config.critic == "gene" else self._latent_step
        terms = step(batch, conditions)
        self.log_dict({f"train/{k}": v for k, v in terms.items()}, batch_size=len(batch), on_step=True)
        with torch.no_grad():
            decay = min(self.config.average, 1.0 - 1.0 / (self.step + 1.0))
            for mine, theirs in zip(self.averaged.parameters(), self.gan.parameters(), strict=True):
                mine.lerp_(theirs, 1.0 - decay)

    def _update(self, which: int, loss: Tensor) -> None:
        optimizer = self.optimizers()[which]
        optimizer.zero_grad()
        self.manual_backward(loss)
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()

    def _gene_step(self, batch: GeneBatch, conditions: ConditionTensors) -> dict[str, Tensor]:
        """Critic: logistic loss. Generator: policy gradient of its log odds, less what leaving its start costs."""
        c = self.config
        written = write(self.gan, conditions, c.max_sites)
        wrong = rows_of(conditions, torch.randperm(len(batch)))
        real, fake = self.critic(batch, conditions), self.critic(written.batch, written.conditions)
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        loss = loss + c.mismatch * F.softplus(self.critic(batch, wrong)).mean()
        loss = loss + 1e-3 * (real**2).mean() + 1e-3 * (fake**2).mean()
        self._update(1, loss)
        terms = {
            "critic": loss.detach(),
            "real_seen": (real > 0).float().mean(),
            "fake_seen": (fake < 0).float().mean(),
            "complete": torch.tensor(len(written.kept) / len(batch)),
        }
        if self.step <= c.warmup:
            return terms
        with torch.no_grad():
            self.critic.eval()
            opinion = self.critic(written.batch, written.conditions)
            self.critic.train()
            reward = opinion.clamp(-c.reward_limit, c.reward_limit)
            if self.reward is not None and self.sampler is not None:
                reward = reward + c.reward_weight * rewards(self.sampler(self.gan), written, self.reward)
            start = log_likelihood(self.vae, written, c.max_sites)
        mine = log_likelihood(self.gan, written, c.max_sites)
        divergence = mine.detach() - start
        policy = policy_loss(mine, reward - c.anchor * divergence)
        likelihood = self._real_losses(batch, conditions).mean()
        self._update(0, policy + c.likelihood * likelihood)
        return terms | {"reward": reward.mean(), "divergence": divergence.mean(), "nll": likelihood.detach()}

    def _real_losses(self, batch: GeneBatch, conditions: ConditionTensors) -> Tensor:
        """(b,) negative log likelihood of real Wyckoff sequences from the latents that the encoder gives them."""
        with torch.no_grad():
            mean, log_variance = self.vae.encoder(batch)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        losses = self.gan.sequence_losses(z, batch, self.gan.condition(conditions))
        return losses["group"] + losses["position"] + losses["element"]

    def _latent_step(self, batch: GeneBatch, conditions: ConditionTensors) -> dict[str, Tensor]:
        """Wasserstein critic with gradient penalty on latents; the generator's mapping follows its gradient."""
        c = self.config
        with torch.no_grad():
            mean, log_variance = self.vae.encoder(batch)
            embedded = self.gan.condition(conditions)
        real = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        for _ in range(c.critic_steps):
            fake = self.gan.latents(embedded, torch.randn_like(mean)).detach()
            loss = self.critic(fake, conditions).mean() - self.critic(real, conditions).mean()
            self._update(1, loss + c.penalty * self._gradient_penalty(real, fake, conditions))
        terms = {"critic": loss.detach()}
        if self.step <= c.warmup:
            return terms
        score = self.critic(self.gan.latents(embedded, torch.randn_like(mean)), conditions).mean()
        self._update(0, -score)
        return terms

    def _gradient_penalty(self, real: Tensor, fake: Tensor, conditions: ConditionTensors) -> Tensor:
        between = torch.lerp(real, fake, torch.rand(len(real), 1)).requires_grad_(True)
        (slope,) = torch.autograd.grad(self.critic(between, conditions).sum(), between, create_graph=True)
        return ((slope.norm(dim=-1) - 1.0) ** 2).mean()

    def transfer_batch_to_device(self, batch: GeneBatch, device: torch.device, dataloader_idx: int) -> GeneBatch:
        """Batches are used where they are made, on the CPU."""
        return batch

    def configure_optimizers(self) -> Any:
        """Adam without momentum's first moment for the critic, as adversarial training wants it."""
        c, gan = self.config, self.gan
        learning = [gan.sequence, gan.condition, gan.embedding, gan.prior_head, gan.mapping]
        if c.critic == "latent":
            learning = [gan.prior_head, gan.mapping]
        parameters = [p for module in learning for p in module.parameters()]
        generator = torch.optim.Adam(parameters, lr=c.rate, betas=(0.5, 0.98))
        critic = torch.optim.AdamW(
            self.critic.parameters(), lr=c.critic_rate, betas=(0.5, 0.98), weight_decay=0.01
        )
        return [generator, critic], []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember how far the warm-up has come."""
        checkpoint["adversarial_step"] = self.step

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        self.step = checkpoint["adversarial_step"]


class AdversarialCheck(pl.Callback):
    """Every so many steps: save the averaged weights, and log what their samples are like."""

    def __init__(self, data: TrainingSet, config: AdversarialConfig, out: Path, progress: Progress | None) -> None:
        self.data, self.config, self.out, self.progress = data, config, out, progress
        self.history: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Measure, log and save."""
        assert isinstance(module, LightningGAN)
        if self.progress and module.step % 10 == 0:
            self.progress("steps", module.step, self.config.steps)
        trainer.should_stop = module.step >= self.config.steps
        if module.step % self.config.check_every and not trainer.should_stop:
            return
        known = frozenset(protostructure_hash(key) for key in self.data.known)
        generator = GANGenerator(
            module.averaged.eval(), self.data.scaling, self.data.element_volume, trained_on=known
        )
        shares = sample_shares(generator, self.data.known, self.config.check_samples, self.config.seed)
        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        self.history.append({"step": float(module.step), **logged, **shares})
        generator.save(self.out, {"config": asdict(self.config), "history": self.history})

    def state_dict(self) -> dict[str, Any]:
        """For resuming."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """For resuming."""
        self.history = state_dict["history"]


def train_gan(
    data: TrainingSet,
    config: AdversarialConfig,
    start: Path,
    out: Path,
    checkpoints: Path,
    progress: Progress | None = None,
    reward: Reward | None = None,
) -> list[dict[str, float]]:
    """Train adversarially from the weights of an autoencoder; resumes from `checkpoints/last.ckpt` if there.

    Args:
        data: training genes; brought to the units of the starting weights.
        config: settings.
        start: weights of an autoencoder of genes.
        out: the weights (safetensors): running means of the generator's.
        checkpoints: folder for checkpoints and logs.
        progress: told (stage, done, total).
        reward: what the generator is rewarded for besides its critic's opinion.

    Returns:
        the checks: step, losses and shares of samples.
    """
    pl.seed_everything(config.seed, verbose=False)
    vae = VAEGenerator.read(start)
    data = in_units_of(vae, data)
    known = frozenset(protostructure_hash(key) for key in data.known)

    def sampler(gan: GeneGAN) -> GANGenerator:
        return GANGenerator(gan, data.scaling, data.element_volume, trained_on=known)

    module = LightningGAN(config, vae.model, sampler, reward)
    check = AdversarialCheck(data, config, out, progress)
    saver = pl.callbacks.ModelCheckpoint(checkpoints, save_last=True, every_n_train_steps=config.check_every)
    loader = BucketLoader(data.train, config.batch, config.seed)
    trainer = pl.Trainer(
        max_epochs=-(-config.steps // len(loader)),
        accelerator="cpu",
        logger=pl.loggers.CSVLogger(checkpoints, name="logs"),
        callbacks=[check, saver],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    last = checkpoints / "last.ckpt"
    trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None)  # type: ignore[arg-type]
    return check.history


def train_from_file(
    data: Path,
    out: Path,
    config: AdversarialConfig | None = None,
    pretraining: TrainConfig | None = None,
    predict: Predict | None = None,
    checkpoints: Path | None = None,
    progress: Progress | None = None,
    start: Path | None = None,
    reward: Reward | None = None,
) -> Path:
    """Train the adversarial generator on a file of crystals and write its weights and a data sheet.

    Interrupted, the same call goes on: checkpoints lie beside `out` unless told otherwise.

    Args:
        data: a table of crystals with labels (see `invdesign.data.read`).
        out: the weights, safetensors; `<out>.json` beside it is the data sheet.
        config: settings of the adversarial training.
        pretraining: settings of the autoencoder that it starts from.
        predict: supplies missing labels (see `prepare`).
        checkpoints: folder for checkpoints and logs.
        progress: told (stage, done, total).
        start: weights of an autoencoder; without them one is trained first.
        reward: what the generator is rewarded for besides its critic's opinion.

    Raises:
        TrainingError: if there is too little to train on.
    """
    config, folder = config or AdversarialConfig(), checkpoints or out.with_suffix(".checkpoints")
    prepared = prepare(data, predict, progress=progress)
    training = make_training_set(prepared.genes, prepared.labels, prepared.split)
    if start is None:
        start = folder / "autoencoder.safetensors"
        train_vae(training, pretraining or TrainConfig(), start, folder / "autoencoder", progress)
    history = train_gan(training, config, start, out, folder, progress, reward)
    if not history:
        raise TrainingError("training ended before its first check: no weights were written")
    names, counts = np.unique(np.asarray(prepared.split), return_counts=True)
    sheet = {
        "data": data.name,
        "crystals": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "left out": dict(prepared.removed),
        "labels emptied": dict(prepared.emptied),
        "split": "by chemical system, seed 0; trained on train, test never seen",
        "config": asdict(config),
        "checks": history,
    }
    out.with_suffix(".json").write_text(json.dumps(sheet, indent=2) + "\n")
    return out


def configs_from(settings: Mapping[str, Any]) -> tuple[AdversarialConfig, TrainConfig]:
    """The settings of both stages from a mapping such as a YAML file's; those of the first under `pretraining`.

    Raises:
        InputError: if a key is unknown or a value is not valid.
    """
    values = dict(settings)
    first = config_from(mapping_of(values.pop("pretraining", {})))
    return settings_of(AdversarialConfig, values, also=["pretraining", "start"]), first
