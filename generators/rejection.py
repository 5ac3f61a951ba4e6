"""Drawing until it fits: what the generators without a model share.

A draw proposes genes; a gene is yielded when its crystal keeps its atoms apart, has the symmetry that the gene
names, and a Wyckoff sequence that was not yielded before in the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.distances import shortest_ratio
from invdesign.crystallography.genes import decode, protostructure
from invdesign.crystallography.symmetry import quick_space_group
from invdesign.elements import symbol
from invdesign.errors import InputError
from invdesign.records import Conditions, Failure
from invdesign.tables import read_arrays

CLEAR = 0.65
"""Shortest distance over the sum of covalent radii that a proposal must keep."""
CHUNK = 256

Draw = Callable[[int], Sequence[tuple[Gene, str]]]
"""Up to `k` draws: genes with the source that their crystals are given."""


@dataclass(frozen=True)
class Palette:
    """The elements that conditions leave.

    Attributes:
        allowed: (n,) whether the element of each atomic number may occur.
        required: atomic numbers that must occur, in increasing order.
    """

    allowed: np.ndarray[Any, np.dtype[np.bool_]]
    required: tuple[int, ...]

    @classmethod
    def of(cls, conditions: Conditions, known: np.ndarray[Any, np.dtype[np.bool_]]) -> Palette:
        """What is left of the elements that a generator knows.

        Raises:
            InputError: if nothing is left, or a required element is not among them.
        """
        numbers = np.arange(len(known))
        allowed = known.copy()
        if conditions.allowed is not None:
            allowed &= np.isin(numbers, sorted(conditions.allowed))
        allowed &= ~np.isin(numbers, sorted(conditions.forbidden))
        missing = [z for z in sorted(conditions.required) if z >= len(known) or not allowed[z]]
        if missing or not allowed.any():
            lost = ", ".join(symbol(z) for z in missing or sorted(conditions.allowed or ()))
            raise InputError("elements", lost or "none left", "elements of the known crystals")
        return cls(allowed, tuple(sorted(conditions.required)))


def fits(sites: int, conditions: Conditions) -> bool:
    """Whether a primitive cell has the size that is asked for."""
    return sites == conditions.n_sites if conditions.n_sites is not None else sites <= conditions.max_sites


def propose_distinct(draw: Draw, n: int, attempts: int) -> Iterator[Crystal | Failure]:
    """Yield exactly `n` items: crystals of different Wyckoff sequences, failures once `attempts` draws are
    used up."""
    seen: set[Any] = set()
    given, left = 0, attempts
    while given < n and left > 0:
        size = min(CHUNK, max(16, 2 * (n - given)), left)
        left -= size
        drawn = draw(size)
        for (gene, _), crystal in zip(drawn, _crystals(drawn), strict=True):
            key = protostructure(gene)
            if crystal is None or key in seen:
                continue
            seen.add(key)
            given += 1
            yield crystal
            if given == n:
                return
    for _ in range(n - given):
        yield Failure("generate", f"no new crystal under these conditions within {attempts} draws")


def is_clear(crystal: Crystal) -> bool:
    """Whether no two atoms overlap; false where an element has no radius."""
    return bool(shortest_ratio(crystal) >= CLEAR)


def is_itself(crystal: Crystal) -> bool:
    """Whether the crystal has the space group that its gene names, at 0.05 Å."""
    return crystal.gene is not None and quick_space_group(crystal, 0.05) == crystal.gene.space_group


def _crystals(drawn: Sequence[tuple[Gene, str]]) -> Iterator[Crystal | None]:
    """The crystals of genes; None for one that overlaps or has another symmetry."""
    for (_, source), crystal in zip(drawn, decode([gene for gene, _ in drawn]), strict=True):
        made = Crystal(crystal.lattice, crystal.numbers, crystal.frac_coords, crystal.gene, source)
        yield made if is_clear(made) and is_itself(made) else None


shipped = cache(read_arrays)
"""Arrays of a shipped table, read once."""
