"""What the logic asks of the outside: small protocols that `store` and `rpc` implement.

Each `async` method has a deadline of its own. It raises `Unavailable` when the other side cannot
be reached in time, and if a business service stands behind it, `Refused` when that says no. The
other methods return at once and raise nothing. No exception of redis-py or grpcio gets through.
"""

from collections.abc import Callable, Mapping, Sequence, Set
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


class Presence(Protocol):
    """Who is online, over all nodes."""

    async def enter(self, user_id: int, group_ids: Sequence[str]) -> int:
        """Write the user as online, also in its groups; return how many users are online.

        Raises Unavailable.
        """

    async def leave(self, users: Mapping[int, Sequence[str]]) -> None:
        """Take users out, and out of their groups. Raises Unavailable."""

    async def online(self, user_ids: Sequence[int]) -> list[int]:
        """Return those of the users who are online, in the order given. Raises Unavailable."""

    async def sync_group(self, group_id: str, members: Set[int], here: Set[int]) -> list[int]:
        """Enter the members who are `here`; take out who is no member any more, and return them.

        Raises Unavailable.
        """

    def resync(self, users: Mapping[int, Sequence[str]]) -> None:
        """Write users of this node, with their groups, again.

        While Redis is away this does nothing: the recovery asks for it anew.
        """

    async def enter_again(self, users: Mapping[int, Sequence[str]]) -> None:
        """Write some users of this node with their groups, whether they stand there or not.

        Raises Unavailable.
        """


class Window(msgspec.Struct, frozen=True):
    """A run of a user's offline queue, oldest first; `older` entries lie behind it."""

    entries: list["QueuedMessage"]
    older: int


class QueuedMessage(msgspec.Struct, frozen=True):
    """An entry of an offline queue: the `data` object of its `chat` frame, and its keys.

    `stored` is the entry exactly as it stands in the queue, which names it for removal.
    """

    raw: bytes
    stored: bytes
    id: int
    msg_id: str
    from_user_id: int


class Claim(msgspec.Struct, frozen=True):
    """What a login found: the head of its offline queue, and the session whose place it took.

    `node` and `conn_id` are empty if there was none. `missed` is not empty if a session did not
    end well: what it had not confirmed is known to the Message service alone.
    """

    window: Window
    node: str = ""
    conn_id: str = ""
    missed: str = ""
    here: bool = False
    """Whether `node` is this one."""
    own: str = ""
    """The id of the connection from now on: greater than that of any earlier session."""
    watermark: int = 0
    """The id below which the user has confirmed all."""


class Reclaimed(msgspec.Struct, frozen=True):
    """Whether the session is this connection's again, and whose it was if another node's.

    `missed`, `own` and `watermark` are as in a `Claim`.
    """

    ours: bool
    node: str = ""
    conn_id: str = ""
    missed: str = ""
    own: str = ""
    watermark: int = 0
    refused: bool = False
    """Whether the shared state refuses to take it, for this user alone."""


class SessionRegistry(Protocol):
    """The one session of each user, over all nodes."""

    async def claim(self, user_id: int, conn_id: str, limit: int) -> Claim:
        """Take the session over and read the newest `limit` entries of the queue, in one step.

        Raises Unavailable; then Redis may have done it or not.
        """

    async def reclaim(self, connections: Sequence[tuple[int, str]]) -> list[Reclaimed]:
        """Write the sessions of open connections again, but never over that of a newer login.

        `connections` are user ids with connection ids, which are ordered by time. Returns an answer
        for each, in the same order. Raises Unavailable.
        """

    async def release(self, connections: Sequence[tuple[int, str]]) -> list[bool]:
        """End the sessions that are still these connections', given with their users.

        Returns which of the users have no session now. Raises Unavailable.
        """

    def note_missed(self, user_id: int, *, for_now: bool = False) -> str:
        """Note that the user may have missed messages; return the note, for `forget_missed`.

        A note `for_now`, which may prove wrong, does not take the place of another.
        """

    def caught_up(self, user_id: int, missed: str) -> None:
        """Take the note away, unless a later one stands there: the user has all unread messages."""

    def forget_missed(self, user_id: int, missed: str) -> None:
        """Take the note away, unless a later one stands there: it has proved wrong."""

    async def anywhere(self, user_ids: Sequence[int]) -> list[bool]:
        """Return which of the users have a session on any node. Raises Unavailable."""


class NodeSessions(Protocol):
    """What others need to clean up after this node, should it die."""

    @property
    def listed(self) -> bool:
        """Whether the other nodes take this one to be alive."""

    def enter(
        self,
        user_id: int,
        conn_id: str,
        group_ids: Sequence[str],
        done: Callable[[bool], None] | None = None,
    ) -> None:
        """Note a user with its connection and groups.

        `done` is called once, later: with True when it is noted, with False if that takes more than
        some seconds; then it may be noted later.
        """

    async def enter_again(self, users: Sequence[tuple[int, str, Sequence[str]]]) -> None:
        """Note users with their connections and groups again, after an outage.

        Raises Unavailable.
        """

    async def leave(self, user_ids: Sequence[int]) -> None:
        """Forget users. Raises Unavailable."""


class OfflineQueue(Protocol):
    """The undelivered private messages of users, by id. A window sees every earlier push."""

    def push(self, user_id: int, entries: Sequence[bytes]) -> None:
        """Add messages, each in its place by its id.

        While Redis is away they wait in a bounded buffer. If one is dropped from that, it is noted
        that its user has missed something.
        """

    def route(self, user_id: int, entry: bytes, done: Callable[[bool], None] | None = None) -> None:
        """Add a message and tell the node of the user's session, if there is one.

        `done` is called once, later: with True when the queue has it, with False if that takes more
        than some seconds; then the queue may have it later.
        """

    def unheard(self, user_id: int, entry: bytes) -> None:
        """Take note that the user had left when the node was told of an entry."""

    def read(self, entry: bytes) -> QueuedMessage | None:
        """Return what an entry says; None if it cannot be read."""

    def remove(self, user_id: int, entries: Sequence[bytes]) -> None:
        """Take out entries that the user has confirmed; while Redis is away this waits."""

    async def window(self, user_id: int, before_id: int | None, limit: int) -> Window:
        """Return the newest entries with an id below `before_id`, at most `limit`.

        None asks for the newest of all. Raises Unavailable.
        """
