"""Build the reference that ships with invdesign: hull phases, known crystals as genes, and formulas without one.

    python scripts/build_reference.py --data DIR [--out FOLDER] [--only hull|known|formulas] [--keep]

DIR holds `convex_hull.parquet` (formula, formation_energy_per_atom, on_hull), `crystals.parquet` (structures with
formation energies) and `reference_only.parquet` (more of them, on which no model may be trained). Writes
`hull.parquet`, `known_crystals.parquet`, `known_formulas.parquet` and a data sheet beside each. Deterministic;
about ten minutes on one core. With `--keep` the genes of crystals that the table has already are taken from it,
which gives the same table in two minutes.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pymatgen.core import Composition, Lattice

from invdesign.chemistry.composition import integer_composition, reduced_formula
from invdesign.crystal import Crystal, Gene
from invdesign.crystallography.distances import shortest_distance
from invdesign.crystallography.genes import decode, encode
from invdesign.crystallography.matching import reduced, same
from invdesign.crystallography.symmetry import primitive
from invdesign.elements import symbol
from invdesign.reference.hull import Hull
from invdesign.reference.known import COORDINATE_STEPS, TABLE, KnownCrystals
from invdesign.reference.local import FORMULA_TABLE, HULL_TABLE
from invdesign.training.rebuild import begin, options, run, sources
from invdesign.training.sheet import Sheet

CRYSTALS, HELD_OUT, PHASES = "crystals.parquet", "reference_only.parquet", "convex_hull.parquet"

Phase = tuple[str, dict[int, int], float]
"""Formula, atoms by atomic number, formation energy (eV/atom)."""


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", choices=("hull", "known", "formulas"), help="build one of the three")
    parser.add_argument("--keep", action="store_true", help="take genes from the table that is there")
    given = begin(parser)
    data = sources(given, CRYSTALS, HELD_OUT, PHASES)
    crystals, phases = read_crystals(given.data), pd.read_parquet(given.data / PHASES)
    if given.only in (None, "hull"):
        about, metrics = build_hull(phases, crystals, given.out)
        sheet(given.out / HULL_TABLE, about, "hull", data, metrics, given.commit)
    if given.only in (None, "known"):
        placed = with_distances(crystals, Hull(*columns(all_phases(phases, crystals)[0])))
        about, metrics = build_known(placed, given.out, kept_genes(given.out) if given.keep else {})
        sheet(given.out / TABLE, about, "known", data, metrics, given.commit)
    if given.only in (None, "formulas"):
        about, metrics = build_formulas(phases, crystals, given.out)
        sheet(given.out / FORMULA_TABLE, about, "formulas", data, metrics, given.commit)


def read_crystals(data: Path) -> pd.DataFrame:
    """The crystals of both files; those that serve as reference only are marked `held_out`."""
    usual = pd.read_parquet(data / CRYSTALS).assign(held_out=False)
    more = pd.read_parquet(data / HELD_OUT).assign(held_out=True)
    return pd.concat([usual, more], ignore_index=True).astype({"held_out": bool})


def sheet(path: Path, about: str, only: str, data: dict[str, str], metrics: str, commit: str) -> None:
    """Write the data sheet of one of the three tables."""
    Sheet(
        about=about,
        script=f"python scripts/build_reference.py --data DIR --only {only}",
        data=data,
        split="nothing is held out: nothing is learned",
        seed="0, of the crystals that the check draws; the table has no random part",
        metrics=metrics,
        commit=commit,
        licence="A. Jain et al., APL Mater. 1, 011002 (2013), CC BY 4.0.",
    ).write(path)
    print(f"{path}: {metrics}")


def build_hull(phases: pd.DataFrame, crystals: pd.DataFrame, out: Path) -> tuple[str, str]:
    """Write the compounds on the hull and one reference per element, and check them on every labelled crystal.

    Returns:
        what the table holds, and figures of the check.
    """
    rows, source, lower = all_phases(phases, crystals)
    formulas, counts, values = columns(rows)
    table = pa.table(
        {
            "formula": formulas,
            "numbers": pa.array([list(c) for c in counts], pa.list_(pa.uint8())),
            "counts": pa.array([list(c.values()) for c in counts], pa.list_(pa.uint16())),
            "formation_energy": values,
        }
    )
    pq.write_table(table, out / HULL_TABLE, compression="zstd", compression_level=19)
    elements, size = sum(len(c) == 1 for c in counts), (out / HULL_TABLE).stat().st_size
    depth = [energy - source.mixture(atoms(composition)).energy for _, composition, energy in lower]
    about = HULL.format(
        compounds=len(formulas) - elements, elements=elements, size=size / 1e6, lower=len(lower),
        lowest=-1000 * min(depth, default=0.0),
    )  # fmt: skip
    return about, HULL_CHECK.format(**check_hull(source, crystals[~crystals.held_out]))


def all_phases(phases: pd.DataFrame, crystals: pd.DataFrame) -> tuple[list[Phase], Hull, list[Phase]]:
    """The phases of the hull, the source's hull before, and the held-out crystals that lie below that."""
    on_hull = phases[phases.on_hull]
    compositions = [
        {element.Z: int(count) for element, count in Composition(formula).items()} for formula in on_hull.formula
    ]
    elements = sorted({number for composition in compositions for number in composition})
    rows: list[Phase] = [(symbol(z), {z: 1}, 0.0) for z in elements]
    energies = np.round(on_hull.formation_energy_per_atom, 6)
    rows += [row for row in zip(on_hull.formula, compositions, energies, strict=True) if len(row[1]) > 1]
    source = Hull(*columns(rows))
    lower = phases_below(source, crystals[crystals.held_out])
    return (vertices(rows + lower) if lower else rows), source, lower


def columns(rows: list[Phase]) -> tuple[list[str], list[dict[int, int]], list[float]]:
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def phases_below(hull: Hull, crystals: pd.DataFrame) -> list[Phase]:
    """The lowest crystal of every compound that lies below a hull."""
    lowest: dict[str, Phase] = {}
    for row in crystals.dropna(subset=["formation_energy_per_atom"]).itertuples():
        composition, energy = integer_composition(row.atomic_numbers), round(row.formation_energy_per_atom, 6)
        mixture = hull.mixture(row.atomic_numbers)
        if len(composition) < 2 or mixture is None or energy >= mixture.energy - 1e-6:
            continue
        formula = reduced_formula(row.atomic_numbers)
        if formula not in lowest or energy < lowest[formula][2]:
            lowest[formula] = (formula, composition, energy)
    return [lowest[formula] for formula in sorted(lowest)]


def vertices(rows: list[Phase]) -> list[Phase]:
    """The phases that lie on the hull of all of them."""
    hull = Hull(*columns(rows))
    return [row for row in rows if row[2] <= hull.mixture(atoms(row[1])).energy + 1e-9]


def atoms(composition: dict[int, int]) -> list[int]:
    return [z for z, count in composition.items() for _ in range(count)]


def with_distances(crystals: pd.DataFrame, hull: Hull) -> pd.DataFrame:
    """The crystals with their distance to the hull; elements keep the source's."""
    compound = np.array([len(set(numbers)) > 1 for numbers in crystals.atomic_numbers])
    energies = crystals.energy_above_hull.to_numpy(float, copy=True)
    known = crystals.formation_energy_per_atom.to_numpy(float)
    for i in np.flatnonzero(compound & np.isfinite(known)).tolist():
        mixture = hull.mixture(crystals.atomic_numbers.iloc[i])
        energies[i] = np.nan if mixture is None else known[i] - mixture.energy
    return crystals.assign(energy_above_hull=energies)


def check_hull(hull: Hull, crystals: pd.DataFrame) -> dict[str, Any]:
    """Compare with the energy above hull of every labelled crystal."""
    labelled = crystals.dropna(subset=["formation_energy_per_atom", "energy_above_hull"])
    mixtures = [hull.mixture(numbers) for numbers in labelled.atomic_numbers]
    lowest = np.array([np.nan if m is None else m.energy for m in mixtures])
    error = np.abs(labelled.formation_energy_per_atom - lowest - labelled.energy_above_hull).to_numpy()
    compound = np.array([len(set(numbers)) > 1 for numbers in labelled.atomic_numbers])
    return {
        "labelled": len(labelled),
        "missing": int(np.isnan(lowest).sum()),
        "mean": 1000 * float(np.nanmean(error)),
        "worst_compound": 1000 * float(np.nanmax(error[compound])),
        "over": int((error > 1e-3).sum()),
        "over_compound": int((error[compound] > 1e-3).sum()),
    }


def kept_genes(out: Path) -> dict[str, Gene]:
    """The genes of the table that is there, by id."""
    known = KnownCrystals.load(out / TABLE)
    return {known.id(row): known[row].gene for row in range(len(known))}


def build_known(crystals: pd.DataFrame, out: Path, kept: dict[str, Gene]) -> tuple[str, str]:
    """Write the gene of every crystal; one whose gene does not return it is kept in P1.

    Args:
        crystals: of both files.
        out: folder.
        kept: genes that need not be found again, by id.

    Returns:
        what the table holds, and figures of the check.
    """
    found = [
        (kept[row.material_id], "taken from the table before")
        if row.material_id in kept
        else gene_of(crystal_of(row))
        for row in crystals.itertuples()
    ]
    genes, causes = [gene for gene, _ in found], Counter(cause for _, cause in found)
    order = np.lexsort([crystals.material_id.to_numpy(str), crystals.formula.to_numpy(str)])
    write_known(crystals.iloc[order], [genes[i] for i in order], out)
    matched, sampled, kept = check_known(crystals, out)
    size = (out / TABLE).stat().st_size
    about = KNOWN.format(
        n=len(crystals),
        formulas=crystals.formula.nunique(),
        held_out=int(crystals.held_out.sum()),
        size=size / 1e6,
    )
    ways = "; ".join(f"{cause}: {count:,}" for cause, count in causes.most_common())
    return about, KNOWN_CHECK.format(matched=matched, sampled=sampled, kept=kept, causes=ways)


def crystal_of(row: Any) -> Crystal:
    lattice = Lattice.from_parameters(*row.lattice_parameters).matrix
    return Crystal(lattice, row.atomic_numbers, np.asarray(row.frac_coords).reshape(-1, 3), None, row.material_id)


def gene_of(crystal: Crystal) -> tuple[Gene, str]:
    """The gene as stored, and how it was found."""
    try:
        gene = quantised(encode(crystal))
        if returns(crystal, gene):
            return gene, "gene at 0.1 Å"
        cause = "P1, because the gene does not return the crystal"
    except ValueError:
        cause = "P1, because no gene was found"
    cell = primitive(crystal, symprec=0.01)
    order = np.argsort(cell.numbers, kind="stable")
    parameters = Lattice(cell.lattice).parameters
    coords = np.mod(cell.frac_coords[order], 1.0).ravel()
    numbers = tuple(int(z) for z in cell.numbers[order])
    return quantised(Gene(1, (0,) * len(numbers), numbers, tuple(coords), tuple(map(float, parameters)))), cause


def quantised(gene: Gene) -> Gene:
    """The gene with the precision of the table."""
    steps = np.rint(np.array(gene.free_coords) * COORDINATE_STEPS).astype(np.int64) % COORDINATE_STEPS
    lattice = np.array(gene.free_lattice, dtype=np.float32).astype(float)
    coords = tuple((steps / COORDINATE_STEPS).tolist())
    return Gene(gene.space_group, gene.wyckoffs, gene.numbers, coords, tuple(lattice.tolist()))


def returns(crystal: Crystal, gene: Gene) -> bool:
    """Whether the gene has the composition, the volume per atom and the shortest distance of the crystal."""
    decoded = decode([gene])[0]
    return (
        integer_composition(decoded.numbers) == integer_composition(crystal.numbers)
        and abs(decoded.volume / decoded.n_sites * crystal.n_sites / crystal.volume - 1.0) < 0.03
        and abs(shortest_distance(decoded) - shortest_distance(crystal)) < 0.2
    )


def write_known(crystals: pd.DataFrame, genes: list[Gene], out: Path) -> None:
    coords = [np.rint(np.array(g.free_coords) * COORDINATE_STEPS).astype(np.int64) for g in genes]
    experimental = crystals.experimental.map({True: 1, False: 0}).fillna(-1).astype(np.int8)
    table = pa.table(
        {
            "id": crystals.material_id.tolist(),
            "formula": [reduced_formula(numbers) for numbers in crystals.atomic_numbers],
            "space_group": pa.array([g.space_group for g in genes], pa.uint8()),
            "wyckoffs": pa.array([list(g.wyckoffs) for g in genes], pa.list_(pa.uint8())),
            "numbers": pa.array([list(g.numbers) for g in genes], pa.list_(pa.uint8())),
            "free_coords": pa.array([c.tolist() for c in coords], pa.list_(pa.uint16())),
            "free_lattice": pa.array([list(g.free_lattice) for g in genes], pa.list_(pa.float32())),
            "energy_above_hull": crystals.energy_above_hull.round(4).to_numpy(np.float32),
            "mp2024_energy_above_hull": crystals.mp2024_energy_above_hull.round(4).to_numpy(np.float32),
            "experimental": pa.array(experimental.tolist(), pa.int8()),
            "held_out": pa.array(crystals.held_out.tolist(), pa.bool_()),
        }
    )
    pq.write_table(table, out / TABLE, compression="zstd", compression_level=19)


def check_known(crystals: pd.DataFrame, out: Path, n: int = 1000) -> tuple[int, int, int]:
    """How many of a random sample of the source crystals the table finds again, and with their own structure."""
    known = KnownCrystals.load(out / TABLE)
    rows = {known[row].id: row for row in range(len(known))}
    sample = crystals.sample(min(n, -(-len(crystals) // 10)), random_state=0)
    matched = kept = 0
    for row in sample.itertuples():
        crystal = crystal_of(row)
        matched += known.match(crystal) is not None
        own = known.structures([rows[row.material_id]])[0][1]
        kept += own is not None and same(reduced(crystal), own)
    return matched, len(sample), kept


def build_formulas(phases: pd.DataFrame, crystals: pd.DataFrame, out: Path) -> tuple[str, str]:
    """Write the formulas of the source that none of its crystals has.

    Returns:
        what the table holds, and figures.
    """
    with_crystal = {reduced_formula(numbers) for numbers in crystals.atomic_numbers}
    on_hull = {
        reduced_formula([e.Z for e, n in Composition(formula).items() for _ in range(int(n))]): bool(lowest)
        for formula, lowest in zip(phases.formula, phases.on_hull, strict=True)
    }
    missing = sorted(on_hull.keys() - with_crystal)
    pq.write_table(
        pa.table({"formula": missing}), out / FORMULA_TABLE, compression="zstd", compression_level=19,
        use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY",
    )  # fmt: skip
    hull, size = sum(on_hull[formula] for formula in missing), (out / FORMULA_TABLE).stat().st_size / 1e6
    about = FORMULAS.format(n=len(missing), hull=hull, size=size, total=len(on_hull))
    return about, f"{len(missing):,} formulas of {len(on_hull):,}, {hull:,} of them on the hull"


HULL = """\
The compounds on the convex hull of formation energies of the Materials Project (MP2020 scheme; July 2024, no GNoME
entries) and one reference per element: {compounds:,} compounds, {elements} elements, {size:.2f} MB. {lower} of
them are crystals of `reference_only.parquet` that lie up to {lowest:.0f} meV/atom below the hull of
`convex_hull.parquet`.

Columns: `formula` (reduced), `numbers` and `counts` (atomic numbers and amounts), `formation_energy` (eV/atom).

Elements are at 0 eV/atom, because formation energies refer to them. (The source lists seven elements below zero,
an artefact of bringing older energies to one scheme; they are not used.)"""
HULL_CHECK = """\
hull of `convex_hull.parquet` alone, on the {labelled:,} crystals of `crystals.parquet` with a formation energy: it
less that hull differs from the source's energy above hull by {mean:.3f} meV/atom on average, by at most
{worst_compound:.3f} meV/atom for a compound; {over} rows differ by more than 1 meV/atom, {over_compound} of them
compounds (the others are elements below their own reference, where the source writes 0); compositions without a
hull: {missing}"""

KNOWN = """\
The Wyckoff genes of {n:,} known crystals ({formulas:,} formulas) of the Materials Project (July 2024, no GNoME
entries), {size:.1f} MB, sorted by formula. {held_out:,} of them (`held_out`) serve as reference only: no model is
trained or calibrated on them.

Columns: `id`, `formula`, `space_group`, `wyckoffs` (index of the position of each orbit, 0 is `a`), `numbers`
(atomic number of each orbit), `free_coords` (in units of 1/65536), `free_lattice` (Å and degrees, the free ones in
the order a, b, c, alpha, beta, gamma), `energy_above_hull` (eV/atom against `hull.parquet`; NaN if unknown),
`mp2024_energy_above_hull` (the mixed GGA/r2SCAN scheme; a filter, not a label), `experimental` (1, 0, -1
unknown), `held_out`."""
KNOWN_CHECK = """\
how the genes were found: {causes}; of {sampled:,} crystals drawn at random, {matched:,} are found again in the
table by their formula, {kept:,} by their own row (pymatgen's StructureMatcher, default settings)"""

FORMULAS = """\
The {n:,} reduced formulas of which the Materials Project (July 2024, no GNoME entries) has a phase, but of which
no crystal is in `known_crystals.parquet`: {hull:,} of them on the convex hull, {size:.2f} MB. The source lists
{total:,} formulas. A proposal of such a formula may be that phase, so nobody can call it new.

Column: `formula`, sorted."""

if __name__ == "__main__":
    run(main)
