"""What each family of features adds to a predicted value: integrated gradients.

Sundararajan et al., ICML 2017: gradients along the straight line from the average training crystal (all
standardised features zero) to the crystal, times the features. What the messages between orbits say is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invdesign.crystal import FloatArray
from invdesign.properties import get_property
from invdesign.surrogates.inputs.dataset import Graphs
from invdesign.surrogates.inputs.features import SYMMETRY_NAMES, feature_names
from invdesign.surrogates.model import Model, mini_batches, standardise
from invdesign.surrogates.scales import HULL_SCALE, shown

STEPS = 24
"""Points at which gradients along the line are taken."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "shape of the formula": ("n_elements", "largest_fraction", "mixing_entropy", "fraction_norm_"),
    "elements present": ("fraction_",),
    "volume per atom": ("log_volume_",),
    "density": ("log_density", "log_electron_density"),
    "atomic size": ("radius_", "polarizability", "miedema_volume", "molar_volume"),
    "electronegativity": ("en_",),
    "ionisation": ("electron_affinity", "ionization_"),
    "valence electrons": ("valence_", "holes_", "oxidation_", "miedema_density", "is_metal", "is_rare_earth"),
    "cohesion of the pure elements": (
        "heat_", "mass_density", "melting_", "boiling_", "bulk_modulus", "shear_modulus", "poisson_", "sound_",
        "thermal_",
    ),
    "place in the periodic table": ("number", "group", "period", "mendeleev_", "pettifor_", "mass"),
    "bonds": ("nearest_ratio", "bond_ratio", "bond_length", "steepness"),
    "bond polarity": ("bond_en_gap",),
    "coordination": ("coordination", "like_neighbours"),
}  # fmt: skip
"""Families of features by the beginnings of their names, less `mean_`, `spread_`, `least_` and `most_`."""


@dataclass(frozen=True, eq=False)
class ByFeature:
    """Contributions for `n` crystals, `p` properties and `f` families.

    Attributes:
        families: their names.
        values: (n, p, f) contributions.
        plain: (n, p) values with average features.
        average: (p,) training means.
    """

    families: tuple[str, ...]
    values: FloatArray
    plain: FloatArray
    average: FloatArray


def family(feature: str) -> str:
    """The family of a feature.

    Raises:
        ValueError: if it has none.
    """
    if feature in SYMMETRY_NAMES:
        return "symmetry"
    statistic, _, rest = feature.partition("_")
    bare = rest if statistic in ("mean", "spread", "least", "most") else feature
    for name, beginnings in FAMILIES.items():
        if bare.startswith(beginnings):
            return name
    raise ValueError(f"no family of features for {feature}")


def by_feature(model: Model, graphs: Graphs, steps: int = STEPS) -> ByFeature:
    """Contributions of the families; exact up to the finite number of steps."""
    families = [family(name) for name in feature_names()]
    names = tuple(dict.fromkeys(families))
    belongs = np.array([[f == name for name in names] for f in families], dtype=np.float64)
    standard = standardise(graphs.features, None, model.feature_scale)
    values, plain = [], []
    for inputs in mini_batches(graphs, standard, model.shape):
        with torch.no_grad():
            around = [member.surroundings(inputs) for member in model.members]
            plain.append(_answer(model, around, torch.zeros_like(inputs.features)).numpy())
        gradient = _mean_gradient(model, around, inputs.features, steps)
        values.append((gradient * inputs.features[:, None, :]).numpy().astype(np.float64) @ belongs)
    average = shown(model.properties, model.target_scale[:1].astype(np.float64))[0]
    return ByFeature(names, np.concatenate(values), np.concatenate(plain).astype(np.float64), average)


def _mean_gradient(model: Model, around: Sequence[Tensor], features: Tensor, steps: int) -> Tensor:
    """(n, p, f) gradients of the answers, averaged along the line from zero to the features."""
    total = features.new_zeros(len(features), len(model.properties), features.shape[1])
    for step in range(steps):
        point = (features * ((step + 0.5) / steps)).requires_grad_(True)
        answer = _answer(model, around, point)
        for j in range(answer.shape[1]):
            total[:, j] += torch.autograd.grad(answer[:, j].sum(), point, retain_graph=True)[0]
    return total / steps


def _answer(model: Model, around: Sequence[Tensor], features: Tensor) -> Tensor:
    """(n, p) what the ensemble says, in log10 or in the property's unit."""
    scale = torch.from_numpy(model.target_scale)
    means = [m.answer(m.join(a, features))[0] for m, a in zip(model.members, around, strict=True)]
    mean = torch.stack(means).mean(dim=0) * scale[1] + scale[0]
    return torch.stack([_shown(name, mean[:, j]) for j, name in enumerate(model.properties)], dim=1)


def _shown(name: str, mean: Tensor) -> Tensor:
    """As `scales.shown`, for tensors."""
    if get_property(name).log:
        return mean
    if name == "energy_above_hull":
        return HULL_SCALE * torch.expm1(mean.clamp(0.0, 8.0))
    return mean.clamp(min=0.0) if name == "band_gap" else mean
