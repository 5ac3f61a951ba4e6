"""The scale in which each property is modelled, and the way back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.properties import get_property
from invdesign.uncertainty import std_from_log10

HULL_SCALE = 0.1
"""Energy above hull (eV/atom) up to which its modelled scale is linear, beyond which it is logarithmic."""


def to_scale(name: str, values: FloatArray) -> FloatArray:
    """From the property's unit: log10 of positive properties, log(1 + E / 0.1) of the energy above hull."""
    if get_property(name).log:
        return np.log10(values)
    if name == "energy_above_hull":
        return np.log1p(np.maximum(values, 0.0) / HULL_SCALE)
    return np.asarray(values, dtype=np.float64)


def from_scale(name: str, values: FloatArray) -> FloatArray:
    """Back to the property's unit; energies above hull and gaps are at least zero."""
    if get_property(name).log:
        return np.asarray(10.0**values, dtype=np.float64)
    if name == "energy_above_hull":
        return HULL_SCALE * np.expm1(np.clip(values, 0.0, 8.0))
    if name == "band_gap":
        return np.maximum(values, 0.0)
    return np.asarray(values, dtype=np.float64)


def std_from_scale(name: str, values: FloatArray, std: FloatArray) -> FloatArray:
    """Standard deviations in the property's unit, at modelled `values`, from those in the modelled scale.

    That of a log-normal quantity for positive properties, the scale's slope for the energy above hull.
    """
    if get_property(name).log:
        return std_from_log10(from_scale(name, values), std)
    if name == "energy_above_hull":
        return (from_scale(name, values) + HULL_SCALE) * std
    return np.asarray(std, dtype=np.float64)


def shown(names: Sequence[str], values: FloatArray) -> FloatArray:
    """(n, p) modelled values as explanations show them: log10 of positive properties, others in their unit."""
    columns = [v if get_property(n).log else from_scale(n, v) for n, v in zip(names, values.T, strict=True)]
    return np.stack(columns, axis=1)
