"""Prototypes of many crystals at once: which positions are occupied, and which of them by the same element.

The same prototype as `invdesign.benchmarking.metrics.template`, as a number: whatever the elements, the order of
the orbits and the choice of origin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import Gene, IntArray
from invdesign.crystallography.wyckoff import wyckoff_table

Keys = NDArray[np.uint64]


def prototype_keys(
    space_group: IntArray, owner: IntArray, number: IntArray, position: IntArray
) -> NDArray[np.int64]:
    """(n,) a key of each crystal's prototype: equal for equal prototypes, different for different ones.

    Sums of scrambled numbers, first over the positions of an element, then over the elements; the least over the
    changes of origin and axes that map the group on itself. Two prototypes share one of 2⁶⁴ keys by accident only.

    Args:
        space_group: (n,) numbers in the International Tables.
        owner: (m,) the crystal of each orbit, ascending; every crystal has one.
        number: (m,) atomic numbers.
        position: (m,) index in the table of Wyckoff positions.
    """
    table = wyckoff_table()
    group = space_group.astype(np.int64) - 1
    order = np.lexsort((number, owner))
    owner, number = owner[order], number[order]
    letter = position[order] - table.group_start[group[owner]]
    new_crystal = np.diff(owner, prepend=-1) != 0
    element = np.flatnonzero(new_crystal | (np.diff(number, prepend=-1) != 0))
    crystal = np.flatnonzero(new_crystal[element])
    first, last = table.normalizer_start[group], table.normalizer_start[group + 1] - 1
    found: Keys | None = None
    for k in range(int((last - first).max(initial=0)) + 1):
        moved = table.normalizer_permutation[np.minimum(first + k, last)[owner], letter]
        of_element = _scrambled(np.add.reduceat(_scrambled(moved.astype(np.uint64)), element))
        keys = _scrambled(np.add.reduceat(of_element, crystal) + group.astype(np.uint64))
        found = keys if found is None else np.minimum(found, keys)
    assert found is not None
    return found.view(np.int64)


def gene_prototypes(genes: Sequence[Gene]) -> NDArray[np.int64]:
    """(n,) `prototype_keys` of genes, each with at least one orbit."""
    groups = np.array([gene.space_group for gene in genes], dtype=np.int64)
    owner = np.repeat(np.arange(len(genes)), [len(gene.numbers) for gene in genes])
    number = np.concatenate([gene.numbers for gene in genes]).astype(np.int64)
    wyckoff = np.concatenate([gene.wyckoffs for gene in genes]).astype(np.int64)
    return prototype_keys(groups, owner, number, wyckoff_table().group_start[groups[owner] - 1] + wyckoff)


def _scrambled(values: Keys) -> Keys:
    """The finaliser of SplitMix64 (Steele et al., OOPSLA 2014): well mixed, and no two numbers become the same."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
