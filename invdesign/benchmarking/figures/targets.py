"""Figures of `invdesign benchmark targets`: shares of samples and of relaxations that meet a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from invdesign.benchmarking.figures.numbers import cell, median
from invdesign.benchmarking.hits import (
    CHOSEN,
    TARGETS,
    Cell,
    Outcome,
    Raw,
    Screened,
    TargetBench,
    TargetPlan,
    choice,
    derive_for,
)
from invdesign.benchmarking.journal import Journal
from invdesign.benchmarking.metrics import KNOWN, Rate, rate
from invdesign.benchmarking.samples import REFERENCE_SIZE, Sampling, draw_known
from invdesign.crystal import Crystal
from invdesign.engine.campaign import PLAIN
from invdesign.engine.funnel import Funnel
from invdesign.engine.parts import Parts
from invdesign.engine.pipeline import predict
from invdesign.engine.screening import POLICY
from invdesign.engine.search import conditions_of
from invdesign.records import Candidate, Evaluation
from invdesign.selection.targets import meets_targets
from invdesign.serialize import to_plain


def summarise(plan: TargetPlan, bench: TargetBench, journal: Journal) -> dict[str, Any]:
    """All figures from what the journal holds."""
    real = draw_known(bench.known, plan, REFERENCE_SIZE)
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
    derived = [d for text in plan.targets if (d := derive_for(plan.query(text), bench.parts))]
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
    return [row for i in choice(cell, journal) if (row := journal.get(Outcome, cell.name, i)) is not None]


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
    return {name: median(numbers) for name, numbers in sorted(found.items())}


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
    cells = [cell(found.get(section, {}).get(key)) for section, key, _ in _COLUMNS]
    return "| " + " | ".join((*first, *cells)) + " |"
