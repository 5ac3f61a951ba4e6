"""What a run says of itself: the last line, what came nearest, and a funnel in which nothing gets lost."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_parts import cubic, fake_parts

from invdesign import build
from invdesign.app import design as app
from invdesign.app.outcome import Outcome, nearest_to, outcome, selection_counts
from invdesign.engine.campaign import Campaign, Sizes
from invdesign.errors import OutputError
from invdesign.query import Query, Target
from invdesign.records import Candidate, Estimate, Evaluation, Relaxation, Status, Value, Verdict
from invdesign.selection.ranking import rank

QUERY = Query(targets=["bulk_modulus>=150"], exclude=["Co"], n=4, relaxations=24)


def row(name: str, bulk: float, hull: float = 0.02, std: float = 10.0, novelty: str = "pass") -> Evaluation:
    crystal = cubic(225, 22, 6 + len(name), 4.3)
    return Evaluation(
        Candidate(name, crystal, "r", "vae"),
        relaxation=Relaxation(crystal, -8.0, Value(-0.5, 0.03), 0.01, 20, True, 1.0, 0.0, 0.0, "test"),
        energy_above_hull=Value(hull, 0.02),
        estimate=Estimate({"bulk_modulus": Value(bulk, std), "density": Value(5.0, 0.1)}),
        verdicts={"novelty": Verdict("novelty", Status(novelty))},
        selected=True,
    )


@pytest.mark.parametrize("targets", [["bulk_modulus>=150"], ["bulk_modulus>=390"], []])
def test_each_stage_of_a_run_is_entered_by_what_passed_the_one_before(targets: list[str]) -> None:
    query = replace(QUERY, targets=targets, chemical_system="" if targets else "Ti-W-B-N-C")
    with Campaign(query, 1, fake_parts()) as campaign:
        list(campaign)
        record = campaign.result().record
    sources = {name: record["funnel"].pop(name) for name in ("propose", "evolve")}
    stages = [*record["funnel"].values(), record["selection"]]
    assert stages[0]["entered"] == sum(source["passed"] for source in sources.values())
    for earlier, later in itertools.pairwise(stages):
        assert later["entered"] == earlier["passed"]
    for stage in stages:
        assert stage["entered"] == stage["passed"] + sum(stage["rejected"].values())
    assert stages[-1]["passed"] == record["found"]
    assert record["relaxations"] == record["funnel"]["relax"]["entered"]


def test_rows_that_were_never_relaxed_are_not_counted_as_judged() -> None:
    known = Verdict("novelty", Status.UNKNOWN, "known formula")
    idle = replace(row("idle", 300), relaxation=None, selected=False, verdicts={"novelty": known})
    rows = [row("a", 300), row("b", 200), row("far", 300, hull=0.4), idle]
    chosen = rank(rows, Query(targets=["bulk_modulus>=250"], n=1), unknown_allowed=[])
    assert chosen.rejected == {"not relaxed": 1, "too far above the hull": 1}
    counts = selection_counts(chosen, rows, rows)
    assert counts == {"entered": 3, "passed": 1, "rejected": {"ranked lower": 1, "too far above the hull": 1}}


def test_what_feedback_rejects_or_brings_back_is_counted() -> None:
    unstable = {"stability": Verdict("stability", Status.FAIL, "0.3")}
    before = [row("a", 300), row("b", 300), replace(row("c", 300, hull=0.3), verdicts=unstable)]
    after = [before[0], replace(before[1], verdicts=unstable), row("c", 300, hull=0.0)]
    counts = selection_counts(rank(after, Query(targets=["bulk_modulus>=250"], n=5)), before, after)
    assert counts == {"entered": 2, "passed": 2, "rejected": {"stability failed": 1}, "restored": 1}


def test_the_summary_counts_what_is_on_target_stable_and_new() -> None:
    rows = [row("a", 300), row("b", 260), row("c", 200), row("d", 240, novelty="unknown")]
    query = Query(targets=["bulk_modulus>=250"], n=4)
    found = outcome(rank(rows, query), rows, query.targets, 0.1)
    assert (found.on_target, found.stable_and_new, found.listed) == (2, 3, 4)
    assert found.summary() == "2 of 4 on target, 3 stable and new"
    assert found.nearest == "Nearest to the targets without meeting them: TiN (K 240 ± 10 GPa, wanted >=250)"
    assert found.shortfall == ""


def test_a_list_without_a_hit_says_so_and_what_came_nearest() -> None:
    rows = [row("a", 200), row("bb", 230, std=40.0), row("ccc", 240, std=1.0)]
    query = Query(targets=["bulk_modulus>=250"], n=3)
    found = outcome(rank(rows, query), rows, query.targets, 0.1)
    assert found.lines()[0] == "0 of 3 on target, 3 stable and new"
    assert "TiO (K 230 ± 40 GPa, wanted >=250)" in found.lines()[1]  # half a standard deviation, 240 ± 1 is ten


def test_nearest_looks_at_every_target_and_at_sound_relaxed_rows_only() -> None:
    wishes = [Target.parse("bulk_modulus>=250"), Target.parse("density<=4")]
    rows = [replace(row("a", 300), relaxation=None), row("bb", 300), replace(row("c", 249), estimate=Estimate({}))]
    text = nearest_to(wishes, rows)
    assert "TiO (K 300 ± 10 GPa, ρ 5.00 ± 0.10 g/cm³, wanted <=4)" in text
    assert nearest_to(wishes[:1], [row("a", 300)]) == ""


def test_a_query_without_targets_has_no_share_on_target() -> None:
    rows = [row("a", 200)]
    found = outcome(rank(rows, Query(elements=["Ti", "N"], n=3)), rows, (), 0.1)
    assert found.on_target is None
    assert found.summary() == "1 candidate, 1 stable and new"
    assert found.shortfall.startswith("1 of 3 wanted: of 1 relaxed, 1 could be listed")
    assert Outcome(3, 0, 0, 0).summary() == "no candidate"


def test_the_record_has_the_numbers_of_the_summary() -> None:
    query = replace(QUERY, targets=["bulk_modulus>=390"], search="none")  # the search would find four on target
    with Campaign(query, 0, fake_parts()) as campaign:
        list(campaign)
        result = campaign.result()
    record = result.record
    assert record["on_target"] == sum(found.on_target for found in result) < 4
    assert record["stable_and_new"] == 4
    assert record["summary"] in result.summary() and record["nearest"] in result.summary()
    assert record["nearest"] in record["warnings"]
    assert re.search(r"\d of 4 on target, 4 stable and new", result.summary())


@pytest.fixture(scope="module")
def result() -> Iterator[app.Result]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "default_parts", lambda query, workers=None: fake_parts())
        yield app.design(QUERY)


def test_a_result_is_a_sequence_with_structures_for_other_programs(result: app.Result) -> None:
    assert len(result) == len(list(result)) == 4 and result.folder is None
    first, last = result[0], result[-1]
    assert (first.rank, last.rank) == (1, 4) and [f.rank for f in result[1:3]] == [2, 3]
    assert [f.formula for f in result] == list(result.table["formula"])
    with pytest.raises(IndexError):
        result[4]
    for structure, atoms, found in zip(result.structures, result.atoms, result, strict=True):
        assert structure.properties["id"] == atoms.info["id"] == found.id
        assert atoms.info["bulk_modulus"] == found.values["bulk_modulus"].mean
        assert structure.properties["energy_above_hull_std"] == found.values["energy_above_hull"].std
        assert structure.composition.reduced_formula == found.formula
        assert sorted(atoms.numbers) == sorted(found.crystal.numbers)
        assert np.allclose(atoms.cell.array, found.crystal.lattice)
    assert first.on_target == (first.values["bulk_modulus"].mean >= 150)


def test_a_result_is_saved_like_a_run(result: app.Result, tmp_path: Path) -> None:
    saved = result.save(tmp_path / "kept")
    assert saved.folder == tmp_path / "kept" and (tmp_path / "kept" / saved[0].file).exists()
    assert list(saved.table["file"]) == list(saved.files)
    assert json.loads((tmp_path / "kept" / "run.json").read_text())["found"] == 4
    assert "<table" in (tmp_path / "kept" / "report.html").read_text()
    with pytest.raises(OutputError, match="not empty"):
        saved.save(tmp_path / "kept")


def test_a_campaign_gives_the_same_result(result: app.Result) -> None:
    with Campaign(QUERY, 0, fake_parts(), sizes=Sizes()) as campaign:
        assert len(campaign.result()) == 0
        for _ in campaign:
            pass
        found = campaign.result()
    assert [f.id for f in found] == [f.id for f in result]


def test_a_result_and_its_candidates_show_themselves_in_a_few_lines(result: app.Result) -> None:
    assert repr(result).splitlines()[0] == f"<Result: {result.outcome.summary()}>"
    assert re.fullmatch(
        r"<1\. \w+ \(\d+\): K \d+\.\d ± \d+\.\d GPa, E_hull -?\d\.\d{3} ± \d\.\d{3} eV/atom; score \d\.\d{3}>",
        repr(result[0]),
    )
    html = result._repr_html_()
    assert html.count("<tr>") == 5 and "bulk_modulus" in html
    assert result[0].formula in result[0]._repr_html_()
