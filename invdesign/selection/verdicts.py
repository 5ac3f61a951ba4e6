"""Verdicts: a candidate held against known materials, in words that an engineer would use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from invdesign.numbers import times
from invdesign.records import Value
from invdesign.selection.components import Component, Index

COMPARED = ("price", "fracture_toughness", "density")
"""Compared with a landmark beside the leading index, where both have a value."""
NOUNS = {"price": "price", "fracture_toughness": "toughness", "density": "density"}


@dataclass(frozen=True)
class Landmark:
    """A known material in a ranking.

    Attributes:
        name: with its condition.
        family: `steel`, `ceramic`, …
        score: as of the candidates.
        place: rank that it would have among the listed candidates, from 1; one more than their number: below all.
        indices: values of the material indices that can be told.
        values: its measured properties.
        desirabilities: by objective.
        unmet: constraints of the component that it does not meet, in words.
        unknown: quantities that no source gives.
    """

    name: str
    family: str
    score: float
    place: int
    indices: Mapping[str, Value]
    values: Mapping[str, Value]
    desirabilities: Mapping[str, float]
    unmet: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def leading(component: Component) -> str:
    """Name of the index that weighs most; empty for a component without any."""
    return max(component.indices, key=lambda index: index.weight).name if component.indices else ""


def best_landmark(landmarks: Sequence[Landmark], component: Component) -> Landmark | None:
    """The known material with the best score that meets the constraints and whose leading index is known."""
    name = leading(component)
    fit = [mark for mark in landmarks if name in mark.indices and not mark.unmet]
    return max(fit, key=lambda mark: (mark.score, mark.name), default=None)


def verdict(
    indices: Mapping[str, Value], values: Mapping[str, Value], component: Component, landmark: Landmark | None
) -> str:
    """One clause: the leading index, price, toughness and density against a known material; empty without one.

    Such as `stiffer per mass than alumina (1.3 times), four times the price, half the toughness`. A difference
    within the uncertainty of the index is called uncertain.

    Args:
        indices: the candidate's.
        values: the candidate's properties and quantities.
        component: whose leading index counts.
        landmark: what to compare with.
    """
    name = leading(component)
    if landmark is None or name not in indices or name not in landmark.indices:
        return ""
    index = next(index for index in component.indices if index.name == name)
    more = [
        f"{times(values[q].mean / landmark.values[q].mean)} {NOUNS[q]}"
        for q in COMPARED
        if q in values and q in landmark.values
    ]
    return ", ".join([_of_index(index, indices[name], landmark), *more])


def _of_index(index: Index, mine: Value, landmark: Landmark) -> str:
    theirs = landmark.indices[index.name]
    ratio = mine.mean / theirs.mean
    better = ratio if index.best > index.worst else 1.0 / ratio
    if 1 / 1.1 < better < 1.1:
        return f"about as good as {landmark.name} in {index.name}"
    sure = "" if _apart(mine, theirs) else ", uncertain"
    if better > 1.0:
        return f"{index.comparative or f'better in {index.name}'} than {landmark.name} ({better:.2g} times{sure})"
    return f"worse than {landmark.name} in {index.name} ({better:.2g} times{sure})"


def _apart(a: Value, b: Value) -> bool:
    """Whether two 90 % intervals do not overlap."""
    return all(v.low is not None and v.high is not None for v in (a, b)) and (
        a.low > b.high or b.low > a.high  # type: ignore[operator]
    )
