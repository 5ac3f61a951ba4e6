"""Samples for targets: drawn as a design run would ask for them, screened, relaxed, and what came of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.metrics import KNOWN
from invdesign.benchmarking.samples import SYMPREC, Plan, Sampling, draw, match, recorded
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystallography.symmetry import space_group
from invdesign.engine.campaign import PLAIN
from invdesign.engine.funnel import StageCount, accepted
from invdesign.engine.parts import Derive, Parts
from invdesign.engine.pipeline import (
    LENIENT,
    check,
    count,
    estimate,
    place,
    predict,
    rejection,
    relax,
    relaxed,
    screen,
    unique,
)
from invdesign.engine.screening import acquire, promising, select
from invdesign.engine.search import conditions_of, seed_of
from invdesign.engine.wishes import MatchesQuery, completed
from invdesign.errors import InputError
from invdesign.evolution.judge import Judge
from invdesign.progress import Progress
from invdesign.protocols import Surrogate, Validator
from invdesign.query import Query, Target
from invdesign.records import Candidate, Estimate, Evaluation, Failure, Relaxation, Status
from invdesign.reference.known import KnownCrystal
from invdesign.selection.targets import meets_targets

EASY, HARD, EXTREME, CHOSEN = "easy", "hard", "extreme", "chosen"
TARGETS: dict[str, str] = {
    "bulk_modulus=100": EASY,
    "bulk_modulus=250": HARD,
    "bulk_modulus>=300": EXTREME,
    "shear_modulus=50": EASY,
    "shear_modulus>=150": HARD,
    "shear_modulus>=200": EXTREME,
    "band_gap=2": EASY,
    "band_gap>=6": HARD,
    "band_gap>=7": EXTREME,
    "formation_energy=-2": EASY,
    "formation_energy<=-3.5": HARD,
    "formation_energy<=-4": EXTREME,
    "bulk_modulus=100,shear_modulus=50": EASY,
    "bulk_modulus>=250,shear_modulus>=150": HARD,
    "bulk_modulus>=200,band_gap>=3": EXTREME,
    "band_gap=2,formation_energy<=-2": EASY,
}
"""Targets and pairs of them with their level. Of a hundred known crystals, as the gate sees them, 3 to 11 meet an
easy one, about 1 or 2 a hard one, fewer than one an extreme one; every record holds the measured shares."""


@dataclass(frozen=True)
class TargetPlan(Plan):
    """What is measured: samples and relaxations are for each generator and target.

    Attributes:
        targets: each one target, or several joined by commas that have to hold together.

    Raises:
        InputError, ConflictError: if a number is out of range or a target cannot be read.
    """

    targets: tuple[str, ...] = tuple(TARGETS)

    def __post_init__(self) -> None:
        """Check the numbers and the targets."""
        super().__post_init__()
        tidy = tuple(",".join(part.strip() for part in text.split(",")) for text in self.targets)
        object.__setattr__(self, "targets", tidy)
        if not tidy or len(set(tidy)) < len(tidy):
            raise InputError("targets", "; ".join(tidy), "different targets, at least one")
        if KNOWN in self.generators:
            raise InputError("generator", KNOWN, "generators; known crystals are measured beside them anyway")
        for text in tidy:
            self.query(text)

    def query(self, text: str) -> Query:
        """The design query of one target, or of several together."""
        wishes = tuple(Target.parse(part) for part in text.split(","))
        if any(wish.goal for wish in wishes):
            raise InputError("target", text, "bounds and values; nothing hits an open maximum or minimum")
        return Query(wishes, max_sites=self.max_sites, max_energy_above_hull=self.max_energy_above_hull)


@dataclass(frozen=True)
class TargetBench:
    """The parts that measure.

    Attributes:
        parts: generators, surrogates, validators, relaxer and reference of a design run.
        known: all known crystals.
        known_gate: judges known crystals: the gate of a design run may be corrected for what generators propose.
        uniqueness: makes a validator that remembers what it was shown.
        about: versions, weights, potential and hull, for the record.
    """

    parts: Parts
    known: Sequence[KnownCrystal]
    known_gate: Surrogate
    uniqueness: Callable[[], Validator]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One generator asked for one target."""

    generator: str
    target: str
    query: Query

    @property
    def name(self) -> str:
        """Key in the journal and of the seeds."""
        return f"{self.generator} {self.target}"


@dataclass(frozen=True)
class Raw:
    """What the gate says of a sample as it was made.

    Attributes:
        on_target: the means of its estimate satisfy the target.
        stable: the mean of the energy above hull is within the limit.
        values: means of the target's properties, in their units.
        known: id of the known crystal that it is, or nothing.
        problem: why it could not be compared with known crystals, or nothing.
    """

    on_target: bool
    stable: bool
    values: Mapping[str, float]
    known: str
    problem: str = ""


@dataclass(frozen=True)
class Screened:
    """What the screen did with the samples: counts by stage, and the places of those it would relax."""

    chosen: tuple[int, ...]
    stages: Mapping[str, StageCount]


@dataclass(frozen=True)
class Spent:
    """One relaxation, or why it failed."""

    relaxation: Relaxation | None
    failure: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one relaxation.

    Attributes:
        formula: reduced formula.
        space_group: of the relaxed crystal by spglib; None without one.
        on_target: the means of the relaxed surrogate's estimate satisfy the target.
        stable: its energy above hull is within the limit.
        hit: on target, stable, new, unique, and nothing else against it: a design run would list it.
        known: it relaxed into a known crystal.
        rejected: the first thing against it, or nothing.
        values: means of the target's properties, in their units.
        energy_above_hull: eV/atom; None where there is none.
        seconds: CPU seconds of the relaxation; 0 where it failed.
    """

    formula: str
    space_group: int | None
    on_target: bool
    stable: bool
    hit: bool
    known: bool
    rejected: str
    values: Mapping[str, float]
    energy_above_hull: float | None
    seconds: float


def cells_of(plan: TargetPlan) -> Iterator[Cell]:
    """Every generator asked for every target."""
    for text in plan.targets:
        for name in plan.generators:
            yield Cell(name, text, plan.query(text))


def sample_and_screen(cell: Cell, plan: TargetPlan, bench: TargetBench, journal: Journal) -> None:
    """Record the samples of a generator for a target, what the gate says of them, and the screen's choice."""
    if journal.get(Sampling, cell.name) is None:
        seed, generator = seed_of(plan.seed, cell.name), bench.parts.generators[cell.generator]
        rows, took = draw(lambda: generator, plan.n, seed, conditions_of(completed(cell.query)))
        journal.put(cell.name, *enumerate(rows), (0, took))
    if journal.get(Screened, cell.name) is None:
        parts = bench.parts
        gated = predict(_rows(cell, plan, journal), parts.gate, parts.reference, derive_for(cell.query, parts))
        raw = [(_index(row), _raw(row, cell.query, parts)) for row in gated]
        journal.put(cell.name, *raw, (0, _screened(gated, cell, plan, parts)))


def _rows(cell: Cell, plan: TargetPlan, journal: Journal) -> list[Evaluation]:
    return [
        Evaluation(Candidate(f"{index:05d}", crystal, cell.name, cell.generator))
        for index, crystal in recorded(cell.name, plan.n, journal)
    ]


def _index(row: Evaluation) -> int:
    return int(row.candidate.id)


def derive_for(query: Query, parts: Parts) -> Derive | None:
    """Derived properties cost time, so the gate's estimates get them only where the target needs them."""
    return parts.derive if any(t.prop.derived for t in query.targets) else None


def _raw(row: Evaluation, query: Query, parts: Parts) -> Raw:
    known, problem = match(row.candidate.crystal, parts.reference)
    judged = replace(row, estimate=row.gate)
    return Raw(
        on_target=meets_targets(judged, query.targets),
        stable=_gate_stable(row.gate, query),
        values=_values(row.gate, query),
        known=known,
        problem=problem,
    )


def _gate_stable(found: Estimate | None, query: Query) -> bool:
    energy = None if found is None else found.values.get("energy_above_hull")
    return energy is not None and energy.mean <= query.max_energy_above_hull


def _values(found: Estimate | None, query: Query) -> dict[str, float]:
    names = {target.name for target in query.targets}
    return {} if found is None else {k: v.mean for k, v in sorted(found.values.items()) if k in names}


def _screened(gated: Sequence[Evaluation], cell: Cell, plan: TargetPlan, parts: Parts) -> Screened:
    """One round of a design run up to the choice of what is relaxed, nothing learned from earlier rounds."""
    rows = screen(gated, (MatchesQuery(cell.query), *parts.screens))
    stages = {"screen": count(gated, rows)}
    limit = cell.query.max_energy_above_hull
    judge = Judge(parts.gate, parts.reference, cell.query.targets, limit, parts.hardness)
    rows = acquire(rows, judge, limit)
    top, left = promising(rows, PLAIN.inspections * plan.relax, ())
    stages["rank"] = _chosen(len(top), left)
    inspected = screen(top, parts.inspections)
    stages["inspect"] = count(top, inspected)
    rng = np.random.default_rng(seed_of(plan.seed, "gate", cell.name))
    marked, left = select(inspected, plan.relax, (), rng)
    chosen = tuple(_index(row) for row in marked if row.selected)
    stages["gate"] = _chosen(len(chosen), left)
    return Screened(chosen, stages)


def _chosen(passed: int, left: Mapping[str, int]) -> StageCount:
    return StageCount(passed + sum(left.values()), passed, left)


def relax_chosen(
    cell: Cell, plan: TargetPlan, bench: TargetBench, journal: Journal, progress: Progress, before: int, total: int
) -> None:
    """Relax what the screen chose, record each as it is done, then what came of them."""
    made, chosen = dict(recorded(cell.name, plan.n, journal)), choice(cell, journal)
    todo = [i for i in chosen if journal.get(Spent, cell.name, i) is None]
    done = before + len(chosen) - len(todo)
    for more, (index, result) in enumerate(relax([made[i] for i in todo], bench.parts.relaxer), start=1):
        spent = Spent(None, result.reason) if isinstance(result, Failure) else Spent(result)
        journal.put(cell.name, (todo[index], spent))
        progress("relaxations", done + more, total)
    if any(journal.get(Outcome, cell.name, i) is None for i in chosen):
        journal.put(cell.name, *_outcomes(cell, plan, bench, journal).items())


def choice(cell: Cell, journal: Journal) -> tuple[int, ...]:
    """Places of the samples that the screen chose."""
    found = journal.get(Screened, cell.name)
    return () if found is None else found.chosen


def _outcomes(cell: Cell, plan: TargetPlan, bench: TargetBench, journal: Journal) -> dict[int, Outcome]:
    """The later half of a round, except that every relaxed crystal gets an estimate, also one that is rejected."""
    parts, chosen = bench.parts, set(choice(cell, journal))
    rows = [
        _with_result(row, journal.get(Spent, cell.name, _index(row)))
        for row in _rows(cell, plan, journal)
        if _index(row) in chosen
    ]
    rows = estimate(place(rows, parts.reference), parts.surrogate, parts.derive)
    rows = unique(check(rows, (MatchesQuery(cell.query), *parts.checks)), bench.uniqueness())
    return {_index(row): _outcome(row, cell.query) for row in rows}


def _with_result(row: Evaluation, spent: Spent | None) -> Evaluation:
    assert spent is not None
    return relaxed(row, spent.relaxation or Failure("relax", spent.failure))


def _outcome(row: Evaluation, query: Query) -> Outcome:
    limit, energy = query.max_energy_above_hull, row.energy_above_hull
    on_target = row.relaxation is not None and meets_targets(row, query.targets)
    novelty = row.verdicts.get("novelty")
    return Outcome(
        formula=reduced_formula(row.crystal.numbers),
        space_group=None if row.relaxation is None else space_group(row.crystal, SYMPREC),
        on_target=on_target,
        stable=energy is not None and energy.mean <= limit,
        hit=on_target and accepted(row, limit, LENIENT),
        known=novelty is not None and novelty.status is Status.FAIL,
        rejected=_objection(row),
        values=_values(row.estimate, query),
        energy_above_hull=None if energy is None else energy.mean,
        seconds=0.0 if row.relaxation is None else row.relaxation.seconds,
    )


def _objection(row: Evaluation) -> str:
    """Why a design run would not list the row, whatever the target."""
    unsure = (f"{v.name} unknown" for v in row.verdicts.values() if v.status is Status.UNKNOWN)
    return rejection(row) or next((why for why in unsure if why.split()[0] not in LENIENT), "")
