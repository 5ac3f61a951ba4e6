"""A ledger on a database server: its URL without the password, one schema for each run, its lock, its errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from invdesign.errors import InputError, LedgerError, MissingDependencyError, OutputError

if TYPE_CHECKING:
    import sqlalchemy as sa

SCHEMA = "schema"
"""Key in the query of an URL: the schema of the run, so that one database holds many."""
SECRET = ("password", "passfile", "sslpassword")
"""Keys in the query of an URL that are not shown."""
EXTRAS = {"psycopg": "postgresql"}
"""Driver to the extra that brings it."""
_KEY = "hashtext('invdesign ' || coalesce(current_schema(), ''))::bigint"
"""The number by which PostgreSQL knows the lock of a schema."""
_FULL = ("no space left", "disk full", "could not extend file")


def shown(where: str) -> str:
    """An URL without its password, as it may be printed and stored.

    Raises:
        LedgerError: if it is no URL.
    """
    url = _parsed(where)._replace(password=None).difference_update_query(SECRET)
    return str(url.render_as_string(hide_password=True))


def connect(where: str) -> sa.Engine:
    """An engine for an URL; connections see the schema that it names.

    Raises:
        LedgerError: if it is no URL, or names a schema of a database that has none.
    """
    import sqlalchemy as sa

    url = _parsed(where)
    name = schema_of(where)
    if name is None:
        return sa.create_engine(url, pool_pre_ping=True)
    if url.get_backend_name() != "postgresql":
        raise LedgerError(f"{shown(where)}: only PostgreSQL has schemas; leave {SCHEMA} out of the URL")
    url = url.difference_update_query([SCHEMA]).update_query_dict({"options": f"-csearch_path={name}"})
    return sa.create_engine(url, pool_pre_ping=True)


def schema_of(where: str) -> str | None:
    """The schema that an URL names.

    Raises:
        InputError: if the name is not valid.
    """
    name = _parsed(where).query.get(SCHEMA)
    if name is not None and (not isinstance(name, str) or not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name)):
        raise InputError(SCHEMA, name, "small letters, digits and _, at most 63, no digit first")
    return name


def with_schema(where: str, run: str) -> str:
    """The URL with a schema for a run, if it is PostgreSQL's and names none.

    Args:
        where: the URL.
        run: name of the run, such as that of its folder.
    """
    url = _parsed(where)
    if url.get_backend_name() != "postgresql" or SCHEMA in url.query:
        return where
    name = re.sub(r"[^a-z0-9_]+", "_", run.lower()).strip("_")[:58]
    return str(url.update_query_dict({SCHEMA: f"run_{name}"}).render_as_string(hide_password=False))


def make_schema(engine: sa.Engine, where: str) -> None:
    """Make the schema that an URL names, if it is not there."""
    import sqlalchemy as sa

    name = schema_of(where)
    if name is not None:
        with engine.begin() as connection:
            connection.execute(sa.schema.CreateSchema(name, if_not_exists=True))


def drop_schema(where: str) -> None:
    """Remove a run from a server: its schema and all that is in it.

    Raises:
        LedgerError: if the URL names none.
    """
    import sqlalchemy as sa

    name = schema_of(where)
    if name is None:
        raise LedgerError(f"{shown(where)}: the URL names no schema; remove the tables of the run yourself")
    engine = connect(where)
    try:
        with engine.begin() as connection:
            connection.execute(sa.schema.DropSchema(name, cascade=True, if_exists=True))
    finally:
        engine.dispose()


class ServerLock:
    """PostgreSQL's advisory lock on the schema, held by a connection of its own."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def close(self) -> None:
        """End the connection, not only hand it back: the lock lives as long as it does."""
        self._connection.detach()
        self._connection.close()


def lock(engine: sa.Engine) -> ServerLock | Literal[False] | None:
    """Lock the schema of an engine: False if another holds it, None where the server knows no such lock."""
    if engine.dialect.name != "postgresql":
        return None
    import sqlalchemy as sa

    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    if not connection.execute(sa.text(f"SELECT pg_try_advisory_lock({_KEY})")).scalar():
        connection.close()
        return False
    return ServerLock(connection)


def is_locked(engine: sa.Engine) -> bool:
    """Whether some process holds the lock of an engine's schema; asking takes no lock."""
    if engine.dialect.name != "postgresql":
        return False
    import sqlalchemy as sa

    held = sa.text(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
        f" AND ((l.classid::bigint << 32) | l.objid::bigint) = {_KEY}"
    )
    with engine.connect() as connection:
        return bool(connection.execute(held).scalar())


def as_ledger_error(where: str, error: BaseException) -> LedgerError | OutputError:
    """The error of invdesign that stands for an error of a server."""
    from sqlalchemy.exc import OperationalError

    text = _without_password(str(error).strip(), where).splitlines()
    line = text[0] if text else type(error).__name__
    if any(word in line.lower() for word in _FULL):
        return OutputError(f"{shown(where)}: cannot write the ledger: {line}; what was recorded is kept")
    lost = isinstance(error, OperationalError) or type(error).__name__ in ("OperationalError", "InterfaceError")
    if lost or type(error).__name__ in (
        "AdminShutdown",
        "CrashShutdown",
        "CannotConnectNow",
        "ConnectionException",
    ):
        hint = "; give the password in PGPASSWORD or ~/.pgpass" if "password" in line else ""
        return LedgerError(f"{shown(where)}: the database server cannot be reached ({line}){hint}")
    return LedgerError(f"{shown(where)}: the database server refuses ({line})")


def wrong_url(where: str, error: Exception) -> LedgerError | MissingDependencyError:
    """What is wrong with an URL for which no engine can be made."""
    if isinstance(error, ModuleNotFoundError):
        return MissingDependencyError(str(error.name), EXTRAS.get(str(error.name)))
    return LedgerError(f"{shown(where)}: no such kind of database ({_without_password(str(error), where)})")


def _parsed(where: str) -> Any:
    import sqlalchemy as sa

    try:
        return sa.make_url(where)
    except (sa.exc.ArgumentError, ValueError):
        kind = where.partition("://")[0]
        example = "postgresql+psycopg://USER@HOST/DATABASE"
        raise LedgerError(f"{kind}://…: not the URL of a database; allowed: a URL such as {example}") from None


def _without_password(text: str, where: str) -> str:
    """A message in which a password of the URL is not shown."""
    url = _parsed(where)
    secrets = [str(url.password or ""), *(str(url.query.get(key, "")) for key in SECRET)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
