"""Landmarks: known materials judged by the wishes that candidates are judged by, and where they would stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from invdesign.properties import get_property
from invdesign.query import Query, Target
from invdesign.records import Estimate
from invdesign.selection.components import Component
from invdesign.selection.desirability import (
    UNKNOWN,
    Objective,
    Subject,
    desirabilities,
    geometric_mean,
    index_values,
    objectives_of,
)
from invdesign.selection.known_materials import Material
from invdesign.selection.targets import target_probability
from invdesign.selection.verdicts import Landmark

Array = NDArray[np.float64]


def judged(
    materials: Sequence[Material], query: Query, component: Component, scores: Array | None = None
) -> tuple[Landmark, ...]:
    """Score known materials by the wishes of a query and its component.

    A bound on a property that nobody measured counts as undecided, 1/2, and what exists needs no distance to
    the hull.

    Args:
        materials: what to judge.
        query: targets.
        component: constraints and indices.
        scores: of the listed candidates, best first, to tell the places from.

    Returns:
        One per material, best first.
    """
    objectives = objectives_of(query, component)
    weights = np.array([o.weight for o in objectives])
    subjects = [Subject(m.name, Estimate(m.values), exists=True) for m in materials]
    table = desirabilities(subjects, objectives)
    for j, objective in enumerate(objectives):
        if isinstance(objective.wish, Target):
            table[[objective.wish.name not in m.values for m in materials], j] = UNKNOWN
    values = index_values(subjects, component.indices)
    totals = geometric_mean(table, weights)
    listed = np.zeros(0) if scores is None else np.asarray(scores)
    places = 1 + (listed[None] >= totals[:, None]).sum(axis=1)
    found = [
        Landmark(
            name=material.name,
            family=material.family,
            score=float(totals[i]),
            place=int(places[i]),
            indices=values[i],
            values=material.values,
            desirabilities={o.name: float(d) for o, d in zip(objectives, table[i], strict=True)},
            unmet=tuple(_unmet(subjects[i].estimate, component)),
            unknown=tuple(_unknown(material, objectives)),
        )
        for i, material in enumerate(materials)
    ]
    return tuple(sorted(found, key=lambda mark: (-mark.score, mark.name)))


def _unmet(estimate: Estimate, component: Component) -> list[str]:
    return [
        str(c)
        for c in component.constraints
        if c.name in estimate.values and target_probability([c], estimate) < component.min_probability
    ]


def _unknown(material: Material, objectives: Sequence[Objective]) -> list[str]:
    """Labels of the quantities that objectives ask for and no source gives."""
    names: dict[str, None] = {}
    for objective in objectives:
        if isinstance(objective.wish, Target):
            names[objective.wish.name] = None
        elif not isinstance(objective.wish, float):
            names |= dict.fromkeys(objective.wish.powers)
    return [get_property(name).label for name in names if name not in material.values]
