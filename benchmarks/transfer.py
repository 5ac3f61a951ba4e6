"""Learning curves of custom properties: on top of the gate, from scratch, and from the composition alone.

    python benchmarks/transfer.py --data DIR [--seeds 3] [--networks 2] [--out FILE.json]

DIR holds alexandria_eos.parquet, crystals.parquet, formation_enthalpy_expt.csv and
synthesis_solid_state.json.xz. Four properties that no shipped model was trained on, though two of them are
relatives of what the gate has learned:

- bulk modulus from an equation of state (Alexandria; the gate has seen PBE bulk moduli of other crystals),
- measured formation enthalpy (the gate has seen PBE formation energies),
- magnetic moment per atom (Alexandria; nothing like it was seen),
- temperature of solid-state synthesis (median over text-mined recipes; nothing like it was seen).

Systems of the test part are in no training part. The gate itself has seen labels of *its own* properties of some
of these systems; `unseen` repeats the error on systems of its test part.
"""

from __future__ import annotations

import argparse
import ast
import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from invdesign.benchmarking.run import write_record
from invdesign.chemistry.composition import chemical_system
from invdesign.crystal import Gene
from invdesign.data.split import by_chemical_system
from invdesign.elements import atomic_number
from invdesign.properties import PREDICTED
from invdesign.surrogates import load_gate
from invdesign.surrogates.custom.regression import Labels, fit_regression
from invdesign.surrogates.custom.transfer import blocks_of, view
from invdesign.surrogates.fitting.train import Settings, TrainingData, fit
from invdesign.surrogates.inputs.dataset import Graphs, Labelled, encode_rows, graphs_of_genes, select
from invdesign.surrogates.inputs.store import join
from invdesign.uncertainty import Z90

SIZES = (50, 100, 200, 500, 1000)
NETWORK_SIZES = (100, 500)
CHEAP_SIZES = (25, 50, 100, 200)
CHEAP_LABELS = 1000
MOST_TEST = 1000
METHODS = {
    "on the gate": (0, 1, 2, 3, 4),
    "same features, no gate": (2, 3, 4),
    "composition": (2, 3),
}
"""Blocks of `invdesign.surrogates.custom.transfer.view` that each process reads."""


class Task:
    """A property: crystals, labels in the scale they are learned in, and a low-fidelity label where there is
    one."""

    def __init__(
        self, genes: Sequence[Gene | None], values: Any, low_fidelity: Any = None, log: bool = False
    ) -> None:
        rows = np.flatnonzero([g is not None and max(g.numbers) <= 103 for g in genes])
        self.genes = [g for g in (genes[i] for i in rows) if g is not None]
        self.graphs = join([graphs_of_genes(self.genes[s : s + 2000]) for s in range(0, len(rows), 2000)])
        self.values = np.asarray(values, dtype=float)[rows]
        self.log = log
        gate = load_gate().model
        self.labels = Labels(
            view(gate, self.graphs),
            self.values,
            None if low_fidelity is None else np.asarray(low_fidelity, dtype=float)[rows],
            np.array([chemical_system(g.numbers) for g in self.genes]),
            blocks_of(gate),
        )

    def split(self, seed: int) -> tuple[Any, Any]:
        """Training rows in random order, system by system, and test rows."""
        part = by_chemical_system(self.labels.systems.tolist(), (0.75, 0.0, 0.25), seed=100 + seed)
        rng = np.random.default_rng(seed)
        systems = {s: k for k, s in enumerate(rng.permutation(np.unique(self.labels.systems)))}
        order = np.argsort([systems[s] for s in self.labels.systems], kind="stable")
        order = order[np.isfinite(self.values[order])]
        return order[part[order] == "train"], rng.permutation(order[part[order] == "test"])[:MOST_TEST]


def alexandria(folder: Path) -> dict[str, Callable[[], Task]]:
    table = pd.read_parquet(folder / "alexandria_eos.parquet")
    table = table.iloc[np.random.default_rng(0).permutation(len(table))[:5000]].reset_index(drop=True)
    cells = pd.DataFrame(
        {
            "lattice_parameters": table[["a", "b", "c", "alpha", "beta", "gamma"]].to_numpy().tolist(),
            "atomic_numbers": [[atomic_number(str(s)) for s in row] for row in table.species],
            "frac_coords": [np.concatenate([np.ravel(v) for v in row]) for row in table.frac],
        }
    )
    genes = encode_rows(cells)
    modulus = table.K0_BM3_derived.where((table.rms_fit_GPa < 2) & table.K0_BM3_derived.between(5, 500))
    pressure = table.press_P025 - table.press_P000
    secant = pressure / np.log(table.V_P000 / table.V_P025)
    return {
        "bulk modulus, equation of state (log10 GPa)": lambda: Task(
            genes, np.log10(modulus), np.log10(secant.where(secant > 0)), log=True
        ),
        "magnetic moment (µ_B/atom)": lambda: Task(genes, table.total_mag.abs() / table.nsites),
    }


def known(folder: Path) -> pd.DataFrame:
    """The crystal lowest above the hull of every formula."""
    crystals = pd.read_parquet(folder / "crystals.parquet").dropna(subset=["energy_above_hull"])
    return crystals.sort_values("energy_above_hull", kind="stable").drop_duplicates("formula")


def enthalpies(folder: Path, crystals: pd.DataFrame) -> Task:
    table = pd.read_csv(folder / "formation_enthalpy_expt.csv")
    table["formula"] = [reduced(text) for text in table.formula]
    table = table.groupby("formula").enthalpy_formation_exp.median().reset_index()
    rows = table.merge(crystals, on="formula")
    return Task(encode_rows(rows), rows.enthalpy_formation_exp, rows.formation_energy_per_atom)


def temperatures(folder: Path, crystals: pd.DataFrame) -> Task:
    with lzma.open(folder / "synthesis_solid_state.json.xz") as file:
        recipes = json.load(file)
    found = []
    for recipe in recipes["reactions"] if isinstance(recipes, dict) else recipes:
        formula, hottest = reduced(_plain(recipe["target"]).get("material_formula")), _hottest(recipe)
        if formula and hottest:
            found.append((formula, hottest))
    table = pd.DataFrame(found, columns=["formula", "celsius"]).groupby("formula").celsius.median().reset_index()
    rows = table.merge(crystals, on="formula")
    return Task(encode_rows(rows), rows.celsius)


def _hottest(recipe: dict[str, Any]) -> float | None:
    """The highest temperature of a heating step, °C."""
    steps = [step for step in _plain(recipe["operations"]) if "eating" in step["type"]]
    heats = [h for step in steps for h in (step["conditions"] or {}).get("heating_temperature") or []]
    values = [v if h["units"] == "C" else v - 273.15 for h in heats for v in h["values"]]
    return max((v for v in values if 200.0 < v < 2500.0), default=None)


def _plain(value: Any) -> Any:
    return ast.literal_eval(value) if isinstance(value, str) else value


def reduced(text: Any) -> str | None:
    from pymatgen.core import Composition

    try:
        return str(Composition(text).reduced_formula)
    except (ValueError, KeyError, TypeError):
        return None


def narrowed(labels: Labels, blocks: Sequence[int]) -> Labels:
    """The same labels with some of the blocks of columns."""
    ends = np.cumsum(labels.blocks)
    columns = np.concatenate([np.arange(ends[b] - labels.blocks[b], ends[b]) for b in blocks])
    return Labels(
        labels.columns[:, columns], labels.values, None, labels.systems, tuple(labels.blocks[b] for b in blocks)
    )


def curve(task: Task, seeds: int, networks: int) -> list[dict[str, Any]]:
    """One record for each seed, size and method."""
    out = []
    for seed in range(seeds):
        train, test = task.split(seed)
        truth = task.values[test]
        gate_part = by_chemical_system(task.labels.systems[test].tolist(), seed=0)
        for size in [s for s in SIZES if s <= len(train)]:
            rows = train[:size]
            out.append(_record("median", seed, size, np.abs(np.median(task.values[rows]) - truth)))
            for name, blocks in METHODS.items():
                labels = narrowed(task.labels, blocks)
                mean, std = fit_regression(labels, rows, rows).predict(labels.columns[test])
                error = np.abs(mean - truth)
                extra = {"covered": float(np.mean(error < Z90 * std))}
                if name == "on the gate":
                    extra["unseen"] = float(error[gate_part == "test"].mean())
                out.append(_record(name, seed, size, error) | extra)
            if seed < networks and size in NETWORK_SIZES:
                for name, start in (("network from scratch", None), ("network, tuned on", load_gate().model)):
                    out.append(_record(name, seed, size, network(task, rows, test, start)))
            print(json.dumps(out[-len(METHODS) - 1 :]), flush=True)
    return out


def _record(name: str, seed: int, size: int, error: Any) -> dict[str, Any]:
    return {"method": name, "seed": seed, "labels": size, "error": float(error.mean())}


def network(task: Task, rows: Any, test: Any, start: Any) -> Any:
    """Errors of one network of the gate's kind, trained on the rows; a slot of their scale holds the labels."""
    chosen = np.sort(np.concatenate([rows, test]))
    slot = "bulk_modulus" if task.log else "formation_energy"
    values = task.values[chosen]
    labels = {name: np.full(len(chosen), np.nan) for name in PREDICTED}
    labels[slot] = 10.0**values if task.log else values
    systems = task.labels.systems[chosen].tolist()
    labelled = Labelled([str(i) for i in chosen], [task.genes[i] for i in chosen], systems, labels, {})
    graphs: Graphs = select(task.graphs, chosen)
    split = np.where(np.isin(chosen, rows), "train", "valid")
    epochs = int(np.clip(10000 / len(rows), 20, 100))
    settings = Settings(members=1, epochs=epochs, batch=32, modulus_repeats=1, learning_rate=1e-3)
    data = TrainingData(labelled, [graphs], None, split)
    model = fit("gate", data, settings, start=start, progress=lambda line: None)
    away = np.flatnonzero(split == "valid")
    return np.abs(model.raw(select(graphs, away)).mean[:, 0] - values[away])


def low_fidelity_curve(task: Task, seeds: int) -> list[dict[str, Any]]:
    """Errors with a low-fidelity label: given for the crystal itself, predicted, and without any."""
    out = []
    for seed in range(seeds):
        train, test = task.split(seed)
        others = train[:CHEAP_LABELS]
        truth, given = task.values[test], task.labels.low_fidelity[test]
        single = narrowed(task.labels, range(5))
        for size in CHEAP_SIZES:
            joined = fit_regression(task.labels, train[:size], others)
            alone = fit_regression(single, train[:size], train[:size])
            errors = {
                "no low-fidelity labels": alone.predict(task.labels.columns[test])[0] - truth,
                "low-fidelity label predicted": joined.predict(task.labels.columns[test])[0] - truth,
                "low-fidelity label given": joined.predict(task.labels.columns[test], given)[0] - truth,
                "the low-fidelity label itself": given - truth,
            }
            out += [_record(n, seed, size, np.abs(e[np.isfinite(given)])) for n, e in errors.items()]
    return out


def markdown(records: Sequence[dict[str, Any]]) -> str:
    """Mean absolute error by number of labels (rows) and method, mean of seeds."""
    table = pd.DataFrame(records).pivot_table(index="labels", columns="method", values="error", sort=False)
    lines = ["| labels | " + " | ".join(map(str, table.columns)) + " |", "| --- |" + " --- |" * len(table.columns)]
    for size, row in table.iterrows():
        cells = ["" if np.isnan(v) else f"{v:.3g}" for v in row]
        lines.append(f"| {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the source data")
    parser.add_argument("--seeds", type=int, default=3, help="random splits")
    parser.add_argument(
        "--networks", type=int, default=2, help="of these, those on which networks are trained too"
    )
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    crystals = known(args.data)
    tasks: dict[str, Callable[[], Task]] = {
        **alexandria(args.data),
        "measured formation enthalpy (eV/atom)": lambda: enthalpies(args.data, crystals),
        "temperature of synthesis (°C)": lambda: temperatures(args.data, crystals),
    }
    figures: dict[str, Any] = {}
    for name, make in tasks.items():
        task = make()
        figures[name] = {
            "labels": int(np.isfinite(task.values).sum()),
            "curve": curve(task, args.seeds, args.networks),
        }
        print(f"\n## {name}, {figures[name]['labels']} labels\n\n{markdown(figures[name]['curve'])}\n", flush=True)
        if task.labels.low_fidelity is not None:
            figures[name]["low_fidelity"] = low_fidelity_curve(task, args.seeds)
            print(markdown(figures[name]["low_fidelity"]), flush=True)
        if args.out:
            seeds = f"0 to {args.seeds - 1}, of splits and trainings"
            write_record(args.out, figures, seeds, ("surrogate_gate.safetensors",))


if __name__ == "__main__":
    main()
