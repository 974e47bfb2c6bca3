"""What is read from, and marked in, the stored messages: plain functions on a connection.

Lists are bounded by number and by bytes, so that an answer always fits into a gRPC message.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    update,
)

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.names import EVERYONE
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services import errors
from skyeim_ws.services.db import chunks
from skyeim_ws.services.tables import (
    GROUP,
    PRIVATE,
    READ,
    RECALLED,
    UNREAD,
    group_members,
    group_seqs,
    groups,
    messages,
)

MAX_UNREAD = 10_000
MAX_FOUND = 100
"""Messages that one search returns, the newest."""

REPLY_BYTES = 3_500_000
"""Bytes of the messages in one answer; gRPC clients refuse more than 4 MiB unless told."""

_SCAN = 200
"""Messages fetched at a time where an answer may need many."""

Page = tuple[list[pb.MessageInfo], bool]
"""Messages, and whether there are more."""

_m = messages.c
INFO = select(
    _m.id,
    _m.msg_id,
    _m.from_user_id,
    _m.to_user_id,
    _m.content,
    _m.content_type,
    _m.status,
    _m.created_at,
    _m.chat_type,
    _m.group_id,
    _m.seq,
    _m.at_user_ids,
)
"""What is asked of a message; `info_of_row` reads a row of it."""


def private_page(
    connection: Connection, user_id: int, peer_id: int, before_id: int, limit: int
) -> Page:
    """Return the private messages between two users, newest first, below `before_id` if not 0."""
    between = or_(
        and_(_m.from_user_id == user_id, _m.to_user_id == peer_id),
        and_(_m.from_user_id == peer_id, _m.to_user_id == user_id),
    )
    statement = _before(INFO.where(between, _m.chat_type == PRIVATE), before_id)
    return _page(connection, statement.order_by(_m.id.desc()), limit)


def group_page(connection: Connection, group_id: str, before_id: int, limit: int) -> Page:
    """Return the messages of a group, newest first, below `before_id` if not 0."""
    statement = _before(INFO.where(_of_group(group_id)), before_id)
    return _page(connection, statement.order_by(_m.seq.desc(), _m.id.desc()), limit)


def mentions_page(
    connection: Connection, user_id: int, group_id: str, before_id: int, limit: int
) -> Page:
    """Return messages that mention the user or everyone, newest first.

    Of the group, or of all the user's groups if `group_id` is "".
    """
    # The text is "[1, 2]"; with every number between commas, one pattern finds it anywhere.
    numbers: ColumnElement[str] = _m.at_user_ids
    for old, new in ((" ", ""), ("[", ","), ("]", ",")):
        numbers = func.replace(numbers, old, new)
    mentioned = or_(numbers.like(f"%,{user_id},%"), numbers.like(f"%,{EVERYONE},%"))
    within = _of_group(group_id) if group_id else _of_joined_groups(user_id)
    statement = _before(INFO.where(within, _m.at_user_ids.is_not(None), mentioned), before_id)
    newest = (_m.seq.desc(), _m.id.desc()) if group_id else (_m.id.desc(),)
    return _page(connection, statement.order_by(*newest), limit)


def group_since(connection: Connection, group_id: str, seq: int, limit: int) -> Page:
    """Return the group's messages with a larger seq, ascending."""
    statement = INFO.where(_of_group(group_id), _m.seq > seq)
    return _page(connection, statement.order_by(_m.seq), limit)


def private_since(connection: Connection, user_id: int, after_id: int, limit: int) -> Page:
    """Return the private messages to the user with a larger id, ascending."""
    statement = INFO.where(_m.to_user_id == user_id, _m.chat_type == PRIVATE, _m.id > after_id)
    return _page(connection, statement.order_by(_m.id), limit)


def unread(connection: Connection, user_id: int, peer_id: int) -> list[pb.MessageInfo]:
    """Return the unread private messages to the user, from anyone if `peer_id` is 0; oldest first.

    At most 10,000, fewer if they are large.
    """
    statement = INFO.where(unread_by(user_id, peer_id)).order_by(_m.id)
    return _page(connection, statement, MAX_UNREAD)[0]


def unread_page(connection: Connection, user_id: int, after_id: int, skip: int, limit: int) -> Page:
    """Return the unread private messages to the user with a larger id, ascending.

    The first `skip` of them are left out.
    """
    # The ids alone are sorted: whole messages would cost several times as much.
    due = select(_m.id).where(unread_by(user_id, 0), _m.id > after_id)
    ids = due.order_by(_m.id).offset(skip).limit(limit + 1).subquery()
    return _page(connection, INFO.join(ids, ids.c.id == _m.id).order_by(_m.id), limit)


def senders(connection: Connection, user_id: int, msg_ids: Sequence[str]) -> list[tuple[str, int]]:
    """Return those of the msg_ids that are private messages to the user, with who sent them."""
    to_user = select(_m.msg_id, _m.from_user_id).where(
        _m.to_user_id == user_id, _m.chat_type == PRIVATE
    )
    return [
        (msg_id, sender_id)
        for chunk in chunks(sorted(set(msg_ids)))
        for msg_id, sender_id in connection.execute(to_user.where(_m.msg_id.in_(chunk)))
    ]


def newest_seqs(connection: Connection, group_ids: Sequence[str]) -> dict[str, int]:
    """Return the last seq of each of the groups that has messages."""
    found: dict[str, int] = {}
    for chunk in chunks(sorted(set(group_ids))):
        counted = select(group_seqs.c.group_id, group_seqs.c.seq)
        found |= dict(iter(connection.execute(counted.where(group_seqs.c.group_id.in_(chunk)))))
    for chunk in chunks(sorted(set(group_ids).difference(found))):
        largest = select(_m.group_id, func.max(_m.seq)).group_by(_m.group_id)
        found |= dict(iter(connection.execute(largest.where(_m.group_id.in_(chunk)))))
    return found


def find(connection: Connection, msg_id: str) -> pb.MessageInfo | None:
    """Return the message with this msg_id, private or of a group; None if there is none."""
    row = connection.execute(INFO.where(_m.msg_id == msg_id)).first()
    return None if row is None else info_of_row(row)


def count_unread(connection: Connection, user_id: int, peer_id: int) -> int:
    """Return the number of unread private messages to the user, from anyone if `peer_id` is 0."""
    statement = select(func.count()).select_from(messages).where(unread_by(user_id, peer_id))
    return connection.execute(statement).scalar_one()


def has_unread(connection: Connection, user_id: int, peer_id: int) -> bool:
    """Tell whether there is any unread private message to the user, likewise."""
    any_unread = select(literal(1)).where(unread_by(user_id, peer_id)).limit(1)
    return connection.execute(any_unread).first() is not None


def mark_read(connection: Connection, user_id: int, peer_id: int, msg_ids: Sequence[str]) -> int:
    """Mark private messages to the user as read, all from the peer if none is named; their number.

    With `peer_id` 0 the messages are found by msg_id alone.
    """
    mark = update(messages).where(unread_by(user_id, peer_id)).values(status=READ)
    if not msg_ids:
        return connection.execute(mark).rowcount
    return sum(
        connection.execute(mark.where(_m.msg_id.in_(chunk))).rowcount
        for chunk in chunks(sorted(set(msg_ids)))
    )


def search(connection: Connection, user_id: int, keyword: str) -> list[pb.MessageInfo]:
    """Return the newest messages in the user's own conversations whose content has the keyword."""
    own = or_(
        and_(_m.chat_type == PRIVATE, or_(_m.from_user_id == user_id, _m.to_user_id == user_id)),
        _of_joined_groups(user_id),
    )
    statement = INFO.where(
        own, _m.content.contains(keyword, autoescape=True), _m.status != RECALLED
    )
    return _page(connection, statement.order_by(_m.id.desc()), MAX_FOUND)[0]


def infos_of(connection: Connection, message_ids: Sequence[int]) -> list[pb.MessageInfo]:
    """Return the messages with these ids, newest first."""
    found = INFO.where(_m.id.in_(message_ids)).order_by(_m.id.desc())
    return [info_of_row(row) for row in connection.execute(found)]


def require_member(connection: Connection, group_id: str, user_id: int) -> None:
    """Raise RefusedError if the user is not in the group; dismissed groups stay readable."""
    member = select(literal(1)).where(
        group_members.c.group_id == group_id, group_members.c.user_id == user_id
    )
    if connection.execute(member).first() is not None:
        return
    group = select(literal(1)).where(groups.c.group_id == group_id)
    if connection.execute(group).first() is None:
        raise errors.not_found(Reason.GROUP_NOT_FOUND, "there is no such group")
    raise errors.denied(Reason.NOT_MEMBER, "you are not a member of this group")


def unread_by(user_id: int, peer_id: int) -> ColumnElement[bool]:
    """Tell private messages that the user has not read, from anyone if `peer_id` is 0."""
    of_user = and_(_m.to_user_id == user_id, _m.status == UNREAD, _m.chat_type == PRIVATE)
    return and_(of_user, _m.from_user_id == peer_id) if peer_id else of_user


def _of_group(group_id: str) -> ColumnElement[bool]:
    return and_(_m.group_id == group_id, _m.chat_type == GROUP)


def _of_joined_groups(user_id: int) -> ColumnElement[bool]:
    joined = select(group_members.c.group_id).where(group_members.c.user_id == user_id)
    return and_(_m.chat_type == GROUP, _m.group_id.in_(joined))


def _before(statement: Select[Any], before_id: int) -> Select[Any]:
    return statement.where(_m.id < before_id) if before_id > 0 else statement


def _page(connection: Connection, statement: Select[Any], limit: int) -> Page:
    """Run the statement for at most `limit` messages and REPLY_BYTES bytes."""
    infos: list[pb.MessageInfo] = []
    size = 0
    # One more than wanted tells whether there are more.
    result = connection.execute(statement.limit(limit + 1))
    with result:
        for row in _rows(result.partitions(_SCAN)):
            info = info_of_row(row)
            size += info.ByteSize()
            if len(infos) == limit or (infos and size > REPLY_BYTES):
                return infos, True
            infos.append(info)
    return infos, False


def _rows(partitions: Iterable[Sequence[Any]]) -> Iterable[Any]:
    for partition in partitions:
        yield from partition


def info_of_row(row: Any) -> pb.MessageInfo:
    """Return the message in a row of `INFO`."""
    # NULL stands in columns that an existing database may leave empty.
    return pb.MessageInfo(
        id=row[0],
        msg_id=row[1],
        from_user_id=row[2],
        to_user_id=row[3] or 0,
        content=row[4] or "",
        content_type=row[5],
        status=row[6],
        created_at=row[7] or 0,
        chat_type=row[8],
        group_id=row[9] or "",
        seq=row[10] or 0,
        at_user_ids=_mentions(row[11]),
    )


def _mentions(text: str | None) -> list[int]:
    if not text:
        return []
    try:
        values = json.loads(text)
    except ValueError:
        return []
    return [value for value in values if type(value) is int] if isinstance(values, list) else []
