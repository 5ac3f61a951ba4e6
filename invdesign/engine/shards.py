"""The work of one shard of a large screen: generate, screen, judge by the gate; nothing is relaxed.

A shard follows from the query, the seed and its number alone. It is worked through in batches, so that memory does
not grow with its size, and becomes columns of plain numbers: what a campaign holds as records would take a hundred
times the space.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from invdesign.checks import whole
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Gene
from invdesign.crystallography.genes import encode_many, protostructure, protostructure_hash
from invdesign.engine.candidates import judge_of
from invdesign.engine.parts import Desirability, Parts
from invdesign.engine.pipeline import proposals, rejection, screen
from invdesign.engine.screening import LEAST, estimates_of
from invdesign.engine.search import plain_requests
from invdesign.engine.wishes import MatchesQuery, completed
from invdesign.errors import InputError
from invdesign.evolution.judge import Judged
from invdesign.query import Query
from invdesign.records import Evaluation, Failure, Request
from invdesign.selection.ranking import suitability

BATCH = 500
"""Candidates that are screened and judged together."""
SMALLEST, LARGEST = 10, 100_000
"""Candidates of a shard, at least and at most."""
NO_ESTIMATE = "no estimate"
"""Why a candidate that passed the checks has no chance: the gate does not answer for it."""
NO_GENE = "no gene"
"""Why a crystal that a generator handed over without its gene is left out: none can be found."""


@dataclass(frozen=True)
class Plan:
    """How many candidates, in shards of which size.

    Attributes:
        n: candidates that the generators are asked for.
        size: candidates of a shard; the last may have fewer.
    """

    n: int
    size: int

    @classmethod
    def of(cls, n: int, size: int | None = None) -> Plan:
        """With about a thousand shards of 1,000 to 100,000, if nothing is said.

        Raises:
            InputError: if `n` or the size is out of bounds.
        """
        n = whole("n", n)
        if size is None:
            return cls(n, max(1000, min(LARGEST, n // 1000)))
        return cls(n, whole("shard", size, SMALLEST, LARGEST))

    def __len__(self) -> int:
        """Number of shards."""
        return -(-self.n // self.size)

    def size_of(self, number: int) -> int:
        """Candidates of a shard.

        Raises:
            InputError: if there is no such shard.
        """
        if not 0 <= number < len(self):
            raise InputError("shard", number, f"0 to {len(self) - 1}")
        return min(self.size, self.n - number * self.size)


@dataclass
class Counts:
    """What became of the candidates of a shard.

    Attributes:
        asked: candidates that the generators were asked for.
        made: of these, how many there are.
        failed: why the others are none, by reason.
        rejected: why candidates were left out by a check, or have no chance, by reason.
        judged: candidates with a chance.
        seconds: of CPU, by stage.
        peak_mb: largest memory of a process that worked on it, megabytes.
    """

    asked: int = 0
    made: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    judged: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {**vars(self), "failed": dict(self.failed), "rejected": dict(self.rejected)}

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what `to_dict` gave of another shard."""
        self.asked, self.made = self.asked + other["asked"], self.made + other["made"]
        self.judged += other["judged"]
        self.peak_mb = max(self.peak_mb, other["peak_mb"])
        self.failed.update(other["failed"])
        self.rejected.update(other["rejected"])
        for stage, seconds in other["seconds"].items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(frozen=True, eq=False)
class Batch:
    """Candidates of a shard with what is known of them, in their order.

    Attributes:
        rows: the candidates; each has its gene, but for those rejected for `NO_GENE`.
        rejected: why each was left out; empty for those that were judged.
        log_chance: natural logarithm of the chance to be on target and stable, times the desirability; NaN for
            those that were left out.
        means: central values of the gate by property, in its unit; NaN for those that were left out.
    """

    rows: list[Evaluation]
    rejected: list[str]
    log_chance: NDArray[np.float64]
    means: dict[str, NDArray[np.float64]]


class Screener:
    """Works through shards of one query."""

    def __init__(self, query: Query, seed: int, plan: Plan, parts: Parts) -> None:
        """Prepare it, as a campaign is prepared.

        Args:
            query: what is asked, resolved.
            seed: of the screen.
            plan: its shards.
            parts: generators, checks and gate.
        """
        wanted = completed(query)
        self.query, self.wanted, self.seed, self.plan, self.parts = query, wanted, seed, plan, parts
        self.targets = tuple(wanted.targets)
        self.checks = (MatchesQuery(wanted), *parts.screens)
        self.judge = judge_of(query, self.targets, parts, None)
        component = query.component
        self.desirability: Desirability | None = (
            None if component is None else partial(suitability, component=component)
        )

    def requests(self, number: int) -> list[Request]:
        """What the generators are asked for in a shard: each the same share."""
        names = tuple(sorted(self.parts.generators))
        size = self.plan.size_of(number)
        return plain_requests(self.wanted, names, self.seed, self.targets, number, size, len(names))

    def shard(self, number: int, counts: Counts) -> Iterator[Batch]:
        """The candidates of a shard in batches; what became of them is added to the counts."""
        for request in self.requests(number):
            counts.asked += request.n
            made = proposals(request, self.parts.generators[request.generator])
            while items := self._timed("generate", counts, lambda made=made: list(islice(made, BATCH))):
                rows = [item for item in items if isinstance(item, Evaluation)]
                counts.failed.update(i.reason.split(":")[0] for i in items if isinstance(i, Failure))
                counts.made += len(rows)
                if rows:
                    yield self._judged(rows, counts)

    def _judged(self, rows: list[Evaluation], counts: Counts) -> Batch:
        """Candidates after the checks and the gate."""
        rows = self._timed("screen", counts, lambda: screen(with_genes(rows), self.checks))
        rejected = [NO_GENE if row.candidate.crystal.gene is None else rejection(row) for row in rows]
        sound = [i for i, reason in enumerate(rejected) if not reason]
        log_chance, means = np.full(len(rows), np.nan), dict[str, NDArray[np.float64]]()
        if sound:
            chosen = [rows[i] for i in sound]
            judged, chances = self._timed("judge", counts, lambda: self._chances(chosen))
            log_chance[sound] = chances
            for name, values in central_values(judged).items():
                means[name] = np.full(len(rows), np.nan)
                means[name][sound] = values
        for i in sound:
            if not np.isfinite(log_chance[i]):
                rejected[i], log_chance[i] = NO_ESTIMATE, np.nan
        counts.rejected.update(reason for reason in rejected if reason)
        counts.judged += int(np.isfinite(log_chance).sum())
        return Batch(rows, rejected, log_chance, means)

    def _chances(self, rows: Sequence[Evaluation]) -> tuple[Judged, NDArray[np.float64]]:
        """What is believed of rows, and the logarithm of what `invdesign.engine.screening.acquire` fills in."""
        judged = self.judge.judge([row.candidate.crystal for row in rows])
        if self.desirability is None:
            return judged, judged.fitness
        believed = [replace(r, estimate=e) for r, e in zip(rows, estimates_of(judged), strict=True)]
        worth = np.asarray(self.desirability(believed), dtype=np.float64)
        return judged, judged.fitness + np.log(np.maximum(worth, LEAST))

    def _timed(self, stage: str, counts: Counts, work: Any) -> Any:
        start = time.process_time()
        try:
            return work()
        finally:
            counts.seconds[stage] = counts.seconds.get(stage, 0.0) + time.process_time() - start


def central_values(judged: Judged) -> dict[str, NDArray[np.float64]]:
    """What the gate believes of crystals, by property in its unit."""
    answers = judged.answers
    columns = {name: answers.column(name)[0] for name in answers.names}
    return {name: 10.0**mean if answers.is_log(name) else mean for name, mean in columns.items()}


def with_genes(rows: list[Evaluation]) -> list[Evaluation]:
    """The rows, a gene found for each crystal that came without one; it stays away where there is none."""
    bare = [i for i, row in enumerate(rows) if row.candidate.crystal.gene is None]
    if not bare:
        return rows
    out = list(rows)
    for i, gene in zip(bare, encode_many([rows[i].candidate.crystal for i in bare]), strict=True):
        if isinstance(gene, Gene):
            candidate = rows[i].candidate
            crystal = replace(candidate.crystal, gene=gene)
            out[i] = replace(rows[i], candidate=replace(candidate, crystal=crystal))
    return out


def key_of(gene: Gene) -> int:
    """64 bits that stand for a protostructure: of genes with the same one, the best alone is listed."""
    return protostructure_hash(protostructure(gene))


def formula_of(row: Evaluation) -> str:
    """The reduced formula of a candidate."""
    return reduced_formula(row.candidate.crystal.numbers)
