"""A custom property from a table, and how well it was learned: `invdesign train surrogate --property`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.genes import protostructure
from invdesign.data.read import read_columns
from invdesign.errors import InputError, TrainingError
from invdesign.progress import Progress, quiet
from invdesign.properties import Property, check_custom_name, custom_property
from invdesign.records import Failure
from invdesign.surrogates.custom.regression import Labels
from invdesign.surrogates.custom.transfer import FEW, Transfer, blocks_of, to_scale, train, view
from invdesign.surrogates.inputs.cells import read_cells, read_graphs
from invdesign.surrogates.model import Model

SCALES = ("auto", "log", "linear")
LOG_RANGE = 10.0
"""`auto` takes the logarithm of positive labels whose 99 % quantile is this many times their 1 % quantile."""
FIDELITIES = {"low": False, "low_fidelity": False, "high": True, "high_fidelity": True}
"""What the column `fidelity` may say, and whether it is the label that is to be predicted."""


@dataclass(frozen=True)
class CustomSettings:
    """What is to be learned.

    Attributes:
        property: its name, which is a column of the table (or the column `value` holds it).
        unit: as printed.
        scale: `log`, `linear`, or `auto`: chosen from the labels.
        low_fidelity: column of a low-fidelity label of the same property, in the same unit (empty: none).
        seed: of folds and choices.
    """

    property: str = "my_property"
    unit: str = ""
    scale: str = "auto"
    low_fidelity: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: naming the field, its value and what is allowed.
        """
        check_custom_name(self.property)
        if self.scale not in SCALES:
            raise InputError("scale", self.scale, SCALES)
        for name in ("unit", "low_fidelity"):
            if not isinstance(getattr(self, name), str):
                raise InputError(name, getattr(self, name), "text")


@dataclass(frozen=True, eq=False)
class Table:
    """Crystals with one's own labels, in the property's unit, NaN where there is none."""

    crystals: Sequence[Crystal]
    values: FloatArray
    low_fidelity: FloatArray | None
    unread: Sequence[Failure]


def read_custom(path: Path, settings: CustomSettings) -> Table:
    """Read a table of crystals with a column of labels.

    Rows of a column `fidelity` (`low` or `low_fidelity`, `high` or `high_fidelity`) are labels of different
    kinds; the rows of one crystal are joined.

    Raises:
        InputError: if a column is missing or a label is not a number.
    """
    crystals, rows, unread = [], [], []
    for item, columns in read_columns(path):
        if isinstance(item, Failure):
            unread.append(item)
        else:
            crystals.append(item)
            rows.append({str(k).strip().lower(): v for k, v in columns.items()})
    if not rows:
        why = f" ({unread[0].item}: {unread[0].reason})" if unread else ""
        raise InputError("data", str(path), f"a table with a crystal in each row{why}")
    present = set().union(*rows)
    column = next((c for c in (settings.property.lower(), "value") if c in present), "")
    if not column:
        shown = ", ".join(sorted(present)) or "none beside the crystal"
        raise InputError("columns of the data", shown, f"also {settings.property}, or value, with the labels")
    values = _numbers(rows, column)
    if settings.low_fidelity and settings.low_fidelity.lower() not in present:
        raise InputError(
            "low_fidelity", settings.low_fidelity, f"a column of the data ({', '.join(sorted(present))})"
        )
    low_fidelity = _numbers(rows, settings.low_fidelity.lower()) if settings.low_fidelity else None
    if "fidelity" in present and not settings.low_fidelity:
        return _joined(crystals, values, [_is_dear(row, k) for k, row in enumerate(rows)], unread)
    return Table(crystals, values, low_fidelity, unread)


def _numbers(rows: Sequence[Mapping[str, Any]], column: str) -> FloatArray:
    """(n,) numbers of a column; NaN for an empty cell."""
    found = np.full(len(rows), np.nan)
    for k, row in enumerate(rows):
        cell = row.get(column)
        if cell is None or str(cell).strip().lower() in ("", "nan", "none", "null"):
            continue
        try:
            found[k] = float(cell)
        except (TypeError, ValueError):
            raise InputError(f"row {k + 1}: {column}", cell, "a number, or nothing") from None
        if not math.isfinite(found[k]):
            raise InputError(f"row {k + 1}: {column}", cell, "a finite number, or nothing")
    return found


def low_fidelity_labels(columns: Sequence[Mapping[str, Any]], name: str) -> FloatArray | None:
    """(n,) low-fidelity labels that stand beside crystals, NaN where there is none; None if no such column is
    meant."""
    if not name or not columns:
        return None
    return _numbers([{str(k).strip().lower(): v for k, v in row.items()} for row in columns], name.lower())


def _is_dear(row: Mapping[str, Any], k: int) -> bool:
    word = str(row.get("fidelity") or "").strip().lower()
    if word not in FIDELITIES:
        raise InputError(f"row {k + 1}: fidelity", word, FIDELITIES)
    return FIDELITIES[word]


def _joined(
    crystals: Sequence[Crystal], values: FloatArray, high_fidelity: Sequence[bool], unread: Sequence[Failure]
) -> Table:
    """One row per crystal from rows of two kinds of labels; the same are those of one symmetry and formula."""
    cells, reasons = read_cells(crystals)
    following = iter(cells)
    keys = [str(k) if reason else _key(next(following)) for k, reason in enumerate(reasons)]
    place = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    first = {key: k for k, key in reversed(list(enumerate(keys)))}
    both = np.full((2, len(place)), np.nan)
    for key, value, kind in zip(keys, values, high_fidelity, strict=True):
        if math.isfinite(value):
            both[int(kind), place[key]] = value
    return Table([crystals[first[key]] for key in place], both[1], both[0], unread)


def _key(cell: Crystal) -> str:
    assert cell.gene is not None
    return f"{protostructure(cell.gene)} {sorted(cell.gene.numbers)} {cell.volume / cell.n_sites:.0f}"


def train_custom(gate: Model, path: Path, settings: CustomSettings, progress: Progress = quiet) -> Transfer:
    """Train a custom property.

    Args:
        gate: the model whose views are learned from.
        path: the table.
        settings: what is to be learned.
        progress: is told how far it has come.

    Raises:
        InputError: if the table cannot be read.
        TrainingError: if there is too little to train on.
    """
    progress("read", 0, None)
    table = read_custom(path, settings)
    columns, readable = _views(gate, table.crystals, progress)
    values = table.values[readable]
    known = values[np.isfinite(values)]
    if not len(known):
        raise TrainingError(f"{path} has no crystal with a label of {settings.property} that can be read")
    low_fidelity = None if table.low_fidelity is None else table.low_fidelity[readable]
    every = known if low_fidelity is None else np.concatenate([known, low_fidelity[np.isfinite(low_fidelity)]])
    log = _is_log(every, settings)
    prop = custom_property(settings.property, settings.unit, float(known.min()), float(known.max()), log)
    systems = np.array([chemical_system(c.numbers) for c, r in zip(table.crystals, readable, strict=True) if r])
    labels = Labels(
        columns,
        to_scale(prop, values),
        None if low_fidelity is None else to_scale(prop, low_fidelity),
        systems,
        blocks_of(gate),
    )
    unread = len(table.unread) + int((~readable).sum())
    name = settings.low_fidelity or ("fidelity" if low_fidelity is not None else "")
    return train(prop, labels, gate.checksum, name, settings.seed, progress, unread)


def _views(gate: Model, crystals: Sequence[Crystal], progress: Progress) -> tuple[FloatArray, Any]:
    """Views of the crystals that can be read, and (n,) which can."""
    parts, readable = [], []
    for start in range(0, len(crystals), 500):
        progress("features", start, len(crystals))
        graphs, reasons = read_graphs(crystals[start : start + 500])
        readable += [not reason for reason in reasons]
        if graphs is not None:
            parts.append(view(gate, graphs))
    return np.concatenate(parts) if parts else np.zeros((0, 1)), np.array(readable, dtype=bool)


def _is_log(labels: FloatArray, settings: CustomSettings) -> bool:
    """Whether to model the logarithm.

    Raises:
        InputError: if it was asked for and there are labels that have none.
    """
    if settings.scale == "log" and not labels.min() > 0.0:
        raise InputError("scale", "log", f"linear or auto: {settings.property} has labels that are not positive")
    if settings.scale != "auto" or not labels.min() > 0.0:
        return settings.scale == "log"
    low, high = np.quantile(labels, [0.01, 0.99])
    return bool(high >= LOG_RANGE * low)


def report(transfer: Transfer) -> str:
    """What was learned and how good it is, in a few lines."""
    prop, notes = transfer.prop, transfer.notes
    where = "log10" if prop.log else (prop.unit or "its own unit")
    lines = [
        f"{prop.name}: {notes['labels']} labels of {notes['systems']} chemical systems"
        + (f", {notes['low-fidelity labels']} low-fidelity labels" if transfer.low_fidelity else "")
        + (f"; {notes['unread']} rows could not be read" if notes["unread"] else ""),
        f"mean absolute error ({where}) on chemical systems left out of training, 5 folds:",
        *_curve(notes["curve"], bool(transfer.low_fidelity)),
        f"90 % intervals hold {notes['curve'][-1]['coverage']:.0%} of labels left out",
        _verdict(prop, notes),
    ]
    return "\n".join(line for line in lines if line)


def _curve(curve: Sequence[Mapping[str, float]], low_fidelity: bool) -> list[str]:
    heads = ["labels", "this model", "the median"]
    keys = ["labels", "error", "constant"]
    if low_fidelity:
        heads += ["low-fidelity label given", "no low-fidelity labels at all"]
        keys += ["error with the low-fidelity label", "error without low-fidelity labels"]
    rows = [heads]
    for point in curve:
        rows.append([f"{point[k]:.0f}" if k == "labels" else f"{point[k]:.4g}" for k in keys])
    widths = [max(len(row[k]) for row in rows) for k in range(len(heads))]
    return ["  " + "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]


def _verdict(prop: Property, notes: Mapping[str, Any]) -> str:
    """In words, what the figures allow."""
    last = notes["curve"][-1]
    said = []
    if notes["labels"] < FEW:
        said.append(f"fewer than {FEW} labels: take everything above, and every prediction, as a guess.")
    if last["gain in standard errors"] < 2.0:
        said.append(
            f"it is not shown to be better than always saying the median: do not use it for {prop.name}; more "
            "labels or other ones are needed."
        )
    return "WARNING: " + " ".join(said) if said else ""
