"""Training data of the surrogates: cleaned labels, and crystals as arrays, exact or with a generator's errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal, FloatArray, Gene, IntArray
from invdesign.crystallography.genes import decode, encode_many, lattices_from_parameters
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family
from invdesign.errors import InputError, TrainingError
from invdesign.properties import PREDICTED
from invdesign.surrogates.inputs.features import LAST_ELEMENT, FloatTable, crystal_features
from invdesign.surrogates.inputs.graphs import Batch, Neighbours, batch_of_genes, neighbours

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "bulk_modulus": ("bulk_modulus", "bulk_modulus_vrh"),
    "shear_modulus": ("shear_modulus", "shear_modulus_vrh"),
    "formation_energy": ("formation_energy", "formation_energy_per_atom"),
    "energy_above_hull": ("energy_above_hull",),
    "band_gap": ("band_gap",),
}
"""Property to the names its column may have in a table."""

VOLUME_ERROR, AXIS_ERROR, ANGLE_ERROR, COORDINATE_ERROR = 0.06, 0.02, 1.5, 0.15
"""Size of the errors that generated crystals have: log volume, log axis ratio, degrees, Å."""


@dataclass(frozen=True, eq=False)
class Graphs:
    """Arrays of `n` crystals, ready for the network.

    Attributes:
        batch: the crystals.
        near: their neighbours.
        features: (n, n_features) crystal features, not standardised.
    """

    batch: Batch
    near: Neighbours
    features: FloatTable


def graphs_of_genes(genes: Sequence[Gene], crystals: Sequence[Crystal] | None = None) -> Graphs:
    """Everything the network reads, from genes (and from what `decode` makes of them, if at hand)."""
    batch = batch_of_genes(genes, crystals)
    near = neighbours(batch)
    return Graphs(batch, near, crystal_features(batch, near))


def select(graphs: Graphs, rows: IntArray) -> Graphs:
    """The graphs of some crystals, in ascending order of `rows`."""
    batch, near = graphs.batch, graphs.near
    crystal = np.full(len(batch), -1)
    crystal[rows] = np.arange(len(rows))
    orbits = np.flatnonzero(crystal[batch.orbit_owner] >= 0)
    new_orbit = np.full(len(batch.orbit_owner), -1)
    new_orbit[orbits] = np.arange(len(orbits))
    atoms = np.flatnonzero(new_orbit[batch.atom_orbit] >= 0)
    chosen = replace(
        batch,
        space_group=batch.space_group[rows],
        lattice=batch.lattice[rows],
        n_sites=batch.n_sites[rows],
        orbit_owner=crystal[batch.orbit_owner[orbits]],
        orbit_number=batch.orbit_number[orbits],
        orbit_position=batch.orbit_position[orbits],
        orbit_count=batch.orbit_count[orbits],
        atom_orbit=new_orbit[batch.atom_orbit[atoms]],
        coords=batch.coords[atoms],
    )
    table = replace(
        near,
        orbit=new_orbit[near.orbit[orbits]].astype(np.int32),
        distance=near.distance[orbits],
        reach=near.reach[orbits],
    )
    return Graphs(chosen, table, graphs.features[rows])


@dataclass(frozen=True, eq=False)
class Labelled:
    """Crystals with labels.

    Attributes:
        ids: one per crystal.
        genes: one per crystal.
        chemical_systems: one per crystal, symbols in alphabetical order joined by `-`.
        labels: property to (n,) values in the property's unit, NaN where unknown.
        dropped: reason to the number of rows that were left out, or of labels set to unknown.
    """

    ids: list[str]
    genes: list[Gene]
    chemical_systems: list[str]
    labels: dict[str, FloatArray]
    dropped: dict[str, int]

    def subset(self, rows: IntArray) -> Labelled:
        """Some of the crystals, in the order of `rows`."""
        return Labelled(
            [self.ids[i] for i in rows],
            [self.genes[i] for i in rows],
            [self.chemical_systems[i] for i in rows],
            {name: values[rows] for name, values in self.labels.items()},
            self.dropped,
        )


def read_labelled(path: Path, genes: Sequence[Gene | None] | None = None) -> Labelled:
    """Read a parquet file of crystals and labels, and clean the labels.

    Args:
        path: needs the columns lattice_parameters, atomic_numbers, frac_coords and one of `COLUMNS` at least.
        genes: the genes of all rows, if they are known already.

    Raises:
        InputError: if the file cannot be read or a needed column is missing.
        TrainingError: if no row is left.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "data", str(path), f"a parquet file with columns of crystals and labels ({reason})"
        ) from None
    missing = {"lattice_parameters", "atomic_numbers", "frac_coords"} - set(frame.columns)
    if missing:
        raise InputError("columns of the data", sorted(frame.columns), f"also {', '.join(sorted(missing))}")
    found = genes if genes is not None else encode_rows(frame)
    kept = np.array(
        [g is not None and max(g.numbers) <= LAST_ELEMENT for g in found],
        dtype=bool,
    )
    if not kept.any():
        raise TrainingError(f"{path} has no crystal that can be read")
    labels, dropped = clean_labels({name: _column(frame, name)[kept] for name in PREDICTED})
    dropped["crystal without a gene"] = int((~kept).sum())
    rows = frame[kept]
    chosen = [g for g, k in zip(found, kept, strict=True) if k and g is not None]
    ids = rows["material_id"].astype(str).tolist() if "material_id" in rows else [str(i) for i in rows.index]
    return Labelled(ids, chosen, [chemical_system(g.numbers) for g in chosen], labels, dropped)


def encode_rows(frame: pd.DataFrame) -> list[Gene | None]:
    """The gene of every row; None where a crystal has none."""
    lattices = lattices_from_parameters(np.stack(frame["lattice_parameters"].to_list()).astype(np.float64))
    cells = zip(lattices, frame["atomic_numbers"], frame["frac_coords"], strict=True)
    crystals = [_crystal(*cell) for cell in cells]
    found = iter(encode_many([crystal for crystal in crystals if crystal is not None]))
    genes = [None if crystal is None else next(found) for crystal in crystals]
    return [None if isinstance(gene, str) else gene for gene in genes]


def _crystal(lattice: FloatArray, numbers: IntArray, coords: FloatArray) -> Crystal | None:
    """A row of a table as a crystal; None if it is none."""
    try:
        return Crystal(lattice, numbers, np.asarray(coords).reshape(-1, 3))
    except ValueError:
        return None


def _column(frame: pd.DataFrame, name: str) -> FloatArray:
    """Values of a property, NaN where the table does not have them."""
    for column in COLUMNS[name]:
        if column in frame:
            return np.asarray(frame[column], dtype=np.float64)
    return np.full(len(frame), np.nan)


def clean_labels(labels: dict[str, FloatArray]) -> tuple[dict[str, FloatArray], dict[str, int]]:
    """Set labels to unknown that cannot be right; returns the labels and the count of each rule.

    Moduli are kept for 2 <= K <= 600 GPa, 1 < G <= 600 GPa and -0.5 < Poisson's ratio < 0.48 (outside lie
    failed calculations: G of exactly 1 GPa is a floor, not a value).
    """
    bulk, shear = labels["bulk_modulus"], labels["shear_modulus"]
    with np.errstate(invalid="ignore", divide="ignore"):
        poisson = (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear))
        rules = {
            "bulk modulus outside 2..600 GPa": (bulk < 2) | (bulk > 600),
            "shear modulus outside 1..600 GPa": (shear <= 1) | (shear > 600),
            "Poisson's ratio outside -0.5..0.48": (poisson < -0.5) | (poisson > 0.48),
        }
    cleaned, dropped = dict(labels), {}
    for reason, bad in rules.items():
        dropped[reason] = int(np.count_nonzero(bad))
        for name in ("bulk_modulus", "shear_modulus"):
            cleaned[name] = np.where(bad, np.nan, cleaned[name])
    far = np.abs(labels["formation_energy"]) > 6.0
    dropped["formation energy beyond 6 eV/atom"] = int(np.count_nonzero(far))
    cleaned["formation_energy"] = np.where(far, np.nan, labels["formation_energy"])
    cleaned["energy_above_hull"] = np.maximum(labels["energy_above_hull"], 0.0)
    return cleaned, dropped


def perturb(genes: Sequence[Gene], rng: np.random.Generator) -> list[Gene]:
    """Genes with the errors of generated crystals in the cell and in the free coordinates; the symmetry stays."""
    return [_perturb_one(gene, rng) for gene in genes]


def _perturb_one(gene: Gene, rng: np.random.Generator) -> Gene:
    """One gene with errors; the exact gene if the cell would not close."""
    free = FREE_LATTICE[lattice_family(gene.space_group)]
    is_length = np.array([k < 3 for k in free])
    parameters = np.array(gene.free_lattice)
    stretch = VOLUME_ERROR / 3 * rng.standard_normal() + AXIS_ERROR * rng.standard_normal(len(free))
    noisy = np.where(
        is_length, parameters * np.exp(stretch), parameters + ANGLE_ERROR * rng.standard_normal(len(free))
    )
    size = COORDINATE_ERROR * abs(rng.standard_normal()) / float(np.mean(parameters[is_length]))
    coords = np.mod(np.array(gene.free_coords) + size * rng.standard_normal(len(gene.free_coords)), 1.0)
    other = replace(gene, free_coords=tuple(coords.tolist()), free_lattice=tuple(noisy.tolist()))
    try:
        decode([other])
    except ValueError:
        return gene
    return other
