"""Which precursors bring the elements of a target: a mixture of independent choices, learnt from published recipes.

A network reads composition and method. It gives the shares of a few *styles* z (all oxides and carbonates, all
nitrates, all elements, …) and, in each style, a probability of every precursor p of every element e that must be brought:

    P(S | target) = Σ_z P(z | target) Π_e P(p_e | e, z, target),   P(p | e, z, target) ∝ exp(q·v_p + b_p + c_zp)

with the network's vector q, a vector v_p per precursor, and the softmax over the precursors that hold e. A precursor that
holds several elements is chosen once for all of them. Styles keep the choices consistent: nitrates go with nitrates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.crystal import FloatArray
from invdesign.synthesis.formulas import Amounts, parse_formula, precursor_key, sources
from invdesign.synthesis.inputs import composition_inputs
from invdesign.synthesis.recipe import METHODS

OPTIONS, BEAM, STYLES = 6, 24, 6
"""Precursors per element, partial sets, and styles that the search for the likeliest sets goes through."""
CLIP = 6.0
"""Standardised inputs are cut here."""


@dataclass(frozen=True)
class Chosen:
    """A set of precursors.

    Attributes:
        precursors: formulas, sorted.
        probability: of exactly this set among all sets that the model knows.
    """

    precursors: tuple[str, ...]
    probability: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """What recipes near a target add to the network: counts of precursors by element, and of whole sets.

    Attributes:
        elements: element to precursor to weight.
        sets: keys of the precursors of recipes of the same target, to weight.
    """

    elements: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    sets: Mapping[frozenset[str], float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PrecursorModel:
    """The trained networks.

    Attributes:
        vocabulary: formulas of the precursors.
        weights: arrays of the networks, those of `m` members stacked along the first axis: `w1` (m, d, h), `b1`,
            `w2` (m, h, h), `b2`, `wq` (m, h, q), `bq`, `wz` (m, h, z), `bz`, `vectors` (m, p, q), `bias` (m, p),
            `styles` (m, z, p); `mean` and `scale` (d,) of the inputs.
    """

    vocabulary: tuple[str, ...]
    weights: Mapping[str, FloatArray]

    @cached_property
    def holders(self) -> dict[str, NDArray[np.int64]]:
        """Element to the precursors that hold it."""
        found: dict[str, list[int]] = {}
        for index, amounts in enumerate(self.amounts):
            for name in sources(amounts) | ({"N"} & set(amounts)):
                found.setdefault(name, []).append(index)
        return {name: np.array(rows) for name, rows in found.items()}

    @cached_property
    def amounts(self) -> tuple[Amounts, ...]:
        """Amounts of the elements in each precursor."""
        return tuple(parse_formula(name) for name in self.vocabulary)

    @cached_property
    def index(self) -> dict[Any, int]:
        """Key of a precursor to its place in the vocabulary."""
        return {precursor_key(amounts): i for i, amounts in enumerate(self.amounts)}

    def outputs(self, target: Amounts, method: str) -> tuple[FloatArray, FloatArray]:
        """(z,) log shares of the styles of all members, and (z, p) scores of the precursors in each."""
        hidden = hidden_of(self.weights, inputs([target], [method]))[:, 0]
        w = self.weights
        shares = np.einsum("mh,mhz->mz", hidden, w["wz"]) + w["bz"]
        shares -= np.logaddexp.reduce(shares, axis=1, keepdims=True) + np.log(len(shares))
        query = np.einsum("mh,mhq->mq", hidden, w["wq"]) + w["bq"]
        scores = np.einsum("mq,mpq->mp", query, w["vectors"]) + w["bias"]
        return shares.ravel(), (scores[:, None] + w["styles"]).reshape(shares.size, -1)

    def suggest(self, target: Amounts, method: str, k: int = 5, evidence: Evidence | None = None) -> list[Chosen]:
        """The `k` likeliest sets of precursors; none if an element of the target is in no known precursor.

        Args:
            target: amounts of its elements.
            method: `solid-state` or `sol-gel`.
            k: how many.
            evidence: of recipes near the target.
        """
        wanted = sorted(sources(target))
        if not wanted or not set(wanted) <= set(self.holders):
            return []
        shares, scores = self.outputs(target, method)
        logs = {name: self._choices(name, scores, evidence) for name in wanted}
        wanted.sort(key=lambda name: len(self.holders[name]))
        found: set[frozenset[int]] = set()
        for style in np.argsort(-shares)[: STYLES * len(self.weights["bz"])]:
            found |= self._beam({name: logs[name][style] for name in wanted})
        return self._ranked(found, shares, logs, evidence or Evidence())[:k]

    def _choices(self, name: str, scores: FloatArray, evidence: Evidence | None) -> FloatArray:
        """(z, p) log probabilities of the precursors of an element in each style; minus infinity for others."""
        rows = self.holders[name]
        log = scores[:, rows] - np.logaddexp.reduce(scores[:, rows], axis=1, keepdims=True)
        counts = (evidence.elements if evidence else {}).get(name, {})
        if counts:
            extra = np.array([counts.get(self.vocabulary[i], 0.0) for i in rows])
            log = np.log((np.exp(log) + extra) / (1.0 + extra.sum()))
        found = np.full(scores.shape, -np.inf)
        found[:, rows] = log
        return found

    def _beam(self, logs: Mapping[str, FloatArray]) -> set[frozenset[int]]:
        """The likeliest sets in one style."""
        beam: dict[frozenset[int], float] = {frozenset(): 0.0}
        for log in logs.values():
            best = [int(i) for i in np.argsort(-log)[:OPTIONS] if np.isfinite(log[i])]
            longer: dict[frozenset[int], float] = {}
            for chosen, score in beam.items():
                held = [i for i in chosen if np.isfinite(log[i])]
                for step in [chosen] if held else [chosen | {i} for i in best]:
                    value = score + float(np.mean([log[i] for i in step if np.isfinite(log[i])]))
                    longer[step] = max(value, longer.get(step, -np.inf))
            beam = dict(sorted(longer.items(), key=lambda item: -item[1])[:BEAM])
        return set(beam)

    def _ranked(
        self, sets: set[frozenset[int]], shares: FloatArray, logs: Mapping[str, FloatArray], evidence: Evidence
    ) -> list[Chosen]:
        """Sets with their probability over all styles, likeliest first."""
        observed = {frozenset(self.index.get(key, -1) for key in names): n for names, n in evidence.sets.items()}
        sets = sets | {chosen for chosen in observed if -1 not in chosen}
        total = sum(observed.values())
        ranked = []
        for chosen in sets:
            value = shares.copy()
            for log in logs.values():
                held = [i for i in chosen if np.isfinite(log[0, i])]
                value = value + (log[:, held].mean(axis=1) if held else -np.inf)
            likely = float(np.exp(np.logaddexp.reduce(value)))
            ranked.append(((likely + observed.get(chosen, 0.0)) / (1.0 + total), sorted(chosen)))
        ranked.sort(key=lambda item: (-item[0], item[1]))
        return [Chosen(tuple(sorted(self.vocabulary[i] for i in rows)), p) for p, rows in ranked]


def inputs(targets: Sequence[Amounts], methods: Sequence[str]) -> FloatArray:
    """(n, d) what the networks read: the composition and the method."""
    kinds = np.array([[float(method == name) for name in METHODS] for method in methods])
    return np.concatenate([composition_inputs(targets), kinds.reshape(len(targets), len(METHODS))], axis=1)


def hidden_of(weights: Mapping[str, FloatArray], rows: FloatArray) -> FloatArray:
    """(m, n, h) last hidden layer of every member for (n, d) inputs."""
    x = np.clip((rows - weights["mean"]) / weights["scale"], -CLIP, CLIP)
    first = np.maximum(np.einsum("nd,mdh->mnh", x, weights["w1"]) + weights["b1"][:, None], 0.0)
    second = np.einsum("mnh,mhk->mnk", first, weights["w2"]) + weights["b2"][:, None]
    return np.asarray(np.maximum(second, 0.0))
