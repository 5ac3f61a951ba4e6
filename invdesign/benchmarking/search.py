"""`invdesign benchmark search`: what a relaxation brings, with and without each part of the search.

Each arm runs the same queries with the same seeds and the same budget of relaxations; the same parts judge them.
What counts are crystals that are on target, stable within the limit, unique and new. A run is recorded in a ledger
in a folder beside the record, so a benchmark that is stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build
from invdesign.benchmarking.figures.search import Found, markdown, search_page, summarise
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.run import check_output, measured_with, run_of, tables_of, write_text
from invdesign.engine.campaign import PLAIN, SIZES, Campaign, Sizes
from invdesign.engine.parts import Parts
from invdesign.engine.screening import POLICY, GatePolicy
from invdesign.errors import InputError
from invdesign.evolution.judge import Correct
from invdesign.executors import Workforce
from invdesign.progress import Progress, quiet
from invdesign.query import Query
from invdesign.query_fields import SAMPLERS
from invdesign.records import Evaluation
from invdesign.report import export
from invdesign.selection.diversity import families
from invdesign.selection.targets import meets_targets
from invdesign.serialize import to_plain
from invdesign.settings import parse_yaml, read_yaml

__all__ = ["ARMS", "QUICK_QUERIES", "Found", "SearchPlan", "markdown", "queries", "query_names", "search"]

WANTED, RELAXATIONS, SEEDS = 8, 60, 5
QUICK_QUERIES = ("wide_gap_stiff_non_oxide", "light_stiff", "stiff_and_rigid")
QUICK_RELAXATIONS = 12


@dataclass(frozen=True)
class Arm:
    """One way to search.

    Attributes:
        query: fields of the query that it sets.
        sizes: how a budget becomes rounds.
        policy: of the choice of relaxations.
        known_parents: whether known crystals are parents.
        learns: whether a run corrects the screening surrogate by what it has seen.
        what: in words.
    """

    query: Mapping[str, Any]
    sizes: Sizes = SIZES
    policy: GatePolicy = POLICY
    known_parents: bool = True
    learns: bool = True
    what: str = ""


ALL_ALIKE = GatePolicy(*4 * (1e9,))
"""No family counts for less, however many it has brought."""
ARMS: dict[str, Arm] = {
    "evolution": Arm({}, what="the default"),
    "plain": Arm({"search": "none"}, PLAIN, what="conditioned sampling alone"),
    "no-known-parents": Arm({}, known_parents=False, what="no known crystals as parents"),
    "no-first-look": Arm({}, replace(SIZES, probes=0.0), what="no first look with the potential"),
    "no-learning": Arm({}, learns=False, what="no correction of the gate by the run"),
    "no-families": Arm({}, policy=ALL_ALIKE, what="budget not spread over families"),
    "substitution": Arm({"search": "none", "generator": "substitution"}, PLAIN, what="element exchange alone"),
    "random": Arm({"search": "none", "generator": "random"}, PLAIN, what="random genes"),
    **{f"optuna-{s}": Arm({"search": "optuna", "sampler": s}, what=f"knobs tuned by {s}") for s in SAMPLERS},
}


@dataclass(frozen=True)
class SearchPlan:
    """What is measured.

    Attributes:
        queries: name to query.
        arms: of `ARMS`.
        seeds: number of seeds, from 0.
        relaxations: of each run.
    """

    queries: Mapping[str, Query]
    arms: tuple[str, ...] = ("evolution", "plain")
    seeds: int = SEEDS
    relaxations: int = RELAXATIONS

    def to_dict(self) -> dict[str, Any]:
        """Plain types, by which a journal knows it; without the seeds, so that more of them can follow later."""
        asked = {name: query.to_dict() for name, query in self.queries.items()}
        return {"queries": asked, "arms": self.arms, "relaxations": self.relaxations}

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            InputError: if an arm is not known.
        """
        for name in self.arms:
            if name not in ARMS:
                raise InputError("arm", name, list(ARMS))


def query_names() -> list[str]:
    """Names of the shipped queries, files in `configs/queries`."""
    folder = resources.files("invdesign.configs.queries")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def queries(names: Sequence[str], relaxations: int, wanted: int = WANTED) -> dict[str, Query]:
    """Queries by the names of shipped ones or the paths of files.

    Args:
        names: such as `light_stiff` or `mine.yaml`.
        relaxations: budget of each.
        wanted: candidates of each list.

    Raises:
        InputError: if there is no such query.
    """
    found = {}
    for name in names:
        if name.endswith((".yaml", ".yml")):
            data, key = read_yaml(Path(name), "query file"), Path(name).stem
        elif name in query_names():
            file = resources.files("invdesign.configs.queries").joinpath(f"{name}.yaml")
            data, key = parse_yaml(file.read_text("utf-8"), "query file", name), name
        else:
            raise InputError("query", name, [*query_names(), "or the path of a .yaml file"])
        found[key] = Query.from_dict({**data, "n": wanted, "relaxations": relaxations})
    return found


def search(
    plan: SearchPlan,
    out: Path,
    workers: Workforce = None,
    progress: Progress = quiet,
    make: Callable[[Query, Workforce], Parts] | None = None,
) -> dict[str, Any]:
    """Run every arm on every query and seed; write the record, a table, a page and the journal.

    Args:
        plan: what is measured.
        out: `FILE.json`; `FILE.md`, `FILE.html` and `FILE.jsonl` stand beside it, ledgers in `FILE-runs`.
        workers: processes for relaxations (None: one per core), or an executor.
        progress: is told how far it has come.
        make: makes the parts of a query (None: the shipped ones).

    Returns:
        What was written as JSON.

    Raises:
        InputError: if `out` is no name of a record.
        OutputError: if a file cannot be written, or the journal is of another benchmark.
    """
    check_output(out)
    make = make or build.default_parts
    folder = out.with_name(f"{out.stem}-runs")
    folder.mkdir(parents=True, exist_ok=True)
    shared = make(Query(), workers)
    about = measured_with(shared.provenance["potential"])
    journal = Journal(out.with_suffix(".jsonl"), {"benchmark": "search", "plan": plan.to_dict(), **about})
    runs = [(name, arm, seed) for seed in range(plan.seeds) for name in plan.queries for arm in plan.arms]
    try:
        for number, (name, arm, seed) in enumerate(runs):
            if journal.get(Found, f"{arm} {name}", seed) is None:
                ledger = folder / f"{arm}_{name}_{seed}.sqlite"
                journal.put(
                    f"{arm} {name}", (seed, run(plan.queries[name], ARMS[arm], seed, ledger, shared, make))
                )
            progress("runs", number + 1, len(runs))
    finally:
        close = getattr(shared.relaxer, "close", None)
        if close is not None:
            close()
    return _write(plan, journal, out, about)


def _write(plan: SearchPlan, journal: Journal, out: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        name: {
            arm: [row for s in range(plan.seeds) if (row := journal.get(Found, f"{arm} {name}", s)) is not None]
            for arm in plan.arms
        }
        for name in plan.queries
    }
    command = (
        f"invdesign benchmark search --queries {','.join(plan.queries)} --arms {','.join(plan.arms)} "
        f"--seeds {plan.seeds} --relaxations {plan.relaxations} --out {out.name}"
    )
    made = run_of(command, f"0 to {plan.seeds - 1}", tables_of(build.generator_names(), *build.TRAINED))
    what = {arm: ARMS[arm].what for arm in plan.arms}
    asked = {name: query.in_words() for name, query in plan.queries.items()}
    summary = {name: {arm: summarise(rows) for arm, rows in arms.items()} for name, arms in found.items()}
    figures = {
        "relaxations": plan.relaxations, "seeds": plan.seeds, "wanted": WANTED, "arms": what, "queries": asked,
        "summary": summary, "runs": to_plain(found), **about,
    }  # fmt: skip
    record = {"run": made, **figures}
    export.write_json(record, out)
    write_text(markdown(record), out.with_suffix(".md"))
    write_text(search_page(record), out.with_suffix(".html"))
    return record


class _Unlearned(Campaign):
    """A campaign that does not correct the gate."""

    def learned(self, now: Sequence[Evaluation] = ()) -> Correct | None:
        """Nothing."""
        return None


def run(
    query: Query,
    arm: Arm,
    seed: int,
    ledger: Path,
    shared: Parts,
    make: Callable[[Query, Workforce], Parts] | None = None,
) -> Found:
    """One campaign to its end, and what it found.

    Args:
        query: what is asked.
        arm: how it is searched for.
        seed: of the run.
        ledger: where it is recorded.
        shared: parts whose relaxer and models are used.
        make: makes the parts of a query (None: the shipped ones).
    """
    query = Query.from_dict({**query.to_dict(), **arm.query})
    own = (make or build.default_parts)(query, 1)
    parts = replace(own, relaxer=shared.relaxer, known=own.known if arm.known_parents else None)
    start, cpu = time.perf_counter(), time.process_time()
    kind = Campaign if arm.learns else _Unlearned
    with kind(query, seed, parts, ledger, sizes=arm.sizes, policy=arm.policy, progress=False) as campaign:
        list(campaign)
        spent = time.process_time() - cpu
        return found_of(campaign, spent, time.perf_counter() - start)


def found_of(campaign: Campaign, cpu: float, seconds: float) -> Found:
    """The figures of a finished campaign."""
    rows, relaxed = campaign.accepted, campaign.selected
    hits = [row for row in rows if meets_targets(row, campaign.targets)]
    looks = [row.probe for row in campaign.rows if row.probe is not None]
    done = [row.relaxation for row in relaxed if row.relaxation is not None]
    kinds = [families(row.crystal) for row in hits]
    return Found(
        relaxations=len(relaxed),
        listed_on_target=min(len(hits), campaign.query.n),
        on_target=len(hits),
        accepted=len(rows),
        families=len({kind.anion_class for kind in kinds}),
        structure_types=len({kind.structure_type for kind in kinds}),
        best=float(np.max([row.score for row in rows], initial=0.0)),
        cpu_seconds=cpu + sum(look.seconds for look in looks) + sum(each.seconds for each in done),
        seconds=seconds,
        calls=sum(look.calls for look in looks) + sum(each.steps for each in done),
    )
