"""Diversity: a list of good candidates that are not all alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.composition import chemical_system, integer_composition, reduced_formula
from invdesign.records import Evaluation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Diversity:
    """How much alike the listed candidates may be.

    Attributes:
        penalty: share of the score that a candidate loses if its twin is on the list (0: none, below 1).
        per_system: largest share of the list from one chemical system (at least 2 rows).
        per_formula: most rows of one reduced formula.
        per_prototype: largest share of one prototype, space group and occupied positions (at least 2 rows). All
            caps are raised only where places stay free.
    """

    penalty: float = 0.5
    per_system: float = 0.2
    per_formula: int = 2
    per_prototype: float = 0.25


def diverse(rows: Sequence[Evaluation], scores: Array, n: int, diversity: Diversity) -> list[int]:
    """Greedy choice of up to `n` rows: the best score after a penalty for likeness to those already chosen.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), under caps per system, formula and
    prototype that are doubled only when no row is left below them.
    """
    kinds = [_kinds(row) for row in rows]
    codes = [np.unique([kind[c] for kind in kinds], return_inverse=True)[1].reshape(-1) for c in range(3)]
    likeness, free = np.zeros(len(rows)), np.ones(len(rows), dtype=np.bool_)
    shared = [max(2, math.ceil(share * n)) for share in (diversity.per_system, diversity.per_prototype)]
    caps = np.array([shared[0], diversity.per_formula, shared[1]])
    tally = np.zeros((3, len(rows)), dtype=np.int64)
    chosen: list[int] = []
    while len(chosen) < min(n, len(rows)):
        open_ = free & (tally < caps[:, None]).all(axis=0)
        if not open_.any():
            caps *= 2
            continue
        value = np.where(open_, scores * (1.0 - diversity.penalty * likeness), -np.inf)
        best = int(np.argmax(value))
        chosen.append(best)
        free[best] = False
        same = [code == code[best] for code in codes]
        tally += np.stack(same)
        likeness = np.maximum(likeness, _likeness(*same))
    return chosen


def _likeness(system: NDArray[np.bool_], formula: NDArray[np.bool_], prototype: NDArray[np.bool_]) -> Array:
    """1 for the same formula and prototype, down to 0.3 for the same prototype only and 0 for nothing shared."""
    grade = np.where(prototype, 0.3, 0.0)
    grade = np.where(system, 0.5, grade)
    grade = np.where(formula | (system & prototype), 0.8, grade)
    return np.where(formula & prototype, 1.0, grade)


def _kinds(row: Evaluation) -> tuple[str, str, str]:
    """Chemical system, formula, and prototype: group and Wyckoff positions, or without a gene the atom counts."""
    crystal = row.crystal
    gene = crystal.gene or row.candidate.crystal.gene
    if gene is not None:
        prototype = f"{gene.space_group}:{sorted(gene.wyckoffs)}"
    else:
        prototype = str(sorted(integer_composition(crystal.numbers).values()))
    return chemical_system(crystal.numbers), reduced_formula(crystal.numbers), prototype
