"""Derived properties: what bulk and shear modulus, with their uncertainty, say of a crystal's other properties.

`derive` applies the correction and the scatter of the crystal's bonding class to the Vickers hardness and the
fracture toughness that it reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.element_data import atomic_masses
from invdesign.crystal import Crystal
from invdesign.mechanics.bonding import DUCTILE, BondingClass, bonding_class
from invdesign.mechanics.formulas import (
    cahill_conductivity,
    clarke_conductivity,
    debye_temperature,
    mazhnik_oganov_hardness,
    mazhnik_oganov_toughness,
    niu_toughness,
    poisson_ratio,
    pugh_ratio,
    sound_velocities,
    specific_stiffness,
    youngs_modulus,
)
from invdesign.properties import DERIVED
from invdesign.records import Estimate, Value
from invdesign.uncertainty import LN10, log10_std, log_normal
from invdesign.units import GRAM_PER_CM3

Array = NDArray[np.float64]

MODULUS_CORRELATION = 0.5
"""Correlation of the errors of ln K and ln G of a model, measured by `benchmarks/modulus_correlation.py`."""
DENSITY_ERROR = 0.02
"""Relative standard deviation of a computed density: PBE volumes scatter by about 2 % against measured ones."""
N_SAMPLES = 256
"""Monte Carlo samples behind a derived standard deviation; even, because they come in antithetic pairs."""


def density(crystal: Crystal) -> float:
    """Density in g/cm³ from the cell and the atomic weights."""
    return float(atomic_masses(crystal.numbers).sum() / crystal.volume * GRAM_PER_CM3)


def derive(estimate: Estimate, crystal: Crystal) -> Estimate:
    """Add every derived property to an estimate; see `derive_many`."""
    return derive_many([estimate], [crystal])[0]


def derive_many(estimates: Sequence[Estimate], crystals: Sequence[Crystal]) -> list[Estimate]:
    """Add every derived property (`properties.DERIVED`) to estimates of bulk and shear modulus.

    Density needs the crystal only. The rest is skipped where a modulus is missing or the estimate failed. Central
    values are the formulas at the central moduli; standard deviation and 90 % interval come from log-normal
    samples of K and G with correlated errors, and, for hardness and toughness, the scatter of the formula itself
    in that bonding class. Deterministic.

    Args:
        estimates: with `bulk_modulus` and `shear_modulus` in GPa.
        crystals: the crystals that they belong to, same length.

    Returns:
        New estimates, same order; values that were there are kept, derived ones replaced.
    """
    if len(estimates) != len(crystals):
        raise ValueError(f"{len(estimates)} estimates for {len(crystals)} crystals")
    complete = [i for i, e in enumerate(estimates) if has_moduli(e)]
    added: list[dict[str, Value]] = [{"density": _density_value(c)} for c in crystals]
    if complete:
        _add_elastic(
            [estimates[i] for i in complete], [crystals[i] for i in complete], [added[i] for i in complete]
        )
    return [
        e if e.failure else replace(e, values={**e.values, **new}) for e, new in zip(estimates, added, strict=True)
    ]


def has_moduli(estimate: Estimate) -> bool:
    """Whether an estimate holds positive, finite bulk and shear moduli."""
    if estimate.failure:
        return False
    values = [estimate.values.get(name) for name in ("bulk_modulus", "shear_modulus")]
    return all(v is not None and np.isfinite(v.mean) and v.mean > 0 for v in values)


def _density_value(crystal: Crystal) -> Value:
    rho = density(crystal)
    return log_normal(rho, DENSITY_ERROR / LN10, "crystal")


def _add_elastic(
    estimates: Sequence[Estimate], crystals: Sequence[Crystal], added: list[dict[str, Value]]
) -> None:
    kinds = _kinds(estimates, crystals)
    drawn = draw(estimates, crystals, kinds=kinds)
    for name in DERIVED:
        if name == "density":
            continue
        values = drawn[name]
        low, minus, plus, high = np.quantile(values[:, 1:], [0.05, 0.15866, 0.84134, 0.95], axis=1).tolist()
        for i, (new, centre) in enumerate(zip(added, values[:, 0].tolist(), strict=True)):
            std = 0.5 * (plus[i] - minus[i])
            new[name] = Value(centre, std, low[i], high[i], _source(name, kinds[i]))


def _source(name: str, kind: BondingClass) -> str:
    if name == "vickers_hardness":
        return f"formula:mazhnik-oganov ({kind.name})"
    if name == "fracture_toughness":
        return f"formula:niu+mazhnik-oganov ({kind.name}{', lower bound' if kind.note == DUCTILE else ''})"
    return "formula:elasticity"


def _kinds(estimates: Sequence[Estimate], crystals: Sequence[Crystal]) -> list[BondingClass]:
    gaps = [e.values.get("band_gap") for e in estimates]
    pairs = zip(crystals, gaps, strict=True)
    return [bonding_class(crystal.numbers, None if gap is None else gap.mean) for crystal, gap in pairs]


def draw(
    estimates: Sequence[Estimate],
    crystals: Sequence[Crystal],
    n_samples: int = N_SAMPLES,
    seeds: Sequence[int] = (0,),
    kinds: Sequence[BondingClass] | None = None,
) -> dict[str, Array]:
    """Joint samples of the moduli and of everything that follows from them.

    Args:
        estimates: each with bulk and shear modulus (`has_moduli`).
        crystals: the crystals that they belong to.
        n_samples: samples per crystal, even.
        seeds: one seed, for errors that all crystals share, or one per crystal, for independent errors.
        kinds: their bonding classes, if known already.

    Returns:
        Property name (bulk and shear modulus and all derived ones) to an array (n_crystals, 1 + n_samples), whose
        first column is the central value.
    """
    normal = np.stack([_deviates(n_samples, seed) for seed in seeds], axis=1)
    k, g = _moduli(estimates, normal)
    kinds = _kinds(estimates, crystals) if kinds is None else kinds
    volume = np.array([[c.volume / c.n_sites] for c in crystals])
    rho = np.array([[density(c)] for c in crystals]) * np.exp(DENSITY_ERROR * normal[4])
    scatter = np.array([[kind.hardness_scatter, kind.toughness_scatter, kind.hardness_shift] for kind in kinds])
    hardness = mazhnik_oganov_hardness(k, g) * 10.0 ** (scatter[:, 2:] + scatter[:, :1] * normal[2])
    toughness = np.sqrt(niu_toughness(k, g, volume) * mazhnik_oganov_toughness(k, g, volume))
    return {
        "bulk_modulus": k,
        "shear_modulus": g,
        "youngs_modulus": youngs_modulus(k, g),
        "poisson_ratio": poisson_ratio(k, g),
        "pugh_ratio": pugh_ratio(k, g),
        "vickers_hardness": hardness,
        "fracture_toughness": toughness * 10.0 ** (scatter[:, 1:2] * normal[3]),
        "density": rho,
    }


@lru_cache(maxsize=4096)
def _deviates(n_samples: int, seed: int) -> Array:
    """(5, 1 + n_samples) standard normal deviates: ln K, ln G, hardness, toughness, density; column 0 is zero."""
    rng = np.random.default_rng([20_190_925, seed])
    half = rng.standard_normal((5, n_samples // 2))
    half /= np.sqrt((half**2).mean(axis=1, keepdims=True))
    independent = half[1].copy()
    half[1] = MODULUS_CORRELATION * half[0] + np.sqrt(1.0 - MODULUS_CORRELATION**2) * independent
    return np.concatenate([np.zeros((5, 1)), half, -half], axis=1)


def _moduli(estimates: Sequence[Estimate], normal: Array) -> tuple[Array, Array]:
    moduli = []
    for row, name in enumerate(("bulk_modulus", "shear_modulus")):
        centre = np.array([[e.values[name].mean] for e in estimates])
        spread = LN10 * np.array([[log10_std(e.values[name])] for e in estimates])
        moduli.append(centre * np.exp(spread * normal[row]))
    return moduli[0], moduli[1]


def thermal_and_acoustic(values: Mapping[str, Value], crystal: Crystal) -> dict[str, float]:
    """Sound velocities (m/s), Debye temperature (K) and minimal conductivities (W/(m K)) at the central values."""
    k, g = values["bulk_modulus"].mean, values["shear_modulus"].mean
    rho, volume = density(crystal), crystal.volume / crystal.n_sites
    v_l, v_t, v_m = sound_velocities(k, g, rho)
    mean_mass = float(atomic_masses(crystal.numbers).mean())
    numbers = {
        "sound_velocity_longitudinal": v_l,
        "sound_velocity_transverse": v_t,
        "sound_velocity_mean": v_m,
        "debye_temperature": debye_temperature(k, g, rho, volume),
        "clarke_conductivity": clarke_conductivity(youngs_modulus(k, g), rho, mean_mass),
        "cahill_conductivity": cahill_conductivity(k, g, rho, volume),
        "specific_stiffness": specific_stiffness(youngs_modulus(k, g), rho),
    }
    return {name: float(value) for name, value in numbers.items()}
