"""What a push service is to be told of users who are away: a bounded stream of all nodes."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from skyeim_ws.logic.outgoing import Outgoing, Stored
from skyeim_ws.store import scripts
from skyeim_ws.store.operation import Outcome
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.shard import Command

STREAM_KEY = "ws:webhook"
HOLDER_KEY = "ws:webhook:holder"

_FIELD = b"n"
TOGETHER = 500
"""Notices in one operation, and receivers in one notice."""


class Message(msgspec.Struct, rename="camel"):
    """What a notice says of a message; times in Unix seconds."""

    id: int
    msg_id: str
    from_user_id: int
    created_at: int = 0
    content_type: int = 1
    content: str | UnsetType = UNSET
    group_id: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    at_user_ids: tuple[int, ...] | UnsetType = UNSET


_message = msgspec.json.Decoder(Message, strict=False)


class RedisNotices:
    """`webhook.worker.Notices`; `size` in notices, then the oldest are dropped, and counted.

    With `content` a notice has that of its message. `added` is set when this node adds one.
    """

    def __init__(self, pipeline: Pipeline, node: str, *, size: int, content: bool) -> None:
        self.added = asyncio.Event()
        self.waiting = 0
        self.dropped = 0
        self._pipeline = pipeline
        self._node = node
        self._size = size
        self._content = content
        self._hold = scripts.read("hold_webhook")

    def away(self, user_id: int, entry: bytes, done: Callable[[bool], None] | None = None) -> None:
        """Add the notice of a queued message for a user who has no session.

        `done` is called once, later; with False if Redis has not taken it for some seconds.
        """
        message = _message.decode(entry)
        if not self._content:
            message.content = UNSET
        notice = {"userId": user_id, "kind": "private", "message": message}
        self._add([msgspec.json.encode(notice)], done)

    def missed(self, user_ids: Sequence[int]) -> None:
        """Add a notice for users whose node has died, perhaps with messages for them."""
        for start in range(0, len(user_ids), TOGETHER):
            some = user_ids[start : start + TOGETHER]
            self._add([b'{"userId":%d,"kind":"missed"}' % user_id for user_id in some])

    def about(self, message: Outgoing, stored: Stored) -> bytes:
        """Return what a notice says of a group message, in JSON."""
        said = Message(
            id=stored.id,
            msg_id=stored.msg_id,
            from_user_id=message.from_user_id,
            created_at=stored.created_at,
            content_type=message.content_type,
            content=message.content if self._content else UNSET,
            group_id=message.group_id,
            seq=stored.seq,
            at_user_ids=message.at_user_ids or UNSET,
        )
        return msgspec.json.encode(said)

    def group(self, user_ids: Sequence[int], messages: Sequence[bytes]) -> None:
        """Add notices of messages of one group for all of these users, some in each."""
        for start in range(0, len(user_ids), TOGETHER):
            some = b",".join(b"%d" % each for each in user_ids[start : start + TOGETHER])
            notice = b'{"userIds":[%b],"kind":"group","message":%b}'
            self._add([notice % (some, message) for message in messages])

    async def hold(self, seconds: float) -> bool:
        """Return whether this node is the one that posts, for so long; raises Unavailable."""
        held, self.waiting = await self._pipeline.call(
            self._holding(max(int(seconds * 1000), 1)), ("XLEN", STREAM_KEY)
        )
        return bool(held)

    def release(self) -> None:
        """Let another node post."""
        self._pipeline.submit(self._holding(0))

    async def oldest(self, count: int) -> list[tuple[bytes, bytes]]:
        """Return the id and the JSON of the notices that wait longest; raises Unavailable."""
        [found] = await self._pipeline.call(("XRANGE", STREAM_KEY, "-", "+", "COUNT", count))
        return [(name, fields[1]) for name, fields in found]

    def remove(self, names: Sequence[bytes]) -> None:
        """Take out notices by their ids; while Redis is away this waits."""
        self._pipeline.submit(("XDEL", STREAM_KEY, *names))

    def _add(self, notices: Sequence[bytes], done: Callable[[bool], None] | None = None) -> None:
        self._pipeline.submit(
            *(("XADD", STREAM_KEY, "*", _FIELD, notice) for notice in notices),
            ("XTRIM", STREAM_KEY, "MAXLEN", self._size),
            done=lambda outcome: self._added(outcome, done),
        )

    def _added(self, outcome: Outcome, done: Callable[[bool], None] | None) -> None:
        if isinstance(outcome, list):
            self.dropped += outcome[-1]
        self.added.set()
        if done is not None:
            # What Redis refuses for good must not hold up the message, which it has.
            done(outcome is not None)

    def _holding(self, millis: int) -> Command:
        return ("EVAL", self._hold, 1, HOLDER_KEY, self._node, millis)
