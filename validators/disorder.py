"""Disorder: may a 'new' ordered crystal be one ordering of a disordered alloy?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from invdesign.crystal import Crystal
from invdesign.errors import ReferenceMissingError
from invdesign.records import Evaluation, Status, Verdict
from invdesign.reference.disorder import Ordering


class KnowsOrderings(Protocol):
    """A reference that can read a crystal as an ordering, such as `invdesign.reference.local.LocalReference`."""

    def possible_disorder(self, crystal: Crystal) -> Ordering | None:
        """How the crystal may be one ordering of a disordered alloy, or None."""
        ...


@dataclass(frozen=True)
class Disorder:
    """A flag, by the rule of `invdesign.reference.disorder`.

    PASS: no two interchangeable elements would share a site. FAIL: they would, and the parent with that site is
    known (an end member, or another ordering of the same elements). UNKNOWN: they would, but no such parent is
    known; only an experiment or a free-energy calculation can tell.

    Attributes:
        reference: where the parent is sought.

    Raises:
        ReferenceMissingError: if built without one.
    """

    reference: KnowsOrderings
    name: ClassVar[str] = "disorder"

    def __post_init__(self) -> None:
        """Refuse to judge without a reference."""
        if self.reference is None:
            raise ReferenceMissingError("disorder needs a reference of known crystals")

    def check(self, row: Evaluation) -> Verdict:
        """Judge the row's best structure."""
        ordering = self.reference.possible_disorder(row.crystal)
        if ordering is None:
            return Verdict(self.name, Status.PASS)
        return Verdict(self.name, Status.FAIL if ordering.known else Status.UNKNOWN, ordering.reason)
