"""Moves in the space of Wyckoff genes, each a function of one or two parents.

Which element takes another's place is drawn by the exchanges that were counted among known crystals
(`scripts/build_substitution.py`, after Hautier et al., Inorg. Chem. 50, 656 (2011)). A move that leaves the sites
alone keeps the coordinates of its parent and scales the cell to the new elements; one that changes them draws the
new coordinates at random and is marked, so that a geometry model may draw them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Gene
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table
from invdesign.evolution.orbits import (
    Orbit,
    gene_of,
    orbits_of,
    relabelled,
    rescaled,
    scaled_lattice,
    sites,
    suggested_volume,
)
from invdesign.evolution.subgroups import SYMPREC, decorated

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

PAIRS = 0.35
"""Share of exchanges of elements in which two go at once."""
NEW_ELEMENT = 0.4
"""Share of added or split orbits that get an element which the parent does not hold."""
LATTICE_STEP, COORDINATE_STEP = 0.03, 0.03
"""Standard deviations of a random step of lattice parameters (relative; degrees × 100) and free coordinates."""


@dataclass(frozen=True, eq=False)
class Chemistry:
    """What moves know of the elements and of the room that a query leaves.

    Attributes:
        odds: (n, n) chance that element `j` takes the place of element `i`, by atomic number.
        element_volume: (n,) volume that an atom suggests, Å³; 0 for elements of no known crystal.
        allowed: (n,) whether an element may occur.
        nonmetals: (n,) which elements are non-metals.
        electronegativity: (n,) Pauling's; NaN where there is none.
        kept: atomic numbers whose sites are left alone.
        max_sites: largest number of atoms in the primitive cell.
    """

    odds: Array
    element_volume: Array
    allowed: BoolArray
    nonmetals: BoolArray
    electronegativity: Array
    kept: frozenset[int] = frozenset()
    max_sites: int = 20

    def replacement(self, rng: np.random.Generator, old: int, taken: Sequence[int]) -> int | None:
        """An allowed element that takes the place of `old`, none of those taken."""
        weights = np.where(self.allowed, self.odds[old], 0.0)
        weights[list(taken)] = 0.0
        return draw(rng, weights)


@dataclass(frozen=True)
class Child:
    """What a move makes.

    Attributes:
        gene: the new gene.
        redraw: whether its coordinates are random and a geometry model should draw them.
    """

    gene: Gene
    redraw: bool = False


Move = Callable[[np.random.Generator, Gene, Gene, Chemistry], "Child | None"]
"""A move: random source, parent, second parent (for crossover), chemistry; None where it cannot be made."""


def draw(rng: np.random.Generator, weights: Array) -> int | None:
    """An index in proportion to its weight; None if all are zero."""
    ends = np.cumsum(weights)
    if not ends[-1] > 0.0:
        return None
    return int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))


def exchange(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """One or two elements exchanged for others; those that are not allowed go first."""
    present = sorted(set(gene.numbers))
    goes = [z for z in present if not chemistry.allowed[z]]
    free = [z for z in present if chemistry.allowed[z] and z not in chemistry.kept]
    wanted = min(max(1 + int(rng.random() < PAIRS), len(goes)), len(goes) + len(free))
    goes += [free[i] for i in rng.permutation(len(free))[: wanted - len(goes)]]
    return _exchanged(rng, gene, goes, chemistry)


def exchange_sublattice(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """All metals, or all non-metals, exchanged at once."""
    present = sorted(set(gene.numbers))
    nonmetal = bool(rng.random() < 0.5)
    goes = [z for z in present if chemistry.nonmetals[z] == nonmetal and z not in chemistry.kept]
    goes += [z for z in present if not chemistry.allowed[z] and z not in goes]
    return _exchanged(rng, gene, goes, chemistry)


def _exchanged(rng: np.random.Generator, gene: Gene, goes: Sequence[int], chemistry: Chemistry) -> Child | None:
    if not goes:
        return None
    swaps: dict[int, int] = {}
    present = sorted(set(gene.numbers))
    for old in goes:
        new = chemistry.replacement(rng, old, [*present, *swaps.values()])
        if new is None:
            return None
        swaps[old] = new
    return Child(relabelled(gene, swaps, chemistry.element_volume))


def exchange_orbit(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """One orbit of an element that has several gets another element: one of the crystal's, or a new one."""
    orbits = orbits_of(gene)
    several = [
        i for i, o in enumerate(orbits) if gene.numbers.count(o.number) > 1 and o.number not in chemistry.kept
    ]
    if not several:
        return None
    i = several[int(rng.integers(len(several)))]
    number = _other_element(rng, gene, orbits[i].number, chemistry)
    if number is None:
        return None
    orbits[i] = Orbit(orbits[i].wyckoff, number, orbits[i].coords)
    return Child(rescaled(gene, orbits, chemistry.element_volume))


def merge_elements(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """One element takes the places of another of the crystal; the crystal is read again in the symmetry that it
    has.

    Silicon carbide becomes a polytype of diamond in this way, an ordered alloy its end member.
    """
    present = sorted(set(gene.numbers))
    goes = [z for z in present if z not in chemistry.kept]
    stays = [z for z in present if chemistry.allowed[z]]
    if len(present) < 2 or not goes or not stays:
        return None
    old, new = goes[int(rng.integers(len(goes)))], stays[int(rng.integers(len(stays)))]
    if old == new:
        return None
    return _read_again(relabelled(gene, {old: new}, chemistry.element_volume))


def _read_again(gene: Gene) -> Child | None:
    """The gene of the same crystal in its full symmetry."""
    try:
        return Child(encode(decode([gene])[0], SYMPREC))
    except ValueError:
        return None


def swap_sites(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """Two elements exchange their places."""
    present = [z for z in sorted(set(gene.numbers)) if z not in chemistry.kept]
    if len(present) < 2:
        return None
    a, b = (present[i] for i in rng.permutation(len(present))[:2])
    return Child(relabelled(gene, {a: b, b: a}, chemistry.element_volume))


def add_orbit(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """One more orbit on a position that is free."""
    orbits = orbits_of(gene)
    room = chemistry.max_sites - sites(gene.space_group, orbits)
    wyckoff = _free_position(rng, gene.space_group, orbits, room)
    old = orbits[int(rng.integers(len(orbits)))].number
    number = _any_element(rng, gene, old, chemistry)
    if wyckoff is None or number is None:
        return None
    orbits.append(_placed(rng, gene.space_group, wyckoff, number))
    return Child(rescaled(gene, orbits, chemistry.element_volume), redraw=True)


def remove_orbit(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """One orbit fewer."""
    orbits = orbits_of(gene)
    spare = [i for i, o in enumerate(orbits) if o.number not in chemistry.kept]
    if len(orbits) < 2 or not spare:
        return None
    del orbits[spare[int(rng.integers(len(spare)))]]
    return Child(rescaled(gene, orbits, chemistry.element_volume), redraw=True)


def split_orbit(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """An orbit becomes two of half its multiplicity, one of them with another element."""
    orbits, table = orbits_of(gene), wyckoff_table()
    first = int(table.group_start[gene.space_group - 1])
    counts = table.primitive_multiplicity[first : first + table.count(gene.space_group)]
    order = rng.permutation(len(orbits))
    for i in order:
        orbit, rest = orbits[i], [o for k, o in enumerate(orbits) if k != i]
        half = int(counts[orbit.wyckoff]) // 2
        if 2 * half != counts[orbit.wyckoff] or orbit.number in chemistry.kept:
            continue
        one = _free_position(rng, gene.space_group, rest, half, exactly=half)
        number = _other_element(rng, gene, orbit.number, chemistry)
        if one is None or number is None:
            continue
        parts = [_placed(rng, gene.space_group, one, orbit.number)]
        two = _free_position(rng, gene.space_group, [*rest, *parts], half, exactly=half)
        if two is None:
            continue
        parts.append(_placed(rng, gene.space_group, two, number))
        return Child(rescaled(gene, [*rest, *parts], chemistry.element_volume), redraw=True)
    return None


def merge_orbits(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """Two orbits of equal multiplicity become one of twice that, with the element of either."""
    orbits, table = orbits_of(gene), wyckoff_table()
    first = int(table.group_start[gene.space_group - 1])
    counts = table.primitive_multiplicity[first : first + table.count(gene.space_group)]
    order = rng.permutation(len(orbits))
    for a, i in enumerate(order):
        for j in order[a + 1 :]:
            if counts[orbits[i].wyckoff] != counts[orbits[j].wyckoff]:
                continue
            if {orbits[i].number, orbits[j].number} & chemistry.kept:
                continue
            rest = [o for k, o in enumerate(orbits) if k not in (i, j)]
            double = 2 * int(counts[orbits[i].wyckoff])
            wyckoff = _free_position(rng, gene.space_group, rest, double, exactly=double)
            if wyckoff is None:
                continue
            merged = _placed(rng, gene.space_group, wyckoff, orbits[i].number)
            return Child(rescaled(gene, [*rest, merged], chemistry.element_volume), redraw=True)
    return None


def crossover_chemistry(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """The sites of one parent with the elements of the other, in the order of electronegativity.

    Where the other parent has fewer elements, those of the first that are left keep their place.
    """
    mine = sorted(set(gene.numbers), key=lambda z: _rank(chemistry, z))
    theirs = sorted(set(other.numbers), key=lambda z: _rank(chemistry, z))
    if set(mine) == set(theirs):
        return None
    n = min(len(mine), len(theirs))
    places = sorted(rng.permutation(len(mine))[:n].tolist())
    chosen = sorted(rng.permutation(len(theirs))[:n].tolist())
    swaps = {mine[p]: theirs[c] for p, c in zip(places, chosen, strict=True)}
    left = [z for z in mine if z not in swaps]
    made = relabelled(gene, swaps, chemistry.element_volume)
    return _read_again(made) if set(left) & set(swaps.values()) else Child(made)


def crossover_orbits(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """Some orbits of each parent; both must have the same space group."""
    if gene.space_group != other.space_group:
        return None
    table = wyckoff_table()
    first = int(table.group_start[gene.space_group - 1])
    pool = [*orbits_of(gene), *orbits_of(other)]
    chosen: list[Orbit] = []
    for i in rng.permutation(len(pool)):
        orbit = pool[i]
        fixed = not table.freedom[first + orbit.wyckoff]
        if fixed and any(o.wyckoff == orbit.wyckoff for o in chosen):
            continue
        if sites(gene.space_group, [*chosen, orbit]) <= chemistry.max_sites and rng.random() < 0.6:
            chosen.append(orbit)
    if not chosen:
        return None
    return Child(rescaled(gene, chosen, chemistry.element_volume), redraw=True)


def jitter(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """A small random step of lattice and free coordinates."""
    moved = [Orbit(o.wyckoff, o.number, tuple(_step(rng, u) for u in o.coords)) for o in orbits_of(gene)]
    lattice = tuple(
        round(v * float(np.exp(LATTICE_STEP * rng.standard_normal())), 5)
        if k < 3
        else round(v + 100.0 * LATTICE_STEP * float(rng.standard_normal()), 5)
        for k, v in zip(FREE_LATTICE[lattice_family(gene.space_group)], gene.free_lattice, strict=True)
    )
    return Child(gene_of(gene.space_group, moved, lattice))


def _step(rng: np.random.Generator, u: float) -> float:
    """A free coordinate after a random step."""
    return round((u + COORDINATE_STEP * float(rng.standard_normal())) % 1.0, 6)


def lower_symmetry(rng: np.random.Generator, gene: Gene, other: Gene, chemistry: Chemistry) -> Child | None:
    """Half of an orbit gets another element, in the cell or in a doubled one: a step to a subgroup."""
    free = [z for z in sorted(set(gene.numbers)) if z not in chemistry.kept]
    if not free:
        return None
    old = free[int(rng.integers(len(free)))]
    number = _any_element(rng, gene, old, chemistry)
    if number is None or number == old:
        return None
    found = decorated(rng, gene, old, number, chemistry.max_sites)
    if found is None:
        return None
    before = suggested_volume(gene.space_group, orbits_of(gene), chemistry.element_volume)
    after = suggested_volume(found.space_group, orbits_of(found), chemistry.element_volume)
    times = sites(found.space_group, orbits_of(found)) / sites(gene.space_group, orbits_of(gene))
    scale = (after / (times * before)) ** (1.0 / 3.0) if before > 0.0 else 1.0
    return Child(gene_of(found.space_group, orbits_of(found), scaled_lattice(found, scale)))


MOVES: dict[str, Move] = {
    "exchange": exchange,
    "exchange_sublattice": exchange_sublattice,
    "exchange_orbit": exchange_orbit,
    "merge_elements": merge_elements,
    "swap_sites": swap_sites,
    "add_orbit": add_orbit,
    "remove_orbit": remove_orbit,
    "split_orbit": split_orbit,
    "merge_orbits": merge_orbits,
    "crossover_chemistry": crossover_chemistry,
    "crossover_orbits": crossover_orbits,
    "jitter": jitter,
    "lower_symmetry": lower_symmetry,
}
"""Every move by name."""


def _other_element(rng: np.random.Generator, gene: Gene, old: int, chemistry: Chemistry) -> int | None:
    """An element other than `old`: one of the crystal's, or a new one."""
    mine = [z for z in sorted(set(gene.numbers)) if z != old and chemistry.allowed[z]]
    if mine and rng.random() > NEW_ELEMENT:
        return mine[int(rng.integers(len(mine)))]
    return chemistry.replacement(rng, old, sorted(set(gene.numbers)))


def _any_element(rng: np.random.Generator, gene: Gene, old: int, chemistry: Chemistry) -> int | None:
    """An allowed element of the crystal, or a new one in the place of `old`."""
    mine = [z for z in sorted(set(gene.numbers)) if chemistry.allowed[z]]
    if mine and rng.random() > NEW_ELEMENT:
        return mine[int(rng.integers(len(mine)))]
    return chemistry.replacement(rng, old, sorted(set(gene.numbers)))


def _free_position(
    rng: np.random.Generator, space_group: int, orbits: Sequence[Orbit], room: int, exactly: int | None = None
) -> int | None:
    """A Wyckoff position that may be occupied once more, small ones likelier; None if there is none."""
    table = wyckoff_table()
    first, count = int(table.group_start[space_group - 1]), table.count(space_group)
    sizes = table.primitive_multiplicity[first : first + count]
    usable = (sizes == exactly) if exactly is not None else (sizes <= room)
    taken = {o.wyckoff for o in orbits}
    usable &= np.array([table.freedom[first + w] > 0 or w not in taken for w in range(count)])
    return draw(rng, usable / sizes)


def _placed(rng: np.random.Generator, space_group: int, wyckoff: int, number: int) -> Orbit:
    """An orbit with random free coordinates."""
    table = wyckoff_table()
    freedom = int(table.freedom[table.group_start[space_group - 1] + wyckoff])
    return Orbit(wyckoff, number, tuple(round(float(u), 5) for u in rng.random(freedom)))


def _rank(chemistry: Chemistry, z: int) -> tuple[float, int]:
    value = float(chemistry.electronegativity[z])
    return (value if value == value else 0.0, z)
