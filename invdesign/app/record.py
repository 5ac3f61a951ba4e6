"""What a run folder says of its run: `run.json`, with counts, limits and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.outcome import selection_counts
from invdesign.app.recipe import run_recipes
from invdesign.properties import SHIPPED, Property
from invdesign.query import Query
from invdesign.records import Estimate, Evaluation

if TYPE_CHECKING:
    from invdesign.app.result import Result
    from invdesign.crystal import Crystal
    from invdesign.engine.campaign import Campaign
    from invdesign.engine.drift import Drift
    from invdesign.engine.feedback import Revised, Told
    from invdesign.selection.ranking import Selection

Properties = Mapping[str, Property]
MOST_APART = 20
"""Solid solutions in a record, at most."""


def drift_of_rows(rows: Sequence[Evaluation], told: Told, properties: Properties = SHIPPED) -> Drift | None:
    """Drift of the relaxed crystals of a run, errors being those of its estimates before anything came back."""
    from invdesign.selection.desirability import with_hull

    chosen = [row for row in rows if row.relaxation is not None and row.estimate is not None]
    known = [{n: v.mean for n, v in told.get(row.candidate.id, {}).items()} for row in chosen]
    estimates = [with_hull(row) or Estimate({}) for row in chosen]
    return drift_of([row.crystal for row in chosen], estimates, known, properties) if chosen else None


def run_record(result: Result, campaign: Campaign, revised: Revised) -> dict[str, Any]:
    """The contents of `run.json`."""
    from invdesign.engine.wishes import LEFT_OUT

    selection = result.selection
    funnel, apart = result.funnel.to_dict(), result.outcome.solid_solutions
    return {
        "query": result.query.to_dict(),
        "query_in_words": f"{result.query.in_words()} {LEFT_OUT}",
        "custom_properties": custom_properties(result.query),
        "seed": result.seed,
        "asked": selection.n_wanted,
        "found": len(selection.ranked),
        "on_target": result.outcome.on_target,
        "stable_and_new": result.outcome.stable_and_new,
        "summary": result.outcome.summary(),
        "shortfall": result.outcome.shortfall,
        "nearest": result.outcome.nearest,
        "solid_solutions": [each.to_dict() for each in apart[:MOST_APART]],
        "component": selection.component,
        "weights": dict(selection.weights),
        **decision_record(selection),
        "recipes": run_recipes(found.formula for found in result),
        "relaxations": len(campaign.selected),
        "extensions": [{"round": e.round + 1, "relaxations": e.relaxations} for e in campaign.extensions],
        "seconds": round(result.seconds, 1),
        "versions": build.versions(),
        "parts": dict(campaign.parts.provenance),
        "feedback": {"candidates": revised.told, "corrected": list(revised.corrected)},
        "warnings": [*_limits(result), *result.outcome.set_apart(), *_told(revised, result)],
        "drift": None if result.drift is None else result.drift.to_dict(),
        "funnel": funnel,
        "selection": selection_counts(selection, campaign.rows, revised.rows),
    }


def decision_record(selection: Selection, most: int = 20) -> dict[str, Any]:
    """How firm the order of a list is, how varied it is, and the best known materials beside it.

    Args:
        selection: the ranked list.
        most: known materials that are named.
    """
    return {
        "agreement": selection.agreement,
        "variety": selection.variety,
        "known_materials": [
            {
                "name": mark.name,
                "family": mark.family,
                "score": mark.score,
                "place": mark.place,
                "indices": {name: value.mean for name, value in mark.indices.items()},
                "values": {name: value.mean for name, value in mark.values.items()},
                "unknown": list(mark.unknown),
            }
            for mark in [mark for mark in selection.landmarks if not mark.unmet][:most]
        ],
    }


def custom_properties(query: Query) -> list[dict[str, Any]]:
    """Custom properties that a query brings, so that its report can be written again without their files."""
    return [asdict(prop) for prop in query.properties]


def _told(revised: Revised, result: Result) -> list[str]:
    """What came back after the run, in a sentence."""
    if not revised.told:
        return []
    who = "1 candidate has" if revised.told == 1 else f"{revised.told} candidates have"
    known, drift = result.query.known_properties, result.drift
    names = ", ".join(known[name].label for name in revised.corrected)
    others = f"; the estimates of the others are corrected by them ({names})" if names else ""
    verdict = [f"Drift: {drift.verdict}."] if drift is not None and drift.errors else []
    return [f"{who} values that came back after the run{others}.", *verdict]


def _limits(result: Result) -> list[str]:
    """What a reader must know, in sentences."""
    out = result.outcome
    lines = [line for line in (out.shortfall, out.nearest, out.stopped) if line]
    potentials = {row.relaxation.potential for row in result.rows if row.relaxation}
    if potentials:
        names = " and ".join(sorted(potentials))
        lines.append(
            f"Structures and energies come from the universal potential {names}, put on the Materials Project's "
            "scale; moduli come from statistical models. Confirm a candidate by DFT before you make it."
        )
    spreads = [row.energy_above_hull.std for row in result.rows if row.energy_above_hull]
    if spreads:
        typical = sorted(spreads)[len(spreads) // 2]
        lines.append(f"An energy above hull carries a standard deviation of typically {typical:.3f} eV/atom.")
    return lines


def drift_of(
    crystals: Sequence[Crystal],
    estimates: Sequence[Estimate],
    known: Sequence[Mapping[str, float]],
    properties: Properties = SHIPPED,
) -> Drift:
    """How crystals differ from the training data of the gate, and how large errors are where values are known."""
    from invdesign.engine.drift import drift
    from invdesign.surrogates import load_gate

    return drift(crystals, estimates, load_gate().model.memory.element_counts, known, properties)
