"""Known crystals as parents of a search: those that meet a query, or nearly do, or would with other elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.answers import Answers
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode, protostructure, protostructure_hash
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
"""What an element that must be exchanged costs a parent, in units of the logarithm of a chance."""
LOOSE = 3.0
"""How much wider spreads are taken for the choice of parents: one that nearly meets a target is of use."""
SHORTLIST = 4000


def known_parents(
    known: KnownCrystals,
    properties: KnownProperties,
    targets: Sequence[Target],
    limit: float,
    chemistry: Chemistry,
    groups: frozenset[int] | None,
    hardness: HardnessModel,
    n: int,
) -> list[Member]:
    """The known crystals that are the likeliest parents for a query, at most `n`, best first.

    A parent counts by the chance to be on target and stable, and by how many of its elements would have to be
    exchanged. Crystals too large for the query, or in other space groups, are left out.
    """
    answers = _answers(properties)
    rows = _shortlist(known, properties, answers, targets, limit, chemistry, groups)
    genes = [known[int(row)].gene for row in rows]
    crystals = decode(genes)
    log_target = _log_target(_rows(answers, rows), crystals, targets, hardness)
    log_stable = _log_stable(properties.column("energy_above_hull")[rows], limit)
    foreign = np.array([sum(not chemistry.allowed[z] for z in set(g.numbers)) for g in genes])
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
    targets: Sequence[Target],
    limit: float,
    chemistry: Chemistry,
    groups: frozenset[int] | None,
) -> NDArray[np.int64]:
    """Rows that are worth a look, by the targets on what the table holds."""
    simple = [t for t in targets if t.name in NAMES or t.name in ("youngs_modulus", "poisson_ratio", "pugh_ratio")]
    score = _log_stable(properties.column("energy_above_hull"), limit)
    if simple:
        score = score + log_target_chance(answers, (), simple, _no_hardness)
    score = score - NOT_ALLOWED * known.foreign_elements(chemistry.allowed)
    usable = np.isfinite(score) & (known.sites <= chemistry.max_sites)
    if groups is not None:
        usable &= np.isin(known.space_groups, sorted(groups))
    rows = np.flatnonzero(usable)
    return rows[np.lexsort((rows, -score[rows]))][:SHORTLIST]


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

    def parents(
        self,
        targets: Sequence[Target],
        limit: float,
        chemistry: Chemistry,
        groups: frozenset[int] | None,
        hardness: HardnessModel,
        n: int,
    ) -> list[Member]:
        """See `known_parents`."""
        return known_parents(load_known(), load_properties(), targets, limit, chemistry, groups, hardness, n)
