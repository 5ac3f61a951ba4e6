"""Predictions for many crystals as arrays, for the stages that look at tens of thousands of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from invdesign.properties import SHIPPED, Property
from invdesign.records import Estimate
from invdesign.uncertainty import log10_std

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """Means and standard deviations of `n` crystals, moduli and other positive properties in log10.

    Attributes:
        names: the `p` properties, in the order of the columns.
        mean: (n, p) in the property's unit, log10 of positive properties; NaN where nothing is known.
        std: (n, p) standard deviations of the same.
        views: (n, d) place of each crystal in the embedding of the surrogate; (n, 0) if it has none.
        failures: (n,) why a crystal has no answer, empty where it has one.
        custom_logs: custom properties that are held in log10.
    """

    names: tuple[str, ...]
    mean: Array
    std: Array
    views: Array = field(default_factory=lambda: np.zeros((0, 0)))
    failures: tuple[str, ...] = ()
    custom_logs: frozenset[str] = frozenset()

    def is_log(self, name: str) -> bool:
        """Whether a property is held in log10."""
        return name in self.custom_logs or (name in SHIPPED and SHIPPED[name].log)

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.mean)

    def column(self, name: str) -> tuple[Array, Array]:
        """(n,) means and (n,) standard deviations of a property; NaN if it is not predicted."""
        if name not in self.names:
            return np.full(len(self), np.nan), np.full(len(self), np.nan)
        j = self.names.index(name)
        return self.mean[:, j], self.std[:, j]


def answers_of(estimates: Sequence[Estimate], known: Mapping[str, Property] = SHIPPED) -> Answers:
    """The same as arrays, of a surrogate that answers crystal by crystal.

    Args:
        estimates: one per crystal.
        known: properties by name, custom ones included.
    """
    names = tuple(dict.fromkeys(name for e in estimates for name in e.values))
    mean = np.full((len(estimates), len(names)), np.nan)
    std = mean.copy()
    for j, name in enumerate(names):
        log = name in known and known[name].log
        for i, estimate in enumerate(estimates):
            value = estimate.values.get(name)
            if value is not None and (not log or value.mean > 0.0):
                mean[i, j], std[i, j] = (
                    (math.log10(value.mean), log10_std(value)) if log else (value.mean, value.std)
                )
    failures = tuple(e.failure for e in estimates)
    logs = frozenset(name for name in names if name not in SHIPPED and name in known and known[name].log)
    return Answers(names, mean, std, np.zeros((len(estimates), 0)), failures, logs)


def joined(parts: Sequence[Answers], names: tuple[str, ...]) -> Answers:
    """Answers about one list of crystals after the other.

    Args:
        parts: all of the same properties.
        names: these properties, for an empty list.
    """
    if not parts:
        return Answers(names, np.zeros((0, len(names))), np.zeros((0, len(names))))
    return Answers(
        names,
        np.concatenate([p.mean for p in parts]),
        np.concatenate([p.std for p in parts]),
        np.concatenate([p.views for p in parts]),
        tuple(reason for p in parts for reason in p.failures),
        parts[0].custom_logs,
    )
