"""Regression of a custom property on labels of one or two fidelities, and its predictions of what was left out.

Fidelities are joined as `invdesign.surrogates.custom.transfer` says; chemical systems are left out whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign.crystal import FloatArray, IntArray
from invdesign.surrogates.custom.process import Process, fit_process

FOLDS = 5
MOST = 3000
"""Labels that a process takes at most; of more, some are drawn."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Crystals with labels of one property, in the scale that it is modelled in.

    Attributes:
        columns: (n, d) of the process.
        values: (n,) the labels that are to be predicted, NaN where a crystal has none.
        low_fidelity: (n,) low-fidelity labels of the same property, NaN where a crystal has none; or None.
        systems: (n,) chemical systems.
        blocks: number of columns in each block.
    """

    columns: FloatArray
    values: FloatArray
    low_fidelity: FloatArray | None
    systems: np.ndarray[Any, Any]
    blocks: tuple[int, ...]

    @property
    def known(self) -> IntArray:
        """Rows with a label that is to be predicted."""
        return np.flatnonzero(np.isfinite(self.values))


@dataclass(frozen=True, eq=False)
class Regression:
    """A process of a property, joined with a low-fidelity label of it if there is one.

    Attributes:
        process: of the labels, less `ratio` times the low-fidelity ones.
        ratio: what a unit of the low-fidelity label is worth.
        low_fidelity: process of the low-fidelity labels, or None.
    """

    process: Process
    ratio: float = 0.0
    low_fidelity: Process | None = None

    def predict(
        self, columns: FloatArray, low_fidelity: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, (n,) each; `low_fidelity` (n,) labels, NaN or None where they are not
        known."""
        mean, std = self.process.predict(columns)
        if self.low_fidelity is None:
            return mean, std
        guess, unsure = self.low_fidelity.predict(columns)
        given = np.full(len(mean), np.nan) if low_fidelity is None else low_fidelity
        known = np.isfinite(given)
        unsure = np.where(known, 0.0, unsure)
        return mean + self.ratio * np.where(known, given, guess), np.hypot(std, self.ratio * unsure)


def fit_regression(labels: Labels, rows: IntArray, others: IntArray, seed: int = 0) -> Regression:
    """Fit on some rows.

    Args:
        labels: of all crystals.
        rows: whose labels are learned.
        others: whose low-fidelity labels may be learned, `rows` among them.
        seed: of the choice of rows where there are more than `MOST`.
    """
    rows = _some(rows, seed)
    values, columns = labels.values[rows], labels.columns[rows]
    if labels.low_fidelity is None:
        return Regression(fit_process(columns, values, labels.blocks, seed))
    known = _some(others[np.isfinite(labels.low_fidelity[others])], seed)
    low_fidelity = fit_process(labels.columns[known], labels.low_fidelity[known], labels.blocks, seed)
    given = labels.low_fidelity[rows]
    given = np.where(np.isfinite(given), given, low_fidelity.predict(columns)[0])
    ratio = float(np.cov(given, values)[0, 1] / max(np.var(given, ddof=1), 1e-12))
    return Regression(fit_process(columns, values - ratio * given, labels.blocks, seed), ratio, low_fidelity)


def _some(rows: IntArray, seed: int) -> IntArray:
    return rows if len(rows) <= MOST else np.sort(np.random.default_rng(seed).permutation(rows)[:MOST])


def folds_of(systems: np.ndarray[Any, Any], rows: IntArray, seed: int = 0, folds: int = FOLDS) -> IntArray:
    """(n_rows,) fold of each of `rows`; a chemical system stands in one fold, and folds are equally full."""
    names, which, counts = np.unique(systems[rows], return_inverse=True, return_counts=True)
    fold, filled = np.zeros(len(names), dtype=np.int64), np.zeros(folds)
    for system in np.random.default_rng(seed).permutation(len(names)):
        fold[system] = int(np.argmin(filled))
        filled[fold[system]] += counts[system]
    return np.asarray(fold[which])


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Predictions of rows whose chemical system was left out of training.

    Attributes:
        rows: (m,) rows of the labels.
        fold: (m,) of each.
        given: (2, m) mean and standard deviation with the low-fidelity label of the row itself, where it has one.
        guessed: (2, m) the same without it.
        constant: (m,) median of the training labels.
    """

    rows: IntArray
    fold: IntArray
    given: FloatArray
    guessed: FloatArray
    constant: FloatArray


def leave_out(labels: Labels, size: int | None = None, seed: int = 0) -> LeftOut:
    """Predict every labelled row from other chemical systems; `size` labels of them, or all."""
    known = labels.known
    fold = folds_of(labels.systems, known, seed)
    given, guessed, constant = np.zeros((2, len(known))), np.zeros((2, len(known))), np.zeros(len(known))
    for k in range(FOLDS):
        mine = np.flatnonzero(fold == k)
        rows = _shuffled(labels.systems, known[fold != k], seed)[:size]
        away = np.flatnonzero(~np.isin(labels.systems, labels.systems[known[mine]]))
        model = fit_regression(labels, rows, away, seed)
        columns = labels.columns[known[mine]]
        guessed[:, mine] = model.predict(columns)
        constant[mine] = np.median(labels.values[rows])
        given[:, mine] = (
            guessed[:, mine]
            if labels.low_fidelity is None
            else model.predict(columns, labels.low_fidelity[known[mine]])
        )
    return LeftOut(known, fold, given, guessed, constant)


def _shuffled(systems: np.ndarray[Any, Any], rows: IntArray, seed: int) -> IntArray:
    """The rows by chemical system, the systems in random order."""
    names, which = np.unique(systems[rows], return_inverse=True)
    place = np.random.default_rng(seed).permutation(len(names))
    return rows[np.argsort(place[which], kind="stable")]
