"""The archive of a search: the fittest genes, kept in niches so that families of materials survive side by
side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from invdesign.chemistry.families import anion_class
from invdesign.crystal import Gene
from invdesign.crystallography.wyckoff import lattice_family

Niche = tuple[str, str, int]
"""Anion class, lattice family, number of elements."""


@dataclass(frozen=True)
class Member:
    """One gene of a search.

    Attributes:
        key: hash of its protostructure, by which two genes are the same.
        gene: the gene.
        log_target: logarithm of the chance that all targets hold.
        log_stable: logarithm of the chance to be stable.
        known: whether a known crystal has this protostructure; such a member is a parent and no candidate.
        origin: the id of the candidate or known crystal that its line goes back to.
        move: name of the move that made it; empty for a parent from outside.
    """

    key: int
    gene: Gene
    log_target: float
    log_stable: float
    known: bool = False
    origin: str = ""
    move: str = ""

    @property
    def fitness(self) -> float:
        """Logarithm of the chance to be on target and stable."""
        return self.log_target + self.log_stable


def niche_of(gene: Gene) -> Niche:
    """The niche of a gene."""
    elements = sorted(set(gene.numbers))
    return anion_class(gene.numbers), lattice_family(gene.space_group), len(elements)


@dataclass(eq=False)
class Archive:
    """The fittest members of every niche.

    Attributes:
        per_niche: members that a niche keeps.
        members: all members by key.
    """

    per_niche: int = 24
    members: dict[int, Member] = field(default_factory=dict)
    _niches: dict[Niche, list[Member]] = field(default_factory=dict)

    def add(self, members: Iterable[Member]) -> None:
        """Take members in; of two with one key the fitter stays, and niches that overflow lose their least fit."""
        touched = set()
        for member in members:
            old = self.members.get(member.key)
            if old is not None and old.fitness >= member.fitness:
                continue
            niche = niche_of(member.gene)
            here = self._niches.setdefault(niche, [])
            if old is not None:
                here.remove(old)
            here.append(member)
            self.members[member.key] = member
            touched.add(niche)
        for niche in sorted(touched):
            here = self._niches[niche]
            here.sort(key=lambda m: (-m.fitness, m.key))
            for member in here[self.per_niche :]:
                del self.members[member.key]
            del here[self.per_niche :]

    def threshold(self, gene: Gene) -> float:
        """The fitness that a new member of this gene's niche must exceed to be kept."""
        here = self._niches.get(niche_of(gene), [])
        return here[-1].fitness if len(here) >= self.per_niche else -np.inf

    def parents(self, rng: np.random.Generator, n: int, share: float = 0.5) -> list[Member]:
        """`n` parents: a share of the fittest of all, the rest from niches drawn at random, the fitter
        likelier."""
        ranked = sorted(self.members.values(), key=lambda m: (-m.fitness, m.key))
        niches = [self._niches[key] for key in sorted(self._niches) if self._niches[key]]
        order = sorted(niches, key=lambda here: -here[0].fitness)
        chosen = []
        for elite in rng.random(n) < share:
            pool = ranked if elite else order[_early(rng, len(order), 0.35)]
            chosen.append(pool[_early(rng, len(pool), 0.25)])
        return chosen

    def best(self, n: int) -> list[Member]:
        """The `n` fittest members that are no known crystals."""
        new = [m for m in self.members.values() if not m.known]
        return sorted(new, key=lambda m: (-m.fitness, m.key))[:n]


def _early(rng: np.random.Generator, n: int, share: float) -> int:
    """An index below `n`, earlier ones likelier: exponential with a mean of a share of the length."""
    return int(min(n - 1, rng.exponential(max(1.0, share * n))))


def spread(members: Sequence[Member], n: int) -> list[Member]:
    """At most `n` members, in turn from each niche by rank, so that no niche is left out."""
    niches: dict[Niche, list[Member]] = {}
    for member in sorted(members, key=lambda m: (-m.fitness, m.key)):
        niches.setdefault(niche_of(member.gene), []).append(member)
    ranked = [(rank, -m.fitness, m.key, m) for here in niches.values() for rank, m in enumerate(here)]
    ranked.sort(key=lambda item: item[:3])
    return [item[3] for item in ranked[:n]]
