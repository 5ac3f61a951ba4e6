"""The networks of the variational autoencoder over Wyckoff genes.

An encoder reads a whole gene into a Gaussian latent; a causal decoder writes the Wyckoff sequence (space group,
then orbits of Wyckoff position and element); a geometry decoder reads a finished Wyckoff sequence and gives
densities for the lattice (mixture of normals) and, orbit by orbit, for the free coordinates (mixtures of von Mises
densities). All three are told the conditions. Wyckoff positions are embedded by site symmetry and enumeration,
which mean the same in every group, plus a small correction of their own.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.generators.geneset import LATTICE_FEATURES, MAX_POSITIONS, MAX_Z, GeneBatch


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the networks.

    Attributes:
        width: width of every token.
        heads: attention heads.
        encoder_layers, sequence_layers, geometry_layers: depths.
        latent: latent dimensions.
        properties: number of scalar conditions.
        lattice_components: normals in the lattice mixture.
        coordinate_components: von Mises densities in each coordinate mixture.
        dropout: dropout rate in training.
    """

    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    sequence_layers: int = 3
    geometry_layers: int = 3
    latent: int = 16
    properties: int = 7
    lattice_components: int = 8
    coordinate_components: int = 8
    dropout: float = 0.0

    def to_dict(self) -> dict[str, int | float]:
        """Plain types."""
        return asdict(self)


class ConditionTensors(NamedTuple):
    """Conditions of a batch.

    Attributes:
        values: (b, p) standardised property values, anything where absent.
        present: (b, p) which are asked for.
        required: (b, MAX_Z) elements that must be present.
        allowed: (b, MAX_Z) elements that may be present.
        restricted: (b,) whether `allowed` is a restriction at all.
    """

    values: Tensor
    present: Tensor
    required: Tensor
    allowed: Tensor
    restricted: Tensor


Memory = tuple[Tensor, Tensor]
"""Keys and values (b, heads, m, width / heads) of tokens that a layer has seen."""


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(b, n, width) tokens under a (b or 1, n, n) boolean mask of who may look at whom."""
        return self.remember(x, mask)[0]

    def remember(self, x: Tensor, mask: Tensor, past: Memory | None = None) -> tuple[Tensor, Memory]:
        """The same, with the keys and values of these tokens behind those of earlier ones in `past`.

        With a past of m tokens the mask is (b or 1, n, m + n).
        """
        b, n, w = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(b, n, w)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x))))), (k, v)


class GeneEmbedding(nn.Module):
    """Embeddings of Wyckoff positions, elements, groups and free coordinates."""

    position_site: Tensor
    position_rank: Tensor
    position_size: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        table = wyckoff_table()
        self.register_buffer("position_site", torch.from_numpy(table.site_symmetry), persistent=False)
        self.register_buffer("position_rank", torch.from_numpy(table.enumeration), persistent=False)
        size = torch.from_numpy(
            np.stack([table.primitive_multiplicity, table.multiplicity, table.freedom], 1)
        ).float()
        self.register_buffer("position_size", torch.cat([size[:, :2].log(), size[:, 2:]], dim=1), persistent=False)
        self.site = nn.Embedding(len(table.site_symmetry_names), width)
        self.rank = nn.Embedding(int(table.enumeration.max()) + 1, width)
        self.size = nn.Linear(3, width)
        self.own = nn.Embedding(len(table.freedom), width)
        self.element = nn.Embedding(MAX_Z, width)
        self.group = nn.Embedding(230, width)
        self.coordinate = nn.Linear(12, width)
        nn.init.normal_(self.own.weight, std=0.02)
        self._all: Tensor | None = None

    def position(self, index: Tensor) -> Tensor:
        """Embedding of Wyckoff positions by their index in the table."""
        if torch.is_grad_enabled() or self.training:
            self._all = None
            return F.embedding(index, self._positions())
        if self._all is None:
            self._all = self._positions()
        return F.embedding(index, self._all)

    def _positions(self) -> Tensor:
        """(n_positions, width) embeddings of the whole table."""
        common = self.site(self.position_site) + self.rank(self.position_rank) + self.size(self.position_size)
        return common + self.own.weight

    def coords(self, coords: Tensor, freedom: Tensor) -> Tensor:
        """Embedding of free coordinates; those beyond the freedom are ignored."""
        free = (torch.arange(3) < freedom[..., None]).float()
        return self.coordinate(_circular(coords, free))


def _circular(coords: Tensor, free: Tensor) -> Tensor:
    """(…, 12) sines and cosines at two frequencies, zero where not free."""
    angle = 2 * math.pi * coords
    waves = torch.stack([angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()], dim=-1)
    return (waves * free[..., None]).flatten(-2)


class ConditionEmbedding(nn.Module):
    """Conditions to one vector; each has a presence flag, because zero is a value."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        p, w = config.properties, config.width
        self.scalar = nn.Sequential(nn.Linear(2 * p, w), nn.GELU(), nn.Linear(w, w))
        self.elements = nn.Linear(2 * MAX_Z + 1, w)

    def forward(self, c: ConditionTensors) -> Tensor:
        """(b, width)."""
        present = c.present.float()
        scalar = self.scalar(torch.cat([c.values.nan_to_num() * present, present], dim=-1))
        restricted = c.restricted.float()[:, None]
        sets = torch.cat([c.required.float(), c.allowed.float() * restricted, restricted], dim=-1)
        return scalar + self.elements(sets)


class Encoder(nn.Module):
    """A gene to the mean and log variance of its latent."""

    def __init__(self, config: NetworkConfig, embedding: GeneEmbedding) -> None:
        super().__init__()
        self.embedding = [embedding]  # shared, registered once by its owner
        self.lattice = nn.Linear(2 * LATTICE_FEATURES, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.dropout) for _ in range(config.encoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, 2 * config.latent)

    def forward(self, batch: GeneBatch) -> tuple[Tensor, Tensor]:
        """(b, latent) means and log variances."""
        e = self.embedding[0]
        orbits = e.position(batch.position) + e.element(batch.number) + e.coords(batch.coords, batch.freedom)
        mask = batch.lattice_mask.float()
        first = e.group(batch.group) + self.lattice(torch.cat([batch.lattice * mask, mask], dim=-1))
        x = torch.cat([first[:, None], orbits], dim=1)
        real = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask], dim=1)
        for block in self.blocks:
            x = block(x, real[:, None, :])
        pooled = (self.norm(x) * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        mean, log_variance = self.head(pooled).chunk(2, dim=-1)
        return mean, log_variance.clamp(-8.0, 4.0)


class SequenceDecoder(nn.Module):
    """Latent and conditions to the space group and, orbit by orbit, Wyckoff position and element."""

    def __init__(self, config: NetworkConfig, embedding: GeneEmbedding) -> None:
        super().__init__()
        w = config.width
        self.embedding = [embedding]
        self.latent = nn.Sequential(nn.Linear(config.latent, w), nn.GELU(), nn.Linear(w, w))
        self.group_head = nn.Sequential(nn.LayerNorm(w), nn.Linear(w, w), nn.GELU(), nn.Linear(w, 230))
        self.composition = nn.Linear(MAX_Z + 1, w)
        self.blocks = nn.ModuleList(Block(w, config.heads, config.dropout) for _ in range(config.sequence_layers))
        self.norm = nn.LayerNorm(w)
        self.query = nn.Linear(w, w)
        self.stop = nn.Linear(w, 1)
        self.element_head = nn.Sequential(nn.Linear(2 * w, w), nn.GELU(), nn.Linear(w, MAX_Z))

    def context(self, z: Tensor, condition: Tensor) -> Tensor:
        """(b, width) from latent and embedded conditions."""
        return self.latent(z) + condition

    def groups(self, context: Tensor) -> Tensor:
        """(b, 230) logits of the space group."""
        return self.group_head(context)

    def hidden(self, context: Tensor, batch: GeneBatch) -> Tensor:
        """(b, n + 1, width) states; state k has seen orbits 0 to k - 1."""
        e = self.embedding[0]
        counts = F.one_hot(batch.number, MAX_Z).float() * batch.sites[..., None]
        counts = torch.cat([counts.cumsum(1), batch.sites.float().cumsum(1)[..., None]], dim=-1) / 10.0
        orbits = e.position(batch.position) + e.element(batch.number) + self.composition(counts)
        start = context + e.group(batch.group)
        x = torch.cat([start[:, None], orbits + start[:, None]], dim=1)
        n = x.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool).tril()[None]
        for block in self.blocks:
            x = block(x, causal)
        return self.norm(x)

    def positions(self, hidden: Tensor, group: Tensor) -> Tensor:
        """(b, n, MAX_POSITIONS + 1) logits over the group's Wyckoff positions; the last is *stop*."""
        start = _GROUP_START[group]
        index = start[:, None] + torch.arange(MAX_POSITIONS)
        inside = index < _GROUP_START[group + 1][:, None]
        keys = self.embedding[0].position(torch.where(inside, index, start[:, None]))
        logits = torch.einsum("bnw,bkw->bnk", self.query(hidden), keys) / math.sqrt(hidden.shape[-1])
        logits = logits.masked_fill(~inside[:, None], float("-inf"))
        return torch.cat([logits, self.stop(hidden)], dim=-1)

    def elements(self, hidden: Tensor, position: Tensor) -> Tensor:
        """(b, n, MAX_Z) logits of the element on the chosen positions."""
        return self.element_head(torch.cat([hidden, self.embedding[0].position(position)], dim=-1))


_GROUP_START = torch.from_numpy(wyckoff_table().group_start)


class GeometryDecoder(nn.Module):
    """A Wyckoff sequence to densities of its lattice features and free coordinates."""

    def __init__(self, config: NetworkConfig, embedding: GeneEmbedding) -> None:
        super().__init__()
        w, self.k, self.m = config.width, config.lattice_components, config.coordinate_components
        self.embedding = [embedding]
        self.latent = nn.Sequential(nn.Linear(config.latent, w), nn.GELU(), nn.Linear(w, w))
        self.lattice_in = nn.Linear(2 * LATTICE_FEATURES, w)
        self.previous = nn.Linear(w, w)
        self.kind = nn.Embedding(2, w)
        self.blocks = nn.ModuleList(Block(w, config.heads, config.dropout) for _ in range(config.geometry_layers))
        self.norm = nn.LayerNorm(w)
        self.lattice_head = nn.Sequential(
            nn.Linear(w, w), nn.GELU(), nn.Linear(w, self.k * (2 * LATTICE_FEATURES + 1))
        )
        self.coordinate_heads = nn.ModuleList(
            nn.Sequential(nn.Linear(w + 12, w), nn.GELU(), nn.Linear(w, self.m * 4)) for _ in range(3)
        )

    def prefix(self, context: Tensor, batch: GeneBatch) -> Tensor:
        """(b, n + 1, width) inputs that describe the Wyckoff sequence; the first stands for the whole."""
        e = self.embedding[0]
        orbits = e.position(batch.position) + e.element(batch.number) + context[:, None]
        return torch.cat([(context + e.group(batch.group))[:, None], orbits], dim=1)

    def context(self, z: Tensor, condition: Tensor) -> Tensor:
        """(b, width)."""
        return self.latent(z) + condition

    def lattice(self, context: Tensor, batch: GeneBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Mixture of the lattice features: (b, k) log weights, (b, k, 6) means and log deviations."""
        x = self.prefix(context, batch)
        real = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask], dim=1)
        for block in self.blocks:
            x = block(x, real[:, None, :])
        raw = self.lattice_head(self.norm(x[:, 0]))
        weights, rest = raw[:, : self.k], raw[:, self.k :].view(len(raw), self.k, 2, LATTICE_FEATURES)
        return weights.log_softmax(-1), rest[:, :, 0], (rest[:, :, 1] - 2.0).clamp(-5.5, 1.0)

    def hidden(self, context: Tensor, batch: GeneBatch) -> Tensor:
        """(b, n, width) states from which the coordinates of orbit k follow, given the lattice and orbits < k."""
        n = batch.number.shape[1]
        x = torch.cat([self.sequence(context, batch), self.places(context, batch)], dim=1)
        real = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask], dim=1)
        sequence_view = torch.cat([real, torch.zeros_like(batch.mask)], dim=-1)
        top = sequence_view[:, None, :].expand(-1, n + 1, -1)
        causal = torch.ones(n, n, dtype=torch.bool).tril()[None].expand(len(real), -1, -1)
        bottom = torch.cat([real[:, None, :].expand(-1, n, -1), causal], dim=-1)
        look = torch.cat([top, bottom], dim=1)
        for block in self.blocks:
            x = block(x, look)
        return self.norm(x[:, n + 1 :])

    def sequence(self, context: Tensor, batch: GeneBatch) -> Tensor:
        """(b, n + 1, width) inputs that describe Wyckoff sequence and cell."""
        mask = batch.lattice_mask.float()
        cell = self.lattice_in(torch.cat([batch.lattice * mask, mask], dim=-1))
        return self.prefix(context, batch) + self.kind.weight[0] + cell[:, None]

    def places(self, context: Tensor, batch: GeneBatch) -> Tensor:
        """(b, n, width) inputs that ask for the coordinates of each orbit and tell where the one before it is."""
        e = self.embedding[0]
        orbits = e.position(batch.position) + e.element(batch.number)
        placed = orbits + e.coords(batch.coords, batch.freedom)
        before = torch.cat([torch.zeros_like(placed[:, :1]), self.previous(placed[:, :-1])], dim=1)
        return orbits + before + context[:, None] + self.kind.weight[1]

    def read(self, context: Tensor, batch: GeneBatch) -> tuple[Tensor, list[Memory]]:
        """What every layer remembers of Wyckoff sequence and cell, and (b, n + 1) which of these tokens are
        real."""
        x, memories = self.sequence(context, batch), []
        real = torch.cat([torch.ones_like(batch.mask[:, :1]), batch.mask], dim=1)
        for block in self.blocks:
            assert isinstance(block, Block)
            x, memory = block.remember(x, real[:, None, :])
            memories.append(memory)
        return real, memories

    def next(self, place: Tensor, real: Tensor, memories: list[Memory]) -> Tensor:
        """(b, width) state of the next orbit, one of `places`; `memories` grow by it.

        Called for orbits 0, 1, … this gives the columns of `hidden`, each at the cost of one token.
        """
        x, seen = place[:, None], memories[0][0].shape[2] + 1 - real.shape[1]
        look = torch.cat([real, torch.ones(len(real), seen, dtype=torch.bool)], dim=1)[:, None, :]
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x, memories[layer] = block.remember(x, look, memories[layer])
        return self.norm(x[:, 0])

    def coordinate(self, axis: int, hidden: Tensor, coords: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixture of free coordinate `axis` given those before it: log weights, centres (turns), sharpness.

        Each has shape (…, m).
        """
        known = (torch.arange(3) < axis).float().expand_as(coords)
        raw = self.coordinate_heads[axis](torch.cat([hidden, _circular(coords, known)], dim=-1))
        weights, x, y, sharp = raw.unflatten(-1, (4, self.m)).unbind(-2)
        return weights.log_softmax(-1), torch.atan2(y, x) / (2 * math.pi), F.softplus(sharp + 2.0).pow(2) + 0.05


def mixture_log_density(
    value: Tensor, log_weight: Tensor, mean: Tensor, log_deviation: Tensor, mask: Tensor
) -> Tensor:
    """(b,) log density of (b, 6) lattice features under a mixture of normals over the features that are free."""
    scaled = (value[:, None] - mean) / log_deviation.exp()
    each = -0.5 * scaled**2 - log_deviation - 0.5 * math.log(2 * math.pi)
    return torch.logsumexp(log_weight + (each * mask[:, None]).sum(-1), dim=-1)


def von_mises_log_density(value: Tensor, log_weight: Tensor, centre: Tensor, sharp: Tensor) -> Tensor:
    """(…,) log density, per turn, of a coordinate under a mixture of von Mises densities."""
    angle = 2 * math.pi * (value[..., None] - centre)
    each = sharp * (angle.cos() - 1.0) - torch.special.i0e(sharp).log()
    return torch.logsumexp(log_weight + each, dim=-1)
