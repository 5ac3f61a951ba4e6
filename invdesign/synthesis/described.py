"""What the score of synthesizability reads of crystals: composition, symmetry, and what is known around them.

Nothing here tells which database entry a crystal is: no id, no date, no source. Of what is known, two tables of
counts are used: how many crystals, and how many of those made, hold two elements together, and how many have a
prototype (`invdesign.crystallography.prototypes`). In training the crystals of a crystal's own chemical system are
left out of its counts, so that a polymorph says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import FloatArray, Gene
from invdesign.crystallography.prototypes import prototype_keys
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.elements import symbol

LAST = 103
COLUMNS = ("group", "period", "mendeleev_number", "radius_covalent", "radius_ionic", "en_pauling", "melting_point",
           "molar_volume", "valence_total", "valence_d", "valence_f", "ionization_1", "electron_affinity",
           "oxidation_max", "oxidation_min", "is_metal")  # fmt: skip
"""Numbers of the elements whose mean, deviation, least and most describe a composition."""
SYSTEM_LIMITS = (3, 16, 75, 143, 168, 195)
FEW = 20
"""With fewer crystals of an element among those counted there is no evidence."""
PRIOR = 2.0
"""Crystals that the overall share counts for in the share of a prototype."""
SHAPE = ("n_elements", "largest_fraction", "mixing_entropy")
PAIRS = ("least_pair_made", "mean_pair_made", "least_pair_known", "pair_share")
STRUCTURE = ("space_group", "crystal_system", "log_operations", "log_sites", "log_orbits", "freedom",
             "energy_above_hull", "prototype_made", "prototype_known", "prototype_share")  # fmt: skip
COMPOSITION = (*(f"{s}_{c}" for s in ("mean", "spread", "least", "most") for c in COLUMNS), *SHAPE, *PAIRS)
NAMES = (*COMPOSITION, *STRUCTURE)
RISING, FALLING = ("least_pair_made", "prototype_share"), ("energy_above_hull",)
"""Columns with which the score may only rise, or only fall."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Described:
    """Crystals as arrays.

    Attributes:
        fractions: (n, 104) atomic fractions by atomic number.
        structure: (n, 6) the first six of `STRUCTURE`.
        prototypes: (n,) their keys.
        energies: (n,) energy above hull, eV/atom; below zero counts as zero.
    """

    fractions: FloatArray
    structure: FloatArray
    prototypes: IntArray
    energies: FloatArray

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self.fractions)

    def part(self, rows: NDArray[Any]) -> Described:
        """Some of the crystals."""
        return Described(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def at(self, energies: FloatArray) -> Described:
        """The same crystals at other energies above hull, eV/atom."""
        return replace(self, energies=energies)


def described(
    groups: IntArray, owner: IntArray, numbers: IntArray, wyckoffs: IntArray, energies: FloatArray
) -> Described:
    """Crystals from their occupied orbits.

    Args:
        groups: (n,) space group numbers.
        owner: (m,) the crystal of each orbit, ascending.
        numbers: (m,) atomic numbers.
        wyckoffs: (m,) Wyckoff position within the group, as in `Gene.wyckoffs`.
        energies: (n,) energy above hull, eV/atom.
    """
    table, n = wyckoff_table(), len(groups)
    position = table.group_start[groups[owner] - 1] + wyckoffs
    atoms = table.primitive_multiplicity[position].astype(np.float64)
    counts = np.bincount(owner * (LAST + 1) + numbers, atoms, n * (LAST + 1)).reshape(n, LAST + 1)
    sites = counts.sum(axis=1)
    orbits = np.bincount(owner, minlength=n)
    structure = np.stack(
        [
            groups,
            np.digitize(groups, SYSTEM_LIMITS),
            np.log2(table.primitive_multiplicity[table.group_start[groups] - 1]),
            np.log2(sites),
            np.log2(orbits),
            np.bincount(owner, table.freedom[position], n) / orbits,
        ],
        axis=1,
    )
    keys = prototype_keys(groups, owner, numbers, position)
    return Described(counts / sites[:, None], structure, keys, np.asarray(energies, dtype=np.float64))


def described_genes(genes: Sequence[Gene], energies: Sequence[float]) -> Described:
    """Crystals from their genes, each with at least one orbit.

    Args:
        genes: of the crystals; no element beyond number 103.
        energies: above hull, eV/atom.
    """
    return described(
        np.array([gene.space_group for gene in genes], dtype=np.int64),
        np.repeat(np.arange(len(genes)), [len(gene.numbers) for gene in genes]),
        np.concatenate([gene.numbers for gene in genes]).astype(np.int64),
        np.concatenate([gene.wyckoffs for gene in genes]).astype(np.int64),
        np.array(energies, dtype=np.float64),
    )


def systems(fractions: FloatArray) -> IntArray:
    """(n,) a number for each chemical system: the sum of random numbers of its elements, 0 to n - 1."""
    marks = np.random.default_rng(0).integers(0, 2**56, fractions.shape[1])
    return np.asarray(np.unique((fractions > 0) @ marks, return_inverse=True)[1], dtype=np.int64).ravel()


@dataclass(frozen=True, eq=False)
class Known:
    """Counts over the crystals of the training.

    Attributes:
        pairs: (2, 104, 104) crystals that were made, and all, that hold both elements.
        prototypes: (p,) keys, ascending.
        counts: (2, p) crystals that were made, and all, of each prototype.
        share: of the crystals that were made.
    """

    pairs: FloatArray
    prototypes: IntArray
    counts: FloatArray
    share: float

    @classmethod
    def count(cls, crystals: Described, made: NDArray[np.bool_]) -> Known:
        """The counts of some crystals.

        Args:
            crystals: (n,) of the training.
            made: (n,) which are listed as made.
        """
        keys, which = np.unique(crystals.prototypes, return_inverse=True)
        counts = np.stack(
            [np.bincount(which, made, len(keys)), np.bincount(which, minlength=len(keys)).astype(np.float64)]
        )
        holds = (crystals.fractions > 0).astype(np.float64)
        return cls(np.stack([holds[made].T @ holds[made], holds.T @ holds]), keys, counts, float(made.mean()))

    def of_pairs(self, fractions: FloatArray, own: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n,) least and mean count of pairs made, least count of pairs known, without `own`.

        Args:
            fractions: (n, 104).
            own: (2, n) crystals of the same chemical system among those counted.
        """
        found = np.zeros((3, len(fractions)))
        present = [np.flatnonzero(row) for row in fractions > 0]
        for size in {len(elements) for elements in present}:
            rows = [k for k, elements in enumerate(present) if len(elements) == size]
            elements = np.array([present[k] for k in rows])
            i, j = np.triu_indices(size, 1) if size > 1 else (np.array([0]), np.array([0]))
            made, known = (self.pairs[k][elements[:, i], elements[:, j]] - own[k, rows, None] for k in (0, 1))
            found[:, rows] = made.min(axis=1), made.mean(axis=1), known.min(axis=1)
        return found[0], found[1], found[2]

    def lacking(self, fractions: FloatArray) -> list[str]:
        """What the crystals counted lack for each composition, (n, 104); empty where they lack nothing.

        Column 0 stands for elements beyond the table.
        """
        return [self._lacking(np.flatnonzero(row).tolist()) for row in fractions > 0]

    def _lacking(self, numbers: Sequence[int]) -> str:
        every = self.pairs[1]
        if rare := [z for z in numbers if every[z, z] < FEW]:
            return f"fewer than {FEW} known crystals hold {', '.join(map(_name, rare))}"
        if never := [pair for pair in combinations(numbers, 2) if not every[pair]]:
            return f"no known crystal holds {' and '.join(map(_name, never[0]))}"
        return ""

    def of_prototypes(self, keys: IntArray) -> FloatArray:
        """(2, n) crystals made, and all, of each prototype; zeros for one that was not counted."""
        place = np.minimum(np.searchsorted(self.prototypes, keys), len(self.prototypes) - 1)
        return np.where(self.prototypes[place] == keys, self.counts[:, place], 0.0)


def _name(number: int) -> str:
    return symbol(number) if number else f"elements beyond number {LAST}"


def own_counts(crystals: Described, made: NDArray[np.bool_], keys: IntArray | None = None) -> FloatArray:
    """(2, n) crystals made, and all, of the same chemical system, and of the same prototype if keys are given."""
    number = systems(crystals.fractions)
    if keys is not None:
        kinds = np.unique(keys, return_inverse=True)[1]
        number = np.unique(number * (int(kinds.max()) + 1) + kinds, return_inverse=True)[1]
    return np.stack([np.bincount(number, made), np.bincount(number).astype(np.float64)])[:, number]


def inputs(crystals: Described, known: Known, made: NDArray[np.bool_] | None = None) -> FloatArray:
    """(n, `len(NAMES)`) what the trees read, in single precision.

    Args:
        crystals: to be described.
        known: counts of the training.
        made: given if `crystals` are those that were counted: their own chemical systems are left out of the
            counts.
    """
    none = np.zeros((2, len(crystals)))
    of_system = none if made is None else own_counts(crystals, made)
    of_both = none if made is None else own_counts(crystals, made, crystals.prototypes)
    listed, every = known.of_prototypes(crystals.prototypes) - of_both
    structure = [
        *crystals.structure.T,
        np.maximum(crystals.energies, 0.0),
        np.log1p(listed),
        np.log1p(every),
        (listed + PRIOR * known.share) / (every + PRIOR),
    ]
    both = np.concatenate(
        [composition_inputs(crystals.fractions, known, of_system), np.stack(structure, axis=1)], 1
    )
    return both.astype(np.float32).astype(np.float64)


def composition_inputs(fractions: FloatArray, known: Known, own: FloatArray | None = None) -> FloatArray:
    """(n, `len(COMPOSITION)`) what the trees read of compositions alone, in single precision.

    Args:
        fractions: (n, 104) atomic fractions by atomic number.
        known: counts of the training.
        own: (2, n) crystals of the same chemical system among those counted (None: none).
    """
    table = np.stack([element_features().column(name) for name in COLUMNS], axis=1)
    mean = fractions @ table
    spread = np.sqrt(np.maximum(fractions @ table**2 - mean**2, 0.0))
    there = fractions > 0
    least = np.stack([np.where(there, column, np.inf).min(axis=1) for column in table.T], axis=1)
    most = np.stack([np.where(there, column, -np.inf).max(axis=1) for column in table.T], axis=1)
    entropy = -(fractions * np.log(np.where(there, fractions, 1.0))).sum(axis=1)
    made, usual, seen = known.of_pairs(fractions, np.zeros((2, len(fractions))) if own is None else own)
    rest = [there.sum(axis=1), fractions.max(axis=1), entropy]
    rest += [np.log1p(made), np.log1p(usual), np.log1p(seen), (made + PRIOR * known.share) / (seen + PRIOR)]
    whole = np.concatenate([mean, spread, least, most, np.stack(rest, axis=1)], axis=1)
    return whole.astype(np.float32).astype(np.float64)


def arrays_of(known: Known) -> Mapping[str, NDArray[Any]]:
    """The counts as arrays of a table."""
    return {
        "pairs": known.pairs.astype(np.int32),
        "prototypes": known.prototypes,
        "prototype_counts": known.counts.astype(np.int32),
        "share": np.array(known.share),
    }
