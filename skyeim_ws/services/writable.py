"""Whether the database takes writes; the health check of the services says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import Connection, update
from sqlalchemy.exc import SQLAlchemyError

from skyeim_ws.services.db import Database
from skyeim_ws.services.tables import group_seqs

INTERVAL = 5.0
"""Seconds from one look to the next."""

log = structlog.get_logger()

# No group has this id. A database that is read-only refuses the statement all the same.
_NOTHING = update(group_seqs).where(group_seqs.c.group_id == "").values(seq=group_seqs.c.seq)


@asynccontextmanager
async def watched(
    database: Database, tell: Callable[[bool], Awaitable[None]]
) -> AsyncIterator[None]:
    """Tell, inside the block, whenever the database begins or ceases to take writes."""
    watch = asyncio.create_task(_watch(database, tell))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait({watch})


async def _watch(database: Database, tell: Callable[[bool], Awaitable[None]]) -> None:
    writable = True
    while True:
        await asyncio.sleep(INTERVAL)
        try:
            await database.run_write(_try)
        except (SQLAlchemyError, TimeoutError) as error:
            if writable:
                reason = str(getattr(error, "orig", "")) or type(error).__name__
                log.error("database_takes_no_writes", error=reason)
            now = False
        else:
            if not writable:
                log.info("database_takes_writes")
            now = True
        if now is not writable:
            writable = now
            await tell(writable)


def _try(connection: Connection) -> None:
    connection.execute(_NOTHING)
