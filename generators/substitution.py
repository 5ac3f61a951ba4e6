"""Ionic substitution: known crystals with one or two elements exchanged for like ones.

Which element takes whose place is mined from the known crystals themselves, in the spirit of Hautier et al.
(Inorg. Chem. 50, 656 (2011)): crystals that have the same positions occupied by the same elements but for one
count as an observed exchange. `scripts/build_substitution.py` counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, FloatArray, Gene, IntArray
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table
from invdesign.generators.rejection import Palette, fits, propose_distinct, shipped
from invdesign.records import Conditions, Failure
from invdesign.reference.known import KnownCrystal

TABLE = "substitution.npz"
MAX_ABOVE_HULL = 0.1
"""eV/atom; known crystals that are known to lie higher are no templates."""
_PRIOR = 1.0
"""Exchanges of each element assumed beside the observed ones, spread over all elements as often as they occur."""

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Exchanges:
    """What replaces what.

    Attributes:
        counts: (n, n) symmetric weights of observed exchanges, by atomic number.
        element_volume: (n,) volume that an atom suggests, Å³; 0 for elements of no known crystal.
    """

    counts: FloatArray
    element_volume: FloatArray

    @cached_property
    def probability(self) -> FloatArray:
        """(n, n) probability that element `j` takes the place of element `i`, given that `i` is replaced."""
        seen = self.counts.sum(axis=0) * (self.element_volume > 0)
        raw = self.counts + _PRIOR * (seen / seen.sum())[None, :]
        np.fill_diagonal(raw, 0.0)
        return np.asarray(raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-300), dtype=np.float64)


class SubstitutionGenerator:
    """Exchanges one or two elements of a known crystal and scales its cell by the volumes of the elements.

    A template is drawn in proportion to how readily it yields what is asked for; an element that takes another's
    place is drawn by the mined probabilities (raised to the power 1/temperature). The number of different elements
    stays, so the symmetry does. What has the formula and the space group of a known crystal is not proposed.

    Space groups, elements and sizes that are asked for are honoured. *Property conditions, guidance and latent
    regions are ignored.* The source of a crystal is `substitution:<id of the template>`.
    """

    name = "substitution"

    def __init__(
        self,
        templates: Sequence[KnownCrystal],
        exchanges: Exchanges,
        pairs: float = 0.4,
        new_only: bool = True,
        attempts: int = 60,
    ) -> None:
        """Make a generator.

        Args:
            templates: known crystals.
            exchanges: what replaces what.
            pairs: share of proposals in which two elements are exchanged.
            new_only: leave out what shares composition and space group with a template.
            attempts: most draws per crystal asked for, before the rest is reported as failed.
        """
        self.templates, self.exchanges = templates, exchanges
        self.pairs, self.new_only, self.attempts = pairs, new_only, attempts

    @classmethod
    def load(cls) -> SubstitutionGenerator:
        """With the known crystals and the exchanges of the package.

        Raises:
            ReferenceMissingError: if a table cannot be read.
        """
        from invdesign.reference.local import load_known

        return cls(load_known(), Exchanges(**shipped(TABLE)))

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers that it can propose."""
        return frozenset(np.flatnonzero(self.exchanges.element_volume > 0).tolist())

    def propose(self, n: int, rng: np.random.Generator, conditions: Conditions) -> Iterator[Crystal | Failure]:
        """Yield exactly `n` items, deterministic in `rng`; failures only when the attempts are used up.

        Raises:
            InputError: if a required element occurs in no known crystal, or no element is left.
        """
        palette = Palette.of(conditions, self.exchanges.element_volume > 0)
        odds = self._odds(conditions.temperature)
        weights = np.cumsum(self._weights(conditions, palette, odds))

        def draw(size: int) -> list[tuple[Gene, str]]:
            if not weights[-1:].sum() > 0.0:
                return []
            rows = np.searchsorted(weights, rng.random(size) * weights[-1], side="right")
            drawn = ((int(row), self._exchange(rng, int(row), palette, odds)) for row in rows)
            return [(gene, f"{self.name}:{self.templates[row].id}") for row, gene in drawn if gene is not None]

        return propose_distinct(draw, n, self.attempts * n)

    def _odds(self, temperature: float) -> FloatArray:
        return np.asarray(self.exchanges.probability ** (1.0 / max(temperature, 1e-3)), dtype=np.float64)

    @cached_property
    def _index(self) -> _Index:
        return _Index.of(self.templates, len(self.exchanges.element_volume))

    def _weights(self, conditions: Conditions, palette: Palette, odds: FloatArray) -> FloatArray:
        """(n_templates,) how readily each yields what is asked for; 0 where it cannot.

        Every element that must go counts with the chance that an allowed one takes its place, every element
        that must come with the best chance to take one's place.
        """
        index = self._index
        groups = np.zeros(231, dtype=bool)
        groups[sorted(conditions.space_groups or range(1, 231))] = True
        sizes = np.array([fits(k, conditions) for k in range(int(index.sites.max(initial=0)) + 1)])
        usable = index.stable & groups[index.group] & sizes[index.sites]
        alien, missing = index.holds & ~palette.allowed, ~index.holds[:, list(palette.required)]
        usable &= np.maximum(alien.sum(axis=1), missing.sum(axis=1)) <= 2
        weights = usable.astype(float)
        rows = np.flatnonzero(usable)
        with np.errstate(divide="ignore"):
            leaves = np.log((odds * palette.allowed).sum(axis=1))
        leaves[palette.allowed] = 0.0
        weights[rows] *= np.exp(np.where(alien[rows], leaves, 0.0).sum(axis=1))
        for column, z in enumerate(palette.required):
            enters = np.where(index.holds[rows], odds[:, z], 0.0).max(axis=1, initial=0.0)
            weights[rows] *= np.where(missing[rows, column], enters, 1.0)
        return weights

    def _exchange(self, rng: np.random.Generator, row: int, palette: Palette, odds: FloatArray) -> Gene | None:
        """The gene of a template with one or two elements exchanged, or None if that cannot be or is known."""
        gene = self.templates[row].gene
        present = sorted(set(gene.numbers))
        goes = [z for z in present if not palette.allowed[z]]
        comes = [z for z in palette.required if z not in present]
        wanted = min(1 + int(rng.random() < self.pairs), len(present))
        wanted = max(wanted, len(goes), len(comes))
        spare = [z for z in present if palette.allowed[z] and z not in palette.required]
        if wanted > len(goes) + len(spare):
            wanted = len(goes) + len(spare)
        if wanted < max(len(goes), len(comes), 1):
            return None
        goes += rng.permutation(spare).tolist()[: wanted - len(goes)]
        swaps = _assign(rng, goes, comes, present, palette.allowed, odds)
        if swaps is None:
            return None
        numbers = tuple(swaps.get(z, z) for z in gene.numbers)
        made = _scaled(gene, numbers, self.exchanges.element_volume)
        if self.new_only and _composition_key(made) in self._index.compositions:
            return None
        return made


@dataclass(frozen=True)
class _Index:
    """What is asked of all templates at once.

    Attributes:
        group: (n_templates,) space groups.
        sites: (n_templates,) atoms in the primitive cells.
        holds: (n_templates, n_numbers) which elements they hold.
        stable: (n_templates,) not known to lie far above the hull, and not for the reference alone.
        compositions: hashes of space group and atoms of the primitive cells.
    """

    group: IntArray
    sites: IntArray
    holds: BoolArray
    stable: BoolArray
    compositions: frozenset[int]

    @classmethod
    def of(cls, templates: Sequence[KnownCrystal], size: int) -> _Index:
        table, n = wyckoff_table(), len(templates)
        group, sites = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        holds, stable = np.zeros((n, size), dtype=bool), np.zeros(n, dtype=bool)
        keys = set()
        for i, known in enumerate(templates):
            gene = known.gene
            position = table.group_start[gene.space_group - 1] + np.array(gene.wyckoffs)
            group[i], sites[i] = gene.space_group, table.primitive_multiplicity[position].sum()
            usable = known.within(MAX_ABOVE_HULL) and not known.held_out
            stable[i] = usable and max(gene.numbers) < size
            holds[i, [z for z in gene.numbers if z < size]] = True
            keys.add(_composition_key(gene))
        return cls(group, sites, holds, stable, frozenset(keys))


def _composition_key(gene: Gene) -> int:
    """A hash of the space group and the atoms of the primitive cell, the same for equal ones."""
    table = wyckoff_table()
    first = int(table.group_start[gene.space_group - 1])
    counts: dict[int, int] = {}
    for wyckoff, z in zip(gene.wyckoffs, gene.numbers, strict=True):
        counts[z] = counts.get(z, 0) + int(table.primitive_multiplicity[first + wyckoff])
    return hash((gene.space_group, tuple(sorted(counts.items()))))


def _assign(
    rng: np.random.Generator,
    goes: Sequence[int],
    comes: Sequence[int],
    present: Sequence[int],
    allowed: BoolArray,
    odds: FloatArray,
) -> dict[int, int] | None:
    """Who takes whose place: the required ones first, then whoever is likely; None if nobody can."""
    swaps: dict[int, int] = {}
    for new in comes:
        left = [z for z in goes if z not in swaps]
        weights = odds[left, new]
        if not weights.sum() > 0.0:
            return None
        swaps[left[_draw(rng, weights)]] = new
    for old in goes:
        if old in swaps:
            continue
        weights = np.where(allowed, odds[old], 0.0)
        weights[[*present, *swaps.values()]] = 0.0
        if not weights.sum() > 0.0:
            return None
        swaps[old] = _draw(rng, weights)
    return swaps


def _draw(rng: np.random.Generator, weights: FloatArray) -> int:
    ends = np.cumsum(weights)
    return int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))


def _scaled(gene: Gene, numbers: tuple[int, ...], element_volume: FloatArray) -> Gene:
    """The gene with other elements, its edges scaled to the volume that they suggest."""
    table = wyckoff_table()
    position = table.group_start[gene.space_group - 1] + np.array(gene.wyckoffs)
    sites = table.primitive_multiplicity[position]
    before, after = (float((sites * element_volume[list(z)]).sum()) for z in (gene.numbers, numbers))
    scale = (after / before) ** (1.0 / 3.0) if before > 0.0 else 1.0
    free = FREE_LATTICE[lattice_family(gene.space_group)]
    cell = tuple(round(v * scale if k < 3 else v, 5) for k, v in zip(free, gene.free_lattice, strict=True))
    return Gene(gene.space_group, gene.wyckoffs, numbers, gene.free_coords, cell)
