"""A campaign: rounds of asking, generating, gating, relaxing and judging until enough candidates are found.

The one object that changes. All else is frozen or, as the searcher, follows from the seed and what it is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from invdesign import __version__
from invdesign.display import html_table
from invdesign.engine.candidates import CandidateSearch, judge_of
from invdesign.engine.database import path_of
from invdesign.engine.extension import Budget, Extension, budget_of
from invdesign.engine.feedback import Told, revise
from invdesign.engine.funnel import Funnel, accepted
from invdesign.engine.ledger import Header, Ledger
from invdesign.engine.online_correction import learned
from invdesign.engine.parts import Desirability, Parts
from invdesign.engine.pipeline import (
    LENIENT,
)
from invdesign.engine.rounds import Round
from invdesign.engine.screening import POLICY, GatePolicy
from invdesign.engine.search import make_searcher
from invdesign.engine.study import STUDY
from invdesign.engine.wishes import MatchesQuery, completed, resolved
from invdesign.errors import InputError
from invdesign.evolution.evolve import EvolutionSettings
from invdesign.evolution.judge import Correct, Judge
from invdesign.progress import Shown, reported, told
from invdesign.protocols import Validator
from invdesign.query import Query, Target, as_query
from invdesign.records import Evaluation, Failure, Relaxation
from invdesign.selection.ranking import suitability
from invdesign.selection.targets import meets_targets

DEFAULT_PARTS = ("invdesign.build", "default_parts")
"""Where a campaign that is handed no parts finds a function of the query that makes them: the one name of an
upper layer that the engine knows besides the next, looked up only then."""
RESULT = ("invdesign.app.design", "result_of")
"""Where the result of a campaign is made of it."""


@dataclass(frozen=True)
class Sizes:
    """How a budget becomes rounds; part of what a ledger is held to.

    Attributes:
        rounds: largest number of rounds that the relaxations are shared among.
        proposals: crystals generated for each relaxation.
        evolved: candidates that the search among candidates brings for each relaxation.
        inspections: of all these, how many are looked at closely.
        probes: of these, how many get a first look with the potential, for each relaxation (0: none).
        probe_calls: calls of the potential for a first look, 1 to 4.
        requests: requests in a round.
        margin: a campaign ends early after a round with `margin * query.n` accepted on-target candidates.
        least: least number of relaxations in a round, if there are as many: a search among candidates for fewer is
            too small to find anything rare.
        hopeless: a campaign ends early after its second round or later if the relaxations that are left are
            expected to bring fewer accepted on-target candidates than this (0: it goes on).
    """

    rounds: int = 5
    proposals: int = 10
    evolved: int = 12
    inspections: int = 6
    probes: float = 2.5
    probe_calls: int = 3
    requests: int = 8
    margin: float = 1.5
    least: int = 8
    hopeless: float = 0.02

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: if one is not positive.
        """
        for name, value in asdict(self).items():
            if not (value > 0 or (name in ("probes", "hopeless") and value == 0)):
                raise InputError(name, value, "a positive number")

    def rounds_of(self, relaxations: int) -> int:
        """Number of rounds that some relaxations are shared among."""
        return min(self.rounds, max(1, relaxations // self.least))


SIZES = Sizes()
PLAIN = Sizes(proposals=30, inspections=6, probes=0.0)
"""Sizes of a run without search among candidates: more proposals of the generators, and no first looks."""
EVOLUTION = EvolutionSettings()


SO_FAR = ("total", "on_target")
"""Counts of a step that are of all rounds."""


@dataclass(frozen=True, repr=False)
class Step:
    """What one round did.

    Attributes:
        number: of the round, from 0.
        counts: rows `proposed`, `screened` (passed), `selected`, `relaxed`, `stable`, `accepted`, and so far
            `total` (accepted) and `on_target` (of these).
        best: the best accepted rows so far, best first, at most the number asked for.
        seconds: computing time of the round, wall clock; of a round read from the ledger, as it was then.
        funnel: counts at each stage of this round.
        resumed: whether the whole round was read from the ledger.
        hit_rate: accepted rows on target that one more relaxation is expected to bring.
    """

    number: int
    counts: Mapping[str, int]
    best: tuple[Evaluation, ...]
    seconds: float
    funnel: Funnel
    resumed: bool = False
    hit_rate: float = 0.0

    def expected(self, minutes: float = 10.0) -> float:
        """Accepted rows on target that the next minutes are expected to bring, at the pace of this round."""
        relaxed = self.counts.get("relaxed", 0)
        return self.hit_rate * relaxed * 60.0 * minutes / max(self.seconds, 1.0)

    def line(self) -> str:
        """The round in one line, and what the next ten minutes are expected to bring."""
        c, more = self.counts, self.expected()
        little = "one more at best" if more >= 0.1 else "nothing more"
        outlook = f"about {more:.0f} more" if more >= 1.0 else little
        return (
            f"round {self.number + 1}: {c['relaxed']} relaxed, {c['accepted']} stable and new; so far "
            f"{c['on_target']} on target; the next ten minutes are expected to bring {outlook}"
        )

    def __repr__(self) -> str:
        """The round's number and its counts."""
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if name not in SO_FAR)
        return f"<Step {self.number}: {counts}; {self.counts.get('total', 0)} accepted in all>"

    def _repr_html_(self) -> str:
        return html_table(
            ["round", *self.counts, "seconds"], [[self.number, *self.counts.values(), round(self.seconds)]]
        )


class Campaign:
    """Rounds for one query, seed and set of parts. Iterate over it for a `Step` per round.

    Examples:
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
        extensions: relaxations that were added to the finished run.
        constraints: checks of every proposal besides those of the parts.
    """

    def __init__(
        self,
        query: Query | Mapping[str, Any],
        seed: int = 0,
        parts: Parts | None = None,
        ledger: Ledger | str | Path | None = None,
        *,
        targets: Sequence[Target] | None = None,
        sizes: Sizes | None = None,
        policy: GatePolicy = POLICY,
        desirability: Desirability | None = None,
        evolution: EvolutionSettings = EVOLUTION,
        constraints: Sequence[Validator] = (),
        progress: Shown = None,
    ) -> None:
        """Make a campaign; with the path of an existing ledger it goes on where that stopped.

        Args:
            query: what is asked.
            seed: the same seed gives the same candidates.
            parts: what to work with; None: the shipped ones.
            ledger: an open ledger, or the path or URL of one that is opened if it exists and made if not.
            targets: what to search for; None: the query's targets and its component's constraints.
            sizes: of rounds (None: `SIZES`, or `PLAIN` without search among candidates).
            policy: of the gate.
            desirability: a desirability from 0 to 1 of each row's estimate, which multiplies the gate's priority
                and the score; None: the material indices of the query's component, if it has one.
            evolution: how the search among candidates spends its evaluations.
            constraints: checks of every proposal besides those of the parts.
            progress: see `invdesign.progress.Shown`; shown while the campaign is iterated over.

        Raises:
            LedgerError: if the ledger is damaged, in use, or belongs to another query, seed, version or parts.
        """
        self.query = query = resolved(as_query(query))
        self.seed = seed
        self.sizes = sizes = (PLAIN if query.search == "none" else SIZES) if sizes is None else sizes
        wanted = completed(query)
        self.targets = tuple(wanted.targets if targets is None else targets)
        self._own_parts = parts is None
        self.parts = _default_parts(query) if parts is None else parts
        self.rows: list[Evaluation] = []
        self.failures: list[Failure] = []
        self.funnel = Funnel()
        self.policy, self.progress, self._shown = policy, told(progress), progress
        self.desirability = _indices(query) if desirability is None else desirability
        self.searcher = make_searcher(
            wanted, self.parts.generators, seed, self.targets, sizes.requests, _study_beside(ledger)
        )
        self.constraints = tuple(constraints)
        self.screens = (MatchesQuery(wanted), *self.parts.screens, *self.constraints)
        given = (wanted, self.targets, self.parts, self.screens, evolution)
        self.search = None if query.search == "none" else CandidateSearch(*given)
        self.derives = any(t.prop.derived for t in self.targets)
        self._round = 0
        self._last: list[Evaluation] = []
        self._work: tuple[Round, list[Evaluation]] | None = None
        self.ledger = self._open(ledger, evolution)
        self.extensions = [] if self.ledger is None else self.ledger.extensions()
        self._informed: tuple[object, list[Evaluation]] = (None, [])

    @property
    def accepted(self) -> list[Evaluation]:
        """Rows of the finished rounds that may stand on the final list: on target first, then by score."""
        limit = self.query.max_energy_above_hull
        found = [row for row in self.rows if accepted(row, limit, LENIENT)]
        return sorted(found, key=lambda r: (not meets_targets(r, self.targets), -r.score, r.candidate.id))

    @property
    def finished(self) -> bool:
        """Whether the budget is spent or enough candidates are found."""
        budget, spent = self._budget, sum(row.selected for row in self.rows)
        if budget.goes_on or budget.is_spent(self._round, spent):
            return not budget.goes_on
        if budget.extension is not None:  # they were asked for, whatever had been found by then
            return False
        return self._on_target >= math.ceil(self.sizes.margin * self.query.n) or self.outlook < self.sizes.hopeless

    @property
    def outlook(self) -> float:
        """Accepted candidates on target that the relaxations of the query that are left are expected to bring;
        infinite after fewer than two rounds."""
        if self._round < 2 or not self._last:
            return math.inf
        left = max(0, self.query.relaxations - sum(row.selected for row in self.rows))
        return left * hit_rate(self._last, self.rows, self._on_target)

    @property
    def stopped(self) -> str:
        """Why relaxations of the query were left, in words; empty where none were, or enough is found."""
        spent, asked = sum(row.selected for row in self.rows), self.query.relaxations
        where = f"The search stopped after {spent} of {asked} relaxations"
        if not self.finished:
            return f"{where}; go on with: invdesign resume DIR"
        if self.extensions or spent >= asked or not self.outlook < self.sizes.hopeless:
            return ""
        little = f"the others were expected to bring {self.outlook:.1g} candidates on target"
        return f"{where}: {little}; search on all the same with: invdesign resume DIR --more N"

    @property
    def _on_target(self) -> int:
        return sum(meets_targets(row, self.targets) for row in self.accepted)

    def __iter__(self) -> Iterator[Step]:
        """Run the rounds that are left, one per step."""
        with reported(self._shown) as self.progress:
            while not self.finished:
                yield self.step()

    def step(self) -> Step:
        """Run one round: recorded work is read from the ledger, the rest computed and recorded."""
        work, rows = self._begun()
        return self._finish(work, work.finish(rows))

    def ask(self) -> list[Evaluation]:
        """The candidates of the next round that are to be relaxed, the most promising first, for `tell`.

        Without them told, the same are given again. Empty where the run is finished, or where all of them are in
        the ledger already (`tell({})` goes on).
        """
        if self.finished:
            return []
        work, rows = self._begun()
        return work.missing(rows)

    def tell(self, results: Mapping[str, Relaxation | Failure]) -> Step:
        """Finish the round that was asked for with relaxations of your own.

        Args:
            results: by id of the candidate, of all that `ask` gave.

        Raises:
            InputError: if nothing was asked for, one is missing, or was not asked for.
        """
        if self._work is None:
            raise InputError("results", sorted(results), "results of candidates that ask() gave")
        work, rows = self._work
        asked = {row.candidate.id for row in work.missing(rows)}
        for name in sorted(asked ^ results.keys()):
            allowed = "a result for it" if name in asked else "the id of a candidate that ask() gave"
            raise InputError("candidate", name, allowed)
        return self._finish(work, work.finish(rows, results))

    def _begun(self) -> tuple[Round, list[Evaluation]]:
        """The next round, its candidates chosen."""
        if self._work is None:
            spent = sum(row.selected for row in self.rows)
            work = Round(self, self._round, self._budget.of_round(self._round, spent))
            self._work = work, work.choose()
        return self._work

    def _finish(self, work: Round, rows: list[Evaluation]) -> Step:
        self._work, self._last = None, rows
        self.rows.extend(rows)
        self.failures.extend(work.failures)
        self.funnel = self.funnel + work.funnel
        self.searcher.tell(rows)
        self._round += 1
        return self._step(work, rows)

    def extend(self, relaxations: int) -> None:
        """Add relaxations to the finished run; its search goes on with what came back by now.

        They are shared among rounds as those of the query are, and all are spent, however much has been found.

        Args:
            relaxations: how many more.

        Raises:
            InputError: if it is not positive, or the run is not finished.
        """
        if relaxations < 1:
            raise InputError("relaxations", relaxations, "a positive number")
        if not self.finished:
            raise InputError("relaxations", relaxations, "more of a run that is finished; run its rounds first")
        number = 0 if self.ledger is None else self.ledger.feedback_number
        extension = Extension(self._round, relaxations, len(self.selected), number)
        if self.ledger is not None:
            self.ledger.add_extension(extension)
        self.extensions.append(extension)

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

    def result(self) -> Any:
        """What the finished rounds have found, ranked: the `invdesign.Result` that `invdesign.design` returns."""
        module, name = RESULT
        return getattr(import_module(module), name)(self)

    @property
    def selected(self) -> list[Evaluation]:
        """Rows of the finished rounds on which a relaxation was spent, with what came back of them."""
        return [row for row in self.informed if row.selected]

    @property
    def informed(self) -> list[Evaluation]:
        """Rows of the finished rounds as the search sees them: with what had come back when relaxations were
        added."""
        extension = self._budget.extension
        if self.ledger is None or extension is None or not extension.feedback:
            return self.rows
        key = (len(self.rows), extension)
        if self._informed[0] != key:
            told: Told = self.ledger.feedback(extension.feedback)
            rows = revise(self.rows, told, self.parts, known=self.query.known_properties).rows
            self._informed = (key, rows)
        return self._informed[1]

    def judge(self, correct: Correct | None = None) -> Judge:
        """The gate with the targets of the campaign, corrected by what the run has learned."""
        return judge_of(self.query, self.targets, self.parts, correct)

    def learned(self, now: Sequence[Evaluation] = ()) -> Correct | None:
        """What earlier rounds, and first looks of the present one, say about the gate's errors."""
        return learned([*self.informed, *now], self.parts.gate, self.query.known_properties)

    @property
    def _budget(self) -> Budget:
        """What the next round is paid from."""
        return budget_of(self._round, self.sizes.rounds_of, self.query.relaxations, self.extensions)

    def _step(self, work: Round, rows: Sequence[Evaluation]) -> Step:
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
            "on_target": self._on_target,
        }
        rate = hit_rate(rows, self.rows, counts["on_target"])
        top = tuple(best[: self.query.n])
        return Step(work.number, counts, top, work.seconds, work.funnel, work.resumed, rate)

    def _open(self, ledger: Ledger | str | Path | None, evolution: EvolutionSettings) -> Ledger | None:
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
                "evolution": asdict(evolution),
                "targets": [str(t) for t in self.targets],
                **({"constraints": [v.name for v in self.constraints]} if self.constraints else {}),
            },
        )
        if isinstance(ledger, Ledger):
            ledger.compare(header)
            return ledger
        return Ledger.open(ledger, header) if Ledger.exists(ledger) else Ledger.create(ledger, header)


def _study_beside(ledger: Ledger | str | Path | None) -> Path | None:
    """Where Optuna's study of a run is kept: beside a ledger that is a file."""
    if ledger is None:
        return None
    path = path_of(ledger.where if isinstance(ledger, Ledger) else ledger)
    return None if path is None else path.with_name(STUDY)


def hit_rate(now: Sequence[Evaluation], all_rows: Sequence[Evaluation], hits: int) -> float:
    """Accepted rows on target that one more relaxation is expected to bring.

    The mean chance that was given to the last round's relaxations, times what all chances so far have turned out
    to be worth: hits over the sum of the chances, half a hit added to both.

    Args:
        now: rows of the last round.
        all_rows: of all rounds.
        hits: accepted rows on target so far.
    """
    last = [row.acquisition for row in now if row.selected]
    if not last:
        return 0.0
    expected = sum(row.acquisition for row in all_rows if row.selected)
    return sum(last) / len(last) * (hits + 0.5) / (expected + 0.5)


def _indices(query: Query) -> Desirability | None:
    return None if query.component is None else partial(suitability, component=query.component)


def _stable(row: Evaluation, limit: float) -> bool:
    return row.energy_above_hull is not None and row.energy_above_hull.mean <= limit


def _default_parts(query: Query) -> Parts:
    module, name = DEFAULT_PARTS
    made = getattr(import_module(module), name)(query)
    assert isinstance(made, Parts)
    return made
