"""Your own objective function, and a constraint that every proposal must meet.

python examples/objective.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import invdesign as ivd
from invdesign.records import Evaluation, Status, Verdict


def stiff_and_light(rows: Sequence[Evaluation]) -> list[float]:
    """An objective from 0 to 1: the bulk modulus over the mean atomic number, full marks at 30 GPa."""
    marks = []
    for row in rows:
        values = row.estimate.values if row.estimate else {}
        modulus = values["bulk_modulus"].mean if "bulk_modulus" in values else 0.0
        marks.append(min(1.0, modulus / float(np.mean(row.crystal.numbers)) / 30.0))
    return marks


class SmallCell:
    """A constraint: at most eight atoms in the cell."""

    name = "small_cell"

    def check(self, row: Evaluation) -> Verdict:
        """Pass small cells."""
        n = row.crystal.n_sites
        return Verdict(self.name, Status.PASS if n <= 8 else Status.FAIL, f"{n} atoms", float(n))


def main(relaxations: int = 12, **settings: Any) -> ivd.Result:
    """Search with the objective and the constraint."""
    query = ivd.Query(targets=["bulk_modulus>=150"], n=4, relaxations=relaxations)
    with ivd.Campaign(
        query, seed=0, desirability=stiff_and_light, constraints=[SmallCell()], **settings
    ) as campaign:
        for step in campaign:
            marks = stiff_and_light(step.best)
            print(f"round {step.number + 1}: {[round(mark, 2) for mark in marks]}")
        return campaign.result()


if __name__ == "__main__":
    print(main())
