"""Run folders for tests of tables, formats and the report: known crystals, ranked as a run ranks candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.app.recipe import run_recipes
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.query import Query
from invdesign.records import Candidate, Estimate, Evaluation, Relaxation, Status, Value, Verdict
from invdesign.reference.local import load_known
from invdesign.reference.properties import load_properties
from invdesign.report import export
from invdesign.report.folder import write_folder
from invdesign.selection.diversity import ALL
from invdesign.selection.ranking import Ranked, Selection, rank

POTENTIAL = "sevennet-0 (sevenn 0.13.0)"
VERSIONS = {"invdesign": "0.1.0", "pymatgen": "2026.1", "spglib": "2.8.0", "ase": "3.29.0", "torch": "2.13.0"}


def crystals(n: int, seed: int = 0) -> list[tuple[Crystal, float, float]]:
    """Known crystals of some stiffness, each with its bulk and shear modulus (GPa)."""
    known, table = load_known(), load_properties()
    k, g = (10.0 ** table.column(name) for name in ("bulk_modulus", "shear_modulus"))
    stiff = np.flatnonzero((k > 120.0) & (g > 60.0))
    found: list[tuple[Crystal, float, float]] = []
    for i in np.random.default_rng(seed).permutation(stiff).tolist():
        crystal = decode([known[i].gene])[0]
        if crystal.n_sites <= 24 and not set(crystal.numbers.tolist()) & RARE:
            found.append((replace(crystal, source=known[i].id), float(k[i]), float(g[i])))
        if len(found) == n:
            break
    return found


RARE = {*range(43, 44), *range(61, 62), *range(84, 104), 33, 48, 80, 81, 82, 4}


def evaluations(n: int, seed: int = 0) -> list[Evaluation]:
    """Evaluations of known crystals as a run would have them, errors made up."""
    rng = np.random.default_rng([seed, 1])
    rows = []
    for i, (crystal, k, g) in enumerate(crystals(n, seed)):
        hull = float(rng.normal(0.02, 0.03))
        values = {
            "bulk_modulus": _value(k, 0.06, "surrogate:relaxed"),
            "shear_modulus": _value(g, 0.09, "surrogate:relaxed"),
            "band_gap": Value(0.0, 0.05, 0.0, 0.1, "surrogate:relaxed"),
            "formation_energy": Value(-0.8, 0.04, -0.87, -0.73, f"potential:{POTENTIAL}"),
        }
        undecided = i % 7 == 3
        verdicts = {
            "charge_balance": Verdict(
                "charge_balance", Status.UNKNOWN if undecided else Status.PASS, "a metal" * undecided
            ),
            "novelty": Verdict("novelty", Status.PASS),
        }
        relaxation = Relaxation(
            crystal, -8.0, values["formation_energy"], 0.01, 12, True, 1.0, 0.05, -0.01, POTENTIAL
        )
        out = i % 9 == 5
        rows.append(
            Evaluation(
                Candidate(f"r001-{i:05d}", crystal, "r001", "vae", (crystal.source,)),
                relaxation=relaxation,
                energy_above_hull=Value(hull, 0.04, hull - 0.07, hull + 0.07, f"potential:{POTENTIAL}"),
                estimate=Estimate(
                    values, 0.4, out, ood_reason="a structure type that training did not have" * out
                ),
                verdicts=verdicts,
            )
        )
    return rows


def _value(mean: float, relative: float, source: str) -> Value:
    return Value(mean, relative * mean, mean * (1 - 1.7 * relative), mean * (1 + 1.6 * relative), source)


def ranked_run(
    n: int, component: str | None = "light_stiff_beam", seed: int = 0
) -> tuple[Selection, dict[str, Any]]:
    """A ranked list and its `run.json`."""
    from invdesign.app.record import decision_record

    query = Query(targets=["bulk_modulus>=150", "shear_modulus>=80"], component=component, n=n)
    selection = rank(evaluations(2 * n, seed), query, diversity=ALL)
    record = {
        "query": query.to_dict(),
        "query_in_words": query.in_words(),
        "seed": seed,
        "seconds": 300.0,
        "found": len(selection.ranked),
        "component": selection.component,
        "versions": VERSIONS,
        "parts": {"potential": POTENTIAL, "vae": "2f2eab29b3e6"},
        "warnings": ["Confirm a candidate by DFT before you make it."],
        **decision_record(selection),
        "funnel": {
            "propose": {"entered": 4000, "passed": 3900, "rejected": {"charge_balance": 100}, "seconds": 80.0},
            "relax": {"entered": 130, "passed": 120, "rejected": {"failed: relax": 10}, "seconds": 250.0},
        },
        "selection": {"entered": 120, "passed": n, "rejected": {"ranked lower": 120 - n}},
    }
    return selection, record


def rows_of(items: Sequence[Ranked], files: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the full table, with what a run adds: decomposition, explanation, tensor, place on the map."""
    from invdesign.report.materials_map import load_map

    table = load_map()
    rng = np.random.default_rng(2)
    rows = []
    for item, file in zip(items, files, strict=True):
        k = float(item.row.estimate.values["bulk_modulus"].mean)  # type: ignore[union-attr]
        g = float(item.row.estimate.values["shear_modulus"].mean)  # type: ignore[union-attr]
        x, y = table.xy[int(rng.integers(len(table.xy)))]
        symbol = re.findall("[A-Z][a-z]?", export.file_stem(item.row.crystal))[0]
        rows.append(
            {"file": file}
            | export.ranked_columns(item, True)
            | {
                "decomposes_into": "0.57 BW + 0.43 TiB2",
                "formula_known": item.rank % 5 == 0,
                "bulk_modulus_by_element": f"{symbol} +12 %; B -20 %",
                "nearest": "Co(BW)3 mp-27768 (63): K 339, G 203, E_g 0.0, E_f -0.44; TiC mp-631 (225): K 253",
                "nearest_distance": 0.68,
                "map_x": float(x),
                "map_y": float(y),
            }
            | _tensor(k, g)
        )
    return rows


def _tensor(k: float, g: float) -> dict[str, float]:
    """An elastic tensor of cubic symmetry with some anisotropy."""
    c = np.zeros((6, 6))
    c[:3, :3] = k - 2 * g / 3
    np.fill_diagonal(c, [k + 4 * g / 3] * 3 + [1.2 * g] * 3)
    return {f"c{i + 1}{j + 1}": float(c[i, j]) for i in range(6) for j in range(i, 6)}


MADE = 4
"""Candidates of a folder that have an entry on how they might be made."""


def run_folder(folder: Path, n: int, component: str | None = "light_stiff_beam") -> Path:
    """A whole run folder of `n` candidates, without a ledger."""
    selection, record = ranked_run(n, component)
    record["recipes"] = run_recipes(reduced_formula(item.row.crystal.numbers) for item in selection.ranked[:MADE])
    files = export.write_cifs([item.row.crystal for item in selection.ranked], folder)
    write_folder(folder, export.frame(rows_of(selection.ranked, files)), record)
    return folder
