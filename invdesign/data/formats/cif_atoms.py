"""The atoms in the cell of a CIF: orbits of its sites, copies taken once, and which of two origins is meant."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from invdesign.chemistry.element_data import atomic_masses
from invdesign.crystal import Crystal, FloatArray, IntArray
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.orbits import APART, SAME, lengths_of, orbit
from invdesign.crystallography.settings import Setting
from invdesign.data.convert import OCCUPANCY_TOLERANCE
from invdesign.data.formats.cif_symmetry import Symmetry
from invdesign.data.limits import MOST_ATOMS
from invdesign.elements import SYMBOLS, symbol
from invdesign.errors import StructureReadError

_PART = re.compile(r"([A-Z][a-z]?)(\d{0,6}(?:\.\d{1,6})?)")
_LONGEST_FORMULA = 2000
_LISTED_TWICE = 0.15
"""Å: a site this near to an atom of an earlier site is that atom if the digits allow it."""
_STOICHIOMETRY, _DENSITY = 0.01, 0.05
_AVOGADRO_A3 = 0.602214076
"""Å³ in one cm³ over Avogadro's number: g/cm³ = mass (u) / volume (Å³) / this."""


@dataclass(frozen=True)
class Site:
    """One row of the atoms' loop.

    Attributes:
        name: its label.
        number: atomic number.
        position: (3,) fractional coordinates as printed.
        slack: (3,) how far each may be off.
        occupancy: share of the place that is taken.
        multiplicity: atoms in the cell that the file states for it, if it does.
    """

    name: str
    number: int
    position: FloatArray
    slack: FloatArray
    occupancy: float = 1.0
    multiplicity: int | None = None


@dataclass(frozen=True)
class Stated:
    """What a block says of its atoms as a whole, where it does: formula, formula units in the cell, density in
    g/cm³."""

    formula: Mapping[str, float]
    units: int | None = None
    density: float | None = None


@dataclass(frozen=True)
class Atoms:
    """The atoms in the cell in one setting: atomic numbers, (n, 3) coordinates, and the number of atoms of each
    site."""

    setting: Setting
    numbers: tuple[int, ...]
    coords: FloatArray
    counts: tuple[int, ...]

    @property
    def composition(self) -> Counter[str]:
        """Number of atoms by symbol."""
        return Counter(symbol(z) for z in self.numbers)

    def __str__(self) -> str:
        """The formula of the cell."""
        return " ".join(f"{name}{count}" for name, count in sorted(self.composition.items()))


def formula_of(text: str | None) -> dict[str, float]:
    """Numbers of atoms by symbol in a formula such as `Al2 O3` or `Al2O3`, deuterium as hydrogen; empty if it is
    none."""
    compact = "".join((text or "").split())
    parts = _PART.findall(compact) if len(compact) <= _LONGEST_FORMULA else []
    if "".join(name + count for name, count in parts) != compact:
        return {}
    amounts: dict[str, float] = {}
    for letters, count in parts:
        name = {"D": "H", "T": "H"}.get(letters, letters)
        if name not in SYMBOLS:
            return {}
        amounts[name] = amounts.get(name, 0.0) + float(count or 1)
    return {name: amount for name, amount in amounts.items() if amount > 0}


def atoms_of(symmetry: Symmetry, sites: Sequence[Site], lattice: FloatArray, stated: Stated) -> Atoms:
    """All atoms in the cell.

    Two origins are told apart by formula, formula units, multiplicities, density and room between the atoms.
    Where all that is silent and both give the same numbers of atoms, the reference setting of the International
    Tables (origin choice 2) holds.

    Raises:
        StructureReadError: if a site is disordered, copies are too near, two origins are left, or the
            operations listed leave out atoms that the symbol asks for."""
    if symmetry.is_listed:
        return _listed(symmetry, sites, lattice, stated)
    found, errors = [], []
    for setting in symmetry.settings:
        try:
            found.append(_expanded(setting, sites, lattice))
        except StructureReadError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    if len(found) > 1:
        found = _supported(found, sites, lattice, stated)
    if len({str(atoms) for atoms in found}) > 1:
        meanings = " or ".join(f"{atoms.setting.symbol} with {atoms}" for atoms in found)
        raise StructureReadError(f"{symmetry.statement} leaves the origin open: {meanings}")
    return next((atoms for atoms in found if atoms.setting.choice == "2"), found[0])


def has_formula(atoms: Atoms, formula: Mapping[str, float]) -> bool:
    """Whether the atoms are a multiple of a formula; true if there is none."""
    composition = atoms.composition
    if composition.keys() != formula.keys():
        return not formula
    ratios = [composition[name] / amount for name, amount in formula.items()]
    return max(ratios) <= min(ratios) * (1.0 + _STOICHIOMETRY)


def _listed(symmetry: Symmetry, sites: Sequence[Site], lattice: FloatArray, stated: Stated) -> Atoms:
    """The atoms by the operations listed; where the symbol asks for more, both must give the same or the file
    must decide."""
    found = [_expanded(symmetry.settings[0], sites, lattice)]
    for claimed in symmetry.claimed:
        try:
            found.append(_expanded(claimed, sites, lattice))
        except StructureReadError:
            continue
    if len({str(atoms) for atoms in found}) > 1:
        found = [atoms for atoms in found if has_formula(atoms, stated.formula) and _has_units(atoms, stated)]
    if len({str(atoms) for atoms in found}) != 1:
        raise StructureReadError(f"{symmetry.statement} are not those of {symmetry.claim}: atoms may be missing")
    return found[0]


def _has_units(atoms: Atoms, stated: Stated) -> bool:
    """Whether there are as many formula units as the file states."""
    total = (stated.units or 0) * sum(stated.formula.values())
    return total > 0 and abs(len(atoms.numbers) / total - 1.0) < _STOICHIOMETRY


def _supported(found: Sequence[Atoms], sites: Sequence[Site], lattice: FloatArray, stated: Stated) -> list[Atoms]:
    """The meanings that what the file states supports; a statement that supports none is passed over."""
    volume = abs(float(np.linalg.det(lattice)))

    def has_units(atoms: Atoms) -> bool:
        return _has_units(atoms, stated)

    def has_multiplicities(atoms: Atoms) -> bool:
        pairs = [(s.multiplicity, n) for s, n in zip(sites, atoms.counts, strict=True) if s.multiplicity]
        return bool(pairs) and all(m == n for m, n in pairs)

    def has_density(atoms: Atoms) -> bool:
        weight = float(atomic_masses(atoms.numbers).sum()) / (volume * _AVOGADRO_A3)
        return stated.density is not None and abs(weight - stated.density) < _DENSITY * weight

    def has_room(atoms: Atoms) -> bool:
        return shortest_distance(Crystal(lattice, np.array(atoms.numbers), atoms.coords)) > APART

    def has_stated_formula(atoms: Atoms) -> bool:
        return has_formula(atoms, stated.formula)

    for rule in (has_stated_formula, has_units, has_multiplicities, has_density, has_room):
        found = [atoms for atoms in found if rule(atoms)] or found
    return list(found)


def _expanded(setting: Setting, sites: Sequence[Site], lattice: FloatArray) -> Atoms:
    """All atoms in one setting; a site on an atom of an earlier one is its copy, or an ion that shares its
    place."""
    metric = lattice @ lattice.T
    occupancy = [site.occupancy for site in sites]
    coords, owners, counts = np.empty((0, 3)), np.empty(0, dtype=np.int64), []
    for index, site in enumerate(sites):
        try:
            points = orbit(setting, site.position, site.slack, metric)
        except ValueError as error:
            if abs(site.occupancy - 1.0) > OCCUPANCY_TOLERANCE:
                raise _disordered(site, site.occupancy) from None
            raise StructureReadError(f"site {site.name} lies {error}") from None
        counts.append(len(points))
        owner = _owner(sites, index, coords, owners, metric)
        if owner is not None:
            _share(sites, occupancy, owner, index)
            continue
        coords = np.concatenate([coords, points])
        owners = np.concatenate([owners, np.full(len(points), index)])
        if len(coords) > MOST_ATOMS:
            raise StructureReadError(f"more than {MOST_ATOMS} atoms in the cell")
    for index in dict.fromkeys(owners.tolist()):
        if abs(occupancy[index] - 1.0) > OCCUPANCY_TOLERANCE:
            raise _disordered(sites[index], occupancy[index])
    return Atoms(setting, tuple(sites[k].number for k in owners.tolist()), coords, tuple(counts))


def _disordered(site: Site, occupancy: float) -> StructureReadError:
    return StructureReadError(f"disordered: site {site.name} is occupied by {occupancy:g} {symbol(site.number)}")


def _owner(
    sites: Sequence[Site], index: int, coords: FloatArray, owners: IntArray, metric: FloatArray
) -> int | None:
    """The earlier site that has an atom where this one is."""
    if not len(coords):
        return None
    moves = coords - sites[index].position
    moves -= np.rint(moves)
    lengths = lengths_of(moves, metric)
    nearest = int(lengths.argmin())
    if lengths[nearest] > _LISTED_TWICE:
        return None
    slack = sites[index].slack + sites[int(owners[nearest])].slack + 1e-9
    is_same = lengths[nearest] < SAME or bool((np.abs(moves[nearest]) <= slack).all())
    return int(owners[nearest]) if is_same else None


def _share(sites: Sequence[Site], occupancy: list[float], first: int, second: int) -> None:
    """Put a second site on the place of a first: a copy of it, or another ion of the same element."""
    one, two = sites[first], sites[second]
    if one.number != two.number:
        raise StructureReadError(f"disordered: sites {one.name} and {two.name} share a place")
    if one.occupancy < 1.0 - OCCUPANCY_TOLERANCE or two.occupancy < 1.0 - OCCUPANCY_TOLERANCE:
        occupancy[first] += two.occupancy
    elif math.isclose(float(np.abs(one.position - two.position).max()), 0.0, abs_tol=1e-9):
        raise StructureReadError(f"sites {one.name} and {two.name} are at the same position")
