"""What MySQL and MariaDB need: an engine, its session, and which of its errors pass by."""

from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from skyeim_ws.services.data_source import DataSourceError

CONNECTIONS = 10
"""Connections in the pool; more transactions wait."""

RECYCLE = 1800
"""Seconds after which an idle connection is replaced, well before servers drop it."""

LOCK_DEADLINE = 5.0
"""Seconds to wait for a connection, and for a row that another transaction has locked."""

_DEADLOCK, _LOCK_TIMEOUT = 1213, 1205

_QUERY = {"charset", "unix_socket"} | {
    f"ssl_{name}" for name in ("ca", "capath", "cert", "cipher", "key", "check_hostname")
}

# A session does not depend on how the server is set up: times are UTC, and what does not fit is
# refused, not cut off. Without NO_BACKSLASH_ESCAPES and ANSI_QUOTES the driver's quoting is right.
_SESSION = (
    "SET time_zone = '+00:00', "
    "sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
    f"innodb_lock_wait_timeout = {LOCK_DEADLINE:.0f}"
)


def mysql_engine(url: URL, **options: Any) -> AsyncEngine:
    """Return an engine whose connections are tried before they are lent; it opens none yet.

    Raises DataSourceError where the driver is not installed.
    """
    # go-zero's DSNs carry options of Go's driver, which asyncmy would trip over.
    url = url.difference_update_query(url.query.keys() - _QUERY)
    if "poolclass" not in options:
        options |= {"pool_size": CONNECTIONS, "max_overflow": 0, "pool_timeout": LOCK_DEADLINE}
    try:
        return create_async_engine(
            url,
            # An error text would repeat the parameters, and so the content of messages.
            hide_parameters=True,
            pool_recycle=RECYCLE,
            pool_pre_ping=True,
            # A retry after a lost race must see the winner's row. Whatever is read in order to be
            # written is locked by FOR UPDATE, so nothing more is needed against lost updates.
            isolation_level="READ COMMITTED",
            connect_args={
                "charset": "utf8mb4",
                "connect_timeout": LOCK_DEADLINE,
                "init_command": _SESSION,
            },
            **options,
        )
    except ModuleNotFoundError as error:
        raise DataSourceError(f"MySQL needs the package {error.name}: skyeim-ws[mysql]") from error


def is_deadlock(error: BaseException) -> bool:
    """Say whether the transaction was undone in favour of another; a retry may succeed."""
    orig = error.orig if isinstance(error, DBAPIError) else None
    arguments: tuple[object, ...] = getattr(orig, "args", ())
    return bool(arguments) and arguments[0] in (_DEADLOCK, _LOCK_TIMEOUT)


def is_lost(error: BaseException) -> bool:
    """Say whether the connection broke; nobody knows whether a commit on it has happened."""
    return isinstance(error, DBAPIError) and error.connection_invalidated
