"""Fit the energy scale of a potential on known crystals and write `invdesign/tables/energy_scale_<name>.json`.

    python scripts/fit_energy_scale.py --data DIR --potential sevennet-0

DIR holds `crystals.parquet` and `mp2020_elemental_references.json.gz`. The crystals are chosen so that every
element is seen; the chemical systems that `invdesign.data.split` holds out for tests are not touched, so that
`benchmarks/potentials.py` can measure on them. Energies are computed at the known geometry and kept in a cache.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import nnls

from invdesign import potentials
from invdesign.crystal import Crystal, FloatArray
from invdesign.data.split import by_chemical_system
from invdesign.elements import SYMBOLS
from invdesign.energy import TERMS, EnergyScale, design_row
from invdesign.progress import shown
from invdesign.represent.genes import lattices_from_parameters
from invdesign.workers import Lost, Workers

MP2020 = {
    "H anion": -0.179, "N anion": -0.361, "O anion": -0.687, "F anion": -0.462, "Si anion": 0.071,
    "S anion": -0.503,    "Cl anion": -0.614, "Se anion": -0.472, "Br anion": -0.534, "Sb anion": -0.192, "Te anion": -0.422,
    "I anion": -0.379, "O peroxide": -0.465, "O superoxide": -0.161, "V +U": -1.7, "Cr +U": -1.999, 
    "Mn +U": -1.668,    "Fe +U": -2.256, "Co +U": -1.638, "Ni +U": -2.541, "Mo +U": -3.202, "W +U": -4.438,
}  # fmt: skip
"""The published MP2020 corrections, eV per atom: what the terms are shrunk to where data are few."""
ELEMENT_PRIOR, TERM_PRIOR = 0.1, 0.1
"""How far an element's or a term's coefficient is expected to lie from its prior, eV."""
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--potential", default=potentials.DEFAULT)
    parser.add_argument("--n", type=int, default=3000, help="crystals to fit on")
    parser.add_argument("--corrected", action="store_true", help="its energies contain the MP2020 corrections")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="CSV of energies already computed; extended")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = choose(read(given.data), given.n)
    crystals = [crystal_of(row) for row in rows.to_dict("records")]
    energies = compute(crystals, given.potential, given.workers, given.cache)
    scale = fit(
        crystals,
        energies,
        rows.formation_energy_per_atom.to_numpy(),
        rows.chemical_system.tolist(),
        references(given.data),
        potentials.find(given.potential).version,
        given.corrected or given.potential == "chgnet",
    )
    name = given.potential.replace(":", "_")
    out = given.out or Path(__file__).parent.parent / "invdesign" / "tables" / f"energy_scale_{name}.json"
    scale.save(out)
    print(json.dumps(dict(scale.notes), indent=1))


def read(data: Path) -> pd.DataFrame:
    """The crystals that may be fitted on: up to 20 sites, near the hull, no test system."""
    table = pd.read_parquet(data / "crystals.parquet")
    usable = (table.n_sites <= 20) & table.formation_energy_per_atom.notna() & (table.energy_above_hull <= 0.2)
    usable &= by_chemical_system(table.chemical_system, seed=0) == "train"
    return table[usable]


def choose(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Pick n crystals such that each element occurs about equally often, the best labels and small cells first.

    An element's crystals are visited in turn, rarest element first, until n are picked.
    """
    rng = np.random.default_rng(0)
    worse = (table.geometry != "pbe") * 1.0 + (table.energy_source != "mp2020") * 1.0
    table = table.assign(order=worse + (table.n_sites > 12) * 1.0 + rng.random(len(table))).sort_values("order")
    queues: dict[int, list[Any]] = {}
    for index, numbers in zip(table.index, table.atomic_numbers, strict=True):
        for z in set(numbers.tolist()):
            queues.setdefault(z, []).append(index)
    elements = sorted(queues, key=lambda z: (len(queues[z]), z))
    picked: dict[Any, None] = {}
    depth = 0
    while len(picked) < min(n, len(table)):
        for z in elements:
            if depth < len(queues[z]) and len(picked) < n:
                picked.setdefault(queues[z][depth])
        depth += 1
    return table.loc[list(picked)]


def crystal_of(row: dict[str, Any]) -> Crystal:
    """The crystal of a row of `crystals.parquet`."""
    lattice = lattices_from_parameters(np.asarray(row["lattice_parameters"], dtype=float)[None])[0]
    return Crystal(lattice, row["atomic_numbers"], row["frac_coords"].reshape(-1, 3), source=row["material_id"])


def references(data: Path) -> dict[str, float]:
    """Energy per atom of each element in its reference state, without corrections."""
    with gzip.open(data / "mp2020_elemental_references.json.gz", "rt") as stream:
        entries = json.load(stream)
    return {name: entry["energy"] / sum(entry["composition"].values()) for name, entry in entries.items()}


def compute(crystals: list[Crystal], potential: str, workers: int, cache: Path | None) -> FloatArray:
    """Energies per atom, NaN where the potential fails; those in the cache are not computed again."""
    known: dict[str, float] = {}
    if cache and cache.exists():
        known = pd.read_csv(cache, index_col=0)["energy"].to_dict()
    todo = [c for c in crystals if c.source not in known]
    pool = Workers("invdesign.potentials:energy_function", potential, workers)
    try:
        with shown() as progress:
            for done, (index, answer) in enumerate(pool.imap(todo), start=1):
                known[todo[index].source] = np.nan if isinstance(answer, Lost) else answer
                progress(f"energies with {potential}", done, len(todo))
                if cache and (done % 200 == 0 or done == len(todo)):
                    pd.DataFrame({"energy": known}).to_csv(cache)
    finally:
        pool.close()
    return np.array([known[c.source] for c in crystals])


def fit(
    crystals: list[Crystal],
    energies: FloatArray,
    formation: FloatArray,
    systems: list[str],
    reference: dict[str, float],
    version: str,
    corrected: bool,
) -> EnergyScale:
    """Robust Bayesian ridge around the reference energies and the MP2020 terms, with held-out errors."""
    elements = [name for name in SYMBOLS if name in reference]
    prior = np.array([*(reference[e] for e in elements), *(0.0 if corrected else MP2020[t] for t in TERMS)])
    width = np.array([ELEMENT_PRIOR] * len(elements) + [TERM_PRIOR] * len(TERMS))
    regressors = np.array([design_row(c, elements) for c in crystals])
    target = formation - energies - regressors @ prior
    keep = np.isfinite(target) & (np.abs(target) < 1.5)
    fold = np.array([hash_fold(s) for s in systems])
    residual = np.full(len(target), np.nan)
    for k in range(FOLDS):
        change, _ = ridge(regressors[keep & (fold != k)], target[keep & (fold != k)], width)
        residual[fold == k] = (target - regressors @ change)[fold == k]
    change, unsure = ridge(regressors[keep], target[keep], width)
    shares = -regressors[:, : len(elements)]
    floor, spread = spreads(shares[keep], residual[keep])
    error = residual[keep]
    std = np.sqrt(floor**2 + shares[keep] @ spread**2 + (shares[keep] ** 2) @ unsure[: len(elements)] ** 2)
    coefficients = prior + change
    return EnergyScale(
        potential=version,
        elements=rounded(elements, coefficients),
        terms=rounded(TERMS, coefficients[len(elements) :]),
        floor=round(floor, 4),
        spread=rounded(elements, spread),
        unsure=rounded(elements, unsure),
        interval=round(float(np.quantile(np.abs(error) / std, 0.9)), 3),
        notes={
            "fitted_on": int(keep.sum()),
            "left_out": [crystals[i].source for i in np.flatnonzero(~keep)],
            "mean_absolute_error_before": round(float(np.abs(target[keep]).mean()), 4),
            "mean_error_before": round(-float(target[keep].mean()), 4),
            "mean_absolute_error": round(float(np.abs(error).mean()), 4),
            "median_absolute_error": round(float(np.median(np.abs(error))), 4),
            "root_mean_square_error": round(float(np.sqrt((error**2).mean())), 4),
            "errors_are": f"of chemical systems left out, {FOLDS} folds",
            "crystals_per_element": {e: int((shares[keep, i] > 0).sum()) for i, e in enumerate(elements)},
        },
    )


def hash_fold(system: str) -> int:
    """Fold of a chemical system."""
    return int(sum(ord(letter) * (i + 7) ** 2 for i, letter in enumerate(system)) % FOLDS)


def ridge(regressors: FloatArray, target: FloatArray, width: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients and their standard deviations; Huber weights by iteration."""
    weight = np.ones(len(target))
    noise = 0.05
    for _ in range(20):
        gram = (regressors * weight[:, None]).T @ regressors / noise**2 + np.diag(1.0 / width**2)
        found = np.linalg.solve(gram, (regressors * weight[:, None]).T @ target / noise**2)
        error = np.abs(target - regressors @ found)
        noise = max(1e-3, 1.4826 * float(np.median(error)))
        weight = np.minimum(1.0, 2.0 * noise / np.maximum(error, 1e-9))
    return found, np.sqrt(np.diag(np.linalg.inv(gram)))


def spreads(shares: FloatArray, residual: FloatArray) -> tuple[float, FloatArray]:
    """Floor and per-element spread, non-negative, whose squares add up to the held-out squared errors."""
    cut = np.quantile(np.abs(residual), 0.98)
    square = np.minimum(np.abs(residual), cut) ** 2
    shrink = 2.0 * np.eye(shares.shape[1])
    mean = float(square.mean())
    left = np.vstack(
        [np.hstack([np.ones((len(shares), 1)), shares]), np.hstack([np.zeros((len(shrink), 1)), shrink])]
    )
    found, _ = nnls(left, np.concatenate([square, np.full(len(shrink), 2.0 * 0.7 * mean)]))
    return float(np.sqrt(max(found[0], 0.2 * mean))), np.sqrt(found[1:])


def rounded(names: Any, values: FloatArray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(names, values[: len(names)], strict=True)}


if __name__ == "__main__":
    main()
