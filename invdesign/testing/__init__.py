"""Contract tests for parts, shipped so that one of your own is tested by one call.

    from invdesign.testing import check_generator
    for outcome in check_generator(MyGenerator()):
        print(outcome)

or `invdesign check mypackage.module:MyGenerator`. Each outcome is one promise of `invdesign.protocols`, kept or
broken with the reason. A promise is kept only by a part that delivers: one that yields failures alone, or always
says *unknown*, shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from invdesign.errors import InputError
from invdesign.testing.crystals import all_crystals, broken_crystals, good_crystals
from invdesign.testing.generators import check_generator
from invdesign.testing.outcome import Outcome
from invdesign.testing.relaxers import check_relaxer
from invdesign.testing.searchers import check_searcher
from invdesign.testing.surrogates import check_surrogate
from invdesign.testing.validators import check_validator

__all__ = [
    "CONTRACTS",
    "Outcome",
    "all_crystals",
    "broken_crystals",
    "check_generator",
    "check_relaxer",
    "check_searcher",
    "check_surrogate",
    "check_validator",
    "contract",
    "family_of",
    "good_crystals",
]

CONTRACTS: dict[str, Callable[[Any], list[Outcome]]] = {
    "generator": check_generator,
    "validator": check_validator,
    "surrogate": check_surrogate,
    "relaxer": check_relaxer,
    "searcher": check_searcher,
}
"""Family to contract."""
VERBS = {
    "generator": "propose",
    "validator": "check",
    "surrogate": "predict",
    "relaxer": "relax",
    "searcher": "ask",
}
"""Family to the method that makes a part one of it."""


def contract(family: str) -> Callable[[Any], list[Outcome]]:
    """The contract of a family.

    Raises:
        InputError: if there is no such family.
    """
    if family not in CONTRACTS:
        raise InputError("family", family, CONTRACTS)
    return CONTRACTS[family]


def family_of(part: object) -> str:
    """The family of a part, by the verb that it has.

    Raises:
        InputError: if it has none of them.
    """
    for family, verb in VERBS.items():
        if callable(getattr(part, verb, None)):
            return family
    *some, last = VERBS.values()
    raise InputError("part", type(part).__name__, f"a class with {', '.join(some)} or {last}")
