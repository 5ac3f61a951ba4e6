"""Stability: the energy above the convex hull of known phases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from invdesign.errors import InputError
from invdesign.protocols import CountsPhases, Reference
from invdesign.records import Evaluation, Status, Verdict
from invdesign.uncertainty import probability_below

DOUBTFUL = -0.1
"""eV/atom: further below the hull, a gap in the reference is more likely than a discovery."""
DOUBTFUL_ALONE = -0.05
"""The same where no phase with all of the elements is known."""
GAP = "more likely a gap in the reference, or an error of the potential, than a discovery"


@dataclass(frozen=True)
class Stability:
    """PASS where the energy above hull is probably within the limit.

    The energy is taken as normal with its standard deviation. `Verdict.value` is the energy above hull, eV/atom.

    Attributes:
        limit: largest allowed energy above hull, eV/atom.
        confidence: probability with which it must lie below the limit; 0.5 asks this of the mean alone.
        floor: an energy further below the hull than this is taken for an error of the model and not for a
            discovery (UNKNOWN), eV/atom.
        reference: counts the phases on which the hull rests (None: they are not counted).

    An energy far below the hull passes with a warning as its reason: the hull of a system of which few phases are
    known is likely to lack some.

    Raises:
        InputError: if a setting is out of range.
    """

    name: ClassVar[str] = "stability"
    limit: float = 0.1
    confidence: float = 0.5
    floor: float = -0.3
    reference: Reference | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        if not 0.0 < self.confidence < 1.0:
            raise InputError("confidence", self.confidence, "a probability between 0 and 1")
        if not self.floor < self.limit:
            raise InputError("floor", self.floor, f"an energy below the limit of {self.limit:g} eV/atom")

    def check(self, row: Evaluation) -> Verdict:
        """UNKNOWN without an energy above hull, or with one too good to be true."""
        energy = row.energy_above_hull
        if energy is None or not math.isfinite(energy.mean):
            return Verdict(self.name, Status.UNKNOWN, "no energy above hull")
        if energy.mean < self.floor:
            reason = f"{energy.mean:.3f} eV/atom is too far below the hull to be believed"
            return Verdict(self.name, Status.UNKNOWN, reason, energy.mean)
        chance = probability_below(self.limit, energy)
        if chance >= self.confidence:
            return Verdict(self.name, Status.PASS, self._warning(row, energy.mean), energy.mean)
        stopped = row.relaxation is not None and not row.relaxation.converged
        when = " where its relaxation ended, not converged" if stopped else ""
        reason = f"{energy.mean:.3f} eV/atom above the hull{when}, {chance:.0%} likely within {self.limit:g}"
        return Verdict(self.name, Status.FAIL, reason, energy.mean)

    def _warning(self, row: Evaluation, energy: float) -> str:
        """What to think of an energy far below the hull, in words; empty where it is not."""
        if energy >= DOUBTFUL_ALONE:
            return ""
        phases = None
        if isinstance(self.reference, CountsPhases):
            phases = self.reference.phases_of_system(row.crystal.numbers)
        if phases == 0:
            return f"{-energy:.3f} eV/atom below a hull without any known phase of all its elements: {GAP}"
        if energy < DOUBTFUL:
            rests = "" if phases is None else f" of {phases} known phase{'s' * (phases != 1)} of its elements"
            return f"{-energy:.3f} eV/atom below the hull{rests}: {GAP}"
        return ""
