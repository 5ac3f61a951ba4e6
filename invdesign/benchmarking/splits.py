"""Ways to split the crystals with computed moduli, and what models trained on one part answer about another.

The shipped surrogates can only be asked about what they have not seen, so here models are trained anew on each
split: a gate (the package's network, on exact geometries of crystals with moduli alone) and baselines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from invdesign.benchmarking import cdvae
from invdesign.benchmarking.metrics import template
from invdesign.chemistry.composition import chemical_system, reduced_formula
from invdesign.chemistry.element_features import element_features
from invdesign.crystal import FloatArray, Gene, IntArray
from invdesign.data.split import assert_no_leakage, by_chemical_system
from invdesign.elements import atomic_number
from invdesign.errors import InputError
from invdesign.executors import Workforce, pool
from invdesign.properties import PREDICTED
from invdesign.reference.local import load_known
from invdesign.surrogates.explain.nearest import load_labelled
from invdesign.surrogates.fitting.train import Settings, TrainingData, fit
from invdesign.surrogates.inputs.dataset import Graphs, Labelled, graphs_of_genes, read_labelled, select
from invdesign.surrogates.inputs.features import LAST_ELEMENT
from invdesign.surrogates.inputs.store import join
from invdesign.workers import Lost

MODULI = ("bulk_modulus", "shear_modulus")
ELEMENTS = ("B", "C", "N", "O", "F", "S", "Li", "Al", "Si", "Ti", "Fe", "La")
QUICK_ELEMENTS = ("B", "O", "Ti")
NOBLE_GASES = {2, 10, 18, 36, 54, 86}
FOLDS, MATBENCH_SEED, MATBENCH_HULL = 5, 18012019, 0.15
NEWEST = 0.1
"""Share of the crystals with the largest ids that the time-like protocol tests on."""
QUICK_STEP = 4
CHUNK = 4000

LARGE = Settings(members=3, epochs=12, batch=64, modulus_repeats=1)
SMALL = Settings(members=2, epochs=6, batch=64, modulus_repeats=1, width=48, layers=2)
"""A gate as large as the package's, and a stand-in that trains in a third of the time."""

LARGE_FOR = ("systems", "matbench")
"""Protocols whose figures are compared with those of others, so that they get the large gate."""

PROTOCOLS = {
    "systems": "by chemical system, as the shipped surrogates were split (hash, seed 0, 80 / 10 / 10)",
    "matbench": (
        f"Matbench's protocol: {FOLDS} folds of its KFold (shuffled, seed {MATBENCH_SEED}), calibrated on a "
        f"random tenth of each training part; at most {MATBENCH_HULL} eV/atom above the hull, no noble gases, "
        "positive moduli. The crystals are this package's, so the folds do not hold Matbench's rows; its rule on "
        "Voigt and Reuss bounds cannot be applied"
    ),
    "prototypes": (
        f"{FOLDS} folds that share no prototype (space group and, for each element, its Wyckoff positions, up to "
        "the choice of origin)"
    ),
    "elements": "one element left out at a time: trained on the crystals without it, tested on those that hold it",
    "time": (
        f"the {NEWEST:.0%} of the crystals with the largest Materials Project numbers, trained on the rest: ids "
        "grow with time, but not strictly"
    ),
}
"""What each protocol does. Unless said otherwise, the calibration sees a tenth of the rest's chemical systems."""


@dataclass(frozen=True, eq=False)
class Data:
    """The crystals.

    Attributes:
        ids: of all.
        genes: of all.
        labels: by property, in its unit, NaN where unknown.
        graphs: of all.
        split: (n,) `train`, `valid` or `test`, by chemical system.
    """

    ids: Sequence[str]
    genes: Sequence[Gene]
    labels: Mapping[str, FloatArray]
    graphs: Graphs
    split: np.ndarray[Any, Any]


def read(path: Path | None = None, step: int = 1) -> Data:
    """Every `step`-th crystal with a modulus, of a table of crystals and labels or of the package.

    Raises:
        InputError: if the file cannot be read or holds no moduli.
    """
    ids, genes, labels = _shipped() if path is None else _own(path)
    rows = np.arange(0, len(ids), step)
    ids, genes = ids[::step], genes[::step]
    graphs = join([graphs_of_genes(genes[i : i + CHUNK]) for i in range(0, len(genes), CHUNK)])
    split = by_chemical_system([chemical_system(g.numbers) for g in genes])
    return Data(ids, genes, {name: values[rows] for name, values in labels.items()}, graphs, split)


def _shipped() -> tuple[Sequence[str], Sequence[Gene], Mapping[str, FloatArray]]:
    table, known = load_labelled(), load_known()
    rows = {known.id(row): row for row in range(len(known))}
    ids = [str(i) for i in table.ids]
    labels = {name: table.labels[:, j].astype(np.float64) for j, name in enumerate(PREDICTED)}
    return ids, [known[rows[i]].gene for i in ids], labels


def _own(path: Path) -> tuple[Sequence[str], Sequence[Gene], Mapping[str, FloatArray]]:
    found = read_labelled(path)
    rows = np.flatnonzero(np.isfinite(found.labels["bulk_modulus"]) | np.isfinite(found.labels["shear_modulus"]))
    if not len(rows):
        raise InputError("data", str(path), "a table with bulk_modulus or shear_modulus in GPa")
    chosen = found.subset(rows)
    return chosen.ids, chosen.genes, chosen.labels


@dataclass(frozen=True, eq=False)
class Fold:
    """One split.

    Attributes:
        protocol: its name.
        name: of the fold, such as `3` or `Ti`.
        split: (n,) `train`, `valid`, `test`, `held in` (not trained on, but without what the test part has new),
            or empty for what takes no part.
    """

    protocol: str
    name: str
    split: np.ndarray[Any, Any]


def folds(protocol: str, data: Data, elements: Sequence[str] = ELEMENTS) -> list[Fold]:
    """The splits of a protocol.

    Raises:
        InputError: if there is no such protocol, or the data are not enough for it.
    """
    if protocol not in PROTOCOLS:
        raise InputError("protocol", protocol, PROTOCOLS)
    if protocol == "systems":
        return [Fold(protocol, "1", data.split)]
    if protocol == "matbench":
        return list(_matbench(data))
    if protocol == "prototypes":
        labels = prototypes(data)
        parts = _grouped(labels)
        found = [Fold(protocol, str(k + 1), _left_out(data, parts == k)) for k in range(FOLDS)]
        for fold in found:
            assert_no_leakage(np.where(fold.split == "test", "test", "rest"), prototype=labels)
        return found
    if protocol == "elements":
        holds = {e: np.array([atomic_number(e) in g.numbers for g in data.genes]) for e in elements}
        return [Fold(protocol, e, _left_out(data, rows)) for e, rows in holds.items() if rows.any()]
    split = np.where(data.split == "valid", "valid", "train").astype("<U7")
    split[newest(data)] = "test"
    return [Fold(protocol, "1", split)]


def _left_out(data: Data, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Some crystals as the test part; the test systems of the others are held in."""
    return np.where(rows, "test", np.where(data.split == "test", "held in", data.split))


def _matbench(data: Data) -> Iterator[Fold]:
    from sklearn.model_selection import KFold

    rows = np.flatnonzero(matbench_rules(data))
    if len(rows) < 10 * FOLDS:
        raise InputError(
            "data", f"{len(rows)} crystals by Matbench's rules", "more, with moduli and energy_above_hull"
        )
    splitter = KFold(n_splits=FOLDS, shuffle=True, random_state=MATBENCH_SEED)
    for k, (train, test) in enumerate(splitter.split(rows)):
        split = np.full(len(data.genes), "", dtype="<U7")
        split[rows[train]], split[rows[test]] = "train", "test"
        inner = np.random.default_rng(MATBENCH_SEED + k).permutation(rows[train])
        split[inner[: len(inner) // 10]] = "valid"
        yield Fold("matbench", str(k + 1), split)


def matbench_rules(data: Data) -> np.ndarray[Any, Any]:
    """(n,) whether Matbench's rules for its modulus tasks keep a crystal, as far as they can be told.

    A. Dunn et al., npj Comput. Mater. 6, 138 (2020). A crystal of unknown energy above hull is left out.
    """
    kept = np.array([not NOBLE_GASES & set(g.numbers) for g in data.genes])
    with np.errstate(invalid="ignore"):
        kept &= data.labels["energy_above_hull"] <= MATBENCH_HULL
        for name in MODULI:
            kept &= data.labels[name] > 0
    return kept


def prototypes(data: Data) -> list[str]:
    """A label of the prototype of every crystal: see `invdesign.benchmarking.metrics.template`."""
    return [repr(template(gene)) for gene in data.genes]


def _grouped(labels: Sequence[str]) -> IntArray:
    """(n,) fold of every crystal: groups from the largest on, each to the fold that is smallest so far."""
    sizes, place = [0] * FOLDS, {}
    for label, count in sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0])):
        place[label] = int(np.argmin(sizes))
        sizes[place[label]] += count
    return np.array([place[label] for label in labels], dtype=np.int64)


def newest(data: Data) -> IntArray:
    """Rows with the largest numbers in their ids.

    Raises:
        InputError: if an id holds no number.
    """
    found = [re.search(r"(\d+)$", name) for name in data.ids]
    if not all(found):
        raise InputError("material_id", data.ids[found.index(None)], "ids that end in a number, such as mp-149")
    order = np.argsort([int(match.group(1)) for match in found if match], kind="stable")
    return order[len(order) - max(1, round(NEWEST * len(order))) :]


@dataclass(frozen=True)
class Answered:
    """What the models of one fold answered; numbers in GPa.

    Attributes:
        rows: of the test part.
        columns: answers to it: `model/property`, and of the gate also `low/…`, `high/…`, `std/…`.
        distance: distance percentile of each of them by the gate.
        distances_held_in: that of the held-in crystals.
        marked: whether the gate marks them as out of distribution.
        marked_held_in: that of the held-in crystals.
        seen: shares of the test part whose formula, chemical system and prototype training had.
        sizes: crystals of each part.
    """

    rows: tuple[int, ...]
    columns: Mapping[str, tuple[float, ...]]
    distance: tuple[float, ...]
    distances_held_in: tuple[float, ...]
    marked: tuple[bool, ...]
    marked_held_in: tuple[bool, ...]
    seen: Mapping[str, float]
    sizes: Mapping[str, int]


GATE = "gate, trained anew"


def answer(fold: Fold, data: Data, tables: Mapping[str, FloatArray], settings: Settings) -> Answered:
    """Train all models on a fold and ask them about its test part."""
    test = np.flatnonzero(fold.split == "test")
    columns = _baselines(fold, data, tables, test)
    model = fit("gate", training(fold, data), settings, progress=lambda line: None)
    estimates = model.estimates(select(data.graphs, test))
    near = np.flatnonzero(fold.split == "held in")
    held_in = model.estimates(select(data.graphs, near)) if len(near) else []
    for name in MODULI:
        values = [e.values[name] for e in estimates]
        columns |= {f"{p}/{name}": np.array([getattr(v, p) for v in values]) for p in ("low", "high", "std")}
        columns[f"{GATE}/{name}"] = np.array([v.mean for v in values])
    return Answered(
        rows=tuple(test.tolist()),
        columns={key: tuple(float(f"{v:.6g}") for v in values) for key, values in columns.items()},
        distance=tuple(e.distance for e in estimates),
        distances_held_in=tuple(e.distance for e in held_in),
        marked=tuple(e.out_of_distribution for e in estimates),
        marked_held_in=tuple(e.out_of_distribution for e in held_in),
        seen=_seen(fold, data),
        sizes={part: int((fold.split == part).sum()) for part in ("train", "valid", "test", "held in")},
    )


def _baselines(fold: Fold, data: Data, tables: Mapping[str, FloatArray], test: IntArray) -> dict[str, FloatArray]:
    """Moduli (GPa) of the test part by the models that give no uncertainty."""
    columns: dict[str, FloatArray] = {}
    for name in MODULI:
        known = (fold.split == "train") & np.isfinite(data.labels[name])
        target = np.log10(data.labels[name][known])
        columns[f"mean/{name}"] = np.full(len(test), 10.0 ** target.mean())
        columns[f"median/{name}"] = np.full(len(test), 10.0 ** np.median(target))
        for title, (make, table) in models(tables).items():
            columns[f"{title}/{name}"] = 10.0 ** make().fit(table[known], target).predict(table[test])
    return columns


def training(fold: Fold, data: Data) -> TrainingData:
    """A fold as the trainer wants it."""
    systems = [chemical_system(g.numbers) for g in data.genes]
    labelled = Labelled(list(data.ids), list(data.genes), systems, dict(data.labels), {})
    return TrainingData(labelled, [data.graphs], None, fold.split)


def _seen(fold: Fold, data: Data) -> dict[str, float]:
    """Shares of the test part whose formula, chemical system and prototype the training part has."""
    train, test = fold.split == "train", np.flatnonzero(fold.split == "test")
    kinds = {
        "formula": [reduced_formula(g.numbers) for g in data.genes],
        "chemical system": [chemical_system(g.numbers) for g in data.genes],
        "prototype": prototypes(data),
    }
    found = {}
    for kind, labels in kinds.items():
        known = {label for label, trained in zip(labels, train, strict=True) if trained}
        found[kind] = float(np.mean([labels[i] in known for i in test])) if len(test) else float("nan")
    return found


def models(tables: Mapping[str, FloatArray]) -> dict[str, tuple[Callable[[], Any], FloatArray]]:
    """Baselines by title: what makes one, and the table that it reads."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import RidgeCV

    forest = {"n_estimators": 100, "max_features": 0.2, "min_samples_leaf": 2, "random_state": 0}
    boosted = {"max_iter": 300, "learning_rate": 0.08, "max_features": 0.3, "random_state": 0}
    title = next(name for name in tables if name.startswith("random forest"))
    return {
        "ridge on composition": (partial(RidgeCV, np.logspace(-4, 2, 7)), tables["composition"]),
        title: (partial(RandomForestRegressor, **forest), tables[title]),
        "boosted trees on all features": (partial(HistGradientBoostingRegressor, **boosted), tables["all"]),
    }


def feature_tables(data: Data) -> dict[str, FloatArray]:
    """What the baselines read. The random forest has Magpie's statistics, or without matminer the package's.

    Both are in the way of L. Ward et al., npj Comput. Mater. 2, 16028 (2016).
    """
    features = data.graphs.features
    last = LAST_ELEMENT + 4 * len(element_features().columns)
    tables: dict[str, Any] = {"composition": features[:, :LAST_ELEMENT], "all": features}
    if cdvae.version():
        return tables | {"random forest on Magpie features": cdvae.magpie(data.genes)}
    return tables | {"random forest on element statistics": features[:, LAST_ELEMENT:last]}


@dataclass(frozen=True)
class Task:
    """What a worker process needs to know; see `answers`.

    Attributes:
        path: table of crystals and labels (None: the package's).
        step: every how many crystals are taken.
        small: whether all gates are stand-ins.
        elements: those that are left out one at a time.
    """

    path: Path | None
    step: int
    small: bool
    elements: tuple[str, ...]

    def settings(self, protocol: str) -> Settings:
        """How the gates of a protocol are trained."""
        return LARGE if protocol in LARGE_FOR and not self.small else SMALL


Key = tuple[str, str]
"""Protocol and name of a fold."""


def answerer(task: Task, data: Data | None = None) -> Callable[[Key], Answered]:
    """The function that answers a fold; in a process of its own it reads the data itself."""
    import torch

    torch.set_num_threads(1)
    whole = read(task.path, task.step) if data is None else data
    tables = feature_tables(whole)
    found: dict[Key, Fold] = {}

    def reply(key: Key) -> Answered:
        if key not in found:
            found.update({(key[0], f.name): f for f in folds(key[0], whole, task.elements)})
        return answer(found[key], whole, tables, task.settings(key[0]))

    return reply


def answers(
    keys: Sequence[Key], task: Task, data: Data, workers: Workforce = 1
) -> Iterator[tuple[Key, Answered | Lost]]:
    """Answers of folds as they come, by processes (None: one per core) or an executor, or here if it is 1."""
    if not keys:
        return
    if workers == 1:
        reply = answerer(task, data)
        yield from ((key, reply(key)) for key in keys)
        return
    processes = pool(workers, "invdesign.benchmarking.splits:answerer", task)
    try:
        for index, found in processes.imap(list(keys)):
            yield keys[index], found
    finally:
        processes.close()
