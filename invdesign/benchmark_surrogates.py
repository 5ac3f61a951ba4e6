"""`invdesign benchmark surrogates`: how good, how honest and how fast the shipped surrogates are.

Crystals are the 11,630 known ones with computed moduli (`labelled_crystals.npz`), split by chemical system as in
training; figures are of the test part, which no network, calibration or baseline has seen. Baselines are trained
on the training part: the mean, ridge regression on the composition, a random forest on statistics of the elements
(in the way of Ward et al., npj Comput. Mater. 2, 16028 (2016)), and boosted trees on all features of the gate. The
gate is asked about exact crystals and about crystals with a generator's errors, the second stage about exact ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build, export
from invdesign.composition import chemical_system
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.data.split import by_chemical_system
from invdesign.element_features import element_features
from invdesign.progress import Progress, quiet
from invdesign.properties import PREDICTED, get_property
from invdesign.records import Estimate
from invdesign.reference import load_known
from invdesign.represent.genes import decode
from invdesign.surrogates import load_gate, load_relaxed
from invdesign.surrogates.assess import STIFF, judge, tail
from invdesign.surrogates.dataset import Graphs, graphs_of_genes, perturb
from invdesign.surrogates.features import LAST_ELEMENT
from invdesign.surrogates.nearest import load_labelled
from invdesign.surrogates.store import join

MODULI = ("bulk_modulus", "shear_modulus")
CHUNK = 4000
PERTURBATION_SEED = 9


@dataclass(frozen=True, eq=False)
class Data:
    """The crystals.

    Attributes:
        genes: of all.
        labels: by property, in its unit, NaN where unknown.
        graphs: of all.
        split: (n,) `train`, `valid` or `test`.
    """

    genes: Sequence[Gene]
    labels: Mapping[str, FloatArray]
    graphs: Graphs
    split: np.ndarray[Any, Any]


def surrogates(out: Path, relaxed: int | None = None, progress: Progress = quiet) -> dict[str, Any]:
    """Measure and write `out`.

    Args:
        out: `FILE.json`; the table is written beside it as `FILE.md`.
        relaxed: test crystals that the second stage is asked about (None: all).
        progress: is told how far it has come.

    Raises:
        OutputError: if a file cannot be written.
        ReferenceMissingError: if weights or tables cannot be read.
    """
    path = export.writable_file(out)
    steps = 4
    progress("benchmark surrogates", 0, steps)
    data = read()
    test = np.flatnonzero(data.split == "test")
    record: dict[str, Any] = {
        "crystals": {part: int((data.split == part).sum()) for part in ("train", "valid", "test")},
        "split": "by chemical system (hash, seed 0, 80 / 10 / 10)",
        "weights": build.fingerprints(),
        "versions": build.versions(),
    }
    progress("benchmark surrogates", 1, steps)
    record["baselines"] = baselines(data)
    progress("benchmark surrogates", 2, steps)
    genes = [data.genes[int(i)] for i in test]
    noisy = perturb(genes, np.random.default_rng(PERTURBATION_SEED))
    record["gate, exact"] = gate(genes, labels_of(data, test))
    record["gate, with a generator's errors"] = gate(noisy, labels_of(data, test))
    progress("benchmark surrogates", 3, steps)
    some = test if relaxed is None else test[:relaxed]
    record["relaxed"] = second_stage([data.genes[int(i)] for i in some], labels_of(data, some))
    progress("benchmark surrogates", steps, steps)
    export.write_json(record, path)
    path.with_suffix(".md").write_text(markdown(record), encoding="utf-8")
    return record


def read() -> Data:
    """The shipped crystals with computed moduli."""
    table, known = load_labelled(), load_known()
    rows = {known.id(row): row for row in range(len(known))}
    genes = [known[rows[str(i)]].gene for i in table.ids]
    graphs = join([graphs_of_genes(genes[i : i + CHUNK]) for i in range(0, len(genes), CHUNK)])
    labels = {name: table.labels[:, j].astype(np.float64) for j, name in enumerate(PREDICTED)}
    return Data(genes, labels, graphs, by_chemical_system([chemical_system(g.numbers) for g in genes]))


def labels_of(data: Data, rows: np.ndarray[Any, Any]) -> dict[str, FloatArray]:
    """Labels of some crystals."""
    return {name: values[rows] for name, values in data.labels.items()}


def baselines(data: Data) -> dict[str, dict[str, Any]]:
    """Figures of simple models of both moduli, by model and property."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import RidgeCV

    statistics = slice(LAST_ELEMENT, LAST_ELEMENT + 4 * len(element_features().columns))
    forest = {"n_estimators": 100, "max_features": 0.33, "min_samples_leaf": 2, "random_state": 0}
    models: dict[str, tuple[Callable[[], Any], Any]] = {
        "ridge on composition": (lambda: RidgeCV(np.logspace(-4, 2, 7)), slice(LAST_ELEMENT)),
        "random forest on element statistics": (lambda: RandomForestRegressor(**forest), statistics),
        "boosted trees on all features": (
            lambda: HistGradientBoostingRegressor(
                max_iter=300, learning_rate=0.08, max_features=0.3, random_state=0
            ),
            slice(None),
        ),
    }
    found: dict[str, dict[str, Any]] = {title: {} for title in ("mean", *models)}
    features = data.graphs.features
    for name in MODULI:
        target = np.log10(data.labels[name])
        train, test = (np.flatnonzero((data.split == p) & np.isfinite(target)) for p in ("train", "test"))
        truth = data.labels[name][test]
        found["mean"][name] = of_means(name, np.full(len(test), 10.0 ** target[train].mean()), truth)
        for title, (make, columns) in models.items():
            model = make().fit(features[train][:, columns], target[train])
            found[title][name] = of_means(name, 10.0 ** model.predict(features[test][:, columns]), truth)
    return found


def of_means(name: str, mean: FloatArray, truth: FloatArray) -> dict[str, Any]:
    """Figures of a model of a modulus that gives no uncertainty; errors in log10 GPa."""
    error = np.log10(mean) - np.log10(truth)
    return {
        "n": len(truth),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        **tail(mean, truth, STIFF[name]),
        "deciles": deciles(mean, truth),
    }


def deciles(
    mean: FloatArray, truth: FloatArray, covered: np.ndarray[Any, Any] | None = None
) -> list[dict[str, float]]:
    """Error, bias (log10 GPa) and coverage of each tenth of the true moduli, softest first."""
    which = np.digitize(truth, np.quantile(truth, np.arange(1, 10) / 10))
    error = np.log10(mean) - np.log10(truth)
    found = []
    for tenth in np.unique(which):
        rows = which == tenth
        row = {
            "least": float(truth[rows].min()),
            "most": float(truth[rows].max()),
            "n": int(rows.sum()),
            "mae": float(np.abs(error[rows]).mean()),
            "bias": float(error[rows].mean()),
        }
        found.append(row if covered is None else row | {"coverage_90": float(covered[rows].mean())})
    return found


def gate(genes: Sequence[Gene], labels: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Figures of the gate, and its speed on crystals with and without genes."""
    surrogate, crystals = load_gate(), decode(genes)
    estimates, speed = timed(surrogate.predict, crystals)
    bare = [Crystal(c.lattice, c.numbers, c.frac_coords) for c in crystals[:200]]
    found = judge(surrogate.model, graphs_of_genes(genes), labels)
    return with_deciles(found, estimates, labels) | {
        "crystals_per_second": speed,
        "crystals_per_second_without_genes": timed(surrogate.predict, bare)[1],
    }


def second_stage(genes: Sequence[Gene], labels: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Figures of the second stage and its speed, potential features included."""
    surrogate, crystals = load_relaxed(), decode(genes)
    estimates, speed = timed(surrogate.predict, crystals)
    extra = surrogate.potential.compute(crystals)[0]
    found = judge(surrogate.model, graphs_of_genes(genes), labels, extra)
    return with_deciles(found, estimates, labels) | {"crystals_per_second": speed}


def with_deciles(
    found: Mapping[str, Mapping[str, Any]], estimates: Sequence[Estimate], labels: Mapping[str, FloatArray]
) -> dict[str, Any]:
    """The figures, with those of each tenth of the moduli."""
    out: dict[str, Any] = {name: dict(table) for name, table in found.items()}
    for name in out.keys() & set(MODULI):
        rows = [k for k, e in enumerate(estimates) if name in e.values and np.isfinite(labels[name][k])]
        values, truth = [estimates[k].values[name] for k in rows], labels[name][rows]
        mean, low, high = (np.array([getattr(v, part) for v in values]) for part in ("mean", "low", "high"))
        out[name]["deciles"] = deciles(mean, truth, (truth >= low) & (truth <= high))
    return out


def timed(predict: Callable[[list[Crystal]], Any], crystals: list[Crystal]) -> tuple[Any, float]:
    """The result, and crystals a second of one core's time (so that other work on the machine does not count)."""
    predict(crystals[:2])
    start = time.process_time()
    result = predict(crystals)
    return result, len(crystals) / (time.process_time() - start)


_ROWS = (
    ("mae", "mean absolute error"),
    ("rmse", "root mean square error"),
    ("coverage_90", "coverage of 90 % intervals"),
    ("coverage_90_least_quintile", "least coverage of a fifth"),
    ("coverage_90_farthest_tenth", "coverage, farthest tenth"),
    ("coverage_90_metals", "coverage, metals"),
    ("coverage_90_insulators", "coverage, insulators"),
    ("coverage_90_zero", "coverage, zeros"),
    ("coverage_90_not_zero", "coverage, not zero"),
    ("miscalibration_area", "miscalibration area"),
    ("stiff_bias_gpa", "bias of the stiff tail (GPa)"),
    ("stiff_spearman", "rank correlation in the stiff tail"),
    ("recall_top_1_in_3_percent", "top 1 % found in the predicted top 3 %"),
)
"""Figures and titles of the rows of a table."""


def markdown(record: Mapping[str, Any]) -> str:
    """The record's main figures as tables, one for each property, and one of the tenths of each modulus."""
    stages = {key: record[key] for key in record if key.startswith("gate") or key == "relaxed"}
    models = {**record["baselines"], **stages}
    n = record["crystals"]
    lines = [f"{n['test']:,} crystals of chemical systems that nothing was trained on; split {record['split']}."]
    for name in PREDICTED:
        columns = {title: table[name] for title, table in models.items() if name in table}
        lines += ["", f"## {_title(name)}", "", "| | " + " | ".join(columns) + " |", _rule(len(columns))]
        for key, words in _ROWS:
            if any(key in table for table in columns.values()):
                cells = [f"{table[key]:.3g}" if key in table else "" for table in columns.values()]
                lines.append(f"| {words} | " + " | ".join(cells) + " |")
        if name in MODULI:
            lines += ["", *_tenths(columns)]
    speeds = [f"{title} {table['crystals_per_second']:,.0f}" for title, table in stages.items()]
    return "\n".join([*lines, "", f"Crystals a second on one core: {', '.join(speeds)}."]) + "\n"


def _title(name: str) -> str:
    prop = get_property(name)
    return f"{prop.label[:1].upper()}{prop.label[1:]} ({'log10 ' if prop.log else ''}{prop.unit})"


def _rule(columns: int) -> str:
    return "| --- |" + " ---: |" * columns


def _tenths(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Mean absolute error by tenths of the true modulus; coverage in brackets where there are intervals."""
    titles = list(columns)
    lines = ["| GPa | " + " | ".join(titles) + " |", _rule(len(titles))]
    for k, tenth in enumerate(columns[titles[0]]["deciles"]):
        cells = []
        for title in titles:
            table = columns[title]["deciles"]
            row = table[k] if k < len(table) else {}
            covered = f" ({row['coverage_90']:.2f})" if "coverage_90" in row else ""
            cells.append(f"{row['mae']:.3f}{covered}" if row else "")
        lines.append(f"| {tenth['least']:.0f}–{tenth['most']:.0f} | " + " | ".join(cells) + " |")
    return lines
