"""What the client tells the application. Times are Unix seconds, as on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """Where a connection stands. `STOPPED` is final until `connect` is called again."""

    IDLE = "idle"
    TOKEN = "token"  # noqa: S105 - a state, waiting for one
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The connection has come to another state.

    With `WAITING`, `retry_in` is in seconds, and `code` and `reason` are those of the close. With
    `STOPPED`, `reason` is one of `closed`, `kicked`, `token_expired`, `unauthorized`, `refused`,
    `protocol_error`, `message_too_large`.
    """

    state: State
    code: int | None = None
    reason: str | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a connection, the first one or another one."""

    user_id: int
    online_count: int
    conn_id: str
    server: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message, private (`to_user_id`) or of a group (`group_id` and `seq`).

    `status` is there in messages over HTTP: 0 unread, 1 read, 2 recalled.
    """

    id: int
    msg_id: str
    from_user_id: int
    content: str
    content_type: int = 1
    created_at: int = 0
    to_user_id: int = 0
    group_id: str = ""
    seq: int = 0
    at_user_ids: tuple[int, ...] = ()
    status: int | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Message":
        """Return the message of a frame's `data`, or of an entry of a list over HTTP."""
        return cls(
            id=data["id"],
            msg_id=data["msgId"],
            from_user_id=data["fromUserId"],
            content=data["content"],
            content_type=data.get("contentType", 1),
            created_at=data.get("createdAt", 0),
            to_user_id=data.get("toUserId", 0),
            group_id=data.get("groupId", ""),
            seq=data.get("seq", 0),
            at_user_ids=tuple(data.get("atUserIds") or ()),
            status=data.get("status"),
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of ours is stored; `seq` is that of group messages."""

    msg_id: str
    id: int
    timestamp: int
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """A message of ours will not be stored."""

    msg_id: str
    reason: str
    code: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver's client has a private message of ours."""

    msg_id: str


@dataclass(frozen=True, slots=True)
class Read:
    """Messages of ours were read: those named, or all to `user_id` where `msg_ids` is None."""

    user_id: int | None
    msg_ids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody types, or no longer does."""

    user_id: int
    group_id: str
    active: bool


@dataclass(frozen=True, slots=True)
class Presence:
    """A friend came or went; None: not known, as there is no connection."""

    user_id: int
    online: bool | None


@dataclass(frozen=True, slots=True)
class GroupLost:
    """The user is not in a followed group any more."""

    group_id: str


@dataclass(frozen=True, slots=True)
class Kicked:
    """Another login took the place; `STOPPED` follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """A business event, such as `friend_request`; `data` as the services sent it."""

    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something failed that no awaited call tells of."""

    code: int
    message: str
    msg_id: str | None = None


AnyEvent = (
    StateChanged
    | Connected
    | Message
    | Sent
    | Failed
    | Delivered
    | Read
    | Typing
    | Presence
    | GroupLost
    | Kicked
    | Event
    | Problem
)
