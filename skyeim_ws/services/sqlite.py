"""What SQLite needs: an engine, its pragmas, its way to begin a transaction, an index for pairs."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, event

LOCK_DEADLINE = 5.0
"""Seconds to wait for a connection of the pool, and for another process that has the file."""

_PAIRS = re.compile(r"IN \(VALUES ((?:\(\?, \?\)(?:, )?)+)\)")
_T = TypeVar("_T")


def sqlite_engine(create: Callable[..., _T], url: URL, pool_size: int) -> _T:
    """Return an engine that `create` makes, plain or async; it opens no connection yet."""
    return create(
        url,
        # An error text would repeat the parameters, and so the content of messages.
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=LOCK_DEADLINE,
    )


def prepare(engine: Engine, *, writes: bool) -> None:
    """Have the connections of an engine behave; one that writes begins as a writer."""
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "before_cursor_execute", _use_index_for_pairs, retval=True)
    if writes:
        event.listen(engine, "begin", _begin_immediate)


def _prepare_connection(connection: Any, _record: object) -> None:
    # Or the driver would begin transactions at moments of its own choice.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA busy_timeout = {LOCK_DEADLINE * 1000:.0f}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _use_index_for_pairs(
    _connection: Connection,
    _cursor: object,
    statement: str,
    parameters: Any,
    _context: object,
    _many: bool,
) -> tuple[str, Any]:
    # SQLite reads the whole table for `(a, b) IN (VALUES ...)`, which is how SQLAlchemy writes a
    # list of pairs, but uses the index on (a, b) if the same list is a subquery.
    if "IN (VALUES" in statement:
        statement = _PAIRS.sub(r"IN (SELECT * FROM (VALUES \1))", statement)
    return statement, parameters
