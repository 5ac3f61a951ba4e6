"""An ensemble of networks with its scaling, calibration and memory of the training data: predict, save, load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import FloatArray
from invdesign.crystallography.prototypes import prototype_keys
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.errors import ReferenceMissingError
from invdesign.records import NEW_PROTOTYPE, Estimate, Value
from invdesign.surrogates.calibrate import UNSEEN, Calibration, PointMass
from invdesign.surrogates.inputs.dataset import Graphs
from invdesign.surrogates.inputs.features import FloatTable, feature_names
from invdesign.surrogates.inputs.potential_features import ANCHOR
from invdesign.surrogates.network import Inputs, Network, Shape, edge_features, node_scalars
from invdesign.surrogates.response_model import SHARE, ResponseModel
from invdesign.surrogates.scales import from_scale, std_from_scale

CLIP = 6.0
"""Standardised features are cut at this many standard deviations."""

NEAREST = 5
OOD_PERCENTILE = 0.99
SEEN_ELEMENT = 10
"""An element in fewer training crystals than this counts as not seen."""
RARE_ELEMENT = "an element that training hardly had"
FAR = "far from all training crystals"

ENERGY = "formation_energy"
GAP = "band_gap"
"""The property whose probability of being exactly zero is told."""

OPTIONAL = ("shares", "new_prototype", "new_phase")
"""Arrays of a model that not every one has."""

MINI_BATCH = 64
"""Crystals that the networks take at once: what they compute then fits the processor's cache."""


@dataclass(frozen=True, eq=False)
class Memory:
    """What is remembered of the training data, to say how far from it a crystal is.

    Attributes:
        axes: (n_columns, q) from the compared columns to the space in which distances are taken.
        centre: (n_columns,) mean of the compared columns.
        points: (r, q) training crystals.
        distances: (s,) ascending: distances of crystals that were not trained on.
        element_counts: (104,) training crystals that hold each element.
        prototypes: (k,) `prototype_keys` of the training crystals, ascending; empty: not known.
    """

    axes: FloatTable
    centre: FloatTable
    points: FloatTable
    distances: FloatTable
    element_counts: FloatTable
    prototypes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def is_new(self, prototypes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether training had no crystal of these structure types; never, where that is not known."""
        return ~np.isin(prototypes, self.prototypes) & (len(self.prototypes) > 0)

    def distance(self, columns: FloatTable, chunk: int = 1024) -> FloatArray:
        """(n,) mean distance to the `NEAREST` remembered crystals."""
        at = (columns - self.centre) @ self.axes
        squares = (self.points**2).sum(axis=1)
        found = []
        for start in range(0, len(at), chunk):
            part = at[start : start + chunk]
            squared = (part**2).sum(axis=1)[:, None] + squares - 2.0 * part @ self.points.T
            near = np.partition(squared, NEAREST - 1, axis=1)[:, :NEAREST]
            found.append(np.sqrt(np.maximum(near, 0.0)).mean(axis=1))
        return np.concatenate(found).astype(np.float64)

    def percentile(self, distance: FloatArray) -> FloatArray:
        """(n,) share of held-out crystals that are nearer; beyond the farthest the ratio to it."""
        rank = np.searchsorted(self.distances, distance) / len(self.distances)
        return np.maximum(rank, distance / self.distances[-1] * (distance > self.distances[-1]))


@dataclass(frozen=True, eq=False)
class Raw:
    """Answers in the modelled scale, uncalibrated.

    Attributes:
        mean: (n, p) mean of the members.
        spread: (n, p) root of mean square scale and variance between members.
        columns: (n, n_columns) what distances to training data are taken from.
    """

    mean: FloatArray
    spread: FloatArray
    columns: FloatTable


@dataclass(frozen=True, eq=False)
class Model:
    """A trained surrogate.

    Attributes:
        stage: `gate` or `relaxed`.
        properties: names, in the order of the outputs.
        shape: sizes of the networks.
        members: the networks, in evaluation mode.
        feature_scale: (2, features + extra) mean and standard deviation.
        target_scale: (2, p) mean and standard deviation of the modelled targets.
        calibrations: by property.
        masses: of properties that are often exactly zero.
        memory: of the training data.
        notes: data, split, seeds, metrics.
        base: another model whose answers are mixed in, and which answers alone where the extra features are not
            known; or None.
        shares: (p,) weight of the own members; the rest is the base's.
        response: what is mixed in for crystals with elements that training hardly had, or None.
        new_prototype: (p,) how much wider spreads are for structure types that training did not have, or None.
        new_phase: (p,) the same for phases that the potentials were not trained on, or None.
    """

    stage: str
    properties: tuple[str, ...]
    shape: Shape
    members: Sequence[Network]
    feature_scale: FloatTable
    target_scale: FloatTable
    calibrations: Mapping[str, Calibration]
    memory: Memory
    notes: Mapping[str, Any]
    base: Model | None = None
    shares: FloatTable | None = None
    masses: Mapping[str, PointMass] = field(default_factory=dict)
    response: ResponseModel | None = None
    new_prototype: FloatTable | None = None
    new_phase: FloatTable | None = None

    def raw(self, graphs: Graphs, extra: FloatTable | None = None, members: int | None = None) -> Raw:
        """Run all members, and those of the base, on all crystals; with `members`, only the first so many."""
        standard = standardise(graphs.features, extra, self.feature_scale)
        found = run_members(self.members[:members], graphs, standard, self.shape, self.target_scale)
        if extra is not None:
            found = replace(found, mean=found.mean + anchors(extra, self.properties))
        if self.base is not None and self.shares is not None:
            found = mix(found, base_answers(self.base, graphs, self.properties), self.shares)
        if self.response is not None and extra is not None:
            part = SHARE * self._unseen(graphs)[:, None]
            found = mix(found, self.response.answers(extra, self.properties), 1.0 - part)
        return found

    @property
    def checksum(self) -> str:
        """Changes when the weights change."""
        digest = hashlib.sha256()
        for member in self.members:
            for value in member.state_dict().values():
                digest.update(value.half().numpy().tobytes())
        return digest.hexdigest()[:16]

    def estimates(
        self,
        graphs: Graphs,
        extra: FloatTable | None = None,
        raw: Raw | None = None,
        unknown: NDArray[np.bool_] | None = None,
    ) -> list[Estimate]:
        """One calibrated estimate per crystal.

        Args:
            graphs: of the crystals.
            extra: what the potentials say of them.
            raw: the answers, if they are there already.
            unknown: (n,) whether it is a phase that the potentials were not trained on; None: no.
        """
        raw = self.raw(graphs, extra) if raw is None else raw
        distance = self.memory.percentile(self.memory.distance(raw.columns))
        reasons = self._unlike(graphs, distance)
        raw = self.widened(raw, graphs, unknown)
        metal = self._metal(raw)
        columns = {
            name: self._values(name, raw.mean[:, j], raw.spread[:, j], distance)
            for j, name in enumerate(self.properties)
        }
        return [
            Estimate(
                {name: values[i] for name, values in columns.items()},
                distance=float(distance[i]),
                out_of_distribution=bool(reasons[i]),
                metal_probability=float(metal[i]),
                ood_reason=reasons[i],
            )
            for i in range(len(distance))
        ]

    def spreads(self, raw: Raw, graphs: Graphs) -> FloatArray:
        """(n, p) calibrated standard deviations of `raw.mean`, in the modelled scale; see `Answers`."""
        distance = self.memory.percentile(self.memory.distance(raw.columns))
        wide = self.widened(raw, graphs)
        columns = [
            self.calibrations[name].std(wide.mean[:, j], wide.spread[:, j], distance)
            for j, name in enumerate(self.properties)
        ]
        return np.stack(columns, axis=1)

    def widened(self, raw: Raw, graphs: Graphs, unknown: NDArray[np.bool_] | None = None) -> Raw:
        """The answers with wider spreads for what training hardly, or never, had.

        Elements, structure types, and where `unknown` says so whole phases.
        """
        factors = np.where(self._unseen(graphs)[:, None], [UNSEEN[name] for name in self.properties], 1.0)
        if self.new_prototype is not None:
            factors = factors * np.where(self.memory.is_new(prototypes(graphs))[:, None], self.new_prototype, 1.0)
        if self.new_phase is not None and unknown is not None:
            factors = factors * np.where(unknown[:, None], self.new_phase, 1.0)
        return replace(raw, spread=factors * raw.spread)

    def _unlike(self, graphs: Graphs, distance: FloatArray) -> list[str]:
        """What training did not have of each crystal, in words."""
        marks = {
            RARE_ELEMENT: self._unseen(graphs),
            NEW_PROTOTYPE: self.memory.is_new(prototypes(graphs)),
            FAR: distance > OOD_PERCENTILE,
        }
        found = [[reason for reason, rows in marks.items() if rows[i]] for i in range(len(distance))]
        return ["; ".join(reasons) for reasons in found]

    def _unseen(self, graphs: Graphs) -> Any:
        """(n,) whether a crystal holds an element that training hardly had."""
        batch = graphs.batch
        rare = (self.memory.element_counts < SEEN_ELEMENT)[batch.orbit_number]
        return np.bincount(batch.orbit_owner, weights=rare, minlength=len(batch)) > 0

    def _metal(self, raw: Raw) -> FloatArray:
        """(n,) probability that the band gap is zero, NaN where nothing is known of it."""
        if GAP not in self.masses:
            return np.full(len(raw.mean), np.nan)
        j = self.properties.index(GAP)
        return self.masses[GAP].zero_probability(raw.mean[:, j], raw.spread[:, j])

    def _values(self, name: str, mean: FloatArray, spread: FloatArray, distance: FloatArray) -> list[Value]:
        """Calibrated values of one property."""
        calibration = self.calibrations[name]
        ends = self.masses.get(name, calibration).interval(mean, spread, distance)
        low, high = (from_scale(name, end) for end in ends)
        centre = np.clip(from_scale(name, mean), low, high)
        std = std_from_scale(name, mean, calibration.std(mean, spread, distance))
        source = f"surrogate:{self.stage}"
        return [
            Value(float(c), float(s), float(a), float(b), source)
            for c, s, a, b in zip(centre, std, low, high, strict=True)
        ]


def prototypes(graphs: Graphs) -> NDArray[np.int64]:
    """(n,) `prototype_keys` of crystals."""
    batch = graphs.batch
    return prototype_keys(batch.space_group, batch.orbit_owner, batch.orbit_number, batch.orbit_position)


def standardise(features: FloatTable, extra: FloatTable | None, scale: FloatTable) -> FloatTable:
    """(n, features + extra) standardised and clipped; what is not known (NaN) becomes the mean."""
    joined = features if extra is None else np.concatenate([features, extra], axis=1)
    standard = np.clip((joined - scale[0]) / scale[1], -CLIP, CLIP)
    return np.nan_to_num(standard, nan=0.0).astype(np.float32)


def run_members(
    members: Sequence[Network], graphs: Graphs, standard: FloatTable, shape: Shape, target_scale: FloatTable
) -> Raw:
    """Means and spreads of an ensemble, and the columns for distances (features and first member's embedding)."""
    means, scales, embedded = [], [], []
    with torch.inference_mode():
        for inputs in mini_batches(graphs, standard, shape):
            edge = edge_features(inputs)
            spaces = [member.embed(inputs, edge) for member in members]
            answers = [member.answer(space) for member, space in zip(members, spaces, strict=True)]
            means.append(torch.stack([a[0] for a in answers]).numpy())
            scales.append(torch.stack([a[1] for a in answers]).exp().numpy())
            embedded.append(spaces[0].numpy())
    mean = np.concatenate(means, axis=1).astype(np.float64)
    scale = np.concatenate(scales, axis=1).astype(np.float64)
    spread = np.sqrt((scale**2).mean(axis=0) + mean.var(axis=0))
    columns = np.concatenate([standard[:, : shape.features], np.concatenate(embedded)], axis=1)
    return Raw(mean.mean(axis=0) * target_scale[1] + target_scale[0], spread * target_scale[1], columns)


def base_answers(base: Model, graphs: Graphs, properties: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Means and spreads of a base model for some properties; NaN for those that it does not know."""
    raw = base.raw(graphs)
    mean = np.full((len(raw.mean), len(properties)), np.nan)
    spread = mean.copy()
    for j, name in enumerate(properties):
        if name in base.properties:
            k = base.properties.index(name)
            mean[:, j], spread[:, j] = raw.mean[:, k], raw.spread[:, k]
    return mean, spread


def anchors(extra: FloatTable, properties: Sequence[str]) -> FloatArray:
    """(n, p) what the members' answers are counted from: the potential's formation energy, zero for the others.

    NaN where the potential's features, or its formation energy, are not known.
    """
    found = np.where(np.isfinite(extra[:, :1]), np.zeros((len(extra), len(properties))), np.nan)
    if ENERGY in properties:
        found[:, properties.index(ENERGY)] += extra[:, ANCHOR]
    return found


def mix(own: Raw, other: tuple[FloatArray, FloatArray], shares: FloatTable) -> Raw:
    """Weighted answers of two models, as of a mixture of two distributions; unknown (NaN) ones are left out."""
    share = np.where(np.isnan(own.mean), 0.0, np.where(np.isnan(other[0]), 1.0, shares))
    mean_1, mean_2, spread_2 = np.nan_to_num(own.mean), np.nan_to_num(other[0]), np.nan_to_num(other[1])
    mean = share * mean_1 + (1.0 - share) * mean_2
    variance = share * own.spread**2 + (1.0 - share) * spread_2**2
    between = share * (1.0 - share) * (mean_1 - mean_2) ** 2
    return Raw(mean, np.sqrt(variance + between), own.columns)


def mini_batches(graphs: Graphs, standard: FloatTable, shape: Shape, size: int = MINI_BATCH) -> Iterator[Inputs]:
    """The crystals in order, in batches that fit the processor's cache."""
    picker = Picker(graphs)
    for start in range(0, len(graphs.batch), size):
        chosen = np.arange(start, min(start + size, len(graphs.batch)))
        yield picker.inputs(chosen, standard[chosen], shape)


class Picker:
    """Makes tensors of any choice of crystals."""

    def __init__(self, graphs: Graphs) -> None:
        batch = graphs.batch
        self._near, self._batch = graphs.near, batch
        self._first = np.searchsorted(batch.orbit_owner, np.arange(len(batch) + 1))
        self._weight = batch.orbit_weight.astype(np.float32)
        self._scalars = node_scalars(batch.orbit_position, batch.orbit_count, batch.orbit_weight)
        self._site = wyckoff_table().site_symmetry[batch.orbit_position]

    def inputs(self, chosen: np.ndarray[Any, Any], standard: FloatTable, shape: Shape) -> Inputs:
        """Inputs of the crystals `chosen`, whose standardised features are `standard`."""
        start, stop = self._first[chosen], self._first[chosen + 1]
        counts = stop - start
        ends = np.cumsum(counts)
        orbits = np.arange(ends[-1]) + np.repeat(start - (ends - counts), counts)
        shift = np.repeat(ends - counts - start, counts)
        return Inputs(
            number=_tensor(self._batch.orbit_number[orbits]),
            site=_tensor(self._site[orbits]),
            scalars=torch.from_numpy(self._scalars[orbits]),
            weight=torch.from_numpy(self._weight[orbits]),
            owner=_tensor(np.repeat(np.arange(len(chosen)), counts)),
            neighbour=_tensor(self._near.orbit[orbits] + shift[:, None]),
            distance=torch.from_numpy(self._near.distance[orbits]),
            reach=torch.from_numpy(self._near.reach[orbits]),
            features=torch.from_numpy(standard[:, : shape.features]),
            extra=torch.from_numpy(standard[:, shape.features :]),
        )


def _tensor(values: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def save_model(model: Model, path: Path) -> None:
    """Write a model as safetensors: half-precision weights, everything else beside them in the same file."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for i, member in enumerate(model.members):
        tensors |= {f"member.{i}.{k}": v.half().contiguous() for k, v in member.state_dict().items()}
    arrays = {"feature_scale": model.feature_scale, "target_scale": model.target_scale}
    arrays |= {k: v for k in OPTIONAL if (v := getattr(model, k)) is not None}
    arrays |= {f"memory.{k}": v for k, v in vars(model.memory).items()}
    for name, calibration in model.calibrations.items():
        arrays |= {f"calibration.{name}.{k}": v for k, v in vars(calibration).items()}
    for name, mass in model.masses.items():
        arrays |= {f"mass.{name}.{k}": v for k, v in vars(mass).items() if k != "other"}
        arrays |= {f"mass.{name}.other.{k}": v for k, v in vars(mass.other).items()}
    if model.response is not None:
        arrays |= {f"response.{k}": v for k, v in vars(model.response).items()}
    halved = {"memory.points", "memory.distances"}
    for key, value in arrays.items():
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        if tensor.is_floating_point():
            tensor = tensor.half() if key in halved else tensor.float()
        tensors[key] = tensor
    header = {
        "stage": model.stage,
        "properties": json.dumps(model.properties),
        "shape": json.dumps(asdict(model.shape)),
        "members": str(len(model.members)),
        "inputs": inputs_checksum(),
        "base": model.base.checksum if model.base is not None else "",
        "notes": json.dumps(model.notes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(path), metadata=header)
    path.chmod(0o644)


def load_model(path: Path, base: Model | None = None) -> Model:
    """Read a model.

    Args:
        path: the file.
        base: the model whose answers it mixes in, if it was trained with one.

    Raises:
        ReferenceMissingError: if the file is missing, damaged, or was trained on other input features or with
            another base.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        tensors = {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
    except (OSError, SafetensorError) as error:
        raise ReferenceMissingError(f"surrogate weights {path} cannot be read: {error}") from None
    if header["inputs"] != inputs_checksum():
        raise ReferenceMissingError(
            f"surrogate weights {path} were trained on other features; train them again with "
            "scripts/train_surrogates.py"
        )
    wanted = header.get("base", "")
    if wanted and (base is None or base.checksum != wanted):
        raise ReferenceMissingError(
            f"surrogate weights {path} belong to another gate; train them again with scripts/train_surrogates.py"
        )
    shape = Shape(**json.loads(header["shape"]))
    properties = tuple(json.loads(header["properties"]))
    return Model(
        stage=header["stage"],
        properties=properties,
        shape=shape,
        members=[_member(tensors, i, shape) for i in range(int(header["members"]))],
        feature_scale=tensors["feature_scale"].numpy(),
        target_scale=tensors["target_scale"].numpy(),
        calibrations={name: _calibration(_group(tensors, f"calibration.{name}.")) for name in properties},
        memory=Memory(**_group(tensors, "memory.")),
        notes=json.loads(header["notes"]),
        base=base if wanted else None,
        **{key: tensors[key].numpy() for key in OPTIONAL if key in tensors},
        masses={name: mass for name in properties if (mass := _mass(tensors, f"mass.{name}."))},
        response=ResponseModel(**parts) if (parts := _group(tensors, "response.")) else None,
    )


def _mass(tensors: Mapping[str, Tensor], prefix: str) -> PointMass | None:
    """The point mass at zero of a property, if it has one."""
    parts = _group(tensors, prefix)
    if not parts:
        return None
    plain = {key: value for key, value in parts.items() if not key.startswith("other.")}
    return PointMass(**plain, other=Calibration(**_group(tensors, f"{prefix}other.")))


def _calibration(parts: dict[str, Any]) -> Calibration:
    """A calibration from a file; files of before have intervals with equal arms."""
    if "value_factor" in parts:
        half = parts.pop("value_factor")
        parts |= {"low_factor": half, "high_factor": half, "std_factor": half * parts["std_factor"]}
    return Calibration(**parts)


def _member(tensors: Mapping[str, Tensor], index: int, shape: Shape) -> Network:
    network = Network(shape)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in _group(tensors, f"member.{index}.").items()})
    return network.eval()


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    return {key[len(prefix) :]: value.numpy() for key, value in tensors.items() if key.startswith(prefix)}


def inputs_checksum() -> str:
    """Changes when the element table, the site symmetries or the list of features change."""
    digest = hashlib.sha256(np.round(element_features().values, 6).tobytes())
    digest.update("\n".join(feature_names()).encode())
    digest.update("\n".join(wyckoff_table().site_symmetry_names).encode())
    return digest.hexdigest()[:16]
