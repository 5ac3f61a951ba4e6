"""Checks of single arguments, each with one clear line: which one, its value, what is allowed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from invdesign.errors import InputError

_SIGNS = str.maketrans(
    {"≥": ">=", "≤": "<=", "−": "-", "–": "-", "‐": "-", "‑": "-", "…": "..", "³": "3", "²": "2"}
    | {chr(0x2080 + digit): str(digit) for digit in range(10)}
)


_UNITS = {"√m": "m0.5", "½": "0.5", "^1/2": "0.5", "^(1/2)": "0.5", "10⁻⁶": "1e-6", "10^-6": "1e-6", "ppm": "1e-6"}


def plain_signs(text: str) -> str:
    """A text with the signs that keyboards have in the place of typographic ones: `≥`, `−`, `…`, `₂`."""
    return text.translate(_SIGNS)


def plain_unit(text: str) -> str:
    """A unit in one spelling, to be compared: `W/(m·K)` is `w/mk`, `MPa√m` is `mpam0.5`."""
    plain = plain_signs(text).lower()
    for sign, spelled in _UNITS.items():
        plain = plain.replace(sign, spelled)
    return "".join(c for c in plain if c not in " ·*^()[]")


def whole(name: str, value: object, least: int = 1, most: int | None = None) -> int:
    """A whole number within bounds.

    Raises:
        InputError: if it is none.
    """
    allowed = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InputError(name, value, allowed)
    number = int(value.__index__())
    if number < least or (most is not None and number > most):
        raise InputError(name, value, allowed)
    return number


def number(name: str, value: object, low: float, high: float, unit: str = "") -> float:
    """A finite number within bounds.

    Raises:
        InputError: if it is none.
    """
    found = _finite(value)
    if not low <= found <= high:
        raise InputError(name, value, f"{low:g} to {high:g} {unit}".rstrip())
    return found


def whole_range(name: str, value: object, least: int, most: int) -> tuple[int, int]:
    """Two whole numbers, from `3`, `"3"`, `"2..4"` or `(2, 4)`.

    Raises:
        InputError: if they are none, out of bounds or in the wrong order.
    """
    allowed = f"a whole number such as {least + 1} or a range such as {least}..{least + 2}, from {least} to {most}"
    parts = plain_signs(value.strip()).split("..") if isinstance(value, str) else value
    ends: list[Any] = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    if len(ends) not in (1, 2):
        raise InputError(name, value, allowed)
    try:
        low, high = (whole(name, int(e) if isinstance(e, str) else e, least, most) for e in (ends[0], ends[-1]))
    except (ValueError, InputError):
        raise InputError(name, value, allowed) from None
    if low > high:
        raise InputError(name, value, "the lower number first")
    return low, high


def text(name: str, value: object, allowed: str = "a name, as text") -> str:
    """A text that is not empty.

    Raises:
        InputError: if it is none.
    """
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise InputError(name, value, allowed)
    return str(value)


def items(name: str, value: object, example: str) -> tuple[Any, ...]:
    """The items of a list; nothing is an empty one.

    Raises:
        InputError: if it is no list.
    """
    if value is None:
        return ()
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(value)
    raise InputError(name, value, f'a list such as ["{example}"]')


def yes_or_no(name: str, value: object) -> bool:
    """True or false.

    Raises:
        InputError: if it is neither.
    """
    if not isinstance(value, bool):
        raise InputError(name, value, "true or false")
    return value


def _finite(value: Any) -> float:
    """A finite number; NaN for whatever is none, or is too large for one."""
    if not hasattr(value, "__float__") or isinstance(value, (bool, str)):
        return math.nan
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def _is_number(value: object) -> bool:
    return not math.isnan(_finite(value))


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (lambda value: hasattr(value, "__index__") and not isinstance(value, bool), "a whole number"),
    "float": (_is_number, "a finite number"),
    "str": (lambda value: isinstance(value, str), "text"),
    "tuple[float, ...]": (
        lambda value: isinstance(value, (list, tuple)) and all(map(_is_number, value)),
        "finite numbers in a list",
    ),
}
"""What a field of a record may hold by its annotation, and in words."""


def check_types(settings: Any) -> None:
    """Check that the fields of a dataclass of settings hold what they are annotated with.

    Args:
        settings: a record whose annotations are text (`from __future__ import annotations`); those that `_KINDS`
            does not name are not looked at.

    Raises:
        InputError: naming the first field that does not, its value and what is allowed.
    """
    for each in dataclasses.fields(settings):
        fits, allowed = _KINDS.get(str(each.type), (lambda _: True, ""))
        if not fits(value := getattr(settings, each.name)):
            raise InputError(each.name, value, allowed)
