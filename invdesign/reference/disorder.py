"""The disordered-alloy trap: a 'new' ordered crystal that is one ordering of a known solid solution.

Two elements are taken for interchangeable when the Hume-Rothery and Goldschmidt conditions for substitution
hold: both metals, both non-metals or of one group; radii within 15 % of the larger; electronegativities within
1. Radii are metallic for metals, else covalent (Cordero); in a compound with non-metals two metals may as well
agree in Shannon's six-fold radii for a pair of common charges at most two apart. A crystal is flagged when
giving interchangeable elements one label puts atoms of different elements on *one* crystallographic orbit: then
it is an ordering of a smaller or more symmetric parent with mixed sites. Spinel MgAl2O4 is not flagged (Mg and
Al keep different sites); an ordered rutile TaCrO4 is. The parent counts as known where a polytype of it is,
and an alloy of interchangeable elements alone needs no mixed orbit if its atoms sit as those of a known element or
of a polytype of it: iridium and osmium mix in close-packed layers however these are stacked and filled.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.chemistry.electronegativity import allred
from invdesign.crystal import Crystal, IntArray
from invdesign.crystallography.distances import COVALENT_RADII
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import orbits
from invdesign.elements import symbol

if TYPE_CHECKING:
    from invdesign.reference.known import KnownCrystals

RADIUS_LIMIT = 0.15
"""Largest difference of radii, as a share of the larger one."""
ELECTRONEGATIVITY_LIMIT = 1.0
CHARGE_LIMIT = 2
SYMPREC = 0.1
"""Tolerance (Å) of the symmetry of the parent."""

NON_METALS = frozenset([1, 2, *range(5, 11), *range(14, 19), *range(32, 37), *range(51, 55), 85, 86])
"""Atomic numbers of the non-metals, B, Si, Ge, As, Sb and Te among them."""


@dataclass(frozen=True)
class Ordering:
    """A crystal read as one ordering of a parent with mixed sites.

    Attributes:
        elements: sets of symbols that share a site in the parent.
        parent: space group number of the parent.
        known: id of a known crystal with the parent's structure (an end member, or another ordering), if any.
    """

    elements: tuple[tuple[str, ...], ...]
    parent: int
    known: str | None = None

    @property
    def reason(self) -> str:
        """The finding in words."""
        shared = " and ".join("/".join(group) for group in self.elements)
        tail = f"; {self.known} is known with that structure" if self.known else ""
        return f"{shared} would share a site of a parent in space group {self.parent}{tail}"


def possible_disorder(crystal: Crystal, known: KnownCrystals | None = None) -> Ordering | None:
    """Read a crystal as an ordering of a disordered alloy, or None if it is not one by the rule above.

    Args:
        crystal: any cell.
        known: where to look for the parent; without it only the crystal itself is judged.
    """
    labels = _labels(crystal.numbers)
    if np.array_equal(labels, crystal.numbers):
        return None
    found = orbits(replace(crystal, numbers=labels, gene=None), SYMPREC)
    if found is None:
        return None
    parent, orbit = found
    shared = {tuple(sorted(set(crystal.numbers[orbit == o].tolist()))) for o in set(orbit.tolist())}
    mixed = sorted(group for group in shared if len(group) > 1)
    if not mixed:
        return _stacking(crystal, parent, known) if known and len(set(labels.tolist())) == 1 else None
    names = tuple(tuple(map(symbol, group)) for group in mixed)
    return Ordering(names, parent, _known_parent(crystal, mixed, known) if known else None)


def _stacking(crystal: Crystal, parent: int, known: KnownCrystals) -> Ordering | None:
    """An alloy whose elements fill whole layers of a known element's stacking, or of a polytype of it."""
    everything = sorted(set(crystal.numbers.tolist()))
    end = _end_member(crystal, [everything], known)
    return None if end is None else Ordering((tuple(map(symbol, everything)),), parent, end)


def interchangeable(first: int, second: int, intermetallic: bool = False) -> bool:
    """Whether two elements (atomic numbers) may replace each other on a site.

    Args:
        first: atomic number.
        second: atomic number.
        intermetallic: whether the compound holds metals alone, where ionic radii mean nothing.
    """
    return _interchangeable(min(first, second), max(first, second), intermetallic)


@lru_cache(maxsize=20_000)
def _interchangeable(first: int, second: int, intermetallic: bool) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of every radius that it lacks
        if not abs(allred()[first] - allred()[second]) <= ELECTRONEGATIVITY_LIMIT:
            return False
        non_metals = len({first, second} & NON_METALS)
        if non_metals == 1 and _group(first) != _group(second):
            return False
        if non_metals:
            return _close(float(COVALENT_RADII[first]), float(COVALENT_RADII[second]))
        if _close(*_metallic_radii(first, second)):
            return True
        return not intermetallic and any(
            _close(r1, r2) and abs(q1 - q2) <= CHARGE_LIMIT
            for (q1, r1), (q2, r2) in product(_ions(first), _ions(second))
        )


def _group(number: int) -> int:
    from pymatgen.core import Element

    return int(Element.from_Z(number).group)


def _metallic_radii(first: int, second: int) -> tuple[float, float]:
    """Metallic radii of two metals, Å; covalent ones for both where one has none (Sn, Pb, Bi)."""
    from pymatgen.core import Element

    radii = [Element.from_Z(number).metallic_radius for number in (first, second)]
    if None in radii:
        return float(COVALENT_RADII[first]), float(COVALENT_RADII[second])
    return float(radii[0]), float(radii[1])


def _close(first: float, second: float) -> bool:
    return bool(abs(first - second) <= RADIUS_LIMIT * max(first, second) + 1e-9)


def _ions(number: int) -> list[tuple[int, float]]:
    """Common charges of a metal with Shannon's radii, Å."""
    from pymatgen.core import Element

    element = Element.from_Z(number)
    radii = element.ionic_radii
    return [(int(q), float(radii[q])) for q in element.common_oxidation_states if q in radii]


def _labels(numbers: IntArray) -> IntArray:
    """Atomic numbers with interchangeable elements given the smallest one of their group."""
    label = {z: z for z in sorted(set(numbers.tolist()))}
    intermetallic = NON_METALS.isdisjoint(label)
    for first, second in combinations(sorted(label), 2):
        if label[first] != label[second] and interchangeable(first, second, intermetallic):
            old, new = sorted((label[first], label[second]), reverse=True)
            label = {z: new if value == old else value for z, value in label.items()}
    return np.array([label[z] for z in numbers.tolist()], dtype=np.int64)


def _known_parent(crystal: Crystal, mixed: Sequence[Sequence[int]], known: KnownCrystals) -> str | None:
    """A known crystal with the parent's structure, or a polytype: an end member, else another ordering."""
    return _end_member(crystal, mixed, known) or _other_ordering(crystal, mixed, known)


def _end_member(crystal: Crystal, mixed: Sequence[Sequence[int]], known: KnownCrystals) -> str | None:
    """A known crystal with one element on each mixed site and the crystal's structure, or a polytype of it."""
    for choice in product(*mixed):
        end = _merged(crystal, mixed, choice)
        try:
            found = known.match(end) or known.polytype(end)
        except ValueError:
            continue
        if found:
            return found
    return None


def _other_ordering(crystal: Crystal, mixed: Sequence[Sequence[int]], known: KnownCrystals) -> str | None:
    """A known crystal of the same elements, in any ratio, that is the same once the mixed elements are one."""
    choice = [group[0] for group in mixed]
    target = _merged(crystal, mixed, choice)
    formula = reduced_formula(target.numbers)
    try:
        own, structure = reduced(crystal), reduced(target)
    except ValueError:
        return None
    for name in known.formulas_of_system(chemical_system(crystal.numbers)):
        rows = known.rows_of_formula(name)
        if reduced_formula(_relabel(known.numbers(rows[0]), mixed, choice)) != formula:
            continue
        for row in rows:
            other = known.crystal(row)
            try:
                merged = reduced(_merged(other, mixed, choice))
                if same(structure, merged) and not same(own, reduced(other)):
                    return known.id(row)
            except ValueError:
                continue
    return None


def _merged(crystal: Crystal, mixed: Iterable[Sequence[int]], choice: Iterable[int]) -> Crystal:
    return replace(crystal, numbers=_relabel(crystal.numbers, mixed, choice), gene=None)


def _relabel(numbers: IntArray, mixed: Iterable[Sequence[int]], choice: Iterable[int]) -> IntArray:
    """The numbers with every element of a mixed group replaced by the group's chosen one."""
    label = {z: chosen for group, chosen in zip(mixed, choice, strict=True) for z in group}
    return np.array([label.get(z, z) for z in numbers.tolist()], dtype=np.int64)
