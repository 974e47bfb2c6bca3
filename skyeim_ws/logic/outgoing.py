"""A message on its way into storage, what becomes of it, and the port that stores it."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from skyeim_ws.logic.ports import Refused, Unavailable

Key = tuple[int, int, str, str]
"""Sender, receiver, group and msgId of a message."""


class Outgoing(msgspec.Struct, frozen=True):
    """A message on its way into storage; exactly one of `to_user_id` and `group_id` is set.

    `since` is when its frame came, by the monotonic clock; 0 of what was read from storage.
    """

    msg_id: str
    from_user_id: int
    content: str
    content_type: int
    to_user_id: int = 0
    group_id: str = ""
    at_user_ids: tuple[int, ...] = ()
    since: float = 0.0
    span: Any = None
    """The `Span` in which it was sent, if there is one."""

    @property
    def key(self) -> Key:
        """What a repeat of the message has in common with it."""
        return self.from_user_id, self.to_user_id, self.group_id, self.msg_id


class Stored(msgspec.Struct, frozen=True):
    """Where and when a message was stored; `created_at` is in Unix seconds, `seq` 0 if private.

    `first` is what is stored if an earlier attempt has stored it. It counts, not the repeat.
    """

    id: int
    msg_id: str
    created_at: int
    seq: int = 0
    first: Outgoing | None = None


SendOutcome = Stored | Refused | Unavailable
"""Failures are values here: one batch answers many senders, each in its own way."""


class MessageWriter(Protocol):
    """Stores messages; order per sender and per group is the order of submission."""

    def submit(self, message: Outgoing, done: Callable[[Outgoing, SendOutcome], None]) -> bool:
        """Take a message for storing; `done` is called once, on the loop, never from inside.

        Returns False, and never calls `done`, when the bounded queue is full.
        """
