"""The list of a run, and its last stage: whether the crystals that are to be listed rest in a minimum.

A crystal on a saddle point of the potential gives its place to what it becomes without its symmetry: the child is
placed above the hull, checked and estimated as every relaxed crystal is. The list is then made again, until every
crystal on it has been judged. The search does not see this stage, so that a run does not depend on when its list
was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from invdesign.engine.campaign import Campaign
from invdesign.engine.feedback import Revised, revise
from invdesign.engine.funnel import Funnel, StageCount
from invdesign.engine.ledger import Shard
from invdesign.engine.pipeline import LENIENT, check, estimate, place, rejection, score, unique
from invdesign.protocols import Shaker
from invdesign.records import Evaluation, Failure, Shaken, Status, Verdict
from invdesign.run_log import event
from invdesign.selection.ranking import Selection, rank

DYNAMICS = "dynamics"
"""Name of the stage and of its verdict."""
_CHILD = ("relaxation", "energy_above_hull", "estimate", "verdicts", "failure", "score")


@dataclass(frozen=True)
class Listing:
    """The list of a run.

    Attributes:
        rows: every row of the run, those that were judged with their verdict or as their child.
        revised: the same with what came back.
        selection: the list.
        funnel: counts of the stage; empty where it was left out.
    """

    rows: list[Evaluation]
    revised: Revised
    selection: Selection
    funnel: Funnel


def listing(campaign: Campaign) -> Listing:
    """Rank what the finished rounds have found, and judge the dynamic stability of what is listed.

    Args:
        campaign: its relaxer shakes crystals if it is a `Shaker` and the query wants that.
    """
    query, stage = campaign.query, _Stage(campaign)
    back = {} if campaign.ledger is None else campaign.ledger.feedback()
    judged = stage.recorded([row for row in campaign.rows if row.candidate.id in back])
    while True:
        rows = [judged.get(row.candidate.id, row) for row in campaign.rows]
        revised = revise(rows, back, campaign.parts, known=query.known_properties)
        selection = rank(revised.rows, query, unknown_allowed=LENIENT)
        listed = {row.candidate.id for row in selection.rows}
        new = [row for row in campaign.rows if row.candidate.id in listed - judged.keys()]
        if stage.shaker is None or not new:
            return Listing(rows, revised, selection, stage.funnel)
        judged |= stage.judge(new)


class _Stage:
    """Judges rows, or reads from the ledger how they were judged.

    The ledger holds two shards for each row: `shake`, saved as each row is done, and `dynamics`, the row as it is
    listed.
    """

    def __init__(self, campaign: Campaign) -> None:
        self.campaign, self.parts, self.ledger = campaign, campaign.parts, campaign.ledger
        relaxer = campaign.parts.relaxer
        self.shaker = relaxer if campaign.query.dynamics and isinstance(relaxer, Shaker) else None
        self.funnel = Funnel()
        self._marks = {} if self.ledger is None else self.ledger.shards(0)

    def recorded(self, rows: Sequence[Evaluation]) -> dict[str, Evaluation]:
        """Those of the rows that were judged earlier, by id."""
        if self.shaker is None:
            return {}
        return self.judge([row for row in rows if Shard(0, DYNAMICS, row.candidate.id) in self._marks])

    def judge(self, rows: Sequence[Evaluation]) -> dict[str, Evaluation]:
        """The rows with their verdict, or as their child, by id."""
        shaken, seconds = self._shaken(rows)
        after = {row.candidate.id: self._settled(row, shaken[row.candidate.id]) for row in rows}
        lost = Counter(why for row in after.values() if (why := rejection(row)))
        count = StageCount(len(rows), len(rows) - lost.total(), dict(lost), seconds)
        if rows:
            self.funnel = self.funnel + Funnel({DYNAMICS: count})
        return after

    def _shaken(self, rows: Sequence[Evaluation]) -> tuple[dict[str, Evaluation], float]:
        """The rows with their verdict, and in place of their relaxation that of their child; CPU seconds."""
        assert self.shaker is not None
        found, seconds, missing = dict[str, Evaluation](), 0.0, []
        for row in rows:
            shard = Shard(0, "shake", row.candidate.id)
            if self.ledger is None or shard not in self._marks:
                missing.append(row)
                continue
            (found[row.candidate.id],) = self.ledger.load(shard, [row])
            seconds += self._marks[shard][1]
        if missing:
            self.campaign.progress("shake", len(found), len(rows))
        for index, result in self.shaker.shake_iter([row.crystal for row in missing]):
            row, spent = missing[index], getattr(result, "seconds", 0.0)
            after = judged(row, result)
            found[row.candidate.id] = after
            seconds += spent
            verdict = str(after.verdicts[DYNAMICS].status)
            event(DYNAMICS, candidate=row.candidate.id, verdict=verdict, seconds=round(spent, 2))
            self._save("shake", after, ("verdicts",) if _same(row, after) else ("verdicts", "relaxation"), spent)
            self.campaign.progress("shake", len(found), len(rows))
        return found, seconds

    def _settled(self, before: Evaluation, row: Evaluation) -> Evaluation:
        """A row that stays what it is; or a child, after all that follows a relaxation."""
        shard = Shard(0, DYNAMICS, row.candidate.id)
        if self.ledger is not None and shard in self._marks:
            (after,) = self.ledger.load(shard, [row])
            if not _same(before, row) and self.parts.unique.name in after.verdicts:
                self.parts.unique.check(after)  # it must remember the row
            return after
        after = row if _same(before, row) else self._child(row)
        self._save(DYNAMICS, after, ("verdicts",) if _same(before, row) else _CHILD, 0.0)
        return after

    def _child(self, row: Evaluation) -> Evaluation:
        """A row whose crystal is a child's: its symmetry is its own, no longer that of the proposal."""
        c, parts = self.campaign, self.parts
        own = replace(row.candidate, crystal=row.crystal)
        rows = [replace(row, candidate=own, energy_above_hull=None, estimate=None)]
        rows = place(rows, parts.reference)
        rows = check(rows, (c.screens[0], *parts.checks))
        rows = unique(rows, parts.unique)
        rows = estimate(rows, parts.surrogate, parts.derive)
        (after,) = score(rows, c.targets, c.query.max_energy_above_hull, c.desirability)
        return replace(after, candidate=row.candidate)

    def _save(self, stage: str, row: Evaluation, fields: Sequence[str], seconds: float) -> None:
        shard = Shard(0, stage, row.candidate.id)
        counts: Mapping[str, object] = asdict(StageCount(1, int(not row.failed), seconds=seconds))
        if self.ledger is not None:
            self.ledger.save(shard, [row], fields, counts, seconds)
        self._marks[shard] = (dict(counts), seconds)


def _same(before: Evaluation, after: Evaluation) -> bool:
    return after.relaxation is before.relaxation


def judged(row: Evaluation, result: Shaken | Failure) -> Evaluation:
    """A row with its verdict, and in place of its relaxation that of its child if it has one with an energy."""
    if isinstance(result, Failure):
        verdict = Verdict(DYNAMICS, Status.UNKNOWN, result.reason)
        return replace(row, verdicts={**row.verdicts, DYNAMICS: verdict})
    verdict, child = result.verdict, result.child
    if verdict.status is not Status.FAIL or child is None or child.formation_energy is None:
        return replace(row, verdicts={**row.verdicts, DYNAMICS: verdict})
    note = f"was on a saddle point: {verdict.reason}"
    verdict = Verdict(DYNAMICS, Status.PASS, note, result.gain)
    return replace(row, relaxation=replace(child, note=note), verdicts={**row.verdicts, DYNAMICS: verdict})
