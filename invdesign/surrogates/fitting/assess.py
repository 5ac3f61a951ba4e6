"""The figures of a surrogate on crystals of chemical systems that it has not seen, the tails apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from invdesign.crystal import FloatArray
from invdesign.records import Estimate
from invdesign.surrogates.calibrate import PointMass, coverage, miscalibration_area, pit_area
from invdesign.surrogates.fitting.train import TrainingData
from invdesign.surrogates.inputs.dataset import Graphs, select
from invdesign.surrogates.inputs.features import FloatTable
from invdesign.surrogates.model import Model
from invdesign.surrogates.scales import to_scale
from invdesign.uncertainty import std_to_log10

STIFF = {"bulk_modulus": 250.0, "shear_modulus": 150.0}
"""GPa from which a crystal belongs to the stiff tail."""

Figures = dict[str, float | int]


def assess(model: Model, data: TrainingData, copy: int, part: str = "test") -> dict[str, Figures]:
    """Figures of each property on one part of the split, with the exact crystals (copy 0) or perturbed ones."""
    rows = data.rows(part)
    labels = {name: values[rows] for name, values in data.labelled.labels.items()}
    extra = None if data.extra is None else data.extra[rows]
    return judge(model, select(data.copies[copy], rows), labels, extra)


def judge(
    model: Model, graphs: Graphs, labels: Mapping[str, FloatArray], extra: FloatTable | None = None
) -> dict[str, Figures]:
    """Figures of each property with ten labels or more (NaN where unknown)."""
    raw = model.raw(graphs, extra)
    estimates = model.estimates(graphs, extra, raw)
    raw, distance = model.widened(raw, graphs), np.array([e.distance for e in estimates])
    found: dict[str, Figures] = {}
    for j, name in enumerate(model.properties):
        if np.isfinite(labels[name]).sum() < 10:
            continue
        found[name] = figures(name, estimates, labels[name]) | by_class(name, estimates, labels)
        if name in STIFF:
            found[name] |= near_hull(name, estimates, labels[name], labels["energy_above_hull"])
        if name in model.masses and 0 < (labels[name] == 0.0).sum() < np.isfinite(labels[name]).sum():
            answers = raw.mean[:, j], raw.spread[:, j], distance
            found[name] |= zeros(name, model.masses[name], estimates, answers, labels[name])
    return found


def by_class(name: str, estimates: Sequence[Estimate], labels: Mapping[str, FloatArray]) -> Figures:
    """Coverage among metals and among insulators, by their known gaps; a class of fewer than ten is left out."""
    gap, truth = labels["band_gap"], labels[name]
    answered = np.array([name in e.values for e in estimates]) & np.isfinite(truth)
    found: Figures = {}
    for title, rows in (("metals", gap == 0.0), ("insulators", gap > 0.0)):
        chosen = np.flatnonzero(answered & rows)
        if len(chosen) >= 10:
            values = [estimates[int(k)].values[name] for k in chosen]
            low, high = (np.array([getattr(v, end) for v in values]) for end in ("low", "high"))
            found[f"coverage_90_{title}"] = coverage(low, high, truth[chosen])
    return found


def zeros(
    name: str,
    mass: PointMass,
    estimates: Sequence[Estimate],
    answers: tuple[FloatArray, FloatArray, FloatArray],
    truth: FloatArray,
) -> Figures:
    """Calibration of a property that is often exactly zero, by class; the area is that of its whole distribution.

    Args:
        name: of the property.
        mass: its probability of zero.
        estimates: one per crystal.
        answers: mean, spread (both in the modelled scale) and distance percentile of each crystal.
        truth: labels, NaN where unknown.
    """
    from sklearn.metrics import roc_auc_score

    known = np.isfinite(truth)
    values = [e.values[name] for e, k in zip(estimates, known, strict=True) if k]
    low, high = (np.array([getattr(v, end) for v in values]) for end in ("low", "high"))
    truth, (mean, spread, distance) = truth[known], (column[known] for column in answers)
    zero, chance = truth == 0.0, mass.zero_probability(mean, spread)
    return {
        "coverage_90_zero": coverage(low[zero], high[zero], truth[zero]),
        "coverage_90_not_zero": coverage(low[~zero], high[~zero], truth[~zero]),
        "zero_auc": float(roc_auc_score(zero, chance)),
        "zero_brier": float(((chance - zero) ** 2).mean()),
        "miscalibration_area": pit_area(mass.pit(mean, spread, distance, to_scale(name, truth))),
    }


def near_hull(name: str, estimates: Sequence[Estimate], truth: FloatArray, hull: FloatArray) -> Figures:
    """Error in log10 GPa under the rules by which Matbench chose its modulus tasks, as far as the data has them.

    Dunn et al., npj Comput. Mater. 6, 138 (2020): energy above hull at most 0.15 eV/atom, positive moduli.
    """
    with np.errstate(invalid="ignore"):
        chosen = (hull <= 0.15) & (truth > 0.0)
    if not chosen.any():
        return {}
    mean = np.array([e.values[name].mean for e, c in zip(estimates, chosen, strict=True) if c])
    error = to_scale(name, mean) - to_scale(name, truth[chosen])
    return {"n_near_hull": int(chosen.sum()), "mae_near_hull": float(np.abs(error).mean())}


def figures(name: str, estimates: Sequence[Estimate], truth: FloatArray) -> Figures:
    """Errors and calibration of one property; errors of moduli are in log10 GPa, of others in their unit.

    Failed estimates are counted and left out.
    """
    failed = np.array([name not in e.values for e in estimates])
    known = np.isfinite(truth) & ~failed
    truth = truth[known]
    distance = np.array([e.distance for e in estimates])[known]
    values = [e.values[name] for e, k in zip(estimates, known, strict=True) if k]
    mean = np.array([v.mean for v in values])
    std = np.array([v.std for v in values])
    low, high = np.array([v.low for v in values]), np.array([v.high for v in values])
    is_log = name in STIFF
    error = to_scale(name, mean) - to_scale(name, truth) if is_log else mean - truth
    quintiles = np.quantile(truth, [0.2, 0.4, 0.6, 0.8])
    fifth = np.digitize(truth, quintiles)
    found: Figures = {
        "n": len(truth),
        "failed": int(failed.sum()),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "baseline_mae": float(np.abs(_scaled(name, truth) - np.median(_scaled(name, truth))).mean()),
        "coverage_90": coverage(low, high, truth),
        "coverage_90_least_quintile": min(
            coverage(low[fifth == q], high[fifth == q], truth[fifth == q]) for q in np.unique(fifth)
        ),
        "coverage_90_farthest_tenth": _far_coverage(low, high, truth, distance),
        "mean_interval_width": float((_scaled(name, high) - _scaled(name, np.maximum(low, 1e-9))).mean())
        if is_log
        else float((high - low).mean()),
        "miscalibration_area": miscalibration_area(
            _scaled(name, mean), std_to_log10(mean, std) if is_log else std, _scaled(name, truth)
        ),
    }
    if is_log:
        found |= tail(mean, truth, STIFF[name])
    return found


def _scaled(name: str, values: FloatArray) -> FloatArray:
    return to_scale(name, values) if name in STIFF else values


def _far_coverage(low: FloatArray, high: FloatArray, truth: FloatArray, distance: FloatArray) -> float:
    """Coverage among the tenth of the crystals that is farthest from the training data."""
    far = distance >= np.quantile(distance, 0.9)
    return coverage(low[far], high[far], truth[far])


def tail(mean: FloatArray, truth: FloatArray, limit: float) -> Figures:
    """How the stiffest are predicted and found again."""
    from scipy.stats import spearmanr

    stiff = truth > limit
    found: Figures = {"stiff_n": int(stiff.sum())}
    if stiff.sum() >= 5:
        found["stiff_bias_gpa"] = float((mean - truth)[stiff].mean())
        found["stiff_mae_gpa"] = float(np.abs(mean - truth)[stiff].mean())
        if np.ptp(mean[stiff]) > 0.0:
            found["stiff_spearman"] = float(spearmanr(mean[stiff], truth[stiff]).statistic)
    best = np.argsort(-truth)[: max(1, len(truth) // 100)]
    for share in (1, 3):
        chosen = np.argsort(-mean)[: max(1, len(truth) * share // 100)]
        found[f"recall_top_1_in_{share}_percent"] = float(np.isin(best, chosen).mean())
    return found
