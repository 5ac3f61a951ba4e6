"""Isotropic solids: what measured values of a material without a structure say of its other properties.

Uncertainties of products and powers add in squares; values are taken as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from invdesign.mechanics import formulas
from invdesign.records import Value
from invdesign.uncertainty import LN10, log10_std, log_normal, normal


def completed(values: Mapping[str, Value]) -> dict[str, Value]:
    """Values with those added that follow from them in an isotropic solid; nothing is replaced.

    From Young's modulus and Poisson's ratio: bulk and shear modulus, and the other way round; Pugh's ratio; from a
    strength, stiffness and expansion the thermal shock resistances.
    """
    out = dict(values)
    _moduli(out)
    if {"bulk_modulus", "shear_modulus"} <= set(out):
        k, g = out["bulk_modulus"], out["shear_modulus"]
        _add(out, "pugh_ratio", k.mean / g.mean, k, g)
    if {"strength", "youngs_modulus", "poisson_ratio", "thermal_expansion"} <= set(out):
        s, e, a = out["strength"], out["youngs_modulus"], out["thermal_expansion"]
        r = formulas.thermal_shock_resistance(s.mean, e.mean, out["poisson_ratio"].mean, a.mean)
        _add(out, "thermal_shock_resistance", float(r), s, e, a)
        if "thermal_conductivity" in out:
            conductivity = out["thermal_conductivity"]
            power = formulas.thermal_shock_power(r, conductivity.mean)
            _add(out, "thermal_shock_power", float(power), s, e, a, conductivity)
    return out


def _moduli(out: dict[str, Value]) -> None:
    known = set(out)
    if {"youngs_modulus", "poisson_ratio"} <= known and out["poisson_ratio"].mean < 0.495:
        e, nu = out["youngs_modulus"], out["poisson_ratio"].mean
        _add(out, "bulk_modulus", e.mean / (3.0 * (1.0 - 2.0 * nu)), e)
        _add(out, "shear_modulus", e.mean / (2.0 * (1.0 + nu)), e)
    elif {"bulk_modulus", "shear_modulus"} <= known:
        k, g = out["bulk_modulus"], out["shear_modulus"]
        _add(out, "youngs_modulus", float(formulas.youngs_modulus(k.mean, g.mean)), g)
        ratio = float(formulas.poisson_ratio(k.mean, g.mean))
        std = 0.3 * LN10 * math.hypot(log10_std(k), log10_std(g))
        out.setdefault("poisson_ratio", normal(ratio, std, "derived"))


def _add(out: dict[str, Value], name: str, mean: float, *parts: Value) -> None:
    """A positive value whose relative error is that of its parts."""
    if name not in out and np.isfinite(mean) and mean > 0:
        out[name] = log_normal(mean, math.hypot(*map(log10_std, parts)), "derived")
