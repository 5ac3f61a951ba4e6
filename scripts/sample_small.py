"""Make source data at small scale from the tables of the package: 1,500 crystals for `make rebuild-small`.

    python scripts/sample_small.py --to DIR [--crystals 1500] [--seed 0]

Nothing but the package is needed, so the whole chain of tables and weights can be tried, and is tested, without
the public files. What is written has their names and columns, with checksums in `data_sources.json` beside it:

- `crystals.parquet`: two thirds crystals with computed moduli, one third others, none of more than 20 sites.
  Structures are decoded genes (1e-4 Å); formation energies are exact where moduli are known, otherwise the energy
  above hull on top of the hull. Band gaps of crystals without moduli are missing; `geometry` and `energy_source`
  say `derived`.
- `reference_only.parquet`: crystals of the table that are held out as reference, without labels but energies.
- `convex_hull.parquet`: the phases on the hull, and formulas of known phases without their energies.
- `mp2020_elemental_references.json.gz`: the reference energies, to 0.1 meV.
- `alexandria_eos.parquet`: a stand-in. Known crystals of up to six sites whose formulas are in none of the tables
  above play the part of new ones; there are no equations of state, so bulk moduli are missing.
- `oqmd_formulas.parquet`: some formulas of the table of computed ones.
- `synthesis_solid_state.json.xz`, `synthesis_sol_gel.json.xz`: some recipes of the table, without times and gases.
- `vickers_hardness.csv`: the measurements that can be read back from the trained hardness (two in three).

The sample depends on the package's tables and the seed alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from invdesign import tables
from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode, primitive_sites
from invdesign.elements import symbol
from invdesign.potentials.energy_scale import EnergyScale
from invdesign.properties import PREDICTED
from invdesign.reference.formulas import load_computed
from invdesign.reference.known import KnownCrystals
from invdesign.reference.local import FORMULA_TABLE, HULL_TABLE, load_hull
from invdesign.surrogates.explain.nearest import load_labelled
from invdesign.surrogates.hardness import load_hardness
from invdesign.synthesis.formulas import parse_formula
from invdesign.synthesis.published import load_recipes
from invdesign.synthesis.recipe import Recipe
from invdesign.training.rebuild import SOURCES, digest, run

SITES, NEAR_HULL = 20, 0.3
"""Largest cell and highest energy above hull (eV/atom) of the sample."""
STAND_IN_SITES, STAND_INS = 6, 400
HELD_OUT, FORMULAS = 100, 500
"""Crystals and formulas of the other tables."""
COLUMNS = {"bulk_modulus": "bulk_modulus_vrh", "shear_modulus": "shear_modulus_vrh", "band_gap": "band_gap"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="folder to write to")
    parser.add_argument("--crystals", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tables.use(tables.SHIPPED)
    given.to.mkdir(parents=True, exist_ok=True)
    known = KnownCrystals.load()
    rows, others = chosen(known, given.crystals, np.random.default_rng(given.seed))
    crystals = crystal_table(known, rows)
    crystals.to_parquet(given.to / "crystals.parquet", index=False)
    held_out(known).to_parquet(given.to / "reference_only.parquet", index=False)
    phase_table().to_parquet(given.to / "convex_hull.parquet", index=False)
    write_references(given.to / "mp2020_elemental_references.json.gz")
    stand_ins(known, others).to_parquet(given.to / "alexandria_eos.parquet", index=False)
    hardness_table().to_csv(given.to / "vickers_hardness.csv", index=False)
    write_formulas(given.to)
    write_sources(given.to, given.seed)
    print(f"{given.to}: {len(crystals):,} crystals, {crystals.bulk_modulus_vrh.notna().sum():,} with moduli")


def chosen(known: KnownCrystals, n: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Rows of the sample, and of the stand-ins for new crystals."""
    labelled = set(load_labelled().ids.tolist())
    listed = set(phase_table().formula)
    with_moduli, without, apart = [], [], []
    for row in rng.permutation(len(known)).tolist():
        crystal = known[row]
        above, sites = crystal.energy_above_hull, primitive_sites(crystal.gene)
        if crystal.held_out or above is None or not above <= NEAR_HULL or sites > SITES:
            continue
        if crystal.id in labelled:
            with_moduli.append(row)
        elif sites <= STAND_IN_SITES and crystal.formula not in listed and len(apart) < STAND_INS:
            apart.append(row)
        else:
            without.append(row)
    elements = [row for row in with_moduli if len(set(known[row].gene.numbers)) == 1]
    compounds = [row for row in with_moduli if len(set(known[row].gene.numbers)) > 1]
    first = (elements + compounds)[: 2 * n // 3]
    mine = {known[row].formula for row in first}
    apart = [row for row in apart if known[row].formula not in mine]
    taken = {known[row].formula for row in apart}
    rest = [row for row in without if known[row].formula not in taken]
    return sorted(first + rest[: n - len(first)]), sorted(apart)


def crystal_table(known: KnownCrystals, rows: list[int]) -> pd.DataFrame:
    """The columns of `crystals.parquet`."""
    table = load_labelled()
    labels = dict(zip(table.ids.tolist(), table.labels, strict=True))
    found = []
    for row, crystal in zip(rows, decode([known[row].gene for row in rows]), strict=True):
        entry = known[row]
        values = labels.get(entry.id, np.full(len(PREDICTED), np.nan))
        found.append(
            {
                "material_id": entry.id,
                "formula": entry.formula,
                "space_group": entry.gene.space_group,
                "n_sites": crystal.n_sites,
                **cell(crystal),
                "atomic_numbers": crystal.numbers,
                "frac_coords": crystal.frac_coords.ravel(),
                "geometry": "derived",
                "formation_energy_per_atom": formation_energy(crystal.numbers, entry.energy_above_hull, values),
                "energy_above_hull": entry.energy_above_hull,
                "energy_source": "derived",
                "mp2024_energy_above_hull": entry.mp2024_energy_above_hull,
                **{column: float(values[PREDICTED.index(name)]) for name, column in COLUMNS.items()},
                "experimental": entry.experimental,
                "chemical_system": chemical_system(entry.gene.numbers),
            }
        )
    return pd.DataFrame(found)


def held_out(known: KnownCrystals) -> pd.DataFrame:
    """The columns of `reference_only.parquet`: the first small crystals of the table that are held out."""
    rows = [row for row in range(len(known)) if known[row].held_out and primitive_sites(known[row].gene) <= SITES]
    labels = ["mp2024_energy_above_hull", *COLUMNS.values()]
    columns = [name for name in crystal_table(known, [0]).columns if name not in labels]
    return crystal_table(known, rows[:HELD_OUT]).reindex(columns=columns)


def write_formulas(folder: Path) -> None:
    """Formulas computed elsewhere, and recipes for formulas that have been made."""
    computed = pd.DataFrame({"reduced_formula": load_computed()[:FORMULAS]})
    computed.to_parquet(folder / "oqmd_formulas.parquet", index=False)
    for name, method in (("solid_state", "solid-state"), ("sol_gel", "sol-gel")):
        rows = [recipe for recipe in load_recipes().rows if recipe.method == method][:FORMULAS]
        text = json.dumps({"reactions": [entry_of(recipe) for recipe in rows]}).encode()
        (folder / f"synthesis_{name}.json.xz").write_bytes(lzma.compress(text))


def entry_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the published files hold one, as far as it is read."""
    stated = [] if recipe.temperature is None else [{"units": "C", "values": [recipe.temperature]}]
    fired = {"type": "HeatingOperation", "token": "fired", "conditions": {"heating_temperature": stated}}
    return {
        "targets_string": [recipe.target],
        "doi": recipe.source,
        "target": {"composition": [], "additives": []},
        "precursors": [
            {
                "material_formula": name,
                "composition": [{"formula": name, "amount": "1", "elements": parse_formula(name)}],
            }
            for name in recipe.precursors
        ],
        "operations": [fired],
    }


def cell(crystal: Crystal) -> dict[str, Any]:
    """Lattice parameters, Å and degrees."""
    from pymatgen.core import Lattice

    return {"lattice_parameters": np.array(Lattice(crystal.lattice).parameters)}


def formation_energy(numbers: Any, above: float | None, values: np.ndarray) -> float:
    """The known formation energy (eV/atom), or that of the hull with the energy above it."""
    label = float(values[PREDICTED.index("formation_energy")])
    if np.isfinite(label):
        return label
    mixture = load_hull().mixture(numbers)
    return float("nan") if mixture is None or above is None else round(mixture.energy + above, 6)


def phase_table() -> pd.DataFrame:
    """The columns of `convex_hull.parquet`."""
    hull = pq.read_table(tables.path_of(HULL_TABLE)).to_pydict()
    formulas = pq.read_table(tables.path_of(FORMULA_TABLE)).to_pydict()["formula"]
    on_hull = pd.DataFrame({"formula": hull["formula"], "formation_energy_per_atom": hull["formation_energy"]})
    listed = set(hull["formula"])
    missing = [formula for formula in formulas if formula not in listed]
    others = pd.DataFrame({"formula": missing, "formation_energy_per_atom": np.full(len(missing), np.nan)})
    return pd.concat([on_hull.assign(on_hull=True), others.assign(on_hull=False)], ignore_index=True)


def write_references(path: Path) -> None:
    """The elemental reference entries, one atom each."""
    energies = EnergyScale.load("mp2020").elements
    entries = {name: {"energy": energy, "composition": {name: 1.0}} for name, energy in energies.items()}
    path.write_bytes(gzip.compress(json.dumps(entries).encode(), mtime=0))


def stand_ins(known: KnownCrystals, rows: list[int]) -> pd.DataFrame:
    """The columns of `alexandria_eos.parquet` that are read, with known crystals in the place of new ones."""
    scale = EnergyScale.load("mp2020")
    found = []
    for row, crystal in zip(rows, decode([known[row].gene for row in rows]), strict=True):
        entry = known[row]
        wanted = formation_energy(crystal.numbers, entry.energy_above_hull, np.full(len(PREDICTED), np.nan))
        energy = wanted - scale.formation_energy(crystal, 0.0).mean
        a, b, c, alpha, beta, gamma = cell(crystal)["lattice_parameters"].tolist()
        found.append(
            {
                "material_id": f"stand-in-{entry.id}",
                "nsites": crystal.n_sites,
                "E_P000": energy * crystal.n_sites,
                "formula": entry.formula,
                "spg": entry.gene.space_group,
                **{"a": a, "b": b, "c": c, "alpha": alpha, "beta": beta, "gamma": gamma},
                "species": [symbol(int(z)) for z in crystal.numbers],
                "frac": crystal.frac_coords.tolist(),
                "K0_BM3_derived": np.nan,
                "rms_fit_GPa": np.nan,
            }
        )
    return pd.DataFrame(found)


def hardness_table() -> pd.DataFrame:
    """Measured hardnesses that the training points of the shipped model give back: composition, GPa, N."""
    process = load_hardness().process
    points = process.points * process.scale + process.centre
    read = np.abs(process.points) < 5.999  # further out they were cut
    shares = np.where(read[:, :103], points[:, :103], 0.0)
    shares[shares < 1e-4] = 0.0
    load, start = 10.0 ** points[:, -1], points[:, -2]
    hardness = 10.0 ** (process.targets * process.label_scale[1] + process.label_scale[0] + start)
    whole = (np.abs(shares.sum(axis=1) - 1.0) < 1e-3) & read[:, -1] & read[:, -2]
    measured = whole & (np.abs(load - 9.81) > 1e-2)  # the load that values from handbooks were given
    rows = [
        ("".join(f"{symbol(z + 1)}{shares[i, z]:.4f}" for z in np.flatnonzero(shares[i])), hardness[i], load[i])
        for i in np.flatnonzero(measured)
    ]
    return pd.DataFrame(rows, columns=["composition", "hardness", "load"]).round({"hardness": 3, "load": 4})


def write_sources(folder: Path, seed: int) -> None:
    """The checksums that the scripts compare with."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SOURCES)
    origin = f"derived from the tables of the package by scripts/sample_small.py, seed {seed}"
    found = {name: {"origin": origin, "sha256": digest(folder / name)} for name in names}
    (folder / SOURCES).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run(main)
