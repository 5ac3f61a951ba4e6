"""Which part of a campaign knows which elements, asked before a run starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from invdesign import build
from invdesign.elements import SYMBOLS, atomic_number, symbol
from invdesign.errors import InputError
from invdesign.query import Query


def known_elements(generator: str = "mixture") -> dict[str, frozenset[int]]:
    """Atomic numbers that each part of a campaign knows, by the part's name in words.

    A part that does not say what it knows is left out.

    Args:
        generator: the generator that is asked, or `mixture` for all of them.

    Raises:
        InputError: if there is no such generator.
        ReferenceMissingError: if weights or tables are missing.
    """
    from invdesign.potentials import calculators as potentials
    from invdesign.potentials.energy_scale import EnergyScale
    from invdesign.reference.local import load_hull
    from invdesign.surrogates import load_gate

    potential = potentials.find(potentials.DEFAULT)
    scale = EnergyScale.load(potential.scale or potential.name)
    found: dict[str, Iterable[int] | None] = {
        f"the potential {potential.name}": potential.elements,
        "its energy scale": map(atomic_number, scale.elements),
        "the convex hull": load_hull().elements,
        "the surrogates": np.flatnonzero(load_gate().model.memory.element_counts > 0).tolist(),
    }
    for name, part in build.generators(generator).items():
        found[f"the generator {name}"] = getattr(part, "elements", None)
    return {part: frozenset(numbers) for part, numbers in found.items() if numbers is not None}


def check_elements(query: Query, known: Mapping[str, frozenset[int]] | None = None) -> None:
    """Refuse a query that names an element of which a part knows nothing.

    Args:
        query: the elements that it names as allowed, required, or in its chemical system are looked at.
        known: as from `known_elements` (None: of the parts of this query).

    Raises:
        InputError: naming each such element and the parts that do not know it.
    """
    if not query.named_elements:
        return
    parts = known_elements(query.generator) if known is None else known
    lacking = {
        name: [part for part, numbers in parts.items() if atomic_number(name) not in numbers]
        for name in sorted(query.named_elements, key=SYMBOLS.index)
    }
    unknown = [name for name, lacks in lacking.items() if lacks]
    if unknown:
        who = dict.fromkeys(part for name in unknown for part in lacking[name])
        everywhere = frozenset.intersection(*parts.values())
        missing = ", ".join(symbol(z) for z in range(1, max(everywhere) + 1) if z not in everywhere)
        raise InputError(
            "elements",
            ", ".join(unknown),
            f"H to {symbol(max(everywhere))} except {missing or 'none'} (not known to {', '.join(who)})",
        )
