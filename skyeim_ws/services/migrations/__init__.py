"""Brings the tables of a database up to date with Alembic, whoever has made them.

The first revision takes the database of the Go services as it is. A later one is a new file in
`versions`, with the same change in `tables.py`; it must be safe to run again after it broke off,
because MySQL commits each change of a table by itself.
"""

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, func, select

LOCK_DEADLINE = 600
"""Seconds to wait while another process migrates the same database."""

VERSION_TABLE = "ws_schema_version"

_LOCK_NAME_LENGTH = 64


class SchemaError(Exception):
    """The tables of a database cannot be brought up to date; the text is for the operator."""


def upgrade(connection: Connection) -> None:
    """Run the revisions that the database lacks, in the caller's transaction.

    Only one process at a time does so: on SQLite the transaction must have begun as a writer; on
    MySQL a named lock is taken, which ends with the connection. Raises SchemaError,
    SQLAlchemyError.
    """
    if connection.dialect.name != "sqlite":
        _lock(connection)
    run(connection)


def run(connection: Connection) -> None:
    """Run the revisions that the database lacks, whoever else does; raises SchemaError."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", f"{__package__.rpartition('.')[0]}:migrations")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        # Such as a revision that only a newer version of this program knows.
        raise SchemaError(f"the schema of the database does not fit: {error}") from error


def _lock(connection: Connection) -> None:
    database = connection.engine.url.database or ""
    name = f"skyeim_ws.{database}"[:_LOCK_NAME_LENGTH]
    if connection.scalar(select(func.get_lock(name, LOCK_DEADLINE))) != 1:
        raise SchemaError("another process has been migrating the database for too long")
