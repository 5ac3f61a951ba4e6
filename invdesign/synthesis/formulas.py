"""Formulas of targets and precursors as amounts of elements: read, brought to one form, written.

Recipes hold solid solutions (`La0.8Sr0.2MnO3`), hydrates (`Fe(NO3)3·9H2O`) and typography (`₂`, `⋅`), so
amounts are real numbers, and two formulas are the same substance if their atomic fractions agree to three
decimals after the water of hydration is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache

from invdesign.chemistry.element_features import element_features
from invdesign.elements import SYMBOLS, atomic_number
from invdesign.errors import InputError

Amounts = Mapping[str, float]
"""Symbol of the element to its amount."""
Key = tuple[tuple[str, float], ...]
"""Atomic fractions to three decimals, sorted by symbol: what tells substances apart."""

GASEOUS = frozenset({"H", "O", "N"})
"""Elements that an atmosphere can bring or take, so that no precursor need hold them."""
VOLATILE = frozenset({"H", "C", "N", "O", "F", "Cl", "Br", "I", "S"})
"""Elements that may leave with the gas when a precursor decomposes (carbonates, nitrates, chlorides, sulfates)."""
DIGITS = 3
_LARGEST_FACTOR = 4
_TYPOGRAPHY = str.maketrans(
    "₀₁₂₃₄₅₆₇₈₉⋅•∙․‧×∗[]{}–−", "0123456789·····**()()--"
)  # dots of hydrates, subscripts, brackets
_HYDRATE = re.compile(r"[·*]\s*\(?\s*(?P<n>[0-9]*\.?[0-9]*|[nxyz])\s*\(?H2O\)?(?:[0-9.]*|[nxyz])\)?$")
_DOT = re.compile(r"\.(?=(?:[0-9]*|[nxyz])H2O\)?$)")


def parse_formula(text: str) -> dict[str, float]:
    """The amounts of the elements in a formula, its water of hydration left out.

    Args:
        text: such as `LiNi0.5Mn1.5O4`, `Ca3(PO4)2`, `Co(NO3)2·6H2O`, `0.9BaTiO3-0.1BiFeO3`.

    Returns:
        Symbol to amount, as written (not reduced).

    Raises:
        InputError: if it is no formula: unknown symbols, variables such as `x`, nothing at all.
    """
    from pymatgen.core import Composition

    cleaned = without_water("".join(text.translate(_TYPOGRAPHY).split()))
    try:
        total: dict[str, float] = {}
        for factor, piece in _pieces(cleaned):
            for name, amount in Composition(piece, strict=True).get_el_amt_dict().items():
                total[name] = total.get(name, 0.0) + factor * float(amount)
    except (ValueError, KeyError, TypeError, ZeroDivisionError):
        total = {}
    if not total or not set(total) <= set(SYMBOLS) or min(total.values()) <= 0.0:
        raise InputError("formula", text, "a formula with numbers only, such as BaTiO3 or La0.8Sr0.2MnO3")
    return total


def without_water(text: str) -> str:
    """A formula without its water of hydration (`·6H2O`, `·xH2O`); pure water stays."""
    return _HYDRATE.sub("", text if "·" in text else _DOT.sub("·", text))


def _pieces(text: str) -> Iterable[tuple[float, str]]:
    """Factor and formula of each part of a solid solution: `0.9BaTiO3-0.1BiFeO3`."""
    for part in re.split(r"[-·]", text):
        match = re.fullmatch(r"(?P<n>[0-9]+\.?[0-9]*|\.[0-9]+)?(?P<rest>[(A-Z].*)", part)
        if match is None:
            raise ValueError(part)
        yield float(match["n"] or 1.0), match["rest"]


def key_of(amounts: Amounts) -> Key:
    """Atomic fractions to three decimals."""
    total = math.fsum(amounts.values())
    return tuple((name, round(amount / total, DIGITS)) for name, amount in sorted(amounts.items()))


def precursor_key(amounts: Amounts) -> Key:
    """What tells precursors apart: `key_of`, but one key for all nitrates, and one for all acetates, of a metal.

    Texts name such salts without their charge ("nickel nitrate"), and the published recipes hold guesses such as
    `Ni(NO3)3` and `Mn(NO3)7`; basic salts and misread water fall under the same key.
    """
    salt = set(amounts) & {"H", "C", "N", "O"}
    metals = set(amounts) - salt
    if len(metals) == 1 and "O" in salt:
        (metal,) = metals
        if "C" not in salt and "N" in salt and amounts["O"] / amounts["N"] >= 2.9:
            return ((metal, 1.0), ("nitrate", 1.0))
        if "N" not in salt and {"C", "H"} <= salt and abs(amounts["H"] / amounts["C"] - 1.5) < 0.01:
            return ((metal, 1.0), ("acetate", 1.0))
    return key_of(amounts)


def amounts_of(numbers: Iterable[int]) -> dict[str, float]:
    """Amounts of the elements in a cell, given by the atomic number of each atom, in lowest integers."""
    from invdesign.chemistry.composition import integer_composition

    return {SYMBOLS[z - 1]: float(n) for z, n in integer_composition(numbers).items()}


def written(amounts: Amounts) -> str:
    """The formula of some amounts: lowest integers where they are small, else decimals; cations first.

    Elements stand in order of electronegativity: `La0.8Sr0.2MnO3` becomes `Sr0.2La0.8MnO3`, `Li2CO3` stays.
    """
    scaled = _scaled(tuple(sorted(amounts.items())))
    order = sorted(scaled, key=_place)
    return "".join(name + _count(scaled[name]) for name in order)


@lru_cache(maxsize=65_536)
def _scaled(amounts: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """Amounts in lowest integers if a small factor makes them integers, else as they are."""
    for n in range(1, _LARGEST_FACTOR + 1):
        tried = [amount * n for _, amount in amounts]
        whole = [round(value) for value in tried]
        if min(whole) > 0 and max(abs(value - near) for value, near in zip(tried, whole, strict=True)) < 1e-3:
            divisor = math.gcd(*whole)
            return {name: float(near // divisor) for (name, _), near in zip(amounts, whole, strict=True)}
    return dict(amounts)


@cache
def _place(name: str) -> tuple[float, str]:
    """Where an element stands in a formula."""
    return float(element_features().column("en_pauling")[atomic_number(name)]), name


def _count(amount: float) -> str:
    return "" if abs(amount - 1.0) < 5e-4 else f"{round(amount, DIGITS):g}"


def sources(amounts: Amounts) -> frozenset[str]:
    """Elements of a target that a precursor must bring: all but those that a gas can bring.

    A target of such elements alone (ice, ammonium nitrate) has none.
    """
    return frozenset(amounts) - GASEOUS


def fraction_row(amounts: Amounts, symbols: Sequence[str] = SYMBOLS) -> list[float]:
    """Atomic fractions in the order of `symbols`."""
    total = math.fsum(amounts.values())
    return [amounts.get(name, 0.0) / total for name in symbols]
