"""Ordered versions of known solid solutions are offered apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_parts import fake_parts

from invdesign.app.solid_solutions import lines_of, solid_solutions
from invdesign.crystal import Crystal
from invdesign.crystallography.genes import decode
from invdesign.engine.campaign import Campaign
from invdesign.query import Query, Target
from invdesign.records import Candidate, Estimate, Evaluation, Status, Value, Verdict
from invdesign.reference.disorder import Ordering
from invdesign.reference.local import load_known
from invdesign.validators.disorder import Disorder

TARGETS = (Target.parse("bulk_modulus>=240"),)


def row(name: str, hafnium: int, tantalum: int, bulk: float) -> Evaluation:
    numbers = np.array([72] * hafnium + [73] * tantalum + [6] * (hafnium + tantalum))
    places = np.random.default_rng(0).random((len(numbers), 3))
    crystal = Crystal(np.eye(3) * 6.0, numbers, places)
    reason = Ordering((("Hf", "Ta"),), 225, "mp-21075").reason
    return Evaluation(
        Candidate(name, crystal, "r", "vae"),
        gate=Estimate({"bulk_modulus": Value(bulk, 5.0)}),
        verdicts={"disorder": Verdict("disorder", Status.FAIL, reason)},
    )


def test_orderings_are_grouped_with_their_range_of_mixing() -> None:
    rows = [row("a", 1, 3, 250.0), row("b", 2, 2, 245.0), row("c", 1, 1, 235.0)]
    (found,) = solid_solutions(rows, TARGETS)
    assert found.shared == (("Hf", "Ta"),) and found.parent == 225 and found.known == "mp-21075"
    assert found.crystals == 3 and found.best == "HfTa3C4" and found.values == {"bulk_modulus": 250.0}
    assert found.ranges == {"Hf": (0.25, 0.5), "Ta": (0.5, 0.75)}
    head, line = lines_of([found])
    assert "3 ordered versions of 1 known solid" in head
    assert "Hf-Ta on a shared site" in line and "Hf 25 to 50 %" in line and "HfTa3C4 (bulk modulus 250)" in line


def test_what_no_parent_is_known_for_or_passes_is_not_offered() -> None:
    known, crystal = row("a", 1, 1, 250.0), row("b", 1, 1, 250.0)
    unknown = replace(crystal, verdicts={"disorder": Verdict("disorder", Status.UNKNOWN, "Hf/Ta would share")})
    assert solid_solutions([unknown, replace(known, verdicts={})], TARGETS) == [] and lines_of([]) == []


def test_the_validator_s_own_words_are_understood() -> None:
    """Rock-salt HfC and TaC are known; half of each on ordered sites is one ordering of their alloy."""
    known = load_known()

    class Reference:
        def possible_disorder(self, crystal: Crystal) -> Ordering | None:
            from invdesign.reference.disorder import possible_disorder

            return possible_disorder(crystal, known)

    from invdesign.crystal import Gene

    (ordered,) = decode([Gene(123, (0, 3, 1, 2), (72, 73, 6, 6), (), (3.22, 4.55))])
    candidate = Evaluation(Candidate("x", ordered, "r", "vae"), gate=Estimate({"bulk_modulus": Value(250.0, 5.0)}))
    verdict = Disorder(Reference()).check(candidate)
    if verdict.status is not Status.FAIL:
        pytest.fail(f"{verdict}")
    (found,) = solid_solutions([replace(candidate, verdicts={"disorder": verdict})], TARGETS)
    assert set(found.shared[0]) == {"Hf", "Ta"} and found.known.startswith("mp-")


def test_a_run_keeps_them_in_its_record() -> None:
    with Campaign(Query(targets=["bulk_modulus>=240"], n=2, relaxations=4), 0, fake_parts()) as campaign:
        list(campaign)
        campaign.rows.append(row("z", 1, 3, 250.0))
        result = campaign.result()
    assert result.record["solid_solutions"][0]["best"] == "HfTa3C4"
    assert any(line.startswith("Set apart: 1 ordered version") for line in result.record["warnings"])
    assert ("Set apart" in result.summary()) == (result.outcome.on_target < 2)
