"""What a run folder says of its run: `run.json`, with counts, limits and warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign import build
from invdesign.app.result import Result
from invdesign.properties import get_property, property_in
from invdesign.query import Query
from invdesign.records import Estimate, Evaluation

if TYPE_CHECKING:
    import pandas as pd

    from invdesign.crystal import Crystal
    from invdesign.engine.campaign import Campaign
    from invdesign.engine.drift import Drift
    from invdesign.engine.feedback import Revised, Told
    from invdesign.selection.ranking import Selection


def drift_of_rows(rows: Sequence[Evaluation], told: Told) -> Drift | None:
    """Drift of the relaxed crystals of a run, errors being those of its estimates before anything came back."""
    from invdesign.selection.desirability import with_hull

    chosen = [row for row in rows if row.relaxation is not None and row.estimate is not None]
    known = [{n: v.mean for n, v in told.get(row.candidate.id, {}).items()} for row in chosen]
    estimates = [with_hull(row) or Estimate({}) for row in chosen]
    return drift_of([row.crystal for row in chosen], estimates, known) if chosen else None


def write_run(folder: Path, table: pd.DataFrame, record: dict[str, Any]) -> None:
    """The tables with their dictionary, `run.json`, `references.bib`, the tags of the CIF files, `report.html`."""
    from invdesign.report.folder import write_folder

    write_folder(folder, table, record)


def run_record(result: Result, campaign: Campaign, revised: Revised) -> dict[str, Any]:
    """The contents of `run.json`."""
    from invdesign.engine.wishes import LEFT_OUT

    selection = result.selection
    funnel = result.funnel.to_dict()
    return {
        "query": result.query.to_dict(),
        "query_in_words": f"{result.query.in_words()} {LEFT_OUT}",
        "custom_properties": custom_properties(result.query),
        "seed": result.seed,
        "asked": selection.n_wanted,
        "found": len(selection.ranked),
        "shortfall": selection.shortfall,
        "component": selection.component,
        "weights": dict(selection.weights),
        **decision_record(selection),
        "relaxations": len(campaign.selected),
        "seconds": round(result.seconds, 1),
        "versions": build.versions(),
        "parts": dict(campaign.parts.provenance),
        "feedback": {"candidates": revised.told, "corrected": list(revised.corrected)},
        "warnings": [*_limits(result), *_told(revised, result.drift)],
        "drift": None if result.drift is None else result.drift.to_dict(),
        "funnel": funnel,
        "selection": _selection_counts(selection),
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
    return [asdict(property_in(Path(path))) for path in query.surrogates]


def _told(revised: Revised, drift: Drift | None) -> list[str]:
    """What came back after the run, in a sentence."""
    if not revised.told:
        return []
    who = "1 candidate has" if revised.told == 1 else f"{revised.told} candidates have"
    names = ", ".join(get_property(name).label for name in revised.corrected)
    others = f"; the estimates of the others are corrected by them ({names})" if names else ""
    verdict = [f"Drift: {drift.verdict}."] if drift is not None and drift.errors else []
    return [f"{who} values that came back after the run{others}.", *verdict]


def _selection_counts(selection: Selection) -> dict[str, Any]:
    """The last step of the funnel: from the rows that no earlier stage has rejected to the list."""
    earlier = [reason for reason in selection.rejected if reason == "not relaxed" or reason.endswith(" failed")]
    rejected = {reason: count for reason, count in selection.rejected.items() if reason not in earlier}
    if selection.n_eligible > len(selection.ranked):
        rejected["ranked lower"] = selection.n_eligible - len(selection.ranked)
    listed = len(selection.ranked)
    return {"entered": listed + sum(rejected.values()), "passed": listed, "rejected": rejected}


def _limits(result: Result) -> list[str]:
    """What a reader must know, in sentences."""
    lines = [result.selection.shortfall] if result.selection.shortfall else []
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
    crystals: Sequence[Crystal], estimates: Sequence[Estimate], known: Sequence[Mapping[str, float]]
) -> Drift:
    """How crystals differ from the training data of the gate, and how large errors are where values are known."""
    from invdesign.engine.drift import drift
    from invdesign.surrogates import load_gate

    return drift(crystals, estimates, load_gate().model.memory.element_counts, known)
