"""The database behind a ledger: its tables, the checksums of rows, its file, its lock, and its errors in words."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invdesign.engine import server
from invdesign.errors import LedgerError, OutputError

if TYPE_CHECKING:
    import sqlalchemy as sa


_DISK = ("disk is full", "disk i/o error", "readonly database", "unable to open", "read-only", "no space left")


_BUSY = ("database is locked", "database table is locked")

CHECKSUM = "checksum"
"""The column that holds the checksum of the other columns of its row."""


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
    from sqlalchemy import Column, Float, Integer, String, Text

    meta = sa.MetaData()

    def key(name: str, index: bool = False) -> Column[str]:
        return Column(name, String(64), primary_key=not index, index=index)

    def text(name: str) -> Column[str]:
        return Column(name, Text, nullable=False)

    def number(name: str) -> Column[int]:
        return Column(name, Integer, primary_key=True, autoincrement=False)

    def in_round() -> Column[int]:
        return Column("round", Integer, index=True)

    def recorded() -> Column[float]:
        """Seconds since 1970, UTC."""
        return Column("recorded", Float)

    def table(name: str, *columns: Column[Any]) -> sa.Table:
        return sa.Table(name, meta, *columns, Column(CHECKSUM, String(16)))

    return Tables(
        meta,
        table("run", key("key"), text("value")),
        table("requests", key("id"), in_round(), Column("position", Integer), text("data")),
        table(
            "candidates",
            key("id"),
            key("request", index=True),
            text("generator"),
            text("parents"),
            text("crystal"),
        ),
        table("failures", key("id"), key("request", index=True), text("stage"), text("reason")),
        table("results", key("candidate"), key("stage"), in_round(), Column("request", String(64)), text("data")),
        table("relaxations", key("candidate"), in_round(), text("kind"), text("data"), recorded()),
        table(
            "shards",
            number("round"),
            key("stage"),
            key("request"),
            text("counts"),
            Column("seconds", Float, nullable=False),
            recorded(),
        ),
        table("feedback", number("number"), key("candidate"), text("data")),
        table("extensions", number("round"), text("data")),
    )


def checksum(table: sa.Table, row: Mapping[str, Any]) -> str:
    """The checksum of a row: 64 bits of BLAKE2 of its other values, in the order of the columns.

    Raises:
        TypeError, ValueError: if a value is not of a kind that a ledger holds.
    """
    values = [row.get(column.name) for column in table.columns if column.name != CHECKSUM]
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def is_sound(table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Whether a row is as it was written."""
    try:
        return bool(row[CHECKSUM] == checksum(table, row))
    except (TypeError, ValueError):
        return False


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
    try:
        if not path.exists():
            raise LedgerError(f"{path}: there is no ledger")
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
            return server.connect(where)
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
    def on_server(cls, engine: sa.Engine, where: str) -> Lock | None:
        """Take PostgreSQL's advisory lock; other servers have none."""
        with translated(where):
            held = server.lock(engine)
        if held is False:
            raise LedgerError(f"{server.shown(where)}: another process is running on this ledger")
        return None if held is None else cls(held)

    def release(self) -> None:
        """Let go. A server that is gone has let go already."""
        with contextlib.suppress(Exception):
            self._held.close()


def is_held(path: Path) -> bool:
    """Whether a process of this machine holds the lock of a ledger's file."""
    beside = path.with_name(f".{path.name}.lock")
    if not beside.exists():
        return False
    try:
        with contextlib.closing(
            sqlite3.connect(f"{beside.absolute().as_uri()}?mode=ro", timeout=0.0, uri=True)
        ) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        return any(word in str(error).lower() for word in _BUSY)
    return False


def is_running(where: str | Path) -> bool:
    """Whether a process is running on a ledger: of this machine for a file, of any for a server."""
    path = path_of(where)
    if path is not None:
        return is_held(path)
    engine = connect(str(where), None)
    try:
        with translated(str(where)):
            return server.is_locked(engine)
    finally:
        engine.dispose()


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise errors of the database as those of invdesign."""
    from sqlalchemy import exc

    try:
        yield
    except (exc.NoSuchModuleError, exc.ArgumentError, ModuleNotFoundError) as error:
        raise server.wrong_url(where, error) from None
    except exc.DBAPIError as error:
        raise as_ledger_error(where, error.orig or error) from None
    except (exc.SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:
        raise as_ledger_error(where, error) from None


def as_ledger_error(where: str, error: BaseException) -> LedgerError | OutputError:
    """The error of invdesign that stands for an error of the database."""
    if path_of(where) is None:
        return server.as_ledger_error(where, error)
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
