"""What the estimates of recipes read of a composition."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import FloatArray
from invdesign.elements import SYMBOLS
from invdesign.synthesis.formulas import GASEOUS, Amounts


@cache
def _elements() -> FloatArray:
    """(n_elements, n_columns) tabulated numbers of the elements, each column with mean 0 and deviation 1."""
    values = element_features().values[1:]
    return np.asarray((values - values.mean(axis=0)) / values.std(axis=0))


def symbols() -> tuple[str, ...]:
    """The elements that are described, in order of atomic number."""
    return SYMBOLS[: len(_elements())]


def shares(compositions: Sequence[Amounts]) -> FloatArray:
    """(n, n_elements) atomic fractions; elements beyond the table count as absent."""
    index = {name: j for j, name in enumerate(symbols())}
    rows = np.zeros((len(compositions), len(index)))
    for row, amounts in zip(rows, compositions, strict=True):
        total = sum(amounts.values())
        for name, amount in amounts.items():
            if name in index:
                row[index[name]] = amount / total
    return rows


def composition_inputs(compositions: Sequence[Amounts]) -> FloatArray:
    """(n, d) square roots of the atomic fractions, then mean and deviation of the elements' tabulated numbers.

    The root keeps a dopant of one per cent visible beside the host. Mean and deviation leave out H, N and O, which
    a gas can bring, unless there is nothing else.
    """
    fractions = shares(compositions)
    solid = fractions.copy()
    solid[:, [symbols().index(name) for name in sorted(GASEOUS)]] = 0.0
    empty = solid.sum(axis=1) == 0.0
    solid[empty] = fractions[empty]
    weights = solid / np.maximum(solid.sum(axis=1, keepdims=True), 1e-12)
    table = _elements()
    mean = weights @ table
    spread = np.sqrt(np.maximum(weights @ table**2 - mean**2, 0.0))
    return np.concatenate([np.sqrt(fractions), mean, spread], axis=1)
