"""What a design run would do and cost, and what is known already: `design --dry-run`."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from invdesign.app.feasibility import Feasibility, feasibility
from invdesign.checks import number
from invdesign.engine.campaign import EVOLUTION, PLAIN, SIZES
from invdesign.engine.wishes import LEFT_OUT
from invdesign.errors import InputError
from invdesign.query import Query
from invdesign.tables import read_json

TABLE = "run_costs.json"
LONGEST = 1e6
"""Largest time for a run, minutes."""


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes:
        query: in words.
        counts: at most this many of `rounds`, `proposals`, `evaluations` (genes judged by the search),
            `inspections`, `probes` (first looks with the potential) and `relaxations`.
        minutes: expected at most, wall clock.
        workers: processes that relax.
        machine: where the costs behind the minutes were measured.
        known: what the known crystals say of the query.
    """

    query: str
    counts: Mapping[str, int]
    minutes: float
    workers: int
    machine: str
    known: Feasibility

    def lines(self) -> list[str]:
        """The plan in a few lines."""
        c = self.counts
        searched = f", {c['evaluations']:,} candidates judged by the search" if c["evaluations"] else ""
        looks = f", {c['probes']:,} first looks" if c["probes"] else ""
        work = (
            f"at most {c['proposals']:,} proposals{searched}, {c['inspections']:,} inspected{looks} and "
            f"{c['relaxations']:,} relaxations in {c['rounds']} rounds"
        )
        time = f"about {_duration(self.minutes)} with {self.workers} worker processes (measured on {self.machine})"
        warning = [f"note: {self.known.warning()}"] if self.known.warning() else []
        return [self.query, work, f"{time}; it ends earlier once enough is found", *self.known.lines(), *warning]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {**asdict(self), "known": {**asdict(self.known), "warning": self.known.warning()}}


def plan(query: Query, workers: int | None = None) -> Plan:
    """What a run for a query would do and cost.

    Args:
        query: what is asked (`invdesign.app.design.checked_query`).
        workers: processes that relax (None: one per core).

    Raises:
        ReferenceMissingError: if a table cannot be read.
    """
    counts = counted(query)
    processes = workers or os.cpu_count() or 1
    costs = read_json(TABLE)
    return Plan(
        query=f"{query.in_words()} {LEFT_OUT}",
        counts=counts,
        minutes=round(_seconds(counts, processes, costs["cpu_seconds"]) / 60.0, 1),
        workers=processes,
        machine=costs["machine"],
        known=feasibility(query),
    )


def within(query: Query, minutes: float, workers: int | None = None) -> Query:
    """The query with as many of its relaxations as are expected to fit into some minutes.

    Raises:
        InputError: if not even a small run fits, or `minutes` is no positive number.
    """
    minutes = number("minutes", minutes, 0.0, LONGEST, "minutes")
    processes, cost = workers or os.cpu_count() or 1, read_json(TABLE)["cpu_seconds"]

    def needed(relaxations: int) -> float:
        return _seconds(counted(replace(query, relaxations=relaxations)), processes, cost) / 60.0

    if needed(1) > minutes:
        raise InputError("minutes", minutes, f"at least {needed(1):.1f}, which one relaxation is expected to need")
    return replace(query, relaxations=bisect_right(range(1, query.relaxations + 1), minutes, key=needed))


def counted(query: Query) -> dict[str, int]:
    """The most that a run may do of everything."""
    sizes = PLAIN if query.search == "none" else SIZES
    rounds, relaxations = sizes.rounds_of(query.relaxations), query.relaxations
    evaluations = 0
    if query.search != "none":
        candidates = math.ceil(relaxations / rounds) * sizes.evolved
        evaluations = rounds * EVOLUTION.generations * EVOLUTION.children_for(candidates)
    return {
        "rounds": rounds,
        "proposals": relaxations * sizes.proposals,
        "evaluations": evaluations,
        "inspections": relaxations * sizes.inspections,
        "probes": rounds * math.ceil(math.ceil(relaxations / rounds) * sizes.probes),
        "relaxations": relaxations,
    }


def _seconds(counts: Mapping[str, int], workers: int, cost: Mapping[str, float]) -> float:
    """Wall clock of a run: what the main process does alone, and what its workers share."""
    alone = sum(counts[name] * cost[name] for name in ("proposals", "evaluations", "inspections"))
    shared = sum(counts[name] * cost[name] for name in ("probes", "relaxations"))
    return cost["start"] + alone + shared / workers + counts["relaxations"] * cost["after"] + cost["finish"]


def _duration(minutes: float) -> str:
    if minutes < 1.5:
        return "a minute"
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
