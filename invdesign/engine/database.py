"""The database behind a ledger: its tables, its file or server, its lock, and the meaning of its errors."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.errors import LedgerError, OutputError

if TYPE_CHECKING:
    import sqlalchemy as sa


_DISK = ("disk is full", "disk i/o error", "readonly database", "unable to open", "read-only", "no space left")


_BUSY = ("database is locked", "database table is locked")


@dataclass(frozen=True)
class Tables:
    """The tables of a ledger."""

    metadata: sa.MetaData
    run: sa.Table
    requests: sa.Table
    candidates: sa.Table
    failures: sa.Table
    results: sa.Table
    relaxations: sa.Table
    shards: sa.Table
    feedback: sa.Table
    extensions: sa.Table


def tables() -> Tables:
    """The tables of a ledger, as SQLAlchemy describes them."""
    import sqlalchemy as sa
    from sqlalchemy import Column, Float, Integer, String, Table, Text

    meta = sa.MetaData()

    def key(name: str, index: bool = False) -> Column[str]:
        return Column(name, String(64), primary_key=not index, index=index)

    def text(name: str) -> Column[str]:
        return Column(name, Text, nullable=False)

    return Tables(
        meta,
        Table("run", meta, key("key"), text("value")),
        Table(
            "requests",
            meta,
            key("id"),
            Column("round", Integer, index=True),
            Column("position", Integer),
            text("data"),
        ),
        Table(
            "candidates",
            meta,
            key("id"),
            key("request", index=True),
            text("generator"),
            text("parents"),
            text("crystal"),
        ),
        Table("failures", meta, key("id"), key("request", index=True), text("stage"), text("reason")),
        Table(
            "results",
            meta,
            key("candidate"),
            key("stage"),
            Column("round", Integer, index=True),
            Column("request", String(64)),
            text("data"),
        ),
        Table(
            "relaxations", meta, key("candidate"), Column("round", Integer, index=True), text("kind"), text("data")
        ),
        Table(
            "shards",
            meta,
            Column("round", Integer, primary_key=True, autoincrement=False),
            key("stage"),
            key("request"),
            text("counts"),
            Column("seconds", Float, nullable=False),
        ),
        Table(
            "feedback",
            meta,
            Column("number", Integer, primary_key=True, autoincrement=False),
            key("candidate"),
            text("data"),
        ),
        Table("extensions", meta, Column("round", Integer, primary_key=True, autoincrement=False), text("data")),
    )


def path_of(where: str | Path) -> Path | None:
    """The file that is meant, or None for a server's URL."""
    text = str(where)
    if text.startswith("sqlite:///"):
        return Path(text.removeprefix("sqlite:///"))
    return None if "://" in text else Path(text)


def remove(path: Path, only_companions: bool = False) -> None:
    """Delete an SQLite file and the files that SQLite keeps beside it, or only those."""
    for suffix in ("-wal", "-shm") if only_companions else ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


def check_file(path: Path) -> None:
    """Check that a file is an SQLite database.

    Raises:
        LedgerError: if it is missing, unreadable or something else.
    """
    if not path.exists():
        raise LedgerError(f"{path}: there is no ledger")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be read ({error.strerror})") from None
    if start != b"SQLite format 3\x00":
        raise LedgerError(f"{path}: not a ledger of invdesign, or truncated")


def connect(where: str, path: Path | None) -> sa.Engine:
    """An SQLAlchemy engine for a file (`path`) or a server (`where`, an URL)."""
    import sqlalchemy as sa
    from sqlalchemy import event

    if path is None:
        with translated(where):
            return sa.create_engine(where)
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))

    @event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=20000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


class Lock:
    """Held as long as a run is alive; the operating system (or the server) drops it with the process."""

    def __init__(self, held: Any) -> None:
        self._held = held

    @classmethod
    def on_file(cls, path: Path) -> Lock:
        """Lock `.<name>.lock` beside a file: a database of SQLite's own, whose locks work on every system and
        filesystem that SQLite works on and are not inherited by worker processes.
        """
        connection = None
        try:
            beside = path.with_name(f".{path.name}.lock")
            connection = sqlite3.connect(beside, timeout=0.0, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise as_ledger_error(str(path), error) from None
        return cls(connection)

    @classmethod
    def on_server(cls, engine: sa.Engine, name: str) -> Lock | None:
        """Take PostgreSQL's advisory lock; other servers have none."""
        if engine.dialect.name != "postgresql":
            return None
        import sqlalchemy as sa

        with translated(name):
            connection = engine.connect()
            taken = connection.execute(sa.text("SELECT pg_try_advisory_lock(hashtext(current_schema()))")).scalar()
        if not taken:
            connection.close()
            raise LedgerError(f"{name}: another process is running on this ledger")
        return cls(connection)

    def release(self) -> None:
        """Let go."""
        self._held.close()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise errors of the database as those of invdesign."""
    from sqlalchemy import exc

    try:
        yield
    except exc.NoSuchModuleError as error:
        raise LedgerError(f"{where}: no such kind of database ({error})") from None
    except exc.DBAPIError as error:
        raise as_ledger_error(where, error.orig or error) from None
    except sqlite3.Error as error:
        raise as_ledger_error(where, error) from None


def as_ledger_error(where: str, error: BaseException) -> LedgerError | OutputError:
    """The error of invdesign that stands for an error of the database."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if any(word in text.lower() for word in _DISK):
        return OutputError(f"{where}: cannot write the ledger: {text}; what was recorded is kept")
    if any(word in text.lower() for word in _BUSY):
        return LedgerError(f"{where}: another process is running on this ledger")
    return LedgerError(f"{where}: the ledger is damaged or truncated ({text})")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an `OutputError` where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
