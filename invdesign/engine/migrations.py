"""Ledgers of earlier formats are brought to the present one, by Alembic's operations, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invdesign.engine.database import CHECKSUM, Tables, checksum, tables

if TYPE_CHECKING:
    import sqlalchemy as sa

FORMAT = 2
"""Version of the tables of a ledger: 1 without checksums and times, 2 with them."""
MANY = 2000


def migrate(connection: sa.Connection, old: int) -> None:
    """Bring the tables of a ledger from a format to the present one.

    Args:
        connection: in a transaction.
        old: the format that they have, from 1.
    """
    steps = {1: _add_checksums}
    for number in range(old, FORMAT):
        steps[number](connection, tables())
    t = tables().run
    row = {"key": "format", "value": str(FORMAT)}
    connection.execute(t.update().where(t.c.key == "format").values({**row, CHECKSUM: checksum(t, row)}))


def _add_checksums(connection: sa.Connection, t: Tables) -> None:
    """Format 1 to 2: a checksum of each row, and times of shards and relaxations (unknown of the old ones)."""
    import sqlalchemy as sa
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    change = Operations(MigrationContext.configure(connection))
    there = set(sa.inspect(connection).get_table_names())
    for table in (table for table in t.metadata.tables.values() if table.name in there):
        change.add_column(table.name, sa.Column(CHECKSUM, sa.String(16)))
        if "recorded" in table.columns:
            change.add_column(table.name, sa.Column("recorded", sa.Float))
        _fill(connection, table)


def _fill(connection: sa.Connection, table: sa.Table) -> None:
    """Write the checksums of all rows of a table."""
    import sqlalchemy as sa

    keys = list(table.primary_key.columns)
    where = sa.and_(*(column == sa.bindparam(f"old_{column.name}") for column in keys))
    update = table.update().where(where).values({CHECKSUM: sa.bindparam("new_checksum")})
    found = connection.execute(table.select()).mappings().fetchall()
    for start in range(0, len(found), MANY):
        rows = found[start : start + MANY]
        names = [{f"old_{column.name}": row[column.name] for column in keys} for row in rows]
        new = [{"new_checksum": checksum(table, row)} for row in rows]  # type: ignore[arg-type]
        connection.execute(update, [a | b for a, b in zip(names, new, strict=True)])
