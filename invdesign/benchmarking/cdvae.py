"""CDVAE's coverage by its own definition (T. Xie et al., ICLR 2022), on fingerprints that matminer makes.

A crystal is the mean over its atoms of CrystalNN's order parameters (61 numbers) and the Magpie statistics of its
composition (132 numbers, each in standard deviations). matminer is optional: without it the metric is left out.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invdesign.benchmarking.metrics import BoolArray, Fingerprints
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.genes import decode
from invdesign.crystallography.wyckoff import wyckoff_table
from invdesign.executors import Workforce, pool
from invdesign.workers import Lost

STRUCTURE_CUTOFF, COMPOSITION_CUTOFF = 0.4, 10.0
"""CDVAE's thresholds for MP-20: Euclidean distances in the two spaces."""

DIGITS = 6
"""Decimals that are kept of a fingerprint."""


@dataclass(frozen=True)
class Prints:
    """The two fingerprints of a crystal, both empty where one cannot be made.

    Attributes:
        matminer: version that made them.
        structure: (61,) mean over the atoms of CrystalNN's order parameters (preset `ops`).
        composition: (132,) Magpie statistics, not scaled, NaN where the table of elements has a gap.
    """

    matminer: str
    structure: tuple[float, ...]
    composition: tuple[float, ...]


def version() -> str:
    """The installed version of matminer, empty if there is none that works."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        found = installed("matminer")
        from matminer.featurizers.site.fingerprint import CrystalNNFingerprint  # noqa: F401
    except (ImportError, PackageNotFoundError):  # an old one does not import beside this pymatgen
        return ""
    return found


def prints(crystals: Sequence[Crystal], workers: Workforce = None) -> Iterator[tuple[int, Prints]]:
    """Fingerprints of all crystals as they come, with their places; needs matminer; 60 ms of a core for each.

    Args:
        crystals: any cells.
        workers: processes (None: one per core), or an executor.
    """
    found = version()
    processes = pool(workers, "invdesign.benchmarking.cdvae:printer", found)
    try:
        for index, answer in processes.imap(crystals):
            yield index, Prints(found, (), ()) if isinstance(answer, Lost) else answer
    finally:
        processes.close()


def magpie(genes: Sequence[Gene]) -> FloatArray:
    """(n, 132) Magpie's statistics of compositions, gaps in its table of elements filled by the mean."""
    from matminer.featurizers.composition.composite import ElementProperty
    from pymatgen.core import Composition

    statistics = ElementProperty.from_preset("magpie", impute_nan=True)
    keys = [tuple(sorted(_atoms(gene).items())) for gene in genes]
    rows = {key: statistics.featurize(Composition(dict(key))) for key in set(keys)}
    return np.array([rows[key] for key in keys], dtype=np.float64)


def _atoms(gene: Gene) -> Counter[int]:
    """Atoms of each element in the primitive cell."""
    table = wyckoff_table()
    atoms: Counter[int] = Counter()
    for number, wyckoff in zip(gene.numbers, gene.wyckoffs, strict=True):
        atoms[number] += int(table.primitive_multiplicity[table.index(gene.space_group, wyckoff)])
    return atoms


def printer(matminer: str) -> Callable[[Crystal], Prints]:
    """The function that makes fingerprints (in a worker process); it raises where CrystalNN does."""
    from matminer.featurizers.composition.composite import ElementProperty
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint
    from pymatgen.core import Composition, Structure

    warnings.simplefilter("ignore")
    sites = CrystalNNFingerprint.from_preset("ops")
    magpie = ElementProperty.from_preset("magpie", impute_nan=False)

    def answer(crystal: Crystal) -> Prints:
        structure = Structure(crystal.lattice, crystal.numbers.tolist(), crystal.frac_coords)
        atoms, weights = representatives(crystal)
        around = np.array([sites.featurize(structure, int(atom)) for atom in atoms])
        elements, counts = np.unique(crystal.numbers, return_counts=True)
        formula = Composition(dict(zip(elements.tolist(), counts.tolist(), strict=True)))
        return Prints(matminer, _rounded(weights @ around), _rounded(magpie.featurize(formula)))

    return answer


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values)


def representatives(crystal: Crystal) -> tuple[np.ndarray[Any, Any], FloatArray]:
    """One atom of each orbit and the orbit's share, if the crystal is as its gene says; else every atom.

    Atoms of an orbit have the same surroundings, so the mean over the atoms is that over the orbits.
    """
    every = np.arange(crystal.n_sites), np.full(crystal.n_sites, 1.0 / crystal.n_sites)
    if crystal.gene is None:
        return every
    cell = decode([crystal.gene])[0]
    if not np.array_equal(cell.numbers, crystal.numbers) or not np.allclose(cell.frac_coords, crystal.frac_coords):
        return every
    table, gene = wyckoff_table(), crystal.gene
    counts = np.array([table.primitive_multiplicity[table.index(gene.space_group, w)] for w in gene.wyckoffs])
    return np.cumsum(counts) - counts, counts / counts.sum()


def table(found: Sequence[Prints]) -> Fingerprints:
    """The fingerprints that could be made, as arrays."""
    whole = [row for row in found if row.structure]
    composition, structure = (np.array([getattr(r, kind) for r in whole]) for kind in ("composition", "structure"))
    return Fingerprints(composition, structure)


@dataclass(frozen=True, eq=False)
class Coverage:
    """How near samples and reference crystals lie to each other.

    Attributes:
        recall: (n_reference,) whether a sample is near in structure and a sample, maybe another, in composition.
        precision: (n_samples,) the same of the reference crystals.
        distances: CDVAE's AMSD-R, AMSD-P (structure), AMCD-R and AMCD-P (composition): mean least distances.
    """

    recall: BoolArray
    precision: BoolArray
    distances: dict[str, float]


def coverage(samples: Fingerprints, reference: Fingerprints) -> Coverage:
    """CDVAE's COV-R and COV-P as its code has them.

    The nearest in structure and the nearest in composition may be different crystals. One thing is not theirs:
    compositions are scaled by mean and standard deviation of the reference crystals instead of by CDVAE's fixed
    ones. A column that never varies there counts in its own unit, and an unknown value as the mean.
    """
    from scipy.spatial.distance import cdist

    if not (len(samples.structure) and len(reference.structure)):
        nothing = dict.fromkeys(("amsd_recall", "amsd_precision", "amcd_recall", "amcd_precision"), float("nan"))
        far, away = (np.zeros(len(rows.structure), dtype=bool) for rows in (reference, samples))
        return Coverage(far, away, nothing)
    structure = cdist(samples.structure, reference.structure)
    composition = cdist(*scaled(samples.composition, reference.composition))
    near = [(structure.min(axis=axis), composition.min(axis=axis)) for axis in (0, 1)]
    recall, precision = ((s <= STRUCTURE_CUTOFF) & (c <= COMPOSITION_CUTOFF) for s, c in near)
    return Coverage(
        recall,
        precision,
        {
            "amsd_recall": float(near[0][0].mean()),
            "amsd_precision": float(near[1][0].mean()),
            "amcd_recall": float(near[0][1].mean()),
            "amcd_precision": float(near[1][1].mean()),
        },
    )


def scaled(samples: FloatArray, reference: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both tables by mean and standard deviation of the second; unknown values (NaN) become zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a column without a single value
        mean, spread = np.nanmean(reference, axis=0), np.nanstd(reference, axis=0)
    unit = np.where(spread > 0, spread, 1.0)
    first, second = (np.nan_to_num((values - mean) / unit, nan=0.0) for values in (samples, reference))
    return first, second
