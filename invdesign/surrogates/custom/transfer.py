"""A custom property, from some tens to some thousands of labels, on top of the gate.

The gate has learned from 10⁵ crystals what elements, sites and surroundings do. Its embeddings, its five answers
and its features are the columns of a Gaussian process (`invdesign.surrogates.custom.process`) that learns the new
property. Two labels of the same property, a low-fidelity one and a high-fidelity one, are joined by co-kriging in
its recursive form (Kennedy and O'Hagan, Biometrika 87, 1 (2000); Le Gratiet and Garnier, Int. J. Uncertain.
Quantif. 4, 365
(2014)): the high-fidelity one is a multiple of the low-fidelity one and a process of its own; where a crystal has
no low-fidelity label it is predicted.

Intervals are conformal on chemical systems that were left out (`invdesign.surrogates.calibrate`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from invdesign.answers import Answers, answers_of
from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.errors import ReferenceMissingError, TrainingError
from invdesign.progress import Progress, quiet
from invdesign.properties import Property, known_properties
from invdesign.records import Estimate, Value
from invdesign.surrogates.calibrate import Calibration, coverage, fit_calibration
from invdesign.surrogates.custom.process import named, process_of
from invdesign.surrogates.custom.regression import FOLDS, Labels, LeftOut, Regression, fit_regression, leave_out
from invdesign.surrogates.gate import CHUNK
from invdesign.surrogates.inputs.cells import failed, read_graphs
from invdesign.surrogates.inputs.dataset import Graphs
from invdesign.surrogates.inputs.features import LAST_ELEMENT, VOLUME_NAMES, feature_names
from invdesign.surrogates.model import Model, mini_batches, standardise
from invdesign.surrogates.network import edge_features
from invdesign.uncertainty import std_from_log10

LEAST = 15
"""Labels below which nothing is trained."""
FEW = 30
"""Labels below which the result is called a guess."""
SIZES = (25, 50, 100, 200, 400, 800, 1600)
"""Numbers of labels in a learning curve, as far as there are."""
STAGE = "transfer"
"""What the file of weights says that it is."""


def view(gate: Model, graphs: Graphs) -> FloatArray:
    """(n, d) what the gate makes of crystals: the blocks of `blocks_of`, side by side."""
    standard = standardise(graphs.features, None, gate.feature_scale)
    rows = []
    with torch.inference_mode():
        for inputs in mini_batches(graphs, standard, gate.shape):
            edge = edge_features(inputs)
            spaces = [member.embed(inputs, edge) for member in gate.members]
            answers = [m.answer(space)[0] for m, space in zip(gate.members, spaces, strict=True)]
            rows.append(torch.cat([*spaces, torch.stack(answers).mean(dim=0)], dim=1).numpy())
    order = np.concatenate(feature_blocks())
    return np.concatenate([np.concatenate(rows), standard[:, order]], axis=1).astype(np.float64)


def feature_blocks() -> list[IntArray]:
    """Columns of a crystal's features: atomic fractions; statistics of elements; volume, symmetry, distances."""
    names = list(feature_names())
    first = names.index(VOLUME_NAMES[0])
    return [np.arange(LAST_ELEMENT), np.arange(LAST_ELEMENT, first), np.arange(first, len(names))]


def blocks_of(gate: Model) -> tuple[int, ...]:
    """Number of columns of each block of `view`: embeddings, answers, and the features' blocks."""
    embedded = len(gate.members) * (gate.shape.hidden // 2)
    return (embedded, len(gate.properties), *(len(block) for block in feature_blocks()))


@dataclass(frozen=True, eq=False)
class Transfer:
    """A trained custom property.

    Attributes:
        prop: name, unit, range and scale.
        gate: checksum of the gate whose views it reads.
        regression: what predicts it.
        calibration: of its intervals, where the low-fidelity label is predicted or there is none.
        given: the same where the low-fidelity label is given.
        low_fidelity: name of the column of the low-fidelity label, empty if there is none.
        notes: data, learning curve, figures.
    """

    prop: Property
    gate: str
    regression: Regression
    calibration: Calibration
    given: Calibration
    low_fidelity: str
    notes: Mapping[str, Any]

    def values(self, columns: FloatArray, low_fidelity: FloatArray | None = None) -> list[Value]:
        """Calibrated values at (n, d) `columns`, given low-fidelity labels in the property's unit (NaN:
        unknown)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            known = None if low_fidelity is None else to_scale(self.prop, low_fidelity)
        mean, std = self.regression.predict(columns, known)
        told = np.zeros(len(mean), dtype=bool) if known is None else np.isfinite(known)
        zeros = np.zeros(len(mean))
        ends, spread = np.zeros((2, len(mean))), zeros
        for calibration, chosen in ((self.calibration, ~told), (self.given, told)):
            ends = np.where(chosen, calibration.interval(mean, std, zeros), ends)
            spread = np.where(chosen, calibration.std(mean, std, zeros), spread)
        low, high = from_scale(self.prop, ends)
        centre = from_scale(self.prop, mean)
        spread = std_from_log10(centre, spread) if self.prop.log else spread
        return [
            Value(float(c), float(s), float(a), float(b), f"surrogate:{self.prop.name}")
            for c, s, a, b in zip(centre, spread, low, high, strict=True)
        ]

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        from safetensors.numpy import save_file

        arrays = self.regression.process.arrays("process")
        if self.regression.low_fidelity is not None:
            arrays |= self.regression.low_fidelity.arrays("low_fidelity")
        for name, calibration in (("calibration", self.calibration), ("given", self.given)):
            arrays |= {f"{name}.{k}": np.asarray(v, dtype=np.float64) for k, v in vars(calibration).items()}
        header = {
            "stage": STAGE,
            "property": json.dumps(asdict(self.prop)),
            "gate": self.gate,
            "ratio": json.dumps(self.regression.ratio),
            "low_fidelity": self.low_fidelity,
            "notes": json.dumps(dict(self.notes)),
        }
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, str(path), metadata=header)
        path.chmod(0o644)


def load_transfer(path: Path | str) -> Transfer:
    """Read what `Transfer.save` wrote.

    Raises:
        ReferenceMissingError: if the file is missing, damaged, or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            header = file.metadata() or {}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if header.get("stage") != STAGE:
            raise KeyError("it is no file of `invdesign train surrogate --property`")
        low_fidelity = process_of("low_fidelity", arrays) if "low_fidelity.points" in arrays else None
        regression = Regression(process_of("process", arrays), json.loads(header["ratio"]), low_fidelity)
        return Transfer(
            prop=Property(**json.loads(header["property"])),
            gate=header["gate"],
            regression=regression,
            calibration=Calibration(**named("calibration", arrays)),
            given=Calibration(**named("given", arrays)),
            low_fidelity=header["low_fidelity"],
            notes=json.loads(header["notes"]),
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ReferenceMissingError(f"surrogate {path} cannot be read: {error}") from None


def to_scale(prop: Property, values: FloatArray) -> FloatArray:
    """Labels in the scale that they are modelled in."""
    return np.log10(values) if prop.log else np.asarray(values, dtype=np.float64)


def from_scale(prop: Property, values: FloatArray) -> FloatArray:
    """Back to the property's unit; a property that is never negative is cut at zero."""
    plain = 10.0**values if prop.log else values
    return np.maximum(plain, 0.0) if prop.low == 0.0 else np.asarray(plain)


@dataclass(frozen=True, eq=False)
class TransferSurrogate:
    """Predicts a custom property.

    Attributes:
        transfer: what was trained.
        gate: the model whose views it reads.
    """

    transfer: Transfer
    gate: Model

    def __post_init__(self) -> None:
        """Check that they belong together.

        Raises:
            ReferenceMissingError: if it was trained with another gate.
        """
        if self.transfer.gate != self.gate.checksum:
            raise ReferenceMissingError(
                f"the surrogate of {self.transfer.prop.name} belongs to another gate; train it again with: "
                f"invdesign train surrogate --property {self.transfer.prop.name} --data FILE"
            )

    def predict(self, crystals: Sequence[Crystal], low_fidelity: ArrayLike | None = None) -> list[Estimate]:
        """One estimate per crystal, in the same order; see `invdesign.protocols.Surrogate`.

        Args:
            crystals: what to predict.
            low_fidelity: low-fidelity labels of the crystals, in the property's unit, NaN where unknown (None:
                all unknown).
        """
        given = (
            np.full(len(crystals), np.nan) if low_fidelity is None else np.asarray(low_fidelity, dtype=np.float64)
        )
        found: list[Estimate] = []
        for start in range(0, len(crystals), CHUNK):
            part = slice(start, start + CHUNK)
            graphs, failures = read_graphs(crystals[part])
            sound = np.array([not reason for reason in failures], dtype=bool)
            values = iter(
                () if graphs is None else self.transfer.values(view(self.gate, graphs), given[part][sound])
            )
            name = self.transfer.prop.name
            found += [failed(reason) if reason else Estimate({name: next(values)}) for reason in failures]
        return found


@dataclass(frozen=True, eq=False)
class WithCustom:
    """A surrogate whose estimates also hold custom properties.

    Attributes:
        base: the surrogate.
        own: the others.
    """

    base: Any
    own: Sequence[TransferSurrogate]

    def answers(self, crystals: Sequence[Crystal], rough: bool = False) -> Answers:
        """The same as arrays; see `invdesign.surrogates.proposal_correction`."""
        known = known_properties(surrogate.transfer.prop for surrogate in self.own)
        ask = getattr(self.base, "answers", None)
        found = answers_of(self.base.predict(crystals)) if ask is None else ask(crystals, rough)
        for surrogate in self.own:
            more = answers_of(surrogate.predict(crystals), known)
            found = replace(
                found,
                names=(*found.names, surrogate.transfer.prop.name),
                mean=np.concatenate([found.mean, _column(more.mean, len(crystals))], axis=1),
                std=np.concatenate([found.std, _column(more.std, len(crystals))], axis=1),
                custom_logs=found.custom_logs | more.custom_logs,
            )
        return found

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order."""
        found: list[Estimate] = self.base.predict(crystals)
        for surrogate in self.own:
            more = surrogate.predict(crystals)
            found = [
                e if e.failure else replace(e, values={**e.values, **m.values})
                for e, m in zip(found, more, strict=True)
            ]
        return found


def _column(values: FloatArray, n: int) -> FloatArray:
    """(n, 1) the one column there is; NaN if nothing was predicted."""
    return values if values.shape[1] else np.full((n, 1), np.nan)


def train(
    prop: Property,
    labels: Labels,
    gate: str,
    low_fidelity: str = "",
    seed: int = 0,
    progress: Progress = quiet,
    unread: int = 0,
) -> Transfer:
    """Train a property, with its learning curve and intervals from chemical systems left out.

    Args:
        prop: what it is.
        labels: to learn from.
        gate: checksum of the gate whose views the columns are.
        low_fidelity: name of the column of the low-fidelity labels.
        seed: of folds and choices.
        progress: is told how far it has come.
        unread: rows of the table that could not be read, for the notes.

    Raises:
        TrainingError: if there are fewer than `LEAST` labels, or low-fidelity ones, or fewer systems than folds.
    """
    known = labels.known
    systems = len(np.unique(labels.systems[known]))
    if len(known) < LEAST or systems < FOLDS:
        raise TrainingError(
            f"{len(known)} labels of {systems} chemical systems are too few to learn {prop.name} from; at least "
            f"{LEAST} labels of {FOLDS} systems"
        )
    if not labels.values[known].std() > 0.0:
        raise TrainingError(f"all labels of {prop.name} are the same: there is nothing to learn")
    if labels.low_fidelity is not None and np.isfinite(labels.low_fidelity).sum() < LEAST:
        raise TrainingError(
            f"{np.isfinite(labels.low_fidelity).sum()} low-fidelity labels are too few to learn from; at least "
            f"{LEAST}, or none"
        )
    whole = int(len(known) * (FOLDS - 1) / FOLDS)
    curve = []
    sizes = [size for size in SIZES if LEAST <= size <= 0.8 * whole]
    for done, size in enumerate(sizes):
        progress("learning curve", done, len(sizes) + 2)
        curve.append(_point(labels, leave_out(labels, size, seed), size, seed))
    progress("learning curve", len(sizes), len(sizes) + 2)
    out = leave_out(labels, None, seed)
    curve.append(_point(labels, out, whole, seed) | {"coverage": _honest_coverage(labels, out)})
    progress("fit", len(sizes) + 1, len(sizes) + 2)
    truth = labels.values[out.rows]
    zeros = np.zeros(len(truth))
    notes = {
        "labels": len(known),
        "low-fidelity labels": 0 if labels.low_fidelity is None else int(np.isfinite(labels.low_fidelity).sum()),
        "systems": systems,
        "unread": unread,
        "curve": curve,
        "seed": seed,
    }
    return Transfer(
        prop,
        gate,
        fit_regression(labels, known, np.arange(len(labels.values)), seed),
        fit_calibration(out.guessed[0], out.guessed[1], zeros, truth),
        fit_calibration(out.given[0], out.given[1], zeros, truth),
        low_fidelity,
        notes,
    )


def _point(labels: Labels, out: LeftOut, size: int, seed: int) -> dict[str, float]:
    """One line of a learning curve: mean absolute errors in the modelled scale."""
    truth = labels.values[out.rows]
    error, constant = np.abs(out.guessed[0] - truth), np.abs(out.constant - truth)
    gain = constant - error
    point = {
        "labels": float(size),
        "error": float(error.mean()),
        "constant": float(constant.mean()),
        "gain in standard errors": float(gain.mean() / (gain.std(ddof=1) / np.sqrt(len(gain)) + 1e-12)),
    }
    if labels.low_fidelity is not None:
        both = np.isfinite(labels.low_fidelity[out.rows])
        point["error with the low-fidelity label"] = float(np.abs(out.given[0] - truth)[both].mean())
        point["error without low-fidelity labels"] = _single(labels, size, seed)
    return point


def _single(labels: Labels, size: int, seed: int) -> float:
    """Mean absolute error without the low-fidelity labels."""
    alone = replace(labels, low_fidelity=None)
    out = leave_out(alone, size, seed)
    return float(np.abs(out.given[0] - labels.values[out.rows]).mean())


def _honest_coverage(labels: Labels, out: LeftOut) -> float:
    """Share of labels in 90 % intervals that were calibrated on the other folds."""
    truth, zeros = labels.values[out.rows], np.zeros(len(out.rows))
    low, high = zeros.copy(), zeros.copy()
    for k in range(FOLDS):
        mine, rest = out.fold == k, out.fold != k
        (mean, std), (others, spread) = out.guessed[:, mine], out.guessed[:, rest]
        fitted = fit_calibration(others, spread, zeros[rest], truth[rest])
        low[mine], high[mine] = fitted.interval(mean, std, zeros[mine])
    return coverage(low, high, truth)
