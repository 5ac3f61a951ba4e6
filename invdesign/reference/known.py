"""The known crystals, as Wyckoff genes in one compact table: for novelty, and as templates for substitution.

The table holds every crystal's gene with free coordinates in units of 1/65536 of the cell edge (1e-4 Å in a 10 Å
cell) and lattice parameters in single precision. Crystals are decoded when their formula is asked for.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from invdesign import tables
from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.genes import decode
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.polytypes import alike, surroundings
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.errors import ReferenceMissingError

if TYPE_CHECKING:
    from pymatgen.core import Structure

TABLE = "known_crystals.parquet"
COORDINATE_STEPS = 65536
"""Free coordinates are stored as integers in units of 1/65536."""
_REMEMBERED = 2000
"""Reduced structures kept in memory."""


@dataclass(frozen=True)
class KnownCrystal:
    """One known crystal.

    Attributes:
        id: its Materials Project id.
        formula: reduced formula.
        gene: its Wyckoff gene.
        energy_above_hull: eV/atom against the shipped hull; NaN where its energy is not known on that scale.
        mp2024_energy_above_hull: the same on the 2024 mixed GGA/r2SCAN scheme, a filter and no label; NaN if
            unknown.
        experimental: known from experiment; None where that is not known.
        held_out: for the reference alone: no model may be trained or calibrated on it.
    """

    id: str
    formula: str
    gene: Gene
    energy_above_hull: float
    mp2024_energy_above_hull: float
    experimental: bool | None
    held_out: bool = False

    def within(self, limit: float) -> bool:
        """Whether it lies at most `limit` eV/atom above the hull, by the first scale that knows; true if none."""
        energies = (self.energy_above_hull, self.mp2024_energy_above_hull)
        return next((e for e in energies if not math.isnan(e)), 0.0) <= limit


class KnownCrystals(Sequence[KnownCrystal]):
    """All known crystals, indexed by formula and by chemical system."""

    def __init__(self, columns: dict[str, Any]) -> None:
        """Take the columns of the table as NumPy arrays; ragged ones as (values, offsets)."""
        self._columns = columns
        formulas, codes = columns["formulas"], columns["formula_codes"]
        starts = np.searchsorted(codes, np.arange(len(formulas) + 1))
        self._rows = {formula: (int(starts[i]), int(starts[i + 1])) for i, formula in enumerate(formulas)}
        self._systems: dict[str, list[str]] | None = None
        self._structures: OrderedDict[int, Structure | None] = OrderedDict()

    @classmethod
    def load(cls, path: Path | None = None) -> KnownCrystals:
        """Read a table of the same form; without a path the shipped one, about a quarter of a second.

        Raises:
            ReferenceMissingError: if it is not there or cannot be read.
        """
        import pyarrow.parquet as pq

        try:
            found = pq.read_table(path or tables.path_of(TABLE)).combine_chunks()
        except (OSError, ValueError) as error:
            if path is None:
                raise tables.unreadable(TABLE, error) from None
            raise ReferenceMissingError(f"the table of known crystals {path} cannot be read: {error}") from None
        return cls(_columns(found))

    def __len__(self) -> int:
        """Number of known crystals."""
        return len(self._columns["space_group"])

    @overload
    def __getitem__(self, row: int) -> KnownCrystal: ...

    @overload
    def __getitem__(self, row: slice) -> list[KnownCrystal]: ...

    def __getitem__(self, row: int | slice) -> KnownCrystal | list[KnownCrystal]:
        """The crystal in one row of the table, which is sorted by formula, or those in a slice of it.

        Raises:
            IndexError: if there is no such row.
        """
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} known crystals")
        row, column = row % len(self), self._columns
        experimental = int(column["experimental"][row])
        return KnownCrystal(
            id=self.id(row),
            formula=str(column["formulas"][column["formula_codes"][row]]),
            gene=Gene(
                space_group=int(column["space_group"][row]),
                wyckoffs=tuple(self._ragged("wyckoffs", row).tolist()),
                numbers=tuple(self._ragged("numbers", row).tolist()),
                free_coords=tuple((self._ragged("free_coords", row) / COORDINATE_STEPS).tolist()),
                free_lattice=tuple(self._ragged("free_lattice", row).astype(float).tolist()),
            ),
            energy_above_hull=float(column["energy_above_hull"][row]),
            mp2024_energy_above_hull=float(column["mp2024_energy_above_hull"][row]),
            experimental=None if experimental < 0 else bool(experimental),
            held_out=bool(column["held_out"][row]),
        )

    @property
    def space_groups(self) -> NDArray[np.int64]:
        """(n,) space group numbers."""
        return np.asarray(self._columns["space_group"], dtype=np.int64)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """(n,) whether a crystal is for the reference alone."""
        return np.asarray(self._columns["held_out"], dtype=np.bool_)

    @property
    def orbits(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(m,) crystal, atomic number and Wyckoff position within the group of every occupied orbit."""
        wyckoffs, offsets = self._columns["wyckoffs"]
        numbers = self._columns["numbers"][0]
        every = slice(offsets[0], offsets[-1])
        owner = np.repeat(np.arange(len(self)), np.diff(offsets))
        return owner, numbers[every].astype(np.int64), wyckoffs[every].astype(np.int64)

    @property
    def energies_above_hull(self) -> NDArray[np.float64]:
        """(n,) eV/atom; NaN where not known."""
        return np.asarray(self._columns["energy_above_hull"], dtype=np.float64)

    @property
    def experimental(self) -> NDArray[np.bool_]:
        """(n,) which are listed as known from experiment."""
        return np.asarray(self._columns["experimental"] == 1, dtype=np.bool_)

    @cached_property
    def sites(self) -> NDArray[np.int64]:
        """(n,) atoms in the primitive cells."""
        owner, _, positions = self.orbits
        return np.bincount(owner, weights=self._atoms(owner, positions), minlength=len(self)).astype(np.int64)

    @cached_property
    def n_elements(self) -> NDArray[np.int64]:
        """(n,) number of elements of each crystal."""
        owner, _, _ = self.element_counts()
        return np.bincount(owner, minlength=len(self)).astype(np.int64)

    def of_stoichiometry(self, counts: tuple[int, ...]) -> NDArray[np.bool_]:
        """(n,) whether a crystal has this stoichiometry: atoms of each element, reduced and ascending."""
        owner, _, atoms = self.element_counts()
        here = np.flatnonzero(self.n_elements == len(counts))
        mine = np.sort(atoms[np.isin(owner, here)].reshape(-1, len(counts)), axis=1)
        mine = mine // np.gcd.reduce(mine, axis=1, initial=0)[:, None]
        out = np.zeros(len(self), dtype=bool)
        out[here] = (mine == np.array(counts)).all(axis=1)
        return out

    def element_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Crystal, element and number of atoms in the primitive cell, for every element of every crystal."""
        owner, numbers, positions = self.orbits
        pairs, place = np.unique(owner * 256 + numbers, return_inverse=True)
        atoms = np.bincount(place, weights=self._atoms(owner, positions))
        return pairs // 256, pairs % 256, np.rint(atoms).astype(np.int64)

    def _atoms(self, owner: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """(m,) atoms of orbits in the primitive cells of their crystals."""
        table = wyckoff_table()
        rows = table.group_start[self.space_groups - 1][owner] + positions
        return np.asarray(table.primitive_multiplicity[rows], dtype=np.float64)

    @cached_property
    def elements(self) -> frozenset[int]:
        """Atomic numbers of which there is a known crystal."""
        return frozenset(np.unique(self._columns["numbers"][0]).tolist())

    def foreign_elements(self, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(n,) how many elements of each crystal are not allowed; `allowed` is indexed by atomic number."""
        values, offsets = self._columns["numbers"]
        owner = np.repeat(np.arange(len(self)), np.diff(offsets))
        numbers = values[offsets[0] : offsets[-1]].astype(np.int64)
        alien = numbers >= len(allowed)
        alien |= ~allowed[np.where(alien, 0, numbers)]
        pairs = np.unique(np.stack([owner[alien], numbers[alien]]), axis=1)
        return np.bincount(pairs[0], minlength=len(self)).astype(np.int64)

    def has_formula(self, formula: str) -> bool:
        """Whether any known crystal has this reduced formula."""
        return formula in self._rows

    def has_phase(self, formula: str, space_group: int) -> bool:
        """Whether any known crystal has this reduced formula and space group."""
        start, stop = self._rows.get(formula, (0, 0))
        return bool((self._columns["space_group"][start:stop] == space_group).any())

    def made(self, formula: str) -> bool:
        """Whether any known crystal of this reduced formula is known from experiment."""
        start, stop = self._rows.get(formula, (0, 0))
        return bool((self._columns["experimental"][start:stop] == 1).any())

    def rows_of_formula(self, formula: str) -> range:
        """Rows of the table that hold crystals of this reduced formula."""
        return range(*self._rows.get(formula, (0, 0)))

    def formulas_of_system(self, system: str) -> list[str]:
        """Reduced formulas of the known crystals with exactly these elements, e.g. of `B-Ti`."""
        if self._systems is None:
            self._systems = {}
            for formula, (start, _) in self._rows.items():
                self._systems.setdefault(chemical_system(self._ragged("numbers", start)), []).append(formula)
        return self._systems.get(system, [])

    def id(self, row: int) -> str:
        """Materials Project id of the crystal in one row."""
        return str(self._columns["id"][row])

    def crystal(self, row: int) -> Crystal:
        """The primitive cell of the crystal in one row, its id as source."""
        return decode([self[row].gene], source=self.id(row))[0]

    def numbers(self, row: int) -> NDArray[np.int64]:
        """Atomic numbers of the primitive cell in one row."""
        return self.crystal(row).numbers

    def match(self, crystal: Crystal) -> str | None:
        """Id of the first known crystal of the same formula that the matcher takes for the same, or None.

        Raises:
            ValueError: if the crystal's cell cannot be reduced.
        """
        rows = self.rows_of_formula(reduced_formula(crystal.numbers))
        if not rows:
            return None
        structure = reduced(crystal)
        for row, known in self.structures(rows):
            if known is not None and same(structure, known):
                return self.id(row)
        return None

    def polytype(self, crystal: Crystal) -> str | None:
        """Id of the first known crystal of the same formula of which a crystal is a polytype, or None.

        See `invdesign.crystallography.polytypes`.

        Raises:
            ValueError: if the crystal's cell cannot be reduced.
        """
        rows = self.rows_of_formula(reduced_formula(crystal.numbers))
        mine = surroundings(crystal) if rows else {}
        if not mine:
            return None
        structures = ((row, known) for row, known in self.structures(rows) if known is not None)
        return next((self.id(row) for row, known in structures if alike(mine, surroundings(known))), None)

    def structures(self, rows: Iterable[int]) -> list[tuple[int, Structure | None]]:
        """Reduced structures of some rows; None where a cell cannot be reduced."""
        rows = list(rows)
        missing = [row for row in rows if row not in self._structures]
        made = zip(missing, map(_reduced_or_none, decode([self[row].gene for row in missing])), strict=True)
        self._structures.update(made)
        found = [(row, self._structures[row]) for row in rows]
        while len(self._structures) > _REMEMBERED:
            self._structures.popitem(last=False)
        return found

    def _ragged(self, name: str, row: int) -> NDArray[Any]:
        values, offsets = self._columns[name]
        piece: NDArray[Any] = values[offsets[row] : offsets[row + 1]]
        return piece


def _reduced_or_none(crystal: Crystal) -> Structure | None:
    try:
        return reduced(crystal)
    except ValueError:
        return None


def _columns(table: Any) -> dict[str, Any]:
    """NumPy columns of the Arrow table, whose rows are sorted by formula."""
    columns: dict[str, Any] = {}
    for name in ("wyckoffs", "numbers", "free_coords", "free_lattice"):
        array = table.column(name).combine_chunks()
        columns[name] = array.values.to_numpy(), array.offsets.to_numpy()
    for name in ("space_group", "energy_above_hull", "mp2024_energy_above_hull", "experimental"):
        columns[name] = table.column(name).to_numpy()
    held_out = "held_out" in table.column_names  # tables made before there were such crystals lack it
    columns["held_out"] = (
        table.column("held_out").to_numpy(zero_copy_only=False)
        if held_out
        else np.zeros(len(table), dtype=np.bool_)
    )
    columns["id"] = table.column("id").to_numpy(zero_copy_only=False)
    formulas = table.column("formula").combine_chunks().dictionary_encode()
    columns["formulas"] = formulas.dictionary.to_pylist()
    columns["formula_codes"] = formulas.indices.to_numpy()
    return columns
