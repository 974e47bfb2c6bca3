"""What the logic asks of the business services, and how whatever is outside says no.

The protocols are small; `rpc` implements them, and `store` that of the cached members. Each `async`
method has a deadline of its own. It raises `Unavailable` when the other side cannot be reached in
time, and `Refused` when a service says no. The other methods return at once and raise nothing. No
exception of redis-py or grpcio gets through.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Phrase, explanation


class Unavailable(Exception):  # noqa: N818 - it states a condition, as StopIteration does
    """Redis or a business service could not be reached, or did not answer in time."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A business service said no, and why."""

    def __init__(self, reason: Reason, phrase: Phrase | None = None) -> None:
        self.reason = reason
        self.phrase = phrase or explanation(reason)
        super().__init__(str(self.phrase))


class HistoryMessage(msgspec.Struct, frozen=True, rename="camel"):
    """A stored message as the HTTP API shows it; times in Unix seconds."""

    id: int
    msg_id: str
    from_user_id: int
    to_user_id: int
    chat_type: int
    group_id: str
    content: str
    content_type: int
    status: int
    created_at: int
    seq: int
    at_user_ids: list[int]


class Messages(Protocol):
    """The reading side of the Message service."""

    async def mark_read(self, user_id: int, peer_id: int, msg_ids: Sequence[str]) -> int:
        """Mark messages from the peer to the user as read; return how many were unread.

        With no `msg_ids` all of them are marked. Raises Refused, Unavailable.
        """

    async def unread_page(
        self, user_id: int, limit: int, *, after_id: int = 0, skip: int = 0
    ) -> tuple[list[HistoryMessage], bool]:
        """Return unread private messages to the user, oldest first, and whether there are more.

        They have ids above `after_id`, and the first `skip` of them are left out. Raises Refused,
        Unavailable.
        """

    async def senders(
        self, user_id: int, msg_ids: Sequence[str], peer_id: int = 0
    ) -> dict[str, int]:
        """Return who sent which of these private messages to the user, as far as it is known.

        `peer_id` says from whom they should be, if that is known. Raises Refused, Unavailable.
        """

    async def unread_count(self, user_id: int, peer_id: int = 0) -> int:
        """Return how many private messages to the user are unread; a `peer_id` of 0 is anyone.

        Raises Refused, Unavailable.
        """

    async def group_since(self, user_id: int, group_id: str, seq: int) -> list[HistoryMessage]:
        """Return at most 200 messages of the group with a larger seq, ascending.

        Raises Refused, Unavailable.
        """

    async def history(
        self, user_id: int, peer_id: int, last_msg_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        """Return a page of a conversation, newest first, and whether there is more.

        Its messages have ids below `last_msg_id`; 0 asks for the newest. Raises Refused,
        Unavailable.
        """

    async def since(
        self, user_id: int, after_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        """Return private messages to the user with larger ids, ascending, and if there are more.

        Raises Refused, Unavailable.
        """

    async def group_history(
        self, user_id: int, group_id: str, last_msg_id: int, limit: int
    ) -> tuple[list[HistoryMessage], bool]:
        """Return a page of a group, newest first, and whether there is more.

        `last_msg_id` is as in `history`. Raises Refused, Unavailable.
        """


class Friends(Protocol):
    """The Friend service."""

    async def friends(self, user_id: int) -> frozenset[int]:
        """Return the friends of the user, without those whom the user has blocked.

        Raises Refused, Unavailable.
        """


class Groups(Protocol):
    """The Group service."""

    async def joined(self, user_id: int) -> list[str]:
        """Return the ids of the groups that the user is in. Raises Refused, Unavailable."""

    async def fetch_members(self, group_id: str, asker_id: int) -> frozenset[int]:
        """Return the ids of all members. Raises Refused, Unavailable.

        `asker_id` is a member, or 0 when no user stands behind the call.
        """

    async def update_read_seq(self, user_id: int, group_id: str, seq: int) -> None:
        """Move the user's read mark of the group. Raises Refused, Unavailable."""


class Members(Protocol):
    """The cached members of groups."""

    async def members(self, group_id: str, asker_id: int = 0) -> frozenset[int]:
        """Return the ids of the members, from the nearest cache that is known to be fresh.

        Raises Refused, Unavailable.
        """

    def cached(self, group_id: str) -> frozenset[int] | None:
        """Return the members if they are at hand without waiting, else None."""

    def is_member(self, group_id: str, user_id: int) -> bool | None:
        """Return whether the user is in the group; None if that is not at hand without waiting."""

    async def require_member(self, group_id: str, user_id: int) -> None:
        """Return if the user is in the group; asks for this user alone.

        Raises Refused if the user is not, Unavailable.
        """
