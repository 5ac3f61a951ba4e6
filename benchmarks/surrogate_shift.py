"""What the surrogate's intervals and its out-of-distribution mark are worth on elements that it has never seen.

Run: python benchmarks/surrogate_shift.py --data DIR --out FILE.json [--cache DIR] [--elements B,C,N,O,…]
     [--stage relaxed]

`DIR` holds `crystals.parquet`. For each element a gate is trained on the crystals with computed moduli without any
that holds the element, and asked about all that do (*held out*) and about the test part of the chemical systems
without it (*held in*). Split, calibration, memory and network are the package's; the gates are smaller stand-ins
(two members of width 48 with two rounds, six epochs, exact geometries, 11,765 crystals in place of 90,186). A
quarter of a minute of one core for each element; with `--cache`, raw answers are kept between runs. One thread:
OMP_NUM_THREADS=1.

With `--stage relaxed` the same is asked of the second stage: the stand-ins have what the potentials say, but no
gate. Only the potentials have seen the element. What they say of the crystals with moduli (an hour and a half of
one core) is kept in `--cache`.

*auc_distance*: area under the ROC curve of the distance percentile, held out against held in. *auc*: that of the
mark itself, which also knows the elements that training hardly had, so every held-out crystal has it. *marked*:
shares by distance alone. *needed*: how much wider the spreads of held-out crystals must be for 90 % coverage; its
upper quartiles are `invdesign.surrogates.calibrate.UNSEEN`, by which the package widens the intervals of crystals
with elements that it has not seen. *coverage_widened* uses the upper quartile of the other elements. *mae_seen*:
error of a stand-in that has seen the element, on the crystals with it in the test part.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from invdesign.benchmarking.run import write_record
from invdesign.data.split import by_chemical_system
from invdesign.elements import atomic_number
from invdesign.surrogates.calibrate import Calibration, PointMass, conformal_quantile, coverage
from invdesign.surrogates.fitting.relaxed_stage import joined, potential_table
from invdesign.surrogates.fitting.train import Settings, TrainingData, calibrated, fit
from invdesign.surrogates.inputs.dataset import Labelled, encode_rows, read_labelled, select
from invdesign.surrogates.model import OOD_PERCENTILE, Model, Raw
from invdesign.surrogates.scales import to_scale

ELEMENTS = ("B", "C", "N", "O", "F", "S", "Li", "Al", "Si", "Ti", "Fe", "La")
ANIONS = ("B", "C", "N", "O")
STAND_IN = Settings(members=2, epochs=6, batch=64, modulus_repeats=1, width=48, layers=2)
PARTS = ("valid", "held in", "held out")


def read(folder: Path) -> Labelled:
    """The crystals with moduli."""
    frame = pd.read_parquet(folder / "crystals.parquet")
    rows = np.flatnonzero(frame["bulk_modulus_vrh"].notna().to_numpy())
    genes: list[Any] = [None] * len(frame)
    for row, gene in zip(rows, encode_rows(frame.iloc[rows]), strict=True):
        genes[row] = gene
    return read_labelled(folder / "crystals.parquet", genes)


def answers(data: TrainingData, element: str) -> dict[str, np.ndarray]:
    """Raw answers of a model that has not seen an element, by part: mean, spread, distance, and the labels."""
    holds = np.array([atomic_number(element) in gene.numbers for gene in data.labelled.genes])
    split = np.where(holds, "held out", np.where(data.split == "test", "held in", data.split))
    part = replace(data, split=split)
    model = stand_in(part)
    found: dict[str, np.ndarray] = {"properties": np.array(model.properties)}
    for name in PARTS:
        rows = part.rows(name)
        raw = model.raw(select(data.copies[0], rows), None if data.extra is None else data.extra[rows])
        found |= {
            f"{name}/mean": raw.mean,
            f"{name}/spread": raw.spread,
            f"{name}/distance": model.memory.percentile(model.memory.distance(raw.columns)),
            f"{name}/truth": np.stack([data.labelled.labels[p][rows] for p in model.properties], axis=1),
        }
    return found


def errors_when_seen(data: TrainingData, elements: Sequence[str]) -> dict[str, dict[str, float]]:
    """Mean absolute errors of a stand-in that has seen all elements, on test crystals with each of them."""
    model, rows = stand_in(data), data.rows("test")
    mean = model.raw(select(data.copies[0], rows), None if data.extra is None else data.extra[rows]).mean
    truth = np.stack([to_scale(p, data.labelled.labels[p][rows]) for p in model.properties], axis=1)
    found = {}
    for element in elements:
        holds = np.array([atomic_number(element) in data.labelled.genes[int(i)].numbers for i in rows])
        errors = np.nanmean(np.abs(mean - truth)[holds], axis=0)
        found[element] = dict(zip(model.properties, errors.tolist(), strict=True))
    return found


def stand_in(part: TrainingData) -> Model:
    """A gate, or a second stage if there is something that the potentials say."""
    return fit("gate" if part.extra is None else "relaxed", part, STAND_IN, progress=silent)


def silent(line: str) -> None:
    """Say nothing."""


def kept(path: Path | None, data: TrainingData, element: str) -> dict[str, np.ndarray]:
    """Answers from `path` if they are there; otherwise computed, and written to it if one is given."""
    if path is not None and path.exists():
        return dict(np.load(path))
    found = answers(data, element)
    if path is not None:
        np.savez_compressed(path, **found)
    return found


@dataclass(frozen=True, eq=False)
class Left:
    """One element left out: what was answered, and the calibration of the gate that had not seen it."""

    found: dict[str, np.ndarray]
    names: list[str]
    scaled: dict[str, np.ndarray]
    calibrations: dict[str, Calibration]
    masses: dict[str, PointMass]

    @classmethod
    def of(cls, found: dict[str, np.ndarray]) -> Left:
        """From raw answers."""
        names = [str(name) for name in found["properties"]]
        scaled = {
            part: np.stack([to_scale(n, found[f"{part}/truth"][:, j]) for j, n in enumerate(names)], axis=1)
            for part in PARTS
        }
        raw = Raw(found["valid/mean"], found["valid/spread"], np.zeros((0, 0), dtype=np.float32))
        return cls(found, names, scaled, *calibrated(names, raw, found["valid/distance"], scaled["valid"]))

    def answers(self, name: str, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mean, spread, distance and truth, in the modelled scale, of the crystals with a label."""
        j = self.names.index(name)
        known = np.isfinite(self.scaled[part][:, j])
        mean, spread = self.found[f"{part}/mean"][known, j], self.found[f"{part}/spread"][known, j]
        return mean, spread, self.found[f"{part}/distance"][known], self.scaled[part][known, j]

    def covered(self, name: str, part: str, wider: float = 1.0) -> float:
        """Coverage of 90 % intervals from spreads made wider."""
        mean, spread, distance, truth = self.answers(name, part)
        shape = self.masses.get(name, self.calibrations[name])
        return coverage(*shape.interval(mean, wider * spread, distance), truth)

    def needed(self, name: str) -> float:
        """How much wider the spreads of held-out crystals must be for 90 % coverage; at least 1."""
        mean, spread, distance, truth = self.answers(name, "held out")
        low, high = self.calibrations[name].interval(mean, spread, distance)
        arm = np.where(truth < mean, mean - low, high - mean)
        return max(1.0, conformal_quantile(np.abs(truth - mean) / np.maximum(arm, 1e-9)))


def judged(left: Left, others: Sequence[Left]) -> dict[str, Any]:
    """Figures of one element: the mark, and errors and coverage of each property, held out and held in.

    `coverage_widened` has spreads wider by what three in four of the other elements needed.
    """
    away, near = left.found["held out/distance"], left.found["held in/distance"]
    truth = np.concatenate([np.ones(len(away)), np.zeros(len(near))])
    out: dict[str, Any] = {
        "held_out": len(away),
        "held_in": len(near),
        "auc": float(roc_auc_score(truth, np.concatenate([np.ones(len(away)), near > OOD_PERCENTILE]))),
        "auc_distance": float(roc_auc_score(truth, np.concatenate([away, near]))),
        "marked": float((away > OOD_PERCENTILE).mean()),
        "marked_held_in": float((near > OOD_PERCENTILE).mean()),
    }
    for name in left.names:
        wider = upper_quartile([other.needed(name) for other in others])
        out[name] = {"needed": left.needed(name), "coverage_widened": left.covered(name, "held out", wider)}
        for part, key in (("held out", "held_out"), ("held in", "held_in")):
            mean, _, _, true = left.answers(name, part)
            out[name] |= {f"mae_{key}": float(np.abs(mean - true).mean())}
            out[name] |= {f"coverage_{key}": left.covered(name, part)}
    return out


def upper_quartile(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.75)) if values else 1.0


def summary(found: dict[str, dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Means over all elements and over the anions, and how much wider spreads must be."""
    out: dict[str, Any] = {}
    for key in ("auc", "auc_distance"):
        values = [table[key] for table in found.values()]
        out |= {f"{key}_mean": float(np.mean(values)), f"{key}_least": min(values)}
    out["needed"] = {name: upper_quartile([table[name]["needed"] for table in found.values()]) for name in names}
    for group, members in (("all", list(found)), ("anions", [e for e in found if e in ANIONS])):
        if members:
            tables = [found[e] for e in members]
            out[group] = {n: {k: float(np.mean([t[n][k] for t in tables])) for k in tables[0][n]} for n in names}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--stage", choices=("gate", "relaxed"), default="gate")
    parser.add_argument("--elements", default=",".join(ELEMENTS), metavar="A,B")
    args = parser.parse_args()
    torch.set_num_threads(1)
    labelled = read(args.data)
    n = len(labelled.genes)
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    extra = None
    if args.stage == "relaxed":
        extra = potential_table(labelled.genes, np.arange(n), np.ones(n, dtype=bool), args.cache, "potential")
    graphs = joined(labelled.genes)
    data = TrainingData(labelled, [graphs], extra, by_chemical_system(labelled.chemical_systems))
    wanted = args.elements.split(",")
    left: dict[str, Left] = {}
    for element in wanted:
        path = args.cache / f"{args.stage}_{element}.npz" if args.cache else None
        left[element] = Left.of(kept(path, data, element))
    found = {e: judged(left[e], [left[o] for o in wanted if o != e]) for e in wanted}
    names = left[wanted[0]].names
    for element, errors in errors_when_seen(data, wanted).items():
        for name in names:
            found[element][name]["mae_seen"] = errors[name]
    record = {
        "stage": args.stage,
        "crystals": n,
        "settings": asdict(STAND_IN),
        "elements": found,
        "summary": summary(found, names),
    }
    tables = ("energy_scale_sevennet-l3i5.json",) if args.stage == "relaxed" else ()
    write_record(args.out, record, STAND_IN.seed, tables)
    for element, table in found.items():
        moduli = ", ".join(
            f"{name} {t['mae_held_out']:.3f} (seen {t['mae_seen']:.3f}, held in {t['mae_held_in']:.3f}), "
            f"covered {t['coverage_held_out']:.2f}, "
            f"widened {t['coverage_widened']:.2f}"
            for name, t in table.items()
            if isinstance(t, dict)
        )
        print(f"{element}: auc {table['auc']:.3f}, by distance {table['auc_distance']:.3f}, {moduli}")
    print(json.dumps(record["summary"], indent=1))


if __name__ == "__main__":
    main()
