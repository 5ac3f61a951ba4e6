"""`invdesign benchmark search`: arms, records, and a stop in the middle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_parts import fake_parts

from invdesign.benchmarking import search as bench
from invdesign.benchmarking.figures.search import Found, summarise
from invdesign.engine.parts import Parts
from invdesign.errors import InputError, OutputError
from invdesign.query import Query


def parts(query: Query, workers: int | None = None) -> Parts:
    return fake_parts()


def plan(folder: Path, relaxations: int = 6, seeds: int = 1) -> bench.SearchPlan:
    (folder / "mine.yaml").write_text("targets: [bulk_modulus>=100]\n")
    names = [str(folder / "mine.yaml"), "incompressible"]
    return bench.SearchPlan(bench.queries(names, relaxations), ("evolution", "plain"), seeds, relaxations)


def test_every_shipped_query_is_one_and_says_what_for() -> None:
    found = bench.queries(bench.query_names(), 60)
    assert len(found) >= 10
    assert all(query.targets and query.relaxations == 60 and query.n == 8 for query in found.values())
    assert set(bench.QUICK_QUERIES) <= set(found)


@pytest.mark.parametrize("name", list(bench.ARMS))
def test_every_arm_changes_something_and_makes_a_query(name: str) -> None:
    arm = bench.ARMS[name]
    query = Query.from_dict({**Query(targets=["bulk_modulus>=200"]).to_dict(), **arm.query})
    assert arm.what and (name == "evolution") == (arm == bench.Arm({}, what=arm.what))
    assert query.search in ("evolution", "optuna", "none")


def test_a_benchmark_writes_its_record_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, runs, inner = tmp_path / "search.json", [], bench.run

    def counted(*args: object) -> Found:
        if len(runs) == 2:
            raise KeyboardInterrupt
        runs.append(args)
        return inner(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(bench, "run", counted)
    with pytest.raises(KeyboardInterrupt):
        bench.search(plan(tmp_path), out, make=parts)
    monkeypatch.setattr(bench, "run", inner)
    record = bench.search(plan(tmp_path), out, make=parts)
    assert len(out.with_suffix(".jsonl").read_text().splitlines()) == 1 + 4
    assert "benchmark search --queries mine,incompressible" in record["run"]["command"]
    stored = json.loads(out.read_text())
    for arms in stored["runs"].values():
        for (row,) in arms.values():
            assert row["on_target"] <= row["accepted"] <= row["relaxations"] == 6
            assert row["listed_on_target"] == min(row["on_target"], 8)
    assert "| mine | plain |" in out.with_suffix(".md").read_text()
    assert "per relaxation" in out.with_suffix(".html").read_text()
    with pytest.raises(OutputError, match="plan"):
        bench.search(plan(tmp_path, relaxations=7), out, make=parts)
    monkeypatch.setattr(bench, "run", counted)
    runs.clear()
    with pytest.raises(KeyboardInterrupt):  # a further seed leaves what is there
        bench.search(plan(tmp_path, seeds=2), out, make=parts)
    assert [args[2] for args in runs] == [1, 1]


def test_medians_and_rates_by_hand() -> None:
    rows = [Found(10, 2, 2, 5, 1, 2, 0.9, 60.0, 70.0, 100), Found(10, 8, 9, 9, 3, 4, 0.9, 120.0, 70.0, 140)]
    found = summarise(rows)
    assert found["listed_on_target"] == 5 and found["range"] == [2, 8] and found["on_target"] == 5.5
    assert found["on_target_per_relaxation"] == pytest.approx(11 / 20)
    assert found["on_target_per_cpu_minute"] == pytest.approx(11 / 3, abs=1e-3)


def test_unknown_names_are_one_line() -> None:
    with pytest.raises(InputError, match="light_stiff"):
        bench.queries(["heavy"], 6)
    with pytest.raises(InputError, match="no-learning"):
        bench.SearchPlan({}, ("annealing",))
