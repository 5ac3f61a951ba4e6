"""Figures of `invdesign benchmark surrogates`: errors, intervals and the out-of-distribution mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from invdesign.benchmarking import splits as protocols
from invdesign.benchmarking.splits import GATE, MODULI, PROTOCOLS, Answered, Data
from invdesign.crystal import FloatArray
from invdesign.properties import PREDICTED, get_property
from invdesign.records import Estimate, Value
from invdesign.surrogates.fitting.assess import STIFF, by_class, figures, tail
from invdesign.surrogates.scales import to_scale
from invdesign.uncertainty import central_level, std_to_log10

LEVELS = np.linspace(0.05, 0.95, 19)
PARITY_BINS = 24


def labels_of(data: Data, rows: np.ndarray[Any, Any]) -> dict[str, FloatArray]:
    """Labels of some crystals."""
    return {name: values[rows] for name, values in data.labels.items()}


def summary(name: str, answered: Mapping[str, Answered], data: Data) -> dict[str, Any]:
    """Figures of a protocol: each model on the test parts of all folds together, and fold by fold."""
    rows = np.concatenate([np.array(a.rows, dtype=np.int64) for a in answered.values()])
    columns = {
        key: np.concatenate([np.array(a.columns[key]) for a in answered.values()])
        for key in next(iter(answered.values())).columns
    }
    distance = np.concatenate([a.distance for a in answered.values()])
    labels = labels_of(data, rows)
    titles = [k.split("/")[0] for k in columns if k.endswith(MODULI[0]) and k.split("/")[0] not in _ENDS]
    models: dict[str, Any] = {title: {} for title in titles}
    for modulus in MODULI:
        known = np.isfinite(labels[modulus])
        for title in titles:
            models[title][modulus] = of_means(
                modulus, columns[f"{title}/{modulus}"][known], labels[modulus][known]
            )
        rest = of_intervals(modulus, estimates_of(columns, distance, modulus), labels)
        models[GATE][modulus] |= rest
    return {
        "about": PROTOCOLS[name],
        "n": len(rows),
        "seen_in_training": {
            kind: float(
                np.average(
                    [a.seen[kind] for a in answered.values()], weights=[len(a.rows) for a in answered.values()]
                )
            )
            for kind in next(iter(answered.values())).seen
        },
        "models": models,
        "folds": {fold: of_fold(a, data, titles) for fold, a in answered.items()},
    }


_ENDS = ("low", "high", "std")


def estimates_of(columns: Mapping[str, FloatArray], distance: FloatArray, modulus: str) -> list[Estimate]:
    """The gate's answers for one modulus as estimates."""
    parts = (columns[f"{key}/{modulus}"].tolist() for key in (GATE, "std", "low", "high"))
    return [
        Estimate({modulus: Value(mean, std, low, high, GATE)}, distance=float(away))
        for mean, std, low, high, away in zip(*parts, distance, strict=True)
    ]


def of_fold(answered: Answered, data: Data, titles: Sequence[str]) -> dict[str, Any]:
    """Sizes, errors (log10 GPa), coverage and the out-of-distribution mark of one fold."""
    rows = np.array(answered.rows, dtype=np.int64)
    found: dict[str, Any] = {"sizes": dict(answered.sizes), "out_of_distribution": of_mark(answered)}
    for modulus in MODULI:
        truth = data.labels[modulus][rows]
        known = np.isfinite(truth)
        columns = {title: np.array(answered.columns[f"{title}/{modulus}"]) for title in (*titles, "low", "high")}
        errors = {t: np.abs(np.log10(columns[t][known]) - np.log10(truth[known])) for t in titles}
        inside = (truth >= columns["low"]) & (truth <= columns["high"])
        marked = np.array(answered.marked, dtype=bool)[known]
        found[modulus] = {
            "n": int(known.sum()),
            "mae": {title: float(error.mean()) for title, error in errors.items()},
            "coverage_90": float(inside[known].mean()),
            "mae_marked": float(errors[GATE][marked].mean()) if marked.any() else None,
            "mae_not_marked": float(errors[GATE][~marked].mean()) if (~marked).any() else None,
        }
    return found


def of_mark(answered: Answered) -> dict[str, float]:
    """How the mark tells the test part from the held-in crystals; without these only how many have it."""
    from sklearn.metrics import roc_auc_score

    found = {"marked": float(np.mean(answered.marked))}
    if answered.distances_held_in:
        truth = np.repeat([1, 0], [len(answered.distance), len(answered.distances_held_in)])
        found["marked_held_in"] = float(np.mean(answered.marked_held_in))
        found["auc"] = float(roc_auc_score(truth, [*answered.marked, *answered.marked_held_in]))
        found["auc_distance"] = float(roc_auc_score(truth, [*answered.distance, *answered.distances_held_in]))
    return found


def of_intervals(modulus: str, estimates: Sequence[Estimate], labels: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Figures of a modulus that has intervals, with what is drawn."""
    found: dict[str, Any] = dict(figures(modulus, estimates, labels[modulus]))
    found |= by_class(modulus, estimates, labels)
    rows = [k for k, e in enumerate(estimates) if modulus in e.values and np.isfinite(labels[modulus][k])]
    values, truth = [estimates[k].values[modulus] for k in rows], labels[modulus][rows]
    mean, std, low, high = (
        np.array([getattr(v, part) for v in values]) for part in ("mean", "std", "low", "high")
    )
    found["deciles"] = deciles(mean, truth, (truth >= low) & (truth <= high))
    found["plots"] = plots(modulus, mean, std, truth)
    return found


def plots(modulus: str, mean: FloatArray, std: FloatArray, truth: FloatArray) -> dict[str, Any]:
    """What is drawn of a modulus, in log10 GPa.

    Returns:
        `coverage`: share of truths inside the central normal intervals of each of `levels`; `spread` and `error`:
        mean predicted standard deviation and root mean square error of ten equal groups by that deviation;
        `parity`: counts by true (rows) and predicted value (words of a row) between `low` and `high`.
    """
    error = to_scale(modulus, mean) - to_scale(modulus, truth)
    sigma = std_to_log10(mean, std)
    inside = central_level(error, sigma)
    groups = np.array_split(np.argsort(sigma, kind="stable"), min(10, len(sigma)))
    both = np.concatenate([to_scale(modulus, truth), to_scale(modulus, mean)])
    low, high = float(both.min()), float(both.max())
    counts, _, _ = np.histogram2d(
        to_scale(modulus, truth), to_scale(modulus, mean), bins=PARITY_BINS, range=[[low, high]] * 2
    )
    return {
        "levels": LEVELS.tolist(),
        "coverage": [float((inside <= level).mean()) for level in LEVELS],
        "spread": [float(sigma[rows].mean()) for rows in groups],
        "error": [float(np.sqrt((error[rows] ** 2).mean())) for rows in groups],
        "parity": {"low": low, "high": high, "counts": [" ".join(map(str, row)) for row in counts.astype(int)]},
    }


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


def with_plots(
    found: Mapping[str, Mapping[str, Any]], estimates: Sequence[Estimate], labels: Mapping[str, FloatArray]
) -> dict[str, Any]:
    """The figures, with those of each tenth of the moduli, and what is drawn of the moduli."""
    out: dict[str, Any] = {name: dict(table) for name, table in found.items()} | {"plots": {}}
    for name in out.keys() & set(MODULI):
        more = of_intervals(name, estimates, labels)
        out["plots"][name] = more.pop("plots")
        out[name]["deciles"] = more["deciles"]
    if "shear_modulus" in out:
        out["shear_modulus"] |= plausible_tail(estimates, labels)
    return out


def plausible_tail(estimates: Sequence[Estimate], labels: Mapping[str, FloatArray]) -> dict[str, float]:
    """The stiff tail of the shear modulus without labels of a negative Poisson's ratio (G > 1.5 K).

    Open frameworks can have one; among crystals with G > 150 GPa it is the sign of a failed calculation.
    """
    k, g = (labels[name] for name in ("bulk_modulus", "shear_modulus"))
    answered = np.array(["shear_modulus" in e.values for e in estimates])
    kept = np.flatnonzero(answered & (g <= 1.5 * k))
    mean = np.array([estimates[int(i)].values["shear_modulus"].mean for i in kept])
    found = tail(mean, g[kept], STIFF["shear_modulus"])
    return {f"plausible_{name}": value for name, value in found.items() if name.startswith("stiff_")}


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
    ("plausible_stiff_spearman", "the same, labels of Poisson's ratio ≥ 0"),
    ("recall_top_1_in_3_percent", "top 1 % found in the predicted top 3 %"),
)
"""Figures and titles of the rows of a table."""


def markdown(record: Mapping[str, Any]) -> str:
    """The record's main figures as tables."""
    stages = {key: record[key] for key in record if key.startswith("gate") or key == "relaxed"}
    models = {**record["protocols"]["systems"]["models"], **stages}
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
    lines += ["", *_protocols(record["protocols"]), *_folds(record["protocols"])]
    speeds = [f"{title} {table['crystals_per_second']:,.0f}" for title, table in stages.items()]
    lines += ["", f"Crystals a second on one core: {', '.join(speeds)}."]
    ends = [f"{key.replace('_', ' ')} {value:,.0f}" for key, value in record["speed"].items()]
    return "\n".join([*lines, f"The gate end to end, crystals a second: {', '.join(ends)}."]) + "\n"


def _protocols(found: Mapping[str, Any]) -> list[str]:
    """Errors of all models under all protocols, and how honest the gate trained anew is."""
    titles = list(found["systems"]["models"])
    lines = ["## Protocols", "", *(f"- `{name}`: {table['about']}." for name, table in found.items())]
    lines += [
        "",
        f"The gates of {', '.join(protocols.LARGE_FOR)} are as large as the package's, unless the run is quick;",
        "the others are stand-ins (two networks of width 48, six epochs): compare models within a protocol.",
    ]
    for modulus in MODULI:
        lines += ["", f"### {_title(modulus)}, mean absolute error", ""]
        lines += [
            "| | crystals | " + " | ".join(titles) + " | covered | miscalibration area |",
            _rule(len(titles) + 3),
        ]
        for name, table in found.items():
            cells = [f"{table['models'][title][modulus]['mae']:.4f}" for title in titles]
            gate = table["models"][GATE][modulus]
            cells += [f"{gate['coverage_90']:.3f}", f"{gate['miscalibration_area']:.3f}"]
            lines.append(f"| {name} | {gate['n']:,} | " + " | ".join(cells) + " |")
    return lines


def _folds(found: Mapping[str, Any]) -> list[str]:
    """The gate trained anew and the out-of-distribution mark, fold by fold."""
    lines = ["", "### Fold by fold: gate trained anew", ""]
    lines.append("| | crystals | log10 K | covered | log10 G | covered | OOD | OOD, held in | AUC by distance |")
    lines.append(_rule(8))
    for name, table in found.items():
        for fold, row in table["folds"].items():
            cells = []
            for modulus in MODULI:
                cells += [f"{row[modulus]['mae'][GATE]:.4f}", f"{row[modulus]['coverage_90']:.3f}"]
            mark = row["out_of_distribution"]
            cells += [f"{mark[k]:.3f}" if k in mark else "" for k in ("marked", "marked_held_in", "auc_distance")]
            lines.append(f"| {name} {fold} | {row['sizes']['test']:,} | " + " | ".join(cells) + " |")
    return lines


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
