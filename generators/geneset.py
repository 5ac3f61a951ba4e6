"""Genes as padded tensors, and the numbers that networks see in place of lattices.

A gene becomes `n` orbit tokens: the index of its Wyckoff position in the table, the atomic number, up to three
free coordinates; and six lattice features of which the lattice family masks those that symmetry fixes:
log volume per atom over the volume that its elements suggest, log(c/a), log(b/a), and the three angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from invdesign.crystal import FloatArray, Gene
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.crystallography.wyckoff import FREE_LATTICE, lattice_family, wyckoff_table

MAX_Z = 104
"""Atomic numbers run from 1 to MAX_Z - 1; index 0 is padding."""

MAX_POSITIONS = 27
"""The largest number of Wyckoff positions in a group; the index that stands for *stop*."""

LATTICE_FEATURES = 6
_FEATURES_OF = {"a": 0, "c": 1, "b": 2, "alpha": 3, "beta": 4, "gamma": 5}


@dataclass(frozen=True)
class GeneBatch:
    """Padded tensors of `b` genes with up to `n` orbits.

    Attributes:
        group: (b,) space group number minus one.
        position: (b, n) index in the Wyckoff table, 0 where padded.
        wyckoff: (b, n) Wyckoff index within the group.
        number: (b, n) atomic number, 0 where padded.
        coords: (b, n, 3) free coordinates in [0, 1).
        freedom: (b, n) how many of them there are.
        sites: (b, n) atoms per primitive cell.
        length: (b,) number of orbits.
        lattice: (b, 6) lattice features.
        lattice_mask: (b, 6) which of them are free.
        labels: (b, p) property labels in model units, NaN where unknown.
    """

    group: Tensor
    position: Tensor
    wyckoff: Tensor
    number: Tensor
    coords: Tensor
    freedom: Tensor
    sites: Tensor
    length: Tensor
    lattice: Tensor
    lattice_mask: Tensor
    labels: Tensor

    @property
    def mask(self) -> Tensor:
        """(b, n) true where there is an orbit."""
        return self.number > 0

    def __len__(self) -> int:
        return len(self.group)

    def take(self, index: Tensor) -> GeneBatch:
        """The chosen rows, cut to the longest of them."""
        longest = int(self.length[index].max())
        rows = {f.name: getattr(self, f.name)[index] for f in fields(self)}
        return GeneBatch(**{k: v[:, :longest] if k in PER_ORBIT else v for k, v in rows.items()})


PER_ORBIT = frozenset(("position", "wyckoff", "number", "coords", "freedom", "sites"))


def to_batch(genes: Sequence[Gene], labels: FloatArray, element_volume: FloatArray) -> GeneBatch:
    """Tensors of genes.

    Args:
        genes: at least one.
        labels: (n_genes, p) property labels in model units, NaN where unknown.
        element_volume: (MAX_Z,) volume that an atom of each element suggests, Å³.
    """
    table, b = wyckoff_table(), len(genes)
    n = max(len(g.wyckoffs) for g in genes)
    whole = {k: np.zeros((b, n), dtype=np.int64) for k in ("position", "wyckoff", "number", "freedom", "sites")}
    coords = np.zeros((b, n, 3), dtype=np.float32)
    for i, gene in enumerate(genes):
        k = len(gene.wyckoffs)
        position = table.group_start[gene.space_group - 1] + np.array(gene.wyckoffs)
        freedom = table.freedom[position]
        whole["position"][i, :k], whole["wyckoff"][i, :k] = position, gene.wyckoffs
        whole["number"][i, :k], whole["freedom"][i, :k] = gene.numbers, freedom
        whole["sites"][i, :k] = table.primitive_multiplicity[position]
        free = np.zeros((k, 3), dtype=np.float32)
        free[np.arange(3)[None, :] < freedom[:, None]] = gene.free_coords
        coords[i, :k] = free
    lattice, mask = lattice_features(genes, element_volume)
    return GeneBatch(
        group=torch.tensor([g.space_group - 1 for g in genes]),
        coords=torch.from_numpy(coords),
        length=torch.tensor([len(g.wyckoffs) for g in genes]),
        lattice=torch.from_numpy(lattice.astype(np.float32)),
        lattice_mask=torch.from_numpy(mask),
        labels=torch.from_numpy(np.asarray(labels, dtype=np.float32)),
        **{k: torch.from_numpy(v) for k, v in whole.items()},
    )


def feature_mask(space_group: int) -> tuple[bool, ...]:
    """Which of the six lattice features are free in a group."""
    free = FREE_LATTICE[lattice_family(space_group)]
    # parameters a, b, c, alpha, beta, gamma -> features volume, c/a, b/a, alpha, beta, gamma
    return (True, 2 in free, 1 in free, 3 in free, 4 in free, 5 in free)


def suggested_volume(gene: Gene, element_volume: FloatArray) -> tuple[float, int]:
    """Volume (Å³) that the elements of a primitive cell suggest, and its number of atoms."""
    table = wyckoff_table()
    position = table.group_start[gene.space_group - 1] + np.array(gene.wyckoffs)
    sites = table.primitive_multiplicity[position]
    return float((sites * element_volume[list(gene.numbers)]).sum()), int(sites.sum())


def lattice_features(genes: Sequence[Gene], element_volume: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, 6) features and (n, 6) masks of the lattices of genes."""
    from invdesign.crystallography.genes import lattice_from_free

    table = wyckoff_table()
    features = np.zeros((len(genes), LATTICE_FEATURES))
    masks = np.array([feature_mask(g.space_group) for g in genes])
    for i, gene in enumerate(genes):
        lattice = lattice_from_free(gene.space_group, gene.free_lattice)
        lengths = np.linalg.norm(lattice, axis=1)
        cosines = [lattice[j] @ lattice[k] / (lengths[j] * lengths[k]) for j, k in ((1, 2), (0, 2), (0, 1))]
        shrink = abs(np.linalg.det(table.primitive_cell[gene.space_group - 1]))
        volume = abs(np.linalg.det(lattice)) * shrink
        features[i, 0] = np.log(volume / suggested_volume(gene, element_volume)[0])
        features[i, 1:3] = np.log(lengths[2] / lengths[0]), np.log(lengths[1] / lengths[0])
        features[i, 3:] = (np.degrees(np.arccos(np.clip(cosines, -1, 1))) - 90.0) / 30.0
    return np.where(masks, features, 0.0), masks


def lattice_from_features(space_group: int, features: FloatArray, volume: float) -> tuple[float, ...]:
    """Free lattice parameters from features and the suggested volume (Å³) of the primitive cell.

    Raises:
        ValueError: if the angles span no volume.
    """
    family = lattice_family(space_group)
    angles = np.where(feature_mask(space_group)[3:], 90.0 + 30.0 * features[3:], 90.0)
    if family == "hexagonal":
        angles[2] = 120.0
    c_a, b_a = np.exp(features[1]), np.exp(features[2])
    c_a, b_a = (1.0 if family == "cubic" else c_a), (b_a if feature_mask(space_group)[2] else 1.0)
    unit = lattices_from_parameters(np.array([[1.0, b_a, c_a, *angles]]))[0]
    shrink = abs(np.linalg.det(wyckoff_table().primitive_cell[space_group - 1]))
    a = (np.exp(features[0]) * volume / (abs(np.linalg.det(unit)) * shrink)) ** (1 / 3)
    full = np.array([a, a * b_a, a * c_a, *angles])
    return tuple(float(v) for v in full[list(FREE_LATTICE[family])])


def fit_element_volumes(genes: Sequence[Gene], ridge: float = 3.0) -> FloatArray:
    """(MAX_Z,) volumes per element (Å³) whose sums fit the cells of known crystals best, in relative error."""
    from invdesign.crystallography.genes import lattice_from_free

    table = wyckoff_table()
    counts, volumes = np.zeros((len(genes), MAX_Z)), np.zeros(len(genes))
    for i, gene in enumerate(genes):
        position = table.group_start[gene.space_group - 1] + np.array(gene.wyckoffs)
        np.add.at(counts[i], list(gene.numbers), table.primitive_multiplicity[position])
        shrink = abs(np.linalg.det(table.primitive_cell[gene.space_group - 1]))
        volumes[i] = abs(np.linalg.det(lattice_from_free(gene.space_group, gene.free_lattice))) * shrink
    typical = float(np.median(volumes / counts.sum(axis=1)))
    design = counts / volumes[:, None]
    normal = design.T @ design + ridge * np.eye(MAX_Z) / typical**2
    target = design.T @ np.ones(len(genes)) + ridge * typical / typical**2
    return np.clip(np.linalg.solve(normal, target), 3.0, 80.0)
