"""The interfaces between the engine and its parts: one or two verbs each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from invdesign.crystal import Crystal
from invdesign.records import (
    Conditions,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Request,
    Value,
    Verdict,
)


@runtime_checkable
class Generator(Protocol):
    """Proposes crystals."""

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        """Yield exactly `n` items; deterministic in `rng`. Crystals carry their gene."""
        ...


@runtime_checkable
class Validator(Protocol):
    """Judges one crystal."""

    name: str

    def check(self, row: Evaluation) -> Verdict:
        """Judge `row.crystal`. Pure; never raises for a bad crystal."""
        ...


@runtime_checkable
class Surrogate(Protocol):
    """Predicts properties with uncertainty."""

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order; a crystal it cannot read gives a failed estimate."""
        ...


@runtime_checkable
class Relaxer(Protocol):
    """Relaxes crystals with a potential."""

    def relax(self, crystals: Sequence[Crystal]) -> list[Relaxation | Failure]:
        """One result per crystal, in the same order."""
        ...


@runtime_checkable
class Reference(Protocol):
    """What is known already: the convex hull and the known crystals."""

    def energy_above_hull(self, crystal: Crystal, formation_energy: Value) -> Value | None:
        """Distance to the hull of the known phases, eV/atom (negative below it); None if it has no hull."""
        ...

    def match(self, crystal: Crystal) -> str | None:
        """The id of a known crystal that is the same, or None."""
        ...


@runtime_checkable
class KnowsPhases(Protocol):
    """A reference that knows phases of which it has no crystal."""

    def phase_without_crystal(self, numbers: Iterable[int]) -> bool:
        """Whether a phase of this formula is known without its structure."""
        ...


@runtime_checkable
class KnowsRecipes(Protocol):
    """A reference that knows what has been made."""

    def recipe_without_crystal(self, numbers: Iterable[int]) -> str | None:
        """DOI of a recipe for this formula, of which no crystal known from experiment is at hand; None if none."""
        ...


@runtime_checkable
class CountsPhases(Protocol):
    """A reference that can say what its hull rests on."""

    def phases_of_system(self, numbers: Iterable[int]) -> int:
        """Number of known formulas with exactly these elements."""
        ...


@runtime_checkable
class Searcher(Protocol):
    """Decides what to ask next."""

    def ask(self, n: int) -> list[Request]:
        """Requests for together `n` crystals."""
        ...

    def tell(self, rows: Sequence[Evaluation]) -> None:
        """Learn from every row of the last requests."""
        ...
