"""Dynamic stability: the crystal comes back when it is shaken and relaxed without symmetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from invdesign.protocols import Relaxer, Shaker
from invdesign.records import Evaluation, Failure, Status, Verdict


@dataclass(frozen=True)
class Dynamics:
    """PASS where a crystal that is shaken and relaxed without symmetry gains no more energy than the limit.

    FAIL where it gains more: the crystal was on a saddle point, and the reason says what it becomes. UNKNOWN where
    it could not be relaxed. `Verdict.value` is the gain, eV/atom. A crystal that was not relaxed yet is relaxed
    within its space group first. The limit and the size of the displacements are the relaxer's.

    Attributes:
        relaxer: relaxes and shakes, with one potential (None: UNKNOWN).
    """

    name: ClassVar[str] = "dynamics"
    relaxer: Relaxer | None = None

    def check(self, row: Evaluation) -> Verdict:
        """Relax the row's crystal where nobody has, and shake it."""
        if not isinstance(self.relaxer, Shaker):
            return Verdict(self.name, Status.UNKNOWN, "there is no potential to shake it with")
        crystal = row.crystal
        if row.relaxation is None:
            (relaxed,) = self.relaxer.relax([crystal])
            if isinstance(relaxed, Failure):
                return Verdict(self.name, Status.UNKNOWN, f"it cannot be relaxed: {relaxed.reason}")
            crystal = relaxed.crystal
        ((_, found),) = self.relaxer.shake_iter([crystal])
        if isinstance(found, Failure):
            return Verdict(self.name, Status.UNKNOWN, found.reason)
        return found.verdict
