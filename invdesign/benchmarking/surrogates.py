"""`invdesign benchmark surrogates`: how good, how honest and how fast the surrogates are.

Crystals are the 11,630 known ones with computed moduli (`labelled_crystals.npz`) or those of a table. The shipped
surrogates are asked about those whose chemical systems they have not seen: the gate about exact crystals and about
crystals with a generator's errors, the second stage about exact ones. Beside that, a gate and baselines are
trained anew under five protocols (`invdesign.benchmarking.splits`). Every result is a line of a journal beside the
output file, so a run that is stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build
from invdesign.benchmarking import cdvae
from invdesign.benchmarking import splits as protocols
from invdesign.benchmarking.charts import surrogates_page
from invdesign.benchmarking.figures.surrogates import labels_of, markdown, summary, with_plots
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.run import check_output, run_of, write_text
from invdesign.benchmarking.splits import GATE, MODULI, PROTOCOLS, Answered, Data, Key, Task
from invdesign.crystal import Crystal, FloatArray, Gene
from invdesign.crystallography.genes import decode
from invdesign.errors import InputError
from invdesign.executors import Workforce
from invdesign.progress import Progress, quiet
from invdesign.report import export
from invdesign.surrogates import load_gate, load_relaxed
from invdesign.surrogates.fitting.assess import judge
from invdesign.surrogates.inputs.dataset import graphs_of_genes, perturb
from invdesign.workers import Lost, WorkerError, Workers

__all__ = ["PROTOCOLS", "Part", "Plan", "end_to_end", "gate_speed", "markdown", "predictor", "surrogates"]

PERTURBATION_SEED = 9
QUICK_RELAXED = 200
SPEED_CRYSTALS, SLOW_SPEED_CRYSTALS = 2000, 200
PROCESSES = 2
"""Processes of the speed that is measured end to end."""


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        protocols: names of `PROTOCOLS`, of which `systems` is always measured.
        relaxed: test crystals that the second stage is asked about (None: all).
        quick: a quarter of the crystals, smaller gates, three left-out elements.
        data: table of crystals and labels (None: the package's).

    Raises:
        InputError: if there is no such protocol or no such file.
    """

    protocols: tuple[str, ...] = tuple(PROTOCOLS)
    relaxed: int | None = None
    quick: bool = False
    data: Path | None = None

    def __post_init__(self) -> None:
        """Check the names."""
        for name in self.protocols:
            if name not in PROTOCOLS:
                raise InputError("protocol", name, PROTOCOLS)
        if self.data is not None and not self.data.is_file():
            raise InputError("data", str(self.data), "a file with crystals and labels")

    @property
    def task(self) -> Task:
        """What the processes that train need to know."""
        elements = protocols.QUICK_ELEMENTS if self.quick else protocols.ELEMENTS
        return Task(self.data, protocols.QUICK_STEP if self.quick else 1, self.quick, elements)


@dataclass(frozen=True)
class Part:
    """Figures of one of the shipped stages, as JSON."""

    text: str


def surrogates(
    out: Path, plan: Plan = Plan(), workers: Workforce = None, progress: Progress = quiet
) -> dict[str, Any]:
    """Measure, and write the record as JSON, tables in Markdown, plots, and the journal beside them.

    Args:
        out: `FILE.json`; the tables become `FILE.md`, the plots `FILE.html`, the journal `FILE.jsonl`.
        plan: what is measured.
        workers: processes that train (None: one per core), or an executor.
        progress: is told how far it has come.

    Raises:
        InputError: if the data cannot be read.
        OutputError: if a file cannot be written, or the journal is of another benchmark.
        ReferenceMissingError: if weights or tables cannot be read.
        WorkerError: if a process that trains ends before it has answered.
    """
    check_output(out)
    about = _about(plan)
    journal = Journal(out.with_suffix(".jsonl"), about)
    data = protocols.read(plan.data, plan.task.step)
    test = np.flatnonzero(data.split == "test")
    record: dict[str, Any] = {"run": run_of(_command(plan, out), "0, of splits and trainings", TABLES)}
    record |= {"benchmark": "surrogates", **about}
    record["crystals"] = {part: int((data.split == part).sum()) for part in ("train", "valid", "test")}
    answered = _answered(plan, data, journal, workers, progress)
    shipped = _shipped(plan, data, test, journal, progress)
    record |= {title: part for title, part in shipped.items() if title != "plots"}
    record["protocols"] = {
        name: summary(name, {key[1]: a for key, a in answered.items() if key[0] == name}, data)
        for name in PROTOCOLS
        if any(key[0] == name for key in answered)
    }
    record["plots"] = shipped["plots"] | {
        f"{GATE}: {name}": {m: table["models"][GATE][m].pop("plots") for m in MODULI if m in table["models"][GATE]}
        for name, table in record["protocols"].items()
    }
    export.write_json(record, out)
    write_text(markdown(record), out.with_suffix(".md"))
    write_text(surrogates_page(record), out.with_suffix(".html"))
    return record


TABLES = ("surrogate_gate.safetensors", "surrogate_relaxed.safetensors", "labelled_crystals.npz")
"""What the figures depend on."""


def _command(plan: Plan, out: Path) -> str:
    """The command that makes the record again."""
    options = [f"--protocols {','.join(plan.protocols)}"]
    options += [f"--relaxed {plan.relaxed}"] * (plan.relaxed is not None) + ["--quick"] * plan.quick
    options += ["--data DIR"] * (plan.data is not None)
    return f"invdesign benchmark surrogates {' '.join(options)} --out {out.name}"


def _about(plan: Plan) -> dict[str, Any]:
    """What the results depend on."""
    source = "package" if plan.data is None else hashlib.sha256(plan.data.read_bytes()).hexdigest()[:12]
    return {
        "split": PROTOCOLS["systems"],
        "quick": plan.quick,
        "data": source,
        "weights": build.checksums(),
        "versions": build.versions() | {"matminer": cdvae.version()},
    }


def _answered(
    plan: Plan, data: Data, journal: Journal, workers: Workforce, progress: Progress
) -> dict[Key, Answered]:
    """The answers of all folds, from the journal or made now."""
    wanted = [name for name in PROTOCOLS if name in plan.protocols or name == "systems"]
    keys = [(f.protocol, f.name) for n in wanted for f in protocols.folds(n, data, plan.task.elements)]
    todo = [key for key in keys if journal.get(Answered, " ".join(key)) is None]
    progress("train on splits", len(keys) - len(todo), len(keys))
    for done, (key, found) in enumerate(protocols.answers(todo, plan.task, data, workers), start=1):
        if isinstance(found, Lost):
            raise WorkerError(f"fold {' '.join(key)}: {found.reason}")
        journal.put(" ".join(key), (0, found))
        progress("train on splits", len(keys) - len(todo) + done, len(keys))
    return {key: row for key in keys if (row := journal.get(Answered, " ".join(key))) is not None}


def _shipped(plan: Plan, data: Data, test: Any, journal: Journal, progress: Progress) -> dict[str, Any]:
    """Figures of the shipped stages and their plots."""
    most = plan.relaxed or (QUICK_RELAXED if plan.quick else None)
    some = test[:most]
    genes = [data.genes[int(i)] for i in test]
    noisy = perturb(genes, np.random.default_rng(PERTURBATION_SEED))
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "gate, exact": lambda: gate(genes, labels_of(data, test)),
        "gate, with a generator's errors": lambda: gate(noisy, labels_of(data, test)),
        f"relaxed ({len(some)})": lambda: second_stage(genes[: len(some)], labels_of(data, some)),
        "speed": lambda: gate_speed(genes),
    }
    found: dict[str, Any] = {"plots": {}}
    for done, (title, make) in enumerate(parts.items(), start=1):
        row = journal.get(Part, title)
        if row is None:
            row = Part(json.dumps(make()))
            journal.put(title, (0, row))
        part = json.loads(row.text)
        short = title.split(" (")[0]
        found["plots"][short] = part.pop("plots", {})
        found[short] = part
        progress("shipped surrogates", done, len(parts))
    found["plots"].pop("speed")
    return found


def gate(genes: Sequence[Gene], labels: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Figures of the gate, and its speed on crystals with genes."""
    surrogate, crystals = load_gate(), decode(genes)
    estimates, speed = timed(surrogate.predict, crystals)
    found = judge(surrogate.model, graphs_of_genes(genes), labels)
    return with_plots(found, estimates, labels) | {"crystals_per_second": speed}


def second_stage(genes: Sequence[Gene], labels: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Figures of the second stage and its speed, potential features included."""
    surrogate, crystals, graphs = load_relaxed(), decode(genes), graphs_of_genes(genes)
    _, speed = timed(surrogate.predict, crystals[:SLOW_SPEED_CRYSTALS])
    extra = surrogate.potentials.compute(crystals)
    estimates = surrogate.model.estimates(graphs, extra)
    found = judge(surrogate.model, graphs, labels, extra)
    return with_plots(found, estimates, labels) | {"crystals_per_second": speed}


def timed(predict: Callable[[list[Crystal]], Any], crystals: list[Crystal]) -> tuple[Any, float]:
    """The result, and crystals a second of one core's time (so that other work on the machine does not count)."""
    predict(crystals[:2])
    start = time.process_time()
    result = predict(crystals)
    return result, len(crystals) / (time.process_time() - start)


def gate_speed(genes: Sequence[Gene]) -> dict[str, float]:
    """Crystals a second of the gate: of one core's time, and by processes of one thread each.

    By processes it is measured end to end, the way to them and back included: of the mean of their CPU time, which
    other work on the machine does not change much, and of wall-clock time.
    """
    some = [genes[k % len(genes)] for k in range(SPEED_CRYSTALS)]
    crystals = decode(some)
    bare = [Crystal(c.lattice, c.numbers, c.frac_coords) for c in crystals]
    predict = load_gate().predict
    found = {}
    for title, chosen in (("with_genes", crystals), ("without_genes", bare)):
        found[f"one_core_{title}"] = timed(predict, chosen)[1]
        by_cpu, by_clock = end_to_end(chosen)
        found |= {f"{PROCESSES}_processes_{title}": by_cpu, f"{PROCESSES}_processes_{title}_by_clock": by_clock}
    return found


def end_to_end(crystals: Sequence[Crystal], processes: int = PROCESSES, chunk: int = 250) -> tuple[float, float]:
    """Crystals a second by processes that have loaded the gate: of their mean CPU time, and of wall-clock time."""
    pool = Workers("invdesign.benchmarking.surrogates:predictor", None, processes)
    try:
        list(pool.imap([crystals[:2]] * processes))
        chunks = [crystals[i : i + chunk] for i in range(0, len(crystals), chunk)]
        start = time.perf_counter()
        seconds = [answer for _, answer in pool.imap(chunks) if not isinstance(answer, Lost)]
        clock = time.perf_counter() - start
    finally:
        pool.close()
    return len(crystals) * processes / sum(seconds), len(crystals) / clock


def predictor(settings: None) -> Callable[[Sequence[Crystal]], float]:
    """The gate of a worker process: CPU seconds since it last answered, which include the way there."""
    import torch

    torch.set_num_threads(1)
    predict = load_gate().predict
    last = time.process_time()

    def answer(crystals: Sequence[Crystal]) -> float:
        nonlocal last
        predict(crystals)
        before, last = last, time.process_time()
        return last - before

    return answer
