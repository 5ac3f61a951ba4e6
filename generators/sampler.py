"""Sampling crystals from a trained model of genes: conditions in, crystals with their genes out.

Shared by the autoencoder and the adversarial generator: both turn noise into a latent, write a Wyckoff sequence
and then its geometry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.distances import shortest_ratio
from invdesign.crystallography.genes import decode, protostructure, protostructure_hash
from invdesign.crystallography.symmetry import quick_space_group
from invdesign.elements import symbol
from invdesign.errors import InputError, ReferenceMissingError
from invdesign.generators.conditions import CONDITION_PROPERTIES, Scaling
from invdesign.generators.geneset import MAX_Z, GeneBatch, feature_mask, lattice_from_features, to_batch
from invdesign.generators.model import GeneModel, Limits, SequenceSampler, sample_coordinates, sample_lattice
from invdesign.generators.network import ConditionTensors, NetworkConfig
from invdesign.records import Conditions, Failure
from invdesign.tables import path_of

CHUNK = 256
TOLERANCES = (0.1, 0.01, 0.3)
"""Distances (Å) at which a crystal must have its gene's space group: what is nearer to a higher symmetry falls
into it when relaxed, most often as a known crystal."""
CLEAR = 0.65
"""Shortest distance over the sum of covalent radii below which the geometry is drawn again."""


@dataclass(frozen=True)
class SamplingConfig:
    """How geometry is drawn and what a sampler checks of its own output.

    Attributes:
        sequence_temperature: multiplies the temperature that is asked for; below 1 the model's likelier Wyckoff
            sequences are drawn more often, which are more often stable.
        geometry_temperature: temperature of lattice and coordinates; 1 is the model's own density.
        geometry_draws: most draws of lattice and coordinates for one Wyckoff sequence, until no atoms overlap.
        attempts: most Wyckoff sequences drawn per crystal asked for, before the rest is reported as failed.
        skip_known: do not yield genes of the training set: they are retrieved, not designed.
    """

    sequence_temperature: float = 0.6
    geometry_temperature: float = 0.5
    geometry_draws: int = 6
    attempts: int = 40
    skip_known: bool = True


Model = TypeVar("Model", bound=GeneModel)


class GeneSampler(Generic[Model]):
    """Samples a model of genes under conditions.

    A drawn gene is yielded when its geometry has no overlapping atoms within `geometry_draws` draws, its symmetry
    is that of the space group that it names, its Wyckoff sequence has not been yielded before in the same call,
    and (unless `skip_known` is off) it is none of those that the model was trained on. `counts` holds how many
    draws each of these steps used up.

    Attributes:
        name: of the generator.
        model_class: the model that its weights are of.
        weights: their file among the tables of the package.
    """

    name: ClassVar[str]
    model_class: ClassVar[type[GeneModel]]
    weights: ClassVar[str]

    def __init__(
        self,
        model: Model,
        scaling: Scaling,
        element_volume: FloatArray,
        sampling: SamplingConfig | None = None,
        trained_on: frozenset[int] = frozenset(),
    ) -> None:
        self.model, self.scaling, self.element_volume = model, scaling, element_volume
        self.sampling, self.trained_on = sampling or SamplingConfig(), trained_on
        self.counts: dict[str, int] = {}

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers that it was trained on: those whose volume is not the one that stands for all others. All
        that it can write where it does not say."""
        trained = np.flatnonzero(self.element_volume != self.element_volume[0])
        return frozenset(trained.tolist() or range(1, MAX_Z))

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        """Yield exactly `n` items, deterministic in `rng`; failures only when the attempts are used up.

        Raises:
            InputError: if a condition names a property or element that the model does not know.
        """
        limits, tensors = self._limits(conditions), self._tensors(conditions)
        seen: set[Any] = set()
        given, left = 0, self.sampling.attempts * n
        self.counts = {"drawn": 0, "incomplete": 0, "overlapping": 0, "other_group": 0, "repeated": 0, "known": 0}
        while given < n and left > 0:
            size = min(CHUNK, max(32, 2 * (n - given)), left)
            left -= size
            for crystal in self._chunk(size, rng, conditions, limits, tensors):
                key = protostructure(crystal.gene) if crystal.gene else None
                if key in seen:
                    self.counts["repeated"] += 1
                    continue
                if self.sampling.skip_known and protostructure_hash(key) in self.trained_on:
                    self.counts["known"] += 1
                    continue
                if not self._is_itself(crystal):
                    self.counts["other_group"] += 1
                    continue
                seen.add(key)
                given += 1
                yield crystal
                if given == n:
                    return
        reason = f"no new crystal under these conditions within {self.sampling.attempts * n} draws"
        for _ in range(n - given):
            yield Failure("generate", reason)

    def is_known(self, crystal: Crystal) -> bool:
        """Whether the crystal's gene, up to the choice of origin, is one of the training set."""
        return crystal.gene is not None and protostructure_hash(protostructure(crystal.gene)) in self.trained_on

    @torch.no_grad()
    def redraw(self, genes: Sequence[Gene], rng: np.random.Generator, draws: int = 1) -> list[Gene | None]:
        """Genes with the same orbits, and lattice and free coordinates drawn from the geometry decoder.

        Args:
            genes: their free coordinates and lattices are not looked at.
            rng: source of randomness.
            draws: most draws for a gene.

        Returns:
            One gene per gene; None where no draw keeps the atoms apart, or an element is not known to the model.
        """
        out: list[Gene | None] = [None] * len(genes)
        fit = [
            i
            for i, g in enumerate(genes)
            if max(g.numbers) < MAX_Z and (self.element_volume[[*g.numbers]] > 0).all()
        ]
        if not fit:
            return out
        self.model.eval()
        torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        unknown = np.full((len(fit), len(CONDITION_PROPERTIES)), np.nan)
        batch = to_batch([genes[i] for i in fit], unknown, self.element_volume)
        none = self._tensors(Conditions())
        here = ConditionTensors(*(t.expand(len(fit), *t.shape[1:]) for t in none))
        noise = torch.randn((len(fit), self.model.config.latent), generator=torch_rng)
        context = self.model.geometry.context(
            self.model.latents(self.model.condition(here), noise), self.model.geometry_condition(here)
        )
        waiting = torch.arange(len(fit))
        for _ in range(draws):
            found = self._draw_geometry(batch, context, waiting, torch_rng)
            for row, crystal in found.items():
                if shortest_ratio(crystal) >= CLEAR:
                    out[fit[row]] = crystal.gene
            waiting = torch.tensor([row for row in waiting.tolist() if out[fit[row]] is None], dtype=torch.long)
            if len(waiting) == 0:
                break
        return out

    def first_draws(self, n: int, rng: np.random.Generator) -> tuple[list[Crystal], int]:
        """All complete crystals of `n` unconditional draws, nothing rejected or redrawn, and `n`."""
        conditions = Conditions()
        plain = type(self)(self.model, self.scaling, self.element_volume, replace(self.sampling, geometry_draws=1))
        limits, tensors = self._limits(conditions), self._tensors(conditions)
        found = plain._chunk(n, rng, conditions, limits, tensors, keep_overlaps=True)
        return found, n

    @torch.no_grad()
    def _chunk(
        self,
        size: int,
        rng: np.random.Generator,
        conditions: Conditions,
        limits: Limits,
        tensors: ConditionTensors,
        keep_overlaps: bool = False,
    ) -> list[Crystal]:
        """Complete, overlap-free crystals among `size` draws."""
        self.model.eval()
        torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
        here = ConditionTensors(*(t.expand(size, *t.shape[1:]) for t in tensors))
        embedded = self.model.condition(here)
        z = self._latent(embedded, conditions, torch_rng)
        none = self._tensors(Conditions())
        nothing = ConditionTensors(*(t.expand(size, *t.shape[1:]) for t in none))
        guidance = conditions.guidance if _asks(here) else 1.0
        temperature = self.sampling.sequence_temperature * conditions.temperature
        sampler = SequenceSampler(self.model.sequence, limits, temperature, guidance)
        rows, complete = sampler.draw(z, embedded, self.model.condition(nothing), torch_rng)
        index = complete.nonzero()[:, 0]
        self._count("drawn", size)
        self._count("incomplete", size - len(index))
        if len(index) == 0:
            return []
        context = self.model.geometry.context(z, self.model.geometry_condition(here))[index]
        return self._with_geometry(rows.take(index), context, torch_rng, keep_overlaps)

    def _count(self, name: str, by: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def _latent(self, embedded: Tensor, conditions: Conditions, rng: torch.Generator) -> Tensor:
        """Latents of the model's own distribution, or from the region that the conditions name."""
        noise = torch.randn((len(embedded), self.model.config.latent), generator=rng)
        return self.model.latents(embedded, noise * conditions.latent_scale, conditions.latent_centre)

    def _with_geometry(
        self, batch: GeneBatch, context: Tensor, rng: torch.Generator, keep_overlaps: bool
    ) -> list[Crystal]:
        """Draw lattices and coordinates until atoms keep their distance, in the order of the Wyckoff sequences."""
        batch = replace(batch, lattice_mask=torch.tensor([feature_mask(int(g) + 1) for g in batch.group]))
        found: dict[int, Crystal] = {}
        waiting = torch.arange(len(batch))
        for draw in range(self.sampling.geometry_draws):
            crystals = self._draw_geometry(batch, context, waiting, rng)
            last = keep_overlaps and draw == self.sampling.geometry_draws - 1
            for row, crystal in crystals.items():
                if last or shortest_ratio(crystal) >= CLEAR:
                    found[row] = crystal
            waiting = torch.tensor([row for row in waiting.tolist() if row not in found], dtype=torch.long)
            if len(waiting) == 0:
                break
        self._count("overlapping", len(waiting))
        return [found[row] for row in sorted(found)]

    @torch.no_grad()
    def crystals(self, batch: GeneBatch, context: Tensor, rng: torch.Generator) -> list[Crystal | None]:
        """One draw of geometry for each Wyckoff sequence; None where it spans no cell.

        Args:
            batch: finished Wyckoff sequences.
            context: (b, width) of the geometry decoder.
            rng: source of randomness.
        """
        batch = replace(batch, lattice_mask=torch.tensor([feature_mask(int(g) + 1) for g in batch.group]))
        found = self._draw_geometry(batch, context, torch.arange(len(batch)), rng)
        return [found.get(row) for row in range(len(batch))]

    def _draw_geometry(
        self, batch: GeneBatch, context: Tensor, rows: Tensor, rng: torch.Generator
    ) -> dict[int, Crystal]:
        """One draw for each of the given rows, short Wyckoff sequences apart from long ones."""
        crystals: dict[int, Crystal] = {}
        order = rows[torch.argsort(batch.length[rows], stable=True)]
        temperature = self.sampling.geometry_temperature
        for part in order.split(128):
            piece = sample_lattice(self.model.geometry, context[part], batch.take(part), temperature, rng)
            piece = sample_coordinates(self.model.geometry, context[part], piece, temperature, rng)
            genes = self._genes(piece)
            good = [(row, gene) for row, gene in zip(part.tolist(), genes, strict=True) if gene is not None]
            for (row, _), crystal in zip(good, decode([g for _, g in good], self.name), strict=True):
                crystals[row] = crystal
        return crystals

    def _genes(self, batch: GeneBatch) -> list[Gene | None]:
        """Genes of a finished batch; None where the drawn angles span no cell."""
        genes: list[Gene | None] = []
        lattice = batch.lattice.double().numpy()
        for i in range(len(batch)):
            n = int(batch.length[i])
            numbers, sites = batch.number[i, :n].numpy(), batch.sites[i, :n].numpy()
            volume = float((sites * self.element_volume[numbers]).sum())
            free = torch.arange(3)[None] < batch.freedom[i, :n, None]
            group = int(batch.group[i]) + 1
            try:
                cell = lattice_from_features(group, lattice[i], volume)
            except ValueError:
                genes.append(None)
                continue
            coords = tuple(round(float(u), 5) % 1.0 for u in batch.coords[i, :n][free])
            wyckoffs = tuple(batch.wyckoff[i, :n].tolist())
            genes.append(Gene(group, wyckoffs, tuple(numbers.tolist()), coords, tuple(round(v, 5) for v in cell)))
        return genes

    def _is_itself(self, crystal: Crystal) -> bool:
        """Whether the crystal has its gene's space group and is not within 0.3 Å of a higher one."""
        return crystal.gene is not None and all(
            quick_space_group(crystal, symprec) == crystal.gene.space_group for symprec in TOLERANCES
        )

    def _limits(self, conditions: Conditions) -> Limits:
        groups = torch.ones(230, dtype=torch.bool)
        if conditions.space_groups is not None:
            groups = torch.zeros(230, dtype=torch.bool)
            groups[[g - 1 for g in conditions.space_groups]] = True
        known = _element_set(self.elements)
        elements = _element_set(conditions.allowed) if conditions.allowed is not None else known.clone()
        elements = elements & known & ~_element_set(conditions.forbidden)
        required = _element_set(conditions.required)
        missing = [z for z in sorted(conditions.required) if z >= MAX_Z or not elements[z]]
        if missing or not elements.any():
            lost = ", ".join(symbol(z) for z in missing or sorted(conditions.allowed or ()))
            raise InputError("elements", lost or "none left", "elements that the generator was trained on")
        return Limits(groups, elements, required, conditions.max_sites, conditions.n_sites)

    def _tensors(self, conditions: Conditions) -> ConditionTensors:
        """Conditions of one crystal, as a batch of one."""
        wanted = dict(conditions.properties)
        if conditions.n_sites is not None:
            wanted["n_sites"] = conditions.n_sites
        for name in wanted:
            if name not in CONDITION_PROPERTIES:
                raise InputError("condition", name, CONDITION_PROPERTIES)
        values = np.array([[wanted.get(name, np.nan) for name in CONDITION_PROPERTIES]], dtype=float)
        restricted = conditions.allowed is not None and len(conditions.allowed) < 40
        allowed = _element_set(conditions.allowed or frozenset()) & ~_element_set(conditions.forbidden)
        return ConditionTensors(
            values=torch.from_numpy(self.scaling.transform(values)).float(),
            present=torch.tensor([[name in wanted for name in CONDITION_PROPERTIES]]),
            required=_element_set(conditions.required)[None],
            allowed=allowed[None] if restricted else torch.zeros(1, MAX_Z, dtype=torch.bool),
            restricted=torch.tensor([restricted]),
        )

    def save(self, path: Path, sheet: Mapping[str, Any]) -> None:
        """Write weights, scaling and element volumes as one safetensors file, with `sheet` as its metadata."""
        from safetensors.torch import save_file

        tensors = {f"model.{k}": v.detach().contiguous().clone() for k, v in self.model.state_dict().items()}
        tensors["element_volume"] = torch.from_numpy(np.asarray(self.element_volume))
        tensors["scaling"] = torch.from_numpy(np.stack([self.scaling.mean, self.scaling.deviation]))
        tensors["trained_on"] = torch.tensor(sorted(self.trained_on), dtype=torch.int64)
        meta = {"network": json.dumps(self.model.config.to_dict()), "sheet": json.dumps(dict(sheet), default=str)}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        save_file(tensors, temporary, metadata=meta)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path | None = None, sampling: SamplingConfig | None = None) -> Self:
        """From a file that `save` wrote; without a path, the weights of the package (loaded once).

        Raises:
            ReferenceMissingError: if the file is missing or is no such file.
        """
        if path is not None:
            return cls.read(path, sampling)
        shipped = _shipped(cls)  # type: ignore[arg-type]  # mypy does not know that classes are hashable
        return cls(shipped.model, shipped.scaling, shipped.element_volume, sampling, shipped.trained_on)

    @classmethod
    def read(cls, path: Path, sampling: SamplingConfig | None = None) -> Self:
        """From a file that `save` wrote.

        Raises:
            ReferenceMissingError: if the file is missing or is no such file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as stream:
                network = NetworkConfig(**json.loads(stream.metadata()["network"]))
                tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
            model = cls.model_class(network)
            model.load_state_dict(
                {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
            )
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ReferenceMissingError(f"weights of {cls.name} in {path} cannot be read: {reason}") from None
        mean, deviation = tensors["scaling"].numpy()
        known = frozenset(tensors["trained_on"].tolist()) if "trained_on" in tensors else frozenset()
        volume = tensors["element_volume"].numpy()
        return cls(model, Scaling(mean, deviation), volume, sampling, known)  # type: ignore[arg-type]


@cache
def _shipped(kind: type[GeneSampler[Any]]) -> Any:
    """A generator with the weights of the package."""
    return kind.read(path_of(kind.weights))


def _asks(conditions: ConditionTensors) -> bool:
    """Whether there is any condition that guidance could strengthen."""
    return bool(conditions.present.any() or conditions.required.any() or conditions.restricted.any())


def _element_set(numbers: frozenset[int]) -> Tensor:
    chosen = torch.zeros(MAX_Z, dtype=torch.bool)
    chosen[[z for z in numbers if z < MAX_Z]] = True
    return chosen
