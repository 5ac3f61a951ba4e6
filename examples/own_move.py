"""Your own move for the search among candidates: every oxide has a chance to become a nitride.

python examples/own_move.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import invdesign as ivd
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.evolution.moves import MOVES, Chemistry, Child
from invdesign.evolution.orbits import relabelled

OXYGEN, NITROGEN = 8, 7


def nitride(rng: np.random.Generator, gene: ivd.Gene, other: ivd.Gene, chemistry: Chemistry) -> Child | None:
    """All oxygen becomes nitrogen; None where there is none, or nitrogen may not be used."""
    numbers = set(gene.numbers)
    if OXYGEN not in numbers or NITROGEN in numbers or not chemistry.allowed[NITROGEN]:
        return None
    return Child(relabelled(gene, {OXYGEN: NITROGEN}, chemistry.element_volume))


def main(relaxations: int = 12, evolution: EvolutionSettings | None = None, **settings: Any) -> ivd.Result:
    """Search with the move, as often as with the exchange of elements."""
    MOVES["nitride"] = nitride
    evolution = evolution or EvolutionSettings()
    with_move = replace(evolution, moves={**evolution.moves, "nitride": evolution.moves["exchange"]})
    query = ivd.Query(targets=["bulk_modulus>=200"], n=4, relaxations=relaxations)
    with ivd.Campaign(query, seed=0, evolution=with_move, **settings) as campaign:
        for step in campaign:
            print(f"round {step.number + 1}: {dict(step.counts)}")
        return campaign.result()


if __name__ == "__main__":
    print(main())
