"""Random Wyckoff genes: the baseline that knows how often things occur and nothing of chemistry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray, Gene, IntArray
from invdesign.crystallography.genes import decode
from invdesign.crystallography.wyckoff import lattice_family, wyckoff_table
from invdesign.generators.geneset import lattice_from_features
from invdesign.generators.rejection import Palette, fits, is_clear, propose_distinct, shipped
from invdesign.records import Conditions, Failure

TABLE = "random_genes.npz"
FAMILIES = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic")
_TRIES = 8
"""Fillings tried until a cell has exactly the number of sites that was drawn."""


@dataclass(frozen=True)
class Statistics:
    """How often things occur among the known crystals.

    Attributes:
        group_sites: (231, n) number of known crystals by space group and atoms in the primitive cell.
        elements: (n_numbers,) number of known crystals that hold each element.
        n_elements: (n,) number of known crystals by number of elements.
        element_volume: (n_numbers,) volume that an atom suggests, Å³; 0 for elements of no known crystal.
        lattice_mean: (6, 6) mean of the lattice features of `invdesign.generators.geneset` by lattice family.
        lattice_deviation: (6, 6) their standard deviations.
    """

    group_sites: IntArray
    elements: IntArray
    n_elements: IntArray
    element_volume: FloatArray
    lattice_mean: FloatArray
    lattice_deviation: FloatArray


class RandomGenerator:
    """Draws genes with no model behind them.

    The space group and the number of sites are drawn as often as they occur together among known crystals, the
    orbits uniformly among the positions of the group that still fit, the number of elements and the elements as
    often as they occur, the lattice from the volumes of the elements and the spread of shapes of its family, free
    coordinates uniformly. A cell in which atoms overlap is drawn again.

    Space groups, elements and sizes that are asked for are honoured. *Property conditions, guidance, temperature
    and latent regions are ignored*: there is nothing here that they could steer.
    """

    name = "random"

    def __init__(
        self,
        statistics: Statistics,
        uniform_elements: bool = False,
        sequence_draws: int = 6,
        geometry_draws: int = 6,
        attempts: int = 60,
    ) -> None:
        """Make a generator.

        Args:
            statistics: frequencies.
            uniform_elements: draw every known element equally often.
            sequence_draws: most Wyckoff sequences drawn for one choice of space group and size.
            geometry_draws: most draws of lattice and coordinates for one Wyckoff sequence, until no atoms overlap.
            attempts: most such choices per crystal asked for, before the rest is reported as failed.
        """
        self.statistics, self.uniform_elements = statistics, uniform_elements
        self.sequence_draws, self.geometry_draws, self.attempts = sequence_draws, geometry_draws, attempts

    @classmethod
    def load(cls) -> RandomGenerator:
        """With the frequencies of the package.

        Raises:
            ReferenceMissingError: if their table cannot be read.
        """
        return cls(Statistics(**shipped(TABLE)))

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers that it can propose."""
        return frozenset(np.flatnonzero(self.statistics.element_volume > 0).tolist())

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        """Yield exactly `n` items, deterministic in `rng`; failures only when the attempts are used up.

        Raises:
            InputError: if a required element occurs in no known crystal, or no element is left.
        """
        palette = Palette.of(conditions, self.statistics.element_volume > 0)
        weights = self._cells(conditions)

        def draw(size: int) -> list[tuple[Gene, str]]:
            found = (self._gene(rng, weights, palette) for _ in range(size))
            return [(gene, self.name) for gene in found if gene is not None]

        return propose_distinct(draw, n, self.attempts * n)

    def _cells(self, conditions: Conditions) -> FloatArray:
        """(231, n) shares of the cells that fit, by group and sites; even ones where no such crystal is known."""
        counts = self.statistics.group_sites
        wanted = np.zeros(counts.shape, dtype=bool)
        groups = sorted(conditions.space_groups or range(1, 231))
        sizes = [k for k in range(1, counts.shape[1]) if fits(k, conditions)]
        wanted[np.ix_(groups, sizes)] = True
        weights = np.where(wanted, counts, 0).astype(float)
        if weights.sum() == 0.0:
            weights = wanted.astype(float)
        return weights / max(weights.sum(), 1.0)

    def _gene(self, rng: np.random.Generator, weights: FloatArray, palette: Palette) -> Gene | None:
        """One gene whose atoms do not overlap, or None.

        Several Wyckoff sequences are tried for one choice of group and size, so that crowded cells are not left
        out.
        """
        if weights.sum() == 0.0:
            return None
        group, sites = divmod(int(rng.choice(weights.size, p=weights.ravel())), weights.shape[1])
        for _ in range(self.sequence_draws):
            wyckoffs = fill(rng, group, sites)
            numbers = None if wyckoffs is None else self._elements(rng, len(wyckoffs), palette)
            if wyckoffs is None or numbers is None:
                continue
            order = np.lexsort((numbers, wyckoffs))
            gene = self._geometry(rng, group, [wyckoffs[i] for i in order], [numbers[i] for i in order])
            if gene is not None:
                return gene
        return None

    def _elements(self, rng: np.random.Generator, orbits: int, palette: Palette) -> list[int] | None:
        """One element for each orbit, the required ones among them; None if there are too few orbits."""
        kinds = int(rng.choice(len(self.statistics.n_elements), p=_shares(self.statistics.n_elements)))
        kinds = min(max(kinds, len(palette.required), 1), orbits)
        if kinds < len(palette.required):
            return None
        counts = self.statistics.elements.astype(float)
        odds = np.where(palette.allowed, np.where(self.uniform_elements, 1.0, np.maximum(counts, 1.0)), 0.0)
        odds[list(palette.required)] = 0.0
        more = min(kinds - len(palette.required), int((odds > 0).sum()))
        drawn = rng.choice(len(odds), size=more, replace=False, p=_shares(odds)).tolist() if more else []
        chosen = [*palette.required, *drawn]
        rest = rng.choice(chosen, size=orbits - len(chosen)).tolist() if orbits > len(chosen) else []
        return list(rng.permutation([*chosen, *rest]).tolist())

    def _geometry(
        self, rng: np.random.Generator, group: int, wyckoffs: Sequence[int], numbers: Sequence[int]
    ) -> Gene | None:
        """Lattice and coordinates without overlaps, or None."""
        table, s = wyckoff_table(), self.statistics
        position = table.group_start[group - 1] + np.array(wyckoffs)
        freedom = int(table.freedom[position].sum())
        volume = float((table.primitive_multiplicity[position] * s.element_volume[list(numbers)]).sum())
        family = FAMILIES.index(lattice_family(group))
        for _ in range(self.geometry_draws):
            features = rng.normal(s.lattice_mean[family], s.lattice_deviation[family])
            coords = tuple(float(u) % 1.0 for u in np.round(rng.random(freedom), 5))
            try:
                cell = lattice_from_features(group, features, volume)
            except ValueError:  # angles that span no cell
                continue
            gene = Gene(group, tuple(wyckoffs), tuple(numbers), coords, tuple(round(v, 5) for v in cell))
            if is_clear(decode([gene])[0]):
                return gene
        return None


def fill(rng: np.random.Generator, group: int, sites: int) -> list[int] | None:
    """Positions of a group that together hold exactly so many atoms of the primitive cell, drawn uniformly.

    A position without free coordinates is taken at most once. None where some tries did not come out even.
    """
    multiplicity, freedom = _positions(group)
    for _ in range(_TRIES):
        left, chosen = sites, []
        free = np.ones(len(multiplicity), dtype=bool)
        while left > 0:
            fitting = np.flatnonzero(free & (multiplicity <= left))
            if len(fitting) == 0:
                break
            position = int(rng.choice(fitting))
            chosen.append(position)
            left -= int(multiplicity[position])
            free[position] = freedom[position] > 0
        if left == 0:
            return chosen
    return None


@cache
def _positions(group: int) -> tuple[IntArray, IntArray]:
    table = wyckoff_table()
    rows = slice(int(table.group_start[group - 1]), int(table.group_start[group]))
    return table.primitive_multiplicity[rows], table.freedom[rows]


def _shares(counts: np.ndarray[Any, np.dtype[Any]]) -> FloatArray:
    return np.asarray(counts / counts.sum(), dtype=np.float64)
