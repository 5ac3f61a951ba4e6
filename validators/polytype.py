"""Polytype: is the crystal another stacking of a known one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from invdesign.crystal import Crystal
from invdesign.errors import ReferenceMissingError
from invdesign.records import Evaluation, Status, Verdict


class KnowsPolytypes(Protocol):
    """A reference that finds polytypes, such as `invdesign.reference.local.LocalReference`."""

    def polytype(self, crystal: Crystal) -> str | None:
        """Id of a known crystal of which the crystal is a polytype, or None."""
        ...


@dataclass(frozen=True)
class Polytype:
    """FAIL where a known crystal of the same formula has the same surroundings of every atom, PASS where none has.

    Such a crystal is another stacking of the known one, or the same with a slight distortion: few chemists would
    call it new, though its structure differs. UNKNOWN where the cell cannot be compared. See
    `invdesign.crystallography.polytypes`.

    Attributes:
        reference: where to look.

    Raises:
        ReferenceMissingError: if built without one.
    """

    reference: KnowsPolytypes
    name: ClassVar[str] = "polytype"

    def __post_init__(self) -> None:
        """Refuse to judge without a reference."""
        if self.reference is None:
            raise ReferenceMissingError("polytype needs a reference of known crystals")

    def check(self, row: Evaluation) -> Verdict:
        """Judge the row's best structure."""
        try:
            known = self.reference.polytype(row.crystal)
        except ValueError as error:
            return Verdict(self.name, Status.UNKNOWN, str(error))
        if known is None:
            return Verdict(self.name, Status.PASS)
        return Verdict(self.name, Status.FAIL, f"the same surroundings of every atom as {known}: a polytype of it")
