"""`invdesign benchmark targets`: how many of a generator's crystals meet a target, and what a hit costs.

For each target, samples are drawn under the conditions that a design run would ask for. Raw, they are judged by
the gate surrogate as they are. Then the screen of a design run (validators, gate, caps) spends a number of
relaxations on them, and what it relaxed is judged by the relaxed surrogate and the energy above the hull. Every
generator goes through the same screen. Every result is a line of a journal, so a run that is stopped goes on where
it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from invdesign import build
from invdesign.benchmarking import generation as benchmark
from invdesign.benchmarking.charts import targets_page
from invdesign.benchmarking.generation import REFERENCE_SIZE, SYMPREC, Journal, Plan, Sampling, recorded
from invdesign.benchmarking.metrics import KNOWN, Rate, rate
from invdesign.chemistry.composition import reduced_formula
from invdesign.crystal import Crystal
from invdesign.crystallography.symmetry import space_group
from invdesign.engine.campaign import PLAIN
from invdesign.engine.funnel import Funnel, StageCount, accepted
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
from invdesign.engine.screening import POLICY, acquire, promising, select
from invdesign.engine.search import conditions_of, seed_of
from invdesign.engine.wishes import MatchesQuery, completed
from invdesign.errors import InputError
from invdesign.evolution.judge import Judge
from invdesign.progress import Progress, quiet
from invdesign.protocols import Surrogate, Validator
from invdesign.query import Query, Target
from invdesign.records import Candidate, Estimate, Evaluation, Failure, Relaxation, Status
from invdesign.reference.known import KnownCrystal
from invdesign.report import export
from invdesign.selection.targets import meets_targets
from invdesign.serialize import to_plain

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
N = 600
"""Samples for a target; a design run draws 30 for each relaxation, and so does this by default."""
QUICK_N = 240
QUICK_TARGETS = (
    "bulk_modulus=250",
    "bulk_modulus>=300",
    "shear_modulus>=150",
    "band_gap=2",
    "formation_energy<=-3.5",
    "bulk_modulus>=250,shear_modulus>=150",
)


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


def targets(
    plan: TargetPlan,
    out: Path,
    workers: int | None = None,
    progress: Progress = quiet,
    bench: TargetBench | None = None,
) -> dict[str, Any]:
    """Measure generators on targets and write the record as JSON, tables in Markdown, charts, and the journal.

    Args:
        plan: what is measured.
        out: `FILE.json`; the tables become `FILE.md`, the charts `FILE.html`, the journal `FILE.jsonl`.
        workers: processes for relaxations (None: one per core).
        progress: is told how far it has come.
        bench: the parts (None: the shipped ones).

    Returns:
        What was written as JSON.

    Raises:
        InputError: if there is no such generator.
        OutputError: if a file cannot be written, or the journal is of another benchmark.
    """
    benchmark.check_output(out)
    own = bench is None
    bench = default_bench(plan, workers) if bench is None else bench
    header = {"benchmark": "targets", "plan": to_plain(plan), **bench.about}
    journal = Journal(out.with_suffix(".jsonl"), header)
    cells = list(_cells(plan))
    with benchmark.closing(bench.parts.relaxer, own):
        for number, cell in enumerate(cells):
            _sample(cell, plan, bench, journal)
            progress("targets sampled and screened", number + 1, len(cells))
            _relax(cell, plan, bench, journal, progress, number * plan.relax, len(cells) * plan.relax)
    record = summarise(plan, bench, journal)
    export.write_json(record, out)
    benchmark.write_text(markdown(record), out.with_suffix(".md"))
    benchmark.write_text(targets_page(record), out.with_suffix(".html"))
    return record


def default_bench(plan: TargetPlan, workers: int | None = None) -> TargetBench:
    """The shipped parts.

    Raises:
        InputError: if there is no such generator.
        ReferenceMissingError: if a table is missing.
    """
    from invdesign.reference.local import load_known

    benchmark.check_names(plan.generators)
    query = Query(generator=plan.generators[0], max_energy_above_hull=plan.max_energy_above_hull)
    parts = build.default_parts(query, workers)
    parts = replace(parts, generators={name: build.generator(name) for name in plan.generators})
    return TargetBench(
        parts=parts,
        known=load_known(),
        known_gate=build.surrogate("gate"),
        uniqueness=lambda: build.validator("uniqueness"),
        about=benchmark.measured_with(parts.provenance["potential"]),
    )


def _cells(plan: TargetPlan) -> Iterator[Cell]:
    for text in plan.targets:
        for name in plan.generators:
            yield Cell(name, text, plan.query(text))


def _sample(cell: Cell, plan: TargetPlan, bench: TargetBench, journal: Journal) -> None:
    """Record the samples of a generator for a target, what the gate says of them, and the screen's choice."""
    if journal.get(Sampling, cell.name) is None:
        seed, generator = seed_of(plan.seed, cell.name), bench.parts.generators[cell.generator]
        rows, took = benchmark.draw(lambda: generator, plan.n, seed, conditions_of(completed(cell.query)))
        journal.put(cell.name, *enumerate(rows), (0, took))
    if journal.get(Screened, cell.name) is None:
        parts = bench.parts
        gated = predict(_rows(cell, plan, journal), parts.gate, parts.reference, _derive(cell.query, parts))
        raw = [(_index(row), _raw(row, cell.query, parts)) for row in gated]
        journal.put(cell.name, *raw, (0, _screened(gated, cell, plan, parts)))


def _rows(cell: Cell, plan: TargetPlan, journal: Journal) -> list[Evaluation]:
    return [
        Evaluation(Candidate(f"{index:05d}", crystal, cell.name, cell.generator))
        for index, crystal in recorded(cell.name, plan.n, journal)
    ]


def _index(row: Evaluation) -> int:
    return int(row.candidate.id)


def _derive(query: Query, parts: Parts) -> Derive | None:
    """Derived properties cost time, so the gate's estimates get them only where the target needs them."""
    return parts.derive if any(t.prop.derived for t in query.targets) else None


def _raw(row: Evaluation, query: Query, parts: Parts) -> Raw:
    known, problem = benchmark.match(row.candidate.crystal, parts.reference)
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


def _relax(
    cell: Cell, plan: TargetPlan, bench: TargetBench, journal: Journal, progress: Progress, before: int, total: int
) -> None:
    """Relax what the screen chose, record each as it is done, then what came of them."""
    made, chosen = dict(recorded(cell.name, plan.n, journal)), _choice(cell, journal)
    todo = [i for i in chosen if journal.get(Spent, cell.name, i) is None]
    done = before + len(chosen) - len(todo)
    for more, (index, result) in enumerate(relax([made[i] for i in todo], bench.parts.relaxer), start=1):
        spent = Spent(None, result.reason) if isinstance(result, Failure) else Spent(result)
        journal.put(cell.name, (todo[index], spent))
        progress("relaxations", done + more, total)
    if any(journal.get(Outcome, cell.name, i) is None for i in chosen):
        journal.put(cell.name, *_outcomes(cell, plan, bench, journal).items())


def _choice(cell: Cell, journal: Journal) -> tuple[int, ...]:
    found = journal.get(Screened, cell.name)
    return () if found is None else found.chosen


def _outcomes(cell: Cell, plan: TargetPlan, bench: TargetBench, journal: Journal) -> dict[int, Outcome]:
    """The later half of a round, except that every relaxed crystal gets an estimate, also one that is rejected."""
    parts, chosen = bench.parts, set(_choice(cell, journal))
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


def summarise(plan: TargetPlan, bench: TargetBench, journal: Journal) -> dict[str, Any]:
    """All figures from what the journal holds."""
    real = benchmark.draw_known(bench.known, plan, REFERENCE_SIZE)
    base = _known_rows(real, plan, bench)
    return {
        "benchmark": "targets",
        "plan": to_plain(plan),
        **bench.about,
        "screen": _screen_in_words(bench.parts),
        "reference": (
            f"{len(real)} known crystals of at most {plan.max_energy_above_hull:g} eV/atom above the hull and "
            f"{plan.max_sites} sites, drawn at random, judged by the gate"
        ),
        "targets": {text: _target_figures(text, plan, base, journal) for text in plan.targets},
        "together": {name: _together(name, plan, journal) for name in plan.generators},
    }


def _known_rows(real: Sequence[Crystal], plan: TargetPlan, bench: TargetBench) -> list[Evaluation]:
    rows = [Evaluation(Candidate(str(i), crystal, "", KNOWN)) for i, crystal in enumerate(real)]
    derived = [d for text in plan.targets if (d := _derive(plan.query(text), bench.parts))]
    return predict(rows, bench.known_gate, bench.parts.reference, derived[0] if derived else None)


def _screen_in_words(parts: Parts) -> str:
    first = ", ".join(v.name for v in parts.screens)
    second = ", ".join(v.name for v in parts.inspections)
    return (
        f"{first}; the gate's P(on target) x P(stable); {second} of the {PLAIN.inspections} best per relaxation; "
        f"the largest expected gain, {POLICY.explore:.0%} drawn at random"
    )


def _target_figures(text: str, plan: TargetPlan, base: Sequence[Evaluation], journal: Journal) -> dict[str, Any]:
    query = plan.query(text)
    known = [meets_targets(replace(row, estimate=row.gate), query.targets) for row in base]
    cells = {name: Cell(name, text, query) for name in plan.generators}
    return {
        "level": TARGETS.get(text, CHOSEN),
        "asked_of_the_generator": dict(conditions_of(query).properties),
        "known_crystals_on_target": rate(known).to_dict(),
        "generators": {name: _figures(cell, plan, journal) for name, cell in cells.items()},
    }


def _figures(cell: Cell, plan: TargetPlan, journal: Journal) -> dict[str, Any]:
    """All figures of one generator on one target."""
    raw, outcomes = _raws(cell, plan, journal), _spent(cell, journal)
    took, screened = journal.get(Sampling, cell.name), journal.get(Screened, cell.name)
    assert took is not None
    assert screened is not None
    figures = {"raw": _raw_figures(raw, took, plan.n) | {"median": _medians(row.values for row in raw)}}
    if plan.relax:
        seconds = took.cpu_seconds + sum(o.seconds for o in outcomes)
        hits = sum(o.hit for o in outcomes)
        figures["screen"] = Funnel(screened.stages).to_dict()
        figures["relaxed"] = _relaxed_figures(outcomes) | {
            "rejected": dict(Counter(o.rejected for o in outcomes if o.on_target and o.rejected).most_common()),
            "median": _medians(o.values for o in outcomes),
            "cpu_seconds": seconds,
            "cpu_seconds_per_hit": seconds / hits if hits else None,
            "hits": [_hit(o) for o in outcomes if o.hit],
        }
    figures["speed"] = {"samples_per_cpu_second": plan.n / max(took.cpu_seconds, 1e-9)}
    return figures


def _raws(cell: Cell, plan: TargetPlan, journal: Journal) -> list[Raw]:
    return [row for i in range(plan.n) if (row := journal.get(Raw, cell.name, i)) is not None]


def _spent(cell: Cell, journal: Journal) -> list[Outcome]:
    return [row for i in _choice(cell, journal) if (row := journal.get(Outcome, cell.name, i)) is not None]


def _raw_figures(raw: Sequence[Raw], took: Sampling | None, asked: int) -> dict[str, Any]:
    """Shares of the samples asked for, and of those on target how many are known crystals."""
    rates = {
        "made": Rate(len(raw), asked),
        "on_target": rate((r.on_target for r in raw), asked),
        "on_target_and_stable": rate((r.on_target and r.stable for r in raw), asked),
        "known": rate((bool(r.known) for r in raw), asked),
        "not_comparable": rate((bool(r.problem) for r in raw), asked),
        "known_of_those_on_target": rate(bool(r.known) for r in raw if r.on_target),
    }
    if took is not None and "known" in took.draws:
        rates["left_out_as_trained_on"] = _left_out(len(raw), took.draws)
    return {key: value.to_dict() for key, value in rates.items()}


def _left_out(given: int, draws: Mapping[str, int]) -> Rate:
    """How many of a sampler's fresh genes were in its training set, and were therefore not given out."""
    return Rate(draws["known"], given + draws["known"] + draws.get("other_group", 0))


def _relaxed_figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares of the relaxations that were spent, failed ones included."""
    rates = {
        "stable": rate(o.stable for o in outcomes),
        "on_target": rate(o.on_target for o in outcomes),
        "on_target_and_stable": rate(o.on_target and o.stable for o in outcomes),
        "hits_per_relaxation": rate(o.hit for o in outcomes),
        "known": rate(o.known for o in outcomes),
        "known_of_those_on_target_and_stable": rate(o.known for o in outcomes if o.on_target and o.stable),
    }
    return {"spent": len(outcomes)} | {key: value.to_dict() for key, value in rates.items()}


def _medians(values: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in values:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: benchmark.median(numbers) for name, numbers in sorted(found.items())}


def _hit(outcome: Outcome) -> dict[str, Any]:
    names = ("formula", "space_group", "values", "energy_above_hull")
    return {name: to_plain(getattr(outcome, name)) for name in names}


def _together(name: str, plan: TargetPlan, journal: Journal) -> dict[str, Any]:
    """One generator's figures over all targets of a level, and over all targets."""
    levels = dict.fromkeys((*(TARGETS.get(text, CHOSEN) for text in plan.targets), "all"))
    found = {}
    for level in levels:
        texts = [t for t in plan.targets if level in ("all", TARGETS.get(t, CHOSEN))]
        cells = [Cell(name, text, plan.query(text)) for text in texts]
        raw = [row for cell in cells for row in _raws(cell, plan, journal)]
        found[level] = {"targets": len(cells), "raw": _raw_figures(raw, None, plan.n * len(cells))}
        if plan.relax:
            found[level]["relaxed"] = _relaxed_figures([o for cell in cells for o in _spent(cell, journal)])
    return found


_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("raw", "on_target", "raw: on target"),
    ("raw", "on_target_and_stable", "raw: and stable"),
    ("raw", "known", "raw: known"),
    ("raw", "known_of_those_on_target", "raw: known, of those on target"),
    ("relaxed", "spent", "relaxations"),
    ("relaxed", "on_target", "on target"),
    ("relaxed", "stable", "stable"),
    ("relaxed", "hits_per_relaxation", "hits per relaxation"),
    ("relaxed", "known", "relaxed into a known crystal"),
)
"""Section, figure and title of the columns of the tables."""


def markdown(record: Mapping[str, Any]) -> str:
    """The record's main figures as tables, rates in percent with their 95 % intervals."""
    plan = record["plan"]
    lines = [
        f"{plan['n']} samples for each target, of which the screen relaxes {plan['relax']}; seed {plan['seed']}. "
        f"{KNOWN}: {record['reference']}.",
        "Rates in percent with 95 % intervals. Raw: of the samples, by the gate surrogate. After that: of the "
        "relaxations spent, by the relaxed surrogate and the potential. A hit is on target, within "
        f"{plan['max_energy_above_hull']:g} eV/atom of the hull, new, unique and sound.",
        "",
        *_head("target", "level", ""),
    ]
    for text, figures in record["targets"].items():
        known = {"raw": {"on_target": figures["known_crystals_on_target"]}}
        for name, found in [(KNOWN, known), *figures["generators"].items()]:
            lines.append(_line((f"`{text}`", figures["level"], name), found))
    lines += ["", *_head("level", "targets", "")]
    for name, levels in record["together"].items():
        lines += [_line((level, str(found["targets"]), name), found) for level, found in levels.items()]
    notes = [f"{key}: {record[key]}" for key in ("screen", "potential", "hull", "matcher") if key in record]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _head(*first: str) -> list[str]:
    titles = (*first, *(title for _, _, title in _COLUMNS))
    return ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(first) + " ---: |" * len(_COLUMNS)]


def _line(first: Sequence[str], found: Mapping[str, Any]) -> str:
    cells = [benchmark.cell(found.get(section, {}).get(key)) for section, key, _ in _COLUMNS]
    return "| " + " | ".join((*first, *cells)) + " |"
