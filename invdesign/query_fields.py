"""How each field of a query is read: from what people write to one checked form. Nothing here reads a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.checks import items, number, plain_signs, text, whole, whole_range, yes_or_no
from invdesign.element_classes import CLASSES, class_or_symbol, is_class
from invdesign.errors import ConflictError, InputError
from invdesign.properties import (
    SHIPPED,
    Property,
    check_custom_name,
    check_load,
    known_properties,
    unread_property,
)
from invdesign.space_groups import space_groups
from invdesign.stoichiometry import parse_anonymous, parse_formula
from invdesign.structure_types import Prototype, prototype_of, structure_type
from invdesign.target import Target
from invdesign.target import split as split_target

if TYPE_CHECKING:
    from invdesign.crystal import Gene

MOST_SITES = 40
"""Largest primitive cell that can be asked for: the largest that generators know."""
MOST_ELEMENTS = 12
SEARCHES = ("evolution", "optuna", "none")
"""How a run looks for candidates."""
SAMPLERS = ("tpe", "nsga2", "nsga3", "cmaes", "gp", "qmc", "random")
"""Samplers of Optuna, for `search=optuna`."""


def normalised(given: Mapping[str, Any]) -> dict[str, object]:
    """Every field of a query in its one form.

    Raises:
        InputError, ConflictError: if a value is not valid.
    """
    files, custom = _files(given["surrogates"]), _properties(given["properties"])
    out: dict[str, object] = {name: read(given[name]) for name, read in _READERS.items()}
    out |= {"surrogates": files, "properties": custom, "targets": _targets(given["targets"], custom, files)}
    if given["max_sites"] is None:
        exact, least = out["n_sites"], out["min_sites"]
        assert isinstance(least, int)
        larger = max(least, exact if isinstance(exact, int) else 1) > DEFAULT_SITES
        out["max_sites"] = (exact or MOST_SITES) if larger else DEFAULT_SITES
    return out


DEFAULT_SITES = 20
"""Largest primitive cell where none is asked for, unless the query itself needs a larger one."""


def plain(name: str, value: Any) -> Any:
    """The value of a field in plain JSON and YAML types."""
    if name == "targets":
        return [str(target) for target in value]
    if isinstance(value, Prototype):
        return str(value)
    if name in ("start", "properties"):
        return [item if isinstance(item, str) else asdict(item) for item in value]
    return list(value) if isinstance(value, tuple) else value


def _names(field_name: str, value: Any, classes: bool = True) -> tuple[str, ...]:
    """Symbols, and names of classes where they may stand, each once."""
    if isinstance(value, str):
        said = value
        value = [part for token in re.split(r"[,;]", plain_signs(said)) if token.strip() for part in _parts(token)]
        if said.strip() and not value:
            raise InputError(field_name, said, "chemical symbols such as Ti,W,N")
    found = []
    for item in items(field_name, value, "Ti"):
        name = class_or_symbol(item, field_name)
        if name in CLASSES and not classes:
            raise InputError(f"element in {field_name}", item, "a chemical symbol such as Ti, W or N")
        found.append(name)
    return tuple(dict.fromkeys(found))


def _parts(token: str) -> list[str]:
    """A class of elements by its name of one or more words, or names with spaces or hyphens between them."""
    if is_class(token):
        return [token]
    words = token.split()
    return [part for word in words for part in (word.split("-") if "-" in word and not is_class(word) else [word])]


def _files(value: Any) -> tuple[str, ...]:
    """Full paths of files of custom properties."""
    given = (value,) if isinstance(value, (str, Path)) else value
    found = (
        text("surrogates", path, "the path of a file") for path in items("surrogates", given, "my.safetensors")
    )
    return tuple(dict.fromkeys(str(Path(path).absolute()) for path in found))


def _properties(value: Any) -> tuple[Property, ...]:
    """Custom properties, from records or from their mappings."""
    found = []
    for item in items("properties", value, "a Property"):
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


def _targets(value: Any, custom: Sequence[Property], files: Sequence[str]) -> tuple[Target, ...]:
    """Wishes, whose properties are the shipped and the custom ones.

    As long as files have not been read, any further name may be that of their properties.
    """
    known, out = dict(known_properties(custom)), []
    for wish in items("targets", value, "bulk_modulus>=250"):
        if isinstance(wish, Target):
            out.append(_with_property(wish, known))
            continue
        name = split_target(wish)[1]
        if files and not custom and name not in known:
            known[name] = unread_property(name)
        out.append(Target.parse(wish, known))
    return tuple(out)


def _with_property(target: Target, known: Mapping[str, Property]) -> Target:
    """The target with the record of its property that travels with the query."""
    if target.name in SHIPPED or known.get(target.name, target.prop) == target.prop:
        return target
    return replace(target, prop=known[target.name])


def _part(family: str, value: object) -> str:
    """The name of a part; that of a class in a file with the file's full path."""
    name = text(family, value)
    file, colon, attribute = name.rpartition(":")
    return f"{Path(file).absolute()}:{attribute}" if colon and file.endswith(".py") else name


def _formula(value: object) -> str:
    """A formula as it was written, if it is one."""
    if value in (None, ""):
        return ""
    parse_formula(value)
    return str(value)


def _anonymous(value: object) -> str:
    if value in (None, ""):
        return ""
    parse_anonymous(value)
    return str(value)


def _like(value: object) -> Prototype | str | None:
    """A prototype, or the full path of a file that holds a crystal that has it."""
    if value in (None, ""):
        return None
    found = prototype_of(value)
    return str(Path(found).absolute()) if isinstance(found, str) else found


def _start(value: Any) -> tuple[Gene | str, ...]:
    """Genes of crystals to start from, or full paths of files that hold such crystals."""
    several = isinstance(value, (list, tuple, set, frozenset))
    given = items("start", value if several or value is None else (value,), "seed.cif")
    return tuple(_seed(item) for item in given)


def _seed(value: Any) -> Gene | str:
    allowed = "the path of a structure file, a Gene, or a Crystal that carries its gene"
    if isinstance(value, (str, Path)):
        return str(Path(text("start", value, allowed)).absolute())
    from invdesign.crystal import Gene

    if isinstance(value, Mapping):
        try:
            parts: dict[str, Any] = {k: tuple(v) if isinstance(v, (list, tuple)) else v for k, v in value.items()}
            return Gene(**parts)
        except TypeError:
            raise InputError("start", value, allowed) from None
    gene = getattr(value, "gene", value)
    if not isinstance(gene, Gene):
        raise InputError("start", value, allowed)
    return gene


def _search(value: object) -> str:
    name = "none" if value is None else value
    if name not in SEARCHES:
        raise InputError("search", value, SEARCHES)
    return str(name)


def _sampler(value: object) -> str:
    if value not in SAMPLERS:
        raise InputError("sampler", value, SAMPLERS)
    return str(value)


_READERS: dict[str, Callable[[Any], object]] = {
    "elements": lambda v: _names("elements", v),
    "required": lambda v: _names("required", v, classes=False),
    "exclude": lambda v: _names("exclude", v),
    "chemical_system": lambda v: "-".join(_names("chemical_system", v, classes=False)),
    "all_elements": lambda v: yes_or_no("all_elements", v),
    "formula": _formula,
    "anonymous_formula": _anonymous,
    "n_elements": lambda v: None if v is None else whole_range("n_elements", v, 1, MOST_ELEMENTS),
    "n_sites": lambda v: None if v is None else whole("n_sites", v, 1, MOST_SITES),
    "min_sites": lambda v: whole("min_sites", v, 1, MOST_SITES),
    "max_sites": lambda v: DEFAULT_SITES if v is None else whole("max_sites", v, 1, MOST_SITES),
    "space_group": space_groups,
    "prototype": lambda v: "" if v in (None, "") else structure_type(v),
    "like": _like,
    "start": _start,
    "keep": lambda v: _names("keep", v, classes=False),
    "generator": lambda v: _part("generator", v),
    "validators": lambda v: tuple(_part("validator", name) for name in items("validators", v, "mine:Check")),
    "component": lambda v: None if v is None else text("component", v),
    "n": lambda v: whole("n", v, 1, 100_000),
    "max_energy_above_hull": lambda v: number("max_energy_above_hull", v, 0.0, 5.0, "eV/atom"),
    "relaxations": lambda v: whole("relaxations", v, 1, 10_000_000),
    "search": _search,
    "sampler": _sampler,
    "correction": lambda v: str(Path(text("correction", v, "the path of a file")).absolute()) if v else "",
    "hardness_load": check_load,
    "dynamics": lambda v: yes_or_no("dynamics", v),
}
"""How each field is read, but for targets, custom properties and their files, which belong together."""
