"""What a campaign is handed: generators, surrogates, validators, relaxer, reference, known as protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Crystal, FloatArray
from invdesign.evolution.archive import Member
from invdesign.evolution.joint import HardnessModel, formula_hardness
from invdesign.evolution.moves import Chemistry
from invdesign.evolution.parents import Wanted
from invdesign.protocols import Generator, Reference, Relaxer, Surrogate, Validator
from invdesign.records import Estimate, Evaluation, Failure, Probe, Relaxation

Derive = Callable[[Estimate, Crystal], Estimate]


Desirability = Callable[[Sequence[Evaluation]], Sequence[float] | FloatArray]
"""A desirability from 0 to 1 of each row's `estimate`, of what bounds cannot say: a component's indices."""


@runtime_checkable
class EachRelaxer(Protocol):
    """A relaxer that hands results over one by one, in any order, so that each can be recorded at once."""

    def relax_iter(self, crystals: Sequence[Crystal]) -> Iterator[tuple[int, Relaxation | Failure]]:
        """Yield (index, result) for every crystal as it is done."""
        ...


@runtime_checkable
class Prober(Protocol):
    """A relaxer that can take a first look at crystals with a few calls of its potential."""

    def probe_iter(self, crystals: Sequence[Crystal], calls: int) -> Iterator[tuple[int, Probe | Failure]]:
        """Yield (index, result) for every crystal as it is done."""
        ...


class KnownParents(Protocol):
    """Known crystals as parents of a search."""

    @property
    def protostructures(self) -> NDArray[np.int64]:
        """Ascending hashes of the protostructures of all known crystals."""
        ...

    def parents(self, wanted: Wanted, chemistry: Chemistry, hardness: HardnessModel, n: int) -> list[Member]:
        """The known crystals that are the likeliest parents for a query, best first."""
        ...


@dataclass(frozen=True)
class Parts:
    """Everything that the engine is handed.

    Attributes:
        generators: generators by name; a request names one of them.
        gate: predicts properties of unrelaxed crystals, thousands a second.
        surrogate: predicts properties of relaxed crystals.
        screens: checks of every proposal that take well below a millisecond, cheapest first.
        inspections: dearer checks, of the proposals that the gate finds most promising.
        relaxer: relaxes, and puts energies on the reference's scale; an `EachRelaxer` is used as such.
        reference: the hull and the known crystals.
        checks: checks of relaxed crystals.
        unique: remembers every row it was asked about and fails a crystal that it has seen.
        derive: adds derived mechanical properties to an estimate of a crystal.
        provenance: names and versions of models and potential; a ledger refuses others.
        hardness: model of the Vickers hardness, for targets on it before anything is relaxed.
        known: known crystals as parents of a search, or None.
    """

    generators: Mapping[str, Generator]
    gate: Surrogate
    surrogate: Surrogate
    screens: tuple[Validator, ...]
    relaxer: Relaxer
    reference: Reference
    checks: tuple[Validator, ...]
    unique: Validator
    derive: Derive
    provenance: Mapping[str, str] = field(default_factory=dict)
    inspections: tuple[Validator, ...] = ()
    hardness: HardnessModel = formula_hardness
    known: KnownParents | None = None
