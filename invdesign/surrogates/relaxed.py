"""The second stage: relaxed crystals, with what potentials make of them beside the gate's own features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import Crystal
from invdesign.records import Estimate
from invdesign.reference.local import known_phase
from invdesign.surrogates.inputs.cells import failed, read_graphs
from invdesign.surrogates.inputs.potential_inputs import PotentialInputs
from invdesign.surrogates.model import Model

if TYPE_CHECKING:
    from invdesign.surrogates.explain.explanation import Explanation


@dataclass(frozen=True, eq=False)
class RelaxedSurrogate:
    """Predicts from relaxed crystals.

    A crystal that the potential of the features cannot read is predicted by the gate alone. One without an elastic
    response is predicted without it: the networks were trained with it hidden now and then. The potentials have
    seen energies of the known phases, but of no design: where no known phase has the formula and the space group,
    intervals of energies are wider.

    Attributes:
        model: the trained ensemble.
        potentials: compute what the networks read; the potentials are loaded at the first prediction.
    """

    model: Model
    potentials: PotentialInputs = field(default_factory=PotentialInputs)

    def predict(self, crystals: Sequence[Crystal]) -> list[Estimate]:
        """One estimate per crystal, in the same order; see `invdesign.protocols.Surrogate`."""
        graphs, reasons = read_graphs(crystals)
        if graphs is None:
            return [failed(reason) for reason in reasons]
        readable = [c for c, reason in zip(crystals, reasons, strict=True) if not reason]
        extra = self.potentials.compute(readable) if self.model.shape.extra else None
        groups = graphs.batch.space_group.tolist()
        unknown = np.array([not known_phase(c.numbers, group) for c, group in zip(readable, groups, strict=True)])
        estimates = iter(self.model.estimates(graphs, extra, unknown=unknown))
        return [failed(reason) if reason else next(estimates) for reason in reasons]

    def explain(self, crystals: Sequence[Crystal]) -> list[Explanation]:
        """Why each crystal is predicted as it is, through the gate; see
        `invdesign.surrogates.explain.explanation`.

        Raises:
            InputError: if the model has no gate.
        """
        from invdesign.surrogates.explain.explanation import explain

        return explain(self.model.base or self.model, crystals, self.predict(crystals))
