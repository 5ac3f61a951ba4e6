"""A ledger looked at as a whole: whether it is sound and consistent, and a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from invdesign.engine.database import connect, remove, translated, writing
from invdesign.engine.ledger import Ledger, Shard
from invdesign.errors import LedgerError

LATER = ("shake", "dynamics")
"""Stages of the list, which stand with the first round and are marked for each candidate."""


def check_rows(ledger: Ledger) -> int:
    """See that every row of every table is as it was written, and the file as SQLite wrote it.

    Returns:
        Number of rows.

    Raises:
        LedgerError: naming what is not.
    """
    import sqlalchemy as sa

    if not ledger.is_on_server:
        answer = ledger.ask(sa.text("PRAGMA integrity_check(1)"))
        if not answer or answer[0][0] != "ok":
            raise LedgerError(f"{ledger.where}: the ledger is damaged ({answer[0][0] if answer else 'empty'})")
    count = sum(len(ledger.optional(table)) for table in ledger.tables.metadata.sorted_tables)
    stored = {row.key: row.value for row in ledger.rows(ledger.tables.run)}
    if stored.get("query_hash") != ledger.header.query_hash:
        raise LedgerError(f"{ledger.where}: the query is not the one that the run began with")
    return count


def last_recorded(ledger: Ledger) -> float | None:
    """When the last piece of work was recorded, seconds since 1970; None where that is not known."""
    import sqlalchemy as sa

    times = [sa.select(sa.func.max(t.c.recorded)) for t in (ledger.tables.shards, ledger.tables.relaxations)]
    found = [ledger.ask(statement)[0][0] for statement in times]
    return max((time for time in found if time is not None), default=None)


def copy(ledger: Ledger, path: Path) -> Path:
    """Write a ledger, wherever it is, as an SQLite file.

    Raises:
        LedgerError: if a row is not as it was written.
        OutputError: if it cannot be written.
    """
    with writing(path):
        remove(path)
    engine = connect(str(path), path)
    try:
        with translated(str(path)), engine.begin() as there:
            ledger.tables.metadata.create_all(there)
            for table in ledger.tables.metadata.sorted_tables:
                if rows := [dict(row._mapping) for row in ledger.optional(table)]:
                    there.execute(table.insert(), rows)
    finally:
        engine.dispose()
    return path


def problems(ledger: Ledger) -> Iterator[str]:
    """What is inconsistent in a ledger whose rows are all as they were written.

    Records that belong together are compared: every record is read; candidates belong to a request, results and
    relaxations to a candidate; the marks of finished work agree with what is recorded.

    Raises:
        LedgerError: if a record cannot be read.
    """
    numbers = range(ledger.rounds())
    ledger.feedback(), ledger.extensions()
    for number in numbers:
        yield from _problems_of_round(ledger, number)


def _problems_of_round(ledger: Ledger, number: int) -> Iterator[str]:
    requests = ledger.requests(number)
    if not requests:
        yield f"round {number + 1} has no requests, but later ones have"
    marks, known = ledger.shards(number), set[str]()
    names = [*(r.id for r in requests), f"e{number:03d}"]
    for name in names:
        rows, failures = ledger.candidates(name)
        mine = {row.candidate.id for row in rows}
        known |= mine
        mark = marks.get(Shard(number, "propose", name)) or marks.get(Shard(number, "evolve", name))
        if mark is None and (mine or failures):
            yield f"request {name} has candidates, but its work is not marked as done"
        elif mark is not None and mark[0].get("passed") != len(mine):
            yield f"request {name} has {len(mine)} candidates; its mark says {mark[0].get('passed')}"
    marked = {shard.request for shard in marks if shard.stage not in LATER}
    yield from (f"work is marked for {name}, no request of its round" for name in sorted(marked - {*names, ""}))
    relaxed = set(ledger.relaxations(number))
    yield from (f"relaxation {name} belongs to no candidate of its round" for name in sorted(relaxed - known))
    yield from (
        f"a result of {stage} of {name} belongs to no candidate of its round"
        for name, stage in _results(ledger, number)
        if name not in known
    )
    chosen, done = marks.get(Shard(number, "gate")), Shard(number, "relax") in marks
    if done and chosen is not None and len(relaxed) != chosen[0].get("passed"):
        yield f"round {number + 1} has {len(relaxed)} relaxations; {chosen[0].get('passed')} were chosen"


def _results(ledger: Ledger, number: int) -> list[tuple[str, str]]:
    """Candidate and stage of every result of a round that is not of the list."""
    t = ledger.tables.results
    rows = ledger.rows(t, t.c.round == number)
    return [(row.candidate, row.stage) for row in rows if row.stage not in LATER]
