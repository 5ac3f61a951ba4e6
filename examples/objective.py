"""Your own objective function, and a constraint that every proposal must meet.

python examples/objective.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import invdesign as ivd
from invdesign.records import Evaluation, Status, Verdict


def stiff_for_its_weight(rows: Sequence[Evaluation]) -> list[float]:
    """An objective from 0 to 1: the bulk modulus over the density, full marks at 100 GPa cm³/g."""
    marks = []
    for row in rows:
        values = row.estimate.values if row.estimate else {}
        known = "bulk_modulus" in values and "density" in values
        ratio = values["bulk_modulus"].mean / values["density"].mean if known else 0.0
        marks.append(min(1.0, max(0.0, ratio / 100.0)))
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
        query, seed=0, desirability=stiff_for_its_weight, constraints=[SmallCell()], **settings
    ) as campaign:
        for step in campaign:
            marks = stiff_for_its_weight(step.best)
            print(f"round {step.number + 1}: {[round(mark, 2) for mark in marks]}")
        return campaign.result()


if __name__ == "__main__":
    print(main())
