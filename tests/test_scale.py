"""The simulation of large screens: what can be computed by hand comes out, and each trouble costs what it must."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invdesign.benchmarking.scale import SITES, Costs, Site, ledger_cost, most_workers, simulate, table
from invdesign.engine.shards import Plan

pytest.importorskip("simpy")

COSTS = Costs(
    stages={"generate": 0.008, "judge": 0.002},
    spread=0.0,
    start=5.0,
    warm=3.0,
    answer_bytes=100.0,
    take=1e-5,
    write=0.0,
    launch=2.0,
    worker_mb=600.0,
    ledger_seconds=0.001,
    ledger_bytes=1500.0,
    ledger_rows=3.0,
)
FAST = Site(1, disk=1e12)
PLAN = Plan(40_000, 1000)


def test_one_worker_takes_the_sum_of_its_shards() -> None:
    found = simulate(PLAN, FAST, COSTS)
    assert found.seconds == pytest.approx(2.0 + 5.0 + 400.0 + 0.01, rel=1e-6)  # launch, start, work, last take
    assert found.cpu_hours == pytest.approx(400.0 / 3600.0)
    assert found.lost == 0 and found.stored_gb == pytest.approx(0.004)


def test_workers_share_the_shards_until_there_are_none_left() -> None:
    times = {n: simulate(PLAN, replace(FAST, workers=n), COSTS).seconds for n in (1, 2, 4, 40, 400)}
    assert times[2] == pytest.approx(207.0 + 0.02, abs=0.02) and times[4] == pytest.approx(107.0, abs=0.1)
    assert times[40] == times[400] == pytest.approx(17.0 + 0.4, abs=0.01)  # 40 shards at once, taken one by one


def test_workers_on_too_few_cores_are_no_faster() -> None:
    two, four = (simulate(PLAN, replace(FAST, workers=n, cores=2), COSTS) for n in (2, 4))
    assert four.seconds == pytest.approx(two.seconds, rel=0.03)
    assert four.cpu_hours == pytest.approx(two.cpu_hours)


def test_failures_cost_repeated_work_and_no_shard() -> None:
    site = Site(8, failures=200.0, replaced=30.0, disk=1e12)
    found = simulate(Plan(400_000, 1000), site, COSTS, seed=1)
    calm = simulate(Plan(400_000, 1000), replace(site, failures=0.0), COSTS, seed=1)
    hours = calm.cpu_hours
    assert found.lost == pytest.approx(200.0 * hours / 24.0, rel=0.5) and found.lost > 0
    assert found.seconds > calm.seconds and found.cpu_hours > calm.cpu_hours
    assert found == simulate(Plan(400_000, 1000), site, COSTS, seed=1)
    assert found != simulate(Plan(400_000, 1000), site, COSTS, seed=2)


def test_the_main_process_is_the_limit_beyond_the_most_workers() -> None:
    disk = Site(1, disk=1e4, latency=0.1)
    most = most_workers(PLAN, disk, COSTS)
    assert most == pytest.approx(10.0 / (0.01 + 0.1 + 10.0))
    site = replace(disk, disk=1e6)
    most = most_workers(PLAN, site, COSTS)  # 10 s against 0.01 + 0.1 + 0.1 s
    assert most == pytest.approx(10.0 / 0.21)
    plan = Plan(10**6, 1000)
    below, above = (simulate(plan, replace(site, workers=n), COSTS) for n in (20, 400))
    assert below.main_busy < 0.5 < 0.9 < above.main_busy
    assert above.seconds == pytest.approx(1000 * 0.21, rel=0.1)
    assert above.waiting_mb > 10 * below.waiting_mb
    crowded = simulate(Plan(10**6, 100), replace(site, workers=30), COSTS)
    assert crowded.waiting_mb <= 4 * 30 * 100 * 100.0 / 1e6 + 1e-9  # four shards of each worker at most


def test_the_table_has_every_site_and_number_of_workers() -> None:
    rows = table(10_000, [1, 10], COSTS)
    assert [(row["site"], row["workers"]) for row in rows] == [(name, n) for name in SITES for n in (1, 10)]
    assert ledger_cost(10**6, COSTS) == pytest.approx({"hours": 1000 / 3600, "gigabytes": 1.5, "rows": 3e6})
