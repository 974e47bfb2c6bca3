"""The members of groups: who is in, in what role, and what each role may do to whom.

Whoever changes a group locks its row first, so `member_count` and the limit hold under
concurrency, and a dismissed group changes no more.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import group_pb2
from skyeim_ws.services.db import chunks
from skyeim_ws.services.errors import RefusedError, denied, not_found
from skyeim_ws.services.tables import (
    ACCEPTED,
    ACTIVE,
    ADMIN,
    GROUP,
    MEMBER,
    PENDING,
    group_invitations,
    group_join_requests,
    group_members,
    group_seqs,
    groups,
    messages,
)


async def find_group(connection: AsyncConnection, group_id: str) -> Row[Any]:
    """Return the row of a group, dismissed or not."""
    found = await connection.execute(select(groups).where(groups.c.group_id == group_id))
    row = found.one_or_none()
    if row is None:
        raise _no_group()
    return row


async def lock_group(connection: AsyncConnection, group_id: str) -> Row[Any]:
    """Return the row of a group that may be changed, locked until the transaction ends."""
    found = await connection.execute(
        select(groups).where(groups.c.group_id == group_id).with_for_update()
    )
    row = found.one_or_none()
    if row is None or row.status != ACTIVE:
        raise _no_group()
    return row


async def find_member(connection: AsyncConnection, group_id: str, user_id: int) -> Row[Any] | None:
    """Return the row of a member, or None."""
    found = await connection.execute(select(group_members).where(_seat(group_id, user_id)))
    return found.one_or_none()


async def require_member(connection: AsyncConnection, group_id: str, user_id: int) -> Row[Any]:
    """Return the row of the caller; refuse who is not a member."""
    member = await find_member(connection, group_id, user_id)
    if member is None:
        raise denied(Reason.NOT_MEMBER, "you are not a member of this group")
    return member


async def require_reader(connection: AsyncConnection, group_id: str, user_id: int) -> Row[Any]:
    """Return the row of a group that the caller may see: a member, or user 0, a service."""
    group = await find_group(connection, group_id)
    if user_id != 0:
        await require_member(connection, group_id, user_id)
    return group


async def require_rank(
    connection: AsyncConnection, group_id: str, user_id: int, lowest: int
) -> Row[Any]:
    """Return the row of the caller; refuse who ranks below the role `lowest`."""
    member = await require_member(connection, group_id, user_id)
    if member.role > lowest:
        raise denied("role_too_low", "your role in this group does not allow this")
    return member


async def require_below(
    connection: AsyncConnection, group_id: str, operator: int, member_id: int
) -> Row[Any]:
    """Return the row of a member whom the operator, owner or admin, outranks."""
    caller = await require_rank(connection, group_id, operator, ADMIN)
    member = await find_member(connection, group_id, member_id)
    if member is None:
        raise not_found("member_not_found", "this user is not a member of the group")
    if member.role <= caller.role:
        raise denied("role_too_low", "this member does not rank below you")
    return member


async def add_members(
    connection: AsyncConnection, group: Row[Any], user_ids: Iterable[int]
) -> list[int]:
    """Add users to a locked group as far as there is room; return who was added, in order.

    What they had been asked, or had asked, about this group is thereby answered: an old
    invitation must not bring back somebody who was kicked later.
    """
    group_id = group.group_id
    present = set(
        await connection.scalars(
            select(group_members.c.user_id).where(group_members.c.group_id == group_id)
        )
    )
    room = max(group.max_members - len(present), 0)
    wanted = [user_id for user_id in dict.fromkeys(user_ids) if user_id > 0]
    added = [user_id for user_id in wanted if user_id not in present][:room]
    if not added:
        return []
    await connection.execute(
        insert(group_members),
        [{"group_id": group_id, "user_id": user_id, "role": MEMBER} for user_id in added],
    )
    for table, user in (
        (group_invitations, group_invitations.c.invitee_id),
        (group_join_requests, group_join_requests.c.user_id),
    ):
        for some in chunks(added):
            await connection.execute(
                update(table)
                .where(table.c.group_id == group_id, user.in_(some), table.c.status == PENDING)
                .values(status=ACCEPTED)
            )
    await _count_members(connection, group_id)
    return added


async def update_member(
    connection: AsyncConnection, group_id: str, user_id: int, **values: int
) -> None:
    """Set columns of a member's row."""
    await connection.execute(update(group_members).where(_seat(group_id, user_id)).values(**values))


async def remove_member(connection: AsyncConnection, group_id: str, user_id: int) -> None:
    """Remove a member from a locked group."""
    await connection.execute(delete(group_members).where(_seat(group_id, user_id)))
    await _count_members(connection, group_id)


async def move_read_mark(
    connection: AsyncConnection, group_id: str, user_id: int, seq: int
) -> None:
    """Move a read mark forward, at most to the group's last message; never back."""
    reached = min(seq, await _last_seq(connection, group_id))
    await connection.execute(
        update(group_members)
        .where(_seat(group_id, user_id), group_members.c.read_seq < reached)
        .values(read_seq=reached)
    )


def member_info(row: Row[Any]) -> group_pb2.MemberInfo:
    """Return a member as the RPCs show it."""
    return group_pb2.MemberInfo(
        id=row.id,
        group_id=row.group_id,
        user_id=row.user_id,
        role=row.role,
        nickname=row.nickname,
        mute=row.mute,
        joined_at=row.joined_at,
        read_seq=row.read_seq,
    )


def _seat(group_id: str, user_id: int) -> ColumnElement[bool]:
    return and_(group_members.c.group_id == group_id, group_members.c.user_id == user_id)


async def _count_members(connection: AsyncConnection, group_id: str) -> None:
    present = (
        select(func.count())
        .select_from(group_members)
        .where(group_members.c.group_id == group_id)
        .scalar_subquery()
    )
    await connection.execute(
        update(groups).where(groups.c.group_id == group_id).values(member_count=present)
    )


async def _last_seq(connection: AsyncConnection, group_id: str) -> int:
    given = await connection.scalar(
        select(group_seqs.c.seq).where(group_seqs.c.group_id == group_id)
    )
    if given is None:
        given = await connection.scalar(
            select(func.max(messages.c.seq)).where(
                messages.c.group_id == group_id, messages.c.chat_type == GROUP
            )
        )
    return given or 0


def _no_group() -> RefusedError:
    return not_found(Reason.GROUP_NOT_FOUND, "there is no such group, or it was dismissed")
