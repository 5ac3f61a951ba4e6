"""What generated crystals are measured by: rates with intervals, distances of distributions, and the named metrics
of published benchmarks, each as one small function.

Definitions are those of the code of CDVAE (T. Xie et al., ICLR 2022), MatterGen (C. Zeni et al., Nature 639, 624
(2025)), Wyckoff Transformer (N. Kazeev et al., ICML 2025) and LeMat-GenBench. Where ours differs on purpose, the
function says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.chemistry.oxidation import smact14_valid
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.wyckoff import wyckoff_table

_Z95 = 1.959963984540054
_ROWS = 1000
"""Samples compared with all reference crystals at a time."""

BoolArray = NDArray[np.bool_]

KNOWN = "known"
"""Real crystals, measured as if a generator had made them."""

Template = tuple[int, tuple[tuple[int, ...], ...]]
"""A space group, and for each element the positions that it occupies."""


@dataclass(frozen=True)
class Rate:
    """A share of a set, with its denominator.

    Attributes:
        count: how many.
        of: among how many.
    """

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson(self.count, self.of)

    def to_dict(self) -> dict[str, float]:
        """Plain types: count, of, value, low, high."""
        low, high = self.interval
        return {"count": self.count, "of": self.of, "value": self.value, "low": low, "high": high}


def wilson(count: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22, 209 (1927)); 0 to 1 of nothing."""
    if of == 0:
        return 0.0, 1.0
    share, z2 = count / of, _Z95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = _Z95 / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    low = 0.0 if count == 0 else max(0.0, middle - reach)
    return low, 1.0 if count == of else min(1.0, middle + reach)


def rate(flags: Iterable[bool], of: int | None = None) -> Rate:
    """How many are true, among all or among `of`."""
    found = [bool(flag) for flag in flags]
    return Rate(sum(found), len(found) if of is None else of)


def total_variation(first: Mapping[Any, float], second: Mapping[Any, float]) -> float:
    """Half the summed differences of two sets of shares, 0 (the same) to 1 (nothing in common); NaN of nothing.

    Args:
        first: counts or shares.
        second: the same.
    """
    one, two = sum(first.values()), sum(second.values())
    if not (one > 0 and two > 0):
        return math.nan
    keys = first.keys() | second.keys()
    return 0.5 * sum(abs(first.get(k, 0.0) / one - second.get(k, 0.0) / two) for k in keys)


def wasserstein(first: Sequence[float] | FloatArray, second: Sequence[float] | FloatArray) -> float:
    """Earth mover's distance of two samples of numbers, in their unit; NaN if one is empty.

    CDVAE's `d_rho` with densities, its `d_elem` with numbers of different elements.
    """
    from scipy.stats import wasserstein_distance

    if not (len(first) and len(second)):
        return math.nan
    return float(wasserstein_distance(first, second))


def element_shares(crystals: Iterable[Crystal]) -> Counter[int]:
    """How often each element occurs, every crystal counting one: the sum of the atomic fractions."""
    shares: Counter[int] = Counter()
    for crystal in crystals:
        found, counts = np.unique(crystal.numbers, return_counts=True)
        for number, count in zip(found.tolist(), counts.tolist(), strict=True):
            shares[number] += count / crystal.n_sites
    return shares


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Where `n` crystals lie in two spaces of features.

    Attributes:
        composition: (n, p), of what they are made.
        structure: (n, q), of how their atoms are arranged.
    """

    composition: FloatArray
    structure: FloatArray


@dataclass(frozen=True)
class Cutoffs:
    """How far apart two crystals may lie to cover each other, in standard deviations of the reference crystals."""

    composition: float = 0.6
    structure: float = 0.7


def covered(
    samples: Fingerprints, reference: Fingerprints, cutoffs: Cutoffs = Cutoffs()
) -> tuple[BoolArray, BoolArray]:
    """Recall and precision: which reference crystals have a sample near them, and which samples such a crystal.

    Stricter than CDVAE's COV-R and COV-P, which are in `invdesign.benchmarking.cdvae`. Near means within the
    cutoff in both
    spaces at once. A distance is the root mean square over the features, each in units of its standard deviation
    among the reference crystals; a feature that never varies there counts in its own unit.

    Returns:
        (n_reference,) and (n_samples,) flags.
    """
    recall = np.zeros(len(reference.composition), dtype=bool)
    precision = np.zeros(len(samples.composition), dtype=bool)
    for start in range(0, len(precision), _ROWS):
        some = slice(start, start + _ROWS)
        near = _near(samples.composition[some], reference.composition, cutoffs.composition)
        near &= _near(samples.structure[some], reference.structure, cutoffs.structure)
        recall |= near.any(axis=0)
        precision[some] = near.any(axis=1)
    return recall, precision


def _near(samples: FloatArray, reference: FloatArray, cutoff: float) -> BoolArray:
    """(n_samples, n_reference) whether two rows are within the cutoff."""
    from scipy.spatial.distance import cdist

    if not (len(samples) and len(reference)):
        return np.zeros((len(samples), len(reference)), dtype=bool)
    spread = reference.std(axis=0)
    unit = np.where(spread > 0, spread, 1.0) * math.sqrt(reference.shape[1])
    return np.asarray(cdist(samples / unit, reference / unit) <= cutoff)


def template(gene: Gene) -> Template:
    """Which positions are occupied and which of them by the same element, whatever the elements and the origin.

    What the Wyckoff Transformer's novelty filter calls a strict AFLOW fingerprint.
    """
    table = wyckoff_table()
    first, last = table.normalizer_start[gene.space_group - 1 : gene.space_group + 1]
    moved = table.normalizer_permutation[first:last, list(gene.wyckoffs)].tolist()
    return gene.space_group, min(_by_element(row, gene.numbers) for row in moved)


def _by_element(wyckoffs: Sequence[int], numbers: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    positions: dict[int, list[int]] = {}
    for wyckoff, number in zip(wyckoffs, numbers, strict=True):
        positions.setdefault(number, []).append(wyckoff)
    return tuple(sorted(tuple(sorted(occupied)) for occupied in positions.values()))


def wyformer_space_group_chi2(groups: Iterable[int], reference: Mapping[int, float]) -> float:
    """Chi-squared statistic of space-group frequencies as in the Wyckoff Transformer; NaN of nothing.

    The sum of (q - p)²/p over the groups of the reference, p and q the shares there and among the samples. As in
    their code, samples in groups that the reference lacks are left out before q is normalised, and shares (not
    counts) are compared, so the size of the sample does not scale the result.

    Args:
        groups: space group of each sample.
        reference: counts or shares by space group.
    """
    counts = Counter(group for group in groups if reference.get(group, 0) > 0)
    total, whole = sum(counts.values()), sum(reference.values())
    if not total or not whole:
        return math.nan
    shares = {group: count / whole for group, count in reference.items() if count > 0}
    return sum((counts[group] / total - share) ** 2 / share for group, share in shares.items())


def cdvae_structure_valid(crystal: Crystal, cutoff: float = 0.5) -> bool:
    """CDVAE's (and MatterGen's) structural validity: no two atoms nearer than 0.5 Å, a volume of 0.1 Å³ at least.

    An atom's own periodic images count too, which theirs leave out.
    """
    return crystal.volume >= 0.1 and shortest_distance(crystal) >= cutoff


def cdvae_composition_valid(numbers: Iterable[int]) -> bool:
    """CDVAE's compositional validity: SMACT with Pauling's rule, alloys allowed, on the oxidation states of 2014.

    Those were SMACT's default when CDVAE was published; today's is `invdesign.chemistry.oxidation.smact_valid`.
    """
    return smact14_valid(numbers)


def lemat_distances_valid(crystal: Crystal) -> bool:
    """LeMat-GenBench's distances: every pair of sites at least (0.7 Å + r_i + r_j)/2 apart.

    The radii are pymatgen's atomic radii; false where an element has none. A cell of one atom has no pair and
    passes (an early version failed it).
    """
    from pymatgen.core import Element, Structure

    radii = [Element.from_Z(int(z)).atomic_radius for z in crystal.numbers]
    if any(radius is None for radius in radii):
        return False
    structure = Structure(crystal.lattice, crystal.numbers.tolist(), crystal.frac_coords)
    r = np.array([float(radius) for radius in radii])
    first, second = np.triu_indices(crystal.n_sites, k=1)
    needed = 0.5 * (0.7 + r[first] + r[second])
    return bool((structure.distance_matrix[first, second] >= needed).all())


@dataclass(frozen=True)
class Judged:
    """What decides whether a relaxed sample is a success.

    Attributes:
        energy_above_hull: eV/atom; None where there is none (relaxation failed, no hull).
        unique: the first of the samples that are the same.
        novel: not among the known crystals.
        space_group: after relaxation; None where none was found.
    """

    energy_above_hull: float | None
    unique: bool
    novel: bool
    space_group: int | None


def _within(sample: Judged, limit: float) -> bool:
    return sample.energy_above_hull is not None and sample.energy_above_hull <= limit


def stable(samples: Sequence[Judged], limit: float) -> Rate:
    """At most `limit` eV/atom above the hull, of all samples."""
    return rate(_within(s, limit) for s in samples)


def mattergen_sun(samples: Sequence[Judged], limit: float = 0.1) -> Rate:
    """S.U.N. of MatterGen: stable (at most 0.1 eV/atom above the hull), unique and novel, of all samples.

    Unique: the first of equal ones. A sample that failed counts in the denominator.
    """
    return rate(_within(s, limit) and s.unique and s.novel for s in samples)


def wyformer_ssun(samples: Sequence[Judged], limit: float = 0.08) -> Rate:
    """S.S.U.N. of the Wyckoff Transformer: S.U.N. at 0.08 eV/atom and symmetric, that is not in P1."""
    return rate(
        _within(s, limit) and s.unique and s.novel and s.space_group is not None and s.space_group > 1
        for s in samples
    )


def lemat_sun(samples: Sequence[Judged]) -> tuple[Rate, Rate]:
    """SUN and MetaSUN of LeMat-GenBench: unique, novel and at most 0, or above 0 and at most 0.1 eV/atom."""
    sun = mattergen_sun(samples, 0.0)
    both = mattergen_sun(samples, 0.1)
    return sun, Rate(both.count - sun.count, both.of)
