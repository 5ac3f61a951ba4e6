"""Ask and tell by hand: the campaign proposes, your own code evaluates.

python examples/ask_tell.py
"""

from __future__ import annotations

from typing import Any

import invdesign as ivd
from invdesign.records import Evaluation, Failure, Relaxation


def evaluate(rows: list[Evaluation], campaign: ivd.Campaign) -> dict[str, Relaxation | Failure]:
    """Relax candidates. Here with the shipped potential: put your own code, or a queue of jobs, in its place."""
    results = campaign.parts.relaxer.relax([row.candidate.crystal for row in rows])
    return {row.candidate.id: result for row, result in zip(rows, results, strict=True)}


def main(relaxations: int = 12, **settings: Any) -> ivd.Result:
    """Run a small campaign, a round at a time."""
    query = ivd.Query(targets=["bulk_modulus>=200"], n=4, relaxations=relaxations)
    with ivd.Campaign(query, seed=0, **settings) as campaign:
        while not campaign.finished:
            rows = campaign.ask()
            step = campaign.tell(evaluate(rows, campaign))
            print(f"round {step.number + 1}: asked {len(rows)}, accepted {step.counts['total']} in all")
        return campaign.result()


if __name__ == "__main__":
    print(main())
