"""What an application wants to send, checked before it is kept.

What cannot be written would wait in the outbox for ever, and all others behind it.
"""

import re
from collections.abc import Iterable
from typing import Any

from skyeim_ws.client.rules import SkyeError
from skyeim_ws.contract.names import MAX_CONTENT

MAX_GROUP_ID = 64

_MSG_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


def frame_of(
    content: str,
    *,
    to: int | None,
    group_id: str | None,
    content_type: int,
    at_user_ids: Iterable[int],
    msg_id: str,
) -> tuple[str, dict[str, Any]]:
    """Return type and `data` of the frame; raises SkyeError."""
    text = content if isinstance(content, str) else ""
    if not 1 <= len(text) <= MAX_CONTENT or _HALF_A_CHARACTER.search(text):
        raise SkyeError("invalid", f"content: 1 to {MAX_CONTENT} characters are wanted")
    if not isinstance(msg_id, str) or not _MSG_ID.fullmatch(msg_id):
        raise SkyeError("invalid", "msg_id: it is malformed")
    mentions = list(at_user_ids)
    if not all(isinstance(each, int) for each in (content_type, *mentions)):
        raise SkyeError("invalid", "content_type, at_user_ids: integers are wanted")
    data = target_of(to, group_id) | {"content": content, "contentType": content_type}
    data |= {"atUserIds": mentions, "msgId": msg_id} if mentions else {"msgId": msg_id}
    return "chat" if group_id is None else "group_chat", data


def target_of(to: int | None, group_id: str | None) -> dict[str, Any]:
    """Return the field that names a user or a group; raises SkyeError."""
    if (to is None) == (group_id is None):
        raise SkyeError("invalid", "either to or group_id is wanted")
    if to is not None:
        if not isinstance(to, int):
            raise SkyeError("invalid", "to: the id of a user is wanted")
        return {"toUserId": to}
    if not isinstance(group_id, str) or not 1 <= len(group_id) <= MAX_GROUP_ID:
        raise SkyeError("invalid", f"group_id: 1 to {MAX_GROUP_ID} characters are wanted")
    return {"groupId": group_id}
