"""Uniqueness within a run: has the same crystal come before?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.matching import reduced, same
from invdesign.records import Evaluation, Status, Verdict

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Uniqueness:
    """Remembers the crystals that it passed; a crystal that equals an earlier one fails, with that one's id.

    The one validator with a memory: its answers depend on the order of the rows and on nothing else. Proposed
    and relaxed crystals are compared among their own kind, because two proposals may relax to one crystal. A row
    checked again (same candidate, same stage) is not its own duplicate.
    """

    name: ClassVar[str] = "uniqueness"

    def __init__(self) -> None:
        """Start with an empty memory."""
        self._buckets: dict[tuple[bool, str], dict[str, _Lazy]] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._buckets.clear()

    def check(self, row: Evaluation) -> Verdict:
        """FAIL for a duplicate; UNKNOWN where a cell cannot be compared (it is not remembered)."""
        bucket = self._buckets.setdefault((row.relaxation is not None, reduced_formula(row.crystal.numbers)), {})
        own = _Lazy(row.crystal)
        try:
            earlier = next(
                (
                    name
                    for name, other in bucket.items()
                    if name != row.candidate.id and same(own.structure, other.structure)
                ),
                None,
            )
        except ValueError as error:
            return Verdict(self.name, Status.UNKNOWN, str(error))
        if earlier is not None:
            return Verdict(self.name, Status.FAIL, f"the same as {earlier}")
        bucket[row.candidate.id] = own
        return Verdict(self.name, Status.PASS)


def first_equals(crystals: Iterable[Crystal]) -> list[int | None]:
    """For each crystal the index of the earliest that is the same and itself new; None for a new one.

    Raises:
        ValueError: if a cell that must be compared cannot be reduced.
    """
    buckets: dict[str, list[tuple[int, _Lazy]]] = {}
    answers: list[int | None] = []
    for index, crystal in enumerate(crystals):
        own = _Lazy(crystal)
        bucket = buckets.setdefault(reduced_formula(crystal.numbers), [])
        earlier = next((i for i, other in bucket if same(own.structure, other.structure)), None)
        if earlier is None:
            bucket.append((index, own))
        answers.append(earlier)
    return answers


class _Lazy:
    """A crystal whose reduced structure is made when it is first compared."""

    def __init__(self, crystal: Crystal) -> None:
        self._crystal = crystal
        self._structure: Structure | None = None

    @property
    def structure(self) -> Structure:
        if self._structure is None:
            self._structure = reduced(self._crystal)
        return self._structure
