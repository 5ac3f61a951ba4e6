"""What a person asks for: targets, elements, symmetry, a component, a count. Checked when it is made."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from invdesign.elements import SYMBOLS, atomic_number
from invdesign.errors import ConflictError, InputError
from invdesign.properties import (
    LOAD,
    PROPERTIES,
    Property,
    check_custom_name,
    check_load,
    known_properties,
    unread_property,
)
from invdesign.target import Target
from invdesign.target import split as split_target

__all__ = ["CRYSTAL_SYSTEMS", "Query", "Target"]

CRYSTAL_SYSTEMS: dict[str, range] = {
    "triclinic": range(1, 3),
    "monoclinic": range(3, 16),
    "orthorhombic": range(16, 75),
    "tetragonal": range(75, 143),
    "trigonal": range(143, 168),
    "hexagonal": range(168, 195),
    "cubic": range(195, 231),
}


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
        generator: `vae`, `gan`, `substitution`, `random`, `mixture` (all of them), the name of an installed
            package's, `module:Class` or `file.py:Class`.
        validators: further validators, by the name of an installed package's, `module:Class` or `file.py:Class`.
        component: name of a component in `configs/components`, for the ranking (None: targets only).
        n: number of candidates wanted.
        max_energy_above_hull: stability limit, eV/atom.
        relaxations: budget of relaxations.
        search: `optuna`, or `none` for plain conditioned sampling.
        surrogates: files of custom properties, which targets may then name; they are read when a run starts.
        properties: what these files predict; a query that was given files alone gets it when they are read
            (`invdesign.engine.wishes.resolved`).
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
    validators: tuple[str, ...] = ()
    component: str | None = None
    n: int = 20
    max_energy_above_hull: float = 0.1
    relaxations: int = 220
    search: str = "optuna"
    surrogates: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
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
        validators: Sequence[str] = (),
        component: str | None = None,
        n: int = 20,
        max_energy_above_hull: float = 0.1,
        relaxations: int = 220,
        search: str | None = "optuna",
        surrogates: Sequence[str] = (),
        properties: Sequence[Property | Mapping[str, Any]] = (),
        hardness_load: float = LOAD,
    ) -> None:
        """Normalise and check every field; see the class for their meaning."""
        files, custom = _files(surrogates), _properties(properties)
        values: dict[str, object] = {
            "targets": _targets(targets, custom, files),
            "elements": _symbols("elements", elements),
            "required": _symbols("required", required),
            "exclude": _symbols("exclude", exclude),
            "chemical_system": "-".join(_symbols("chemical_system", chemical_system)),
            "space_group": _space_group(space_group),
            "max_sites": _positive("max_sites", max_sites, 40),
            "generator": _part("generator", generator),
            "validators": tuple(_part("validator", v) for v in _list("validators", validators, "mine:Check")),
            "component": None if component is None else _text("component", component),
            "n": _positive("n", n, 100_000),
            "max_energy_above_hull": _hull_limit(max_energy_above_hull),
            "relaxations": _positive("relaxations", relaxations, 10_000_000),
            "search": _search(search),
            "surrogates": files,
            "properties": custom,
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

    @property
    def known_properties(self) -> Mapping[str, Property]:
        """The shipped properties and the query's custom ones, by name."""
        return known_properties(self.properties)

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
        parts = [t.in_words() for t in self.targets] or ["no target property"]
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


def _files(surrogates: Sequence[str] | str) -> tuple[str, ...]:
    """Full paths of files of custom properties; nothing is read."""
    given = (surrogates,) if isinstance(surrogates, (str, Path)) else surrogates
    return tuple(dict.fromkeys(str(Path(str(p)).absolute()) for p in _list("surrogates", given, "my.safetensors")))


def _properties(given: object) -> tuple[Property, ...]:
    """Custom properties, from records or from their mappings."""
    found = []
    for item in _list("properties", given, "a Property"):
        try:
            prop = item if isinstance(item, Property) else Property(**item)
        except TypeError:
            raise InputError("properties", item, "a custom Property, or a mapping with its fields") from None
        check_custom_name(prop.name)
        found.append(prop)
    names = [prop.name for prop in found]
    for name in names:
        if names.count(name) > 1:
            raise ConflictError(f"two custom properties are named {name}; rename one and train it again")
    return tuple(found)


def _targets(given: object, custom: Sequence[Property], files: Sequence[str]) -> tuple[Target, ...]:
    """Wishes, whose properties are the shipped and the custom ones.

    As long as files have not been read, any further name may be that of their properties.
    """
    known, out = dict(known_properties(custom)), []
    for wish in _list("targets", given, "bulk_modulus>=250"):
        if isinstance(wish, Target):
            out.append(_with_property(wish, known))
            continue
        name = split_target(wish)[1][0]
        if files and not custom and name not in known:
            known[name] = unread_property(name)
        out.append(Target.parse(wish, known))
    return tuple(out)


def _with_property(target: Target, known: Mapping[str, Property]) -> Target:
    """The target with the record of its property that travels with the query."""
    if target.name in PROPERTIES or known.get(target.name, target.prop) == target.prop:
        return target
    return replace(target, prop=known[target.name])


def _part(family: str, value: object) -> str:
    """The name of a part; that of a class in a file with the file's full path."""
    text = _text(family, value)
    file, colon, attribute = text.rpartition(":")
    return f"{Path(file).absolute()}:{attribute}" if colon and file.endswith(".py") else text


def _text(name: str, value: object) -> str:
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise InputError(name, value, "a name, as text")
    return str(value)


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
    if value in (None, "none"):
        return "none"
    if value == "optuna":
        return "optuna"
    raise InputError("search", value, "optuna, none")
