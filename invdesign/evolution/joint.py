"""The chance that several targets hold at once, from means and standard deviations of correlated properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.answers import Answers
from invdesign.crystal import Crystal
from invdesign.mechanics import formulas
from invdesign.mechanics.bonding import bonding_class
from invdesign.mechanics.derive import DENSITY_ERROR, MODULUS_CORRELATION, density
from invdesign.mechanics.quantities import OF_MODULI, quantities
from invdesign.properties import QUANTITIES
from invdesign.query import Target
from invdesign.records import Estimate, Value

Array = NDArray[np.float64]

SAMPLES = 64
"""Joint samples of a crystal's properties, a power of two."""
SMOOTH = 0.3
"""Width by which a bound is smoothed, in standard deviations of the property; samples are narrower by as much."""
MODULI = ("bulk_modulus", "shear_modulus")
SOFTEST = 0.05
"""Hardness formulas are cut here (GPa): they may become negative."""
HardnessModel = Callable[[Sequence[NDArray[np.int64]], Array, Array, Array], tuple[Array, Array]]
"""Log10 of Vickers hardness (GPa) and its standard deviation from atomic numbers, K, G (GPa) and band gap (eV)."""


def formula_hardness(numbers: Sequence[NDArray[np.int64]], k: Array, g: Array, gap: Array) -> tuple[Array, Array]:
    """A `HardnessModel`: Mazhnik and Oganov's formula with the shift and the scatter of the bonding class."""
    kinds = [bonding_class(z, None if np.isnan(e) else float(e)) for z, e in zip(numbers, gap, strict=True)]
    plain = np.log10(np.maximum(formulas.mazhnik_oganov_hardness(k, g), SOFTEST))
    shift = np.array([kind.hardness_shift for kind in kinds])
    return plain + shift, np.array([kind.hardness_scatter for kind in kinds])


def log_target_chance(
    answers: Answers, crystals: Sequence[Crystal], targets: Sequence[Target], hardness: HardnessModel
) -> Array:
    """(n,) logarithm of the chance that all targets hold; minus infinity where a property is not known.

    A target `name=max` or `name=min` counts by the place of the mean between the bounds of the property.

    Args:
        answers: about the crystals.
        crystals: the crystals, for their density and their bonding.
        targets: bounds and extremes.
        hardness: model of the Vickers hardness.
    """
    total = np.zeros(len(answers))
    derived = [t for t in targets if t.name not in answers.names]
    sampled = [t for t in targets if t.name in MODULI or t in derived]
    for target in targets:
        if target not in sampled:
            total += _alone(target, *answers.column(target.name))
    if sampled and len(answers):
        names = frozenset(t.name for t in sampled)
        samples = property_samples(answers, crystals, names, hardness)
        total += _together(sampled, samples)
    return np.where(np.isnan(total), -np.inf, total)


def property_samples(
    answers: Answers, crystals: Sequence[Crystal], names: frozenset[str], hardness: HardnessModel
) -> dict[str, Array]:
    """Joint samples of moduli and of what derives from them.

    Returns:
        Property name to an array (n, 1 + `SAMPLES`) in the property's unit, whose first column is the central
        value.
    """
    normal = _deviates()
    k, g = (
        10.0 ** (mean[:, None] + np.sqrt(1.0 - SMOOTH**2) * std[:, None] * normal[row])
        for row, (mean, std) in enumerate(answers.column(name) for name in MODULI)
    )
    makers: dict[str, Callable[[], Array]] = {
        "bulk_modulus": lambda: k,
        "shear_modulus": lambda: g,
        "youngs_modulus": lambda: formulas.youngs_modulus(k, g),
        "poisson_ratio": lambda: formulas.poisson_ratio(k, g),
        "pugh_ratio": lambda: formulas.pugh_ratio(k, g),
        "density": lambda: _density(crystals, normal),
        "vickers_hardness": lambda: _hardness(answers, crystals, k, g, normal, hardness),
        "fracture_toughness": lambda: _toughness(answers, crystals, k, g, normal),
    }
    found = {name: np.asarray(makers[name](), dtype=np.float64) for name in names if name in makers}
    more = [name for name in names if name in QUANTITIES]
    return found | (_on_demand(more, makers, answers, crystals) if more else {})


def _on_demand(
    names: Sequence[str],
    makers: Mapping[str, Callable[[], Array]],
    answers: Answers,
    crystals: Sequence[Crystal],
) -> dict[str, Array]:
    """Samples of quantities beyond the mechanical properties: price, strength, melting point, …"""
    needed = makers if any(name in OF_MODULI for name in names) else (*MODULI, "density")
    drawn = {name: np.asarray(makers[name](), dtype=np.float64) for name in needed}
    gaps, _ = answers.column("band_gap")
    estimates = [Estimate({} if np.isnan(gap) else {"band_gap": Value(float(gap), 0.0)}) for gap in gaps]
    return quantities(names, drawn, estimates, crystals)


def _hardness(
    answers: Answers, crystals: Sequence[Crystal], k: Array, g: Array, normal: Array, model: HardnessModel
) -> Array:
    """Vickers hardness: the model at the central moduli, the formula's change about them, and the model's
    scatter."""
    gap, _ = answers.column("band_gap")
    rows = np.flatnonzero(np.isfinite(k[:, 0] * g[:, 0]))
    centre, spread = np.full(len(k), np.nan), np.zeros(len(k))
    if len(rows):
        numbers = [crystals[int(i)].numbers for i in rows]
        centre[rows], spread[rows] = model(numbers, k[rows, 0], g[rows, 0], gap[rows])
    plain = np.log10(np.maximum(formulas.mazhnik_oganov_hardness(k, g), SOFTEST))
    rest = np.sqrt(np.maximum(spread**2 - plain[:, 1:].std(axis=1) ** 2, 0.0))
    return np.asarray(10.0 ** (centre[:, None] + plain - plain[:, :1] + rest[:, None] * normal[3]))


def _toughness(answers: Answers, crystals: Sequence[Crystal], k: Array, g: Array, normal: Array) -> Array:
    """Fracture toughness: the mean of two formulas, with the scatter of the bonding class."""
    gap, _ = answers.column("band_gap")
    volume = np.array([[c.volume / c.n_sites] for c in crystals])
    kinds = [
        bonding_class(c.numbers, None if np.isnan(e) else float(e)) for c, e in zip(crystals, gap, strict=True)
    ]
    scatter = np.array([[kind.toughness_scatter] for kind in kinds])
    mean = np.sqrt(formulas.niu_toughness(k, g, volume) * formulas.mazhnik_oganov_toughness(k, g, volume))
    return np.asarray(mean * 10.0 ** (np.sqrt(1.0 - SMOOTH**2) * scatter * normal[4]))


def _density(crystals: Sequence[Crystal], normal: Array) -> Array:
    rho = np.array([[density(c)] for c in crystals])
    return np.asarray(rho * np.exp(np.sqrt(1.0 - SMOOTH**2) * DENSITY_ERROR * normal[2]))


def _together(targets: Sequence[Target], samples: dict[str, Array]) -> Array:
    """(n,) logarithm of the mean over the samples of the product of smoothed bounds."""
    from scipy.special import log_ndtr, logsumexp

    logs: Array | float = 0.0
    extremes: Array | float = 0.0
    for target in targets:
        if target.name not in samples:
            return np.full(len(next(iter(samples.values()), np.zeros(0))), -np.inf)
        values = samples[target.name]
        if target.goal:
            extremes = extremes + _place(target, values[:, 0])
            continue
        log = target.prop.log
        scale = np.log10(np.maximum(values, 1e-12)) if log else values
        width = SMOOTH * np.maximum(scale[:, 1:].std(axis=1, keepdims=True) / np.sqrt(1.0 - SMOOTH**2), 1e-6)
        for bound, sign in ((target.low, 1.0), (target.high, -1.0)):
            if bound is not None:
                edge = np.log10(max(bound, 1e-12)) if log else bound
                logs = logs + log_ndtr(sign * (scale[:, 1:] - edge) / width)
    if isinstance(logs, float):
        return np.asarray(extremes, dtype=np.float64)
    return np.asarray(logsumexp(logs, axis=1) - np.log(SAMPLES) + extremes, dtype=np.float64)


def _alone(target: Target, mean: Array, std: Array) -> Array:
    """(n,) logarithm of the chance that one target holds."""
    from scipy.special import log_ndtr

    if target.goal:
        return _place(target, 10.0**mean if target.prop.log else mean)
    spread, total = np.maximum(std, 1e-9), np.zeros(len(mean))
    log = target.prop.log
    low, high = (None if b is None else (np.log10(max(b, 1e-12)) if log else b) for b in (target.low, target.high))
    if low is not None and high is not None:
        inside = np.exp(log_ndtr((high - mean) / spread)) - np.exp(log_ndtr((low - mean) / spread))
        beyond = log_ndtr((high - mean) / spread) + log_ndtr((mean - low) / spread)
        return np.asarray(np.where(inside > 1e-12, np.log(np.maximum(inside, 1e-300)), beyond))
    if low is not None:
        total += log_ndtr((mean - low) / spread)
    if high is not None:
        total += log_ndtr((high - mean) / spread)
    return total


def _place(target: Target, value: Array) -> Array:
    """(n,) logarithm of the place of a value between the bounds of its property, from the bad end."""
    prop = target.prop
    place = np.clip((value - prop.low) / (prop.high - prop.low), 1e-6, 1.0)
    return np.asarray(np.log(place if target.goal == "max" else np.maximum(1.0 - place, 1e-6)))


@lru_cache(maxsize=1)
def _deviates() -> Array:
    """(5, 1 + SAMPLES) standard normal deviates: ln K, ln G, density, hardness, toughness; column 0 is zero.

    A Sobol sequence through the inverse normal distribution: each row alone is evenly spread.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    points = qmc.Sobol(d=5, scramble=False).random(2 * SAMPLES)[SAMPLES:]
    normal = ndtri(points).T
    normal -= normal.mean(axis=1, keepdims=True)
    normal /= normal.std(axis=1, keepdims=True)
    rho = MODULUS_CORRELATION
    normal[1] = rho * normal[0] + np.sqrt(1.0 - rho**2) * normal[1]
    return np.concatenate([np.zeros((5, 1)), normal], axis=1)
