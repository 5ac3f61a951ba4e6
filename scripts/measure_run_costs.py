"""Make `run_costs.json`: CPU seconds of each stage of a design run, for `design --dry-run`.

Run: python scripts/measure_run_costs.py [--out FOLDER] [--relaxations 20] [--seed 0] [--machine TEXT] [--small]

One run of the query `bulk_modulus>=200` with default settings. Stages of the main process are timed by its CPU
time; first looks and relaxations by what their worker processes report. Five minutes on two cores.
"""

from __future__ import annotations

import json
import platform
import time
from types import SimpleNamespace
from typing import Any

from invdesign import build
from invdesign.app.design import result_of
from invdesign.app.plan import TABLE
from invdesign.engine import rounds
from invdesign.engine.campaign import Campaign
from invdesign.query import Query
from invdesign.training.rebuild import begin, options, run
from invdesign.training.sheet import Sheet

ABOUT = """\
CPU seconds that a design run takes for each proposal (sampled, screened and predicted), each gene that the search
among candidates judges, each inspection, each first look and each relaxation (in worker processes), for what
follows a relaxation, to start, and to rank and explain the list at the end. `design --dry-run` reads it.

Measured on {machine}."""


def main() -> None:
    parser = options(__doc__, data=False, small=True)
    parser.add_argument("--relaxations", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--machine", default=f"{platform.machine()} {platform.system()}")
    args = begin(parser)
    n = 2 if args.small else args.relaxations
    rounds.time = SimpleNamespace(perf_counter=time.process_time)  # type: ignore[attr-defined]
    query = Query(targets=["bulk_modulus>=200"], relaxations=n, n=n)
    costs = {name: float(f"{value:.3g}") for name, value in measured(query, args.seed).items()}
    record = {"cpu_seconds": costs, "machine": args.machine, "versions": build.versions()}
    (args.out / TABLE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    Sheet(
        about=ABOUT.format(machine=args.machine),
        script=f"python scripts/measure_run_costs.py --relaxations {n}",
        data="no file: a run with the tables and weights of the folder",
        split="none: nothing is fitted",
        seed=str(args.seed),
        metrics=f"one run of `{query.targets[0]}` with {n} relaxations: {costs['relaxations']:g} s each",
        commit=args.commit,
        licence="measured by this project.",
    ).write(args.out / TABLE)
    print(json.dumps(record, indent=1))


def measured(query: Query, seed: int) -> dict[str, float]:
    """CPU seconds by what they are spent on."""
    begin = time.process_time()
    parts = build.default_parts(query)
    with Campaign(query, seed, parts, progress=False) as campaign:
        started = time.process_time() - begin
        list(campaign)
        begin = time.process_time()
        result = result_of(campaign)
        len(result.table)
        finished = time.process_time() - begin
    stages = campaign.funnel.stages
    rows = campaign.rows
    probes = [row.probe.seconds for row in rows if row.probe is not None]
    relaxations = [row.relaxation.seconds for row in rows if row.relaxation is not None]
    return {
        "start": started,
        "proposals": _share(stages, ("propose", "screen", "predict", "rank"), stages["propose"].entered),
        "evaluations": _share(stages, ("evolve",), stages["evolve"].entered),
        "inspections": _share(stages, ("inspect", "gate"), stages["inspect"].entered),
        "probes": sum(probes) / max(1, len(probes)),
        "relaxations": sum(relaxations) / max(1, len(relaxations)),
        "after": _share(stages, ("place", "check", "unique", "estimate", "score"), stages["relax"].entered),
        "finish": finished,
    }


def _share(stages: Any, names: tuple[str, ...], items: int) -> float:
    return sum(stages[name].seconds for name in names if name in stages) / max(1, items)


if __name__ == "__main__":
    run(main)
