"""The search itself: generations of moves, judged by the screening surrogate, kept in an archive with niches.

A pure function of the random source and of what it is given, so that a run that is resumed finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from invdesign.checks import check_types, number
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode, protostructure, protostructure_hash
from invdesign.errors import InputError
from invdesign.evolution.archive import Archive, Member
from invdesign.evolution.judge import Judge
from invdesign.evolution.moves import MOVES, Chemistry, Child
from invdesign.progress import advance

Array = NDArray[np.float64]
MARGIN = 1.0
"""By how much a rough fitness may fall short of what the archive asks, before the full ensemble is not asked."""
Fits = Callable[[Crystal], bool]
"""Whether a crystal may be proposed: elements, size and symmetry as asked, balanced charges."""


@runtime_checkable
class GeometryModel(Protocol):
    """A model that draws lattice and free coordinates for genes, such as the autoencoder."""

    def redraw(self, genes: Sequence[Gene], rng: np.random.Generator) -> list[Gene | None]:
        """One gene per gene, with the same orbits; None where no geometry keeps the atoms apart."""
        ...


@dataclass(frozen=True)
class EvolutionSettings:
    """How a search spends its evaluations.

    Attributes:
        generations: rounds of moves.
        children: genes judged in each, at most.
        per_candidate: genes judged in each for every candidate that is wanted, so that a small run has a small
            search.
        parents: known crystals that it starts from, at most.
        per_niche: members that a niche of the archive keeps.
        elite: share of the parents that are drawn from the fittest of all niches.
        moves: how often each move is tried, relative to the others; one that is not named is not tried.
    """

    generations: int = 12
    children: int = 640
    per_candidate: float = 4.5
    parents: int = 300
    per_niche: int = 24
    elite: float = 0.5
    moves: Mapping[str, float] = field(
        default_factory=lambda: {
            "exchange": 5.0,
            "exchange_sublattice": 1.0,
            "exchange_orbit": 1.5,
            "merge_elements": 0.3,
            "swap_sites": 0.5,
            "add_orbit": 0.3,
            "remove_orbit": 0.3,
            "split_orbit": 0.3,
            "merge_orbits": 0.3,
            "crossover_chemistry": 3.0,
            "crossover_orbits": 0.3,
            "jitter": 0.4,
            "lower_symmetry": 0.4,
        }
    )

    def children_for(self, candidates: int) -> int:
        """Genes judged in each generation of a search for so many candidates."""
        return min(self.children, math.ceil(candidates * self.per_candidate))

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: if a number is not positive or a move is not known.
        """
        check_types(self)
        for name in ("generations", "children", "per_candidate", "parents", "per_niche"):
            if not getattr(self, name) > 0:
                raise InputError(name, getattr(self, name), "a positive number")
        number("elite", self.elite, 0.0, 1.0)
        if not isinstance(self.moves, Mapping):
            raise InputError("moves", self.moves, "weights by the names of moves")
        for name, weight in self.moves.items():
            if name not in MOVES:
                raise InputError("move", name, MOVES)
            number(f"weight of {name}", weight, 0.0, math.inf)


@dataclass(frozen=True, eq=False)
class World:
    """What a search is given besides its parents.

    Attributes:
        judge: the screening surrogate with the targets.
        chemistry: elements and exchanges.
        fits: whether a crystal may be proposed.
        clear: whether a crystal keeps its atoms apart.
        known: ascending hashes of the protostructures of known crystals.
        geometry: draws coordinates where a move leaves them open, or None.
    """

    judge: Judge
    chemistry: Chemistry
    fits: Fits
    clear: Callable[[Crystal], bool]
    known: NDArray[np.int64]
    geometry: GeometryModel | None = None


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        archive: its archive.
        judged: genes that the screening surrogate judged.
    """

    archive: Archive
    judged: int


def evolve(
    parents: Sequence[Member],
    world: World,
    settings: EvolutionSettings,
    rng: np.random.Generator,
    avoid: frozenset[int] = frozenset(),
) -> Found:
    """Search for genes of high fitness.

    Args:
        parents: members to start from, in any order.
        world: judge, chemistry and checks.
        settings: evaluations and moves.
        rng: source of randomness.
        avoid: protostructures that are not proposed again.
    """
    archive = Archive(settings.per_niche)
    archive.add(parents)
    seen = {m.key for m in parents} | set(avoid)
    judged = 0
    for generation in range(settings.generations):
        if not archive.members:
            break
        advance(generation, settings.generations)
        made = _children(archive, world, settings, rng, seen)
        judged += len(made)
        archive.add(_survivors(made, archive, world))
    return Found(archive, judged)


def _children(
    archive: Archive, world: World, settings: EvolutionSettings, rng: np.random.Generator, seen: set[int]
) -> list[tuple[Member, Crystal]]:
    """New genes that fit the query, not yet judged, with their crystals."""
    names = [name for name, weight in settings.moves.items() if weight > 0.0]
    odds = np.cumsum([settings.moves[name] for name in names])
    first = archive.parents(rng, settings.children, settings.elite)
    second = archive.parents(rng, settings.children, settings.elite)
    picks = np.searchsorted(odds, rng.random(settings.children) * odds[-1], side="right")
    drafts: list[tuple[Child, Member, str]] = []
    for mother, father, pick in zip(first, second, picks, strict=True):
        child = MOVES[names[pick]](rng, mother.gene, father.gene, world.chemistry)
        if child is None or not all(world.chemistry.allowed[z] for z in child.gene.numbers):
            continue
        drafts.append((child, mother, names[pick]))
    made: list[tuple[Member, Crystal]] = []
    for (_, mother, move), gene, crystal in _decoded(drafts, world, rng):
        key = protostructure_hash(protostructure(gene))
        if (key in seen and move != "jitter") or not world.fits(crystal):
            continue
        seen.add(key)
        made.append((Member(key, gene, 0.0, 0.0, origin=mother.origin, move=move), crystal))
    return made


def _decoded(
    drafts: Sequence[tuple[Child, Member, str]], world: World, rng: np.random.Generator
) -> list[tuple[tuple[Child, Member, str], Gene, Crystal]]:
    """The crystals of drafts, coordinates drawn by the geometry model where a move left them open."""
    genes: list[Gene | None] = [draft[0].gene for draft in drafts]
    if world.geometry is not None:
        open_ = [i for i, draft in enumerate(drafts) if draft[0].redraw]
        drawn = world.geometry.redraw([drafts[i][0].gene for i in open_], rng)
        for i, gene in zip(open_, drawn, strict=True):
            genes[i] = gene
    found = _crystals(genes)
    return [
        (drafts[i], crystal.gene, crystal)
        for i, crystal in enumerate(found)
        if crystal is not None and crystal.gene is not None
    ]


def _crystals(genes: Sequence[Gene | None]) -> list[Crystal | None]:
    """The primitive cell of every gene; None where there is no gene, or it spans no cell."""
    sound = [i for i, gene in enumerate(genes) if gene is not None]
    out: list[Crystal | None] = [None] * len(genes)
    try:
        made: list[Crystal | None] = list(decode([g for g in genes if g is not None]))
    except ValueError:
        made = [_crystal(g) for g in genes if g is not None]
    for i, crystal in zip(sound, made, strict=True):
        out[i] = crystal
    return out


def _crystal(gene: Gene) -> Crystal | None:
    try:
        return decode([gene])[0]
    except ValueError:
        return None


def _promising(
    made: Sequence[tuple[Member, Crystal]], archive: Archive, world: World
) -> list[tuple[Member, Crystal]]:
    """Those that a rough judgement leaves a chance to enter the archive."""
    fitness = world.judge.judge([crystal for _, crystal in made], rough=True).fitness
    return [
        item
        for item, rough in zip(made, fitness, strict=True)
        if np.isfinite(rough) and rough + MARGIN > archive.threshold(item[0].gene)
    ]


def _survivors(made: Sequence[tuple[Member, Crystal]], archive: Archive, world: World) -> list[Member]:
    """The judged members that would enter the archive and keep their atoms apart."""
    if not made:
        return []
    made = _promising(made, archive, world)
    found = world.judge.judge([crystal for _, crystal in made])
    known = np.isin([member.key for member, _ in made], world.known)
    survivors = []
    for i, (member, crystal) in enumerate(made):
        if not np.isfinite(found.fitness[i]) or found.fitness[i] <= archive.threshold(member.gene):
            continue
        if not world.clear(crystal):
            continue
        survivors.append(
            replace(
                member,
                log_target=float(found.log_target[i]),
                log_stable=float(found.log_stable[i]),
                known=bool(known[i]),
            )
        )
    return survivors
