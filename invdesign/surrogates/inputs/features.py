"""Numbers that describe a crystal as a whole: composition, volume, symmetry, and distances around its atoms."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.element_features import element_features
from invdesign.crystal import FloatArray
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.surrogates.inputs.graphs import Batch, Neighbours
from invdesign.units import GRAM_PER_CM3

LAST_ELEMENT = 103
SYSTEM_LIMITS = (3, 16, 75, 143, 168, 195)

FloatTable = NDArray[np.float32]


def crystal_features(batch: Batch, near: Neighbours) -> FloatTable:
    """(n, `len(feature_names())`) features of every crystal of a batch."""
    fractions = composition(batch)
    parts: list[FloatTable | FloatArray] = [
        fractions[:, 1:],
        element_statistics(batch, fractions),
        volume_features(batch, fractions),
        symmetry_features(batch),
        distance_features(batch, near),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


@cache
def feature_names() -> tuple[str, ...]:
    """Names of the columns of `crystal_features`, in order."""
    columns = element_features().columns
    statistics = [f"{s}_{c}" for s in ("mean", "spread", "least", "most") for c in columns]
    return (
        *(f"fraction_{z}" for z in range(1, LAST_ELEMENT + 1)),
        *statistics,
        *VOLUME_NAMES,
        *SYMMETRY_NAMES,
        *DISTANCE_NAMES,
    )


def composition(batch: Batch) -> FloatArray:
    """(n, 104) atomic fractions, indexed by atomic number.

    Raises:
        ValueError: if an atomic number is beyond the table of elements.
    """
    if batch.orbit_number.max() > LAST_ELEMENT:
        raise ValueError(f"no features for elements beyond number {LAST_ELEMENT}")
    flat = batch.orbit_owner * (LAST_ELEMENT + 1) + batch.orbit_number
    size = len(batch) * (LAST_ELEMENT + 1)
    fractions: FloatArray = np.bincount(flat, weights=batch.orbit_weight, minlength=size).astype(np.float64)
    return fractions.reshape(len(batch), -1)


def element_statistics(batch: Batch, fractions: FloatArray) -> FloatTable:
    """(n, 4 × columns) weighted mean, weighted standard deviation, minimum and maximum over the atoms."""
    table = element_features().values
    mean = fractions @ table
    spread = np.sqrt(np.maximum(fractions @ table**2 - mean**2, 0.0))
    first = np.searchsorted(batch.orbit_owner, np.arange(len(batch)))
    values = table.astype(np.float32)[batch.orbit_number]
    least, most = np.minimum.reduceat(values, first), np.maximum.reduceat(values, first)
    return np.concatenate([mean, spread, least, most], axis=1).astype(np.float32)


VOLUME_NAMES = (
    "log_volume_per_atom",
    "log_density",
    "log_volume_to_covalent_spheres",
    "log_volume_to_metallic_spheres",
    "log_volume_to_elements",
    "log_electron_density",
    "n_elements",
    "largest_fraction",
    "fraction_norm_2",
    "fraction_norm_5",
    "mixing_entropy",
)


def volume_features(batch: Batch, fractions: FloatArray) -> FloatArray:
    """(n, 11) volume per atom against what the elements would fill, density, and shape of the formula."""
    elements = element_features()
    volume = batch.volume / batch.n_sites

    def filled(column: str, power: int) -> FloatArray:
        total: FloatArray = fractions @ elements.column(column) ** power
        return np.maximum(total, 1e-6)

    positive = np.where(fractions > 0, fractions, 1.0)
    return np.stack(
        [
            np.log(volume),
            np.log(filled("mass", 1) / volume * GRAM_PER_CM3),
            np.log(volume / filled("radius_covalent", 3)),
            np.log(volume / filled("radius_metallic", 3)),
            np.log(volume / filled("molar_volume", 1)),
            np.log(filled("valence_total", 1) / volume),
            (fractions > 0).sum(axis=1),
            fractions.max(axis=1),
            np.sqrt((fractions**2).sum(axis=1)),
            (fractions**5).sum(axis=1) ** 0.2,
            -(fractions * np.log(positive)).sum(axis=1),
        ],
        axis=1,
    )


SYMMETRY_NAMES = (
    *(
        f"system_{s}"
        for s in ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
    ),
    "space_group",
    "log_operations",
    "log_sites",
    "log_orbits",
    "free_coordinates_per_orbit",
    "log_site_symmetry",
    "log_site_symmetry_least",
    "log_site_symmetry_most",
    "orbits_per_element",
    "log_cell_aspect",
    "log_cell_fill",
)


def symmetry_features(batch: Batch) -> FloatArray:
    """(n, 18) crystal system, orders of the group and of the sites' groups, counts, and the shape of the cell."""
    table, n = wyckoff_table(), len(batch)
    system = np.digitize(batch.space_group, SYSTEM_LIMITS)
    general = table.primitive_multiplicity[table.group_start[batch.space_group] - 1]
    site_order = np.log2(general[batch.orbit_owner] / batch.orbit_count)
    first = np.searchsorted(batch.orbit_owner, np.arange(n))
    orbits = np.bincount(batch.orbit_owner, minlength=n)
    freedom = np.bincount(batch.orbit_owner, weights=table.freedom[batch.orbit_position], minlength=n)
    pairs = np.unique(batch.orbit_owner * 256 + batch.orbit_number) // 256
    lengths = np.linalg.norm(batch.lattice, axis=2)
    columns = [
        batch.space_group / 230.0,
        np.log2(general),
        np.log2(batch.n_sites),
        np.log2(orbits),
        freedom / orbits,
        np.bincount(batch.orbit_owner, weights=site_order * batch.orbit_weight, minlength=n),
        np.minimum.reduceat(site_order, first),
        np.maximum.reduceat(site_order, first),
        orbits / np.bincount(pairs, minlength=n),
        np.log(lengths.max(axis=1) / lengths.min(axis=1)),
        np.log(batch.volume / lengths.prod(axis=1)),
    ]
    return np.concatenate([np.eye(7)[system], np.stack(columns, axis=1)], axis=1)


_LOCAL = (
    "nearest_ratio",
    "bond_ratio",
    "coordination",
    "bond_en_gap",
    "bond_length",
    "like_neighbours",
    "steepness",
)
DISTANCE_NAMES = tuple(f"{s}_{name}" for s in ("mean", "spread", "least", "most") for name in _LOCAL)


def distance_features(batch: Batch, near: Neighbours) -> FloatArray:
    """(n, 28) bond lengths over radii, smooth coordination numbers and bond polarities, pooled over the atoms."""
    elements = element_features()
    radius, en = elements.column("radius_covalent") / 100.0, elements.column("en_pauling")
    here, there = batch.orbit_number[:, None], batch.orbit_number[near.orbit]
    length = np.minimum(near.distance, near.reach[:, None])
    ratio = length / (radius[here] + radius[there])
    weight = np.exp(-8.0 * (ratio / ratio.min(axis=1, keepdims=True) - 1.0)) * np.isfinite(near.distance)
    total = np.maximum(weight.sum(axis=1), 1e-9)

    def mean(values: FloatArray) -> FloatArray:
        averaged: FloatArray = (weight * values).sum(axis=1) / total
        return averaged

    local = np.stack(
        [
            ratio.min(axis=1),
            mean(ratio),
            total,
            mean(np.abs(en[here] - en[there])),
            mean(length),
            mean((here == there).astype(np.float64)),
            length[:, -1] / length[:, 0],
        ],
        axis=1,
    )
    return pool(batch, local)


def pool(batch: Batch, local: FloatArray) -> FloatArray:
    """(n, 4 × columns) weighted mean, spread, minimum and maximum of (m, columns) values of orbits."""
    first = np.searchsorted(batch.orbit_owner, np.arange(len(batch)))
    weight = batch.orbit_weight[:, None]
    mean = np.add.reduceat(weight * local, first)
    square = np.add.reduceat(weight * local**2, first)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    least, most = np.minimum.reduceat(local, first), np.maximum.reduceat(local, first)
    return np.concatenate([mean, spread, least, most], axis=1)
