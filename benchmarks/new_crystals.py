"""The surrogates on crystals of other databases, of chemical systems that their training data do not hold at all.

Run: python benchmarks/new_crystals.py --data DIR --out FILE.json [--crystals 450] [--seed 0]

DIR holds `crystals.parquet` (where the training data come from), `alexandria_eos.parquet` and `m2ax_elastic.csv`.

*Alexandria*: crystals of up to six sites whose chemical system has no crystal in `crystals.parquet`, drawn at
random from the systems that `invdesign.data.split` holds out for tests: intervals of energies were calibrated on
others. K is that of a third-order Birch-Murnaghan fit from 0 to 150 GPa, of fits within 0.2 GPa and, apart, of all
fits within 2 GPa: softer crystals change on that way, and one equation does not follow them. The formation energy
is Alexandria's PBE energy on the scale of the Materials Project, the energy above hull follows from it. What the
two ways to K differ by is measured on crystals that both databases hold (same formula and space group): no
surrogate can be nearer than that.

*Polymorphs*: the same of crystals whose formula `crystals.parquet` has, but not in their space group.

*MAX phases*: carbides and nitrides by PW91 stress-strain calculations, those whose chemical system has no modulus
in `crystals.parquet`. Cells are made from a, c and the height of the metal above the plane of X.

The surrogates see the geometry of the other database, no relaxation. About five minutes of two cores.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign.benchmarking.run import write_record
from invdesign.build import reference
from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import lattices_from_parameters
from invdesign.data.alexandria import BELIEVED, LEAST, MOST, crystals_of, formation_energies, read_alexandria
from invdesign.data.split import by_chemical_system
from invdesign.elements import atomic_number
from invdesign.records import Estimate, Value
from invdesign.surrogates import load_gate, load_relaxed
from invdesign.surrogates.fitting.assess import figures

EXACT = 0.2
"""Largest deviation of a fit that follows the crystal, GPa."""
Truth = dict[str, np.ndarray]
MODULI = ("bulk_modulus", "shear_modulus")
TABLES = (
    "surrogate_gate.safetensors",
    "surrogate_relaxed.safetensors",
    "hull.parquet",
    "energy_scale_mp2020.json",
    "energy_scale_sevennet-l3i5.json",
)
KEPT = (
    "n",
    "mae",
    "coverage_90",
    "miscalibration_area",
    "baseline_mae",
    "stiff_n",
    "stiff_spearman",
    "stiff_bias_gpa",
)


def alexandria(
    folder: Path, known: pd.DataFrame, n: int, seed: int, polymorphs: bool = False
) -> tuple[list[Crystal], Truth]:
    """Crystals of unknown chemical systems, or of known formulas in other groups, and what is known of them."""
    table = read_alexandria(folder / "alexandria_eos.parquet").dropna(subset=["bulk_modulus"])
    if polymorphs:
        phases = set(zip(known.formula, known.space_group, strict=True))
        new = np.array([phase not in phases for phase in zip(table.formula, table.spg, strict=True)])
        table = table[table.formula.isin(set(known.formula)) & new]
    else:
        table = table[~table.chemical_system.isin(set(known.chemical_system))]
    table = table[by_chemical_system(table.chemical_system, seed=0) == "test"]
    table = table.sample(min(n, len(table)), random_state=seed)
    crystals, distance = crystals_of(table), reference().energy_above_hull
    energies = formation_energies(table, crystals)
    hull = [distance(c, Value(float(e), 0.0)) for c, e in zip(crystals, energies, strict=True)]
    modulus = table.bulk_modulus.to_numpy()
    return crystals, {
        "bulk_modulus": np.where(table.rms_fit_GPa < EXACT, modulus, np.nan),
        "bulk_modulus, any fit": modulus,
        "formation_energy": energies,
        "energy_above_hull": np.array([np.nan if h is None else max(h.mean, 0.0) for h in hull]),
    }


def databases(folder: Path, known: pd.DataFrame, believed: float) -> dict[str, float]:
    """How bulk moduli of both databases differ, log10, where both know a formula in a space group."""
    table = read_alexandria(folder / "alexandria_eos.parquet", believed).dropna(subset=["bulk_modulus"])
    sound = known[known.bulk_modulus_vrh.between(LEAST, MOST)]
    both = table.merge(sound, left_on=["formula", "spg"], right_on=["formula", "space_group"])
    apart = np.log10(both.bulk_modulus) - np.log10(both.bulk_modulus_vrh)
    found = {"mae": apart.abs().mean(), "median": apart.abs().median(), "bias": apart.mean()}
    return {"crystals": len(both)} | {key: float(value) for key, value in found.items()}


def max_phases(folder: Path, known: pd.DataFrame) -> tuple[list[Crystal], Truth]:
    """M2AX crystals of chemical systems without a modulus in the training data, and their moduli."""
    table = pd.read_csv(folder / "m2ax_elastic.csv")
    seen = set(known.dropna(subset=["bulk_modulus_vrh"]).chemical_system)
    crystals, rows = [], []
    for i, row in table.iterrows():
        metal, a_element, x = re.fullmatch(r"([A-Z][a-z]?)2([A-Z][a-z]?)([CN])", row.M2AXphase).groups()
        numbers = [atomic_number(s) for s in (*[metal] * 4, a_element, a_element, x, x)]
        if chemical_system(numbers) in seen:
            continue
        z = row.dMX / row.c
        third = [[1 / 3, 2 / 3], [2 / 3, 1 / 3]]
        metals = [[*third[0], z], [*third[1], z + 0.5], [*third[1], -z], [*third[0], 0.5 - z]]
        coords = [*metals, [*third[0], 0.75], [*third[1], 0.25], [0, 0, 0], [0, 0, 0.5]]
        lattice = lattices_from_parameters(np.array([[row.a, row.a, row.c, 90.0, 90.0, 120.0]]))[0]
        crystals.append(Crystal(lattice, np.array(numbers), np.array(coords)))
        rows.append(i)
    chosen = table.loc[rows]
    return crystals, {"bulk_modulus": chosen.B.to_numpy(float), "shear_modulus": chosen.G.to_numpy(float)}


def judged(estimates: Sequence[Estimate], truth: Truth) -> dict[str, Any]:
    """Figures of each property; errors of moduli in log10."""
    out: dict[str, Any] = {"out_of_distribution": float(np.mean([e.out_of_distribution for e in estimates]))}
    for title, values in truth.items():
        name = title.split(",")[0]
        out[title] = {k: v for k, v in figures(name, estimates, values).items() if k in KEPT}
        mean = np.array([e.values[name].mean if name in e.values else np.nan for e in estimates])
        wrong = np.log10(mean / values) if name in MODULI else mean - values
        out[title] |= {"bias": float(np.nanmean(wrong)), "median": float(np.nanmedian(np.abs(wrong)))}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crystals", type=int, default=450)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    known = pd.read_parquet(args.data / "crystals.parquet")
    apart = {title: databases(args.data, known, limit) for title, limit in (("exact", EXACT), ("any", BELIEVED))}
    record: dict[str, Any] = {"between databases, by fit": apart}
    print(apart, flush=True)
    new = alexandria(args.data, known, args.crystals, args.seed)
    polymorphs = alexandria(args.data, known, args.crystals, args.seed, polymorphs=True)
    relaxed = load_relaxed()
    plain = replace(relaxed, model=replace(relaxed.model, new_phase=None))
    stages = {"gate": load_gate(), "relaxed": relaxed, "relaxed, spreads as of known phases": plain}
    sets = {"alexandria": new, "polymorphs": polymorphs, "max_phases": max_phases(args.data, known)}
    for title, (crystals, truth) in sets.items():
        for stage, model in stages.items():
            record[f"{title}, {stage}"] = judged(model.predict(crystals), truth)
            print(title, stage, json.dumps(record[f"{title}, {stage}"]), flush=True)
            write_record(args.out, record, args.seed, TABLES)


if __name__ == "__main__":
    main()
