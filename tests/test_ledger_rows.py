"""Rows of a ledger are as they were written, or that is said; ledgers of older formats."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from ledger_parts import (
    HEADER,
    REQUESTS,
    changed,
    evaluation,
    path,
    postgres,
    read_all,
    recorded,
    relaxation,
    same,
    where,
)

from invdesign.engine.ledger import Ledger
from invdesign.errors import LedgerError
from invdesign.records import Failure, Value
from invdesign.serialize import to_plain

__all__ = ["path", "postgres", "where"]


# rows as they were written


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
