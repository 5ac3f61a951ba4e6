"""The record of one recipe: what was made of what, how hot, how long, in which gas, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from invdesign.synthesis.formulas import Key, key_of, parse_formula, sources

METHODS = ("solid-state", "sol-gel")
"""Methods of the published recipes."""
ATMOSPHERES = ("air", "oxygen", "nitrogen", "argon", "hydrogen", "carbon monoxide", "carbon dioxide", "ammonia",
               "hydrogen sulfide", "vacuum")  # fmt: skip
OPERATIONS = ("mixing", "grinding", "dissolving", "drying", "shaping", "heating", "cooling", "washing")
LEAST_FIRING, MOST_FIRING = 100.0, 2600.0
"""Firing temperatures (°C) outside this range are taken for reading errors."""


@dataclass(frozen=True)
class Operation:
    """One step of a recipe.

    Attributes:
        kind: one of `OPERATIONS`.
        word: the word of the text, such as `calcined`.
        temperature: °C; None if not stated.
        hours: duration; None if not stated.
        atmosphere: one of `ATMOSPHERES`, empty if not stated.
    """

    kind: str
    word: str = ""
    temperature: float | None = None
    hours: float | None = None
    atmosphere: str = ""


@dataclass(frozen=True)
class Recipe:
    """One recipe, published or the user's own.

    Attributes:
        target: formula of what was made.
        precursors: formulas of what it was made of, without water of hydration.
        method: one of `METHODS`, empty if not known.
        temperature: firing temperature, °C: the highest of any heating step; None if not stated.
        hours: duration of that step; None if not stated.
        atmosphere: gas of that step, or else of any other heating step; one of `ATMOSPHERES`, empty if not stated.
        source: DOI, or the user's own name of it.
        operations: all steps in order; published recipes of the shipped table have none.
    """

    target: str
    precursors: tuple[str, ...]
    method: str = ""
    temperature: float | None = None
    hours: float | None = None
    atmosphere: str = ""
    source: str = ""
    operations: tuple[Operation, ...] = ()

    @cached_property
    def amounts(self) -> dict[str, float]:
        """Amounts of the elements in the target."""
        return parse_formula(self.target)

    @cached_property
    def key(self) -> Key:
        """The target as a substance (see `invdesign.synthesis.formulas`)."""
        return key_of(self.amounts)

    @property
    def system(self) -> str:
        """The chemical system of the target: its elements sorted, `Ba-O-Ti`."""
        return "-".join(sorted(self.amounts))

    @property
    def sources(self) -> frozenset[str]:
        """Elements that precursors must bring."""
        return sources(self.amounts)


def firing(operations: tuple[Operation, ...]) -> Operation | None:
    """The hottest heating step, with the atmosphere of another if it states none; None without one."""
    hot = [step for step in operations if step.kind == "heating" and step.temperature is not None]
    if not hot:
        return None
    top = max(hot, key=lambda step: step.temperature or 0.0)
    gas = top.atmosphere or next((step.atmosphere for step in reversed(operations)
                                  if step.kind == "heating" and step.atmosphere), "")  # fmt: skip
    return Operation(top.kind, top.word, top.temperature, top.hours, gas)
