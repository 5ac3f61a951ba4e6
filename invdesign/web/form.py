"""The form of a query: what it offers, and what was filled in as the query that the command line would make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from invdesign.app import design
from invdesign.app.plan import within
from invdesign.checks import whole
from invdesign.element_classes import CLASSES
from invdesign.elements import SYMBOLS
from invdesign.errors import InputError, OutputError
from invdesign.properties import SHIPPED
from invdesign.query import Query
from invdesign.report.dictionary import MEANINGS
from invdesign.report.export import new_folder
from invdesign.structure_types import STRUCTURE_TYPES
from invdesign.web import processes
from invdesign.web.folder import Runs

OPERATORS = {
    "min": ("at least", "{name}>={value}"),
    "max": ("at most", "{name}<={value}"),
    "range": ("between", "{name}={value}..{to}"),
    "value": ("about", "{name}={value}"),
    "highest": ("as high as possible", "{name}=max"),
    "lowest": ("as low as possible", "{name}=min"),
}
"""What may be asked of a property: in words, and as the command line writes it."""
GENERATORS = ("vae", "gan", "substitution", "random", "mixture")
TEXTS = ("elements", "required", "exclude", "chemical_system", "formula", "space_group", "prototype")
NUMBERS = ("n", "relaxations", "max_sites", "max_energy_above_hull")
RUN = ("seed", "workers", "minutes")
SHOWN_CLASSES = ("toxic", "radioactive", "critical", "precious", "platinum_group", "lanthanides", "halogens")
UPLOADS = "uploads"


@dataclass(frozen=True)
class Upload:
    """A file that was sent.

    Attributes:
        name: as the browser gave it.
        content: all of it.
    """

    name: str
    content: bytes

    def write(self, folder: Path) -> Path:
        """Write it into a folder under its own name, without any path.

        Raises:
            OutputError: if it cannot be written.
        """
        plain = "".join(c if c.isalnum() or c in "._-" else "_" for c in PurePosixPath(self.name).name).lstrip(".")
        path = folder / (plain[-80:] or "file")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content)
        except OSError as error:
            raise OutputError(f"{path.name} cannot be written: {error.strerror}") from None
        return path


@dataclass(frozen=True)
class Filled:
    """A form that was filled in.

    Attributes:
        fields: the last value of every field.
        targets: of every row the property, the operator and one or two values.
        start: structures to start from.
    """

    fields: Mapping[str, str]
    targets: Sequence[tuple[str, str, str, str]] = ()
    start: Sequence[Upload] = ()

    def wishes(self, folder: Path) -> dict[str, Any]:
        """The fields of the query, those that were filled in; files that were sent go into a folder.

        Raises:
            InputError: for a choice that is not offered.
        """
        texts = {key: self.fields[key].strip() for key in TEXTS if self.fields.get(key, "").strip()}
        numbers = {key: _number(self.fields[key]) for key in NUMBERS if self.fields.get(key, "").strip()}
        wishes: dict[str, Any] = {**texts, **numbers}
        for key, offered in (("component", components()), ("generator", GENERATORS)):
            if chosen := self.fields.get(key, "").strip():
                if chosen not in offered:
                    raise InputError(key, chosen, list(offered))
                wishes[key] = chosen
        if targets := [_target(*row) for row in self.targets if row[0]]:
            wishes["targets"] = targets
        if files := [str(upload.write(folder)) for upload in self.start]:
            wishes["start"] = files
        return wishes

    def checked(self, wishes: Mapping[str, Any]) -> Query:
        """The query of some wishes, checked as the command line checks it, with what fits into its minutes.

        Raises:
            InvdesignError: with the line that the command line would say.
        """
        query, run = design.checked_query(Query.from_dict(wishes)), self.run()
        return within(query, run["minutes"], run.get("workers")) if "minutes" in run else query

    def run(self) -> dict[str, Any]:
        """How to run: the seed, and worker processes and minutes where they are given.

        Raises:
            InputError: if one is not valid.
        """
        given = {key: _number(text) for key in RUN if (text := self.fields.get(key, "").strip())}
        for key, least in (("seed", 0), ("workers", 1)):
            if key in given:
                whole(key, given[key], least)
        return {"seed": 0, **given}


def start(runs: Runs, filled: Filled) -> str:
    """Start a run for a form, in a folder of its own.

    Returns:
        The name of the run.

    Raises:
        InvdesignError: with the line that the command line would say.
    """
    name = filled.fields.get("name", "").strip()
    folder = runs.new(name)
    wishes, run = filled.wishes(runs.beside(name) / UPLOADS), filled.run()
    filled.checked(wishes)
    new_folder(folder)
    runs.beside(name)
    path = runs.query(name)
    path.write_text(yaml.safe_dump({**wishes, **run}, sort_keys=False), encoding="utf-8")
    processes.start(runs, name, ["design", str(path), "--out", str(folder)], afresh=True)
    return name


def _target(name: str, operator: str, value: str, to: str) -> str:
    if name not in SHIPPED:
        raise InputError("property", name, SHIPPED)
    if operator not in OPERATORS:
        raise InputError(f"target {name}: operator", operator, OPERATORS)
    return OPERATORS[operator][1].format(name=name, value=value.strip(), to=to.strip())


def _number(text: str) -> object:
    """A number as YAML reads it, so that what is none is refused by the query in its own words."""
    for kind in (int, float):
        try:
            return kind(text.strip())
        except ValueError:
            continue
    return text.strip()


@cache
def components() -> Mapping[str, Mapping[str, Any]]:
    """Description and constraints of every component, by name."""
    from invdesign.selection.components import component_names, load_component

    found = [load_component(name) for name in component_names()]
    return {c.name: {"about": c.description, "constraints": [t.in_words() for t in c.constraints]} for c in found}


@cache
def offered() -> dict[str, Any]:
    """What the page of the form shows."""
    return {
        "properties": [
            {
                "name": p.name,
                "label": p.label,
                "unit": p.unit,
                "symbol": p.symbol,
                "about": MEANINGS.get(p.name, ""),
            }
            for p in SHIPPED.values()
        ],
        "operators": {key: words for key, (words, _) in OPERATORS.items()},
        "components": components(),
        "generators": GENERATORS,
        "prototypes": list(STRUCTURE_TYPES),
        "classes": {name: list(CLASSES[name]) for name in SHOWN_CLASSES},
        "elements": periodic_table(),
        "default": Query(),
    }


@cache
def periodic_table() -> list[dict[str, Any]]:
    """Every element with its place in the table (row 1 to 9, column 1 to 18) and whether models know it."""
    from pymatgen.core import Element

    known = _known()
    cells = []
    for number, symbol in enumerate(SYMBOLS[:103], start=1):
        element, apart = Element(symbol), 57 <= number <= 71 or 89 <= number <= 103
        column, row = ((number - 57) % 32 + 3, 8 + (number > 71)) if apart else (element.group, element.row)
        cells.append(
            {
                "symbol": symbol,
                "name": element.long_name,
                "number": number,
                "row": row,
                "column": column,
                "known": number in known,
            }
        )
    return sorted(cells, key=lambda cell: (cell["row"], cell["column"]))


def _known() -> frozenset[int]:
    from invdesign.app.elements import known_elements

    return frozenset.intersection(*known_elements(Query().generator).values())
