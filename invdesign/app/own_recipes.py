"""A user's own recipes: read out of text, written as JSON, read back for `invdesign recipe --own`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import InputError
from invdesign.records import Failure

if TYPE_CHECKING:
    from invdesign.synthesis.precursors import PrecursorModel
    from invdesign.synthesis.recipe import Recipe

LARGEST = 5_000_000
"""Bytes of a file that are read."""


def read_recipes(path: str | Path) -> tuple[list[Recipe], list[Failure]]:
    """Recipes of a text file whose paragraphs are parted by empty lines.

    Args:
        path: plain text in UTF-8.

    Returns:
        the recipes, and a failure for each paragraph that gave none.

    Raises:
        InputError: if the file cannot be read, or holds no recipe.
    """
    from invdesign.synthesis.reader import read_text

    recipes, without = read_text(_text(Path(path), "text"), Path(path).name)
    if not recipes:
        allowed = "paragraphs that name a target and its precursors, such as: BaTiO3 was made from BaCO3 and TiO2"
        raise InputError("text", str(path), allowed)
    return recipes, [Failure("recipe", reason, str(path)) for reason in without]


def own_recipes(path: str | Path) -> list[Recipe]:
    """Recipes of a JSON file as `invdesign recipe --from` writes it, possibly corrected by hand.

    Raises:
        InputError: if it cannot be read, or one of them lacks something.
    """
    from invdesign.synthesis.reader import of_dict

    try:
        given = json.loads(_text(Path(path), "own recipes"))
    except ValueError as error:
        raise InputError("own recipes", str(path), f"a JSON file ({error})") from None
    if not isinstance(given, list) or not given:
        raise InputError("own recipes", str(path), "a list of recipes, as `invdesign recipe --from` writes it")
    return [of_dict(each) for each in given]


def model_with(path: str | Path) -> PrecursorModel:
    """What is learnt from the published recipes and those of a file together.

    Raises:
        InputError: as `own_recipes`.
        ReferenceMissingError: if the table of published recipes is missing.
    """
    from invdesign.synthesis.cleaning import canonical
    from invdesign.synthesis.precursors import PrecursorModel
    from invdesign.synthesis.published import Recipes, load_recipes

    own = tuple(canonical(each) for each in own_recipes(path))
    return PrecursorModel(Recipes(load_recipes().rows + own))


def lines(recipe: Recipe) -> list[str]:
    """What is printed of one recipe: what was read, step by step."""
    text = [f"{recipe.target} from {' + '.join(recipe.precursors)} ({recipe.method}; {recipe.source})"]
    for place, step in enumerate(recipe.operations, 1):
        at = "" if step.temperature is None else f" {step.temperature:.0f} °C"
        hours = "" if step.hours is None else f" {step.hours:.3g} h"
        gas = f" in {step.atmosphere}" if step.atmosphere else ""
        text.append(f"  {place}. {step.word or step.kind}{at}{hours}{gas}")
    return text


def plain(recipes: list[Recipe]) -> list[dict[str, Any]]:
    """The recipes in plain types, as the file of `--own` has them."""
    from invdesign.synthesis.reader import to_dict

    return [to_dict(each) for each in recipes]


def _text(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(what, str(path), f"a file of at most {LARGEST // 1_000_000} MB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(what, str(path), f"a file in UTF-8 that can be read ({error})") from None
