"""The conditional generative adversarial network: its generator, its critics, and the sampler.

The generator turns noise and conditions into a latent by a network of its own and writes genes from it; a critic
tells real genes from written ones, and matching conditions from wrong ones by a projection (Miyato and Koyama,
arXiv:1802.05637). A gene is discrete, so no gradient passes from the critic through it: `generators/train_gan.py`
holds the two ways round that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from invdesign.generators.geneset import GeneBatch
from invdesign.generators.model import GeneModel
from invdesign.generators.network import (
    Block,
    ConditionEmbedding,
    ConditionTensors,
    GeneEmbedding,
    NetworkConfig,
)
from invdesign.generators.sampler import GeneSampler


class GeneGAN(GeneModel):
    """The generator network: a mapping of noise and conditions to a latent, and the decoders of a gene."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        w, k = config.width, config.latent
        self.prior_head = nn.Linear(w, 2 * k)
        self.mapping = nn.Sequential(nn.Linear(w + k, w), nn.GELU(), nn.Linear(w, w), nn.GELU(), nn.Linear(w, k))
        last = self.mapping[-1]
        assert isinstance(last, nn.Linear)
        for weights in (self.prior_head.weight, self.prior_head.bias, last.weight, last.bias):
            nn.init.zeros_(weights)

    def latents(self, condition: Tensor, noise: Tensor, centre: Sequence[float] | None = None) -> Tensor:
        """A scaled and shifted noise, and what a perceptron adds to it; a centre takes the place of the shift."""
        mean, log_variance = self.prior_head(condition).chunk(2, dim=-1)
        if centre is not None:
            mean = torch.tensor(centre, dtype=torch.float32).expand_as(mean)
        spread = (0.5 * log_variance.clamp(-6.0, 2.0)).exp()
        return mean + spread * noise + self.mapping(torch.cat([condition, noise], dim=-1))


class GeneCritic(nn.Module):
    """Scores Wyckoff sequences: log odds that one is real and of its conditions."""

    def __init__(self, config: NetworkConfig, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        w = config.width
        self.embedding = GeneEmbedding(w)
        self.condition = ConditionEmbedding(config)
        self.blocks = nn.ModuleList(Block(w, config.heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(w)
        self.head = nn.Sequential(nn.Linear(w, w), nn.GELU(), nn.Linear(w, 1))
        self.project = nn.Linear(w, w, bias=False)

    def forward(self, batch: GeneBatch, conditions: ConditionTensors) -> Tensor:
        """(b,) log odds."""
        e = self.embedding
        orbits = e.position(batch.position) + e.element(batch.number)
        x = torch.cat([e.group(batch.group)[:, None], orbits], dim=1)
        real = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask], dim=1)
        for block in self.blocks:
            x = block(x, real[:, None, :])
        pooled = (self.norm(x) * real[..., None]).sum(1) / real.sum(1, keepdim=True).sqrt()
        matched = (self.project(pooled) * self.condition(conditions)).sum(-1) / pooled.shape[-1] ** 0.5
        return self.head(pooled)[:, 0] + matched


class LatentCritic(nn.Module):
    """Scores latents with their conditions, for adversarial training in an autoencoder's latent space."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        w = config.width
        self.condition = ConditionEmbedding(config)
        self.body = nn.Sequential(nn.Linear(config.latent, 2 * w), nn.GELU(), nn.Linear(2 * w, w), nn.GELU())
        self.head, self.project = nn.Linear(w, 1), nn.Linear(w, w, bias=False)

    def forward(self, z: Tensor, conditions: ConditionTensors) -> Tensor:
        """(b,) scores."""
        hidden = self.body(z)
        matched = (self.project(hidden) * self.condition(conditions)).sum(-1) / hidden.shape[-1] ** 0.5
        return self.head(hidden)[:, 0] + matched


class GANGenerator(GeneSampler[GeneGAN]):
    """Samples the adversarial generator under conditions; how, see `GeneSampler`."""

    name = "gan"
    weights = "gan.safetensors"
    model_class = GeneGAN
