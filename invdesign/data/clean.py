"""Cleaning of training tables, with an account of what was removed and why.

Two kinds of rules. A *crystal* that no real one resembles leaves the table. A *label* that contradicts physics, or
its neighbour in the row, is emptied while the crystal and its other labels stay. Every removal is a row of the
account with the rule and the number that decided.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal, FloatArray
from invdesign.crystallography.distances import (
    COVALENT_RADII,
    covalent_volume_ratio,
    reduce_lattice,
    shortest_ratio,
)
from invdesign.crystallography.matching import reduced, same
from invdesign.data.convert import from_row
from invdesign.data.labels import property_of
from invdesign.elements import atomic_numbers
from invdesign.errors import StructureReadError
from invdesign.properties import PROPERTIES
from invdesign.units import GPA

if TYPE_CHECKING:
    import pandas as pd

_INERT = atomic_numbers(["He", "Ne", "Ar"])
_NOBLE = _INERT | atomic_numbers(["Kr", "Xe", "Rn"])


@dataclass(frozen=True)
class Rules:
    """The bounds; the defaults were set on the crystals of the Materials Project.

    Attributes:
        closest: smallest distance over the sum of the two covalent radii. Bonds stand near 1, and no crystal known
            from experiment (up to 20 sites) lies below 1/2.
        farthest: the same ratio beyond which nothing touches anything (lone hydrogen atoms at 7, argon at 1.8).
        sparsest: largest volume per atom, Å³: caesium, the loosest solid, has 115.
        loosest: largest volume per atom in covalent spheres of the largest atom, for those above 60 Å³: chains and
            molecules in vacuum have 10 and more, molecular bromides and iodides up to 7 (at 46 to 53 Å³).
        noble_gases: whether He, Ne and Ar compounds and pure noble gases are removed.
        softest: moduli at or below it are emptied, GPa: tables that round to 1 GPa use it as their floor.
        stiffest: largest bulk modulus times volume per atom, eV: osmium has 36, and no solid is stiffer per atom.
        shear_stiffest: the same for the shear modulus: osmium has 23.
        poisson: bounds of Poisson's ratio (3K - 2G)/(6K + 2G). Stability asks for -1 to 1/2; isotropic averages of
            known crystals lie between -0.3 (AlPO4 as cristobalite) and 0.47, and beyond 0.48 the shear modulus is
            the difference of large numbers.
        formation_energy: bounds in eV/atom: the lowest of the Materials Project is -4.6, and above 4 most solids
            would fly apart.
        below_hull: how far below the hull of its own reference a crystal may be said to lie, eV/atom; up to there
            the energy above the hull is set to 0.
        duplicate_volume: relative difference of volume per atom within which equal formulas are compared.
        duplicate_distance: relative difference of all mean neighbour distances below which a structure matcher
            decides whether two are the same.
    """

    closest: float = 0.5
    farthest: float = 1.6
    sparsest: float = 130.0
    loosest: float = 6.0
    noble_gases: bool = True
    softest: float = 1.0
    stiffest: float = 37.0
    shear_stiffest: float = 24.0
    poisson: tuple[float, float] = (-0.36, 0.48)
    formation_energy: tuple[float, float] = (-5.0, 4.0)
    below_hull: float = 0.05
    duplicate_volume: float = 0.01
    duplicate_distance: float = 0.005


@dataclass(frozen=True)
class Removal:
    """One thing taken out: a whole crystal, or one label of it.

    Attributes:
        row: position in the table that was cleaned.
        material: its `material_id`, or the row number where there is none.
        formula: reduced formula; empty if unreadable.
        what: `crystal`, or the property whose label was emptied.
        rule: name of the rule.
        reason: what was found, in words, with the number that decided.
    """

    row: int
    material: str
    formula: str
    what: str
    rule: str
    reason: str


@dataclass(frozen=True)
class Cleaned:
    """The rows that were kept, and the account of the rest.

    Attributes:
        frame: the kept rows, in order, with their index; properties under their own names.
        removals: everything taken out, in order of rows.
        n_rows: rows before.
        n_labels: labels before, by property.
    """

    frame: pd.DataFrame
    removals: tuple[Removal, ...]
    n_rows: int
    n_labels: dict[str, int]

    def account(self) -> pd.DataFrame:
        """One row per removal, for a file."""
        import pandas as pd

        return pd.DataFrame([vars(r) for r in self.removals], columns=list(Removal.__dataclass_fields__))

    def summary(self) -> str:
        """The counts by rule, for a log or a page."""
        lines = [f"{self.n_rows} crystals in, {len(self.frame)} kept"]
        for what in ("crystal", *self.n_labels):
            mine = [r.rule for r in self.removals if r.what == what]
            total = self.n_rows if what == "crystal" else self.n_labels[what]
            counts = ", ".join(f"{rule} {mine.count(rule)}" for rule in sorted(set(mine)))
            lines.append(f"{what}: {len(mine)} of {total} removed" + (f" ({counts})" if counts else ""))
        return "\n".join(lines)


def clean(frame: pd.DataFrame, rules: Rules | None = None) -> Cleaned:
    """Remove crystals and labels that cannot be right.

    Args:
        frame: a table as :func:`invdesign.data.read.read_frame` returns it, or one with the same columns whose
            properties stand under other known names (`bulk_modulus_vrh`).
        rules: the bounds.

    Returns:
        The kept rows with properties renamed to their own names, and the account.
    """
    rules = rules or Rules()
    table = _renamed(frame).reset_index(drop=True)
    crystals, removals = _readable(table)
    for row, crystal in enumerate(crystals):
        if crystal is not None and (fault := crystal_fault(crystal, rules)):
            removals.append(_removal(table, row, crystal, "crystal", *fault))
    removals += _duplicates(table, crystals, {r.row for r in removals}, rules)
    gone = {r.row for r in removals}
    properties = [name for name in PROPERTIES if name in table]
    n_labels = {name: int(table[name].notna().sum()) for name in properties}
    values = {name: table[name].to_numpy(dtype=float, copy=True) for name in properties}
    for row, crystal in enumerate(crystals):
        if crystal is not None and row not in gone:
            labels = {name: float(column[row]) for name, column in values.items()}
            for name, fault in label_faults(labels, crystal, rules).items():
                removals.append(_removal(table, row, crystal, name, *fault))
    for removal in removals:
        if removal.what != "crystal":
            values[removal.what][removal.row] = math.nan
    if "energy_above_hull" in values:
        values["energy_above_hull"] = np.maximum(values["energy_above_hull"], 0.0)
    kept = table.assign(**values).set_axis(frame.index).loc[[i not in gone for i in range(len(table))]]
    return Cleaned(kept, tuple(sorted(removals, key=lambda r: r.row)), len(frame), n_labels)


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of properties under their own names; a column that has the name already wins."""
    names = {c: property_of(str(c)) for c in frame.columns}
    renaming = {c: name for c, name in names.items() if name and c != name and name not in frame.columns}
    return frame.rename(columns=renaming)


def _material(table: pd.DataFrame, row: int) -> str:
    return str(table["material_id"].iat[row]) if "material_id" in table else str(row)


def _removal(table: pd.DataFrame, row: int, crystal: Crystal, what: str, rule: str, reason: str) -> Removal:
    return Removal(row, _material(table, row), reduced_formula(crystal.numbers), what, rule, reason)


def _readable(table: pd.DataFrame) -> tuple[list[Crystal | None], list[Removal]]:
    crystals: list[Crystal | None] = []
    removals = []
    columns = [c for c in ("lattice_parameters", "lattice", "atomic_numbers", "frac_coords") if c in table]
    for index, values in enumerate(table[columns].itertuples(index=False, name=None)):
        try:
            crystals.append(from_row(dict(zip(columns, values, strict=True))))
        except StructureReadError as error:
            crystals.append(None)
            removals.append(Removal(index, _material(table, index), "", "crystal", "unreadable", str(error)))
    return crystals, removals


def crystal_fault(crystal: Crystal, rules: Rules | None = None) -> tuple[str, str] | None:
    """The first rule that a crystal breaks, and what was found; None for a sound one."""
    rules = rules or Rules()
    elements = set(crystal.numbers.tolist())
    if rules.noble_gases and (elements & _INERT or elements <= _NOBLE):
        return "noble gas", "holds a noble gas that forms no solid compound"
    if crystal.volume < 1.0:
        return "too close", f"a cell of {crystal.volume:.2g} Å³"
    per_atom = crystal.volume / crystal.n_sites
    radii = COVALENT_RADII[crystal.numbers]
    sphere = 4.0 / 3.0 * math.pi * float(np.nanmax(radii, initial=0.0)) ** 3
    if per_atom > min(rules.sparsest, max(60.0, rules.loosest * sphere)):
        return "sparse", f"{per_atom:.0f} Å³ per atom: more vacuum than solid"
    ratio = _closest(crystal, radii, rules.closest)
    if ratio < rules.closest:
        return "too close", f"two atoms at {ratio:.2f} of the sum of their covalent radii"
    if covalent_volume_ratio(crystal) > rules.farthest**3:  # only then can spheres of that size be apart
        ratio = shortest_ratio(crystal)
        if ratio > rules.farthest:
            return "isolated", f"no two atoms nearer than {ratio:.1f} times the sum of their covalent radii"
    return None


def label_faults(
    labels: Mapping[str, float], crystal: Crystal, rules: Rules | None = None
) -> dict[str, tuple[str, str]]:
    """The labels of a crystal that cannot be right.

    Args:
        labels: property name to value, as :func:`invdesign.data.read.read_table` gives them.
        crystal: the crystal that they belong to.
        rules: the bounds.

    Returns:
        Property name to the first rule that its label breaks and what was found.
    """
    faults: dict[str, tuple[str, str]] = {}
    known = {name: value for name, value in labels.items() if math.isfinite(value)}
    for name, rule, reason in _broken_labels(known, crystal.volume / crystal.n_sites, rules or Rules()):
        if name in known:
            faults.setdefault(name, (rule, reason))
    return faults


def _closest(crystal: Crystal, radii: FloatArray, limit: float) -> float:
    """Smallest distance over the sum of radii among all pairs below `limit`; infinite if there is none."""
    if np.isnan(radii).any():
        return math.inf
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0)
    most = np.floor(2.0 * radii.max() * limit / spacing + 0.5).astype(int)
    if np.prod(2.0 * most + 1) > 200:
        return shortest_ratio(crystal)
    images = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), axis=-1).reshape(-1, 3)
    first, second = np.triu_indices(crystal.n_sites)
    delta = crystal.frac_coords[first] - crystal.frac_coords[second]
    delta -= np.rint(delta)
    vectors = (delta[:, None, :] + images) @ crystal.lattice
    squared = np.einsum("pik,pik->pi", vectors, vectors)
    squared[np.ix_(first == second, ~images.any(axis=1))] = np.inf
    ratio = float((np.sqrt(squared.min(axis=1)) / (radii[first] + radii[second])).min())
    return ratio if ratio < limit else math.inf


def _broken_labels(label: dict[str, float], per_atom: float, rules: Rules) -> Iterator[tuple[str, str, str]]:
    for name, value in label.items():
        prop = PROPERTIES[name]
        if name not in ("energy_above_hull", "formation_energy") and not prop.low <= value <= prop.high:
            yield name, "out of range", f"{value:g} {prop.unit} is outside {prop.low:g} to {prop.high:g}"
    for name in ("bulk_modulus", "shear_modulus"):
        if label.get(name, math.inf) <= rules.softest:
            yield name, "at the floor", f"{label[name]:g} GPa"
    bulk, shear = label.get("bulk_modulus", math.nan), label.get("shear_modulus", math.nan)
    if (stiffness := bulk * per_atom / GPA) > rules.stiffest:
        reason = f"K = {bulk:g} GPa is {stiffness:.0f} eV per atom, more than osmium's"
        yield "bulk_modulus", "stiffer than any solid", reason
        yield "shear_modulus", "with its bulk modulus", reason
    if (stiffness := shear * per_atom / GPA) > rules.shear_stiffest:
        reason = f"G = {shear:g} GPa is {stiffness:.0f} eV per atom, more than osmium's"
        yield "shear_modulus", "stiffer than any solid", reason
    poisson = (3.0 * bulk - 2.0 * shear) / (6.0 * bulk + 2.0 * shear) if min(bulk, shear) > 0 else math.nan
    if poisson < rules.poisson[0]:
        reason = f"K = {bulk:g} and G = {shear:g} GPa make Poisson's ratio {poisson:.2f}"
        yield "bulk_modulus", "Poisson's ratio too low", reason
        yield "shear_modulus", "Poisson's ratio too low", reason
    if poisson > rules.poisson[1]:
        reason = f"K = {bulk:g} and G = {shear:g} GPa make Poisson's ratio {poisson:.3f}"
        yield "shear_modulus", "Poisson's ratio too high", reason
    low, high = rules.formation_energy
    energy, hull = label.get("formation_energy", math.nan), label.get("energy_above_hull", math.nan)
    if energy < low or energy > high:
        yield "formation_energy", "absurd", f"{energy:g} eV/atom is outside {low:g} to {high:g}"
        yield "energy_above_hull", "with its formation energy", f"of {energy:g} eV/atom"
    if hull < -rules.below_hull:
        yield "energy_above_hull", "below the hull", f"{hull:g} eV/atom"
    if hull > PROPERTIES["energy_above_hull"].high:
        yield "energy_above_hull", "absurd", f"{hull:g} eV/atom"


def _duplicates(
    table: pd.DataFrame, crystals: Sequence[Crystal | None], gone: set[int], rules: Rules
) -> list[Removal]:
    """Rows that are another row's crystal again; of each set the one with the most labels stays.

    Equal formula, space group and volume do not make two crystals the same: of such pairs in the Materials Project
    one in fifty is. The mean distances from each element to its neighbours tell most others apart, and pymatgen's
    `StructureMatcher` decides on the rest (polytypes, and elements that have changed places).
    """
    groups: dict[str, list[tuple[float, int]]] = {}
    for row, crystal in enumerate(crystals):
        if crystal is not None and row not in gone:
            per_atom = crystal.volume / crystal.n_sites
            groups.setdefault(reduced_formula(crystal.numbers), []).append((per_atom, row))
    rank = table[[name for name in PROPERTIES if name in table]].notna().sum(axis=1).to_numpy()
    removals = []
    for formula, members in groups.items():
        for row, other in _same(sorted(members), crystals, rank, rules):
            reason = f"the same crystal as {_material(table, other)}"
            removals.append(Removal(row, _material(table, row), formula, "crystal", "duplicate", reason))
    return removals


def _same(
    members: list[tuple[float, int]], crystals: Sequence[Crystal | None], rank: NDArray[Any], rules: Rules
) -> Iterator[tuple[int, int]]:
    """Pairs (row to remove, row that stays) among crystals of one formula, sorted by volume per atom."""
    seen: dict[int, FloatArray] = {}
    removed = set[int]()
    for index, (volume, row) in enumerate(members):
        for larger, other in members[index + 1 :]:
            if larger > volume * (1.0 + rules.duplicate_volume) or row in removed:
                break
            if other in removed:
                continue
            for r in (row, other):
                if r not in seen:
                    seen[r] = neighbour_distances(crystals[r])  # type: ignore[arg-type]
            is_near = np.abs(seen[row] / seen[other] - 1.0).max() < rules.duplicate_distance
            if is_near and _match(crystals[row], crystals[other]):  # type: ignore[arg-type]
                out, stays = (row, other) if rank[other] > rank[row] else (other, row)
                removed.add(out)
                yield out, stays


def _match(first: Crystal, second: Crystal) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return same(reduced(first), reduced(second))
        except ValueError:
            return False


def neighbour_distances(crystal: Crystal, n_neighbours: int = 24) -> FloatArray:
    """Mean distances to the nearest neighbours, by element: the same for every cell and setting of a crystal.

    This is the average minimum distance of Widdowson et al., MATCH 87, 529 (2022), kept apart by element.

    Args:
        crystal: any cell.
        n_neighbours: how many neighbours.

    Returns:
        (n_elements * n_neighbours,) Å, elements in order of atomic number.
    """
    lattice, transform = reduce_lattice(crystal.lattice)
    coords = crystal.frac_coords @ np.linalg.inv(transform)
    delta = coords[:, None, :] - coords[None, :, :]
    delta -= np.rint(delta)
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = 1.3 * (0.75 / math.pi * n_neighbours * crystal.volume / crystal.n_sites) ** (1 / 3)
    while True:
        most = np.floor(reach / spacing + 0.5).astype(int)
        images = np.stack(np.meshgrid(*[np.arange(-m, m + 1) for m in most], indexing="ij"), axis=-1)
        vectors = (delta[:, :, None, :] + images.reshape(-1, 3)) @ lattice
        squared = np.sort(np.einsum("abik,abik->abi", vectors, vectors).reshape(crystal.n_sites, -1), axis=1)
        nearest = squared[:, 1 : n_neighbours + 1]
        if nearest.shape[1] == n_neighbours and nearest.max() <= reach * reach:
            break
        reach *= 1.5
    distances = np.sqrt(nearest)
    return np.concatenate([distances[crystal.numbers == z].mean(axis=0) for z in np.unique(crystal.numbers)])
