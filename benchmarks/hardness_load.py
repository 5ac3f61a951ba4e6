"""Train the hardness at a load on measured ones, and judge it beside the formulas on unseen chemical systems.

    python benchmarks/hardness_load.py --data DIR [--seeds 2] [--out FILE.json] [--table FILE.safetensors]

DIR holds vickers_hardness.csv and crystals.parquet. Elemental solids and a few ionic crystals come from handbooks
(`benchmarks/hardness.py`, with their moduli), their load taken as 9.81 N. Other moduli are the gate's, of the
crystal of the formula that lies lowest above the hull; compositions without a crystal, most of them solid
solutions, get those of a process over the compositions of crystals. Each row is predicted by a process that has
seen none of its chemical system, while the factors of bonding classes that formulas are multiplied by were fitted
to these data.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hardness import FORMULAS, elements, ionic, reduced

from invdesign.mechanics.bonding import bonding_class
from invdesign.surrogates import hardness, load_gate
from invdesign.surrogates.calibrate import fit_calibration
from invdesign.surrogates.custom.process import fit_process
from invdesign.surrogates.custom.transfer import FOLDS, folds_of
from invdesign.surrogates.inputs.dataset import encode_rows

HANDBOOK_LOAD = 9.81
COMPOSITIONS = 2500
"""Crystals that the moduli of compositions are learned from."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the source data")
    parser.add_argument("--seeds", type=int, default=2, help="random foldings")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--table", type=Path, help="write the model, and its data sheet beside it")
    args = parser.parse_args()
    table = measured(args.data)
    figures, left_out = judged(table, args.seeds)
    print(markdown(figures))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")
    if args.table:
        model = trained(table, left_out, figures)
        model.save(args.table)
        args.table.with_suffix(".md").write_text(sheet(figures), encoding="utf-8")


def measured(folder: Path) -> pd.DataFrame:
    """One row per measurement: formula, system, atomic fractions, load (N), hardness (GPa), K, G (GPa), group."""
    from pymatgen.core import Composition

    crystals = pd.read_parquet(folder / "crystals.parquet").dropna(subset=["energy_above_hull"])
    crystals = crystals.sort_values("energy_above_hull", kind="stable")
    with_moduli = crystals.dropna(subset=["bulk_modulus_vrh", "shear_modulus_vrh"]).drop_duplicates("formula")
    rows = pd.read_csv(folder / "vickers_hardness.csv").rename(columns={"composition": "text"})
    books = pd.concat([elements(with_moduli), ionic()], ignore_index=True)
    books = books.rename(columns={"formula": "text", "bulk_modulus_vrh": "K", "shear_modulus_vrh": "G"})
    books = books[["text", "hardness", "K", "G"]].assign(load=HANDBOOK_LOAD, group="handbook")
    rows = pd.concat([rows.assign(group="measured"), books], ignore_index=True)
    rows["formula"] = [reduced(text) for text in rows.text]
    compositions = [Composition(text).fractional_composition for text in rows.text]
    rows["system"] = ["-".join(sorted(e.symbol for e in c)) for c in compositions]
    shares = np.zeros((len(rows), 103))
    for i, composition in enumerate(compositions):
        for element, share in composition.items():
            shares[i, element.Z - 1] = share
    found = moduli_of_formulas(crystals[crystals.formula.isin(rows.formula)].drop_duplicates("formula"))
    rows = rows.merge(found, on="formula", how="left", suffixes=("_book", ""))
    rows["K"], rows["G"] = rows.K_book.fillna(rows.K), rows.G_book.fillna(rows.G)
    known = rows.K.notna()
    rows.loc[known & (rows.group == "measured"), "group"] = "crystal"
    rows.loc[~known & (rows.group == "measured"), "group"] = "no crystal"
    guessed = moduli_of_compositions(with_moduli, shares[~known])
    rows.loc[~known, ["K", "G"]] = guessed
    return rows.assign(shares=list(shares))


def moduli_of_formulas(crystals: pd.DataFrame) -> pd.DataFrame:
    """Formula, the gate's K, G and band gap of one crystal each."""
    from invdesign.crystallography.genes import decode

    genes = encode_rows(crystals)
    rows = [i for i, gene in enumerate(genes) if gene is not None]
    estimates = load_gate().predict(decode([g for g in genes if g is not None]))
    found = [
        (crystals.formula.iloc[i], *(e.values[n].mean for n in ("bulk_modulus", "shear_modulus", "band_gap")))
        for i, e in zip(rows, estimates, strict=True)
        if not e.failure
    ]
    return pd.DataFrame(found, columns=["formula", "K", "G", "gap"])


def moduli_of_compositions(crystals: pd.DataFrame, shares: Any) -> Any:
    """(n, 2) K and G of atomic fractions, by a process over those of stable crystals of the same elements."""
    usable = crystals[
        (crystals.energy_above_hull < 0.1)
        & crystals.bulk_modulus_vrh.between(2, 600)
        & crystals.shear_modulus_vrh.between(1.001, 600)
    ]
    own = hardness.fractions([np.asarray(z) for z in usable.atomic_numbers])
    inside = np.flatnonzero((own[:, ~(shares > 0).any(axis=0)] == 0).all(axis=1))
    chosen = np.random.default_rng(0).permutation(inside)[:COMPOSITIONS]
    there = np.concatenate([own[chosen], hardness.statistics(own[chosen])], axis=1)
    here = np.concatenate([shares, hardness.statistics(shares)], axis=1)
    columns = []
    for name in ("bulk_modulus_vrh", "shear_modulus_vrh"):
        labels = np.log10(usable[name].to_numpy()[chosen])
        columns.append(10.0 ** fit_process(there, labels, hardness.blocks()[:2]).predict(here)[0])
    return np.stack(columns, axis=1)


def inputs(table: pd.DataFrame) -> tuple[Any, Any, Any]:
    """Columns of the process, its labels, and the formula that they are relative to."""
    shares = np.stack(table.shares.to_list())
    numbers = [np.repeat(np.arange(1, 104), np.round(1000 * s).astype(int)) for s in shares]
    gaps = [None if np.isnan(g) else float(g) for g in table.gap]
    kinds = [bonding_class(z, g) for z, g in zip(numbers, gaps, strict=True)]
    K, G = table.K.to_numpy(float), table.G.to_numpy(float)
    start = hardness.formula(K, G, kinds)
    return (
        hardness.columns(shares, K, G, start, table.load.to_numpy(float)),
        np.log10(table.hardness.to_numpy(float)) - start,
        start,
    )


def judged(table: pd.DataFrame, seeds: int) -> tuple[dict[str, Any], Any]:
    """Errors by group of rows and method, and (2, n) mean and spread of each row left out, of the first seed."""
    columns, labels, start = inputs(table)
    truth = labels + start
    K, G = table.K.to_numpy(float), table.G.to_numpy(float)
    answers = {name: np.log10(np.maximum(f(K, G), hardness.SOFTEST)) for name, f in FORMULAS.items()}
    answers["Mazhnik-Oganov, by class"] = start
    first, inside = None, np.zeros(len(table))
    trained = np.zeros((seeds, len(table)))
    for seed in range(seeds):
        out, fold = left_out(columns, labels, table.system.to_numpy(), seed)
        trained[seed] = out[0] + start
        inside += covered(out, fold, labels, start) / seeds
        first = out if first is None else first
    answers["this model"] = trained[0]
    groups = {
        "crystal": table.group == "crystal",
        "no crystal": table.group == "no crystal",
        "handbook": table.group == "handbook",
    }
    figures: dict[str, Any] = {"rows": len(table), "formulas": int(table.formula.nunique()), "groups": {}}
    for group, rows in groups.items():
        mask = rows.to_numpy()
        errors = {n: np.abs(a - truth)[mask] for n, a in answers.items()}
        errors["this model"] = np.abs(trained - truth).mean(axis=0)[mask]
        figures["groups"][group] = {
            "rows": int(mask.sum()),
            "systems": int(table.system[mask].nunique()),
            "error log10": {n: float(e.mean()) for n, e in errors.items()},
            "error GPa": {n: float(np.abs(10**a - 10**truth)[mask].mean()) for n, a in answers.items()},
            "coverage": float(inside[mask].mean()),
            "gain": gain(errors["Mazhnik-Oganov, by class"] - errors["this model"], table.system[mask].to_numpy()),
        }
    return figures, first


def left_out(columns: Any, labels: Any, systems: Any, seed: int) -> tuple[Any, Any]:
    """(2, n) mean and spread of each row by a process without its chemical system, and (n,) its fold."""
    fold = folds_of(systems, np.arange(len(labels)), seed)
    out = np.zeros((2, len(labels)))
    for k in range(FOLDS):
        process = fit_process(columns[fold != k], labels[fold != k], hardness.blocks(), seed)
        out[:, fold == k] = process.predict(columns[fold == k])
    return out, fold


def covered(out: Any, fold: Any, labels: Any, start: Any) -> Any:
    """(n,) whether the 90 % interval, calibrated on the other folds, holds the label."""
    zeros, inside = np.zeros(len(labels)), np.zeros(len(labels))
    for k in range(FOLDS):
        mine, rest = fold == k, fold != k
        fitted = fit_calibration(out[0, rest] + start[rest], out[1, rest], zeros[rest], (labels + start)[rest])
        low, high = fitted.interval(out[0, mine] + start[mine], out[1, mine], zeros[mine])
        truth = (labels + start)[mine]
        inside[mine] = (truth >= low) & (truth <= high)
    return inside


def gain(less: Any, systems: Any) -> dict[str, float]:
    """Mean reduction of the error in log10, and its standard error, chemical systems resampled."""
    names, which = np.unique(systems, return_inverse=True)
    sums, counts = np.bincount(which, weights=less), np.bincount(which)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(names), size=len(names)) for _ in range(2000)]
    means = [sums[d].sum() / counts[d].sum() for d in drawn]
    return {"mean": float(less.mean()), "standard error": float(np.std(means))}


def trained(table: pd.DataFrame, out: Any, figures: dict[str, Any]) -> hardness.Hardness:
    """The model on all rows, its intervals from rows left out."""
    columns, labels, start = inputs(table)
    process = fit_process(columns, labels, hardness.blocks())
    calibration = fit_calibration(out[0] + start, out[1], np.zeros(len(start)), labels + start)
    return hardness.Hardness(process, calibration, figures)


def markdown(figures: dict[str, Any]) -> str:
    groups = figures["groups"]
    names = list(next(iter(groups.values()))["error log10"])
    lines = ["| | " + " | ".join(f"{g} ({f['rows']} rows)" for g, f in groups.items()) + " |"]
    lines.append("| --- |" + " --- |" * len(groups))
    for name in names:
        cells = [f"{f['error log10'][name]:.3f} / {f['error GPa'][name]:.1f}" for f in groups.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    gains = [f"{f['gain']['mean']:+.3f} ± {f['gain']['standard error']:.3f}" for f in groups.values()]
    lines.append("| gain over the formula by class | " + " | ".join(gains) + " |")
    lines.append("| 90 % intervals hold | " + " | ".join(f"{f['coverage']:.0%}" for f in groups.values()) + " |")
    return "\n".join(lines)


def sheet(figures: dict[str, Any]) -> str:
    return f"""# hardness.safetensors

Vickers hardness at a load: a Gaussian process over atomic fractions, statistics of the elements, bulk and shear
modulus, the formula of Mazhnik and Oganov with the factor of the bonding class, and the load, of the logarithm of
measured over formula hardness. Read by `invdesign.surrogates.hardness`; made by `benchmarks/hardness_load.py`.

Data: {figures["rows"]} measured hardnesses of {figures["formulas"]} compositions, from Z. Zhang et al. (MIT
licence; loads from 0.0015 to 49 N), elemental solids as in pymatgen's table and four ionic crystals from handbooks
(load taken as 9.81 N). Moduli: the gate's for compositions of which the Materials Project has a crystal, otherwise
of a process over compositions.

Mean absolute error, log10 / GPa, chemical systems left out in five folds; *crystal*: a crystal of that formula is
known, *no crystal*: solid solutions and others, *handbook*: elements and ionic crystals.

{markdown(figures)}

Limits: seven in ten measurements are of borides or solid solutions of them; the gate was trained on some of the
crystals whose moduli it gives here. The sample may be another polymorph, textured, porous or off stoichiometry.
"""


if __name__ == "__main__":
    main()
