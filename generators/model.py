"""Models of Wyckoff genes: what they share, the variational autoencoder, and sampling from their decoders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.generators.geneset import MAX_POSITIONS, MAX_Z, GeneBatch
from invdesign.generators.network import (
    ConditionEmbedding,
    ConditionTensors,
    Encoder,
    GeneEmbedding,
    GeometryDecoder,
    NetworkConfig,
    SequenceDecoder,
    mixture_log_density,
    von_mises_log_density,
)


class GeneModel(nn.Module, ABC):
    """What every model of genes has: decoders of a latent and conditions into a Wyckoff sequence and its
    geometry."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = GeneEmbedding(config.width)
        self.geometry_embedding = GeneEmbedding(config.width)
        self.condition = ConditionEmbedding(config)
        self.geometry_condition = ConditionEmbedding(config)
        self.sequence = SequenceDecoder(config, self.embedding)
        self.geometry = GeometryDecoder(config, self.geometry_embedding)

    @abstractmethod
    def latents(self, condition: Tensor, noise: Tensor, centre: Sequence[float] | None = None) -> Tensor:
        """(b, latent) latents from (b, width) embedded conditions and (b, latent) standard normal noise.

        With a centre, latents of the region around it.
        """

    def sequence_losses(
        self, z: Tensor, batch: GeneBatch, condition: Tensor, max_sites: int | None = None
    ) -> dict[str, Tensor]:
        """(b,) negative log likelihoods of the `group`, the `position`s and the `element`s, in nats.

        With `max_sites`, those of a `SequenceSampler` with that limit, which makes lawful choices only.
        """
        context = self.sequence.context(z, condition)
        group = F.cross_entropy(self.sequence.groups(context), batch.group, reduction="none")
        hidden = self.sequence.hidden(context, batch)
        b, n = batch.number.shape
        target = torch.full((b, n + 1), MAX_POSITIONS)
        target[:, :n] = torch.where(batch.mask, batch.wyckoff, MAX_POSITIONS)
        steps = torch.arange(n + 1)[None] <= batch.length[:, None]
        logits = self.sequence.positions(hidden, batch.group)
        lawful = None if max_sites is None else lawful_choices(batch, max_sites)
        if lawful is not None:
            logits = logits.masked_fill(~lawful[0], float("-inf"))
        logits = logits.clamp(min=-1e4)
        position = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(b, n + 1)
        logits = self.sequence.elements(hidden[:, :n], batch.position)
        if lawful is not None:
            logits = logits.masked_fill(~lawful[1], -1e4)
        element = F.cross_entropy(logits.flatten(0, 1), batch.number.flatten(), reduction="none").view(b, n)
        return {"group": group, "position": (position * steps).sum(1), "element": (element * batch.mask).sum(1)}

    def geometry_losses(self, z: Tensor, batch: GeneBatch, condition: Tensor) -> dict[str, Tensor]:
        """(b,) negative log densities of the `lattice` and of the `coordinate`s, in nats."""
        context = self.geometry.context(z, condition)
        lattice = -mixture_log_density(batch.lattice, *self.geometry.lattice(context, batch), batch.lattice_mask)
        hidden = self.geometry.hidden(context, batch)
        coordinate = torch.zeros_like(lattice)
        for axis in range(3):
            free = (batch.freedom > axis) & batch.mask
            if free.any():
                density = von_mises_log_density(
                    batch.coords[..., axis][free],
                    *self.geometry.coordinate(axis, hidden[free], batch.coords[free]),
                )
                coordinate = coordinate.index_add(0, free.nonzero()[:, 0], -density)
        return {"lattice": lattice, "coordinate": coordinate}


def lawful_choices(batch: GeneBatch, max_sites: int) -> tuple[Tensor, Tensor]:
    """What a sampler could choose at each step of writing these Wyckoff sequences.

    Returns:
        (b, n + 1, MAX_POSITIONS + 1) Wyckoff positions and *stop*: in ascending order, one without freedom once,
        at most `max_sites` atoms, no stop at the beginning; (b, n, MAX_Z) elements: any, on the same position in
        ascending order.
    """
    table = wyckoff_table()
    sites, freedom = torch.from_numpy(table.primitive_multiplicity), torch.from_numpy(table.freedom)
    b, n = batch.number.shape
    order = torch.arange(MAX_POSITIONS)
    index = (torch.from_numpy(table.group_start)[batch.group][:, None] + order).clamp(max=len(sites) - 1)
    last = torch.cat([torch.full((b, 1), -1), batch.wyckoff], dim=1)[..., None]
    used = F.pad(batch.sites.cumsum(1), (1, 0))[..., None]
    ascending = (order > last) | ((order == last) & (freedom[index] > 0)[:, None])
    stop = (torch.arange(n + 1) > 0).expand(b, n + 1)[..., None]
    positions = torch.cat([ascending & (used + sites[index][:, None] <= max_sites), stop], dim=-1)
    before = F.pad(batch.number, (1, 0))[:, :n, None]
    same = (last[:, :n] == batch.wyckoff[..., None]) & (torch.arange(n) > 0)[:, None]
    z = torch.arange(MAX_Z)
    return positions, (z > 0) & ~(same & (z < before))


class GeneVAE(GeneModel):
    """The autoencoder: an encoder, a prior that knows the conditions, and a head that keeps the latent ordered."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.prior_head = nn.Linear(config.width, 2 * config.latent)
        nn.init.zeros_(self.prior_head.weight)
        nn.init.zeros_(self.prior_head.bias)
        self.encoder = Encoder(config, self.embedding)
        self.property_head = nn.Sequential(
            nn.Linear(config.latent, config.width), nn.GELU(), nn.Linear(config.width, config.properties)
        )

    def prior(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latent's prior given embedded conditions; (b, latent) each.

        A prior that knows the conditions keeps latent and conditions from contradicting each other.
        """
        mean, log_variance = self.prior_head(condition).chunk(2, dim=-1)
        return mean, log_variance.clamp(-6.0, 2.0)

    def latents(self, condition: Tensor, noise: Tensor, centre: Sequence[float] | None = None) -> Tensor:
        """Draws from the prior; a centre takes the place of its mean."""
        mean, log_variance = self.prior(condition)
        if centre is not None:
            mean = torch.tensor(centre, dtype=torch.float32).expand_as(mean)
        return mean + (0.5 * log_variance).exp() * noise

    def losses(self, batch: GeneBatch, conditions: ConditionTensors) -> dict[str, Tensor]:
        """Mean terms of the negative evidence bound, in nats per crystal.

        Returns:
            `group`, `position`, `element` (discrete negative log likelihoods), `lattice`, `coordinate`
            (continuous), `kl` (latent against its conditional prior) and `property` (squared error).
        """
        mean, log_variance = self.encoder(batch)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        condition = self.condition(conditions)
        centre, prior_log_variance = self.prior(condition)
        excess = ((mean - centre) ** 2 + log_variance.exp()) / prior_log_variance.exp()
        kl = 0.5 * (excess - 1.0 + prior_log_variance - log_variance).sum(-1)
        each = self.sequence_losses(z, batch, condition)
        each |= self.geometry_losses(z, batch, self.geometry_condition(conditions))
        known = ~batch.labels.isnan()
        error = (self.property_head(mean) - batch.labels.nan_to_num()) ** 2
        terms = {name: loss.mean() for name, loss in (each | {"kl": kl}).items()}
        return terms | {"property": (error * known).sum() / known.sum().clamp(min=1)}


@dataclass(frozen=True)
class Limits:
    """Hard limits of sampling.

    Attributes:
        groups: (230,) which space groups are allowed.
        elements: (MAX_Z,) which elements are allowed.
        required: (MAX_Z,) which elements must be present.
        max_sites: largest number of atoms in the primitive cell.
        n_sites: exact number of atoms, or None.
        max_orbits: longest Wyckoff sequence.
    """

    groups: Tensor
    elements: Tensor
    required: Tensor
    max_sites: int
    n_sites: int | None = None
    max_orbits: int = 20


class SequenceSampler:
    """Draws Wyckoff sequences orbit by orbit; a row that runs into a dead end is marked, never patched."""

    def __init__(self, decoder: SequenceDecoder, limits: Limits, temperature: float, guidance: float) -> None:
        self.decoder, self.limits = decoder, limits
        self.temperature, self.guidance = temperature, guidance
        table = wyckoff_table()
        self.start = torch.from_numpy(table.group_start)
        self.sites = torch.from_numpy(table.primitive_multiplicity)
        self.freedom = torch.from_numpy(table.freedom)

    def draw(self, z: Tensor, condition: Tensor, free: Tensor, rng: torch.Generator) -> tuple[GeneBatch, Tensor]:
        """Skeletons as a batch without geometry, and (b,) which of them are complete.

        Args:
            z: (b, latent).
            condition: (b, width) embedded conditions.
            free: (b, width) embedded absence of conditions, for guidance.
            rng: source of randomness.
        """
        contexts = self._contexts(z, condition, free)
        logits = self._guided([self.decoder.groups(c) for c in contexts])
        group = self._pick(logits.masked_fill(~self.limits.groups, float("-inf")), rng)
        rows = _empty_rows(group, self.limits.max_orbits)
        active = torch.ones(len(group), dtype=torch.bool)
        complete = torch.zeros(len(group), dtype=torch.bool)
        for step in range(self.limits.max_orbits + 1):
            index = active.nonzero()[:, 0]
            if len(index) == 0:
                break
            prefix = _prefix(rows, index, step)
            states = [self.decoder.hidden(c[index], prefix)[:, -1:] for c in contexts]
            choice, dead = self._position(states, prefix, step, rng)
            stopped = choice == MAX_POSITIONS
            complete[index[stopped & ~dead]] = True
            going = ~stopped & ~dead & (step < self.limits.max_orbits)
            active[index[~going]] = False
            index = index[going]
            if len(index):
                self._place(rows, index, step, choice[going], [s[going] for s in states], rng, active)
        return rows, complete

    def _contexts(self, z: Tensor, condition: Tensor, free: Tensor) -> list[Tensor]:
        contexts = [self.decoder.context(z, condition)]
        if self.guidance != 1.0:
            contexts.append(self.decoder.context(z, free))
        return contexts

    def _guided(self, logits: list[Tensor]) -> Tensor:
        """Classifier-free guidance: away from the unconditional prediction, along the conditional one."""
        if len(logits) == 1:
            return logits[0]
        conditional, unconditional = (x.log_softmax(-1) for x in logits)
        finite = unconditional.isfinite()
        return torch.where(finite, unconditional + self.guidance * (conditional - unconditional), float("-inf"))

    def _pick(self, logits: Tensor, rng: torch.Generator) -> Tensor:
        return torch.multinomial((logits / self.temperature).softmax(-1), 1, generator=rng)[:, 0]

    def _position(
        self, states: list[Tensor], prefix: GeneBatch, step: int, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Next Wyckoff index (or stop) of each active row, and which rows have no choice left."""
        logits = self._guided([self.decoder.positions(s, prefix.group)[:, 0] for s in states])
        index = self.start[prefix.group][:, None] + torch.arange(MAX_POSITIONS)
        index = index.clamp(max=len(self.sites) - 1)
        used = prefix.sites.sum(1)
        room = self.limits.n_sites or self.limits.max_sites
        allowed = used[:, None] + self.sites[index] <= room
        if step:
            last = prefix.wyckoff[:, -1:]
            order = torch.arange(MAX_POSITIONS)[None]
            allowed &= (order > last) | ((order == last) & (self.freedom[index] > 0))
        present = F.one_hot(prefix.number, MAX_Z).any(1)
        may_stop = ~(self.limits.required & ~present).any(1) & torch.tensor(step > 0)
        if self.limits.n_sites is not None:
            may_stop = may_stop & (used == self.limits.n_sites)
        logits = logits.masked_fill(~torch.cat([allowed, may_stop[:, None]], dim=1), float("-inf"))
        dead = ~logits.isfinite().any(1)
        logits[dead, -1] = 0.0
        return self._pick(logits, rng), dead

    def _place(
        self,
        rows: GeneBatch,
        index: Tensor,
        step: int,
        wyckoff: Tensor,
        states: list[Tensor],
        rng: torch.Generator,
        active: Tensor,
    ) -> None:
        """Choose the elements of the new orbits and write both down."""
        position = self.start[rows.group[index]] + wyckoff
        logits = self._guided([self.decoder.elements(s, position[:, None])[:, 0] for s in states])
        allowed = self.limits.elements.expand(len(index), -1).clone()
        if step:
            same = rows.wyckoff[index, step - 1] == wyckoff
            smaller = torch.arange(MAX_Z)[None] < rows.number[index, step - 1][:, None]
            allowed &= ~(same[:, None] & smaller)
        logits = logits.masked_fill(~allowed, float("-inf"))
        dead = ~logits.isfinite().any(1)
        logits[dead] = 0.0
        rows.number[index, step] = self._pick(logits, rng)
        rows.position[index, step], rows.wyckoff[index, step] = position, wyckoff
        rows.sites[index, step], rows.freedom[index, step] = self.sites[position], self.freedom[position]
        rows.length[index] = step + 1
        active[index[dead]] = False


def _empty_rows(group: Tensor, orbits: int) -> GeneBatch:
    b, whole = len(group), torch.zeros((len(group), orbits), dtype=torch.long)
    return GeneBatch(
        group=group,
        position=whole.clone(),
        wyckoff=whole.clone(),
        number=whole.clone(),
        coords=torch.zeros(b, orbits, 3),
        freedom=whole.clone(),
        sites=whole.clone(),
        length=torch.zeros(b, dtype=torch.long),
        lattice=torch.zeros(b, 6),
        lattice_mask=torch.zeros(b, 6, dtype=torch.bool),
        labels=torch.zeros(b, 0),
    )


def _prefix(rows: GeneBatch, index: Tensor, step: int) -> GeneBatch:
    per_orbit = ("position", "wyckoff", "number", "coords", "freedom", "sites")
    cut = {k: getattr(rows, k)[index, :step] for k in per_orbit}
    return replace(
        rows,
        group=rows.group[index],
        length=rows.length[index],
        lattice=rows.lattice[index],
        lattice_mask=rows.lattice_mask[index],
        labels=rows.labels[index],
        **cut,
    )


def sample_lattice(
    geometry: GeometryDecoder, context: Tensor, batch: GeneBatch, temperature: float, rng: torch.Generator
) -> GeneBatch:
    """The batch with lattice features drawn from their mixture."""
    log_weight, mean, log_deviation = geometry.lattice(context, batch)
    k = torch.multinomial((log_weight / temperature).softmax(-1), 1, generator=rng)[:, 0]
    rows = torch.arange(len(k))
    noise = torch.randn(len(k), mean.shape[-1], generator=rng) * temperature
    drawn = mean[rows, k] + noise * log_deviation[rows, k].exp()
    return replace(batch, lattice=torch.where(batch.lattice_mask, drawn, 0.0))


def sample_coordinates(
    geometry: GeometryDecoder, context: Tensor, batch: GeneBatch, temperature: float, rng: torch.Generator
) -> GeneBatch:
    """The batch with free coordinates drawn orbit by orbit."""
    coords = batch.coords.clone()
    batch = replace(batch, coords=coords)
    real, memories = geometry.read(context, batch)
    for orbit in range(batch.number.shape[1]):
        hidden = geometry.next(geometry.places(context, batch)[:, orbit], real, memories)
        rows = (batch.freedom[:, orbit] > 0).nonzero()[:, 0]
        for axis in range(int(batch.freedom[:, orbit].max())):
            log_weight, centre, sharp = geometry.coordinate(axis, hidden[rows], coords[rows, orbit])
            k = torch.multinomial((log_weight / temperature).softmax(-1), 1, generator=rng)
            spread = (temperature / sharp.gather(1, k)[:, 0]).sqrt() / (2 * torch.pi)
            drawn = centre.gather(1, k)[:, 0] + spread * torch.randn(len(rows), generator=rng)
            free = batch.freedom[rows, orbit] > axis
            coords[rows, orbit, axis] = torch.where(free, drawn % 1.0, 0.0)
    return batch
