"""Known crystals as parents of a search: those that meet a query, or nearly do, or would with other elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.answers import Answers
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode, protostructure, protostructure_hash
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.evolution.archive import Member
from invdesign.evolution.joint import HardnessModel, log_target_chance
from invdesign.evolution.moves import Chemistry
from invdesign.query import Target
from invdesign.reference.known import KnownCrystals
from invdesign.reference.local import load_known
from invdesign.reference.properties import NAMES, KnownProperties, load_properties

Array = NDArray[np.float64]

SPREADS = {
    "bulk_modulus": (0.03, 0.08),
    "shear_modulus": (0.04, 0.11),
    "band_gap": (0.1, 0.4),
    "formation_energy": (0.02, 0.05),
    "energy_above_hull": (0.02, 0.05),
}
"""Standard deviations of computed and of predicted values, in log10 for moduli, eV, eV/atom."""
NOT_ALLOWED = 2.0
"""What an element that must be exchanged, or that is missing, costs a parent, in units of the logarithm of a
chance."""
LOOSE = 3.0
"""How much wider spreads are taken for the choice of parents: one that nearly meets a target is of use."""
SHORTLIST = 4000
SIMPLE = ("youngs_modulus", "poisson_ratio", "pugh_ratio")
"""Derived properties that need nothing but the moduli."""


@dataclass(frozen=True)
class Wanted:
    """What a query asks of a parent.

    Attributes:
        targets: on properties.
        limit: largest energy above hull, eV/atom.
        groups: space groups (None: any).
        required: atomic numbers that candidates must hold.
        stoichiometry: atoms of each element in a formula unit, ascending and reduced (empty: any).
        n_elements: least and largest number of elements (None: any).
        prototype: key of the prototype, as `invdesign.crystallography.prototypes` gives it (None: any).
    """

    targets: tuple[Target, ...] = ()
    limit: float = 0.1
    groups: frozenset[int] | None = None
    required: frozenset[int] = frozenset()
    stoichiometry: tuple[int, ...] = ()
    n_elements: tuple[int, int] | None = None
    prototype: int | None = None


def known_parents(
    known: KnownCrystals,
    properties: KnownProperties,
    wanted: Wanted,
    chemistry: Chemistry,
    hardness: HardnessModel,
    n: int,
) -> list[Member]:
    """The known crystals that are the likeliest parents for a query, at most `n`, best first.

    A parent counts by the chance to be on target and stable, and by how many of its elements would have to be
    exchanged. Crystals too large for the query, in other space groups, or of another stoichiometry or prototype
    than it asks for, are left out; if none is left, the search starts from what the generators propose.
    """
    answers = _answers(properties)
    rows = _shortlist(known, properties, answers, wanted, chemistry)
    genes = [known[int(row)].gene for row in rows]
    if not genes:
        return []
    log_target = _log_target(_rows(answers, rows), decode(genes), wanted.targets, hardness)
    log_stable = _log_stable(properties.column("energy_above_hull")[rows], wanted.limit)
    foreign = np.array([_exchanges(set(g.numbers), wanted, chemistry) for g in genes])
    score = log_target + log_stable - NOT_ALLOWED * foreign
    order = sorted(np.flatnonzero(np.isfinite(score)), key=lambda i: (-score[i], int(rows[i])))
    return [
        Member(
            key=protostructure_hash(protostructure(genes[i])),
            gene=genes[i],
            log_target=float(log_target[i]),
            log_stable=float(log_stable[i] - NOT_ALLOWED * foreign[i]),
            known=True,
            origin=known.id(int(rows[i])),
        )
        for i in order[:n]
    ]


def _exchanges(present: set[int], wanted: Wanted, chemistry: Chemistry) -> int:
    """How many elements of a crystal must be exchanged, at least, before it can be a candidate."""
    return max(sum(not chemistry.allowed[z] for z in present), len(wanted.required - present))


def _answers(properties: KnownProperties) -> Answers:
    """The table as answers with loose spreads."""
    spreads = np.array([SPREADS[name] for name in NAMES])
    std = LOOSE * np.where(properties.sound, spreads[:, 0], spreads[:, 1])
    return Answers(NAMES, properties.values, std)


def _rows(answers: Answers, rows: NDArray[np.int64]) -> Answers:
    return Answers(answers.names, answers.mean[rows], answers.std[rows])


def _shortlist(
    known: KnownCrystals,
    properties: KnownProperties,
    answers: Answers,
    wanted: Wanted,
    chemistry: Chemistry,
) -> NDArray[np.int64]:
    """Rows that are worth a look, by the targets on what the table holds."""
    simple = [t for t in wanted.targets if t.name in NAMES or t.name in SIMPLE]
    score = _log_stable(properties.column("energy_above_hull"), wanted.limit)
    if simple:
        score = score + log_target_chance(answers, (), simple, _no_hardness)
    score = score - NOT_ALLOWED * known.foreign_elements(chemistry.allowed)
    usable = np.isfinite(score) & (known.sites <= chemistry.max_sites) & ~known.held_out
    if wanted.groups is not None:
        usable &= np.isin(known.space_groups, sorted(wanted.groups))
    if wanted.n_elements is not None:
        usable &= (known.n_elements >= wanted.n_elements[0]) & (known.n_elements <= wanted.n_elements[1])
    if wanted.stoichiometry:
        usable &= known.of_stoichiometry(wanted.stoichiometry)
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((rows, -score[rows]))]
    if wanted.prototype is not None and len(rows):
        rows = rows[gene_prototypes([known[int(row)].gene for row in rows]) == wanted.prototype]
    return rows[:SHORTLIST]


def _log_target(
    answers: Answers, crystals: Sequence[Crystal], targets: Sequence[Target], hardness: HardnessModel
) -> Array:
    return log_target_chance(answers, crystals, targets, hardness) if targets else np.zeros(len(crystals))


def _log_stable(above: Array, limit: float) -> Array:
    """(n,) logarithm of a chance to be stable that falls off above the limit; that of the limit where not
    known."""
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr((limit - np.where(np.isfinite(above), above, limit)) / 0.1), dtype=np.float64)


def _no_hardness(*_: object) -> tuple[Array, Array]:
    raise AssertionError("hardness is not asked for here")


@dataclass(frozen=True, eq=False)
class KnownPool:
    """The known crystals of the package as parents; tables are read when they are first needed."""

    @property
    def protostructures(self) -> NDArray[np.int64]:
        """Ascending hashes of the protostructures of all known crystals."""
        return load_properties().protostructures

    def parents(self, wanted: Wanted, chemistry: Chemistry, hardness: HardnessModel, n: int) -> list[Member]:
        """See `known_parents`."""
        return known_parents(load_known(), load_properties(), wanted, chemistry, hardness, n)
