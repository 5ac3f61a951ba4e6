"""Diversity: a list of good candidates that a chemist would call different.

What is alike is told by `families`: the class of the anion, the structure type, the chemical system and the
formula.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.composition import chemical_system, integer_composition, reduced_formula
from invdesign.chemistry.families import anion_class
from invdesign.crystal import Crystal, Gene

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Families:
    """What a crystal has in common with others.

    Attributes:
        anion_class: `boride`, `nitride`, … by its most electronegative nonmetal; `intermetallic` without one;
            `element` for a single element.
        structure_type: space group and occupied positions without the elements, the same for every choice of
            origin; without a gene the atom counts.
        chemical_system: symbols, e.g. `B-Ti`.
        formula: reduced.
    """

    anion_class: str
    structure_type: str
    chemical_system: str
    formula: str


def families(crystal: Crystal, gene: Gene | None = None) -> Families:
    """The families that a crystal belongs to.

    Args:
        crystal: its elements count, and its gene where `gene` is None.
        gene: the gene to take instead of the crystal's own.
    """
    gene = gene or crystal.gene
    return Families(
        anion_class=anion_class(crystal.numbers.tolist()),
        structure_type=_structure_type(gene) if gene is not None else _atom_counts(crystal),
        chemical_system=chemical_system(crystal.numbers),
        formula=reduced_formula(crystal.numbers),
    )


def _structure_type(gene: Gene) -> str:
    from invdesign.crystallography.prototypes import gene_prototypes

    return f"{gene.space_group}:{int(gene_prototypes([gene])[0]):x}"


def _atom_counts(crystal: Crystal) -> str:
    return str(sorted(integer_composition(crystal.numbers).values()))


@dataclass(frozen=True)
class Diversity:
    """How much alike the listed candidates may be.

    A row over a cap is passed over for the best row under all caps, unless that one's score is below
    `tolerance` times its own; so variety never costs more than that.

    Attributes:
        penalty: share of the score that a candidate loses if its twin is on the list (0: none, below 1).
        per_class: largest share of the list from one anion class (at least 2 rows).
        per_structure_type: largest share of one structure type (at least 2 rows).
        per_system: largest share from one chemical system (at least 2 rows).
        per_formula: most rows of one reduced formula.
        tolerance: share of the score that a row of another family must reach to go first.
    """

    penalty: float = 0.3
    per_class: float = 0.3
    per_structure_type: float = 0.1
    per_system: float = 0.2
    per_formula: int = 2
    tolerance: float = 0.5


EVEN = Diversity()
"""The default variety: at least four anion classes and ten structure types among twenty, if there are any."""
ALL = Diversity(0.0, 1.0, 1.0, 1.0, 1_000_000, 1.0)
"""No limit on likeness: what a ranking of known crystals shows."""


def spread(
    kinds: Sequence[Families],
    scores: Array,
    n: int,
    diversity: Diversity = EVEN,
    tiers: NDArray[np.int64] | None = None,
) -> list[int]:
    """Choice of up to `n` rows: the best score after a penalty for likeness to those already chosen, under caps.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with caps per family. Pure: the same rows
    give the same choice; ties go to the earlier row.

    Args:
        kinds: the families of each row.
        scores: (n_rows,) from 0 to 1.
        n: length of the list.
        diversity: how much alike the rows may be.
        tiers: (n_rows,) rows of a lower number are all chosen before those of a higher one, such as those on
            target: variety never costs a hit (None: all are alike).

    Returns:
        Indices, in the order of choice.
    """
    fields = ("anion_class", "structure_type", "chemical_system", "formula")
    codes = [np.unique([getattr(k, f) for k in kinds], return_inverse=True)[1].reshape(-1) for f in fields]
    shares = (diversity.per_class, diversity.per_structure_type, diversity.per_system)
    caps = np.array([*(max(2, math.ceil(share * n)) for share in shares), diversity.per_formula])
    likeness, free = np.zeros(len(kinds)), np.ones(len(kinds), dtype=np.bool_)
    tally = np.zeros((len(fields), len(kinds)), dtype=np.int64)
    chosen: list[int] = []
    tiers = np.zeros(len(kinds), dtype=np.int64) if tiers is None else tiers
    while len(chosen) < min(n, len(kinds)):
        below = tally < caps[:, None]
        left = free & (tiers == tiers[free].min())
        if not (left & below.all(axis=0)).any():
            full = ~(left & below).any(axis=1)
            caps = np.where(full if full.any() else True, 2 * caps, caps)
            continue
        best = _next(scores, likeness, left, np.asarray(below.all(axis=0)), diversity)
        chosen.append(best)
        free[best] = False
        same = [code == code[best] for code in codes]
        tally += np.stack(same)
        likeness = np.maximum(likeness, _likeness(*same))
    return chosen


def _next(
    scores: Array, likeness: Array, free: NDArray[np.bool_], below: NDArray[np.bool_], diversity: Diversity
) -> int:
    """The next row: the best below all caps, or if that is much worse, the best of all."""
    value = np.where(free, scores * (1.0 - diversity.penalty * likeness), -np.inf)
    varied = np.where(below, value, -np.inf)
    first, other = int(np.argmax(value)), int(np.argmax(varied))
    fair = np.isfinite(varied[other]) and scores[other] >= diversity.tolerance * scores[first]
    return other if fair else first


def _likeness(
    anion: NDArray[np.bool_],
    structure: NDArray[np.bool_],
    system: NDArray[np.bool_],
    formula: NDArray[np.bool_],
) -> Array:
    """1 for a twin (formula and structure), 0.8 for the formula, 0.5, 0.3 and 0.1 for system, structure, class."""
    grade = np.where(anion, 0.1, 0.0)
    grade = np.where(structure, 0.3, grade)
    grade = np.where(system, 0.5, grade)
    grade = np.where(formula | (system & structure), 0.8, grade)
    return np.where(formula & structure, 1.0, grade)


def spread_text(kinds: Sequence[Families]) -> str:
    """How varied a list is: `20 candidates of 4 anion classes, 12 structure types and 17 chemical systems`."""
    names = {
        "anion_class": ("anion class", "anion classes"),
        "structure_type": ("structure type", "structure types"),
        "chemical_system": ("chemical system", "chemical systems"),
    }
    counts = {name: len({getattr(kind, name) for kind in kinds}) for name in names}
    first, second, third = (f"{counts[name]} {forms[counts[name] != 1]}" for name, forms in names.items())
    return f"{len(kinds)} {'candidate' if len(kinds) == 1 else 'candidates'} of {first}, {second} and {third}"
