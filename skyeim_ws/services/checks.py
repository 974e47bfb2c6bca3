"""What the Friend and the Group service ask of every request: valid fields, pages, one answer."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.services.db import Database
from skyeim_ws.services.errors import already_exists, invalid, not_found
from skyeim_ws.services.tables import ACCEPTED, PENDING, REFUSED

MESSAGE_LENGTH = 255
"""Characters in what a user writes to go with a request or an invitation."""

PAGE_SIZE = 20
MAX_PAGE_SIZE = 10_000
MAX_PAGE = 1_000_000


def check_users(*user_ids: int) -> None:
    """Refuse ids that cannot be a user's."""
    if min(user_ids) <= 0:
        raise invalid("user ids are larger than 0")


def check_text(field: str, text: str, limit: int) -> None:
    """Refuse a text of more than `limit` characters."""
    if len(text) > limit:
        raise invalid(f"{field} has more than {limit} characters")


def check_action(action: int) -> int:
    """Return the status that an answer to a request gives it: 1 accepts, 2 refuses."""
    if action not in (ACCEPTED, REFUSED):
        raise invalid("action is 1 to accept or 2 to refuse")
    return action


async def lock_pending(connection: AsyncConnection, table: Table, request_id: int) -> Row[Any]:
    """Return a request that nobody has answered yet, locked until the transaction ends."""
    found = await connection.execute(
        select(table).where(table.c.id == request_id).with_for_update()
    )
    row = found.one_or_none()
    if row is None:
        raise not_found("request_not_found", "there is no such request")
    if row.status != PENDING:
        raise already_exists("already_handled", "the request has been answered already")
    return row


async def insert_row(connection: AsyncConnection, table: Table, **values: object) -> int:
    """Insert a row and return the id that it was given."""
    inserted = await connection.execute(insert(table).values(**values))
    key: Any = inserted.inserted_primary_key
    return int(key[0])


async def page_for(
    database: Database, table: Table, where: ColumnElement[bool], request: Any
) -> tuple[list[Row[Any]], int]:
    """Return the page that the user of a request asks for, as `page_of` does."""
    check_users(request.user_id)
    return await database.run_read(
        lambda connection: page_of(connection, table, where, request.page, request.page_size)
    )


def page_of(
    connection: Connection, table: Table, where: ColumnElement[bool], page: int, size: int
) -> tuple[list[Row[Any]], int]:
    """Return one page of a table's rows, newest first, and how many there are on all pages.

    Pages count from 1; 0 stands for the default of `page` (1) and of `size` (20, at most 10,000).
    """
    if not 0 <= page <= MAX_PAGE or size < 0:
        raise invalid("page or page_size is out of range")
    limit = min(size or PAGE_SIZE, MAX_PAGE_SIZE)
    total = connection.scalar(select(func.count()).select_from(table).where(where))
    rows = connection.execute(
        select(table)
        .where(where)
        .order_by(table.c.id.desc())
        .limit(limit)
        .offset((max(page, 1) - 1) * limit)
    )
    return list(rows), total or 0
