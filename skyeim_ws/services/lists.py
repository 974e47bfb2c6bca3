"""The lists of many users in one read: each of them whole, as many as there is room for."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_

from skyeim_ws.contract.names import MAX_USERS
from skyeim_ws.services.checks import check_users
from skyeim_ws.services.errors import invalid

MAX_ROWS = 100_000
"""Of one answer, which stays below the 4 MB that a client of gRPC takes by default."""


def check_asked(user_ids: Sequence[int]) -> None:
    """Refuse a question about nobody, too many, or ids that cannot be a user's."""
    if not 0 < len(user_ids) <= MAX_USERS:
        raise invalid(f"ask for 1 to {MAX_USERS} users")
    check_users(*user_ids)


def lists_of(
    connection: Connection,
    rows: Select[Any],
    owner: ColumnElement[int],
    user_ids: Sequence[int],
    *where: ColumnElement[bool],
) -> dict[int, list[Any]]:
    """Return user -> items; `rows` has pairs of `owner` and item.

    Users who have none are there, those for whom there is no room are not.
    """
    chosen = rows.where(and_(owner.in_(user_ids), *where)).order_by(owner).limit(MAX_ROWS + 1)
    found: dict[int, list[Any]] = {user_id: [] for user_id in user_ids}
    last = 0
    pairs = connection.execute(chosen).all()
    for last, item in pairs:
        found[last].append(item)
    if len(pairs) > MAX_ROWS:
        # The list of the last one may go on, and those behind have not begun.
        return {user_id: items for user_id, items in found.items() if user_id < last}
    return found
