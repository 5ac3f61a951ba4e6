"""The ledger: exact records, one line for everything that can be wrong with it."""

from __future__ import annotations

import math
import multiprocessing
import os
import sqlite3
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from fake_parts import cubic
from ledger_parts import (
    HEADER,
    QUERY,
    REQUESTS,
    changed,
    evaluation,
    filled,
    hold,
    named,
    path,
    postgres,
    relaxation,
    same,
    where,
)

from invdesign.crystal import Crystal, Gene
from invdesign.engine.ledger import Ledger, Shard
from invdesign.errors import LedgerError, OutputError
from invdesign.query import Query
from invdesign.records import (
    Evaluation,
    Failure,
    Status,
    Value,
)
from invdesign.serialize import from_plain, to_plain

__all__ = ["path", "postgres", "where"]


@pytest.mark.parametrize("record", [filled(), relaxation(), *REQUESTS, Failure("a", "b"), cubic(225, 1, 2, 3.3)])
def test_records_survive_plain_types_exactly(record: Any) -> None:
    import json

    back = from_plain(type(record), json.loads(json.dumps(to_plain(record))))
    assert type(back) is type(record)
    assert same(back, record)
    if isinstance(record, Evaluation):
        assert list(back.verdicts) == ["b", "a"]
        assert math.isnan(back.score) and back.verdicts["b"].status is Status.UNKNOWN
        assert back.relaxation is not None
        np.testing.assert_array_equal(back.crystal.lattice, record.crystal.lattice)
        assert back.crystal.lattice.dtype == np.float64 and back.crystal.numbers.dtype == np.int64
        assert back.candidate.crystal.gene == record.candidate.crystal.gene


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=50, deadline=None)
@given(st.lists(finite, min_size=12, max_size=12), st.integers(1, 230), st.lists(finite, max_size=4))
def test_any_finite_crystal_survives(numbers: list[float], group: int, free: list[float]) -> None:
    import json

    gene = Gene(group, (0,), (26,), tuple(free), (1.0,))
    crystal = Crystal(np.array(numbers[:9]), np.array([26]), np.array(numbers[9:]), gene)
    back = from_plain(Crystal, json.loads(json.dumps(to_plain(crystal))))
    assert back.lattice.tobytes() == crystal.lattice.tobytes()
    assert back.frac_coords.tobytes() == crystal.frac_coords.tobytes()
    assert back.gene == gene


def test_what_has_no_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no plain form"):
        to_plain({"a": object()})
    with pytest.raises(KeyError):
        from_plain(Value, {"mean": 1.0, "std": 1.0, "colour": "red"})


def test_everything_comes_back_after_closing(where: Path | str) -> None:
    row, full = evaluation(), filled()
    lost = Failure("generate", "incomplete", "r000-00-00001")
    with Ledger.create(where, HEADER) as ledger:
        ledger.start_round(0, REQUESTS)
        ledger.propose(Shard(0, "propose", "r000-00"), [row], [lost], {"entered": 2}, 0.5)
        ledger.save(Shard(0, "screen", "r000-00"), [full], ("verdicts", "failure"), {"passed": 0}, 0.25)
        ledger.save(Shard(0, "predict", "r000-00"), [full], ("gate",), {}, 0.0)
        ledger.add_relaxation(0, "r000-00-00000", relaxation())
        ledger.add_relaxation(0, "r000-00-00009", Failure("relax", "lost"))
    with Ledger.open(where, HEADER) as ledger:
        assert ledger.header == HEADER and ledger.query == QUERY
        assert ledger.requests(0) == REQUESTS and ledger.requests(1) == [] and ledger.rounds() == 1
        rows, failures = ledger.candidates("r000-00")
        assert same(rows, [row]) and failures == [lost]
        assert ledger.candidates("r000-01") == ([], [])
        (screened,) = ledger.load(Shard(0, "screen", "r000-00"), rows)
        assert screened.verdicts == full.verdicts and screened.failure == full.failure
        assert screened.gate is None
        assert same(ledger.load(Shard(0, "predict", "r000-00"), [screened])[0].gate, full.gate)
        assert ledger.shards(0)[Shard(0, "screen", "r000-00")] == ({"passed": 0}, 0.25)
        relaxed = ledger.relaxations(0)
        assert same(relaxed["r000-00-00000"], relaxation())
        assert relaxed["r000-00-00009"] == Failure("relax", "lost")


def test_a_shard_is_recorded_whole_or_not_at_all(where: Path | str) -> None:
    with Ledger.create(where, HEADER) as ledger:
        twice = [evaluation("r000-00-00000"), evaluation("r000-00-00000")]
        with pytest.raises(LedgerError):
            ledger.propose(Shard(0, "propose", "r000-00"), twice, [], {}, 0.0)
        assert ledger.candidates("r000-00") == ([], [])
        assert ledger.shards(0) == {}


def test_create_does_not_overwrite(where: Path | str) -> None:
    Ledger.create(where, HEADER).close()
    with pytest.raises(LedgerError, match="there is a ledger already"):
        Ledger.create(where, HEADER)


def test_a_killed_creation_leaves_nothing_that_looks_like_a_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.with_name(path.name + ".new").write_bytes(b"half a header")
    assert not Ledger.exists(path)
    with Ledger.create(path, HEADER) as ledger:
        assert ledger.header == HEADER
    assert Ledger.exists(path)
    assert sorted(p.name for p in path.parent.iterdir()) == [".ledger.sqlite.lock", "ledger.sqlite"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "0.2.0"}, "made by invdesign 0.1.0, this is 0.2.0"),
        ({"query": Query(targets=["bulk_modulus>=251"], n=3).to_dict()}, "different: exclude, n, targets"),
        ({"seed": 4}, "seed 3, not 4"),
        ({"parts": {"potential": "x 2"}}, "parts"),
        ({"settings": {"rounds": 5}}, "settings"),
    ],
)
def test_another_header_is_refused_in_one_line(where: Path | str, change: dict[str, Any], says: str) -> None:
    Ledger.create(where, HEADER).close()
    with pytest.raises(LedgerError) as caught:
        Ledger.open(where, replace(HEADER, **change))
    assert says in str(caught.value) and named(where) in str(caught.value) and "\n" not in str(caught.value)
    Ledger.open(where, HEADER).close()  # the refusal has let go of the lock


def full_ledger(path: Path) -> bytes:
    with Ledger.create(path, HEADER) as ledger:
        for i in range(40):
            request = f"r000-{i:02d}"
            rows = [evaluation(f"{request}-{j:05d}") for j in range(20)]
            ledger.propose(Shard(0, "propose", request), rows, [], {}, 0.0)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_ledger_is_one_line(path: Path, share: float) -> None:
    content = full_ledger(path)
    path.write_bytes(content[: int(share * len(content))])
    for opening in (Ledger.open, Ledger.read):
        with pytest.raises(LedgerError) as caught:
            opening(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_scribbled_over_pages_are_found(path: Path) -> None:
    content = bytearray(full_ledger(path))
    content[4096 * 3 : 4096 * 30] = os.urandom(4096 * 27)
    path.write_bytes(bytes(content))
    with pytest.raises(LedgerError, match="damaged or truncated"):
        Ledger.open(path)


def test_other_files_are_not_ledgers(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("SQLite is not this, at great length")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE run (key TEXT, value TEXT)")
    other.commit()
    other.close()
    for name, says in (("text", "not a ledger"), ("other.sqlite", "not a ledger"), ("none", "there is no ledger")):
        with pytest.raises(LedgerError, match=says):
            Ledger.open(tmp_path / name)


def test_another_format_is_refused(where: Path | str) -> None:
    Ledger.create(where, HEADER).close()
    changed(where, "UPDATE run SET value='99' WHERE key='format'")
    with pytest.raises(LedgerError, match="format 99"):
        Ledger.open(where)


def reopened(where: Path | str) -> Ledger:
    """The ledger of a process that was killed: a server takes a moment to notice."""
    for _ in range(100):
        try:
            return Ledger.open(where)
        except LedgerError as error:
            if "another process" not in str(error):
                raise
            time.sleep(0.1)
    raise TimeoutError


def test_a_live_process_keeps_others_out_and_a_dead_one_does_not(where: Path | str) -> None:
    Ledger.create(where, HEADER).close()
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    child = context.Process(target=hold, args=(where, ready, leave))
    child.start()
    assert ready.wait(60)
    with pytest.raises(LedgerError, match="another process is running on this ledger"):
        Ledger.open(where)
    with Ledger.read(where) as ledger:
        assert ledger.header == HEADER
    child.kill()
    child.join()
    reopened(where).close()


def test_a_second_ledger_in_the_same_process_is_kept_out_too(where: Path | str) -> None:
    with Ledger.create(where, HEADER), pytest.raises(LedgerError, match="another process"):
        Ledger.open(where)


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Ledger.create(tmp_path / "file" / "ledger.sqlite", HEADER)


def test_a_full_disk_is_an_output_error_and_keeps_what_was_recorded(path: Path) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def small(connection: Any, _: object) -> None:
        connection.execute("PRAGMA max_page_count=30")

    event.listen(Engine, "connect", small)
    try:
        with (
            Ledger.create(path, HEADER) as ledger,
            pytest.raises(OutputError, match="disk is full; what was recorded is kept"),
        ):
            for i in range(100):
                ledger.add_relaxation(0, f"c{i}", relaxation())
    finally:
        event.remove(Engine, "connect", small)
    with Ledger.open(path, HEADER) as ledger:
        kept = ledger.relaxations(0)
        assert len(kept) == i > 5
        ledger.add_relaxation(0, f"c{i}", relaxation())


def test_the_same_statements_compile_for_postgresql() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    from invdesign.engine.database import tables

    for table in tables().metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "CREATE TABLE" in text and "AUTOINCREMENT" not in text
        assert "INSERT" in str(table.insert().compile(dialect=postgresql.dialect()))


def test_an_unknown_kind_of_database_is_one_line() -> None:
    with pytest.raises(LedgerError, match="no such kind of database"):
        Ledger.open("nonsense://host/db")
