"""What each site adds to a predicted value: chains from usual substitutes back to the crystal.

Shapley values of the orbits (L. S. Shapley, Contributions to the Theory of Games 2, 307 (1953)), sampled over
random orders (Štrumbelj and Kononenko, Knowl. Inf. Syst. 41, 647 (2014)). A site that does not take part holds a
usual substitute of its element, drawn from the exchanges mined from known crystals; the cell is scaled to the
volumes of its elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import FloatArray, Gene, IntArray
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table
from invdesign.surrogates.inputs.dataset import graphs_of_genes
from invdesign.surrogates.model import Model
from invdesign.surrogates.scales import shown
from invdesign.tables import read_arrays
from invdesign.units import ANGSTROM3_PER_CM3_PER_MOL

DRAWS = 32
"""Chains from substitutes to the crystal; every second one runs through the sites in the reverse order."""


@dataclass(frozen=True)
class Contribution:
    """What some sites add to a value.

    Attributes:
        value: in log10 for properties that are modelled so, otherwise in the property's unit.
        error: standard error that comes from the finite number of draws.
    """

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Chains:
    """Values along chains from substitutes to a crystal of `k` orbits, for `p` properties.

    Attributes:
        gains: (draws, k, p) what each orbit added when its own element came back.
        start: (draws, p) values with substitutes everywhere.
    """

    gains: FloatArray
    start: FloatArray

    def contribution(self, orbits: IntArray, j: int) -> Contribution:
        """Of some orbits together to property `j`; chains in pairs are one draw of the error."""
        each = self.gains[:, orbits, j].sum(axis=1)
        pairs = each.reshape(-1, 2).mean(axis=1)
        error = pairs.std(ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else float("nan")
        return Contribution(float(each.mean()), float(error))


def by_orbit(model: Model, gene: Gene, value: FloatArray, draws: int = DRAWS) -> Chains:
    """Chains of a crystal whose value is `value` (p,); always the same for the same gene."""
    rng, k = np.random.default_rng(0), len(gene.numbers)
    orders = [order for _ in range(draws // 2) for order in _both_ways(rng.permutation(k))]
    swaps = substitutes(gene, draws // 2, rng)
    genes = [each for i, order in enumerate(orders) for each in _chain(gene, swaps[i // 2], order)]
    found = shown(model.properties, model.raw(graphs_of_genes(genes)).mean).reshape(len(orders), k, -1)
    end = np.broadcast_to(value, (len(orders), 1, len(value)))
    steps = np.diff(np.concatenate([found, end], axis=1), axis=1)
    gains = np.empty_like(steps)
    for i, order in enumerate(orders):
        gains[i, order] = steps[i]
    return Chains(gains, found[:, 0])


def _both_ways(order: IntArray) -> tuple[IntArray, IntArray]:
    return order, order[::-1]


def _chain(gene: Gene, swaps: Mapping[int, int], order: IntArray) -> Iterator[Gene]:
    """The gene with substitutes everywhere, then with one orbit after the other as it is, without the last."""
    numbers = [swaps[z] for z in gene.numbers]
    for orbit in order:
        yield replaced(gene, tuple(numbers))
        numbers[orbit] = gene.numbers[orbit]


def substitutes(gene: Gene, n: int, rng: np.random.Generator) -> list[dict[int, int]]:
    """`n` choices of a substitute for every element, none of them of the crystal itself and no two alike.

    Each element's substitutes are spread evenly over their probabilities (systematic sampling).
    """
    present = list(dict.fromkeys(gene.numbers))
    even = {z: (rng.permutation(n) + rng.random(n)) / n for z in present}
    return [_choice(present, {z: float(even[z][i]) for z in present}) for i in range(n)]


def _choice(present: list[int], at: Mapping[int, float]) -> dict[int, int]:
    """The substitutes at these quantiles of their distributions."""
    taken, swaps = set(present), {}
    for z in present:
        weights = exchange_odds()[z].copy()
        weights[list(taken)] = 0.0
        ends = np.cumsum(weights)
        swaps[z] = int(np.searchsorted(ends, at[z] * ends[-1], side="right"))
        taken.add(swaps[z])
    return swaps


def replaced(gene: Gene, numbers: tuple[int, ...]) -> Gene:
    """The gene with other elements, its edges scaled to the volume that they suggest."""
    table = wyckoff_table()
    sites = table.primitive_multiplicity[table.group_start[gene.space_group - 1] + np.array(gene.wyckoffs)]
    before, after = (float((sites * element_volumes()[list(z)]).sum()) for z in (gene.numbers, numbers))
    scale = (after / before) ** (1.0 / 3.0)
    free = FREE_LATTICE[lattice_family(gene.space_group)]
    cell = tuple(v * scale if k < 3 else v for k, v in zip(free, gene.free_lattice, strict=True))
    return replace(gene, numbers=numbers, free_lattice=cell)


@cache
def exchange_odds() -> FloatArray:
    """(104, 104) how likely each element takes the place of another: mined, and a little for all others."""
    counts = _exchanges()["counts"].astype(np.float64)
    common = counts.sum(axis=0)
    odds = counts + common / common.sum()
    np.fill_diagonal(odds, 0.0)
    return odds / odds.sum(axis=1, keepdims=True)


@cache
def element_volumes() -> FloatArray:
    """(104,) volume that an atom of each element suggests, Å³; the molar volume for those of no known crystal."""
    mined = _exchanges()["element_volume"].astype(np.float64)
    molar = element_features().column("molar_volume") * ANGSTROM3_PER_CM3_PER_MOL
    return np.where(mined > 0, mined, molar)


@cache
def _exchanges() -> dict[str, FloatArray]:
    return read_arrays("substitution.npz")
