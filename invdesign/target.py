"""One wish for one property: a bound, a range or an extreme."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from invdesign.checks import plain_signs, plain_unit
from invdesign.errors import InputError
from invdesign.properties import SHIPPED, Property, get_property

FORMS = "name>=v, name<=v, name=v, name=lo..hi, name=max, name=min"
"""What `Target.parse` reads."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NAME, _UNIT = r"(?P<name>\w[\w -]*?)\s*", r"\s*(?P<unit>[A-Za-z][^=<>,;]*|%)?"
_PATTERNS = (
    (re.compile(rf"{_NAME}>=\s*({_NUMBER}){_UNIT}"), "min"),
    (re.compile(rf"{_NAME}<=\s*({_NUMBER}){_UNIT}"), "max"),
    (re.compile(rf"{_NAME}=\s*({_NUMBER})\s*\.\.\s*({_NUMBER}){_UNIT}"), "range"),
    (re.compile(rf"{_NAME}=\s*({_NUMBER}){_UNIT}"), "value"),
    (re.compile(rf"{_NAME}=\s*(max|min)(?P<unit>)", re.IGNORECASE), "extreme"),
)
_SHIPPED = Property("", "", 0.0, 0.0, False, "", "", False)
"""Stands for the shipped property of the target's name."""


@dataclass(frozen=True)
class Target:
    """One wish for one property, in the property's unit.

    Attributes:
        name: the property's key.
        low: smallest accepted value (None: no lower bound).
        high: largest accepted value (None: no upper bound).
        goal: `"max"` or `"min"` where an extreme is wanted, otherwise `""`.
        prop: the property itself; to be given for a custom property only.

    Raises:
        InputError: on construction, if there is no such property or a value is not valid.
    """

    name: str
    low: float | None = None
    high: float | None = None
    goal: str = ""
    prop: Property = field(default=_SHIPPED, repr=False)

    def __post_init__(self) -> None:
        """Find the property and check the values."""
        if self.prop is _SHIPPED:
            object.__setattr__(self, "prop", get_property(self.name))
        if self.goal not in ("", "max", "min"):
            raise InputError(f"target {self.name}: goal", self.goal, "max, min")
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        for bound in bounds:
            _check_bound(self.prop, bound)
        if bool(bounds) == bool(self.goal):
            raise InputError("target", self.name, f"a bound or an extreme, such as {self.name}>=v ({FORMS})")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise InputError(f"target {self.name}", f"{self.low:g}..{self.high:g}", "lower bound first")

    @classmethod
    def parse(cls, text: str, known: Mapping[str, Property] = SHIPPED) -> Target:
        """Read `name>=v`, `name<=v`, `name=v` (within 10 %), `name=lo..hi`, `name=max` or `name=min`.

        The property's own unit may follow the number.

        Args:
            text: one wish.
            known: the properties that it may name (`invdesign.properties.known_properties` adds custom ones).

        Raises:
            InputError: if the form, the property or a value is not valid.
        """
        form, name, parts, unit = split(text)
        prop = get_property(name, known)
        if unit and plain_unit(unit) != plain_unit(prop.unit):
            raise InputError(f"unit of target {prop.name}", unit, prop.unit or "a number without a unit")
        if form == "extreme":
            return cls(prop.name, goal=parts[0], prop=prop)
        values = [float(part) for part in parts]
        if form == "min":
            return cls(prop.name, low=values[0], prop=prop)
        if form == "max":
            return cls(prop.name, high=values[0], prop=prop)
        if form == "range":
            return cls(prop.name, values[0], values[1], prop=prop)
        return cls(prop.name, *_around(prop, values[0]), prop=prop)

    @property
    def aim(self) -> float | None:
        """A single value to condition a generator on: the middle of a range, a fifth beyond a bound.

        A fifth applies to properties modelled in log10, because samples scatter around what is asked for; with
        the others the bound itself is the aim.
        """
        if self.goal:
            return None
        if self.low is not None and self.high is not None:
            return 0.5 * (self.low + self.high)
        beyond = 1.2 if self.prop.log else 1.0
        if self.low is not None:
            return min(self.low * beyond, self.prop.high)
        return None if self.high is None else max(self.high / beyond, self.prop.low)

    def holds(self, value: float) -> bool:
        """Whether a value satisfies the bounds."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        """The target in the form that `parse` reads."""
        if self.goal:
            return f"{self.name}={self.goal}"
        if self.high is None:
            return f"{self.name}>={_exact(self.low)}"
        if self.low is None:
            return f"{self.name}<={_exact(self.high)}"
        return f"{self.name}={_exact(self.low)}..{_exact(self.high)}"

    def in_words(self) -> str:
        """The target as a phrase: `bulk modulus of at least 250 GPa`."""
        unit = f" {self.prop.unit}" if self.prop.unit else ""
        if self.goal:
            return f"{'highest' if self.goal == 'max' else 'lowest'} {self.prop.label}"
        if self.high is None:
            return f"{self.prop.label} of at least {self.low:g}{unit}"
        if self.low is None:
            return f"{self.prop.label} of at most {self.high:g}{unit}"
        return f"{self.prop.label} from {self.low:g} to {self.high:g}{unit}"


def split(text: object) -> tuple[str, str, Sequence[str], str]:
    """The form of a wish (`min`, `max`, `range`, `value`, `extreme`), the property's name, the values and the
    unit, if one is stated.

    Names may be written with capitals, spaces and hyphens: `Bulk modulus` is `bulk_modulus`.

    Raises:
        InputError: if it has none of the forms.
    """
    for pattern, form in _PATTERNS:
        match = pattern.fullmatch(plain_signs(text).strip()) if isinstance(text, str) else None
        if match:
            name, *values, unit = match.groups()
            return form, re.sub(r"[\s-]+", "_", name.lower()), [v.lower() for v in values], unit or ""
    raise InputError("target", text, FORMS)


def _around(prop: Property, value: float) -> tuple[float | None, float | None]:
    """The bounds of `name=v`: 10 % (0.05 at zero) to either side; none where the property itself ends."""
    _check_bound(prop, value)
    margin = 0.1 * abs(value) or 0.05
    low, high = (float(f"{value + way * margin:.12g}") for way in (-1.0, 1.0))
    if low < prop.low and high > prop.high:
        return prop.low, prop.high
    return (low if low >= prop.low else None), (high if high <= prop.high else None)


def _check_bound(prop: Property, value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not prop.low <= value <= prop.high:  # type: ignore[operator]
        raise InputError(f"target {prop.name}", value, f"{prop.low:g} to {prop.high:g} {prop.unit}".strip())


def _exact(value: float | None) -> str:
    """The shortest text that reads back as the same number."""
    assert value is not None
    return short if float(short := f"{value:g}") == value else repr(float(value))
