"""What a person asks for: targets, elements, symmetry, a component, a count. Checked when it is made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from invdesign.elements import SYMBOLS, atomic_number
from invdesign.errors import ConflictError, InputError
from invdesign.properties import LOAD, check_load, get_property, property_in, register

CRYSTAL_SYSTEMS: dict[str, range] = {
    "triclinic": range(1, 3),
    "monoclinic": range(3, 16),
    "orthorhombic": range(16, 75),
    "tetragonal": range(75, 143),
    "trigonal": range(143, 168),
    "hexagonal": range(168, 195),
    "cubic": range(195, 231),
}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FORMS = (
    (re.compile(rf"^(\w+)\s*>=\s*({_NUMBER})$"), "min"),
    (re.compile(rf"^(\w+)\s*<=\s*({_NUMBER})$"), "max"),
    (re.compile(rf"^(\w+)\s*=\s*({_NUMBER})\s*\.\.\s*({_NUMBER})$"), "range"),
    (re.compile(rf"^(\w+)\s*=\s*({_NUMBER})$"), "value"),
    (re.compile(r"^(\w+)\s*=\s*(max|min)$"), "extreme"),
)


@dataclass(frozen=True)
class Target:
    """One wish for one property, in the property's unit.

    Attributes:
        name: the property's key.
        low: smallest accepted value (None: no lower bound).
        high: largest accepted value (None: no upper bound).
        goal: `"max"` or `"min"` where an extreme is wanted, otherwise `""`.
    """

    name: str
    low: float | None = None
    high: float | None = None
    goal: str = ""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read `name>=v`, `name<=v`, `name=v` (within 10 %), `name=lo..hi`, `name=max` or `name=min`.

        Raises:
            InputError: if the form, the property or a value is not valid.
        """
        for pattern, form in _FORMS:
            match = pattern.match(str(text).strip())
            if match:
                return cls._from_match(form, match.groups())
        raise InputError("target", text, "name>=v, name<=v, name=v, name=lo..hi, name=max, name=min")

    @classmethod
    def _from_match(cls, form: str, parts: Sequence[str]) -> Target:
        name = get_property(parts[0]).name
        if form == "extreme":
            return cls(name, goal=parts[1])
        values = [_in_range(name, float(part)) for part in parts[1:]]
        if form == "min":
            return cls(name, low=values[0])
        if form == "max":
            return cls(name, high=values[0])
        if form == "range":
            if values[0] > values[1]:
                raise InputError(f"target {name}", f"{parts[1]}..{parts[2]}", "lower bound first")
            return cls(name, values[0], values[1])
        margin = 0.1 * abs(values[0]) or 0.05
        return cls(name, values[0] - margin, values[0] + margin)

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
        prop = get_property(self.name)
        beyond = 1.2 if prop.log else 1.0
        if self.low is not None:
            return min(self.low * beyond, prop.high)
        return None if self.high is None else max(self.high / beyond, prop.low)

    def holds(self, value: float) -> bool:
        """Whether a value satisfies the bounds."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        """The target in the form that `parse` reads."""
        if self.goal:
            return f"{self.name}={self.goal}"
        if self.high is None:
            return f"{self.name}>={self.low:g}"
        if self.low is None:
            return f"{self.name}<={self.high:g}"
        return f"{self.name}={self.low:g}..{self.high:g}"


def _in_range(name: str, value: float) -> float:
    prop = get_property(name)
    if not prop.low <= value <= prop.high:
        raise InputError(f"target {name}", value, f"{prop.low:g} to {prop.high:g} {prop.unit}".strip())
    return value


SEARCHES = ("evolution", "optuna", "none")
"""How a run looks for candidates."""


@dataclass(frozen=True)
class Query:
    """A design query.

    Attributes:
        targets: wishes, as `Target` or text such as `"bulk_modulus>=250"`.
        elements: symbols that may be used (empty: all).
        required: symbols that must be used.
        exclude: symbols that must not be used.
        chemical_system: symbols, exactly these and subsets of them, e.g. `"Ti-B-N"` (empty: any).
        space_group: a number, or the name of a crystal system (None: any).
        max_sites: largest number of atoms in the primitive cell.
        generator: `vae`, `gan`, `substitution`, `random` or `mixture`.
        component: name of a component in `configs/components`, for the ranking (None: targets only).
        n: number of candidates wanted.
        max_energy_above_hull: stability limit, eV/atom.
        relaxations: budget of relaxations.
        search: `evolution` (search among candidates, generators asked with fixed settings), `optuna` (the same
            with the generators' settings tuned as the run goes on) or `none` (conditioned sampling alone).
        surrogates: files of custom properties, which targets may then name.
        hardness_load: load of the Vickers hardness, 0.05 to 50 N.

    Raises:
        InputError, ConflictError: on construction, if a value is not valid or two contradict each other.
    """

    targets: tuple[Target, ...] = ()
    elements: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    chemical_system: str = ""
    space_group: int | str | None = None
    max_sites: int = 20
    generator: str = "vae"
    component: str | None = None
    n: int = 20
    max_energy_above_hull: float = 0.1
    relaxations: int = 220
    search: str = "evolution"
    surrogates: tuple[str, ...] = ()
    hardness_load: float = LOAD

    def __init__(
        self,
        targets: Sequence[str | Target] = (),
        elements: Sequence[str] = (),
        required: Sequence[str] = (),
        exclude: Sequence[str] = (),
        chemical_system: str = "",
        space_group: int | str | None = None,
        max_sites: int = 20,
        generator: str = "vae",
        component: str | None = None,
        n: int = 20,
        max_energy_above_hull: float = 0.1,
        relaxations: int = 220,
        search: str | None = "evolution",
        surrogates: Sequence[str] = (),
        hardness_load: float = LOAD,
    ) -> None:
        """Normalise and check every field; see the class for their meaning."""
        files = _registered(surrogates)
        wishes = _list("targets", targets, "bulk_modulus>=250")
        parsed = tuple(t if isinstance(t, Target) else Target.parse(t) for t in wishes)
        values: dict[str, object] = {
            "targets": parsed,
            "elements": _symbols("elements", elements),
            "required": _symbols("required", required),
            "exclude": _symbols("exclude", exclude),
            "chemical_system": "-".join(_symbols("chemical_system", chemical_system)),
            "space_group": _space_group(space_group),
            "max_sites": _positive("max_sites", max_sites, 40),
            "generator": str(generator),
            "component": component,
            "n": _positive("n", n, 100_000),
            "max_energy_above_hull": _hull_limit(max_energy_above_hull),
            "relaxations": _positive("relaxations", relaxations, 10_000_000),
            "search": _search(search),
            "surrogates": files,
            "hardness_load": check_load(hardness_load),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check_contradictions()

    def _check_contradictions(self) -> None:
        for name in {t.name for t in self.targets}:
            mine = [t for t in self.targets if t.name == name]
            low = max((t.low for t in mine if t.low is not None), default=-math.inf)
            high = min((t.high for t in mine if t.high is not None), default=math.inf)
            if low > high:
                raise ConflictError(
                    f"targets on {name} contradict each other: at least {low:g} and at most {high:g}"
                )
            if {"max", "min"} <= {t.goal for t in mine}:
                raise ConflictError(f"targets on {name} contradict each other: highest and lowest")
        for symbol in (*self.required, *_split(self.chemical_system)):
            if symbol in self.exclude:
                raise ConflictError(f"element {symbol} is both wanted and excluded")
        allowed = self.allowed_elements
        if not allowed:
            raise ConflictError("no element is left: every allowed element is excluded")
        for symbol in self.required:
            if symbol not in allowed:
                raise ConflictError(f"element {symbol} is required but not among the allowed elements")
        if len(self.required) > self.max_sites:
            raise ConflictError(f"{len(self.required)} elements are required of at most {self.max_sites} atoms")

    @property
    def allowed_elements(self) -> tuple[str, ...]:
        """Symbols that a candidate may contain."""
        allowed = set(self.elements or SYMBOLS)
        if self.chemical_system:
            allowed &= set(_split(self.chemical_system))
        return tuple(s for s in SYMBOLS if s in allowed and s not in self.exclude)

    @property
    def named_elements(self) -> frozenset[str]:
        """Symbols that the query asks for by name, as allowed, as required, or in its chemical system."""
        return frozenset((*self.elements, *self.required, *_split(self.chemical_system)))

    @property
    def space_groups(self) -> frozenset[int] | None:
        """The allowed space group numbers, or None for all."""
        if self.space_group is None:
            return None
        if isinstance(self.space_group, int):
            return frozenset([self.space_group])
        return frozenset(CRYSTAL_SYSTEMS[self.space_group])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON and YAML types; `Query.from_dict` reads it back."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        plain["targets"] = [str(t) for t in self.targets]
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Query:
        """Make a query from a mapping such as a YAML file's.

        Raises:
            InputError: if a key is unknown or a value is not valid.
        """
        known = [f.name for f in fields(cls)]
        for key in data:
            if key not in known:
                raise InputError("query key", key, known)
        return cls(**dict(data))

    def in_words(self) -> str:
        """The query as one English sentence, for reports."""
        parts = [_words(t) for t in self.targets] or ["no target property"]
        where = []
        if self.chemical_system:
            where.append(f"within {self.chemical_system}")
        if self.elements:
            where.append("from " + ", ".join(self.elements))
        if self.required:
            where.append("containing " + ", ".join(self.required))
        if self.exclude:
            where.append("without " + ", ".join(self.exclude))
        if self.space_group is not None:
            kind = "space group" if isinstance(self.space_group, int) else "crystal system"
            where.append(f"in {kind} {self.space_group}")
        load = f", hardness at {self.hardness_load:g} N" if self.hardness_load != LOAD else ""
        use = f", for a {self.component.replace('_', ' ')}" if self.component else ""
        rest = f"within {self.max_energy_above_hull:g} eV/atom of the convex hull{use}{load}"
        return f"{self.n} crystals with {' and '.join(parts)}{''.join(' ' + w for w in where)}, {rest}."


def _words(target: Target) -> str:
    prop = get_property(target.name)
    unit = f" {prop.unit}" if prop.unit else ""
    if target.goal:
        return f"{'highest' if target.goal == 'max' else 'lowest'} {prop.label}"
    if target.high is None:
        return f"{prop.label} of at least {target.low:g}{unit}"
    if target.low is None:
        return f"{prop.label} of at most {target.high:g}{unit}"
    return f"{prop.label} from {target.low:g} to {target.high:g}{unit}"


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[-,\s]+", text.strip()) if part]


def _symbols(field_name: str, symbols: Sequence[str] | str) -> tuple[str, ...]:
    if isinstance(symbols, str):
        symbols = _split(symbols)
    unique = dict.fromkeys(str(s).strip() for s in _list(field_name, symbols, "Ti"))
    for symbol in unique:
        try:
            atomic_number(symbol)
        except InputError:
            hint = " (YAML reads No as false: write 'No')" if symbol == "False" else ""
            allowed = f"a chemical symbol such as Ti, W or N{hint}"
            raise InputError(f"element in {field_name}", symbol, allowed) from None
    return tuple(unique)


def _registered(surrogates: Sequence[str]) -> tuple[str, ...]:
    """Full paths of files of custom properties, their properties made known."""
    given = (surrogates,) if isinstance(surrogates, str) else _list("surrogates", surrogates, "my.safetensors")
    paths = [Path(str(path)).absolute() for path in given]
    for path in paths:
        register(property_in(path))
    return tuple(dict.fromkeys(map(str, paths)))


def _list(field_name: str, value: object, example: str) -> Sequence[Any]:
    if value is None:
        return ()
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(value)
    raise InputError(field_name, value, f'a list such as ["{example}"]')


def _space_group(value: int | str | None) -> int | str | None:
    if value is None or value == "":
        return None
    text = str(value).strip().lower()
    if text.isdigit() and 1 <= int(text) <= 230:
        return int(text)
    if text in CRYSTAL_SYSTEMS:
        return text
    raise InputError("space_group", value, "1 to 230, or " + ", ".join(CRYSTAL_SYSTEMS))


def _positive(name: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(name, value, f"a whole number from 1 to {most}")
    return value


def _hull_limit(value: object) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0.0 <= value <= 5.0:  # type: ignore[operator]
        raise InputError("max_energy_above_hull", value, "0 to 5 eV/atom")
    return float(value)  # type: ignore[arg-type]


def _search(value: str | None) -> str:
    if value is None:
        return "none"
    if value in SEARCHES:
        return value
    raise InputError("search", value, ", ".join(SEARCHES))
