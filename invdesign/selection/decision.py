"""Decision: whether the order of a list is settled, by other methods, other weights and the errors of prediction.

Beside the desirability score stand two methods of multi-criteria analysis from pymcdm (MIT licence): TOPSIS
(Hwang and Yoon 1981), which measures distances to the best and the worst alternative of the list, and SPOTIS
(Dezert et al. 2020), which measures the distance to a fixed ideal and so does not reverse ranks when rows come
or go; SPOTIS is repeated over samples of the uncertain properties, and the mean of its ranks counts.
Sensitivity is told by shares of samples in which a row is among the first five, with its errors drawn
(prediction) or with the weights drawn from a Dirichlet distribution around those chosen (weights; Lahdelma and
Salminen, Oper. Res. 49, 444 (2001)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from invdesign.selection.desirability import geometric_mean

Array = NDArray[np.float64]
Ranks = NDArray[np.int64]

FIRST = 5
"""How many places the shares ask for."""
CONCENTRATION = 20.0
"""Total of the Dirichlet distribution's parameters: each of five equal weights varies by a factor of 1.5 or so."""
SAMPLES = 64
"""Samples of the properties that SPOTIS is repeated over."""
MOST = 200
"""Rows from the head of a list that are looked at; the rest stands too far down to matter."""
AGREE = 0.8
"""Rank correlation from which on two methods agree."""


@dataclass(frozen=True)
class Decision:
    """How firm the order of a list is; each array has one entry per row looked at.

    Attributes:
        ranks: by method (`desirability`, `topsis`, `spotis`), 1 is best.
        first_by_errors: share of samples of the properties in which a row is among the first five by desirability.
        first_by_weights: the same over samples of the weights.
        low: best rank that the errors allow (5 % quantile).
        high: worst rank likewise (95 % quantile).
        agreement: Spearman's rank correlation with the desirability, by method.
    """

    ranks: Mapping[str, Ranks]
    first_by_errors: Array
    first_by_weights: Array
    low: Ranks
    high: Ranks
    agreement: Mapping[str, float] = field(default_factory=dict)

    def text(self, names: Sequence[str]) -> str:
        """One sentence: whether the methods agree, and if not, which rows they place most differently."""
        if len(names) < 3 or not self.agreement:
            return ""
        told = ", ".join(f"{_METHODS[m]} {r:.2f}" for m, r in self.agreement.items())
        if min(self.agreement.values()) >= AGREE:
            return f"Methods agree on the order (rank correlation with the desirability: {told})."
        spans = np.ptp(np.stack(list(self.ranks.values())), axis=0)
        worst = np.argsort(-spans, kind="stable")[:3]
        rows = "; ".join(f"{names[i]} {self._places(int(i))}" for i in worst if spans[i] > 0)
        return f"Methods disagree (rank correlation with the desirability: {told}), most on {rows}."

    def _places(self, i: int) -> str:
        return ", ".join(f"{_METHODS[m]} {int(r[i])}" for m, r in self.ranks.items())


_METHODS = {"desirability": "desirability", "topsis": "TOPSIS", "spotis": "SPOTIS"}


def decide(table: Array, sampled: Array, weights: Array, seed: int = 0) -> Decision:
    """Judge the order of rows by several methods.

    Args:
        table: (n_rows, n_objectives) desirabilities, 0 to 1.
        sampled: (n_rows, n_samples, n_objectives) the same with all errors drawn independently.
        weights: (n_objectives,).
        seed: of the drawn weights.
    """
    n = len(table)
    if not n:
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        return Decision({}, nothing, nothing, none, none)
    scores = geometric_mean(table, weights)
    by_errors = _ranks(geometric_mean(sampled, weights))
    drawn = np.random.default_rng([20_240_229, seed]).dirichlet(_parameters(weights), SAMPLES * 4)
    by_weights = _ranks(np.stack([geometric_mean(table, w) for w in drawn], axis=1))
    ranks = {"desirability": _ranks(scores[:, None])[:, 0]} | _methods(table, sampled, weights)
    low, high = np.quantile(by_errors, [0.05, 0.95], axis=1, method="inverted_cdf")
    return Decision(
        ranks=ranks,
        first_by_errors=(by_errors <= FIRST).mean(axis=1),
        first_by_weights=(by_weights <= FIRST).mean(axis=1),
        low=low.astype(np.int64),
        high=high.astype(np.int64),
        agreement={m: _spearman(ranks["desirability"], r) for m, r in ranks.items() if m != "desirability"},
    )


def _methods(table: Array, sampled: Array, weights: Array) -> dict[str, Ranks]:
    """Ranks by TOPSIS and SPOTIS; nothing where rows or objectives are too few to compare."""
    keep = weights > 0
    if len(table) < 2 or not keep.any():
        return {}
    from pymcdm.methods import SPOTIS, TOPSIS

    shares, types = weights[keep] / weights[keep].sum(), np.ones(int(keep.sum()))
    bounds = np.array([[0.0, 1.0]] * len(types))
    with np.errstate(all="ignore"):  # alternatives that are all alike have no distances: 0/0
        topsis = np.nan_to_num(TOPSIS(_unit)(table[:, keep], shares, types, validation=False))
    method = SPOTIS(bounds)
    step = max(1, sampled.shape[1] // SAMPLES)
    places = [
        _ranks(-np.asarray(method(sampled[:, k][:, keep], shares, types, validation=False))[:, None])[:, 0]
        for k in range(0, sampled.shape[1], step)
    ]
    mean = np.mean(places, axis=0)
    return {"topsis": _ranks(topsis[:, None])[:, 0], "spotis": _ranks(-mean[:, None])[:, 0]}


def _unit(column: Array, cost: bool = False) -> Array:
    """Desirabilities are on one scale already."""
    return 1.0 - column if cost else column


def _parameters(weights: Array) -> Array:
    positive = np.maximum(weights, 0.0)
    total = positive.sum()
    even = np.full(len(weights), 1.0 / len(weights))
    return np.maximum(CONCENTRATION * (positive / total if total > 0 else even), 1e-3)


def _ranks(scores: Array) -> Ranks:
    """(n_rows, n_columns) ranks within each column, 1 for the highest; ties go to the earlier row."""
    order = np.argsort(-scores, axis=0, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(scores) + 1)[:, None], axis=0)
    return ranks.astype(np.int64)


def _spearman(a: Ranks, b: Ranks) -> float:
    n = len(a)
    return 1.0 - 6.0 * float(((a - b) ** 2).sum()) / (n * (n * n - 1)) if n > 1 else 1.0
