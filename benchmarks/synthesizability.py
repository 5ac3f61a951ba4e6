"""The score of synthesizability: how well it tells listed crystals from others, and how calibrated it is.

Known crystals with an energy above hull, in three rounds. *Systems*: chemical systems left out in three folds,
calibrated on the other folds. *Time*: trained on the lower numbers of the Materials Project, asked about the
higher ones; numbers are a stand-in for time, and crystals made are a far smaller share of the later ones.
*Hidden*: half of the flags are hidden at random and the corrected probability is compared with all flags, which
tests the correction where its assumption holds. Baselines: energy above hull, count of made crystals that hold the
elements pairwise, count of made crystals of the prototype, composition alone.

    python benchmarks/synthesizability.py [--seed 0] [--out FILE.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.benchmarking.run import write_record
from invdesign.crystal import FloatArray
from invdesign.reference.known import TABLE, KnownCrystals
from invdesign.synthesis.described import NAMES, Known, inputs
from invdesign.training.synthesizability import (
    FOLDS,
    HEADS,
    INPUTS,
    Head,
    Listed,
    auc,
    best_bin,
    cross_calibrated,
    fit_trees,
    folds_of,
    left_out,
    load_listed,
    mean_of_listed,
    platt,
    reliability,
)

EARLY = (0.6, 0.8)
"""Shares of the crystals, by number, that the rounds of time learn from."""
HIDDEN = 0.5
BASELINES = {"energy above hull": "energy_above_hull", "known neighbours by pairs of elements": "least_pair_made",
             "known neighbours by prototype": "prototype_made"}  # fmt: skip
SIGNS = {"energy_above_hull": -1.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("synthesizability.json"))
    given = parser.parse_args()
    data = load_listed(KnownCrystals.load())
    figures = {
        "crystals": len(data),
        "listed": int(data.made.sum()),
        "systems": of_systems(data, given.seed),
        "time": {f"{early:g}": of_time(data, early, given.seed) for early in EARLY},
        "hidden": of_hidden(data, given.seed),
    }
    write_record(given.out, figures, given.seed, [TABLE])
    print(figures)


def of_systems(data: Listed, seed: int) -> dict[str, Any]:
    """Chemical systems left out."""
    fold = folds_of(data.systems, seed)
    plain, lacking = baselines(data, fold)
    scores = {head: left_out(head, data, fold, seed) for head in HEADS} | plain
    listed = {name: cross_calibrated(score, data.made, fold) for name, score in scores.items()}
    found: dict[str, Any] = {name: judged(one, data.made) for name, one in listed.items()}
    crystal = listed["crystal"]
    c = best_bin(crystal, data.made)
    found["label_frequency"] = {"best_bin": c, "mean_of_listed": mean_of_listed(crystal, data.made)}
    found["corrected"] = {
        "mean_of_unlabelled": float(np.minimum(crystal[~data.made] / c, 1.0).mean()),
        "above_half_of_unlabelled": float((crystal[~data.made] / c > 0.5).mean()),
        "above_half_of_listed": float((crystal[data.made] / c > 0.5).mean()),
    }
    found["no_evidence"] = judged(crystal[lacking], data.made[lacking])
    found["with_evidence"] = judged(crystal[~lacking], data.made[~lacking])
    return found


def baselines(data: Listed, fold: NDArray[np.int64]) -> tuple[dict[str, FloatArray], NDArray[np.bool_]]:
    """Single numbers as scores, and where nothing is known, counted without the fold of each crystal."""
    found = {name: np.zeros(len(data)) for name in BASELINES}
    lacking = np.zeros(len(data), dtype=bool)
    for k in range(FOLDS):
        rest, mine = data.part(fold != k), data.crystals.part(fold == k)
        known = Known.count(rest.crystals, rest.made)
        rows = inputs(mine, known)
        lacking[fold == k] = [bool(reason) for reason in known.lacking(mine.fractions)]
        for name, column in BASELINES.items():
            found[name][fold == k] = SIGNS.get(column, 1.0) * rows[:, NAMES.index(column)]
    return found, lacking


def judged(probability: FloatArray, made: NDArray[np.bool_]) -> dict[str, Any]:
    """Area under the curve and reliability."""
    head = {"crystals": len(made), "listed": float(made.mean()), "auc": auc(probability, made)}
    return head | reliability(probability, made)


def of_time(data: Listed, early: float, seed: int) -> dict[str, Any]:
    """Later numbers by what was learnt from earlier ones."""
    cut = np.quantile(data.numbers, early)
    past, future = data.part(data.numbers < cut), data.part(data.numbers >= cut)
    found: dict[str, Any] = {"before": int(cut), "trained_on": len(past), "listed_there": float(past.made.mean())}
    for head in HEADS:
        found[head] = judged(asked(head, past, future, seed), future.made)
    found["energy above hull"] = {"auc": auc(-future.crystals.energies, future.made)}
    rows = inputs(future.crystals, Known.count(past.crystals, past.made))
    for name, column in list(BASELINES.items())[1:]:
        found[name] = {"auc": auc(rows[:, NAMES.index(column)], future.made)}
    return found


def asked(head: str, past: Listed, future: Listed, seed: int) -> FloatArray:
    """(n,) probabilities of later crystals; one fold of the earlier ones' chemical systems serves to calibrate."""
    fold = folds_of(past.systems, seed)
    learnt, rest = past.part(fold != 0), past.part(fold == 0)
    known, describe = Known.count(learnt.crystals, learnt.made), INPUTS[head][0]
    trees = fit_trees(head, learnt, known, seed)
    line = platt(trees.log_odds(describe(rest.crystals, known, None)), rest.made)
    return Head(trees, *line, 1.0).listed(describe(future.crystals, known, None))


def of_hidden(data: Listed, seed: int) -> dict[str, Any]:
    """The corrections judged by flags that were hidden; learnt, calibrated and judged on a fold each."""
    fold = folds_of(data.systems, seed)
    shown = data.made & (np.random.default_rng(seed).random(len(data)) >= HIDDEN)
    told = Listed(data.crystals, shown, data.numbers, data.systems)
    learnt, middle, last = (told.part(fold == k) for k in range(3))
    known = Known.count(learnt.crystals, learnt.made)
    trees = fit_trees("crystal", learnt, known, seed)
    log_odds = trees.log_odds(inputs(middle.crystals, known))
    head = Head(trees, *platt(log_odds, middle.made), 1.0)
    seen, listed = head.calibrated(log_odds), head.listed(inputs(last.crystals, known))
    truth = data.made[fold == 2]
    found: dict[str, Any] = {"shown": 1.0 - HIDDEN, "listed": float(truth.mean()), "auc": auc(listed, truth)}
    ways = {"uncorrected": 1.0, "best_bin": best_bin(seen, middle.made),
            "mean_of_listed": mean_of_listed(seen, middle.made)}  # fmt: skip
    for name, c in ways.items():
        probability = np.minimum(listed / c, 1.0)
        found[name] = {"c": c, "mean": float(probability.mean())} | reliability(probability, truth)
    return found


if __name__ == "__main__":
    main()
