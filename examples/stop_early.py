"""A callback that watches a run and stops it.

python examples/stop_early.py
"""

from __future__ import annotations

from typing import Any

import invdesign as ivd
from invdesign.engine.campaign import Step

ENOUGH = 2


def enough(step: Step) -> bool:
    """Stop as soon as two candidates are accepted."""
    print(f"round {step.number + 1}: {step.counts['total']} accepted in {step.seconds:.0f} s")
    return step.counts["total"] >= ENOUGH


def main(relaxations: int = 20, **wishes: Any) -> ivd.Result:
    """Design until the callback stops it."""
    return ivd.design(
        targets=["bulk_modulus>=150"], n=8, relaxations=relaxations, seed=0, callback=enough, **wishes
    )


if __name__ == "__main__":
    print(main())
