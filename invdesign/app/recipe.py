"""How compounds might be made, for formulas and files of crystals: `invdesign recipe`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.app.tables import read
from invdesign.errors import InputError, InvdesignError
from invdesign.numbers import percent
from invdesign.progress import quiet
from invdesign.records import Failure

if TYPE_CHECKING:
    from invdesign.synthesis.suggestion import Synthesis

CAVEAT = "Learnt from published recipes that a machine has read: read the cited article before you mix anything."


def recipe(
    given: Any, method: str | None = None, n: int = 5, own: str | Path | None = None
) -> list[Synthesis | Failure]:
    """How compounds might be made, by published recipes of similar ones.

    >>> recipe("BaTiO3")[0].routes[0].precursors  # doctest: +SKIP

    Args:
        given: formulas, files and folders of crystals, or crystals; one or several.
        method: `solid-state` or `sol-gel`; None: what the recipes near each compound use most.
        n: number of sets of precursors for each.
        own: a JSON file of own recipes, which count beside the published ones.

    Returns:
        one per compound; a failure where an item could not be read.

    Raises:
        InputError: if there is no such method, or nothing can be read.
        ReferenceMissingError: if the table of recipes is missing.
    """
    from invdesign.app.own_recipes import model_with
    from invdesign.synthesis.recipe import METHODS
    from invdesign.synthesis.suggestion import suggest

    if method is not None and method not in METHODS:
        raise InputError("method", method, METHODS)
    several = given if isinstance(given, (list, tuple)) else [given]
    compounds = [pair for item in several for pair in _compounds(item)]
    if all(isinstance(amounts, Failure) for amounts in compounds):
        raise InputError("compound", _first(compounds), "a formula such as BaTiO3, or a file of crystals")
    model = None if own is None else model_with(own)
    return [c if isinstance(c, Failure) else suggest(c, method, n, model) for c in compounds]


def _first(compounds: Sequence[Any]) -> str:
    return str(compounds[0].item) if compounds else "nothing"


def _compounds(item: Any) -> Iterator[str | Mapping[str, float] | Failure]:
    """The formula, or the compositions of the crystals of a file."""
    from invdesign.synthesis.formulas import amounts_of, parse_formula

    if isinstance(item, str) and not Path(item).exists():
        try:
            parse_formula(item)
            yield item
        except InputError as error:
            yield Failure("recipe", str(error), item)
        return
    try:
        found = read(item, quiet)
    except InvdesignError as error:
        yield Failure("recipe", str(error), str(item))
        return
    for crystal in found:
        yield crystal if isinstance(crystal, Failure) else amounts_of(crystal.numbers)


def run_recipes(formulas: Iterable[str]) -> dict[str, Any]:
    """The entry `recipes` of `run.json`: formula to how it might be made; empty where the table is missing."""
    from invdesign.errors import ReferenceMissingError
    from invdesign.synthesis.suggestion import suggest

    try:
        return {formula: suggest(formula, k=3).to_dict() for formula in dict.fromkeys(formulas)}
    except ReferenceMissingError:
        return {}


def lines(found: Synthesis | Failure) -> list[str]:
    """What `invdesign recipe` prints of one compound."""
    if isinstance(found, Failure):
        return [found.reason if found.item in found.reason else f"{found.item}: {found.reason}"]
    known = f"{found.known} published recipes" if found.known else "no published recipe of this compound"
    text = [f"{found.formula}: {known}", *_score(found)]
    if found.no_evidence:
        text.append(f"  no evidence: {found.no_evidence}")
    for place, route in enumerate(found.routes, 1):
        text.append(f"  {place}. {' + '.join(route.precursors)} ({percent(route.share)})")
        text.append(f"     {route.reaction or 'gives it in no amounts'}{route.note and f' ({route.note})'}")
    if not found.no_evidence:
        text.append(f"  method: {', '.join(f'{name} {percent(share)}' for name, share in found.methods)}")
        text.append(f"  firing ({found.method}): {firing(found)}")
    text += [f"  near: {_cited(near)}" for near in found.to_dict()["nearest"]]
    return text


def _score(found: Synthesis) -> list[str]:
    """The score of synthesizability; nothing for what has been made, or where it was not computed."""
    from invdesign.synthesis.synthesizability import in_words

    if found.known or found.score is None:
        return []  # it has been made
    return [f"  synthesizability: {in_words(found.score)}"]


def firing(found: Synthesis) -> str:
    """Temperature, time and gases in words."""
    at = found.conditions
    if at is None or math.isnan(at.temperature):
        return "not stated"
    parts = [f"{at.temperature:.0f} °C (half of the recipes near it: {at.low:.0f} to {at.high:.0f})"]
    parts += [] if math.isnan(at.hours) else [f"{at.hours:.3g} h"]
    parts += [", ".join(f"{gas} {percent(share)}" for gas, share in at.atmospheres[:3])] if at.atmospheres else []
    return "; ".join(parts)


def _cited(near: Mapping[str, Any]) -> str:
    at = "" if near["temperature"] is None else f", {near['temperature']:.0f} °C"
    made = " + ".join(near["precursors"])
    source = f"https://doi.org/{near['doi']}" if near["doi"].startswith("10.") else near["doi"]
    return f"{near['formula']} from {made}, {near['method']}{at}, {source}"
