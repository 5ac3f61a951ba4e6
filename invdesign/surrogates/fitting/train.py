"""Train the surrogates: members of the ensemble, calibration, and memory of the training data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from invdesign.crystal import FloatArray, IntArray
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.data.split import assert_no_leakage, by_chemical_system
from invdesign.errors import TrainingError
from invdesign.properties import PREDICTED
from invdesign.surrogates.calibrate import (
    LEVEL,
    MOST_WIDENED,
    Calibration,
    PointMass,
    coverage,
    fit_calibration,
    fit_point_mass,
    widening,
)
from invdesign.surrogates.inputs.dataset import Graphs, Labelled, select
from invdesign.surrogates.inputs.features import LAST_ELEMENT, FloatTable
from invdesign.surrogates.inputs.potential_features import N_FEATURES
from invdesign.surrogates.model import (
    MINI_BATCH,
    Memory,
    Model,
    Picker,
    Raw,
    anchors,
    base_answers,
    mix,
    prototypes,
    run_members,
    standardise,
)
from invdesign.surrogates.network import Network, Shape
from invdesign.surrogates.response_model import OWN, fit_response_model
from invdesign.surrogates.scales import to_scale

LEAST_LABELS = 50
"""Training labels that a property needs to be modelled."""

STIFF_GPA = 100.0
OFTEN_ZERO = ("band_gap", "energy_above_hull")
"""Properties that are exactly zero for many crystals: metals, and phases on the hull."""

REMEMBERED, AXES = 6000, 24

Progress = Callable[[str], None]
Watch = Callable[[int, float], None]
"""Is told the epoch and `mean_error` of the first member after each epoch; what it raises ends the training."""


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        members: networks in the ensemble.
        epochs: passes over the data.
        batch: crystals in a step.
        learning_rate: its largest value (one-cycle schedule).
        seed: of the first member; the others follow.
        weights: weight of each property in the loss.
        modulus_repeats: how often a crystal with moduli is seen in one pass.
        stiff_weight: extra weight of moduli whose shear modulus is above `STIFF_GPA`.
        hide_response: chance that a crystal's elastic response is hidden in training.
        width, layers, hidden: sizes of a network.
    """

    members: int = 3
    epochs: int = 10
    batch: int = 256
    learning_rate: float = 2e-3
    seed: int = 0
    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "bulk_modulus": 1.0,
            "shear_modulus": 1.0,
            "formation_energy": 1.5,
            "energy_above_hull": 0.5,
            "band_gap": 0.7,
        }
    )
    modulus_repeats: int = 2
    stiff_weight: float = 1.0
    hide_response: float = 0.1
    width: int = 64
    layers: int = 3
    hidden: int = 256


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Crystals with labels as the trainer wants them.

    Attributes:
        labelled: the crystals and labels.
        copies: the same crystals, exact first, then with a generator's errors.
        extra: (n, `N_FEATURES` + `N_RESPONSE`) a potential's features and the elastic response, NaN where not
            computed; or None.
        split: (n,) `train`, `valid` or `test`, by chemical system.
    """

    labelled: Labelled
    copies: Sequence[Graphs]
    extra: FloatTable | None
    split: NDArray[np.str_]

    def rows(self, part: str) -> IntArray:
        """Rows of one part of the split that have a label at all, and features of the potential if any have."""
        known = np.any([np.isfinite(v) for v in self.labelled.labels.values()], axis=0)
        if self.extra is not None:
            known &= np.isfinite(self.extra[:, 0])
        return np.flatnonzero((self.split == part) & known)


def training_data(
    labelled: Labelled, copies: Sequence[Graphs], extra: FloatTable | None = None, seed: int = 0
) -> TrainingData:
    """Split by chemical system (80 / 10 / 10) and prove that no system stands in two parts."""
    split = by_chemical_system(labelled.chemical_systems, seed=seed)
    assert_no_leakage(split, chemical_system=labelled.chemical_systems)
    return TrainingData(labelled, copies, extra, split)


def fit(
    stage: str,
    data: TrainingData,
    settings: Settings,
    start: Model | None = None,
    base: Model | None = None,
    progress: Progress = print,
    calibrate_on: int = -1,
    watch: Watch | None = None,
) -> Model:
    """Train an ensemble and calibrate it.

    Args:
        stage: `gate` or `relaxed`: the name that its values carry.
        data: all parts of the split.
        settings: how to train.
        start: a model whose weights the members start from.
        base: a model whose answers are mixed in, with the shares that suit the validation part best.
        progress: is told one line at a time.
        calibrate_on: which copy of the crystals the calibration looks at.
        watch: is told how the first member does on that copy of the validation part.

    Raises:
        TrainingError: if no property has enough labels.
    """
    train = data.rows("train")
    names = tuple(
        p for p in PREDICTED if np.count_nonzero(np.isfinite(data.labelled.labels[p][train])) >= LEAST_LABELS
    )
    if not names:
        raise TrainingError(f"no property has {LEAST_LABELS} labels in the training part")
    targets = np.stack([to_scale(p, data.labelled.labels[p]) for p in names], axis=1)
    start_at = 0.0 if data.extra is None else anchors(data.extra, names)
    learned = targets - start_at
    target_scale = np.stack([np.nanmean(learned[train], axis=0), np.nanstd(learned[train], axis=0)])
    feature_scale = start_scale(data, train, start)
    extras = 0 if data.extra is None else data.extra.shape[1]
    shape = Shape(
        data.copies[0].features.shape[1], extras, settings.width, settings.layers, settings.hidden, len(names)
    )
    task = _Task(data, names, (learned - target_scale[0]) / target_scale[1], feature_scale, shape, settings)
    valid, kept = data.rows("valid"), memorable(data, train)

    def looked(epoch: int, network: Network) -> None:
        if watch is not None:
            found = run_members([network.eval()], look, standard, shape, target_scale.astype(np.float32))
            watch(epoch, mean_error(found.mean, learned[valid], target_scale[1]))

    if watch is not None:
        look = select(data.copies[calibrate_on], valid)
        standard = task.standard(look.features, valid)
    members = [task.member(k, start, progress, looked if k == 0 else None) for k in range(settings.members)]

    def run(rows: IntArray) -> Raw:
        look = select(data.copies[calibrate_on], rows)
        found = run_members(
            members, look, task.standard(look.features, rows), shape, target_scale.astype(np.float32)
        )
        return found if data.extra is None else replace(found, mean=found.mean + anchors(data.extra[rows], names))

    raw = run(valid)
    shares = None
    if base is not None:
        other = base_answers(base, select(data.copies[calibrate_on], valid), names)
        shares = best_shares(raw, other, targets[valid])
        raw = mix(raw, other, shares)
        progress(f"shares of the own members: {dict(zip(names, shares.tolist(), strict=True))}")
    memory = replace(
        remember(run(kept).columns, raw.columns, element_counts(data, train)),
        prototypes=seen_prototypes(data, train),
    )
    notes = {
        "settings": asdict(settings) | {"weights": dict(settings.weights)},
        "training labels": {p: int(np.isfinite(targets[train, j]).sum()) for j, p in enumerate(names)},
        "crystals": {part: int(np.count_nonzero(data.split == part)) for part in ("train", "valid", "test")},
        "dropped": dict(data.labelled.dropped),
    }
    model = Model(
        stage=stage,
        properties=names,
        shape=shape,
        members=members,
        feature_scale=feature_scale,
        target_scale=target_scale.astype(np.float32),
        calibrations={},
        memory=memory,
        notes=notes,
        base=base,
        shares=shares,
        response=None if data.extra is None else fit_response_model(data.extra, _moduli(data), train),
    )
    return with_intervals(model, select(data.copies[calibrate_on], valid), raw, targets[valid])


def with_intervals(model: Model, graphs: Graphs, raw: Raw, targets: FloatArray) -> Model:
    """The model with intervals fitted on crystals that it was not trained on.

    Args:
        model: all but the calibrations.
        graphs: of the crystals.
        raw: its answers.
        targets: (n, p) in the modelled scale, NaN where unknown.
    """
    scores = np.abs(raw.mean - targets) / raw.spread
    factors = widening(scores, model.memory.is_new(prototypes(graphs)))
    model = replace(model, new_prototype=factors.astype(np.float32))
    raw, distance = model.widened(raw, graphs), model.memory.percentile(model.memory.distance(raw.columns))
    calibrations, masses = calibrated(model.properties, raw, distance, targets)
    return replace(model, calibrations=calibrations, masses=masses)


def with_new_phases(model: Model, new: TrainingData) -> Model:
    """The model with spreads so wide that intervals hold where the potentials have not seen the phase.

    They were trained on most crystals of the validation part, so its errors of energies say little about designs.

    Args:
        model: with its intervals.
        new: phases that neither the potentials nor the model were trained on, the part `valid`.
    """
    rows = new.rows("valid")
    graphs, extra = select(new.copies[-1], rows), None if new.extra is None else new.extra[rows]
    raw = model.widened(model.raw(graphs, extra), graphs)
    distance = model.memory.percentile(model.memory.distance(raw.columns))
    factors = np.ones(len(model.properties), dtype=np.float32)
    for j, name in enumerate(model.properties):
        truth, ends = (
            to_scale(name, new.labelled.labels[name][rows]),
            model.masses.get(name, model.calibrations[name]),
        )
        if np.count_nonzero(np.isfinite(truth)) >= LEAST_LABELS:
            mean, spread = raw.mean[:, j], raw.spread[:, j]
            tried = np.arange(1.0, MOST_WIDENED + 0.05, 0.05)
            held = [coverage(*ends.interval(mean, factor * spread, distance), truth) for factor in tried]
            factors[j] = tried[int(np.argmax(np.array([*held[:-1], 1.0]) >= LEVEL))]
    return replace(model, new_phase=factors)


def _moduli(data: TrainingData) -> FloatArray:
    """(n, 2) log10 of K and G."""
    return np.stack([to_scale(name, data.labelled.labels[name]) for name in OWN], axis=1)


def calibrated(
    names: Sequence[str], raw: Raw, distance: FloatArray, targets: FloatArray
) -> tuple[dict[str, Calibration], dict[str, PointMass]]:
    """Calibrations of all properties, and of those that are often zero that probability, on held-out crystals.

    Args:
        names: the properties.
        raw: uncalibrated answers.
        distance: (n,) distance percentiles.
        targets: (n, p) in the modelled scale, NaN where unknown.
    """
    columns = {name: (raw.mean[:, j], raw.spread[:, j], distance, targets[:, j]) for j, name in enumerate(names)}
    masses = {name: fit_point_mass(*column) for name, column in columns.items() if name in OFTEN_ZERO}
    return (
        {name: fit_calibration(*column) for name, column in columns.items()},
        {name: mass for name, mass in masses.items() if mass is not None},
    )


def best_shares(own: Raw, other: tuple[FloatArray, FloatArray], targets: FloatArray) -> FloatTable:
    """(p,) weight of the own answers, in tenths, with the least mean absolute error."""
    tenths = np.arange(11) / 10.0
    found = np.ones(targets.shape[1], dtype=np.float32)
    for j in range(len(found)):
        known = np.isfinite(targets[:, j]) & np.isfinite(other[0][:, j])
        if known.any():
            mixed = tenths[:, None] * own.mean[known, j] + (1.0 - tenths[:, None]) * other[0][known, j]
            found[j] = tenths[np.argmin(np.abs(mixed - targets[known, j]).mean(axis=1))]
    return found


def mean_error(predicted: FloatArray, targets: FloatArray, spread: FloatArray) -> float:
    """Mean absolute errors over the labels' standard deviations, the mean of the properties.

    Args:
        predicted: (n, p) in the modelled scale.
        targets: (n, p) in the modelled scale, NaN where unknown.
        spread: (p,) standard deviations of training labels.
    """
    errors = np.abs(predicted - targets) / spread
    known = np.isfinite(errors).any(axis=0)
    return float(np.nanmean(errors[:, known], axis=0).mean())


def start_scale(data: TrainingData, train: IntArray, start: Model | None) -> FloatTable:
    """(2, features + extra) mean and standard deviation; those of `start` where its columns are."""
    tables = [data.copies[0].features[train]]
    if data.extra is not None:
        tables.append(data.extra[train])
    mean = np.concatenate([np.nanmean(t, axis=0) for t in tables])
    std = np.concatenate([np.nanstd(t, axis=0) for t in tables])
    scale = np.stack([mean, np.where(std > 1e-6, std, 1.0)]).astype(np.float32)
    if start is not None:
        scale[:, : start.shape.features] = start.feature_scale[:, : start.shape.features]
    return scale


class _Task:
    """One training run's fixed things, from which members are trained."""

    def __init__(
        self,
        data: TrainingData,
        names: tuple[str, ...],
        targets: FloatArray,
        feature_scale: FloatTable,
        shape: Shape,
        settings: Settings,
    ) -> None:
        self.data, self.names, self.shape, self.settings = data, names, shape, settings
        self.feature_scale = feature_scale
        self.targets = targets.astype(np.float32)
        self.pickers = [Picker(copy) for copy in data.copies]
        self.weights = torch.tensor([settings.weights.get(n, 1.0) for n in names])
        shear = data.labelled.labels["shear_modulus"]
        with np.errstate(invalid="ignore"):
            stiff = (shear > STIFF_GPA) * settings.stiff_weight
        is_modulus = np.array([n.endswith("modulus") for n in names])
        self.row_weights = (1.0 + stiff[:, None] * is_modulus).astype(np.float32)

    def standard(self, features: FloatTable, rows: IntArray) -> FloatTable:
        """Standardised features and extra features of some rows, of which `features` are given."""
        extra = None if self.data.extra is None else self.data.extra[rows]
        return standardise(features, extra, self.feature_scale)

    def member(
        self,
        index: int,
        start: Model | None,
        progress: Progress,
        looked: Callable[[int, Network], None] | None = None,
    ) -> Network:
        """Train one member; `looked` is shown it after each epoch."""
        seed = self.settings.seed + index
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        network = Network(self.shape)
        if start is not None:
            inherit(network, start.members[index % len(start.members)])
        rows = self.data.rows("train")
        with_moduli = rows[np.isfinite(self.data.labelled.labels["bulk_modulus"][rows])]
        rows = np.concatenate([rows, *[with_moduli] * (self.settings.modulus_repeats - 1)])
        steps = self.settings.epochs * max(1, len(rows) // self.settings.batch)
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.settings.learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.settings.learning_rate, total_steps=steps + 1, pct_start=0.15
        )
        began = time.monotonic()
        for epoch in range(self.settings.epochs):
            loss = self.epoch(network, rng.permutation(rows), rng, optimizer, schedule)
            progress(f"member {index} epoch {epoch} loss {loss:.4f} {time.monotonic() - began:.0f} s")
            if looked is not None:
                looked(epoch, network)
        return network.eval()

    def epoch(
        self,
        network: Network,
        order: IntArray,
        rng: np.random.Generator,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> float:
        """One pass; returns the mean loss."""
        network.train()
        losses = []
        size = min(self.settings.batch, len(order))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            which = int(rng.integers(len(self.pickers)))
            hidden = rng.random(len(rows)) < self.settings.hide_response
            optimizer.zero_grad()
            losses.append(self.accumulate(network, rows, which, hidden))
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimizer.step()
            schedule.step()
        return float(np.mean(losses))

    def accumulate(self, network: Network, rows: IntArray, which: int, hidden: NDArray[np.bool_]) -> float:
        """Add up the gradients of one step over pieces that fit the processor's cache; returns the loss."""
        count = torch.from_numpy(np.isfinite(self.targets[rows]).sum(axis=0)).clamp(min=1)
        total = 0.0
        for start in range(0, len(rows), MINI_BATCH):
            piece = rows[start : start + MINI_BATCH]
            standard = self.standard(self.data.copies[which].features[piece], piece)
            standard[hidden[start : start + MINI_BATCH], self.shape.features + N_FEATURES :] = 0.0
            mean, log_scale = network(self.pickers[which].inputs(piece, standard, self.shape))
            loss = self.loss(piece, mean, log_scale, count)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        return total

    def loss(
        self, rows: IntArray, mean: torch.Tensor, log_scale: torch.Tensor, count: torch.Tensor
    ) -> torch.Tensor:
        """Absolute error of the means, and the Laplace likelihood of the scales given those errors.

        `count` holds the labels of each property in the whole step.
        """
        target = torch.from_numpy(self.targets[rows])
        known = torch.isfinite(target)
        error = (mean - torch.nan_to_num(target)).abs() * known
        fit_mean = (error * torch.from_numpy(self.row_weights[rows])).sum(dim=0) / count
        fit_scale = ((error.detach() / log_scale.exp() + log_scale) * known).sum(dim=0) / count
        total: torch.Tensor = (fit_mean * self.weights).sum() + 0.1 * fit_scale.sum()
        return total


def inherit(network: Network, other: Network) -> None:
    """Copy the weights of another network; inputs that it does not have start at zero, outputs at random."""
    own = network.state_dict()
    for key, value in other.state_dict().items():
        if own[key].shape == value.shape:
            own[key] = value.clone()
        elif own[key].dim() == 2 and own[key].shape[0] == value.shape[0] and own[key].shape[1] > value.shape[1]:
            widened = torch.zeros_like(own[key])
            widened[:, : value.shape[1]] = value
            own[key] = widened
    network.load_state_dict(own)


def memorable(data: TrainingData, train: IntArray) -> IntArray:
    """Training crystals that the memory keeps: half of them with moduli, as far as there are."""
    rng = np.random.default_rng(0)
    moduli = np.isfinite(data.labelled.labels["shear_modulus"][train])
    with_moduli = rng.permutation(train[moduli])[: REMEMBERED // 2]
    others = rng.permutation(train[~moduli])[: REMEMBERED - len(with_moduli)]
    return np.sort(np.concatenate([with_moduli, others]))


def element_counts(data: TrainingData, train: IntArray) -> FloatTable:
    """(104,) training crystals that hold each element."""
    batch = data.copies[0].batch
    trained = np.zeros(len(batch), dtype=bool)
    trained[train] = True
    orbits = trained[batch.orbit_owner]
    pairs = np.unique(batch.orbit_owner[orbits] * (LAST_ELEMENT + 1) + batch.orbit_number[orbits])
    counts = np.bincount(pairs % (LAST_ELEMENT + 1), minlength=LAST_ELEMENT + 1)
    return counts.astype(np.float32)


def seen_prototypes(data: TrainingData, train: IntArray) -> NDArray[np.int64]:
    """(k,) keys of the training crystals' structure types, ascending."""
    return np.unique(gene_prototypes([data.labelled.genes[i] for i in train]))


def remember(kept: FloatTable, held_out: FloatTable, counts: FloatTable) -> Memory:
    """The memory of the training data: principal axes of the crystals kept, and how far held-out ones are."""
    columns = kept.astype(np.float64)
    centre = columns.mean(axis=0)
    _, _, directions = np.linalg.svd(columns - centre, full_matrices=False)
    axes = directions[:AXES].T
    memory = Memory(
        axes.astype(np.float32),
        centre.astype(np.float32),
        ((columns - centre) @ axes).astype(np.float32),
        np.ones(1, dtype=np.float32),
        counts,
    )
    return replace(memory, distances=np.sort(memory.distance(held_out)).astype(np.float32))
