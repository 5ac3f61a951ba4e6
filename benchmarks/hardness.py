"""Hardness formulas and the hardness at a load against measured Vickers hardnesses.

    python benchmarks/hardness.py --data DIR [--seeds 2] [--out FILE.json]

DIR holds vickers_hardness.csv and crystals.parquet.

*hardness*, *reported*: formulas by bonding class. Measured compositions are joined with the elastic moduli of the
crystal of the same reduced formula that lies lowest above the hull, and each composition counts once, at its
largest load (hardness at small loads is too high). A few ionic crystals and the elemental metals come from
handbooks.

*at_load*: the model that `scripts/train_hardness.py` trains (`invdesign.training.hardness`), beside the formulas
with the screening surrogate's moduli, at all loads. Each row is predicted by a process that has seen none of its
chemical system, in random foldings.

*toughness*: formulas of fracture toughness against handbook values of ceramics.

Noise of the comparison itself: the measured sample may be another polymorph, textured, porous or off
stoichiometry. About five minutes of one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign.benchmarking.run import write_record
from invdesign.mechanics import bonding, formulas
from invdesign.training import hardness
from invdesign.training.hardness import FORMULAS, elements, ionic, reduced
from invdesign.uncertainty import Z90

GOLDEN_TOUGHNESS = (
    # K, G (GPa, measured), volume per atom (Å³), measured K_IC (MPa m^0.5, middle of the range in handbooks)
    ("C", 442, 536, 5.67, 6.0),
    ("BN", 400, 405, 5.92, 4.8),
    ("TiB2", 244, 262, 8.55, 5.0),
    ("SiC", 225, 191, 10.35, 3.25),
    ("WC", 439, 282, 10.4, 7.5),
    ("TiC", 242, 182, 10.1, 2.9),
    ("TiN", 318, 187, 9.55, 4.25),
    ("Al2O3", 254, 163, 8.5, 3.75),
    ("MgAl2O4", 198, 108, 9.4, 1.8),
    ("Si", 98, 66, 20.0, 0.87),
    ("MgO", 163, 131, 9.4, 1.9),
    ("NaCl", 25, 15, 22.4, 0.2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the source data")
    parser.add_argument("--seeds", type=int, default=2, help="random foldings of the hardness at a load")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    table = joined(args.data)
    figures = {"hardness": by_class(table), "reported": reported(table), "toughness": toughness()}
    print(markdown(figures))
    at_load, _ = hardness.judged(hardness.measured(args.data), args.seeds)
    print(f"\n{hardness.markdown(at_load)}")
    if args.out:
        seeds = f"0 to {args.seeds - 1}, of the foldings at a load; the rest has no random part"
        write_record(args.out, {**figures, "at_load": at_load}, seeds, ("surrogate_gate.safetensors",))


def joined(folder: Path) -> pd.DataFrame:
    """One row per composition: formula, K, G, hardness (GPa), class."""
    measured = pd.read_csv(folder / "vickers_hardness.csv").sort_values("load", kind="stable")
    measured["formula"] = [reduced(text) for text in measured.composition]
    columns = [
        "formula",
        "energy_above_hull",
        "bulk_modulus_vrh",
        "shear_modulus_vrh",
        "band_gap",
        "atomic_numbers",
    ]
    crystals = pd.read_parquet(folder / "crystals.parquet", columns=columns)
    crystals = crystals.dropna(subset=["bulk_modulus_vrh", "shear_modulus_vrh"])
    crystals = crystals.sort_values("energy_above_hull", kind="stable").drop_duplicates("formula")
    rows = measured.drop_duplicates("formula", keep="last").merge(crystals, on="formula")
    table = pd.concat([rows[[*columns, "hardness"]], elements(crystals), ionic()], ignore_index=True)
    gaps = [None if np.isnan(gap) else float(gap) for gap in table.band_gap]
    kinds = [bonding.bonding_class(z, gap).name for z, gap in zip(table.atomic_numbers, gaps, strict=True)]
    return table.assign(kind=kinds, K=table.bulk_modulus_vrh, G=table.shear_modulus_vrh)


def by_class(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Per class and formula: bias (geometric mean of formula over measured) and mean absolute error, GPa."""
    out = []
    for kind in bonding.BONDING_CLASSES:
        part = table[table.kind == kind]
        for name, formula in FORMULAS.items():
            got = formula(part.K.to_numpy(), part.G.to_numpy())
            log = np.log10(part.hardness / got)
            out.append(
                {
                    "class": kind,
                    "n": len(part),
                    "formula": name,
                    "ratio": float(10 ** -np.median(log)),
                    "scatter": float(1.4826 * np.median(np.abs(log - np.median(log)))),
                    "std": float(log.std()),
                    "mae": float(np.abs(got - part.hardness).mean()),
                }
            )
    return out


def reported(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The hardness that `derive.derive` reports: error, and how often the 90 % band holds the measured value.

    The class shift is refitted without the row itself, so that no row judges a shift that it helped to set.
    """
    out = []
    raw = formulas.mazhnik_oganov_hardness(table.K.to_numpy(), table.G.to_numpy())
    log = np.log10(table.hardness.to_numpy() / raw)
    for kind, constants in bonding.BONDING_CLASSES.items():
        mine = np.flatnonzero(table.kind == kind)
        shifts = np.array([np.median(log[mine[mine != i]]) for i in mine])
        inside = np.abs(log[mine] - shifts) < Z90 * constants.hardness_scatter
        error = np.abs(raw[mine] * 10**shifts - table.hardness.to_numpy()[mine])
        out.append(
            {
                "class": kind,
                "n": len(mine),
                "median_shift": float(np.median(log[mine])),
                "shift": constants.hardness_shift,
                "scatter": constants.hardness_scatter,
                "mae": float(error.mean()),
                "mae_uncorrected": float(np.abs(raw[mine] - table.hardness.to_numpy()[mine]).mean()),
                "mean_hardness": float(table.hardness.to_numpy()[mine].mean()),
                "coverage_90": float(inside.mean()),
            }
        )
    return out


def toughness() -> dict[str, float]:
    """log10 of estimated over measured fracture toughness of ceramics: bias and scatter."""
    logs = []
    for _, K, G, volume, measured in GOLDEN_TOUGHNESS:
        niu = formulas.niu_toughness(K, G, volume)
        oganov = formulas.mazhnik_oganov_toughness(K, G, volume)
        logs.append(float(np.log10(np.sqrt(niu * oganov) / measured)))
    return {"n": len(logs), "bias": float(np.mean(logs)), "scatter": float(np.std(logs, ddof=1))}


def markdown(figures: dict[str, Any]) -> str:
    lines = ["| class | n | " + " | ".join(FORMULAS) + " |", "| --- | --- |" + " --- |" * len(FORMULAS)]
    for kind in bonding.BONDING_CLASSES:
        rows = [row for row in figures["hardness"] if row["class"] == kind]
        cells = [f"{r['ratio']:.2f} × / {r['mae']:.1f} / {r['scatter']:.2f}" for r in rows]
        lines.append(f"| {kind} | {rows[0]['n']} | " + " | ".join(cells) + " |")
    lines += ["", "| class | n | mean H | MAE raw | MAE corrected | shift | scatter | 90 % band holds |"]
    lines.append("| --- |" + " --- |" * 7)
    for row in figures["reported"]:
        lines.append(
            f"| {row['class']} | {row['n']} | {row['mean_hardness']:.1f} | {row['mae_uncorrected']:.1f} | "
            f"{row['mae']:.1f} | {row['shift']:+.2f} ({row['median_shift']:+.2f}) | {row['scatter']:.2f} | "
            f"{row['coverage_90']:.0%} |"
        )
    k = figures["toughness"]
    lines += ["", f"K_IC of {k['n']} ceramics: bias {k['bias']:+.2f}, scatter {k['scatter']:.2f} in log10."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
