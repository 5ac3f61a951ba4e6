"""Screens of many candidates: the same list from any workers and after any stop, in memory that does not grow."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from screen_parts import DELAY, Here, parts

from invdesign import Query
from invdesign.app import screen as app
from invdesign.cli import commands, run
from invdesign.crystallography.genes import protostructure
from invdesign.engine.pipeline import predict, proposals
from invdesign.engine.pipeline import screen as checked_rows
from invdesign.engine.screening import acquire
from invdesign.engine.shard_table import ShardFileError, decoded, gene_of_row, write_part
from invdesign.engine.shards import BATCH, NO_ESTIMATE, Counts, Plan, Screener
from invdesign.engine.shortlist import Entry, Sample, Shortlist, lot
from invdesign.engine.wishes import resolved
from invdesign.errors import InputError, OutputError, PartError
from invdesign.executors import executor
from invdesign.records import Evaluation
from invdesign.run_log import NAME, read_log

QUERY = Query(targets=["bulk_modulus>=200"], exclude=["Co"])
SIZES: dict[str, Any] = {"n": 330, "seed": 3, "keep": 15, "shard": 60}
SCRIPT = Path(__file__).parent / "screen_parts.py"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "MAKER", "screen_parts:parts")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> app.Screened:
    """A screen that was worked through at one go, in this process."""
    before, app.MAKER = app.MAKER, "screen_parts:parts"
    try:
        return app.screen(QUERY, out=tmp_path_factory.mktemp("screen") / "one", workers=Here(), **SIZES)
    finally:
        app.MAKER = before


def all_rows(folder: Path) -> pd.DataFrame:
    header = app.header_of(folder)
    found = [
        decoded(app.part_path(folder / app.PARTS, k), header.about(k)).table.to_pandas()
        for k in range(len(header.plan))
    ]
    return pd.concat(found, ignore_index=True)


def same(one: app.Screened, other: app.Screened) -> None:
    """Lists, samples and all candidates are the same, and so are the counts."""
    pd.testing.assert_frame_equal(one.table, other.table)
    names = ("candidates.csv",)
    assert all((one.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in names)
    for table in ("candidates.parquet", app.SAMPLE):
        pd.testing.assert_frame_equal(pd.read_parquet(one.folder / table), pd.read_parquet(other.folder / table))
    pd.testing.assert_frame_equal(all_rows(one.folder), all_rows(other.folder))
    left = [{k: v for k, v in s.record["counts"].items() if k not in ("seconds", "peak_mb")} for s in (one, other)]
    assert left[0] == left[1]


# The list and the sample


def entries(n: int, keys: int, seed: int = 0) -> list[Entry]:
    """Candidates with many equal chances and protostructures."""
    rng = np.random.default_rng(seed)
    return [
        Entry(float(rng.integers(0, 40)) / 7.0, f"c{i:05d}", int(rng.integers(0, keys)), {"i": i})
        for i in range(n)
    ]


def by_sorting(found: list[Entry], most: int) -> list[Entry]:
    """The best of different protostructures, by a sort of all."""
    best: dict[int, Entry] = {}
    for entry in sorted(found, key=lambda e: (-e.log_chance, e.id)):
        best.setdefault(entry.key, entry)
    return list(best.values())[:most]


@pytest.mark.parametrize(("n", "keys", "most"), [(2000, 10_000, 50), (2000, 80, 50), (2000, 30, 50), (5, 5, 1)])
def test_the_heap_holds_what_a_sort_of_all_gives_in_any_order(n: int, keys: int, most: int) -> None:
    found = entries(n, keys)
    wanted = [(e.id, e.key) for e in by_sorting(found, most)]
    for order in (found, found[::-1], [found[i] for i in np.random.default_rng(1).permutation(n)]):
        shortlist = Shortlist(most)
        for entry in order:
            shortlist.offer(entry)
        assert [(e.id, e.key) for e in shortlist] == wanted
        arrays = Shortlist(most)
        arrays.offer_many(
            np.array([e.log_chance for e in order]),
            lambda i, order=order: order[i].id,
            np.array([e.key for e in order]),
            lambda i, order=order: order[i].row,
        )
        assert [e.id for e in arrays] == [e.id for e in shortlist]


def test_candidates_without_a_chance_are_never_listed() -> None:
    shortlist = Shortlist(3)
    shortlist.offer_many(np.array([np.nan, -5.0, np.nan]), str, np.arange(3), lambda i: {})
    assert [e.id for e in shortlist] == ["1"]


def test_a_better_candidate_of_the_same_protostructure_takes_the_place() -> None:
    shortlist = Shortlist(2)
    for entry in (Entry(-3.0, "a", 1), Entry(-2.0, "b", 2), Entry(-1.0, "c", 1), Entry(-2.5, "d", 3)):
        shortlist.offer(entry)
    assert [e.id for e in shortlist] == ["c", "b"]
    assert shortlist.bar == -2.0


def test_the_sample_depends_on_seed_and_names_alone_and_is_even() -> None:
    names = [f"c{i}" for i in range(3000)]

    def drawn(order: list[str], seed: int) -> list[Any]:
        sample = Sample(300, seed)
        for k in range(0, len(order), 700):
            piece = order[k : k + 700]
            sample.offer_many(piece, lambda i, piece=piece: {"name": piece[i]})
        return [row["name"] for row in sample.without(set(), 300)]

    first = drawn(names, 0)
    assert first == drawn(names[::-1], 0) == sorted(names, key=lambda n: lot(0, n))[:300]
    assert set(first) != set(drawn(names, 1))
    halves = sum(int(name[1:]) < 1500 for name in first)
    assert 150 - 3 * 9 < halves < 150 + 3 * 9  # 9: standard deviation of a draw without replacement


def test_memory_of_list_and_sample_does_not_grow_with_the_candidates() -> None:
    shortlist, sample = Shortlist(50), Sample(50, 0)
    rng = np.random.default_rng(0)

    def offer(n: int, start: int) -> int:
        for k in range(start, start + n, 1000):
            ids = [f"c{i}" for i in range(k, k + 1000)]
            keys = rng.integers(0, 500, 1000)
            shortlist.offer_many(rng.normal(size=1000) + k / 1e4, ids.__getitem__, keys, lambda i: {"place": i})
            sample.offer_many(ids, lambda i: {"place": i})
        gc.collect()
        return sum(type(o) is Entry for o in gc.get_objects()) + len(sample._heap)

    assert offer(10_000, 0) <= 2 * 50 + 17 + 50
    assert offer(40_000, 10_000) <= 2 * 50 + 17 + 50
    assert len(shortlist) == 50


# Shards


def test_a_plan_shares_all_candidates_among_its_shards() -> None:
    assert [Plan.of(330, 60).size_of(k) for k in range(6)] == [60] * 5 + [30]
    assert sum(Plan.of(12_345, 1000).size_of(k) for k in range(13)) == 12_345
    sizes = {n: Plan.of(n).size for n in (1, 1000, 10**6, 10**7, 10**9)}
    assert sizes == {1: 1000, 1000: 1000, 10**6: 1000, 10**7: 10_000, 10**9: 100_000}
    with pytest.raises(InputError, match="shard: 9 is not valid; allowed: a whole number from 10 to 100000"):
        Plan.of(100, 9)
    with pytest.raises(InputError, match="0 to 5"):
        Plan.of(330, 60).size_of(6)


def screener(plan: Plan, query: Query = QUERY) -> Screener:
    return Screener(resolved(query), 3, plan, parts(query))


def by_volume(rows: Any) -> list[float]:
    """A desirability, 0 for some."""
    return [max(0.0, row.candidate.crystal.volume % 1.0 - 0.1) for row in rows]


@pytest.mark.parametrize("desirability", [None, by_volume])
def test_a_shard_gives_what_the_stages_of_a_campaign_give(desirability: Any) -> None:
    work = screener(Plan(BATCH, BATCH))
    work.desirability = desirability
    counts = Counts()
    found = [(row, batch.rejected[i], batch.log_chance[i]) for batch in work.shard(0, counts)
             for i, row in enumerate(batch.rows)]  # fmt: skip
    made = [
        item
        for request in work.requests(0)
        for item in proposals(request, work.parts.generators[request.generator])
    ]
    rows = [item for item in made if isinstance(item, Evaluation)]
    rows = predict(checked_rows(rows, work.checks), work.parts.gate, work.parts.reference)
    rows = acquire(rows, work.judge, QUERY.max_energy_above_hull, work.desirability)
    assert [row.candidate.id for row, _, _ in found] == [row.candidate.id for row in rows]
    for (_, rejected, log_chance), row in zip(found, rows, strict=True):
        assert bool(rejected) == row.failed
        if not rejected:
            assert math.exp(log_chance) == pytest.approx(row.acquisition, rel=1e-12, abs=1e-290)
    assert counts.asked == BATCH and counts.made == len(rows)
    assert counts.judged == sum(not r for _, r, _ in found) == counts.made - counts.rejected.total()
    assert counts.failed.total() == counts.asked - counts.made > 0
    assert {"distances", "charge_balance"} <= set(counts.rejected)


def test_what_the_gate_does_not_know_has_no_chance_and_says_so() -> None:
    work = screener(Plan(60, 60), Query(targets=["shear_modulus>=100"]))  # which the small gate does not predict
    counts = Counts()
    reasons = {reason for batch in work.shard(0, counts) for reason in batch.rejected}
    assert NO_ESTIMATE in reasons and "" not in reasons and counts.judged == 0


def test_a_component_weighs_the_chances() -> None:
    plain, weighed = (
        screener(Plan(60, 60), replace(QUERY, component=name)) for name in (None, "light_stiff_beam")
    )
    assert plain.desirability is None and weighed.desirability is not None
    assert len(weighed.targets) > len(plain.targets)


def test_crystals_without_genes_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app, "MAKER", "screen_parts:bare_parts")
    found = app.screen(QUERY, out=tmp_path / "s", workers=Here(), n=40, keep=5, shard=40)
    rows = all_rows(found.folder)
    assert len(found.table) == 5 and rows.space_group[rows.rejected == ""].isin([216, 221, 225]).all()


# Whole screens


def test_the_list_is_what_a_sort_of_all_candidates_gives(undisturbed: app.Screened) -> None:
    rows = all_rows(undisturbed.folder)
    assert len(rows) == undisturbed.record["counts"]["made"]
    judged = rows[rows.rejected == ""].sort_values(["log_chance", "id"], ascending=[False, True])
    wanted = judged.drop_duplicates("protostructure").head(SIZES["keep"])
    assert undisturbed.table.id.tolist() == wanted.id.tolist()
    assert undisturbed.table.log_chance.tolist() == wanted.log_chance.tolist()
    assert undisturbed.table.protostructure.tolist() == wanted.protostructure.tolist()
    assert undisturbed.table["rank"].tolist() == list(range(1, 16))
    genes = [gene_of_row(row) for row in wanted.to_dict("records")]
    assert len({protostructure(gene) for gene in genes}) == 15
    others = judged[~judged.id.isin(wanted.id)]
    lots = sorted(others.id, key=lambda name: lot(SIZES["seed"], name))
    assert pd.read_parquet(undisturbed.folder / app.SAMPLE).id.tolist() == lots[:15]


def test_the_list_has_files_properties_and_verdicts(undisturbed: app.Screened) -> None:
    table = undisturbed.table
    assert all((undisturbed.folder / name).is_file() for name in table.file)
    assert {"bulk_modulus", "bulk_modulus_low", "energy_above_hull", "verdict_novelty"} <= set(table)
    assert (table.verdict_novelty == "fail").any() and (table.bulk_modulus > 0).all()
    record = json.loads((undisturbed.folder / "run.json").read_text())
    assert record["found"] == 15 and record["sampled"] == 15 and record["shards"] == 6
    assert record["resources"]["sittings"] == 1 and record["resources"]["cpu_hours"] > 0.0
    told = read_log(undisturbed.folder / NAME)
    shards = {line["number"]: line["made"] for line in told if line["event"] == "shard"}
    assert sorted(shards) == list(range(6)) and sum(shards.values()) == record["counts"]["made"]
    assert told[0]["event"] == "started" and told[-1]["event"] == "ended"
    assert set(record["genes_per_cpu_second"]) == {"generate", "screen", "judge", "record", "together"}


@pytest.mark.parametrize("workers", [1, 2, "backwards", "dask"])
def test_any_workers_give_the_same(
    undisturbed: app.Screened, workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers == "dask":
        pytest.importorskip("distributed")
        monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parent))
        workers = executor("dask", 2)
    chosen = Here(backwards=True) if workers == "backwards" else workers
    try:
        same(undisturbed, app.screen(QUERY, out=tmp_path / "s", workers=chosen, **SIZES))
    finally:
        if not isinstance(workers, int):
            chosen.close()


def test_another_seed_and_another_shard_size_give_others(undisturbed: app.Screened, tmp_path: Path) -> None:
    for k, other in enumerate(({"seed": 4}, {"shard": 70})):
        found = app.screen(QUERY, out=tmp_path / str(k), workers=Here(), **{**SIZES, **other})
        assert found.table.id.tolist() != undisturbed.table.id.tolist()


@pytest.mark.parametrize("most", [0, 1, 4, 6])
def test_a_stopped_screen_goes_on_and_repeats_nothing(
    undisturbed: app.Screened, most: int, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        app.screen(QUERY, out=tmp_path / "s", workers=Here(most=most), **SIZES)
    assert app.status(tmp_path / "s") == {
        "state": "not finished", "shards_done": most, "shards": 6, "candidates": 330,
    }  # fmt: skip
    rest = Here()
    same(undisturbed, app.resume(tmp_path / "s", workers=rest))
    assert [item for item in rest.items if isinstance(item, int)] == list(range(most, 6))
    again = Here()
    same(undisturbed, app.resume(tmp_path / "s", workers=again))
    assert not [item for item in again.items if isinstance(item, int)]
    assert app.status(tmp_path / "s")["state"] == "finished"


def test_a_killed_process_leaves_whole_shards(undisturbed: app.Screened, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    args = ["screen", "--n", 330, "--seed", 3, "--keep", 15, "--shard", 60, "--workers", 2]
    args += ["--target", "bulk_modulus>=200", "--exclude", "Co", "--generator", "mixture", "--out", folder]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, args)], env={**os.environ, DELAY: "0.4"}, start_new_session=True
    )
    try:
        until(lambda: len(list((folder / app.PARTS).glob("*.parquet"))) >= 2 or process.poll() is not None)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    times = {path: path.stat().st_mtime_ns for path in (folder / app.PARTS).glob("*.parquet")}
    assert 2 <= len(times) < 6 and not (folder / "run.json").exists()
    header = app.header_of(folder)
    assert header.query["generator"] == "mixture"
    resumed = app.resume(folder, workers=Here())
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert not [path for path in (folder / app.PARTS).iterdir() if path.suffix != ".parquet"]
    assert len(pd.read_parquet(folder / app.PARTS)) == resumed.record["counts"]["made"]
    whole = app.screen(replace(QUERY, generator="mixture"), out=tmp_path / "whole", workers=Here(), **SIZES)
    same(whole, resumed)
    assert resumed.table.id.tolist() == undisturbed.table.id.tolist()


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign"])
def test_a_damaged_part_is_computed_again(undisturbed: app.Screened, damage: str, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        app.screen(QUERY, out=tmp_path / "s", workers=Here(most=4), **SIZES)
    part = app.part_path(tmp_path / "s" / app.PARTS, 2)
    data = part.read_bytes()
    middle = len(data) // 3
    foreign = app.part_path(undisturbed.folder / app.PARTS, 1).read_bytes()
    part.write_bytes(
        {
            "cut": data[:-100],
            "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "empty": b"",
            "foreign": foreign,
        }[damage]
    )
    with pytest.raises(ShardFileError):
        decoded(part, app.header_of(tmp_path / "s").about(2))
    rest = Here()
    same(undisturbed, app.resume(tmp_path / "s", workers=rest))
    assert [item for item in rest.items if isinstance(item, int)] == [2, 4, 5]


def test_a_shard_that_breaks_down_ends_the_screen_after_the_others(tmp_path: Path) -> None:
    with pytest.raises(PartError, match=r"1 of 3 shards .*shard 2: RuntimeError: thirteen.*invdesign resume"):
        app.screen(QUERY, out=tmp_path / "s", workers=Here(), n=226, shard=100, keep=5)
    assert app.status(tmp_path / "s")["shards_done"] == 2


def test_memory_does_not_grow_with_n(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        gc.collect()
        tracemalloc.start()
        app.screen(QUERY, out=tmp_path / str(n), workers=Here(), n=n, shard=50, keep=10)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(50)  # imports and caches
    assert peak(900) < 1.25 * peak(300)


def test_a_part_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"000000.parquet cannot be written: No space left on device"):
        write_part(b"data", tmp_path / "000000.parquet")
    assert list(tmp_path.iterdir()) == []


# The command line


def invoked(*args: object) -> Any:
    return CliRunner().invoke(commands, ["screen", *map(str, args)], standalone_mode=False)


def test_the_command_prints_lines_or_json(undisturbed: app.Screened, tmp_path: Path) -> None:
    wishes = ["--target", "bulk_modulus>=200", "--exclude", "Co", "--workers", 2, "-q"]
    sizes = ["-n", 330, "--seed", 3, "--keep", 15, "--shard", 60]
    found = invoked(*sizes, *wishes, "--json", "--out", tmp_path / "s")
    assert found.exception is None
    record = json.loads(found.stdout)
    assert [row["id"] for row in record["candidates"]] == undisturbed.table.id.tolist()
    status = CliRunner().invoke(commands, ["status", str(tmp_path / "s")])
    assert status.stdout == "finished: 6 of 6 shards\n"
    again = CliRunner().invoke(commands, ["resume", str(tmp_path / "s"), "--workers", "1", "-q"])
    assert "330 asked for" in again.stdout and "the best 15, 15 of the others at random" in again.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--n", "0"], "0 is not in the range x>=1"),
        (["--n", "100", "--target", "bulk_modulu>=3"], "did you mean bulk_modulus"),
        (["--n", "100"], "nothing"),
        (["--n", "100", "--target", "bulk_modulus>=3", "--shard", "3"], "shard: 3 is not valid; allowed: a whole"),
        (["--n", "100", "--target", "bulk_modulus>=3", "--generator", "vea"], "did you mean vae?"),
        (["--n", "100", "--target", "bulk_modulus>=3", "--executor", "slrum"], "did you mean slurm?"),
        (["--n", "100", "--target", "bulk_modulus>=3", "--keep", "1000000"], "keep: 1000000 is not valid"),
    ],
)
def test_wrong_input_is_one_line(
    args: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["screen", *args, "--out", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not (tmp_path / "s").exists()


def test_a_folder_of_another_screen_is_refused(undisturbed: app.Screened, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds a screen; go on with: invdesign resume"):
        app.screen(QUERY, out=undisturbed.folder, workers=Here(), **SIZES)
    folder = tmp_path / "s"
    folder.mkdir()
    header = json.loads((undisturbed.folder / app.HEADER).read_text())
    (folder / app.HEADER).write_text(json.dumps({**header, "version": "0.0.1"}))
    with pytest.raises(InputError, match=r"one that this version of invdesign began, not 0\.0\.1"):
        app.resume(folder)
    (folder / app.HEADER).write_text("{")
    with pytest.raises(InputError, match=r"a folder with a whole screen\.json"):
        app.resume(folder)
    assert run(["resume", str(undisturbed.folder), "--more", "3"]) == 2


def test_progress_is_told_while_nothing_is_finished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(app, "BEAT", 0.02)
    monkeypatch.setenv(DELAY, "0.3")
    told: list[tuple[str, int, int | None]] = []
    app.screen(QUERY, out=tmp_path / "s", workers=Here(), n=20, shard=10, progress=lambda *now: told.append(now))
    stages = [stage for stage, _, _ in told]
    assert stages.count("generate and screen") > 8 and told[-1][0] == "look at the best"
    assert ("generate and screen", 20, 20) in told


def test_an_interrupted_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(app, "pool", lambda workers, *rest: Here(most=1).pool(*rest))
    folder = str(tmp_path / "s")
    assert (
        run(["screen", "--n", "40", "--shard", "20", "--target", "bulk_modulus>=200", "-q", "--out", folder])
        == 130
    )
    assert f"interrupted; go on with: invdesign resume {folder}" in capsys.readouterr().err
    assert app.status(tmp_path / "s")["shards_done"] == 1
