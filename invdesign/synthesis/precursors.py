"""Which precursors bring the elements of a target: counts in published recipes, those near the target above all.

Every element e of the target that a precursor must bring has a probability of each precursor p that brings it,

    P(p | e) = (Σ_r w_r n_r(p, e) + A·F(p | e)) / (Σ_r w_r + A),   w_r = m_r exp(-(d_r / d_K)²)

with the distance d_r of the target to the recipe r (of the recipes whose target holds e), the distance d_K of
the K-th nearest, a factor m_r of 1 for recipes of the method and `OTHER` for the rest, the share n_r(p, e) of p
among what brings e in r, and the frequency F over all recipes that hold e. Sets are put together by a beam
search for the largest

    Σ_e log P(p_e | e) + B Σ_{e<f} log (C(p_e, p_f) + 1) / (E(p_e, p_f) + 1)

where C counts recipes of both precursors and E is the count expected if they were chosen independently, in
recipes whose targets hold both e and f: nitrates go with nitrates, elements with elements. A precursor that
brings several elements is chosen once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray
from invdesign.synthesis.formulas import VOLATILE, Amounts, parse_formula, sources
from invdesign.synthesis.inputs import composition_inputs
from invdesign.synthesis.published import Recipes
from invdesign.synthesis.reaction import objection

NEAREST = 20
"""K: the distance of so many recipes sets the width of the weights."""
PRIOR = 1.0
"""A: how many recipes the frequency over all recipes counts for."""
COUPLING = 0.6
"""B: weight of what goes together."""
OTHER = 0.1
"""Factor of a recipe of another method, and of one whose target differs in whether it holds oxygen."""
FRACTIONS, MEANS = 3.0, 0.35
"""Weights of the roots of the fractions, and of the elements' numbers, in the distance."""
_Joint = tuple[str, str, int, int]
_Single = tuple[str, str, int]
_Both = tuple[str, str]
DEPTH = 3
OPTIONS, BEAM = 8, 40
"""Precursors per element and partial sets that the search goes through."""


@dataclass(frozen=True)
class Suggestion:
    """A set of precursors.

    Attributes:
        precursors: formulas, sorted.
        share: its probability among the sets that were put together.
    """

    precursors: tuple[str, ...]
    share: float


@dataclass(frozen=True, eq=False)
class _Uses:
    """What brings one element in the recipes whose target holds it.

    Attributes:
        recipes: (n,) the recipes.
        row: (u,) place in `recipes` of each use.
        precursor: (u,) place in the vocabulary.
        share: (u,) one over the precursors that bring the element in the recipe.
    """

    recipes: NDArray[np.int64]
    row: NDArray[np.int64]
    precursor: NDArray[np.int64]
    share: FloatArray


@dataclass(frozen=True, eq=False)
class PrecursorModel:
    """Suggestions from some recipes.

    Attributes:
        recipes: what they are learnt from.
    """

    recipes: Recipes

    @cached_property
    def _index(self) -> Mapping[str, int]:
        return {name: i for i, name in enumerate(self.recipes.vocabulary)}

    @cached_property
    def _scale(self) -> FloatArray:
        return scale_of(self.recipes.inputs.shape[1])

    @cached_property
    def _points(self) -> FloatArray:
        return self.recipes.inputs * self._scale

    @cached_property
    def uses(self) -> Mapping[str, _Uses]:
        """Element to its uses."""
        found: dict[str, tuple[list[int], list[int], list[int], list[float]]] = {}
        for number, row in enumerate(self.recipes.rows):
            for name, chosen in self._by_element(row.precursors, self.recipes.amounts[number]).items():
                recipes, rows, precursors, share = found.setdefault(name, ([], [], [], []))
                rows += [len(recipes)] * len(chosen)
                recipes.append(number)
                precursors += [self._index[p] for p in chosen]
                share += [1.0 / len(chosen)] * len(chosen)
        return {
            name: _Uses(np.array(a), np.array(b), np.array(c), np.array(d)) for name, (a, b, c, d) in found.items()
        }

    def _by_element(self, precursors: tuple[str, ...], target: Amounts) -> dict[str, list[str]]:
        """Element of a target to what brings it in a recipe."""
        brings = self.recipes.brings
        found = {name: [p for p in precursors if name in brings[p]] for name in sources(target)}
        return {name: chosen for name, chosen in found.items() if chosen}

    @cached_property
    def _pairs(self) -> tuple[Counter[_Joint], Counter[_Single], Counter[_Both]]:
        """Counts of two precursors of two elements, of one beside the other element, and of both elements."""
        joint: Counter[_Joint] = Counter()
        single: Counter[_Single] = Counter()
        both: Counter[_Both] = Counter()
        for number, row in enumerate(self.recipes.rows):
            held = self._by_element(row.precursors, self.recipes.amounts[number])
            first = {name: self._index[chosen[0]] for name, chosen in held.items()}
            names = sorted(first)
            for e in names:
                for f in names:
                    if e != f:
                        single[e, f, first[e]] += 1
                        if e < f:
                            both[e, f] += 1
                            joint[e, f, first[e], first[f]] += 1
        return joint, single, both

    def affinity(self, e: str, p: int, f: str, q: int) -> float:
        """Logarithm of how much more often than by chance two precursors of two elements are used together."""
        if e > f:
            e, p, f, q = f, q, e, p
        joint, single, both = self._pairs
        total = both[e, f]
        if not total or p == q:
            return 0.0
        expected = single[e, f, p] * single[f, e, q] / total
        return float(np.log((joint[e, f, p, q] + 1.0) / (expected + 1.0)))

    def distances(self, target: Amounts) -> FloatArray:
        """(n,) distance of a target to that of every recipe."""
        point = composition_inputs([target])[0] * self._scale
        return np.asarray(np.sqrt(((self._points - point) ** 2).sum(axis=1)))

    def chances(self, target: Amounts, method: str, distances: FloatArray) -> dict[str, FloatArray]:
        """Element to the (p,) probabilities of the precursors; elements in no recipe are missing."""
        found = {}
        size = len(self.recipes.vocabulary)
        for name in sorted(sources(target) & set(self.uses)):
            use = self.uses[name]
            near = distances[use.recipes]
            width = np.partition(near, min(NEAREST, len(near)) - 1)[min(NEAREST, len(near)) - 1]
            kind = np.where(self.recipes.methods[use.recipes] == method, 1.0, OTHER)
            kind = kind * np.where(self.recipes.oxides[use.recipes] == ("O" in target), 1.0, OTHER)
            weight = kind * np.exp(-((near / max(width, 1e-6)) ** 2))
            local = np.bincount(use.precursor, weight[use.row] * use.share, size)
            overall = np.bincount(use.precursor, kind[use.row] * use.share, size)
            chance = (local + PRIOR * overall / overall.sum()) / (weight.sum() + PRIOR)
            found[name] = np.where(self._usable(target), chance, 0.0)
        return found

    def _usable(self, target: Amounts) -> NDArray[np.bool_]:
        """(p,) which precursors of the vocabulary bring nothing that can neither stay nor leave with the gas."""
        allowed = set(target) | VOLATILE
        return np.array([self.recipes.brings[name] <= allowed for name in self.recipes.vocabulary])

    def suggest(self, target: Amounts, method: str, k: int = 5) -> list[Suggestion]:
        """The `k` likeliest sets of precursors; none if an element of the target is in no known precursor.

        The first `DEPTH` times `k` are put in order of what speaks against their reactions (`reaction.Objection`).

        Args:
            target: amounts of its elements.
            method: `solid-state` or `sol-gel`.
            k: how many.
        """
        chances = self.chances(target, method, self.distances(target))
        if not chances or set(chances) != sources(target):
            return []
        found = self.ranked(chances)[: DEPTH * k]
        parts = [[parse_formula(name) for name in each.precursors] for each in found]
        order = sorted(range(len(found)), key=lambda i: objection(parts[i], target))
        return [found[i] for i in order][:k]

    def ranked(self, chances: Mapping[str, FloatArray], coupling: float = COUPLING) -> list[Suggestion]:
        """Sets of the precursors with some probabilities by element, likeliest first.

        Args:
            chances: as of `chances`.
            coupling: weight of what goes together.
        """
        beam: dict[tuple[tuple[str, int], ...], float] = {(): 0.0}
        for name in sorted(chances, key=lambda name: -float(chances[name].max())):
            log = np.log(np.maximum(chances[name], 1e-12))
            best = [int(i) for i in np.argsort(-log)[:OPTIONS] if chances[name][i] > 0.0]
            longer: dict[tuple[tuple[str, int], ...], float] = {}
            for chosen, score in beam.items():
                held = [i for _, i in chosen if name in self.recipes.brings[self.recipes.vocabulary[i]]]
                for i in held[:1] or best:
                    extra = sum(self.affinity(e, j, name, i) for e, j in chosen)
                    longer[(*chosen, (name, i))] = score + float(log[i]) + coupling * extra
            beam = dict(sorted(longer.items(), key=lambda item: -item[1])[:BEAM])
        sets: dict[frozenset[int], float] = {}
        for chosen, score in beam.items():
            key = frozenset(i for _, i in chosen)
            sets[key] = max(score, sets.get(key, -np.inf))
        total = np.logaddexp.reduce(list(sets.values()))
        ordered = sorted(sets.items(), key=lambda item: -item[1])
        names = self.recipes.vocabulary
        return [Suggestion(tuple(sorted(names[i] for i in rows)), float(np.exp(s - total))) for rows, s in ordered]


def scale_of(width: int) -> FloatArray:
    """(d,) weights of the columns of `composition_inputs` in the distance."""
    from invdesign.synthesis.inputs import symbols

    n = len(symbols())
    return np.concatenate([np.full(n, FRACTIONS), np.full(width - n, MEANS)])
