"""Training and judging of the score of synthesizability: trees, calibration, label frequency, figures.

Every crystal is judged by trees that have seen no crystal of its chemical system, or, as a stand-in for time, no
crystal with a later number in the Materials Project. Entries without the flag are unlabelled, not negative:
figures say how well the *listing* is predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray
from invdesign.reference.known import KnownCrystals
from invdesign.synthesis.described import (
    COMPOSITION,
    FALLING,
    NAMES,
    RISING,
    Described,
    Known,
    composition_inputs,
    described,
    inputs,
    own_counts,
    systems,
)
from invdesign.synthesis.synthesizability import Head, Model
from invdesign.synthesis.trees import Trees

FOLDS = 3
BINS = 20
"""Bins of the best-bin estimate and of reliability, as many crystals in each."""
TREES, LEAVES, RATE, SHARE_OF_COLUMNS, CUTS = 60, 31, 0.1, 0.3, 63
SMALL_TREES = 10
HEADS = ("crystal", "composition")

BoolArray = NDArray[np.bool_]
Inputs = Callable[[Described, Known, "BoolArray | None"], FloatArray]


@dataclass(frozen=True, eq=False)
class Listed:
    """Crystals with their flag.

    Attributes:
        crystals: n of them.
        made: (n,) listed as known from experiment.
        numbers: (n,) of their Materials Project ids, which were given out in order of time, roughly.
        systems: (n,) number of each one's chemical system.
    """

    crystals: Described
    made: BoolArray
    numbers: NDArray[np.int64]
    systems: NDArray[np.int64]

    def part(self, rows: NDArray[Any]) -> Listed:
        """Some of them."""
        return Listed(self.crystals.part(rows), self.made[rows], self.numbers[rows], self.systems[rows])

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.made)


def load_listed(known: KnownCrystals) -> Listed:
    """The known crystals whose energy above hull is known and that models may learn from."""
    owner, numbers, wyckoffs = known.orbits
    every = described(known.space_groups, owner, numbers, wyckoffs, known.energies_above_hull)
    rows = np.flatnonzero(np.isfinite(every.energies) & ~known.held_out)
    ids = np.array([int(known.id(row).rsplit("-", 1)[1]) for row in rows.tolist()], dtype=np.int64)
    crystals = every.part(rows)
    return Listed(crystals, known.experimental[rows], ids, systems(crystals.fractions))


def _of_composition(crystals: Described, known: Known, made: BoolArray | None) -> FloatArray:
    own = None if made is None else own_counts(crystals, made)
    return composition_inputs(crystals.fractions, known, own)


INPUTS: Mapping[str, tuple[Inputs, tuple[str, ...]]] = {
    "crystal": (inputs, NAMES),
    "composition": (_of_composition, COMPOSITION),
}
"""Head to its inputs and their names."""


def fit_trees(head: str, data: Listed, known: Known, seed: int, small: bool = False) -> Trees:
    """Boosted trees of the listing.

    Args:
        head: `crystal` or `composition`.
        data: what is learnt from; `known` are its counts.
        known: counts.
        seed: of the columns that each split looks at.
        small: few trees.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    describe, names = INPUTS[head]
    signs = [int(name in RISING) - int(name in FALLING) for name in names]
    model = HistGradientBoostingClassifier(
        max_iter=SMALL_TREES if small else TREES,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        max_features=SHARE_OF_COLUMNS,
        max_bins=CUTS,
        monotonic_cst=signs,
        early_stopping=False,
        random_state=seed,
    )
    return Trees.of_sklearn(model.fit(describe(data.crystals, known, data.made), data.made))


def left_out(head: str, data: Listed, fold: NDArray[np.int64], seed: int, small: bool = False) -> FloatArray:
    """(n,) log-odds of each crystal by trees that have seen none of its fold."""
    out = np.zeros(len(data))
    for k in range(int(fold.max()) + 1):
        rest = data.part(fold != k)
        known = Known.count(rest.crystals, rest.made)
        trees = fit_trees(head, rest, known, seed, small)
        out[fold == k] = trees.log_odds(INPUTS[head][0](data.crystals.part(fold == k), known, None))
    return out


def folds_of(numbers: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """(n,) the fold of each crystal; those of a chemical system fall together."""
    which = np.random.default_rng(seed).permutation(int(numbers.max()) + 1) % FOLDS
    return np.asarray(which[numbers], dtype=np.int64)


def platt(log_odds: FloatArray, made: BoolArray) -> tuple[float, float]:
    """Slope and intercept of calibrated log-odds, by maximum likelihood."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1e6).fit(log_odds[:, None], made)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def best_bin(listed: FloatArray, made: BoolArray) -> float:
    """c by the best bin: share of listed crystals in the bin of the highest probabilities."""
    top = np.argsort(listed, kind="stable")[-max(len(listed) // BINS, 1) :]
    return float(made[top].mean())


def mean_of_listed(listed: FloatArray, made: BoolArray) -> float:
    """c by Elkan and Noto's first estimator: the mean probability of the crystals that are listed."""
    return float(listed[made].mean())


def head_of(trees: Trees, log_odds: FloatArray, made: BoolArray) -> Head:
    """A head calibrated on crystals that its trees' siblings have not seen."""
    slope, intercept = platt(log_odds, made)
    plain = Head(trees, slope, intercept, 1.0)
    return Head(trees, slope, intercept, best_bin(plain.calibrated(log_odds), made))


def trained(data: Listed, seed: int, small: bool = False) -> tuple[Model, dict[str, FloatArray]]:
    """The model on all crystals, and the log-odds of each crystal left out, by head."""
    fold = folds_of(data.systems, seed)
    known = Known.count(data.crystals, data.made)
    apart = {head: left_out(head, data, fold, seed, small) for head in HEADS}
    heads = {head: head_of(fit_trees(head, data, known, seed, small), apart[head], data.made) for head in HEADS}
    return Model(known, heads["crystal"], heads["composition"]), apart


def cross_calibrated(log_odds: FloatArray, made: BoolArray, fold: NDArray[np.int64]) -> FloatArray:
    """(n,) probabilities, those of a fold calibrated on the others."""
    out = np.zeros(len(made))
    for k in range(int(fold.max()) + 1):
        slope, intercept = platt(log_odds[fold != k], made[fold != k])
        out[fold == k] = Head(_NONE, slope, intercept, 1.0).calibrated(log_odds[fold == k])
    return out


_EMPTY = np.zeros(0)
_NONE = Trees(np.zeros(0, np.int16), _EMPTY, np.zeros(0, np.int32), np.zeros(0, np.int32), _EMPTY,
              np.zeros(0, np.int32), 0.0)  # fmt: skip


def auc(score: FloatArray, made: BoolArray) -> float:
    """Area under the receiver operating characteristic; NaN of one class alone."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(made, score)) if 0 < made.sum() < len(made) else float("nan")


def reliability(probability: FloatArray, made: BoolArray) -> dict[str, Any]:
    """Expected calibration error and the bins that it is the mean of: mean probability, share, crystals."""
    bins = [
        (float(probability[rows].mean()), float(made[rows].mean()), len(rows))
        for rows in np.array_split(np.argsort(probability, kind="stable"), BINS)
        if len(rows)
    ]
    error = sum(abs(mean - share) * n for mean, share, n in bins) / len(made)
    return {"expected_calibration_error": error, "bins": [list(each) for each in bins]}
