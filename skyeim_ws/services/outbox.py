"""Keeps events in the database, in the transaction of the change, until they are told.

Whoever dies between the commit and the push loses none; what was pushed but not yet removed at
that moment is pushed once more.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.services.db import Database
from skyeim_ws.services.tables import unix_now, waiting_events

LIMIT = 100_000
"""Events that may wait; newer pushes are dropped then, with a log event."""

LIFETIME = 3 * 24 * 3600
"""Seconds that a push may wait; nobody needs to be told of a change that is older."""

BATCH = 100
"""Events that are read at a time."""

Push = Mapping[str, object]
"""The JSON body of a push call; `userIds` in place of `userId` stands for one call to each."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


class Waiting(NamedTuple):
    """An event that waits; `push` is None if only a cache is stale."""

    id: int
    push: Push | None
    created_at: int


class Backlog(NamedTuple):
    """What waits: the oldest events, how many there are at most, and the groups they made stale."""

    events: Sequence[Waiting]
    rows: int
    stale: Mapping[int, str]
    """By the id of the event, the group whose cached members it made stale."""


_EMPTY = Backlog((), 0, {})


async def add(connection: AsyncConnection, group_id: str, pushes: Sequence[Push]) -> None:
    """Write the events of a change in its transaction; the first names the stale group."""
    now = unix_now()
    texts = [_encoder.encode(push).decode() for push in pushes] or [""]
    rows = [
        {"group_id": "" if n else group_id, "push": text, "created_at": now}
        for n, text in enumerate(texts)
    ]
    await connection.execute(insert(waiting_events), rows)


async def read(database: Database) -> Backlog:
    """Return what waits."""
    return await database.run_read(_read)


async def remove(database: Database, event_id: int) -> None:
    """Remove an event that was told."""
    gone = delete(waiting_events).where(waiting_events.c.id == event_id)
    await database.run_write(lambda connection: connection.execute(gone))


async def shorten(database: Database, event_id: int, push: Push) -> None:
    """Keep of an event what is still to be told."""
    rest = _encoder.encode(push).decode()
    left = update(waiting_events).where(waiting_events.c.id == event_id).values(push=rest)
    await database.run_write(lambda connection: connection.execute(left))


def _read(connection: Connection) -> Backlog:
    table = waiting_events.c
    oldest = connection.execute(select(waiting_events).order_by(table.id).limit(BATCH)).all()
    if not oldest:
        return _EMPTY
    rows = len(oldest)
    if rows == BATCH:
        # Two look-ups of the index, where a count would read all rows. Gaps make it too large.
        newest = connection.scalar(select(func.max(table.id))) or 0
        rows = max(rows, newest - oldest[0].id + 1)
    named: Iterable[Any] = oldest
    if rows > len(oldest):
        # A stale cache does not wait for the pushes of other changes.
        named = connection.execute(
            select(table.id, table.group_id).where(table.group_id != "")
        ).all()
    stale = {row.id: row.group_id for row in named if row.group_id}
    return Backlog([_waiting(row) for row in oldest], rows, stale)


def _waiting(row: Row[Any]) -> Waiting:
    return Waiting(row.id, _decoder.decode(row.push) if row.push else None, row.created_at)
