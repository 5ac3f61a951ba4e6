"""Novelty: is the crystal among the known ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from invdesign.errors import ReferenceMissingError
from invdesign.protocols import KnowsPhases, KnowsRecipes, Reference
from invdesign.records import Evaluation, Status, Verdict


@dataclass(frozen=True)
class Novelty:
    """PASS where the reference has no crystal that is the same, FAIL where it has one (its id is the reason).

    UNKNOWN where the cell cannot be compared; where a phase of the formula is known but its structure is not among
    the known crystals, because the crystal may be that phase; and where a recipe for the formula is published of
    which no crystal is known from experiment: somebody has made it.

    Attributes:
        reference: where to look.

    Raises:
        ReferenceMissingError: if built without a reference: nothing could be called known, so everything would be
            called new.
    """

    reference: Reference
    name: ClassVar[str] = "novelty"

    def __post_init__(self) -> None:
        """Refuse to judge without a reference."""
        if self.reference is None:
            raise ReferenceMissingError("novelty needs a reference of known crystals")

    def check(self, row: Evaluation) -> Verdict:
        """Look for the best structure there is among the known ones."""
        try:
            known = self.reference.match(row.crystal)
        except ValueError as error:
            return Verdict(self.name, Status.UNKNOWN, str(error))
        if known is not None:
            return Verdict(self.name, Status.FAIL, f"known as {known}")
        if isinstance(self.reference, KnowsPhases) and self.reference.phase_without_crystal(row.crystal.numbers):
            reason = "known formula, its structure is not in the package"
            return Verdict(self.name, Status.UNKNOWN, reason)
        if isinstance(self.reference, KnowsRecipes):
            doi = self.reference.recipe_without_crystal(row.crystal.numbers)
            if doi is not None:
                reason = f"made before: a recipe for this formula is published (doi:{doi}), structure not compared"
                return Verdict(self.name, Status.UNKNOWN, reason)
        return Verdict(self.name, Status.PASS)
