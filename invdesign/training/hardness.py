"""Training of the hardness at a load: measured and handbook hardnesses, and errors on unseen chemical systems.

Elemental solids and a few ionic crystals come from handbooks, their load taken as 9.81 N. Other moduli are the
screening surrogate's, of the crystal of the formula that lies lowest above the hull; compositions without a
crystal, most of them solid solutions, get those of a Gaussian process over the compositions of crystals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.mechanics import formulas
from invdesign.mechanics.bonding import bonding_class
from invdesign.surrogates import hardness
from invdesign.surrogates.calibrate import fit_calibration
from invdesign.surrogates.custom.process import fit_process
from invdesign.surrogates.custom.regression import FOLDS, folds_of

if TYPE_CHECKING:
    import pandas as pd

FORMULAS: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "Chen": lambda K, G: np.maximum(formulas.chen_hardness(K, G), 0.3),
    "Tian": formulas.tian_hardness,
    "Teter": lambda K, G: formulas.teter_hardness(G),
    "Mazhnik-Oganov": formulas.mazhnik_oganov_hardness,
}
"""Formulas by name: hardness (GPa) from bulk and shear modulus (GPa)."""
BY_CLASS, MODEL = "Mazhnik-Oganov, by class", "this model"
HANDBOOK_IONIC = (("MgO", 163, 131, 6.0), ("SrTiO3", 174, 117, 6.5), ("CaF2", 86, 42, 1.8), ("NaCl", 25, 15, 0.25))
"""Formula, measured K and G (GPa), Vickers hardness (GPa)."""
HANDBOOK_LOAD = 9.81
"""Load that values from handbooks are taken to be of, N."""
COMPOSITIONS = 2500
"""Crystals that the moduli of compositions are learned from."""
GROUPS = ("crystal", "no crystal", "handbook")


def measured(folder: Path) -> pd.DataFrame:
    """One row per hardness: formula, system, atomic fractions, load (N), hardness (GPa), K, G (GPa), group.

    Args:
        folder: holds `vickers_hardness.csv` and `crystals.parquet`.
    """
    import pandas as pd

    crystals = pd.read_parquet(folder / "crystals.parquet").dropna(subset=["energy_above_hull"])
    crystals = crystals.sort_values("energy_above_hull", kind="stable")
    with_moduli = crystals.dropna(subset=["bulk_modulus_vrh", "shear_modulus_vrh"]).drop_duplicates("formula")
    rows = pd.read_csv(folder / "vickers_hardness.csv").rename(columns={"composition": "text"})
    books = pd.concat([elements(with_moduli), ionic()], ignore_index=True)
    books = books.rename(columns={"formula": "text", "bulk_modulus_vrh": "K", "shear_modulus_vrh": "G"})
    books = books[["text", "hardness", "K", "G"]].assign(load=HANDBOOK_LOAD, group="handbook")
    rows = pd.concat([rows.assign(group="measured"), books], ignore_index=True)
    rows["formula"] = [reduced(text) for text in rows.text]
    shares, rows["system"] = fractions_of(rows.text)
    found = moduli_of_formulas(crystals[crystals.formula.isin(rows.formula)].drop_duplicates("formula"))
    rows = rows.merge(found, on="formula", how="left", suffixes=("_book", ""))
    rows["K"], rows["G"] = rows.K_book.fillna(rows.K), rows.G_book.fillna(rows.G)
    known = rows.K.notna()
    rows.loc[known & (rows.group == "measured"), "group"] = "crystal"
    rows.loc[~known & (rows.group == "measured"), "group"] = "no crystal"
    rows.loc[~known, ["K", "G"]] = moduli_of_compositions(with_moduli, shares[~known])
    return rows.assign(shares=list(shares))


def reduced(text: str) -> str | None:
    """The reduced formula of a composition as written; None of what is none."""
    from pymatgen.core import Composition

    try:
        return str(Composition(text).reduced_formula)
    except (ValueError, KeyError):
        return None


def fractions_of(texts: pd.Series) -> tuple[FloatArray, list[str]]:
    """(n, 103) atomic fractions of compositions as written, and their chemical systems."""
    from pymatgen.core import Composition

    compositions = [Composition(text).fractional_composition for text in texts]
    shares = np.zeros((len(compositions), 103))
    for i, composition in enumerate(compositions):
        for element, share in composition.items():
            shares[i, element.Z - 1] = share
    return shares, ["-".join(sorted(e.symbol for e in c)) for c in compositions]


def elements(crystals: pd.DataFrame) -> pd.DataFrame:
    """Elemental solids: measured hardness as in pymatgen's periodic table (from handbooks), moduli computed."""
    from pymatgen.core import Element

    known = []
    for index, numbers in crystals.atomic_numbers.items():
        if len(set(numbers)) == 1:
            value = Element.from_Z(int(numbers[0])).vickers_hardness
            if value is not None and np.isfinite(float(value)):
                known.append((index, float(value) / 1e3))
    return crystals.loc[[index for index, _ in known]].assign(hardness=[value for _, value in known])


def ionic() -> pd.DataFrame:
    """The ionic crystals from handbooks, with the columns of the others."""
    import pandas as pd
    from pymatgen.core import Composition

    rows = []
    for formula, K, G, value in HANDBOOK_IONIC:
        amounts = Composition(formula).items()
        numbers = [element.Z for element, n in amounts for _ in range(int(n))]
        rows.append((formula, 0.0, K, G, np.nan, numbers, value))
    columns = "formula energy_above_hull bulk_modulus_vrh shear_modulus_vrh band_gap atomic_numbers hardness"
    return pd.DataFrame(rows, columns=columns.split())


def moduli_of_formulas(crystals: pd.DataFrame) -> pd.DataFrame:
    """Formula, the screening surrogate's K, G and band gap of one crystal each."""
    import pandas as pd

    from invdesign.crystallography.genes import decode
    from invdesign.surrogates import load_gate
    from invdesign.surrogates.inputs.dataset import encode_rows

    genes = encode_rows(crystals)
    rows = [i for i, gene in enumerate(genes) if gene is not None]
    estimates = load_gate().predict(decode([g for g in genes if g is not None]))
    found = [
        (crystals.formula.iloc[i], *(e.values[n].mean for n in ("bulk_modulus", "shear_modulus", "band_gap")))
        for i, e in zip(rows, estimates, strict=True)
        if not e.failure
    ]
    return pd.DataFrame(found, columns=["formula", "K", "G", "gap"])


def moduli_of_compositions(crystals: pd.DataFrame, shares: FloatArray) -> FloatArray:
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


def inputs(table: pd.DataFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Columns of the process, its labels, and the formula that they are relative to (log10 GPa)."""
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


def judged(table: pd.DataFrame, seeds: int) -> tuple[dict[str, Any], FloatArray]:
    """Errors by group of rows and method, and (2, n) mean and spread of each row left out, of the first seed.

    Each row is predicted by a process that has seen none of its chemical system, while the factors of bonding
    classes that formulas are multiplied by were fitted to these data.
    """
    columns, labels, start = inputs(table)
    truth = labels + start
    K, G = table.K.to_numpy(float), table.G.to_numpy(float)
    answers = {name: np.log10(np.maximum(f(K, G), hardness.SOFTEST)) for name, f in FORMULAS.items()}
    answers[BY_CLASS] = start
    inside, trials = np.zeros(len(table)), np.zeros((seeds, 2, len(table)))
    for seed in range(seeds):
        trials[seed], fold = left_out(columns, labels, table.system.to_numpy(), seed)
        inside += covered(trials[seed], fold, labels, start) / seeds
    answers[MODEL] = trials[0, 0] + start
    figures: dict[str, Any] = {"rows": len(table), "formulas": int(table.formula.nunique()), "groups": {}}
    for group in GROUPS:
        mask = (table.group == group).to_numpy()
        errors = {n: np.abs(a - truth)[mask] for n, a in answers.items()}
        errors[MODEL] = np.abs(trials[:, 0] + start - truth).mean(axis=0)[mask]
        figures["groups"][group] = {
            "rows": int(mask.sum()),
            "systems": int(table.system[mask].nunique()),
            "error log10": {n: float(e.mean()) for n, e in errors.items()},
            "error GPa": {n: float(np.abs(10**a - 10**truth)[mask].mean()) for n, a in answers.items()},
            "coverage": float(inside[mask].mean()),
            "gain": gain(errors[BY_CLASS] - errors[MODEL], table.system[mask].to_numpy()),
        }
    return figures, trials[0]


def left_out(columns: FloatArray, labels: FloatArray, systems: Any, seed: int) -> tuple[FloatArray, Any]:
    """(2, n) mean and spread of each row by a process without its chemical system, and (n,) its fold."""
    fold = folds_of(systems, np.arange(len(labels)), seed)
    out = np.zeros((2, len(labels)))
    for k in range(FOLDS):
        process = fit_process(columns[fold != k], labels[fold != k], hardness.blocks(), seed)
        out[:, fold == k] = process.predict(columns[fold == k])
    return out, fold


def covered(out: FloatArray, fold: Any, labels: FloatArray, start: FloatArray) -> FloatArray:
    """(n,) whether the 90 % interval, calibrated on the other folds, holds the label."""
    zeros, inside = np.zeros(len(labels)), np.zeros(len(labels))
    for k in range(FOLDS):
        mine, rest = fold == k, fold != k
        fitted = fit_calibration(out[0, rest] + start[rest], out[1, rest], zeros[rest], (labels + start)[rest])
        low, high = fitted.interval(out[0, mine] + start[mine], out[1, mine], zeros[mine])
        truth = (labels + start)[mine]
        inside[mine] = (truth >= low) & (truth <= high)
    return inside


def gain(less: FloatArray, systems: Any) -> dict[str, float]:
    """Mean reduction of the error in log10, and its standard error, chemical systems resampled."""
    names, which = np.unique(systems, return_inverse=True)
    sums, counts = np.bincount(which, weights=less), np.bincount(which)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(len(names), size=len(names)) for _ in range(2000)]
    means = [sums[d].sum() / counts[d].sum() for d in drawn]
    return {"mean": float(less.mean()), "standard error": float(np.std(means))}


def trained(table: pd.DataFrame, out: FloatArray, figures: dict[str, Any]) -> hardness.Hardness:
    """The model on all rows, its intervals from rows left out (`out` of `judged`)."""
    columns, labels, start = inputs(table)
    process = fit_process(columns, labels, hardness.blocks())
    calibration = fit_calibration(out[0] + start, out[1], np.zeros(len(start)), labels + start)
    return hardness.Hardness(process, calibration, figures)


def markdown(figures: dict[str, Any]) -> str:
    """Mean absolute errors, log10 / GPa, by method and group of rows; coverage of the model's intervals."""
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
