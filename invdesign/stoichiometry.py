"""Formulas as people write them: `TiAlN2`, `Ca3(PO4)2`, and without elements `ABX3`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from invdesign.checks import plain_signs
from invdesign.elements import SYMBOLS
from invdesign.errors import InputError

_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*)|(\()|(\))(\d*)")
_LARGEST = 1000


def parse_formula(text: object) -> dict[str, int]:
    """Atoms of each element in a formula unit, reduced: `Ti2Al2N4` is Ti 1, Al 1, N 2.

    Raises:
        InputError: if it is no formula of whole numbers.
    """
    counts = _counts("formula", text, "a formula such as TiAlN2 or Ca3(PO4)2")
    for symbol in counts:
        if symbol not in SYMBOLS:
            raise InputError(f"element in formula {text}", symbol, "a chemical symbol such as Ti, W or N")
    return reduced(counts)


def parse_anonymous(text: object) -> tuple[int, ...]:
    """The stoichiometry of an anonymous formula, ascending and reduced: `ABX3` is (1, 1, 3).

    Raises:
        InputError: if it is no formula of single capital letters and whole numbers.
    """
    allowed = "letters for elements and whole numbers, such as AB2 or ABX3"
    counts = _counts("anonymous_formula", text, allowed)
    if any(len(letter) > 1 for letter in counts):
        raise InputError("anonymous_formula", text, allowed)
    return tuple(sorted(reduced(counts).values()))


def anonymous_formula(counts: Iterable[int]) -> str:
    """The stoichiometry with letters in its place, fewest atoms first: (3, 1, 1) is `ABC3`."""
    ordered = sorted(counts)
    return "".join(f"{chr(65 + k)}{n if n > 1 else ''}" for k, n in enumerate(ordered))


def reduced(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts divided by their greatest common divisor."""
    divisor = math.gcd(*counts.values())
    return {name: count // divisor for name, count in counts.items()}


def _counts(what: str, text: object, allowed: str) -> dict[str, int]:
    """Atoms by name in the text of a formula, brackets resolved."""
    plain = re.sub(r"[\s_]", "", plain_signs(text)) if isinstance(text, str) else ""
    levels: list[Counter[str]] = [Counter()]
    position = 0
    while position < len(plain):
        match = _TOKEN.match(plain, position)
        if match is None:
            raise InputError(what, text, allowed)
        name, count, opened, closed, multiple = match.groups()
        if opened:
            levels.append(Counter())
        elif closed:
            if len(levels) < 2:
                raise InputError(what, text, allowed)
            inner = levels.pop()
            if not inner:
                raise InputError(what, text, allowed)
            for symbol, number in inner.items():
                levels[-1][symbol] += number * int(multiple or 1)
        else:
            levels[-1][name] += int(count or 1)
        position = match.end()
    found = dict(levels[0])
    if len(levels) != 1 or not found or not all(0 < n <= _LARGEST for n in found.values()):
        raise InputError(what, text, allowed)
    return found
