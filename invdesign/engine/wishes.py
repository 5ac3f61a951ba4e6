"""What a query asks for, completed by its component, and the check that a crystal has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from invdesign.chemistry import element_data
from invdesign.crystal import Crystal
from invdesign.elements import SYMBOLS, atomic_numbers, symbol
from invdesign.properties import property_in
from invdesign.query import Query
from invdesign.records import Evaluation, Status, Verdict
from invdesign.selection.components import Component, load_component


class MatchesQuery:
    """Validator: the proposal has the elements, the space group and the size that the query asks for."""

    name = "asked"

    def __init__(self, query: Query) -> None:
        self.query = query
        self._allowed = atomic_numbers(query.allowed_elements)
        self._required = atomic_numbers(query.required)

    def check(self, row: Evaluation) -> Verdict:
        """Compare the best structure there is with the query: a relaxation can raise the symmetry."""
        reason = self._objection(row.crystal)
        return Verdict(self.name, Status.FAIL if reason else Status.PASS, reason)

    def _objection(self, crystal: Crystal) -> str:
        present = set(crystal.numbers.tolist())
        foreign = present - self._allowed
        missing = self._required - present
        groups, gene = self.query.space_groups, crystal.gene
        if foreign:
            return "element not allowed: " + ", ".join(symbol(z) for z in sorted(foreign))
        if missing:
            return "element missing: " + ", ".join(symbol(z) for z in sorted(missing))
        if crystal.n_sites > self.query.max_sites:
            return f"{crystal.n_sites} sites, more than {self.query.max_sites}"
        if groups is not None and gene is not None and gene.space_group not in groups:
            return f"space group {gene.space_group} not asked for"
        return ""


NOBLE_GASES = frozenset(["He", "Ne", "Ar", "Kr", "Xe", "Rn"])


LEFT_OUT = "Radioactive elements and noble gases are left out unless named."


def resolved(query: Query) -> Query:
    """The query with everything that its files hold: the records of its custom properties.

    Nothing is read where the query carries them already, as that of a run folder does.

    Raises:
        InputError: if a file cannot be read, or a target names no property.
    """
    if not query.surrogates or query.properties:
        return query
    found = tuple(property_in(Path(path)) for path in query.surrogates)
    return Query.from_dict({**query.to_dict(), "properties": found})


def completed(query: Query) -> Query:
    """The query completed by the constraints of its component and by the elements that are left out by default.

    Radioactive elements and noble gases are excluded unless the query names them; with a component also what that
    forbids, named or not.

    Raises:
        InputError, ConflictError: if a file or the component cannot be loaded, or forbids a required element.
    """
    query = resolved(query)
    component = None if query.component is None else load_component(query.component)
    constraints, forbid = (component.constraints, component.forbid) if component else ((), ())
    targets = dict.fromkeys((*query.targets, *constraints))
    excluded = dict.fromkeys((*query.exclude, *forbid, *_unwanted(query, component)))
    return replace(query, targets=tuple(targets), exclude=tuple(excluded))


def _unwanted(query: Query, component: Component | None) -> Iterator[str]:
    """Symbols of radioactive elements, noble gases, and for a component toxic elements, unless asked for."""
    table = element_data.table()
    named = query.named_elements
    for z, name in enumerate(SYMBOLS[: len(table.restricted) - 1], start=1):
        radioactive, toxic = bool(table.radioactive[z]), table.restricted[z] is not None
        unwanted = name not in named and (name in NOBLE_GASES or (radioactive and component is None))
        if component is not None:
            unwanted |= (radioactive and not component.radioactive) or (toxic and not component.restricted)
        if unwanted:
            yield name
