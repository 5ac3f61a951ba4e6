"""Build the tables of the generators `substitution` and `random`: exchanges and frequencies.

    python scripts/build_substitution.py [--out FOLDER]

FOLDER holds `known_crystals.parquet` as `scripts/build_reference.py` writes it. Writes `substitution.npz`,
`random_genes.npz` and a data sheet beside each. Deterministic; under a minute on one core.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from invdesign.crystal import FloatArray, Gene
from invdesign.crystallography.genes import primitive_sites, protostructure
from invdesign.crystallography.wyckoff import lattice_family
from invdesign.elements import symbol
from invdesign.generators.geneset import MAX_Z, fit_element_volumes, lattice_features
from invdesign.generators.random_genes import FAMILIES
from invdesign.generators.random_genes import TABLE as RANDOM_TABLE
from invdesign.generators.substitution import MAX_ABOVE_HULL, Exchanges
from invdesign.generators.substitution import TABLE as SUBSTITUTION_TABLE
from invdesign.reference.known import TABLE, KnownCrystals
from invdesign.training.rebuild import begin, built, options, run
from invdesign.training.sheet import Sheet

MAX_SITES = 40
ANY = 0
"""Stands for the one element in which two crystals may differ."""


def main() -> None:
    given = begin(options(__doc__, data=False))
    known = KnownCrystals.load(given.out / TABLE)
    usable = (k for k in known if not k.held_out and k.within(MAX_ABOVE_HULL))
    genes = [k.gene for k in usable if max(k.gene.numbers) < MAX_Z]
    genes = [gene for gene in genes if primitive_sites(gene) <= MAX_SITES]
    volume = np.round(element_volumes(genes), 4)
    write_substitution(given.out, genes, volume, given.commit)
    write_random(given.out, genes, volume, given.commit)


def sheet(path: Path, about: str, metrics: str, commit: str) -> None:
    """Write the data sheet of one of the two tables."""
    Sheet(
        about=about,
        script="python scripts/build_substitution.py",
        data=built(TABLE),
        split="nothing is held out: crystals of all parts of the split are counted",
        seed="none: nothing is random",
        metrics=metrics,
        commit=commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013), CC BY 4.0.",
    ).write(path)


def element_volumes(genes: list[Gene]) -> FloatArray:
    """(MAX_Z,) volume per element; 0 for those of no crystal."""
    volume = fit_element_volumes(genes)
    return np.where(np.isin(np.arange(MAX_Z), sorted({z for gene in genes for z in gene.numbers})), volume, 0.0)


def exchanges(genes: list[Gene]) -> tuple[FloatArray, int]:
    """(MAX_Z, MAX_Z) symmetric weights of exchanges, and the number of families they were counted in.

    A family is a protostructure with one element left open. Each of its `m` members is paired with the `m - 1`
    others at a weight of 1/(m - 1), so a family counts as often as it has members and large ones do not drown the
    rest.
    """
    families: defaultdict[object, set[int]] = defaultdict(set)
    for gene in genes:
        for element in set(gene.numbers):
            numbers = tuple(ANY if z == element else z for z in gene.numbers)
            families[protostructure(Gene(gene.space_group, gene.wyckoffs, numbers, (), ()))].add(element)
    counts, used = np.zeros((MAX_Z, MAX_Z)), 0
    for members in families.values():
        if len(members) < 2:
            continue
        rows = sorted(members)
        counts[np.ix_(rows, rows)] += 1.0 / (len(rows) - 1)
        used += 1
    np.fill_diagonal(counts, 0.0)
    return counts, used


def write_substitution(out: Path, genes: list[Gene], volume: FloatArray, commit: str) -> None:
    counts, families = exchanges(genes)
    counts = np.round(counts, 2)
    np.savez_compressed(out / SUBSTITUTION_TABLE, counts=counts.astype(np.float32), element_volume=volume)
    chance = Exchanges(counts, volume).probability
    examples = "; ".join(
        f"{symbol(z)} by " + ", ".join(f"{symbol(int(k))} {chance[z, k]:.0%}" for k in np.argsort(-chance[z])[:3])
        for z in (11, 26, 8, 17, 57)
    )
    about = SUBSTITUTION.format(n=len(genes), families=families, total=counts.sum())
    sheet(out / SUBSTITUTION_TABLE, about, f"most likely exchanges: {examples}", commit)
    print(f"{out / SUBSTITUTION_TABLE}: {counts.sum():,.0f} exchanges in {families:,} families; {examples}")


def write_random(out: Path, genes: list[Gene], volume: FloatArray, commit: str) -> None:
    group_sites = np.zeros((231, MAX_SITES + 1), dtype=np.int32)
    elements, n_elements = np.zeros(MAX_Z, dtype=np.int32), np.zeros(10, dtype=np.int32)
    for gene in genes:
        kinds = sorted(set(gene.numbers))
        group_sites[gene.space_group, primitive_sites(gene)] += 1
        elements[kinds] += 1
        n_elements[min(len(kinds), 9)] += 1
    features, _ = lattice_features(genes, volume)
    family = np.array([FAMILIES.index(lattice_family(gene.space_group)) for gene in genes])
    shapes = [features[family == k] for k in range(len(FAMILIES))]
    np.savez_compressed(
        out / RANDOM_TABLE,
        group_sites=group_sites,
        elements=elements,
        n_elements=n_elements,
        element_volume=volume,
        lattice_mean=np.round([shape.mean(axis=0) for shape in shapes], 4),
        lattice_deviation=np.round([shape.std(axis=0) for shape in shapes], 4),
    )
    groups = int((group_sites.sum(axis=1) > 0).sum())
    metrics = f"{len(genes):,} crystals of {groups} space groups and {int((elements > 0).sum())} elements"
    sheet(out / RANDOM_TABLE, RANDOM.format(n=len(genes), groups=groups), metrics, commit)
    print(f"{out / RANDOM_TABLE}: {metrics}")


SUBSTITUTION = """\
What replaces what in known crystals: `counts` (104, 104), symmetric, by atomic number; `element_volume` (104), the
volume in Å³ that an atom of each element suggests (0: of no known crystal).

Mined from {n:,} known crystals (`known_crystals.parquet`; at most 0.1 eV/atom above the hull where that is known,
at most 40 atoms in the primitive cell). Crystals that occupy the same positions with the same elements but for one
form a family, {families:,} of them with two members or more; each member is paired with every other at a weight of
one over their number, {total:,.0f} exchanges in all. In the spirit of G. Hautier et al., Inorg. Chem. 50, 656
(2011), with positions in place of prototypes and elements in place of ions."""

RANDOM = """\
Frequencies among {n:,} known crystals (`known_crystals.parquet`; at most 0.1 eV/atom above the hull where that is
known, at most 40 atoms in the primitive cell), for the generator `random`: `group_sites` (231, 41) crystals by
space group ({groups} occur) and atoms in the primitive cell; `elements` (104) crystals that hold each element;
`n_elements` (10) by number of elements; `element_volume` (104) as in `substitution.npz`; `lattice_mean`,
`lattice_deviation` (6, 6) of the lattice features (log volume over that of the elements, log c/a, log b/a, three
angles less 90° in units of 30°) by lattice family from triclinic to cubic."""


if __name__ == "__main__":
    run(main)
