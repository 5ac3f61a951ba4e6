"""What can be named: components, properties, generators, validators, potentials, and the rest, as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def rows(kind: str) -> list[Row]:
    """Everything of a kind of `KINDS`, one row each; the first column is the name."""
    return KINDS[kind]()


def aligned(found: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned text under the names of their columns."""
    lines = [list(found[0])] + [[_text(value) for value in row.values()] for row in found]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _components() -> list[Row]:
    from invdesign.selection.components import component_names, load_component

    found = [load_component(name) for name in component_names()]
    return [
        {"component": c.name, "about": c.description, "constraints": [str(t) for t in c.constraints]}
        for c in found
    ]


def _properties() -> list[Row]:
    from invdesign.properties import SHIPPED

    return [
        {
            "property": p.name,
            "symbol": p.symbol,
            "unit": p.unit or "-",
            "from": p.low,
            "to": p.high,
            "about": p.label,
        }
        for p in SHIPPED.values()
    ]


def _generators() -> list[Row]:
    from invdesign import build

    parts = {name: build.generator_part(name) for name in build.names_of("generator")}
    found = [
        {
            "generator": name,
            "about": part.about,
            "conditioned_on": list(part.conditioned_on),
            "from": _origin(part.where),
        }
        for name, part in parts.items()
    ]
    return [
        *found,
        {"generator": build.MIXTURE, "about": "all shipped ones", "conditioned_on": [], "from": "invdesign"},
    ]


def _validators() -> list[Row]:
    from invdesign import build

    parts = {name: build.validator_part(name) for name in build.names_of("validator")}
    return [
        {"validator": name, "stages": list(part.stages), "about": part.about, "from": _origin(part.where)}
        for name, part in parts.items()
    ]


def _origin(where: str) -> str:
    """The package that a part comes from."""
    return where.partition(":")[0].partition(".")[0]


def _potentials() -> list[Row]:
    from importlib.util import find_spec

    from invdesign.potentials.calculators import DEFAULT, POTENTIALS

    return [
        {
            "potential": p.name,
            "installed": find_spec(p.module) is not None,
            "default": p.name == DEFAULT,
            "package": p.package,
        }
        for p in POTENTIALS.values()
    ]


def _prototypes() -> list[Row]:
    from invdesign.structure_types import STRUCTURE_TYPES

    return [
        {"prototype": name, "label": kind.label, "example": kind.example, "about": kind.about}
        for name, kind in STRUCTURE_TYPES.items()
    ]


def _element_classes() -> list[Row]:
    from invdesign.element_classes import CLASSES

    return [{"class": name, "elements": list(symbols)} for name, symbols in CLASSES.items()]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "components": _components,
    "properties": _properties,
    "generators": _generators,
    "validators": _validators,
    "potentials": _potentials,
    "prototypes": _prototypes,
    "element-classes": _element_classes,
}
"""Kind to what lists it."""
