"""What a person asks for: targets, elements, symmetry, a component, a count. Checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.display import html_table
from invdesign.element_classes import IN_WORDS, expanded
from invdesign.elements import SYMBOLS
from invdesign.errors import ConflictError, InputError
from invdesign.properties import LOAD, Property, known_properties
from invdesign.query_fields import DEFAULT_SITES, normalised, plain
from invdesign.space_groups import CRYSTAL_SYSTEMS, in_words, numbers_of
from invdesign.stoichiometry import parse_anonymous, parse_formula
from invdesign.structure_types import STRUCTURE_TYPES, Prototype
from invdesign.target import Target

if TYPE_CHECKING:
    from invdesign.crystal import Crystal, Gene

__all__ = ["CRYSTAL_SYSTEMS", "Query", "Target", "as_query"]

WISHES = (
    "targets", "elements", "required", "exclude", "chemical_system", "formula", "anonymous_formula", "n_elements",
    "n_sites", "space_group", "prototype", "like", "start", "component",
)  # fmt: skip
"""Fields that say what is wanted; the others say how to look for it."""
EXAMPLE = 'Query(targets=["bulk_modulus>=250"])'


@dataclass(frozen=True, repr=False)
class Query:
    """A design query. Making one reads no file: `invdesign.engine.wishes.resolved` reads those that it names.

    Attributes:
        targets: wishes, as `Target` or text such as `"bulk_modulus>=250"`.
        elements: symbols or classes of elements (`invdesign.element_classes`) that may be used (empty: all).
        required: symbols that must be used.
        exclude: symbols or classes that must not be used.
        chemical_system: symbols, any of these and no others, e.g. `"Ti-B-N"` (empty: any).
        all_elements: whether all elements of the chemical system must be used.
        formula: the exact formula, in any multiple, e.g. `"TiAlN2"` (empty: any).
        anonymous_formula: the stoichiometry with letters for elements, e.g. `"ABX3"` (empty: any).
        n_elements: least and largest number of elements, from `3`, `"2..4"` or `(2, 4)` (None: any).
        n_sites: number of atoms in the primitive cell (None: from `min_sites` to `max_sites`).
        min_sites: smallest number of atoms in the primitive cell.
        max_sites: largest number (None: 20, or more where another field needs it).
        space_group: numbers, symbols or crystal systems, one or several: `225`, `"Fm-3m"`, `"cubic"`,
            `"225,cubic"` (None: any).
        prototype: name of a structure type (`invdesign.structure_types`) that the crystals must have (empty: any).
        like: the same by example: a protostructure label such as `"221_a_b_d"`, the path of a structure file, a
            `Gene`, or a `Crystal` with its gene (None: any).
        start: crystals to start the search from: paths of structure files, genes, or crystals with their genes.
        keep: symbols whose sublattices in these crystals are kept.
        generator: `vae`, `gan`, `substitution`, `random`, `mixture` (all of them), the name of an installed
            package's, `module:Class` or `file.py:Class`.
        validators: further validators, by the name of an installed package's, `module:Class` or `file.py:Class`.
        component: name of a component in `configs/components`, for the ranking (None: targets only).
        n: number of candidates wanted.
        max_energy_above_hull: stability limit, eV/atom.
        relaxations: budget of relaxations.
        search: `evolution` (search among candidates, generators asked with fixed settings), `optuna` (the same
            with the generators' settings tuned as the run goes on) or `none` (conditioned sampling alone).
        sampler: of Optuna, for `search=optuna`: `tpe`, `nsga2`, `nsga3`, `cmaes` (one objective), `gp`, `qmc` or
            `random`.
        correction: file of a proposal correction that `invdesign learn` has made (empty: the shipped one).
        surrogates: files of custom properties, which targets may then name.
        properties: what these files predict; of a query that was given files alone they are read when it is
            resolved.
        hardness_load: load of the Vickers hardness, 0.05 to 50 N.
        dynamics: whether the crystals that are to be listed are shaken and relaxed without symmetry, and those on
            a saddle point give their place to what they become.

    Raises:
        InputError, ConflictError: on construction, if a value is not valid or two contradict each other.
    """

    targets: tuple[Target, ...] = ()
    elements: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    chemical_system: str = ""
    all_elements: bool = False
    formula: str = ""
    anonymous_formula: str = ""
    n_elements: tuple[int, int] | None = None
    n_sites: int | None = None
    min_sites: int = 1
    max_sites: int = DEFAULT_SITES
    space_group: int | str | tuple[int | str, ...] | None = None
    prototype: str = ""
    like: Prototype | str | None = None
    start: tuple[Gene | str, ...] = ()
    keep: tuple[str, ...] = ()
    generator: str = "vae"
    validators: tuple[str, ...] = ()
    component: str | None = None
    n: int = 20
    max_energy_above_hull: float = 0.1
    relaxations: int = 220
    search: str = "evolution"
    sampler: str = "tpe"
    correction: str = ""
    surrogates: tuple[str, ...] = ()
    properties: tuple[Property, ...] = ()
    hardness_load: float = LOAD
    dynamics: bool = True

    def __init__(
        self,
        targets: Sequence[str | Target] = (),
        elements: Sequence[str] | str = (),
        required: Sequence[str] | str = (),
        exclude: Sequence[str] | str = (),
        chemical_system: Sequence[str] | str = "",
        all_elements: bool = False,
        formula: str = "",
        anonymous_formula: str = "",
        n_elements: int | str | tuple[int, int] | None = None,
        n_sites: int | None = None,
        min_sites: int = 1,
        max_sites: int | None = None,
        space_group: int | str | Sequence[int | str] | None = None,
        prototype: str = "",
        like: str | Prototype | Gene | Crystal | None = None,
        start: Any = (),
        keep: Sequence[str] | str = (),
        generator: str = "vae",
        validators: Sequence[str] = (),
        component: str | None = None,
        n: int = 20,
        max_energy_above_hull: float = 0.1,
        relaxations: int = 220,
        search: str | None = "evolution",
        sampler: str = "tpe",
        correction: str | Path = "",
        surrogates: Sequence[str] = (),
        properties: Sequence[Property | Mapping[str, Any]] = (),
        hardness_load: float = LOAD,
        dynamics: bool = True,
    ) -> None:
        """Normalise and check every field; see the class for their meaning."""
        given = {name: value for name, value in locals().items() if name != "self"}
        for name, value in normalised(given).items():
            object.__setattr__(self, name, value)
        for contradiction in self._contradictions():
            raise ConflictError(contradiction)

    def _contradictions(self) -> Iterator[str]:
        """What cannot be had together, in words."""
        yield from self._of_targets()
        yield from self._of_elements()
        yield from self._of_sizes()
        if self.prototype and self.like is not None:
            yield "prototype and like say the same in two ways: give one of them"
        groups, wanted = self.space_groups, self.wanted_prototype
        if wanted and groups is not None and wanted.space_group not in groups:
            yield f"the prototype {wanted} has space group {wanted.space_group}, which space_group leaves out"
        if self.keep and not self.start:
            yield f"keep {', '.join(self.keep)} needs a structure to start from (start)"
        if self.all_elements and not self.chemical_system:
            yield "all_elements needs a chemical system, such as Li-Fe-P-O"

    def _of_targets(self) -> Iterator[str]:
        for name in dict.fromkeys(t.name for t in self.targets):
            mine = [t for t in self.targets if t.name == name]
            low = max((t.low for t in mine if t.low is not None), default=-math.inf)
            high = min((t.high for t in mine if t.high is not None), default=math.inf)
            if low > high:
                yield f"targets on {name} contradict each other: at least {low:g} and at most {high:g}"
            if {"max", "min"} <= {t.goal for t in mine}:
                yield f"targets on {name} contradict each other: highest and lowest"

    def _of_elements(self) -> Iterator[str]:
        excluded = expanded(self.exclude)
        for symbol in (*self.required_elements, *self._system):
            if symbol in excluded:
                yield f"element {symbol} is both wanted and excluded"
        allowed = self.allowed_elements
        if not allowed:
            yield "no element is left: every allowed element is excluded"
        for symbol in self.required_elements:
            if symbol not in allowed:
                yield f"element {symbol} is required but not among the allowed elements"
        needed, most = len(self.required_elements), self.site_range[1]
        if needed > most:
            yield f"{needed} elements are required of at most {most} atoms"
        low, high = self.n_elements or (1, len(SYMBOLS))
        if needed > high:
            yield f"{needed} elements are required of at most {high} (n_elements)"
        if low > len(allowed):
            yield f"at least {low} elements are wanted, but {len(allowed)} are allowed"

    def _of_sizes(self) -> Iterator[str]:
        least, most = self.site_range
        if self.min_sites > self.max_sites:
            yield f"min_sites {self.min_sites} is larger than max_sites {self.max_sites}"
        if self.n_sites is not None and not self.min_sites <= self.n_sites <= self.max_sites:
            bounds = f"{self.min_sites} (min_sites) and {self.max_sites} (max_sites)"
            yield f"n_sites {self.n_sites} is not between {bounds}"
        counts = self.stoichiometry
        if self.formula and self.anonymous_formula and tuple(sorted(self.composition.values())) != counts:
            yield f"{self.formula} is not of the stoichiometry {self.anonymous_formula}"
        if counts and self.n_elements and not self.n_elements[0] <= len(counts) <= self.n_elements[1]:
            yield f"{self.formula or self.anonymous_formula} has {len(counts)} elements, which n_elements excludes"
        unit = sum(counts)
        if unit and unit * (most // unit) < max(least, unit):
            found = f"{least} atoms" if least == most else f"{least} to {most} atoms"
            yield f"no cell of {found} holds whole formula units of {self.formula or self.anonymous_formula}"

    @property
    def _system(self) -> tuple[str, ...]:
        return tuple(self.chemical_system.split("-")) if self.chemical_system else ()

    @property
    def composition(self) -> dict[str, int]:
        """Atoms of each element in the formula that is asked for, reduced; empty for any."""
        return parse_formula(self.formula) if self.formula else {}

    @property
    def stoichiometry(self) -> tuple[int, ...]:
        """Atoms of each element in a formula unit, ascending and reduced; empty for any."""
        if self.anonymous_formula:
            return parse_anonymous(self.anonymous_formula)
        return tuple(sorted(self.composition.values()))

    @property
    def allowed_elements(self) -> tuple[str, ...]:
        """Symbols that a candidate may contain."""
        allowed = set(expanded(self.elements) or SYMBOLS)
        for narrower in (self._system, tuple(self.composition)):
            if narrower:
                allowed &= set(narrower)
        excluded = expanded(self.exclude)
        return tuple(s for s in SYMBOLS if s in allowed and s not in excluded)

    @property
    def required_elements(self) -> tuple[str, ...]:
        """Symbols that a candidate must contain: required, of the formula, kept, or all of the system."""
        system = self._system if self.all_elements else ()
        return tuple(dict.fromkeys((*self.required, *self.composition, *self.keep, *system)))

    @property
    def excluded_elements(self) -> tuple[str, ...]:
        """Symbols that a candidate must not contain, classes written out."""
        return expanded(self.exclude)

    @property
    def named_elements(self) -> frozenset[str]:
        """Symbols that the query asks for by name or class."""
        return frozenset((*expanded(self.elements), *self.required_elements, *self._system))

    @property
    def any_element(self) -> bool:
        """Whether nothing but exclusions says which elements may be used."""
        return not (self.elements or self.chemical_system or self.formula)

    @property
    def space_groups(self) -> frozenset[int] | None:
        """The allowed space group numbers, or None for all."""
        return numbers_of(self.space_group)

    @property
    def site_range(self) -> tuple[int, int]:
        """Smallest and largest number of atoms in the primitive cell."""
        return (self.min_sites, self.max_sites) if self.n_sites is None else (self.n_sites, self.n_sites)

    @property
    def wanted_prototype(self) -> Prototype | None:
        """The prototype that candidates must have; None for any, and for a file that was not read yet."""
        if self.prototype:
            return STRUCTURE_TYPES[self.prototype].prototype
        return self.like if isinstance(self.like, Prototype) else None

    @property
    def known_properties(self) -> Mapping[str, Property]:
        """The shipped properties and the query's custom ones, by name."""
        return known_properties(self.properties)

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing in particular."""
        return not any(self._said(name) for name in WISHES) and self.min_sites == 1

    def _said(self, name: str) -> bool:
        default = next(f.default for f in fields(self) if f.name == name)
        return bool(getattr(self, name) != default)

    def said(self) -> dict[str, Any]:
        """The fields that differ from their defaults, in plain types."""
        return {name: value for name, value in self.to_dict().items() if self._said(name)}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON and YAML types; `Query.from_dict` reads it back."""
        return {f.name: plain(f.name, getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Query:
        """Make a query from a mapping such as a YAML file's.

        Raises:
            InputError: if a key is unknown or a value is not valid.
        """
        if not isinstance(data, Mapping):
            raise InputError("query", data, "a mapping such as {targets: [bulk_modulus>=250]}")
        known = [f.name for f in fields(cls)]
        for key in data:
            if key not in known:
                raise InputError("query key", key, known)
        return cls(**dict(data))

    def __repr__(self) -> str:
        """The fields that differ from their defaults, as they can be given."""
        return f"Query({', '.join(f'{name}={value!r}' for name, value in self.said().items())})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.in_words())}</p>{html_table((), self.said().items())}"

    def in_words(self) -> str:
        """The query as one English sentence, for reports."""
        parts = [t.in_words() for t in self.targets]
        what = f"{self.n} crystals with {' and '.join(parts)}" if parts else f"{self.n} crystals"
        load = f", hardness at {self.hardness_load:g} N" if self.hardness_load != LOAD else ""
        use = f", for a {self.component.replace('_', ' ')}" if self.component else ""
        rest = f"within {self.max_energy_above_hull:g} eV/atom of the convex hull{use}{load}"
        return f"{what}{''.join(' ' + w for w in self._where())}, {rest}."

    def _where(self) -> Iterator[str]:
        """Chemistry, size and symmetry, as phrases."""
        system = f"{'of all of' if self.all_elements else 'within'} {self.chemical_system}"
        yield from (phrase for phrase, said in (
            (f"of the formula {self.formula}", self.formula),
            (f"of the stoichiometry {self.anonymous_formula}", self.anonymous_formula),
            (system, self.chemical_system),
            (f"from {_listed(self.elements)}", self.elements),
            (f"containing {_listed(self.required)}", self.required),
            (f"without {_listed(self.exclude)}", self.exclude),
            (f"of {_from_to(self.n_elements or (0, 0))} elements", self.n_elements),
            (f"with {_from_to(self.site_range)} atoms in the primitive cell", self.n_sites or self.min_sites > 1),
            (f"in {in_words(self.space_group or 1)}", self.space_group),
            (f"of the {_listed([self.prototype])} type", self.prototype),
            (f"of the prototype {self.like}", self.like),
            (f"starting from {len(self.start)} given crystal{'s' if len(self.start) > 1 else ''}", self.start),
            (f"keeping the sublattices of {_listed(self.keep)}", self.keep),
        ) if said)  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return ", ".join(IN_WORDS.get(name, name.replace("_", " ")) for name in names)


def _from_to(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def as_query(query: object = None, wishes: Mapping[str, Any] | None = None) -> Query:
    """A query from a query, a mapping, wishes by keyword, or a query with some wishes put in their place.

    Raises:
        InputError: if it is none of these, or a wish is not valid.
    """
    if isinstance(query, Query):
        return Query.from_dict({**query.said(), **wishes}) if wishes else query
    if query is None or isinstance(query, Mapping):
        return Query.from_dict({**(query or {}), **(wishes or {})})
    raise InputError("query", query, f"a query such as {EXAMPLE}, or a mapping of its fields")
