"""What a migration would do to a database: its SQL, with nothing executed but what reads."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, StaticPool, create_engine, event

from skyeim_ws.services.data_source import parse_data_source
from skyeim_ws.services.migrations import run
from skyeim_ws.services.mysql import mysql_engine

_READS = re.compile(r"\s*(SELECT|PRAGMA|SHOW|DESC|DESCRIBE|SET|WITH)\b", re.IGNORECASE)
_NOTHING = {"sqlite": "SELECT 1 WHERE 1 = 0"}
_NOTHING_ELSEWHERE = "SELECT 1 FROM DUAL WHERE 1 = 0"
"""Takes the place of what would change something; it returns rows, as an INSERT may have to."""


async def planned(data_source: str) -> list[str]:
    """Return the statements by which the services would bring the database up to date.

    Each revision is asked what it does to the tables as they are. Raises DataSourceError,
    SchemaError, SQLAlchemyError, OSError.
    """
    url = parse_data_source(data_source)
    if url.get_backend_name() == "sqlite":
        engine = _sqlite(url)
        try:
            with engine.connect() as connection:
                return _plan(connection)
        finally:
            engine.dispose()
    migrating = mysql_engine(url, poolclass=NullPool)
    try:
        async with migrating.connect() as connection:
            return await connection.run_sync(_plan)
    finally:
        await migrating.dispose()


def _sqlite(url: URL) -> Engine:
    """Return an engine that only reads; a file that is not there yet is an empty database."""
    path = Path(str(url.database))
    creator: Callable[[], Any] = (
        (lambda: sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True))
        if path.exists()
        else (lambda: sqlite3.connect(":memory:"))
    )
    return create_engine("sqlite+pysqlite://", creator=creator, poolclass=StaticPool)


def _plan(connection: Connection) -> list[str]:
    statements: list[str] = []

    nothing = _NOTHING.get(connection.dialect.name, _NOTHING_ELSEWHERE)

    def note(
        _connection: Connection,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        _many: bool,
    ) -> tuple[str, Any]:
        if _READS.match(statement):
            return statement, parameters
        statements.append(statement.strip())
        return nothing, ()

    # Alembic counts the rows that its note of the version has changed.
    connection.dialect.supports_sane_rowcount = False
    event.listen(connection, "before_cursor_execute", note, retval=True)
    run(connection)
    return statements
