"""The gate: thousands of unrelaxed crystals a second, to decide which deserve a relaxation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invdesign.crystal import Crystal
from invdesign.records import Estimate
from invdesign.surrogates.inputs.cells import failed, read_graphs
from invdesign.surrogates.model import Model

if TYPE_CHECKING:
    from invdesign.surrogates.explain.explanation import Explanation

CHUNK = 4096


@dataclass(frozen=True, eq=False)
class GateSurrogate:
    """Predicts from the gene of a crystal (found first, if the crystal does not carry one).

    Attributes:
        model: the trained ensemble.
    """

    model: Model

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order; see `invdesign.protocols.Surrogate`."""
        found: list[Estimate] = []
        for start in range(0, len(crystals), CHUNK):
            found.extend(self._predict(crystals[start : start + CHUNK]))
        return found

    def explain(self, crystals: Sequence[Crystal]) -> list[Explanation]:
        """Why each crystal is predicted as it is; see `invdesign.surrogates.explain.explanation`."""
        from invdesign.surrogates.explain.explanation import explain

        return explain(self.model, crystals)

    def _predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        readable, failures = read_graphs(crystals)
        estimates = iter(self.model.estimates(readable) if readable is not None else ())
        return [failed(reason) if reason else next(estimates) for reason in failures]
