"""A campaign: rounds of asking, generating, gating, relaxing and judging until enough candidates are found.

The one object that changes. All else is frozen or, as the searcher, follows from the seed and what it is told.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np

from invdesign import __version__
from invdesign.chemistry import element_data
from invdesign.elements import SYMBOLS
from invdesign.engine.funnel import Funnel, StageCount, accepted, meets_targets
from invdesign.engine.ledger import Header, Ledger, Shard
from invdesign.engine.online_correction import fit_correction
from invdesign.engine.pipeline import (
    LENIENT,
    POLICY,
    Derive,
    Desirability,
    GatePolicy,
    MatchesQuery,
    Parts,
    acquire,
    check,
    count,
    estimate,
    place,
    predict,
    promising,
    propose,
    relax,
    relaxed,
    score,
    screen,
    select,
    unique,
)
from invdesign.engine.search import make_searcher, seed_of
from invdesign.errors import InputError, InvdesignError, PartError
from invdesign.progress import Progress, quiet
from invdesign.properties import get_property
from invdesign.query import Query, Target
from invdesign.records import Evaluation, Failure, Request
from invdesign.selection.components import Component, load_component
from invdesign.selection.ranking import suitability

_JUDGED = ("verdicts", "failure")

DEFAULT_PARTS = ("invdesign.build", "default_parts")
"""Where a campaign that is handed no parts finds a function of the query that makes them: the one name of an
upper layer that the engine knows, looked up only then."""


@dataclass(frozen=True)
class Sizes:
    """How a budget becomes rounds; part of what a ledger is held to.

    Attributes:
        rounds: number of rounds that the relaxations are shared among.
        proposals: crystals generated for each relaxation.
        inspections: of these, how many are looked at closely.
        requests: requests in a round.
        margin: a campaign ends early after a round with `margin * query.n` accepted on-target candidates.
    """

    rounds: int = 5
    proposals: int = 30
    inspections: int = 6
    requests: int = 8
    margin: float = 1.5

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: if one is not positive.
        """
        for name, value in asdict(self).items():
            if not value > 0:
                raise InputError(name, value, "a positive number")


SIZES = Sizes()
NOBLE_GASES = frozenset(["He", "Ne", "Ar", "Kr", "Xe", "Rn"])
LEFT_OUT = "Radioactive elements and noble gases are left out unless named."


@dataclass(frozen=True)
class Step:
    """What one round did.

    Attributes:
        number: of the round, from 0.
        counts: rows `proposed`, `screened` (passed), `selected`, `relaxed`, `stable`, `accepted`, and `total`
            (accepted so far).
        best: the best accepted rows so far, best first, at most the number asked for.
        seconds: computing time of the round, wall clock; of a round read from the ledger, as it was then.
        funnel: counts at each stage of this round.
        resumed: whether the whole round was read from the ledger.
    """

    number: int
    counts: Mapping[str, int]
    best: tuple[Evaluation, ...]
    seconds: float
    funnel: Funnel
    resumed: bool = False


class Campaign:
    """Rounds for one query, seed and set of parts. Iterate over it for a `Step` per round.

    >>> for step in Campaign(query, seed=0):  # doctest: +SKIP
    ...     print(step.counts, step.best)

    Attributes:
        query: what is asked.
        seed: seed of everything.
        parts: generators, surrogates, validators, relaxer, reference.
        ledger: the record, or None.
        rows: every row of the finished rounds.
        failures: every item that a generator could not make.
        funnel: counts at every stage of the finished rounds.
    """

    def __init__(
        self,
        query: Query,
        seed: int = 0,
        parts: Parts | None = None,
        ledger: Ledger | str | Path | None = None,
        *,
        targets: Sequence[Target] | None = None,
        sizes: Sizes = SIZES,
        policy: GatePolicy = POLICY,
        desirability: Desirability | None = None,
        progress: Progress = quiet,
    ) -> None:
        """Make a campaign; with the path of an existing ledger it goes on where that stopped.

        Args:
            query: what is asked.
            seed: the same seed gives the same candidates.
            parts: what to work with; None: the shipped ones.
            ledger: an open ledger, or the path or URL of one that is opened if it exists and made if not.
            targets: what to search for; None: the query's targets and its component's constraints.
            sizes: of rounds.
            policy: of the gate.
            desirability: a desirability from 0 to 1 of each row's estimate, which multiplies the gate's priority
                and the score; None: the material indices of the query's component, if it has one.
            progress: is told (stage, done, total).

        Raises:
            LedgerError: if the ledger is damaged, in use, or belongs to another query, seed, version or parts.
        """
        self.query, self.seed, self.sizes = query, seed, sizes
        wanted = as_searched(query)
        self.targets = tuple(wanted.targets if targets is None else targets)
        self._own_parts = parts is None
        self.parts = _default_parts(query) if parts is None else parts
        self.rows: list[Evaluation] = []
        self.failures: list[Failure] = []
        self.funnel = Funnel()
        self.policy, self.progress = policy, progress
        self.desirability = _indices(query) if desirability is None else desirability
        self.searcher = make_searcher(wanted, self.parts.generators, seed, self.targets, sizes.requests)
        self.screens = (MatchesQuery(wanted), *self.parts.screens)
        self.derives = any(get_property(t.name).derived for t in self.targets)
        self._round = 0
        self.ledger = self._open(ledger)

    @property
    def accepted(self) -> list[Evaluation]:
        """Rows of the finished rounds that may stand on the final list: on target first, then by score."""
        limit = self.query.max_energy_above_hull
        found = [row for row in self.rows if accepted(row, limit, LENIENT)]
        return sorted(found, key=lambda r: (not meets_targets(r, self.targets), -r.score, r.candidate.id))

    @property
    def finished(self) -> bool:
        """Whether the budget is spent or enough candidates are found."""
        if self._round >= self._rounds or len(self.selected) >= self.query.relaxations:
            return True
        on_target = sum(meets_targets(row, self.targets) for row in self.accepted)
        return on_target >= math.ceil(self.sizes.margin * self.query.n)

    def __iter__(self) -> Iterator[Step]:
        """Run the rounds that are left, one per step."""
        while not self.finished:
            yield self.step()

    def step(self) -> Step:
        """Run one round: recorded work is read from the ledger, the rest computed and recorded."""
        work = _Round(self, self._round, self._budget)
        rows = work.run()
        self.rows.extend(rows)
        self.failures.extend(work.failures)
        self.funnel = self.funnel + work.funnel
        self.searcher.tell(rows)
        self._round += 1
        return self._step(work, rows)

    def close(self) -> None:
        """Let go of the ledger, and of the worker processes of parts that nobody handed in."""
        if self.ledger is not None:
            self.ledger.close()
        stop = getattr(self.parts.relaxer, "close", None)
        if self._own_parts and stop is not None:
            stop()

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def selected(self) -> list[Evaluation]:
        """Rows of the finished rounds on which a relaxation was spent."""
        return [row for row in self.rows if row.selected]

    def correction(self) -> Derive | None:
        """What the relaxations of earlier rounds say about the gate's errors."""
        return fit_correction(self.selected)

    @property
    def _rounds(self) -> int:
        return min(self.sizes.rounds, self.query.relaxations)

    @property
    def _budget(self) -> int:
        """Relaxations of the next round: what is left, shared evenly among the rounds that are left."""
        left = self.query.relaxations - len(self.selected)
        return math.ceil(left / (self._rounds - self._round))

    def _step(self, work: _Round, rows: Sequence[Evaluation]) -> Step:
        limit = self.query.max_energy_above_hull
        best = self.accepted
        counts = {
            "proposed": len(rows) + len(work.failures),
            "screened": sum(row.gate is not None for row in rows),
            "selected": sum(row.selected for row in rows),
            "relaxed": sum(row.relaxation is not None for row in rows),
            "stable": sum(_stable(row, limit) for row in rows),
            "accepted": sum(accepted(row, limit, LENIENT) for row in rows),
            "total": len(best),
        }
        return Step(work.number, counts, tuple(best[: self.query.n]), work.seconds, work.funnel, work.resumed)

    def _open(self, ledger: Ledger | str | Path | None) -> Ledger | None:
        if ledger is None:
            return None
        header = Header(
            query=self.query.to_dict(),
            seed=self.seed,
            version=__version__,
            parts=dict(self.parts.provenance),
            settings={
                "sizes": asdict(self.sizes),
                "policy": asdict(self.policy),
                "targets": [str(t) for t in self.targets],
            },
        )
        if isinstance(ledger, Ledger):
            ledger.compare(header)
            return ledger
        return Ledger.open(ledger, header) if Ledger.exists(ledger) else Ledger.create(ledger, header)


def as_searched(query: Query) -> Query:
    """The query with what goes without saying: its component's constraints, and the elements nobody wants.

    Radioactive elements and noble gases are excluded unless the query names them; with a component also what that
    forbids, named or not.

    Raises:
        InputError, ConflictError: if the component cannot be loaded, or forbids a required element.
    """
    component = None if query.component is None else load_component(query.component)
    constraints, forbid = (component.constraints, component.forbid) if component else ((), ())
    targets = dict.fromkeys((*query.targets, *constraints))
    excluded = dict.fromkeys((*query.exclude, *forbid, *_unwanted(query, component)))
    return replace(query, targets=tuple(targets), exclude=tuple(excluded))


def _unwanted(query: Query, component: Component | None) -> Iterator[str]:
    """Symbols of radioactive elements, noble gases, and for a component toxic elements, unless asked for."""
    table = element_data.table()
    named = query.named_elements
    for z, symbol in enumerate(SYMBOLS[: len(table.restricted) - 1], start=1):
        radioactive, toxic = bool(table.radioactive[z]), table.restricted[z] is not None
        unwanted = symbol not in named and (symbol in NOBLE_GASES or (radioactive and component is None))
        if component is not None:
            unwanted |= (radioactive and not component.radioactive) or (toxic and not component.restricted)
        if unwanted:
            yield symbol


def _indices(query: Query) -> Desirability | None:
    return None if query.component is None else partial(suitability, component=query.component)


class _Round:
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
        targets, limit = self.campaign.targets, self.campaign.query.max_energy_above_hull
        rows = self._proposals(self._requests())
        rows = acquire(rows, targets, limit, self.campaign.correction(), self.campaign.desirability)
        rows = self._relax(self._gate(rows, self._inspect(rows)))
        rows = self._stage("place", rows, ("energy_above_hull",), lambda r: place(r, self.parts.reference))
        rows = self._stage(
            "check", rows, _JUDGED, lambda r: check(r, (self.campaign.screens[0], *self.parts.checks))
        )
        rows = self._unique(rows)
        rows = self._stage("estimate", rows, ("estimate", "failure"), self._estimate)
        return self._stage(
            "score", rows, ("score",), lambda r: score(r, targets, limit, self.campaign.desirability)
        )

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
        """The most promising rows, judged by the dearer checks."""
        c, resumed = self.campaign, self.resumed
        most = self.relaxations * c.sizes.inspections if self.parts.inspections else len(rows)
        top, reasons = promising(rows, most, c.selected)
        self._count(Shard(self.number, "rank"), StageCount(len(top) + sum(reasons.values()), len(top), reasons))
        self.resumed = resumed
        if not self.parts.inspections:
            return top
        self._tell("inspect", 0, len(top))
        top = self._stage("inspect", top, _JUDGED, lambda r: screen(r, self.parts.inspections))
        self._tell("inspect", len(top), len(top))
        return top

    def _gate(self, rows: list[Evaluation], top: list[Evaluation]) -> list[Evaluation]:
        """All rows, with what was found of the inspected ones, those chosen for relaxation marked."""
        c, shard = self.campaign, Shard(self.number, "gate")
        judged = {row.candidate.id: row for row in top}
        rows = [judged.get(row.candidate.id, row) for row in rows]
        if self.ledger is not None and shard in self._marks:
            self._count(shard)
            return self.ledger.load(shard, rows)
        start = time.perf_counter()
        rng = np.random.default_rng(seed_of(c.seed, "gate", self.number))
        marked, reasons = select(top, self.relaxations, c.selected, rng, c.policy)
        chosen = {row.candidate.id: row for row in marked if row.selected}
        counts = StageCount(len(chosen) + sum(reasons.values()), len(chosen), reasons, time.perf_counter() - start)
        if self.ledger is not None:
            fields = ("selected", "acquisition")
            self.ledger.save(shard, list(chosen.values()), fields, asdict(counts), counts.seconds)
        self._count(shard, counts)
        return [chosen.get(row.candidate.id, row) for row in rows]

    def _relax(self, rows: list[Evaluation]) -> list[Evaluation]:
        shard = Shard(self.number, "relax")
        chosen = [row for row in rows if row.selected]
        recorded = {} if self.ledger is None else self.ledger.relaxations(self.number)
        missing = sorted(
            (row for row in chosen if row.candidate.id not in recorded),
            key=lambda r: (-r.acquisition, r.candidate.id),
        )
        start = time.perf_counter()
        self._tell("relax", len(chosen) - len(missing), len(chosen))
        with _named("relaxer"):
            for index, result in relax([row.candidate.crystal for row in missing], self.parts.relaxer):
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
        self.seconds += counts.seconds
        self.funnel = self.funnel + Funnel({shard.stage: counts})

    def _tell(self, what: str, done: int, total: int) -> None:
        self.campaign.progress(f"round {self.number + 1}: {what}", done, total)


def _proposed(
    request: Request, rows: Sequence[Evaluation], failures: Sequence[Failure], seconds: float
) -> StageCount:
    reasons = Counter(f.reason.split(":")[0] for f in failures)
    reasons["not delivered"] = request.n - len(rows) - len(failures)
    return StageCount(request.n, len(rows), dict(+reasons), seconds)


def _stable(row: Evaluation, limit: float) -> bool:
    return row.energy_above_hull is not None and row.energy_above_hull.mean <= limit


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say which part ended the run; what is recorded stays recorded."""
    try:
        yield
    except InvdesignError:
        raise
    except Exception as error:
        raise PartError(f"{part} failed: {type(error).__name__}: {error}") from error


def _default_parts(query: Query) -> Parts:
    module, name = DEFAULT_PARTS
    made = getattr(import_module(module), name)(query)
    assert isinstance(made, Parts)
    return made
