"""What all nodes share, as the logic asks for it: presence, sessions, queues; in `store`.

Each `async` method has a deadline of its own, and raises `ports.Unavailable` when Redis cannot be
reached in time. The other methods return at once and raise nothing.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

import msgspec


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


class QueuedMessage(msgspec.Struct, frozen=True):
    """An entry of an offline queue: the `data` object of its `chat` frame, and its keys.

    `stored` is the entry exactly as it stands in the queue, which names it for removal.
    """

    raw: bytes
    stored: bytes
    id: int
    msg_id: str
    from_user_id: int


class Window(msgspec.Struct, frozen=True):
    """A run of a user's offline queue, oldest first; `older` entries lie behind it."""

    entries: list[QueuedMessage]
    older: int


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
    forgetful: bool = False
    """Whether Redis was started anew since the last session, and may lack what came before."""


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
