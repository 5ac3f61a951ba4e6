"""Text-mined recipes into records: what is kept, what is left out, and why.

The published set (O. Kononova et al., Sci. Data 6, 203 (2019)) is mined by machine: formulas hold variables,
dopants stand beside the formula, fluxes and solvents stand among the precursors. Every entry either becomes one
recipe or is counted under one reason of `REASONS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from invdesign.elements import SYMBOLS
from invdesign.errors import InputError
from invdesign.synthesis.formulas import (
    VOLATILE,
    Amounts,
    Key,
    key_of,
    parse_formula,
    precursor_key,
    sources,
    without_water,
    written,
)
from invdesign.synthesis.recipe import LEAST_FIRING, MOST_FIRING, Operation, Recipe, firing

REASONS = {
    "formula": "the target has no formula of numbers only, or a negative amount",
    "element": "the target is a single element, or of gases alone",
    "organic": "the target holds carbon and hydrogen",
    "mixture": "the target is a glass or a composite: a sum of binary compounds",
    "precursor": "a precursor has no formula of numbers only",
    "same": "a precursor is the target itself",
    "supply": "an element of the target is in no precursor",
    "foreign": "a precursor brings an element that is neither in the target nor volatile",
    "duplicate": "the same paper gives the same target by the same precursors again",
}
_GASES = {
    "air": "air", "ambient": "air", "oxygen": "oxygen", "o2": "oxygen", "nitrogen": "nitrogen", "n2": "nitrogen",
    "argon": "argon", "ar": "argon", "inert": "argon", "hydrogen": "hydrogen", "h2": "hydrogen",
    "carbon monoxide": "carbon monoxide", "co": "carbon monoxide", "carbon dioxide": "carbon dioxide",
    "co2": "carbon dioxide", "nh3": "ammonia", "ammonia": "ammonia", "h2s": "hydrogen sulfide", "vacuum": "vacuum",
    "thermal carbon": "carbon monoxide",
}  # fmt: skip
_KINDS = {
    "Mixing": "mixing", "MixingOperation": "mixing", "SolutionMixing": "dissolving", "LiquidGrinding": "grinding",
    "DryingOperation": "drying", "ShapingOperation": "shaping", "HeatingOperation": "heating",
    "QuenchingOperation": "cooling",
}  # fmt: skip
_HOURS = {"h": 1.0, "min": 1.0 / 60.0, "s": 1.0 / 3600.0, "day": 24.0, "days": 24.0, "d": 24.0, "week": 168.0}


@dataclass(frozen=True)
class Cleaned:
    """What cleaning made of a list of entries.

    Attributes:
        recipes: one per entry that was kept.
        excluded: number of entries left out by each reason of `REASONS`.
    """

    recipes: tuple[Recipe, ...]
    excluded: Mapping[str, int]


class ExcludedError(ValueError):
    """Why an entry is left out: a key of `REASONS`."""


def clean(entries: Sequence[Mapping[str, Any]], method: str) -> Cleaned:
    """Recipes of a list of published entries.

    Args:
        entries: the `reactions` of one of the two published files.
        method: `solid-state` or `sol-gel`.
    """
    excluded = dict.fromkeys(REASONS, 0)
    recipes: list[Recipe] = []
    seen: set[tuple[Any, ...]] = set()
    names = common_names(entries)
    for entry in entries:
        try:
            recipe = recipe_of(entry, method, names)
        except ExcludedError as reason:
            excluded[str(reason)] += 1
            continue
        mark = (recipe.source, recipe.key, frozenset(recipe.precursors))
        if mark in seen:
            excluded["duplicate"] += 1
            continue
        seen.add(mark)
        recipes.append(recipe)
    return Cleaned(tuple(recipes), excluded)


def common_names(entries: Iterable[Mapping[str, Any]]) -> dict[Key, str]:
    """How each precursor is written most often, without its water: `NH4H2PO4` rather than `PH6NO4`."""
    counts: dict[Key, Counter[str]] = {}
    for precursor in (item for entry in entries for item in entry["precursors"]):
        try:
            key = precursor_key(_precursor(precursor))
        except ExcludedError:
            continue
        text = without_water(precursor["material_formula"])
        counts.setdefault(key, Counter())[text] += 1
    return {key: found for key, texts in counts.items() if (found := _readable(texts, key))}


def _readable(texts: Counter[str], key: Key) -> str:
    """The most common of some spellings that can be read back as the same substance, empty if none can."""
    for text, _ in texts.most_common():
        amounts = _parsed(text)
        if amounts and precursor_key(amounts) == key:
            return text
    return ""


def recipe_of(entry: Mapping[str, Any], method: str, names: Mapping[Key, str]) -> Recipe:
    """The recipe of one entry.

    Args:
        entry: as published.
        method: `solid-state` or `sol-gel`.
        names: spelling of precursors, as of `common_names`.

    Raises:
        ExcludedError: if the entry is left out.
    """
    amounts = target_of(entry)
    operations = tuple(operations_of(entry["operations"]))
    fired = firing(operations) or Operation("heating")
    return Recipe(
        target=written(amounts),
        precursors=tuple(sorted(precursors_of(entry, amounts, names))),
        method=method,
        temperature=fired.temperature,
        hours=fired.hours,
        atmosphere=fired.atmosphere or _atmosphere(operations),
        source=str(entry["doi"]).lower(),
    )


def canonical(recipe: Recipe) -> Recipe:
    """A user's recipe in the form of the published ones: formulas without brackets, precursors without water.

    Raises:
        InputError: if a formula cannot be read.
    """
    target = written(parse_formula(recipe.target))
    precursors = tuple(sorted(without_water(name) for name in recipe.precursors))
    return replace(recipe, target=target, precursors=precursors)


def target_of(entry: Mapping[str, Any]) -> Amounts:
    """Amounts of the target; of a series with a variable, the member with most elements, the middle one of those.

    Raises:
        ExcludedError: `formula`, `element`, `organic` or `mixture`.
    """
    if _is_mixture(entry["target"]["composition"]):
        raise ExcludedError("mixture")
    members = [found for text in dict.fromkeys(entry["targets_string"]) if (found := _parsed(text))]
    if not members:
        raise ExcludedError("formula")
    most = max(map(len, members))
    full = [member for member in members if len(member) == most]
    amounts = full[len(full) // 2]
    if len(amounts) < 2 or not sources(amounts):
        raise ExcludedError("element")
    if {"C", "H"} <= set(amounts):
        raise ExcludedError("organic")
    return amounts


@lru_cache(maxsize=65_536)
def _parsed(text: str) -> Amounts | None:
    """Amounts of a formula, None if it is none; `-2` as an amount is not read as a dash."""
    if re.search(r"[a-z)0-9]-[0-9.]|[A-Z]-[0-9.]", text):
        return None
    try:
        return parse_formula(text)
    except InputError:
        return None


def _is_mixture(parts: list[Mapping[str, Any]]) -> bool:
    """Whether a target of several parts is a glass or composite rather than a solid solution.

    A solid solution is written in compounds of three elements or more (0.9BaTiO3-0.1BiFeO3); one binary or
    elementary part makes a mixture.
    """
    return len(parts) > 1 and any(len(part["elements"]) < 3 for part in parts if part["formula"] != "H2O")


def precursors_of(entry: Mapping[str, Any], target: Amounts, names: Mapping[Key, str]) -> frozenset[str]:
    """Formulas of the precursors that bring something to the target; solvents and dopants' sources are left out.

    Raises:
        ExcludedError: `precursor`, `same`, `foreign` or `supply`.
    """
    needed = sources(target)
    dopants = {name for text in entry["target"]["additives"] for name in re.findall(r"[A-Z][a-z]?", text)}
    found: set[str] = set()
    supplied: set[str] = set()
    for precursor in entry["precursors"]:
        amounts = _precursor(precursor)
        brought = set(amounts) & (needed | ({"N"} & set(target)))
        if not brought and (set(amounts) <= VOLATILE or set(amounts) & dopants):
            continue  # a solvent, an acid or a gas; or the source of a dopant beside the formula
        if key_of(amounts) == key_of(target):
            raise ExcludedError("same")
        if not set(amounts) <= set(target) | VOLATILE:
            raise ExcludedError("foreign")
        if brought:
            found.add(names.get(precursor_key(amounts)) or written(amounts))
            supplied |= set(amounts)
    if not needed <= supplied:
        raise ExcludedError("supply")
    return frozenset(found)


def _precursor(precursor: Mapping[str, Any]) -> Amounts:
    """Amounts of a precursor without its water.

    Raises:
        ExcludedError: `precursor`.
    """
    total: dict[str, float] = {}
    parts = [part for part in precursor["composition"] if part["formula"] not in ("H2O", "(H2O)n")]
    try:
        for part in parts or precursor["composition"]:
            for name, amount in part["elements"].items():
                total[name] = total.get(name, 0.0) + float(part["amount"]) * float(amount)
    except ValueError:
        total = dict(_parsed(without_water(precursor["material_formula"])) or {})
    if not total or min(total.values()) <= 0.0 or not set(total) <= set(SYMBOLS):
        raise ExcludedError("precursor")
    return total


def operations_of(steps: Iterable[Mapping[str, Any]]) -> Iterable[Operation]:
    """The steps of an entry; a temperature outside `LEAST_FIRING` to `MOST_FIRING` counts as not stated."""
    for step in steps:
        kind = _KINDS.get(step["type"])
        if kind is None:
            continue
        conditions = step["conditions"] or {}
        celsius = _middle(
            conditions.get("heating_temperature") or [], {"C": 1.0, "°C": 1.0, "K": 1.0}, kelvin=True
        )
        if celsius is not None and not (kind != "heating" or LEAST_FIRING <= celsius <= MOST_FIRING):
            celsius = None
        yield Operation(
            kind=kind,
            word=step["token"].lower(),
            temperature=celsius,
            hours=_middle(conditions.get("heating_time") or [], _HOURS),
            atmosphere=next(
                (gas for text in conditions.get("heating_atmosphere") or [] if (gas := _gas(text))), ""
            ),
        )


def _gas(text: str) -> str:
    return _GASES.get(text.lower(), "")


def _atmosphere(operations: tuple[Operation, ...]) -> str:
    """Gas of the last heating step that states one."""
    return next(
        (step.atmosphere for step in reversed(operations) if step.kind == "heating" and step.atmosphere), ""
    )


def _middle(ranges: list[Mapping[str, Any]], units: Mapping[str, float], kelvin: bool = False) -> float | None:
    """Highest of the stated quantities, each the median of its values or the middle of its range; None if none."""
    found = []
    for item in ranges:
        if item["units"] not in units:
            continue
        values = sorted(item["values"] or [v for v in (item["min_value"], item["max_value"]) if v is not None])
        if values:
            middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2.0
            found.append(middle - 273.15 if kelvin and item["units"] == "K" else middle * units[item["units"]])
    return max(found) if found else None
