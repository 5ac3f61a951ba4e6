"""Whether crystals are still such as the surrogates were trained on, and their errors still as promised.

Three looks: how far the crystals lie from the training data, which elements they have, and, where values are
known, how often 90 % intervals hold them and how large errors are against what was expected. The distance
percentile of an estimate is uniform for crystals like the training data by its making
(`invdesign.surrogates.model.Memory`), so a sample is compared with that: by the Kolmogorov-Smirnov test, and by
the population stability index (Siddiqi, Credit Risk Scorecards, 2006), which does not grow with the size of the
sample.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from invdesign.crystal import Crystal, FloatArray
from invdesign.elements import symbol
from invdesign.properties import SHIPPED, Property
from invdesign.records import NEW_PROTOTYPE, Estimate, Value
from invdesign.uncertainty import modelled_std

LEAST = 20
"""Crystals below which distances are not judged."""
LEAST_PAIRS = 5
"""Known values of a property below which its errors are not judged."""
BINS = 5
SHIFTED = 0.25
"""Population stability index from which on a population counts as another one (Siddiqi)."""
SIGNIFICANT = 0.01
OOD_SHARE = 0.1
"""Share of crystals marked as out of distribution from which on the surrogates are asked about things they have
not seen. New structure types alone do not count: they are usual."""
RARE = 10
"""Training crystals below which an element counts as not seen."""
RARE_SHARE = 0.05
LEVEL = 0.9
GROWN = 1.5
"""Error over the expected one from which on it counts as grown."""


@dataclass(frozen=True)
class Errors:
    """Errors of one property where values are known.

    Attributes:
        known: how many.
        coverage: share of them in their 90 % intervals; NaN where there are no intervals.
        ratio: mean absolute error over that expected of the stated standard deviations.
        bias: mean of estimate minus known value, over the standard deviation.
        coverage_chance: probability of so little coverage if the intervals were right.
        ratio_chance: probability of errors this large if the standard deviations were right.
        label: the property in words.
    """

    known: int
    coverage: float
    ratio: float
    bias: float
    coverage_chance: float
    ratio_chance: float
    label: str = ""

    @property
    def broken(self) -> bool:
        """Whether the errors are larger than promised, beyond chance."""
        too_large = self.ratio > GROWN and self.ratio_chance < SIGNIFICANT
        return self.known >= LEAST_PAIRS and (too_large or self.coverage_chance < SIGNIFICANT)


@dataclass(frozen=True)
class Drift:
    """How crystals differ from what surrogates were trained on.

    Attributes:
        crystals: how many were looked at.
        unreadable: how many more got no estimate.
        ood_share: share marked as out of distribution for an element or the distance; one in a hundred is usual.
        new_types: share whose only mark is a structure type that training did not have; one in eight is usual.
        distance: median of the distance percentile; a half is usual.
        stability_index: of the distance percentiles, in fifths; NaN where there are too few.
        chance: p-value of the one-sided Kolmogorov-Smirnov test that the crystals lie no farther than usual.
        rare_elements: elements that fewer than ten training crystals have, and how many of the crystals have them.
        elements: number of elements in the crystals.
        errors: by property, where values are known.
    """

    crystals: int
    unreadable: int
    ood_share: float
    new_types: float
    distance: float
    stability_index: float
    chance: float
    rare_elements: Mapping[str, int]
    elements: int
    errors: Mapping[str, Errors]

    @property
    def reasons(self) -> list[str]:
        """Why the surrogates should be trained again: errors beyond what they promise."""
        return [
            f"errors of the {e.label} are {e.ratio:.1f} times the expected ones, "
            f"90 % intervals hold {e.coverage:.0%} of {e.known} values"
            for e in self.errors.values()
            if e.broken
        ]

    @property
    def signs(self) -> list[str]:
        """What makes one doubt them although no known value says so."""
        found = []
        if self.ood_share > OOD_SHARE:
            found.append(f"{self.ood_share:.0%} of the crystals are marked as out of distribution")
        if self.stability_index > SHIFTED and self.chance < SIGNIFICANT:
            found.append(f"they lie farther from the training data than usual (index {self.stability_index:.2f})")
        many = {name: n for name, n in self.rare_elements.items() if n > RARE_SHARE * self.crystals}
        if many:
            found.append(f"elements hardly seen in training are frequent: {', '.join(many)}")
        return found

    @property
    def verdict(self) -> str:
        """One line that says when to train again."""
        if self.reasons:
            return f"RETRAIN the surrogates with values like these: {'; '.join(self.reasons)}"
        checked = any(e.known >= LEAST_PAIRS for e in self.errors.values())
        if self.signs and not checked:
            return f"verify some of these crystals before you trust the surrogates: {'; '.join(self.signs)}"
        if self.signs:
            return f"errors are as promised, no need to retrain yet, although {'; '.join(self.signs)}"
        return "no need to retrain: nothing differs from the training data beyond chance"

    def lines(self) -> list[str]:
        """What was found, in a few lines."""
        index = "too few to judge" if math.isnan(self.stability_index) else f"{self.stability_index:.2f}"
        rare = ", ".join(f"{name} ({n})" for name, n in self.rare_elements.items()) or "none"
        found = [
            f"drift of {self.crystals} crystals against the training data of the surrogates:",
            f"  out of distribution {self.ood_share:.1%} (usual: 1 %), median distance percentile "
            f"{self.distance:.2f} (0.50), stability index {index} (below {SHIFTED:g})",
            f"  of structure types that training did not have, beside these {self.new_types:.1%} (usual: 12 %)",
            f"  elements hardly seen in training: {rare} of {self.elements}",
        ]
        for e in self.errors.values():
            inside = "" if math.isnan(e.coverage) else f"90 % intervals hold {e.coverage:.0%}, "
            found.append(
                f"  {e.label}: {e.known} known values, {inside}errors {e.ratio:.2f} times the "
                f"expected ones, bias {e.bias:+.2f} standard deviations"
            )
        return [*found, f"  {self.verdict}"]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for `run.json`."""
        return asdict(self) | {"verdict": self.verdict}


def drift(
    crystals: Sequence[Crystal],
    estimates: Sequence[Estimate],
    element_counts: ArrayLike,
    known: Sequence[Mapping[str, float]] | None = None,
    properties: Mapping[str, Property] = SHIPPED,
) -> Drift:
    """Compare crystals and errors with the training data.

    Args:
        crystals: what surrogates were asked about.
        estimates: what they said, one per crystal.
        element_counts: (104,) training crystals that hold each element, by atomic number.
        known: one mapping per crystal of property to the true value, in the property's unit (None: nothing is).
        properties: by name, custom ones included.
    """
    if len(crystals) != len(estimates):
        raise ValueError(f"{len(estimates)} estimates for {len(crystals)} crystals")
    sound = [i for i, e in enumerate(estimates) if not e.failure]
    places = np.array([estimates[i].distance for i in sound])
    places = places[np.isfinite(places)]
    index, chance = shift(places)
    marks = [(estimates[i].out_of_distribution, estimates[i].ood_reason == NEW_PROTOTYPE) for i in sound]
    elements = Counter(int(z) for i in sound for z in np.unique(crystals[i].numbers))
    counts = np.asarray(element_counts)
    rare = {symbol(z): n for z, n in elements.most_common() if z >= len(counts) or counts[z] < RARE}
    truths = [{}] * len(crystals) if known is None else known
    pairs: dict[str, list[tuple[Value, float]]] = {}
    for i in sound:
        for name, truth in truths[i].items():
            if name in estimates[i].values:
                pairs.setdefault(name, []).append((estimates[i].values[name], truth))
    return Drift(
        crystals=len(sound),
        unreadable=len(crystals) - len(sound),
        ood_share=float(np.mean([is_marked and not t for is_marked, t in marks])) if sound else math.nan,
        new_types=float(np.mean([t for _, t in marks])) if sound else math.nan,
        distance=float(np.median(places)) if len(places) else math.nan,
        stability_index=index,
        chance=chance,
        rare_elements=rare,
        elements=len(elements),
        errors={name: errors(name, pairs[name], properties) for name in properties if name in pairs},
    )


def shift(places: FloatArray) -> tuple[float, float]:
    """Population stability index of distance percentiles, and the chance that they are no farther; NaN if few."""
    from scipy.stats import kstest

    if len(places) < LEAST:
        return math.nan, math.nan
    inside = np.minimum(places, 1.0)
    share = np.histogram(inside, bins=BINS, range=(0.0, 1.0))[0] / len(inside)
    share = np.maximum(share, 0.5 / len(inside))
    index = float(((share - 1.0 / BINS) * np.log(share * BINS)).sum())
    return index, float(kstest(inside, "uniform", alternative="less").pvalue)


def errors(
    name: str, pairs: Sequence[tuple[Value, float]], properties: Mapping[str, Property] = SHIPPED
) -> Errors:
    """Errors of estimates of one property whose true values are known."""
    from scipy.stats import binom

    prop = properties[name]
    log = prop.log
    usable = [(v, t) for v, t in pairs if not log or (v.mean > 0.0 and t > 0.0)]
    off = np.array([math.log10(v.mean / t) if log else v.mean - t for v, t in usable])
    std = np.array([max(modelled_std(v, log=log), 1e-9) for v, _ in usable])
    held = [v.low <= t <= v.high for v, t in usable if v.low is not None and v.high is not None]
    if not len(off):
        return Errors(0, math.nan, math.nan, math.nan, 1.0, 1.0, prop.label)
    scores = off / std
    ratio = float(np.abs(scores).mean() / math.sqrt(2.0 / math.pi))
    return Errors(
        known=len(off),
        coverage=float(np.mean(held)) if held else math.nan,
        ratio=ratio,
        bias=float(scores.mean()),
        coverage_chance=float(binom.cdf(sum(held), len(held), LEVEL)) if held else 1.0,
        ratio_chance=_chance_of(ratio, len(off)),
        label=prop.label,
    )


def _chance_of(ratio: float, n: int, draws: int = 20000) -> float:
    """Probability that `n` normal errors are on average at least `ratio` times the expected size."""
    drawn = np.abs(np.random.default_rng(0).standard_normal((draws, min(n, 200)))).mean(axis=1)
    spread = math.sqrt(min(n, 200) / n)
    expected = math.sqrt(2.0 / math.pi)
    return float(np.mean(expected + spread * (drawn - expected) >= ratio * expected))
