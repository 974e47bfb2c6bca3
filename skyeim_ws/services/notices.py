"""What the events of our services say, and to whom: fields that clients read, as pushes."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from skyeim_ws.services.outbox import Push
from skyeim_ws.services.tables import ACCEPTED, unix_now

Notice = dict[str, object]

_ACTIONS = {True: "accepted", False: "rejected"}


def asked(request_id: int, name: str, created_at: int, **fields: object) -> Notice:
    """Return the data of a request or invitation; `name` is our own name of its id."""
    return {"id": request_id, name: request_id, **fields, "createdAt": created_at}


def answered(request_id: int, name: str, status: int, **fields: object) -> Notice:
    """Return the data of the answer to one, given now; `status` is ACCEPTED or REFUSED."""
    return {
        "id": request_id,
        name: request_id,
        **fields,
        "status": status,
        "action": _ACTIONS[status == ACCEPTED],
        "handledAt": unix_now(),
    }


def about_member(group_id: str, operator: int, user_id: int, **fields: object) -> Notice:
    """Return the data of an event about one member of a group."""
    return {
        "groupId": group_id,
        "operatorId": operator,
        "userId": user_id,
        "memberId": user_id,
        **fields,
    }


def invited(group_id: str, inviter: int, member_ids: list[int]) -> Notice:
    """Return the data of an event about new members of a group."""
    return {
        "groupId": group_id,
        "operatorId": inviter,
        "inviterId": inviter,
        "memberIds": member_ids,
    }


def updated(group: Row[Any], operator: int, changed: Mapping[str, object]) -> Notice:
    """Return the data of an event about a changed group; `changed` are columns of its row."""
    names = {"max_members": "maxMembers"}
    return {
        "groupId": group.group_id,
        "operatorId": operator,
        "name": group.name,
        **{names.get(column, column): value for column, value in changed.items()},
        "group": group_json(group),
    }


def group_json(row: Row[Any]) -> Notice:
    """Return a group as events show it."""
    return {
        "groupId": row.group_id,
        "name": row.name,
        "avatar": row.avatar,
        "ownerId": row.owner_id,
        "description": row.description,
        "maxMembers": row.max_members,
        "memberCount": row.member_count,
        "status": row.status,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
    }


def to_group(
    group_id: str,
    event_type: str,
    data: Mapping[str, object],
    *,
    but: Sequence[int] = (),
) -> Push:
    """Return the push of an event to all online members of a group, save the users in `but`."""
    push = {"type": "group", "groupId": group_id, "eventType": event_type, "eventData": data}
    return push | {"exceptUserIds": list(but)} if but else push


def to_user(user_id: int, notification_type: str, data: Mapping[str, object]) -> Push:
    """Return the push of a notification to one user."""
    return to_users([user_id], notification_type, data)


def to_users(user_ids: Sequence[int], notification_type: str, data: Mapping[str, object]) -> Push:
    """Return the pushes of a notification to several users, one after the other."""
    return {
        "type": "user",
        "userIds": list(user_ids),
        "notificationType": notification_type,
        "data": data,
    }
