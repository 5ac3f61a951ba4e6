"""Gradient-boosted trees as plain arrays: what a classifier of scikit-learn learnt, without scikit-learn.

The sum of the leaves that a row falls into is the log-odds (J. H. Friedman, Ann. Stat. 29, 1189 (2001)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray

FIELDS = ("feature", "threshold", "left", "right", "value", "roots")
_DEEPEST = 64
"""Steps from a root to a leaf; more are a damaged table."""


@dataclass(frozen=True, eq=False)
class Trees:
    """The nodes of all trees, one after another.

    Attributes:
        feature: (m,) column that a node compares; -1 for a leaf.
        threshold: (m,) rows with at most this value go left, others and NaN right.
        left: (m,) node on the left.
        right: (m,) node on the right.
        value: (m,) of a leaf, log-odds.
        roots: (t,) first node of each tree.
        start: log-odds before the first tree.
    """

    feature: NDArray[np.int16]
    threshold: FloatArray
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: FloatArray
    roots: NDArray[np.int32]
    start: float

    def log_odds(self, rows: FloatArray) -> FloatArray:
        """(n,) log-odds of (n, d) rows.

        Raises:
            ValueError: if a tree has no end.
        """
        total = np.full(len(rows), self.start)
        every = np.arange(len(rows))
        for root in self.roots:
            node = np.full(len(rows), root)
            for _ in range(_DEEPEST):
                feature = self.feature[node]
                if (feature < 0).all():
                    break
                goes_left = rows[every, np.maximum(feature, 0)] <= self.threshold[node]
                node = np.where(feature < 0, node, np.where(goes_left, self.left[node], self.right[node]))
            else:
                raise ValueError("a tree has no end")
            total += self.value[node]
        return total

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays of a table, their names with a prefix."""
        found = {f"{prefix}_{name}": getattr(self, name) for name in FIELDS}
        found[f"{prefix}_threshold"] = self.threshold.astype(np.float32)
        found[f"{prefix}_value"] = self.value.astype(np.float32)
        return found | {f"{prefix}_start": np.array(self.start)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Trees:
        """Trees from the arrays of a table.

        Raises:
            KeyError: if one is missing.
        """
        parts = {name: arrays[f"{prefix}_{name}"] for name in FIELDS}
        parts |= {name: parts[name].astype(np.float64) for name in ("threshold", "value")}
        return cls(**parts, start=float(arrays[f"{prefix}_start"]))

    @classmethod
    def of_sklearn(cls, classifier: Any) -> Trees:
        """Trees of a fitted `HistGradientBoostingClassifier` of two classes, learnt from rows without NaN.

        Thresholds are rounded to single precision, to which the rows must be rounded as well.
        """
        nodes = [predictors[0].nodes for predictors in classifier._predictors]
        roots = np.cumsum([0, *(len(n) for n in nodes)])
        offset = np.repeat(roots[:-1], [len(n) for n in nodes])
        whole = np.concatenate(nodes)
        leaf = whole["is_leaf"].astype(bool)
        return cls(
            feature=np.where(leaf, -1, whole["feature_idx"]).astype(np.int16),
            threshold=whole["num_threshold"].astype(np.float32).astype(np.float64),
            left=np.where(leaf, 0, whole["left"] + offset).astype(np.int32),
            right=np.where(leaf, 0, whole["right"] + offset).astype(np.int32),
            value=np.where(leaf, whole["value"], 0.0).astype(np.float32).astype(np.float64),
            roots=roots[:-1].astype(np.int32),
            start=float(np.ravel(classifier._baseline_prediction)[0]),
        )
