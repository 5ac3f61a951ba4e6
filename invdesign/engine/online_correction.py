"""What a run's own relaxations say about its gate: where it is too hopeful, and by how much it scatters.

The gate predicts from unrelaxed genes. After a round, some of its rows have been relaxed, placed on the hull and
predicted again. The difference between both answers is regressed on the composition (ridge: a common offset and
one term per element), so that a gate that thinks too well of, say, fluorides is believed less in the next round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from invdesign.answers import Answers, answers_of
from invdesign.crystal import Crystal, FloatArray
from invdesign.evolution.judge import Correct
from invdesign.evolution.learning import Evidence, learn
from invdesign.properties import SHIPPED, Property
from invdesign.protocols import Surrogate
from invdesign.records import MEASURED, Estimate, Evaluation, Value
from invdesign.uncertainty import modelled_std, modelled_value

LEAST = 8
"""Relaxed rows below which nothing is learned."""
Pair = tuple[Crystal, Value, float]
"""A crystal, the answer that is to be corrected, and a better one."""
OFFSET_PRIOR, ELEMENT_PRIOR = 1.0, 0.5
"""Prior standard deviations of the offset and of an element's term, in units of the gate's own scatter."""
N_ELEMENTS = 119
EAGER, CAUTIOUS = (1.0,), (0.05, 0.3, 1.0, 3.0)
"""Factors on these priors, averaged by their evidence. Relaxations of a run are known to err together; values that
come back may show errors of any common size, or none but chance, when nothing is to be moved
(`benchmarks/feedback.py`)."""


@dataclass(frozen=True, eq=False)
class _Shift:
    """How far off the gate is in one property, in log10 where the property is modelled so.

    Attributes:
        weights: (1 + N_ELEMENTS,) mean of the terms: offset, then one per atomic number.
        covariance: of the terms.
        inflation: factor on the gate's standard deviation.
    """

    weights: FloatArray
    covariance: FloatArray
    inflation: float

    def at(self, crystal: Crystal) -> tuple[float, float]:
        """Mean and standard deviation of the shift for a crystal's composition."""
        x = _features(crystal)
        return float(x @ self.weights), math.sqrt(max(0.0, float(x @ self.covariance @ x)))


def fit_correction(
    rows: Sequence[Evaluation], known: Mapping[str, Property] = SHIPPED
) -> Callable[[Estimate, Crystal], Estimate] | None:
    """A function that corrects the gate's estimate of a crystal, from relaxed rows; None while there are few.

    Only properties that the gate estimates are corrected. Rows that could not be relaxed say nothing.

    Args:
        rows: evaluations.
        known: properties by name, custom ones included.
    """
    return correction({name: _pairs(name, rows) for name in known}, known=known)


def correction(
    pairs: Mapping[str, Sequence[Pair]],
    least: int = LEAST,
    priors: Sequence[float] = EAGER,
    known: Mapping[str, Property] = SHIPPED,
) -> Callable[[Estimate, Crystal], Estimate] | None:
    """A function that corrects estimates of crystals by what pairs of answers say.

    Args:
        pairs: by property.
        least: pairs below which nothing is learned of a property.
        priors: `EAGER` or `CAUTIOUS`.
        known: properties by name, custom ones included.

    Returns:
        The function, which leaves properties alone of which nothing was learned; None if it would leave all.
    """
    found = {name: _fit(known[name].log, answers, least, priors) for name, answers in pairs.items()}
    shifts = {name: shift for name, shift in found.items() if shift is not None}
    if not shifts:
        return None

    def correct(found: Estimate, crystal: Crystal) -> Estimate:
        moved = {
            name: _moved(known[name].log, value, shifts[name], crystal)
            for name, value in found.values.items()
            if name in shifts
        }
        return replace(found, values={**found.values, **moved})

    return correct


def _pairs(name: str, rows: Sequence[Evaluation]) -> list[Pair]:
    return [
        (row.candidate.crystal, row.gate.values[name], truth)
        for row in rows
        if (truth := _truth(name, row)) is not None and row.gate is not None and name in row.gate.values
    ]


def _fit(log: bool, pairs: Sequence[Pair], least: int, priors: Sequence[float]) -> _Shift | None:
    usable = [(c, g, t) for c, g, t in pairs if not log or (g.mean > 0.0 and t > 0.0)]
    if len(usable) < least:
        return None
    x = np.array([_features(crystal) for crystal, _, _ in usable])
    spread = np.array([max(modelled_std(gate, log=log), 1e-3) for _, gate, _ in usable])
    error = np.array([(math.log10(t / g.mean) if log else t - g.mean) for _, g, t in usable])
    return _averaged([_ridge(x, error, spread, factor) for factor in priors])


def _averaged(found: Sequence[tuple[_Shift, float]]) -> _Shift:
    """The mean of regressions, weighted by their evidence (Hoeting et al., Stat. Sci. 14, 382 (1999))."""
    evidence = np.array([log for _, log in found])
    share = np.exp(evidence - evidence.max())
    share /= share.sum()
    weights = np.asarray(sum(p * s.weights for p, (s, _) in zip(share, found, strict=True)))
    covariance = np.zeros_like(found[0][0].covariance)
    for p, (shift, _) in zip(share, found, strict=True):
        off = shift.weights - weights
        covariance += p * (shift.covariance + np.outer(off, off))
    return _Shift(weights, covariance, float(sum(p * s.inflation for p, (s, _) in zip(share, found, strict=True))))


def _ridge(x: FloatArray, error: FloatArray, spread: FloatArray, factor: float) -> tuple[_Shift, float]:
    """Bayesian linear regression with the gate's spread as noise, and the logarithm of its evidence.

    The residual scatter sets the inflation; `factor` multiplies the prior's standard deviations.
    """
    scale = factor * float(np.median(spread))
    prior = np.full(x.shape[1], (ELEMENT_PRIOR * scale) ** -2)
    prior[0] = (OFFSET_PRIOR * scale) ** -2
    inflation = 1.0
    for _ in range(3):
        weighted = x / (inflation * spread[:, None]) ** 2
        covariance = np.asarray(np.linalg.inv(x.T @ weighted + np.diag(prior)), dtype=np.float64)
        weights = np.asarray(covariance @ (weighted.T @ error), dtype=np.float64)
        residual = (error - x @ weights) / spread
        inflation = float(np.clip(np.sqrt((4.0 + residual @ residual) / (4.0 + len(error))), 0.5, 3.0))
    likely = (x / prior) @ x.T + np.diag((inflation * spread) ** 2)
    size, log_volume = np.linalg.slogdet(likely)
    log = -0.5 * float(log_volume + error @ np.linalg.solve(likely, error))
    return _Shift(weights, covariance, inflation), log if size > 0 else -math.inf


def _truth(name: str, row: Evaluation) -> float | None:
    """The better answer: the potential's energy above hull, or the surrogate's estimate of the relaxed crystal."""
    if name == "energy_above_hull":
        return None if row.energy_above_hull is None else row.energy_above_hull.mean
    if row.estimate is None or name not in row.estimate.values:
        return None
    return row.estimate.values[name].mean


def _moved(log: bool, value: Value, shift: _Shift, crystal: Crystal) -> Value:
    if log and value.mean <= 0.0:
        return value
    by, unsure = shift.at(crystal)
    spread = math.hypot(shift.inflation * modelled_std(value, log=log), unsure)
    mean = value.mean * 10.0**by if log else value.mean + by
    return modelled_value(mean, spread, value.source, log=log)


def _features(crystal: Crystal) -> FloatArray:
    """(1 + N_ELEMENTS,): one, then the atomic fraction of each element by atomic number."""
    counts = np.bincount(crystal.numbers, minlength=N_ELEMENTS).astype(np.float64)
    return np.concatenate([[1.0], counts / counts.sum()])


def learned(
    rows: Sequence[Evaluation], gate: Surrogate, known: Mapping[str, Property] = SHIPPED
) -> Correct | None:
    """What first looks and relaxations say about the gate's errors; None while there are few.

    Energies come from relaxations and from first looks, other properties from the estimates of relaxed crystals.

    Args:
        rows: of a run, in the order in which they came.
        gate: is asked again about the proposals, for its embedding.
        known: properties by name, custom ones included.
    """
    useful = [r for r in rows if r.gate is not None and (r.probe is not None or r.relaxation is not None)]
    if not useful:
        return None
    crystals = [row.candidate.crystal for row in useful]
    answers = asked(gate, crystals, known)
    found = {name: np.full(len(useful), np.nan) for name in answers.names}
    errors = {name: np.zeros(len(useful)) for name in answers.names}
    for i, row in enumerate(useful):
        for name, (mean, std) in _findings(row, known).items():
            if name in found:
                found[name][i], errors[name][i] = mean, std
    return learn(Evidence(crystals, answers, found, errors))


def asked(gate: Surrogate, crystals: Sequence[Crystal], known: Mapping[str, Property] = SHIPPED) -> Answers:
    """The gate's answers as arrays."""
    ask = getattr(gate, "answers", None)
    found: Answers = ask(crystals) if ask is not None else answers_of(gate.predict(crystals), known)
    return found


def _findings(row: Evaluation, known: Mapping[str, Property]) -> dict[str, tuple[float, float]]:
    """What was found of a row, log10 for positive properties, and how far a full relaxation may still change
    it."""
    found: dict[str, tuple[float, float]] = {}
    if row.probe is not None:
        found["formation_energy"] = row.probe.formation_energy.mean, row.probe.spread
    done = row.relaxation
    if done is not None and done.converged and done.formation_energy is not None:
        found["formation_energy"] = done.formation_energy.mean, 0.0
    if row.estimate is not None and not row.estimate.failure:
        estimated = answers_of([row.estimate], known)
        for j, name in enumerate(estimated.names):
            if name not in ("formation_energy", "energy_above_hull"):
                found[name] = float(estimated.mean[0, j]), 0.0
        energy = row.estimate.values.get("formation_energy")
        if energy is not None and energy.source == MEASURED:
            found["formation_energy"] = energy.mean, 0.0
    return found
