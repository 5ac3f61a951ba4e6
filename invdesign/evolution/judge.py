"""How good many crystals look before anything was relaxed: the chance to be on target, and to be stable.

The chance that all targets hold is taken over joint samples of the properties: errors of bulk and shear modulus
are correlated, and what derives from them (hardness, Young's modulus, Poisson's ratio, …) is computed for each
sample. Each sample counts by how far it lies within the bounds, smoothed, so that the logarithm of the chance
tells which of two crystals is nearer to a target that both miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from invdesign.answers import Answers, answers_of
from invdesign.chemistry.composition import integer_composition
from invdesign.crystal import Crystal
from invdesign.evolution.joint import HardnessModel, formula_hardness, log_target_chance
from invdesign.properties import known_properties
from invdesign.protocols import Reference, Surrogate
from invdesign.query import Target

Array = NDArray[np.float64]
Correct = Callable[[Answers, Sequence[Crystal]], Answers]
"""Takes the answers of the screening surrogate to what a run has learned about its errors."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is believed of `n` crystals.

    Attributes:
        answers: of the screening surrogate, corrected by what the run has learned.
        hull_mean, hull_std: (n,) energy above hull and its standard deviation, eV/atom; NaN without a hull.
        log_target: (n,) logarithm of the chance that all targets hold.
        log_stable: (n,) logarithm of the chance that the energy above hull is at most the limit.
    """

    answers: Answers
    hull_mean: Array
    hull_std: Array
    log_target: Array
    log_stable: Array

    @property
    def fitness(self) -> Array:
        """(n,) logarithm of the chance to be on target and stable; minus infinity where that is not known."""
        total = self.log_target + self.log_stable
        return np.where(np.isfinite(total), total, -np.inf)


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges crystals for one query.

    Attributes:
        gate: the screening surrogate; one that has `answers` is asked for arrays.
        reference: the hull; one that has `hull_energies` is asked for many compositions together.
        targets: what is wished for.
        limit: largest energy above hull, eV/atom.
        hardness: model of the Vickers hardness.
        correct: what the run has learned, or None.
    """

    gate: Surrogate
    reference: Reference
    targets: tuple[Target, ...]
    limit: float
    hardness: HardnessModel = formula_hardness
    correct: Correct | None = None

    def judge(self, crystals: Sequence[Crystal], rough: bool = False) -> Judged:
        """Judge crystals by the screening surrogate; roughly, by a part of it that takes less time, if it has
        one."""
        ask = getattr(self.gate, "answers", None)
        answers = (
            ask(crystals, rough)
            if ask is not None
            else answers_of(self.gate.predict(crystals), known_properties(t.prop for t in self.targets))
        )
        if self.correct is not None:
            answers = self.correct(answers, crystals)
        return self.weigh(answers, crystals)

    def weigh(self, answers: Answers, crystals: Sequence[Crystal]) -> Judged:
        """The chances that follow from answers."""
        mean, std = answers.column("formation_energy")
        above = mean - self.hull_energies(crystals)
        answers = with_column(answers, "energy_above_hull", above, std)
        return Judged(
            answers=answers,
            hull_mean=above,
            hull_std=std,
            log_target=log_target_chance(answers, crystals, self.targets, self.hardness),
            log_stable=log_normal_below((self.limit - above) / np.maximum(std, 1e-6)),
        )

    def hull_energies(self, crystals: Sequence[Crystal]) -> Array:
        """(n,) formation energies of the hull at the compositions of crystals, eV/atom."""
        compositions = [tuple(integer_composition(c.numbers).items()) for c in crystals]
        ask = getattr(self.reference, "hull_energies", None)
        if ask is not None:
            return np.asarray(ask(compositions), dtype=np.float64)
        from invdesign.records import Value

        found = [self.reference.energy_above_hull(c, Value(0.0, 0.0)) for c in crystals]
        return np.array([np.nan if value is None else -value.mean for value in found], dtype=np.float64)


def with_column(answers: Answers, name: str, mean: Array, std: Array) -> Answers:
    """The answers with one property added, or replaced."""
    kept = [j for j, each in enumerate(answers.names) if each != name]
    return replace(
        answers,
        names=(*(answers.names[j] for j in kept), name),
        mean=np.concatenate([answers.mean[:, kept], mean[:, None]], axis=1),
        std=np.concatenate([answers.std[:, kept], std[:, None]], axis=1),
    )


def log_normal_below(z: Array) -> Array:
    """Logarithm of the standard normal distribution function, accurate in both tails."""
    from scipy.special import log_ndtr

    return np.asarray(log_ndtr(z), dtype=np.float64)
