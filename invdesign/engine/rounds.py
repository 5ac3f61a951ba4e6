"""One round of a campaign: each stage either read from the ledger or computed and recorded."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from invdesign.crystal import Crystal
from invdesign.engine.funnel import Funnel, StageCount
from invdesign.engine.ledger import Shard
from invdesign.engine.parts import Prober
from invdesign.engine.pipeline import (
    check,
    count,
    estimate,
    place,
    predict,
    propose,
    relax,
    relaxed,
    score,
    screen,
    unique,
)
from invdesign.engine.screening import acquire, promising, select
from invdesign.engine.search import seed_of
from invdesign.errors import InvdesignError, PartError
from invdesign.evolution.judge import Correct
from invdesign.progress import advancing
from invdesign.records import Evaluation, Failure, Relaxation, Request
from invdesign.run_log import event

if TYPE_CHECKING:
    from invdesign.engine.campaign import Campaign


_JUDGED = ("verdicts", "failure")


class Round:
    """One round's work: each stage either read from the ledger or computed and recorded."""

    def __init__(self, campaign: Campaign, number: int, relaxations: int) -> None:
        self.campaign, self.number, self.relaxations = campaign, number, relaxations
        self.parts, self.ledger = campaign.parts, campaign.ledger
        self.failures: list[Failure] = []
        self.funnel = Funnel()
        self.seconds = 0.0
        self.resumed = self.ledger is not None
        self._marks = {} if self.ledger is None else self.ledger.shards(number)

    def run(self) -> list[Evaluation]:
        """Every row of the round, as far as it came."""
        return self.finish(self.choose())

    def choose(self) -> list[Evaluation]:
        """Every row, those chosen for relaxation marked."""
        rows = self._proposals(self._requests())
        if self.campaign.search is not None:
            rows += self._evolve(rows)
        rows = self._acquire(rows, self.campaign.learned())
        rows = self._probe(rows, self._inspect(rows))
        return self._gate(rows)

    def missing(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        """Rows that are chosen for relaxation and have no recorded one, the most promising first."""
        recorded = {} if self.ledger is None else self.ledger.relaxations(self.number)
        left = [row for row in rows if row.selected and row.candidate.id not in recorded]
        return sorted(left, key=lambda r: (-r.acquisition, r.candidate.id))

    def finish(
        self, rows: list[Evaluation], results: Mapping[str, Relaxation | Failure] | None = None
    ) -> list[Evaluation]:
        """The rows after relaxation and all that follows it.

        Args:
            rows: of `choose`.
            results: relaxations by candidate id, in place of those of the relaxer.
        """
        targets, limit = self.campaign.targets, self.campaign.query.max_energy_above_hull
        rows = self._relax(rows, results)
        rows = self._stage("place", rows, ("energy_above_hull",), lambda r: place(r, self.parts.reference))
        rows = self._stage(
            "check", rows, _JUDGED, lambda r: check(r, (self.campaign.screens[0], *self.parts.checks))
        )
        rows = self._unique(rows)
        with self._advancing("predict properties"):
            rows = self._stage("estimate", rows, ("estimate", "failure"), self._estimate)
        return self._stage(
            "score", rows, ("score",), lambda r: score(r, targets, limit, self.campaign.desirability)
        )

    def _acquire(self, rows: list[Evaluation], correct: Correct | None) -> list[Evaluation]:
        """The rows with their acquisition, by what the run has learned so far."""
        c = self.campaign
        return acquire(rows, c.judge(correct), c.query.max_energy_above_hull, c.desirability)

    def _evolve(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        """Candidates of the search among candidates, screened and judged as all proposals are."""
        c, name = self.campaign, f"e{self.number:03d}"
        assert c.search is not None
        shard = Shard(self.number, "evolve", name)
        wanted = self.relaxations * c.sizes.evolved
        if self.ledger is not None and shard in self._marks:
            made, _ = self.ledger.candidates(name)
            self._count(shard)
        else:
            start = time.perf_counter()
            self._tell("search among candidates", 0, wanted)
            with _named("search among candidates"), self._advancing("search among candidates", wanted):
                seed = seed_of(c.seed, "evolve", self.number)
                made, judged = c.search.propose(name, wanted, rows, c.informed, c.learned(), seed)
            counts = StageCount(judged, len(made), _left(judged, len(made)), time.perf_counter() - start)
            if self.ledger is not None:
                self.ledger.propose(shard, made, (), asdict(counts), counts.seconds)
            self._count(shard, counts)
        made = self._stage("screen", made, _JUDGED, self._screen, name)
        made = self._stage("predict", made, ("gate", "failure"), self._predict, name)
        self._tell("search among candidates", wanted, wanted)
        return made

    def _probe(self, rows: list[Evaluation], top: list[Evaluation]) -> list[Evaluation]:
        """All rows, the most promising of the inspected ones after a first look with the potential."""
        c, shard = self.campaign, Shard(self.number, "probe")
        judged = {row.candidate.id: row for row in top}
        rows = [judged.get(row.candidate.id, row) for row in rows]
        if not (c.sizes.probes and isinstance(self.parts.relaxer, Prober)):
            return rows
        most = math.ceil(self.relaxations * c.sizes.probes)
        sound = [row for row in top if not row.failed]
        chosen = sound[:most]
        if self.ledger is not None and shard in self._marks:
            self._count(shard)
            chosen = self.ledger.load(shard, chosen)
        else:
            start = time.perf_counter()
            chosen = self._looked(chosen, self.parts.relaxer)
            failed = sum(row.failure is not None for row in chosen)
            reasons = {"lower priority": len(sound) - len(chosen), "failed: probe": failed}
            passed = len(chosen) - failed
            counts = StageCount(len(sound), passed, dict(+Counter(reasons)), time.perf_counter() - start)
            if self.ledger is not None:
                self.ledger.save(shard, chosen, ("probe", "failure"), asdict(counts), counts.seconds)
            self._count(shard, counts)
        after = {row.candidate.id: row for row in chosen}
        rows = [after.get(row.candidate.id, row) for row in rows]
        return self._acquire(rows, c.learned(rows))

    def _looked(self, rows: list[Evaluation], relaxer: Prober) -> list[Evaluation]:
        """Rows with their first look, in their order."""
        self._tell("first look", 0, len(rows))
        out, done = list(rows), 0
        with _named("relaxer"):
            calls = self.campaign.sizes.probe_calls
            for index, result in relaxer.probe_iter([row.candidate.crystal for row in rows], calls):
                done += 1
                self._tell("first look", done, len(rows))
                if isinstance(result, Failure):
                    out[index] = replace(rows[index], failure=replace(result, item=rows[index].candidate.id))
                else:
                    out[index] = replace(rows[index], probe=result)
        return out

    def _requests(self) -> list[Request]:
        searcher = self.campaign.searcher
        recorded = [] if self.ledger is None else self.ledger.requests(self.number)
        if recorded:
            searcher.recall(recorded)
            return recorded
        requests = searcher.ask(self.relaxations * self.campaign.sizes.proposals)
        if self.ledger is not None:
            self.ledger.start_round(self.number, requests)
        return requests

    def _proposals(self, requests: Sequence[Request]) -> list[Evaluation]:
        total = sum(r.n for r in requests)
        done, out = 0, list[Evaluation]()
        self._tell("generate and screen", done, total)
        for request in requests:
            rows = self._propose(request)
            rows = self._stage("screen", rows, _JUDGED, self._screen, request.id)
            out += self._stage("predict", rows, ("gate", "failure"), self._predict, request.id)
            done += request.n
            self._tell("generate and screen", done, total)
        return out

    def _propose(self, request: Request) -> list[Evaluation]:
        shard = Shard(self.number, "propose", request.id)
        if self.ledger is not None and shard in self._marks:
            rows, failures = self.ledger.candidates(request.id)
            self._count(shard)
        else:
            start = time.perf_counter()
            with _named(f"generator {request.generator}"):
                rows, failures = propose(request, self.parts.generators[request.generator])
            counts = _proposed(request, rows, failures, time.perf_counter() - start)
            if self.ledger is not None:
                self.ledger.propose(shard, rows, failures, asdict(counts), counts.seconds)
            self._count(shard, counts)
        self.failures += failures
        return rows

    def _screen(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        return screen(rows, self.campaign.screens)

    def _predict(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        derive = self.parts.derive if self.campaign.derives else None
        return predict(rows, self.parts.gate, self.parts.reference, derive)

    def _estimate(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        return estimate(rows, self.parts.surrogate, self.parts.derive)

    def _inspect(self, rows: list[Evaluation]) -> list[Evaluation]:
        """The most promising rows, judged by the more expensive checks."""
        c, resumed = self.campaign, self.resumed
        most = self.relaxations * c.sizes.inspections if self.parts.inspections else len(rows)
        top, reasons = promising(rows, most, c.selected, c.query.n, c.policy)
        self._count(Shard(self.number, "rank"), StageCount(len(top) + sum(reasons.values()), len(top), reasons))
        self.resumed = resumed
        if not self.parts.inspections:
            return top
        self._tell("inspect", 0, len(top))
        top = self._stage("inspect", top, _JUDGED, lambda r: screen(r, self.parts.inspections))
        self._tell("inspect", len(top), len(top))
        return top

    def _gate(self, rows: list[Evaluation]) -> list[Evaluation]:
        """All rows, those chosen for relaxation marked."""
        c, shard = self.campaign, Shard(self.number, "gate")
        top = self._eligible(rows)
        if self.ledger is not None and shard in self._marks:
            self._count(shard)
            return self.ledger.load(shard, rows)
        start = time.perf_counter()
        rng = np.random.default_rng(seed_of(c.seed, "gate", self.number))
        marked, reasons = select(top, self.relaxations, c.selected, rng, c.query.n, c.policy)
        chosen = {row.candidate.id: row for row in marked if row.selected}
        counts = StageCount(len(chosen) + sum(reasons.values()), len(chosen), reasons, time.perf_counter() - start)
        if self.ledger is not None:
            fields = ("selected", "acquisition")
            self.ledger.save(shard, list(chosen.values()), fields, asdict(counts), counts.seconds)
        self._count(shard, counts)
        return [chosen.get(row.candidate.id, row) for row in rows]

    def _eligible(self, rows: Sequence[Evaluation]) -> list[Evaluation]:
        """Rows that may be relaxed: those that had a first look, where there was one, otherwise the inspected."""
        looked = [row for row in rows if row.probe is not None and not row.failed]
        names = {v.name for v in self.parts.inspections}
        return looked or [row for row in rows if names <= row.verdicts.keys() and row.gate is not None]

    def _relax(
        self, rows: list[Evaluation], results: Mapping[str, Relaxation | Failure] | None
    ) -> list[Evaluation]:
        shard = Shard(self.number, "relax")
        chosen = [row for row in rows if row.selected]
        recorded = {} if self.ledger is None else self.ledger.relaxations(self.number)
        missing = self.missing(rows)
        start = time.perf_counter()
        self._tell("relax", len(chosen) - len(missing), len(chosen))
        with _named("relaxer"):
            given = () if results is None else enumerate(results[row.candidate.id] for row in missing)
            found = relax([start_of(row) for row in missing], self.parts.relaxer) if results is None else given
            for index, result in found:
                name = missing[index].candidate.id
                recorded[name] = result
                if self.ledger is not None:
                    self.ledger.add_relaxation(self.number, name, result)
                self._tell("relax", len(recorded), len(chosen))
        after = [relaxed(r, recorded[r.candidate.id]) if r.selected else r for r in rows]
        if self.ledger is not None and shard in self._marks:
            self._count(shard)
            return after
        spent = time.perf_counter() - start
        counts = count(chosen, [row for row in after if row.selected], spent)
        if self.ledger is not None:
            self.ledger.save(shard, (), (), asdict(counts), spent)
        self._count(shard, counts)
        return after

    def _unique(self, rows: list[Evaluation]) -> list[Evaluation]:
        """Judge uniqueness; where that is read from the ledger, let the validator see the rows again."""
        validator = self.parts.unique
        recorded = Shard(self.number, "unique") in self._marks
        after = self._stage("unique", rows, _JUDGED, lambda r: unique(r, validator))
        if recorded:
            for row in after:
                if validator.name in row.verdicts:
                    validator.check(row)
        return after

    def _stage(
        self,
        name: str,
        rows: list[Evaluation],
        fields: Sequence[str],
        work: Callable[[Sequence[Evaluation]], list[Evaluation]],
        request: str = "",
    ) -> list[Evaluation]:
        shard = Shard(self.number, name, request)
        if self.ledger is not None and shard in self._marks:
            self._count(shard)
            return self.ledger.load(shard, rows)
        start = time.perf_counter()
        with _named(name):
            after = work(rows)
        concerned = [(a, b) for a, b in zip(rows, after, strict=True) if b is not a]
        spent = time.perf_counter() - start
        counts = count([a for a, _ in concerned], [b for _, b in concerned], spent)
        if self.ledger is not None:
            self.ledger.save(shard, [b for _, b in concerned], fields, asdict(counts), spent)
        self._count(shard, counts)
        return after

    def _count(self, shard: Shard, counts: StageCount | None = None) -> None:
        """Add the counts of a stage: those given, or those recorded."""
        if counts is None:
            counts = StageCount(**self._marks[shard][0])
        else:
            self.resumed = False
            event(
                "stage",
                round=self.number + 1,
                stage=shard.stage,
                request=shard.request,
                entered=counts.entered,
                passed=counts.passed,
                rejected=dict(counts.rejected),
                seconds=round(counts.seconds, 3),
            )
        self.seconds += counts.seconds
        self.funnel = self.funnel + Funnel({shard.stage: counts})

    def _advancing(self, what: str, items: int | None = None) -> AbstractContextManager[None]:
        """Progress of work that a part does in one call, shown as so many items."""

        def tell(done: int, total: int) -> None:
            self._tell(what, done if items is None else items * done // total, total if items is None else items)

        return advancing(tell)

    def _tell(self, what: str, done: int, total: int) -> None:
        self.campaign.progress(f"round {self.number + 1}: {what}", done, total)


def start_of(row: Evaluation) -> Crystal:
    """The crystal that a relaxation starts from: the one that the first look has left, or the proposal."""
    return row.candidate.crystal if row.probe is None else row.probe.crystal


def _left(judged: int, kept: int) -> dict[str, int]:
    """Why genes that were judged are no candidates."""
    return {"less fit": judged - kept} if judged > kept else {}


def _proposed(
    request: Request, rows: Sequence[Evaluation], failures: Sequence[Failure], seconds: float
) -> StageCount:
    reasons = Counter(f.reason.split(":")[0] for f in failures)
    reasons["not delivered"] = request.n - len(rows) - len(failures)
    return StageCount(request.n, len(rows), dict(+reasons), seconds)


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say which part ended the run; what is recorded stays recorded."""
    try:
        yield
    except InvdesignError:
        raise
    except Exception as error:
        raise PartError(f"{part} failed: {type(error).__name__}: {error}") from error
