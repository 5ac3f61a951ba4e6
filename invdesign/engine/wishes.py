"""What a query asks for, completed by its files and its component, and the check that a crystal has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from invdesign.chemistry import element_data
from invdesign.chemistry.composition import integer_composition, reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import encode, primitive_sites
from invdesign.crystallography.prototypes import gene_prototypes
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.elements import SYMBOLS, atomic_numbers, symbol
from invdesign.errors import ConflictError, InputError
from invdesign.properties import property_in
from invdesign.query import Query
from invdesign.query_fields import DEFAULT_SITES
from invdesign.records import Evaluation, Failure, Status, Verdict
from invdesign.selection.components import Component, load_component
from invdesign.stoichiometry import anonymous_formula
from invdesign.structure_types import Prototype


class MatchesQuery:
    """Validator: the crystal has the elements, the stoichiometry, the symmetry, the size and the prototype asked
    for.
    """

    name = "asked"

    def __init__(self, query: Query) -> None:
        self.query = query
        self._allowed = atomic_numbers(query.allowed_elements)
        self._required = atomic_numbers(query.required_elements)
        self._composition = {z: n for s, n in query.composition.items() for z in atomic_numbers([s])}
        wanted = query.wanted_prototype
        self._prototype = None if wanted is None else prototype_key(wanted)
        starts = [gene for gene in query.start if isinstance(gene, Gene)]
        self._kept = {_sublattices(gene, query.keep) for gene in starts} if query.keep else set()

    def check(self, row: Evaluation) -> Verdict:
        """Compare the best structure there is with the query: a relaxation can raise the symmetry."""
        reason = self.objection(row.crystal)
        if not reason and self._kept and row.relaxation is None:
            reason = self._of_sublattices(row.crystal)
        return Verdict(self.name, Status.FAIL if reason else Status.PASS, reason)

    def objection(self, crystal: Crystal) -> str:
        """The first thing that a crystal has and should not, or lacks; empty if there is none."""
        return self._of_elements(crystal) or self._of_size(crystal) or self._of_symmetry(crystal)

    def _of_sublattices(self, crystal: Crystal) -> str:
        """Before a relaxation, which may find a higher symmetry: whether the kept elements stand where they
        stood."""
        if crystal.gene is not None and _sublattices(crystal.gene, self.query.keep) in self._kept:
            return ""
        return f"the sublattice of {', '.join(self.query.keep)} is not that of a crystal to start from"

    def _of_elements(self, crystal: Crystal) -> str:
        present = set(crystal.numbers.tolist())
        foreign, missing = present - self._allowed, self._required - present
        if foreign:
            return "element not allowed: " + ", ".join(symbol(z) for z in sorted(foreign))
        if missing:
            return "element missing: " + ", ".join(symbol(z) for z in sorted(missing))
        low, high = self.query.n_elements or (1, len(SYMBOLS))
        if not low <= len(present) <= high:
            return f"{len(present)} elements, not {low} to {high}"
        if not self.query.stoichiometry:
            return ""
        found = integer_composition(crystal.numbers)
        if self._composition and found != self._composition:
            return f"{reduced_formula(crystal.numbers)} is not {self.query.formula}"
        if tuple(sorted(found.values())) != self.query.stoichiometry:
            return f"{reduced_formula(crystal.numbers)} is not of the stoichiometry {self.query.anonymous_formula}"
        return ""

    def _of_size(self, crystal: Crystal) -> str:
        least, most = self.query.site_range
        sites = crystal.n_sites if crystal.gene is None else primitive_sites(crystal.gene)
        if sites > most:
            return f"{sites} sites, more than {most}"
        return f"{sites} sites, fewer than {least}" if sites < least else ""

    def _of_symmetry(self, crystal: Crystal) -> str:
        groups, gene = self.query.space_groups, crystal.gene
        if groups is not None and gene is not None and gene.space_group not in groups:
            return f"space group {gene.space_group} not asked for"
        if self._prototype is None:
            return ""
        try:
            found = encode(crystal) if gene is None else gene
        except ValueError as error:
            return f"no prototype can be found ({error})"
        if int(gene_prototypes([found])[0]) == self._prototype:
            return ""
        return f"prototype {Prototype.of(found)}, not {self.query.wanted_prototype}"


def _sublattices(gene: Gene, symbols: Sequence[str]) -> tuple[int, tuple[tuple[int, ...], ...]]:
    """The space group, and for each element the Wyckoff positions that it holds, ascending."""
    elements = [z for name in symbols for z in atomic_numbers([name])]
    pairs = list(zip(gene.numbers, gene.wyckoffs, strict=True))
    return gene.space_group, tuple(tuple(sorted(w for n, w in pairs if n == z)) for z in elements)


def prototype_key(prototype: Prototype) -> int:
    """The key of a prototype, as `invdesign.crystallography.prototypes` gives it to genes.

    Raises:
        InputError: if its space group has no such position.
    """
    return int(gene_prototypes([prototype_gene(prototype)])[0])


def prototype_gene(prototype: Prototype) -> Gene:
    """A prototype as a gene without coordinates and lattice, with hydrogen, helium, … as its elements.

    Raises:
        InputError: if its space group has no such position.
    """
    positions = wyckoff_table().count(prototype.space_group)
    if max(prototype.wyckoffs) >= positions:
        allowed = f"Wyckoff positions of space group {prototype.space_group}, of which there are {positions}"
        raise InputError("prototype label", str(prototype), allowed)
    numbers = tuple(k + 1 for k in prototype.elements)
    return Gene(prototype.space_group, prototype.wyckoffs, numbers, (), ())


NOBLE_GASES = frozenset(["He", "Ne", "Ar", "Kr", "Xe", "Rn"])


LEFT_OUT = "Radioactive elements and noble gases are left out unless named."


def resolved(query: Query) -> Query:
    """The query with everything that its files hold: custom properties, its prototype, crystals to start from.

    Nothing is read where the query carries that already, as the query of a run folder does.

    Raises:
        InputError, StructureReadError: if a file cannot be read, or a target names no property.
        ConflictError: if what the files hold contradicts the query.
    """
    more: dict[str, Any] = {}
    if query.surrogates and not query.properties:
        more["properties"] = [property_in(Path(path)) for path in query.surrogates]
    if isinstance(query.like, str):
        more["like"] = Prototype.of(gene_in(query.like))
    if any(isinstance(seed, str) for seed in query.start):
        more["start"] = [gene_in(seed) if isinstance(seed, str) else seed for seed in query.start]
    if more:
        query = Query.from_dict({**query.to_dict(), **more})
    _check_start(query)
    return _with_prototype(query)


def gene_in(path: str) -> Gene:
    """The gene of the one crystal in a file, symmetrised at 0.1 Å.

    Raises:
        InputError: if the file does not hold one crystal with a symmetry that can be found.
    """
    from invdesign.data.read import read_crystals

    found = list(read_crystals(path))
    if len(found) != 1:
        raise InputError("structure file", path, f"a file with one crystal; it holds {len(found)}")
    (crystal,) = found
    if isinstance(crystal, Failure):
        raise InputError("structure file", path, f"a file with one crystal ({crystal.reason})")
    try:
        return crystal.gene or encode(crystal)
    except ValueError as error:
        raise InputError("structure file", path, f"a crystal whose symmetry can be found ({error})") from None


def _check_start(query: Query) -> None:
    for gene in query.start:
        assert isinstance(gene, Gene)
        missing = [name for name in query.keep if not atomic_numbers([name]) <= set(gene.numbers)]
        if missing:
            present = ", ".join(symbol(z) for z in sorted(set(gene.numbers)))
            raise ConflictError(f"keep {', '.join(missing)}: the crystal to start from holds {present}")


def _with_prototype(query: Query) -> Query:
    """The query, if the prototype's atoms fit the stoichiometry and the size asked for.

    Where no size was asked for, a larger prototype sets it.
    """
    wanted = query.wanted_prototype
    if wanted is None:
        return query
    gene, table = prototype_gene(wanted), wyckoff_table()
    multiplicities = [int(table.primitive_multiplicity[table.index(gene.space_group, w)]) for w in gene.wyckoffs]
    atoms = [z for z, n in zip(gene.numbers, multiplicities, strict=True) for _ in range(n)]
    (least, most), counts = query.site_range, tuple(sorted(integer_composition(atoms).values()))
    if len(atoms) > most == DEFAULT_SITES:
        query, most = replace(query, max_sites=len(atoms)), len(atoms)
    if not least <= len(atoms) <= most:
        raise ConflictError(
            f"prototype {wanted} has {len(atoms)} atoms in its primitive cell, not {least} to {most}"
        )
    if query.stoichiometry and query.stoichiometry != counts:
        asked = query.formula or query.anonymous_formula
        raise ConflictError(f"prototype {wanted} is of the stoichiometry {anonymous_formula(counts)}, not {asked}")
    low, high = query.n_elements or (1, len(SYMBOLS))
    if not max(low, len(query.required_elements)) <= len(counts) <= high:
        raise ConflictError(f"prototype {wanted} has {len(counts)} elements, which contradicts the query")
    return query


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
