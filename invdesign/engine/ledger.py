"""The ledger of a run: every request, candidate, verdict and number, committed as it arrives.

One SQLite file per run, or any other database that SQLAlchemy reaches by URL (one database or schema per run).
Rows are only ever added. A *shard* is a stage's work on one request or one round; its results and its mark are
committed in one transaction, so a shard is either recorded whole or not at all. Relaxations are committed one
by one. A run that was killed at any moment takes up what is recorded and computes the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from invdesign.crystal import Crystal
from invdesign.engine import server
from invdesign.engine.database import (
    CHECKSUM,
    Lock,
    check_file,
    checksum,
    connect,
    is_sound,
    path_of,
    remove,
    tables,
    translated,
    writing,
)
from invdesign.engine.extension import Extension
from invdesign.engine.header import Header, Shard, dumps
from invdesign.engine.migrations import FORMAT, migrate
from invdesign.errors import LedgerError
from invdesign.query import Query
from invdesign.records import Candidate, Evaluation, Failure, Relaxation, Request, Value
from invdesign.serialize import from_plain, read_field, to_plain

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")

__all__ = ["Header", "Ledger", "Shard"]


class Ledger:
    """A run's record; open it with `create`, `open` or `read`, close it or use it as a context.

    Attributes:
        where: its file or URL, without a password.
        tables: of the database.
    """

    def __init__(self, engine: sa.Engine, where: str, lock: Lock | None) -> None:
        self._engine, self._url, self._lock = engine, where, lock
        self.where = where if path_of(where) is not None else server.shown(where)
        self.tables = tables()

    @classmethod
    def create(cls, where: str | Path, header: Header) -> Ledger:
        """Start a new ledger and hold its lock.

        Raises:
            LedgerError: if there is one already, or another process holds it.
            OutputError: if it cannot be written.
        """
        path = path_of(where)
        if path is not None and path.exists():
            raise LedgerError(f"{path}: there is a ledger already; resume it, or choose another folder")
        if path is None:
            ledger = cls._connect(str(where), writing=True, new=True)
            try:
                ledger._write_header(header)
            except BaseException:
                ledger.close()
                raise
            return ledger
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock.on_file(path)
        try:
            cls._write_new(path, header)
        except BaseException:
            lock.release()
            raise
        return cls(connect(str(path), path), str(path), lock)

    @classmethod
    def _write_new(cls, path: Path, header: Header) -> None:
        """Write a ledger beside its place and move it there: a file that is there has a whole header."""
        draft = path.with_name(path.name + ".new")
        with writing(path):
            remove(draft)
        with cls(connect(str(draft), draft), str(path), None) as ledger:
            ledger._write_header(header)
        with writing(path):
            for leftover in (path, draft):
                remove(leftover, only_companions=True)
            draft.rename(path)

    @classmethod
    def open(cls, where: str | Path, header: Header | None = None) -> Ledger:
        """Open an existing ledger to go on with it, and hold its lock.

        Args:
            where: path or URL.
            header: what the caller is about to run; None takes the ledger's own word.

        Raises:
            LedgerError: if there is none, it is damaged, another process holds it, or the header differs.
        """
        ledger = cls._existing(where, writing=True)
        try:
            if header is not None:
                ledger.compare(header)
        except LedgerError:
            ledger.close()
            raise
        return ledger

    @classmethod
    def read(cls, where: str | Path) -> Ledger:
        """Open an existing ledger for reading only, while its run may still be alive.

        Raises:
            LedgerError: if there is none or it is damaged.
        """
        return cls._existing(where, writing=False)

    @classmethod
    def exists(cls, where: str | Path) -> bool:
        """Whether there is something at that path, or a run at that URL."""
        path = path_of(where)
        if path is not None:
            return path.exists()
        with cls._connect(str(where), writing=False) as ledger:
            return bool(set(ledger._names()) & set(ledger.tables.metadata.tables))

    @property
    def is_on_server(self) -> bool:
        """Whether it is no file."""
        return path_of(self._url) is None

    @property
    def header(self) -> Header:
        """What the run is.

        Raises:
            LedgerError: if the header is missing or unreadable.
        """
        stored = {row.key: row.value for row in self.rows(self.tables.run)}
        return Header.from_stored(stored, self.where)

    def compare(self, header: Header) -> None:
        """Refuse a header other than the ledger's own.

        Raises:
            LedgerError: naming what differs.
        """
        self.header.compare(header, self.where)

    @property
    def query(self) -> Query:
        """The query of the run."""
        return Query.from_dict(self.header.query)

    def start_round(self, number: int, requests: Sequence[Request]) -> None:
        """Record the requests of a round, in one transaction."""
        rows = [
            {"id": r.id, "round": number, "position": i, "data": dumps(to_plain(r))}
            for i, r in enumerate(requests)
        ]
        self._insert([(self.tables.requests, rows)])

    def requests(self, number: int) -> list[Request]:
        """The requests of a round in their order; empty if it was not started."""
        t = self.tables.requests
        found = self.rows(t, t.c.round == number, order=t.c.position)
        return [self._record(Request, row.data) for row in found]

    def rounds(self) -> int:
        """How many rounds were started."""
        t = self.tables.requests
        found = self.ask(t.select().with_only_columns(t.c.round).distinct())
        return len(found)

    def propose(
        self,
        shard: Shard,
        rows: Sequence[Evaluation],
        failures: Sequence[Failure],
        counts: Mapping[str, Any],
        seconds: float,
    ) -> None:
        """Record what a generator gave for one request: candidates, and failures whose `item` is their id."""
        made = [
            {
                "id": row.candidate.id,
                "request": row.candidate.request,
                "generator": row.candidate.generator,
                "parents": dumps(list(row.candidate.parents)),
                "crystal": dumps(to_plain(row.candidate.crystal)),
            }
            for row in rows
        ]
        failed = [{"id": f.item, "request": shard.request, "stage": f.stage, "reason": f.reason} for f in failures]
        t = self.tables
        self._insert([(t.candidates, made), (t.failures, failed), (t.shards, [_mark(shard, counts, seconds)])])

    def candidates(self, request: str) -> tuple[list[Evaluation], list[Failure]]:
        """The recorded candidates of a request as bare rows, in order of their ids, and the failures."""
        t, f = self.tables.candidates, self.tables.failures
        found = self.rows(t, t.c.request == request, order=t.c.id)
        failed = self.rows(f, f.c.request == request, order=f.c.id)
        rows = [
            Evaluation(
                Candidate(
                    row.id,
                    self._record(Crystal, row.crystal),
                    row.request,
                    row.generator,
                    tuple(self._parse(row.parents)),
                )
            )
            for row in found
        ]
        return rows, [Failure(row.stage, row.reason, row.id) for row in failed]

    def save(
        self,
        shard: Shard,
        rows: Sequence[Evaluation],
        fields: Sequence[str],
        counts: Mapping[str, Any],
        seconds: float,
    ) -> None:
        """Record `fields` of `rows` as the stage left them, and the shard's mark, in one transaction."""
        found = [
            {
                "candidate": row.candidate.id,
                "round": shard.round,
                "stage": shard.stage,
                "request": shard.request,
                "data": dumps({name: to_plain(getattr(row, name)) for name in fields}),
            }
            for row in rows
        ]
        t = self.tables
        self._insert([(t.results, found), (t.shards, [_mark(shard, counts, seconds)])])

    def load(self, shard: Shard, rows: Sequence[Evaluation]) -> list[Evaluation]:
        """The rows with what the shard recorded of them filled in."""
        t = self.tables.results
        found = self.rows(t, t.c.round == shard.round, t.c.stage == shard.stage, t.c.request == shard.request)
        stored = {row.candidate: self._parse(row.data) for row in found}
        with self._sound():
            return [_filled(row, stored.get(row.candidate.id)) for row in rows]

    def shards(self, number: int) -> dict[Shard, tuple[dict[str, Any], float]]:
        """The finished shards of a round with their counts and seconds."""
        t = self.tables.shards
        found = self.rows(t, t.c.round == number)
        return {Shard(r.round, r.stage, r.request): (self._parse(r.counts), r.seconds) for r in found}

    def add_relaxation(self, number: int, candidate: str, result: Relaxation | Failure) -> None:
        """Record one relaxation of a round at once."""
        kind = "failure" if isinstance(result, Failure) else "relaxation"
        data = dumps(to_plain(result))
        row = {"candidate": candidate, "round": number, "kind": kind, "data": data, "recorded": time.time()}
        self._insert([(self.tables.relaxations, [row])])

    def relaxations(self, number: int) -> dict[str, Relaxation | Failure]:
        """The recorded relaxations of a round by candidate id."""
        t = self.tables.relaxations
        kinds: dict[str, type[Relaxation] | type[Failure]] = {"failure": Failure, "relaxation": Relaxation}
        return {
            row.candidate: self._record(kinds.get(row.kind, Failure), row.data)
            for row in self.rows(t, t.c.round == number)
        }

    def add_feedback(self, values: Mapping[str, Mapping[str, Value]]) -> None:
        """Record values that came back for some candidates, by id and property, after all earlier ones."""
        table = self.tables.feedback
        with translated(self._url):
            table.create(self._engine, checkfirst=True)
        number = 1 + self.feedback_number
        rows = [{"number": number, "candidate": key, "data": dumps(to_plain(v))} for key, v in values.items()]
        self._insert([(table, rows)])

    @property
    def feedback_number(self) -> int:
        """Number of the last values that came back; 0 if there are none."""
        return max((row.number for row in self.optional(self.tables.feedback)), default=0)

    def feedback(self, until: int | None = None) -> dict[str, dict[str, Value]]:
        """The values that came back, by candidate id and property; of one given twice the later.

        Args:
            until: number of the last that count; None: all.
        """
        found: dict[str, dict[str, Value]] = {}
        for row in sorted(self.optional(self.tables.feedback), key=lambda r: r.number):
            if until is not None and row.number > until:
                continue
            with self._sound():
                told = {name: from_plain(Value, value) for name, value in json.loads(row.data).items()}
            found.setdefault(row.candidate, {}).update(told)
        return found

    def add_extension(self, extension: Extension) -> None:
        """Record relaxations that are added to the finished run."""
        table = self.tables.extensions
        with translated(self._url):
            table.create(self._engine, checkfirst=True)
        self._insert([(table, [{"round": extension.round, "data": dumps(to_plain(extension))}])])

    def extensions(self) -> list[Extension]:
        """Relaxations that were added, in their order."""
        rows = sorted(self.optional(self.tables.extensions), key=lambda row: row.round)
        return [self._record(Extension, row.data) for row in rows]

    def close(self) -> None:
        """Let go of the file or the connections, and of the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def _existing(cls, where: str | Path, writing: bool) -> Ledger:
        path = path_of(where)
        if path is not None:
            check_file(path)
        ledger = cls._connect(str(where), writing)
        try:
            ledger._check_health()
            ledger._migrate()
            _ = ledger.header
        except LedgerError:
            ledger.close()
            raise
        return ledger

    @classmethod
    def _connect(cls, where: str, writing: bool, new: bool = False) -> Ledger:
        path = path_of(where)
        lock = Lock.on_file(path) if writing and path is not None else None
        ledger = cls(connect(where, path), where, lock)
        if writing and path is None:
            try:
                if new:
                    with translated(where):
                        server.make_schema(ledger._engine, where)
                ledger._lock = Lock.on_server(ledger._engine, where)
            except BaseException:
                ledger.close()
                raise
        return ledger

    def _migrate(self) -> None:
        """Bring a ledger of an earlier format to the present one, if no other process is running on it.

        Raises:
            LedgerError: if one is, or the format is unknown.
        """
        import sqlalchemy as sa

        t = self.tables.run
        found = self.ask(sa.select(t.c.value).where(t.c.key == "format"))
        old = str(found[0][0]) if found else "none"
        if old == str(FORMAT):
            return
        if old not in map(str, range(1, FORMAT)):
            raise LedgerError(f"{self.where}: the ledger has format {old}; this version reads 1 to {FORMAT}")
        path = path_of(self._url)
        lock = None
        if self._lock is None:
            lock = Lock.on_server(self._engine, self._url) if path is None else Lock.on_file(path)
        try:
            with translated(self._url), self._engine.begin() as connection:
                migrate(connection, int(old))
        finally:
            if lock is not None:
                lock.release()

    def _check_health(self) -> None:
        import sqlalchemy as sa

        if self._engine.dialect.name == "sqlite":
            answer = self.ask(sa.text("PRAGMA quick_check(1)"))
            if not answer or answer[0][0] != "ok":
                raise LedgerError(f"{self.where}: the ledger is damaged or truncated")
        optional = {self.tables.feedback.name, self.tables.extensions.name}
        missing = set(self.tables.metadata.tables) - set(self._names()) - optional
        if missing:
            raise LedgerError(f"{self.where}: not a ledger of invdesign, or truncated (no {min(missing)})")

    def _names(self) -> list[str]:
        import sqlalchemy as sa

        with translated(self._url):
            return sa.inspect(self._engine).get_table_names()

    def _write_header(self, header: Header) -> None:
        stored = {"format": str(FORMAT), **header.stored()}
        t = self.tables
        with translated(self._url), self._engine.begin() as connection:
            if set(t.metadata.tables) & set(self._names()):
                raise LedgerError(f"{self.where}: there is a ledger already; resume it, or choose another place")
            t.metadata.create_all(connection)
            rows = [{"key": key, "value": value} for key, value in stored.items()]
            connection.execute(t.run.insert(), [row | {CHECKSUM: checksum(t.run, row)} for row in rows])

    def _insert(self, batches: Iterable[tuple[sa.Table, list[dict[str, Any]]]]) -> None:
        with translated(self._url), self._engine.begin() as connection:
            for table, rows in batches:
                if rows:
                    connection.execute(table.insert(), [row | {CHECKSUM: checksum(table, row)} for row in rows])

    def ask(self, statement: sa.Executable) -> Sequence[Any]:
        """What the database answers to a statement."""
        with translated(self._url), self._engine.connect() as connection:
            return connection.execute(statement).fetchall()

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool], order: Any = None) -> Sequence[Any]:
        """Rows of a table that meet conditions, each as it was written.

        Raises:
            LedgerError: naming the first that is not.
        """
        statement = table.select().where(*where)
        found = self.ask(statement if order is None else statement.order_by(order))
        for row in found:
            if not is_sound(table, row._mapping):
                name = ", ".join(str(row._mapping[column.name]) for column in table.primary_key.columns)
                raise LedgerError(
                    f"{self.where}: the ledger is damaged: {table.name} {name} is not as it was written"
                )
        return found

    def optional(self, table: sa.Table) -> Sequence[Any]:
        """All rows of a table that ledgers of earlier versions do not have."""
        return self.rows(table) if table.name in self._names() else ()

    def _parse(self, text: str) -> Any:
        with self._sound():
            return json.loads(text)

    def _record(self, kind: type[T], text: str) -> T:
        with self._sound():
            return from_plain(kind, json.loads(text))

    @contextmanager
    def _sound(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError):
            raise LedgerError(f"{self.where}: the ledger is damaged: a record cannot be read") from None


def _mark(shard: Shard, counts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "recorded": time.time(),
        "round": shard.round,
        "stage": shard.stage,
        "request": shard.request,
        "counts": dumps(counts),
        "seconds": float(seconds),
    }


def _filled(row: Evaluation, stored: Mapping[str, Any] | None) -> Evaluation:
    if stored is None:
        return row
    return replace(row, **{name: read_field(Evaluation, name, data) for name, data in stored.items()})
