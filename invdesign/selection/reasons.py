"""Reasons: one sentence on why a candidate stands where it stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry import element_data
from invdesign.mechanics.quantities import unknown
from invdesign.numbers import percent, with_error
from invdesign.query import Query, Target
from invdesign.records import Evaluation, Status, Value
from invdesign.selection.components import Component, Index
from invdesign.selection.desirability import Objective, with_hull
from invdesign.selection.targets import target_probability

Array = NDArray[np.float64]


def reason_for(
    row: Evaluation,
    query: Query,
    component: Component,
    objectives: Sequence[Objective],
    desirabilities: Array,
    on_front: bool,
) -> str:
    """One sentence: targets, strengths and weaknesses, stability, what was undecided, supply and hazards."""
    parts = [_of_target(row, target) for target in (*query.targets, *component.constraints)]
    parts += _of_indices(objectives, desirabilities)
    parts += _of_hull(row.energy_above_hull)
    parts += _unknown(row, component)
    for verdict in row.verdicts.values():
        if verdict.status is Status.UNKNOWN:
            why = f" ({verdict.reason})" if verdict.reason else ""
            parts.append(f"{verdict.name.replace('_', ' ')} not decidable{why}")
        elif verdict.status is Status.PASS and verdict.reason:
            parts.append(f"warning: {verdict.reason}")
    if row.estimate is not None and row.estimate.out_of_distribution:
        why = row.estimate.ood_reason or "unlike its training crystals"
        parts.append(f"out of distribution for the property model ({why})")
    risks = element_data.supply_risks(row.crystal.numbers)
    if risks:
        parts.append(f"{' and '.join(risks)} {'is a supply risk' if len(risks) == 1 else 'are supply risks'}")
    parts += element_data.hazards(row.crystal.numbers, cautions=True)
    if on_front:
        parts.append("on the Pareto front")
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:] + "."


def _unknown(row: Evaluation, component: Component) -> list[str]:
    """What the component asks for and nobody can tell of this crystal."""
    if row.estimate is None:
        return []
    names = dict.fromkeys(name for index in component.indices for name in index.powers)
    told = (unknown(name, row.estimate) for name in names)
    return [text for text in told if text]


def _of_target(row: Evaluation, target: Target) -> str:
    prop = target.prop
    estimate = with_hull(row)
    value = None if estimate is None else estimate.values.get(target.name)
    unit = f" {prop.unit}" if prop.unit else ""
    if value is None:
        return f"{prop.symbol} is not known"
    if target.goal:
        return f"{prop.symbol} {with_error(value.mean, value.std)}{unit}"
    chance = target_probability([target], estimate)
    verb = "meets" if chance >= 0.5 else "may meet" if chance >= 0.05 else "hardly meets"
    told = with_error(value.mean, value.std)
    return f"{verb} {prop.symbol} {_bound(target)}{unit} ({told}) with {percent(chance)} probability"


def _bound(target: Target) -> str:
    if target.high is None:
        return f">= {target.low:g}"
    if target.low is None:
        return f"<= {target.high:g}"
    return f"from {target.low:g} to {target.high:g}"


def _of_indices(objectives: Sequence[Objective], desirabilities: Array) -> list[str]:
    graded = [
        (float(d), o.name) for o, d in zip(objectives, desirabilities, strict=True) if isinstance(o.wish, Index)
    ]
    if not graded:
        return []
    best, worst = max(graded), min(graded)
    parts = [f"best in {best[1]} ({best[0]:.2f} of 1)"]
    if worst[1] != best[1]:
        parts.append(f"weakest in {worst[1]} ({worst[0]:.2f})")
    return parts


def _of_hull(value: Value | None) -> list[str]:
    if value is None:
        return ["energy above hull is not known"]
    if abs(value.mean) < 5e-4:
        return [f"on the hull of the known phases (± {value.std:.3f} eV/atom)"]
    where = "above" if value.mean > 0 else "below"
    return [f"{abs(value.mean):.3f} ± {value.std:.3f} eV/atom {where} the hull of the known phases"]
