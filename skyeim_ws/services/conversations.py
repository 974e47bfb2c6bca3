"""The conversations of a user, newest first: the last message and what is unread of each."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, select, union_all

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services.history import REPLY_BYTES, infos_of, unread_by
from skyeim_ws.services.tables import GROUP, PRIVATE, group_members, messages

COUNTED = 1_000
"""Unread messages of a group that are counted one by one, the user's own left out; of more the
distance of the seqs says how many."""

_m = messages.c


def page(
    connection: Connection, user_id: int, before_id: int, limit: int
) -> tuple[list[pb.Conversation], bool]:
    """Return the conversations whose last message has an id below `before_id`, if not 0.

    Beside them, whether there are more. A message that comes meanwhile brings its conversation to
    the top, so no page shows one that an earlier page has shown.
    """
    last_ids = _last_ids(connection, user_id, before_id, limit + 1)
    conversations: list[pb.Conversation] = []
    size = 0
    for info in infos_of(connection, last_ids[:limit]):
        size += info.ByteSize()
        if conversations and size > REPLY_BYTES:
            break
        conversations.append(_conversation(user_id, info))
    _count_private(connection, user_id, conversations)
    _count_groups(connection, user_id, conversations)
    return conversations, len(conversations) < len(last_ids)


def _last_ids(connection: Connection, user_id: int, before_id: int, limit: int) -> Sequence[int]:
    """Return the ids of the last message of each conversation, newest first."""
    sent = select(_m.to_user_id.label("peer_id"), func.max(_m.id).label("last_id")).where(
        _m.from_user_id == user_id, _m.chat_type == PRIVATE
    )
    received = select(_m.from_user_id.label("peer_id"), func.max(_m.id).label("last_id")).where(
        _m.to_user_id == user_id, _m.chat_type == PRIVATE
    )
    both = union_all(sent.group_by(_m.to_user_id), received.group_by(_m.from_user_id)).subquery()
    private = select(func.max(both.c.last_id).label("last_id")).group_by(both.c.peer_id)
    of_group = (
        select(_m.id)
        .where(_m.group_id == group_members.c.group_id, _m.chat_type == GROUP)
        .order_by(_m.seq.desc(), _m.id.desc())
        .limit(1)
        .correlate(group_members)
        .scalar_subquery()
    )
    grouped = select(of_group.label("last_id")).where(group_members.c.user_id == user_id)
    every = union_all(private, grouped).subquery()
    statement = select(every.c.last_id).where(every.c.last_id.is_not(None))
    if before_id > 0:
        statement = statement.where(every.c.last_id < before_id)
    return connection.scalars(statement.order_by(every.c.last_id.desc()).limit(limit)).all()


def _conversation(user_id: int, info: pb.MessageInfo) -> pb.Conversation:
    if info.chat_type == GROUP:
        return pb.Conversation(group_id=info.group_id, last_message=info)
    peer_id = info.to_user_id if info.from_user_id == user_id else info.from_user_id
    return pb.Conversation(peer_id=peer_id, last_message=info)


def _count_private(
    connection: Connection, user_id: int, conversations: Sequence[pb.Conversation]
) -> None:
    shown = {each.peer_id: each for each in conversations if each.peer_id}
    if not shown:
        return
    statement = (
        select(_m.from_user_id, func.count())
        .where(unread_by(user_id, 0), _m.from_user_id.in_(shown))
        .group_by(_m.from_user_id)
    )
    for peer_id, count in connection.execute(statement):
        shown[peer_id].unread_count = count


def _count_groups(
    connection: Connection, user_id: int, conversations: Sequence[pb.Conversation]
) -> None:
    shown = {each.group_id: each for each in conversations if each.group_id}
    if not shown:
        return
    seats = group_members.c
    marks: Any = select(seats.group_id, seats.read_seq).where(
        seats.user_id == user_id, seats.group_id.in_(shown)
    )
    few = []
    for group_id, read_seq in connection.execute(marks):
        behind = max(shown[group_id].last_message.seq - (read_seq or 0), 0)
        shown[group_id].unread_count = behind
        if 0 < behind <= COUNTED:
            few.append(group_id)
    if not few:
        return
    counted = (
        select(_m.group_id, func.count(_m.id))
        .join(group_members, and_(seats.group_id == _m.group_id, seats.user_id == user_id))
        .where(
            _m.group_id.in_(few),
            _m.chat_type == GROUP,
            _m.seq > seats.read_seq,
            _m.from_user_id != user_id,
        )
        .group_by(_m.group_id)
    )
    for group_id in few:
        shown[group_id].unread_count = 0
    for group_id, count in connection.execute(counted):
        shown[group_id].unread_count = count
