"""Targets and queries without contradictions."""

from __future__ import annotations

from hypothesis import strategies as st

from invdesign.elements import SYMBOLS
from invdesign.properties import PROPERTIES
from invdesign.query import CRYSTAL_SYSTEMS, Query, Target


@st.composite
def targets(draw: st.DrawFn, names: tuple[str, ...] | None = None) -> Target:
    """A wish for one property, within the range that it may be asked for."""
    prop = PROPERTIES[draw(st.sampled_from(names or tuple(PROPERTIES)))]
    within = st.floats(prop.low, prop.high, allow_subnormal=False)
    kind = draw(st.sampled_from(["low", "high", "range", "max", "min"]))
    if kind in ("max", "min"):
        return Target(prop.name, goal=kind)
    if kind == "range":
        low, high = sorted((draw(within), draw(within)))
        return Target(prop.name, low, high)
    return Target(prop.name, **{kind: draw(within)})


@st.composite
def queries(draw: st.DrawFn) -> Query:
    """A query: targets on different properties, elements, symmetry, size and numbers."""
    wishes = draw(st.lists(targets(), max_size=3, unique_by=lambda t: t.name))
    order = draw(st.permutations(SYMBOLS[:80]))
    required, exclude, more = order[:2], order[2:5], order[5:9]
    closed = draw(st.booleans())
    return Query(
        targets=wishes,
        elements=[*required, *more] if closed else [],
        required=required if draw(st.booleans()) else [],
        exclude=exclude if draw(st.booleans()) else [],
        chemical_system="-".join([*required, *more]) if not closed and draw(st.booleans()) else "",
        space_group=draw(st.none() | st.integers(1, 230) | st.sampled_from(sorted(CRYSTAL_SYSTEMS))),
        max_sites=draw(st.integers(2, 40)),
        n=draw(st.integers(1, 1000)),
        max_energy_above_hull=draw(st.floats(0.0, 1.0)),
        relaxations=draw(st.integers(1, 10_000)),
        search=draw(st.sampled_from(["optuna", "none"])),
        hardness_load=draw(st.floats(0.05, 50.0)),
    )
