"""How far a run has come, from its ledger alone: by any process, on any machine that reaches it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from invdesign.engine.campaign import Sizes, hit_rate
from invdesign.engine.extension import budget_of
from invdesign.engine.funnel import accepted
from invdesign.engine.inspection import LATER, last_recorded
from invdesign.engine.ledger import Header, Ledger, Shard
from invdesign.engine.pipeline import LENIENT
from invdesign.engine.stored import stored_rows
from invdesign.engine.wishes import completed
from invdesign.errors import InvdesignError, LedgerError
from invdesign.records import Failure
from invdesign.selection.targets import meets_targets

STAGES = ("evolve", "inspect", "probe", "gate", "relax", "place", "check", "unique", "estimate", "score")
"""Stages of a round that are marked once, in their order; before them stand those of each request."""
DOING = {
    "evolve": "proposing",
    "inspect": "inspecting",
    "probe": "first looks",
    "gate": "choosing",
    "relax": "relaxing",
}
"""What a round does whose next mark is that of a stage; all later ones take moments."""


@dataclass(frozen=True)
class RoundStatus:
    """One round as it is recorded.

    Attributes:
        number: from 1.
        proposed: candidates of the generators and of the search.
        screened: of these, how many passed the first checks.
        chosen: for relaxation.
        relaxed: of these, how many are relaxed by now.
        failed: how many could not be.
        seconds: of wall clock that its finished stages took.
        doing: the stage that it is at; empty when it is finished.
    """

    number: int
    proposed: int
    screened: int
    chosen: int
    relaxed: int
    failed: int
    seconds: float
    doing: str


@dataclass(frozen=True)
class RunStatus:
    """A run as its ledger shows it.

    Attributes:
        ledger: where it is recorded.
        query: what is asked, in words.
        seed: of the run.
        version: of invdesign.
        state: `running`, `finished`, or `stopped` (it can go on).
        round: rounds that were started.
        rounds: the most that there may be, those of added relaxations included.
        relaxed: relaxations by now.
        failed: of these, how many failed.
        relaxations: the most that there may be.
        stable_and_new: crystals that may stand on the list; None where the query's own files are missing.
        on_target: of these, how many meet the targets.
        wanted: length of the list.
        seconds: of wall clock that the finished stages took.
        recorded: when the last piece of work was recorded, seconds since 1970; None where that is not known.
        each: the rounds.
    """

    ledger: str
    query: str
    seed: int
    version: str
    state: str
    round: int
    rounds: int
    relaxed: int
    failed: int
    relaxations: int
    stable_and_new: int | None
    on_target: int | None
    wanted: int
    seconds: float
    recorded: float | None
    each: tuple[RoundStatus, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


def status(ledger: Ledger, alive: bool) -> RunStatus:
    """How far the run of a ledger has come.

    Args:
        ledger: open for reading.
        alive: whether a process is running on it.

    Raises:
        LedgerError: if a record cannot be read.
    """
    header = ledger.header
    each = tuple(_round(ledger, number) for number in range(ledger.rounds()))
    found, hits = _found(ledger)
    sizes, extensions, query = _sizes(header, ledger.where), ledger.extensions(), ledger.query
    done = [r for r in each if not r.doing]
    budget = budget_of(len(done), sizes.rounds_of, query.relaxations, extensions)
    spent = sum(r.chosen for r in done)
    if budget.goes_on or budget.is_spent(len(done), spent):
        finished = not budget.goes_on
    else:
        enough = hits is not None and hits >= math.ceil(sizes.margin * query.n)
        finished = budget.extension is None and (enough or _hopeless(ledger, sizes, len(done), hits))
    finished = finished and len(done) == len(each)
    ends = [e.round + sizes.rounds_of(e.relaxations) for e in extensions]
    return RunStatus(
        ledger=ledger.where,
        query=query.in_words(),
        seed=header.seed,
        version=header.version,
        state="running" if alive else "finished" if finished else "stopped",
        round=len(each),
        rounds=max([sizes.rounds_of(query.relaxations), *ends]),
        relaxed=sum(r.relaxed for r in each),
        failed=sum(r.failed for r in each),
        relaxations=query.relaxations + sum(e.relaxations for e in extensions),
        stable_and_new=found,
        on_target=hits,
        wanted=query.n,
        seconds=round(sum(r.seconds for r in each), 1),
        recorded=last_recorded(ledger),
        each=each,
    )


def _hopeless(ledger: Ledger, sizes: Sizes, done: int, hits: int | None) -> bool:
    """Whether the run ended because its rest was expected to bring nothing, by the relaxations that succeeded."""
    if done < 2 or hits is None:
        return False
    rows, last = stored_rows(ledger), ledger.relaxations(done - 1)
    left = ledger.query.relaxations - sum(len(ledger.relaxations(number)) for number in range(done))
    return left * hit_rate([r for r in rows if r.candidate.id in last], rows, hits) < sizes.hopeless


def _sizes(header: Header, where: str) -> Sizes:
    try:
        return Sizes(**header.settings["sizes"])
    except (KeyError, TypeError) as error:
        raise LedgerError(f"{where}: the ledger's settings are damaged ({error})") from None


def _round(ledger: Ledger, number: int) -> RoundStatus:
    marks = {shard: counts for shard, counts in ledger.shards(number).items() if shard.stage not in LATER}
    stages = Counter[str]()
    entered = Counter[str]()
    for shard, (counts, _) in marks.items():
        stages[shard.stage] += int(counts.get("passed", 0))
        entered[shard.stage] += int(counts.get("entered", 0))
    relaxed = ledger.relaxations(number)
    following = next((stage for stage in STAGES if Shard(number, stage) not in _bare(marks)), "")
    return RoundStatus(
        number=number + 1,
        proposed=stages["propose"] + stages["evolve"],
        screened=stages["screen"],
        chosen=stages["gate"],
        relaxed=len(relaxed),
        failed=sum(isinstance(result, Failure) for result in relaxed.values()),
        seconds=round(sum(seconds for _, seconds in marks.values()), 1),
        doing=DOING.get(following, "judging") if following else "",
    )


def _bare(marks: Mapping[Shard, Any]) -> set[Shard]:
    """Marks of stages without the name of their request."""
    return {Shard(shard.round, shard.stage) for shard in marks} | {
        Shard(shard.round, stage) for shard in marks for stage in STAGES[: _place(shard.stage)]
    }


def _place(stage: str) -> int:
    """How many stages come before one: a run without search among candidates or first looks has no such marks."""
    return STAGES.index(stage) if stage in STAGES else 0


def _found(ledger: Ledger) -> tuple[int | None, int | None]:
    """Crystals that may stand on the list, and how many of them are on target."""
    try:
        query = ledger.query
        targets = completed(query).targets
    except LedgerError:
        raise
    except InvdesignError:  # a file of a custom property that is not on this machine
        return None, None
    rows = [row for row in stored_rows(ledger) if accepted(row, query.max_energy_above_hull, LENIENT)]
    return len(rows), sum(meets_targets(row, targets) for row in rows)


def lines(found: RunStatus, now: float) -> Sequence[str]:
    """The state of a run in words.

    Args:
        found: of `status`.
        now: seconds since 1970.
    """
    last = found.each[-1] if found.each else None
    at = f", {last.doing}" if last is not None and last.doing else ""
    ago = "" if found.recorded is None else f"; last record {_ago(now - found.recorded)} ago"
    hits = (
        "" if found.on_target is None else f"; {found.stable_and_new} stable and new, {found.on_target} on target"
    )
    return [
        f"{found.state}: round {found.round} of at most {found.rounds}{at}{ago}",
        f"query: {found.query} (seed {found.seed}, invdesign {found.version})",
        f"relaxations: {found.relaxed} of at most {found.relaxations}, {found.failed} failed"
        f"{'' if found.on_target is None else hits} ({found.wanted} wanted)",
    ]


def _ago(seconds: float) -> str:
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"  # a clock that was set back shows none
