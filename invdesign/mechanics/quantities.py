"""Quantities on demand: what components ask for beyond the mechanical properties of every estimate.

Each is a formula in the moduli, the density and the elements (`invdesign.mechanics.formulas`,
`invdesign.chemistry.element_data`), with the scatter of the formula itself as `benchmarks/quantities.py` measures
it. What a formula cannot give stays unknown: the conductivity of a metal, the service temperature of any crystal,
the price of an element without one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry import element_data
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import primitive_sites
from invdesign.crystallography.symmetry import primitive
from invdesign.mechanics import formulas
from invdesign.mechanics.derive import draw, has_moduli
from invdesign.properties import QUANTITIES
from invdesign.records import Estimate, Value

Array = NDArray[np.float64]

SCATTER = {"thermal_expansion": 0.2, "melting_point": 0.2, "thermal_conductivity": 0.3}
"""Standard deviation of log10 of measured over estimated values, by quantity."""
INSULATING = 0.1
"""Band gap (eV) from which on heat is carried by the lattice alone."""
OF_ELEMENTS: dict[str, Callable[[NDArray[np.int64]], float]] = {
    "price": element_data.price_per_kg,
    "embodied_energy": element_data.embodied_energy,
    "supply_risk": element_data.supply_risk,
    "hhi_production": element_data.concentration,
    "hhi_reserve": lambda numbers: element_data.concentration(numbers, reserves=True),
    "scarcity": lambda numbers: element_data.scarcest_element(numbers)[1],
}
"""Quantities that the composition alone decides."""
OF_MODULI = (
    "strength",
    "thermal_expansion",
    "heat_capacity",
    "melting_point",
    "debye_temperature",
    "thermal_conductivity",
    "thermal_shock_resistance",
    "thermal_shock_power",
)
"""Quantities that need bulk and shear modulus."""
SOURCES = {
    "strength": f"formula:min(H/3, K_IC/1.12 sqrt(pi a)), a = {formulas.FLAW * 1e6:g} µm",
    "thermal_expansion": "formula:grüneisen",
    "heat_capacity": "formula:debye",
    "melting_point": "formula:fine",
    "debye_temperature": "formula:anderson",
    "thermal_conductivity": "formula:slack",
    "thermal_shock_resistance": "formula:kingery",
    "thermal_shock_power": "formula:kingery",
    "price": "elements:wikipedia 2024",
    "embodied_energy": "elements:nuss and eckelman 2014",
    "supply_risk": "elements:royal society of chemistry",
    "hhi_production": "elements:gaultois 2013",
    "hhi_reserve": "elements:gaultois 2013",
    "scarcity": "elements:crc handbook",
}


def quantities(
    names: Sequence[str],
    drawn: Mapping[str, Array],
    estimates: Sequence[Estimate],
    crystals: Sequence[Crystal],
    seeds: Sequence[int] = (0,),
) -> dict[str, Array]:
    """Joint samples of quantities, from the samples of what they follow from.

    Args:
        names: of `QUANTITIES`; those that no formula gives are left out.
        drawn: samples of moduli and derived properties, each (n_crystals, 1 + n_samples), see `derive.draw`.
        estimates: the estimates behind them, for the band gap.
        crystals: the crystals, same length.
        seeds: one for errors that all crystals share, or one per crystal.

    Returns:
        By name (n_crystals, 1 + n_samples), NaN where it cannot be told; the first column is the central value.
    """
    width = drawn["bulk_modulus"].shape[1]
    out = {name: np.repeat(_of_elements(name, crystals), width, axis=1) for name in names if name in OF_ELEMENTS}
    work = _Solids(drawn, estimates, crystals, seeds)
    return out | {name: getattr(work, name) for name in names if name in OF_MODULI}


def _of_elements(name: str, crystals: Sequence[Crystal]) -> Array:
    return np.array([[OF_ELEMENTS[name](crystal.numbers)] for crystal in crystals])


def _insulating(estimate: Estimate) -> bool:
    gap = estimate.values.get("band_gap")
    if np.isfinite(estimate.metal_probability):
        return bool(estimate.metal_probability < 0.5)
    return gap is not None and gap.mean >= INSULATING


class _Solids:
    """Quantities of some crystals, each (n_crystals, 1 + n_samples) and computed when first asked for."""

    def __init__(
        self,
        drawn: Mapping[str, Array],
        estimates: Sequence[Estimate],
        crystals: Sequence[Crystal],
        seeds: Sequence[int],
    ) -> None:
        self._drawn, self._estimates, self._crystals, self._seeds = drawn, estimates, crystals, seeds
        self._k, self._g, self._rho = (drawn[n] for n in ("bulk_modulus", "shear_modulus", "density"))
        self._mass = np.array([[element_data.atomic_masses(c.numbers).mean()] for c in crystals])
        self._volume = np.array([[c.volume / c.n_sites] for c in crystals])

    def _error(self, name: str) -> Array:
        return np.asarray(10.0 ** (SCATTER[name] * _deviates(name, self._seeds, self._k.shape[1])))

    @cached_property
    def debye_temperature(self) -> Array:
        return formulas.debye_temperature(self._k, self._g, self._rho, self._volume)

    @cached_property
    def heat_capacity(self) -> Array:
        return formulas.heat_capacity(self.debye_temperature, self._mass)

    @cached_property
    def thermal_expansion(self) -> Array:
        plain = formulas.thermal_expansion(self._k, self._g, self._rho, self._volume)
        return plain * self._error("thermal_expansion")

    @cached_property
    def melting_point(self) -> Array:
        return formulas.melting_point(self._k, self._g) * self._error("melting_point")

    @cached_property
    def thermal_conductivity(self) -> Array:
        insulating = np.array([[_insulating(e)] for e in self._estimates])
        atoms = np.array([[_primitive_sites(c)] for c in self._crystals], dtype=np.float64)
        gamma = formulas.gruneisen_parameter(self._drawn["poisson_ratio"])
        slack = formulas.slack_conductivity(self.debye_temperature, gamma, self._mass, self._volume, atoms)
        return np.where(insulating, slack * self._error("thermal_conductivity"), np.nan)

    @cached_property
    def strength(self) -> Array:
        return formulas.usable_strength(self._drawn["vickers_hardness"], self._drawn["fracture_toughness"])

    @cached_property
    def thermal_shock_resistance(self) -> Array:
        stiffness, nu = self._drawn["youngs_modulus"], self._drawn["poisson_ratio"]
        return formulas.thermal_shock_resistance(self.strength, stiffness, nu, self.thermal_expansion)

    @cached_property
    def thermal_shock_power(self) -> Array:
        return formulas.thermal_shock_power(self.thermal_shock_resistance, self.thermal_conductivity)


def _primitive_sites(crystal: Crystal) -> int:
    return primitive_sites(crystal.gene) if crystal.gene is not None else primitive(crystal).n_sites


def _deviates(name: str, seeds: Sequence[int], width: int) -> Array:
    """(n_seeds, width) standard normal deviates, antithetic, the first column zero."""
    rows = []
    for seed in seeds:
        half = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal((width - 1) // 2)
        rows.append(np.concatenate([[0.0], half, -half]))
    return np.array(rows)


def with_quantities(
    estimates: Sequence[Estimate], crystals: Sequence[Crystal], names: Sequence[str]
) -> list[Estimate]:
    """Estimates with quantities added: central value, standard deviation, 90 % interval, source.

    Args:
        estimates: with derived properties (`derive.derive_many`).
        crystals: the crystals that they belong to, same length.
        names: of `QUANTITIES`; what an estimate holds already is kept.
    """
    names = [name for name in dict.fromkeys(names) if name in SOURCES]
    out = list(estimates)
    if not names:
        return out
    elastic = [i for i, e in enumerate(estimates) if has_moduli(e)]
    if elastic:
        chosen, cells = [estimates[i] for i in elastic], [crystals[i] for i in elastic]
        found = quantities(names, draw(chosen, cells), chosen, cells)
        for row, i in enumerate(elastic):
            out[i] = _added(estimates[i], {name: found[name][row] for name in found})
    for i in set(range(len(estimates))) - set(elastic):
        if not estimates[i].failure:
            constant = {n: np.full(3, OF_ELEMENTS[n](crystals[i].numbers)) for n in names if n in OF_ELEMENTS}
            out[i] = _added(estimates[i], constant)
    return out


def _added(estimate: Estimate, samples: Mapping[str, Array]) -> Estimate:
    new = {
        name: _value(name, values)
        for name, values in samples.items()
        if name not in estimate.values and np.isfinite(values[0])
    }
    return replace(estimate, values={**estimate.values, **new})


def _value(name: str, samples: Array) -> Value:
    low, minus, plus, high = np.quantile(samples[1:], [0.05, 0.15866, 0.84134, 0.95]).tolist()
    return Value(float(samples[0]), 0.5 * (plus - minus), low, high, SOURCES[name])


def unknown(name: str, estimate: Estimate) -> str:
    """Why a quantity of a crystal cannot be told; empty if it can."""
    if name in estimate.values or name not in QUANTITIES:
        return ""
    label = QUANTITIES[name].label
    if name in ("thermal_conductivity", "thermal_shock_power") and not _insulating(estimate):
        return f"{label} is unknown (a metal conducts by electrons)"
    return f"{label} is unknown"
