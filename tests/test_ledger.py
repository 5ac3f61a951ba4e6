"""The ledger: exact records, one line for everything that can be wrong with it."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import random
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
from postgres import PASSWORD, Server, postgres

from invdesign.crystal import Crystal, Gene
from invdesign.engine.extension import Extension
from invdesign.engine.ledger import Header, Ledger, Shard
from invdesign.errors import InvdesignError, LedgerError, OutputError
from invdesign.query import Query
from invdesign.records import (
    Candidate,
    Conditions,
    Estimate,
    Evaluation,
    Failure,
    Relaxation,
    Request,
    Status,
    Value,
    Verdict,
)
from invdesign.serialize import from_plain, to_plain

__all__ = ["postgres"]
QUERY = Query(targets=["bulk_modulus>=250"], exclude=["Co"])
HEADER = Header(QUERY.to_dict(), seed=3, version="0.1.0", parts={"potential": "x 1"}, settings={"rounds": 4})
CONDITIONS = Conditions(
    properties={"bulk_modulus": 1.0 / 3.0},
    space_groups=frozenset([225, 221]),
    required=frozenset([22]),
    latent_centre=(0.1, -2.5e-17),
)
REQUESTS = [Request("r000-00", "vae", CONDITIONS, 5, 2**62 + 1), Request("r000-01", "gan", Conditions(), 4, 7)]


def evaluation(name: str = "r000-00-00000") -> Evaluation:
    return Evaluation(Candidate(name, cubic(225, 22, 7, 4.2 / 3.0 * 3.0), "r000-00", "vae", ("mp-1",)))


def relaxation() -> Relaxation:
    crystal = replace(cubic(216, 31, 15, np.pi), lattice=np.random.default_rng(0).normal(size=(3, 3)))
    return Relaxation(crystal, -8.1, Value(-0.1, 0.03, -0.2, 0.0, "p"), 0.04, 9, True, 1.5, 0.1, -0.02, "x 1")


def same(a: Any, b: Any) -> bool:
    return str(to_plain(a)) == str(to_plain(b))


def filled() -> Evaluation:
    return replace(
        evaluation(),
        gate=Estimate({"bulk_modulus": Value(0.1 + 0.2, 1e-300)}, out_of_distribution=True),
        relaxation=relaxation(),
        energy_above_hull=Value(5e-324, 0.0),
        estimate=Estimate({}, failure="no"),
        verdicts={"b": Verdict("b", Status.UNKNOWN, "ü", 1.0), "a": Verdict("a", Status.PASS)},
        failure=Failure("relax", "two\nlines"),
        selected=True,
        acquisition=math.inf,
    )


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ledger.sqlite"


NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, path: Path) -> Path | str:
    """A place for a ledger: a file, or a schema of its own on a server."""
    if request.param == "sqlite":
        return path
    return f"{request.getfixturevalue('postgres').url}?schema=run_{next(NUMBERS)}"


def named(where: Path | str) -> str:
    """How messages name the place."""
    return str(where).replace(PASSWORD, "***").replace(":***@", "@")


def changed(where: Path | str, statement: str) -> None:
    """Change a ledger behind its back."""
    import sqlalchemy as sa

    from invdesign.engine.database import connect, path_of

    engine = connect(str(where), path_of(where))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


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


def hold(where: Path | str, ready: Any, leave: Any) -> None:
    with Ledger.open(where):
        ready.set()
        leave.wait(60)


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


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://u:seCret-93@127.0.0.1:9/db", "the database server cannot be reached"),
        ("postgresql+psycopg://u@127.0.0.1:9/db?password=seCret-93", "the database server cannot be reached"),
        ("nonsense://u:seCret-93@host/db", "no such kind of database"),
        ("postgresql+psycopg://u:seCret-93@host:port/db", "not the URL of a database"),
        ("postgresql+psycopg://u:seCret-93@127.0.0.1:9/db?schema=a%20b", "schema: 'a b' is not valid"),
        ("mysql+pymysql://u:seCret-93@127.0.0.1:9/db", "pymysql is not installed"),
    ],
)
def test_a_wrong_url_is_one_line_without_its_password(url: str, says: str) -> None:
    pytest.importorskip("psycopg")
    for opening in (Ledger.open, Ledger.read, Ledger.exists, lambda w: Ledger.create(w, HEADER)):
        with pytest.raises(InvdesignError) as caught:
            opening(url)
        assert says in str(caught.value) and PASSWORD not in str(caught.value) and "\n" not in str(caught.value)


def test_a_wrong_password_is_not_printed(postgres: Server) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger.open(postgres.url.replace(PASSWORD, "wrOng-44"))
    line = str(caught.value)
    assert "password authentication failed" in line and "PGPASSWORD" in line and "wrOng-44" not in line


def test_closing_lets_go_of_the_lock_of_a_server(postgres: Server) -> None:
    url = f"{postgres.url}?schema=closing"
    ledger = Ledger.create(url, HEADER)
    assert postgres.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(1,)]
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert postgres.query(idle) == [(0,)], "a run holds no transaction open"
    ledger.close()
    time.sleep(0.2)
    assert postgres.query("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_runs_of_one_database_do_not_see_each_other(postgres: Server) -> None:
    one, two = (f"{postgres.url}?schema={name}" for name in ("one", "two"))
    with Ledger.create(one, HEADER) as first, Ledger.create(two, replace(HEADER, seed=4)) as second:
        first.start_round(0, REQUESTS)
        second.start_round(0, REQUESTS[:1])
        assert len(first.requests(0)) == 2 and len(second.requests(0)) == 1
        assert (first.header.seed, second.header.seed) == (3, 4)


@pytest.mark.slow
def test_a_killed_server_is_one_line_and_the_run_goes_on_when_it_is_back(postgres: Server) -> None:
    url = f"{postgres.url}?schema=killed"
    ledger = Ledger.create(url, HEADER)
    ledger.start_round(0, REQUESTS)
    postgres.kill()
    for _ in range(2):
        with pytest.raises(LedgerError, match="the database server cannot be reached") as caught:
            ledger.add_relaxation(0, "r000-00-00000", relaxation())
        assert PASSWORD not in str(caught.value)
    ledger.close()
    postgres.start()
    with Ledger.open(url, HEADER) as again:
        assert again.requests(0) == REQUESTS and again.relaxations(0) == {}


# rows as they were written


def recorded(where: Path | str) -> None:
    """A ledger with a row in each table."""
    with Ledger.create(where, HEADER) as ledger:
        ledger.start_round(0, REQUESTS)
        lost = Failure("generate", "incomplete", "r000-00-00001")
        ledger.propose(Shard(0, "propose", "r000-00"), [evaluation()], [lost], {"entered": 2}, 0.5)
        ledger.save(Shard(0, "screen", "r000-00"), [filled()], ("verdicts", "failure"), {"passed": 0}, 0.25)
        ledger.add_relaxation(0, "r000-00-00000", relaxation())
        ledger.add_feedback({"r000-00-00000": {"bulk_modulus": Value(250.0, 5.0)}})
        ledger.add_extension(Extension(3, 12, 9, 1))


def read_all(where: Path | str) -> None:
    """Everything that a run reads."""
    with Ledger.read(where) as ledger:
        assert ledger.query
        for request in ledger.requests(0):
            rows, _ = ledger.candidates(request.id)
            ledger.load(Shard(0, "screen", request.id), rows)
        ledger.shards(0), ledger.relaxations(0), ledger.feedback(), ledger.extensions()


CHANGES = {
    "run": "UPDATE run SET value = '4' WHERE key = 'seed'",
    "requests": "UPDATE requests SET position = 1 - position",
    "candidates": "UPDATE candidates SET generator = 'gan'",
    "failures": "UPDATE failures SET reason = 'complete'",
    "results": "UPDATE results SET data = replace(data, 'pass', 'fail')",
    "relaxations": "UPDATE relaxations SET data = replace(data, '-8.1', '-9.1')",
    "shards": "UPDATE shards SET seconds = seconds + 1",
    "feedback": "UPDATE feedback SET data = replace(data, '250', '350')",
    "extensions": "UPDATE extensions SET round = 2",
}


@pytest.mark.parametrize("table", CHANGES)
def test_a_changed_row_is_found(table: str, where: Path | str) -> None:
    recorded(where)
    read_all(where)
    changed(where, CHANGES[table])
    with pytest.raises(LedgerError, match=f"the ledger is damaged: {table} .* is not as it was written"):
        read_all(where)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_are_found_or_change_nothing(seed: int, path: Path) -> None:
    """Of 120 flips in all, anywhere in the file, each is one clear line, or every record reads as before."""
    recorded(path)
    with Ledger.read(path) as ledger:
        before = [to_plain(r) for r in (*ledger.requests(0), *ledger.candidates("r000-00"), ledger.relaxations(0))]
    content, rng = path.read_bytes(), random.Random(seed)
    for _ in range(40):
        spoiled = bytearray(content)
        spoiled[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(spoiled))
        for name in ("-wal", "-shm"):
            path.with_name(path.name + name).unlink(missing_ok=True)
        try:
            read_all(path)
            with Ledger.read(path) as ledger:
                records = (*ledger.requests(0), *ledger.candidates("r000-00"), ledger.relaxations(0))
                assert [to_plain(record) for record in records] == before
        except LedgerError as error:
            assert str(path) in str(error) and "\n" not in str(error)


# formats


OLD = """
CREATE TABLE run (key VARCHAR(64) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key));
CREATE TABLE requests (id VARCHAR(64) NOT NULL, round INTEGER, position INTEGER, data TEXT NOT NULL,
    PRIMARY KEY (id));
CREATE TABLE candidates (id VARCHAR(64) NOT NULL, request VARCHAR(64), generator TEXT NOT NULL,
    parents TEXT NOT NULL, crystal TEXT NOT NULL, PRIMARY KEY (id));
CREATE TABLE failures (id VARCHAR(64) NOT NULL, request VARCHAR(64), stage TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (id));
CREATE TABLE results (candidate VARCHAR(64) NOT NULL, stage VARCHAR(64) NOT NULL, round INTEGER,
    request VARCHAR(64), data TEXT NOT NULL, PRIMARY KEY (candidate, stage));
CREATE TABLE relaxations (candidate VARCHAR(64) NOT NULL, round INTEGER, kind TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (candidate));
CREATE TABLE shards (round INTEGER NOT NULL, stage VARCHAR(64) NOT NULL, request VARCHAR(64) NOT NULL,
    counts TEXT NOT NULL, seconds FLOAT NOT NULL, PRIMARY KEY (round, stage, request));
"""
"""The tables of format 1, as they were written."""


def old_ledger(where: Path | str) -> None:
    """A ledger of format 1: without checksums and times, and without the tables that came later."""
    recorded(where)
    names = ("run", "requests", "candidates", "failures", "results", "relaxations", "shards")
    columns = dict.fromkeys(("run",), "key, value") | {
        "requests": "id, round, position, data",
        "candidates": "id, request, generator, parents, crystal",
        "failures": "id, request, stage, reason",
        "results": "candidate, stage, round, request, data",
        "relaxations": "candidate, round, kind, data",
        "shards": "round, stage, request, counts, seconds",
    }
    for name in names:
        changed(where, f"ALTER TABLE {name} RENAME TO new_{name}")
    for statement in filter(str.strip, OLD.split(";")):
        changed(where, statement)
    for name in names:
        changed(where, f"INSERT INTO {name} ({columns[name]}) SELECT {columns[name]} FROM new_{name}")
        changed(where, f"DROP TABLE new_{name}")
    changed(where, "UPDATE run SET value = '1' WHERE key = 'format'")
    for name in ("feedback", "extensions"):
        changed(where, f"DROP TABLE {name}")


def test_a_ledger_of_an_older_format_is_brought_to_the_present_one(where: Path | str) -> None:
    old_ledger(where)
    with Ledger.open(where, HEADER) as ledger:
        assert ledger.requests(0) == REQUESTS
        rows, failures = ledger.candidates("r000-00")
        assert same(rows, [evaluation()]) and len(failures) == 1
        assert same(ledger.relaxations(0)["r000-00-00000"], relaxation())
        assert ledger.feedback() == {} and ledger.extensions() == []
        ledger.add_relaxation(0, "r000-00-00009", Failure("relax", "lost"))
        ledger.add_feedback({"r000-00-00000": {"bulk_modulus": Value(250.0, 5.0)}})
    read_all(where)
    changed(where, CHANGES["candidates"])
    with pytest.raises(LedgerError, match="candidates r000-00-00000 is not as it was written"):
        read_all(where)


def test_an_older_ledger_is_not_changed_while_another_process_runs_on_it(where: Path | str) -> None:
    from invdesign.engine.database import Lock, connect, path_of

    old_ledger(where)
    if isinstance(where, Path):
        lock = Lock.on_file(where)
    else:
        lock = Lock.on_server(connect(where, path_of(where)), where)
    with pytest.raises(LedgerError, match="another process"):
        Ledger.read(where)
    lock.release()
    Ledger.read(where).close()
