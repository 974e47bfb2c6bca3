"""The queues of undelivered private messages, one list for each user, newest at the head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog

from skyeim_ws.logic.shared_state import QueuedMessage, Window
from skyeim_ws.store import scripts
from skyeim_ws.store.keys import (
    NODE_PREFIX,
    missed_key,
    new_mark,
    queue_key,
    session_key,
    watermark_key,
)
from skyeim_ws.store.messages import PrivateMessage, encode
from skyeim_ws.store.notices import RedisNotices
from skyeim_ws.store.operation import Outcome
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.shard import Command

log = structlog.get_logger()

QUEUE_SIZE = 10_000
"""Entries in one user's queue. When it is full the oldest leave; storage still has them."""

QUEUE_TTL = 30 * 86_400

SLACK = 50
"""Entries that are read besides: other programs may leave neighbours in the wrong order."""

GROWTH = 4

_PUSHED = 100
"""Entries that one call of the script puts in their places: Redis serves nobody else meanwhile."""

_MARKS = 500
"""Users noted in one operation."""


class _Chat(msgspec.Struct, rename="camel"):
    id: int
    msg_id: str
    from_user_id: int = 0


class _Envelope(msgspec.Struct):
    type: str
    data: msgspec.Raw


_chat = msgspec.json.Decoder(_Chat, strict=False)
_envelope = msgspec.json.Decoder(_Envelope)


def decode(stored: bytes) -> QueuedMessage | None:
    """Read an entry: the `data` object of a `chat` frame, or the whole frame around it.

    Returns None if it is neither, or could not be sent as text.
    """
    try:
        stored.decode("utf-8")  # it goes into a text frame as it is, so it has to be valid
        try:
            raw = bytes(_envelope.decode(stored).data)
        except msgspec.ValidationError:
            raw = stored
        chat = _chat.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return QueuedMessage(
        raw=raw, stored=stored, id=chat.id, msg_id=chat.msg_id, from_user_id=chat.from_user_id
    )


@dataclass(frozen=True, slots=True)
class _Note:
    """What is to be called for a user; those for the same one are equal."""

    take: Callable[[int], None]
    user_id: int

    def __call__(self) -> None:
        self.take(self.user_id)


@dataclass(frozen=True, slots=True)
class Choice:
    """The result of a look at the head of a queue."""

    window: Window
    unreadable: list[bytes]
    complete: bool
    """Whether a longer look would give the same."""


def choose(head: Sequence[bytes], length: int, before_id: int | None, limit: int) -> Choice:
    """Choose the newest `limit` entries with an id below `before_id`.

    `head` is the first part, newest first, of a queue of `length` entries. What lies behind it is
    taken to be older, except for its last `SLACK` entries, which may be neighbours out of order.
    """
    readable: list[QueuedMessage] = []
    unreadable: list[bytes] = []
    for stored in head:
        message = decode(stored)
        if message is None:
            unreadable.append(stored)
        else:
            readable.append(message)
    wanted = [message for message in readable if before_id is None or message.id < before_id]
    wanted.sort(key=lambda message: message.id)
    taken = wanted[max(len(wanted) - limit, 0) :]
    behind = max(length - len(head), 0)
    older = behind + len(wanted) - len(taken)
    complete = behind == 0 or len(wanted) >= limit + SLACK
    return Choice(Window(taken, older), unreadable, complete)


class RedisOfflineQueue:
    """`shared_state.OfflineQueue` in Redis; `size` in entries, `ttl` in seconds from the last push.

    `notices` are told of users who are away, if anybody wants to know.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        size: int = QUEUE_SIZE,
        ttl: int = QUEUE_TTL,
        notices: RedisNotices | None = None,
    ) -> None:
        self._pipeline = pipeline
        self.size = size
        self.ttl = ttl
        self._notices = notices
        self._script = scripts.read("ids", "queue_private")
        # Users of whom an entry was dropped or refused.
        self._unqueued: set[int] = set()
        pipeline.on_room.append(self._note_unqueued)

    def push(self, user_id: int, entries: Sequence[bytes]) -> None:
        """Add messages, each in its place. A bounded buffer holds them while Redis is away."""
        note = _Note(self._not_queued, user_id)
        for start in range(0, len(entries), _PUSHED):
            self._pipeline.submit(
                self._queued(user_id, b"", entries[start : start + _PUSHED]),
                dropped=note,
                forgotten=note,
            )

    def route(self, user_id: int, entry: bytes, done: Callable[[bool], None] | None = None) -> None:
        """Add a message and tell the node of the user's session, if there is one.

        `done` is called once, later: with True when Redis has it; with False if it has not by some
        seconds, and then a bounded buffer may still hold it.
        """
        told: Callable[[Outcome], None] | None
        if self._notices is not None:
            told = partial(self._routed, self._notices, user_id, entry, done)
        else:
            told = done and (lambda outcome: done(isinstance(outcome, list)))
        # Where nobody else is told that it is lost: its sender has been told that it is kept.
        note = _Note(self._not_queued, user_id)
        self._pipeline.submit(
            self._queued(user_id, encode(PrivateMessage(user_id, entry)), [entry]),
            done=told,
            dropped=note if done is None else None,
            forgotten=note,
        )

    def unheard(self, user_id: int, entry: bytes) -> None:
        """Take note that the user had left when the node was told of an entry."""
        if self._notices is not None:
            self._notices.away(user_id, entry)

    def read(self, entry: bytes) -> QueuedMessage | None:
        """Return what an entry says; None if it cannot be read."""
        return decode(entry)

    def remove(self, user_id: int, entries: Sequence[bytes]) -> None:
        """Take out entries, as `QueuedMessage.stored` has them; a bounded buffer holds this too.

        One copy of each: other programs may have left two, and the other one is shown once more.
        """
        if entries:
            self._pipeline.submit(*(("LREM", queue_key(user_id), 1, entry) for entry in entries))

    async def window(self, user_id: int, before_id: int | None, limit: int) -> Window:
        """Return the newest entries with an id below `before_id`, at most `limit`, oldest first.

        Entries that cannot be read are left out and removed. Raises Unavailable.
        """
        count = limit + SLACK
        while True:
            # Always from the head, wider each time: positions further in move with each push and
            # removal, and an entry that slipped between two reads would never be shown.
            head, length = await self._pipeline.call(
                ("LRANGE", queue_key(user_id), 0, count - 1), ("LLEN", queue_key(user_id))
            )
            choice = choose(head, length, before_id, limit)
            if choice.complete:
                break
            count *= GROWTH
        self.discard(user_id, choice.unreadable)
        return choice.window

    def discard(self, user_id: int, unreadable: Sequence[bytes]) -> None:
        """Take out entries that nobody can read, and say so."""
        if unreadable:
            log.warning("offline_entries_unreadable", user=user_id, count=len(unreadable))
            self.remove(user_id, unreadable)

    def _queued(self, user_id: int, told: bytes, entries: Sequence[bytes]) -> Command:
        keys = (session_key(user_id), queue_key(user_id), watermark_key(user_id))
        arguments = (self.size, self.ttl, NODE_PREFIX, told)
        return ("EVAL", self._script, len(keys), *keys, *arguments, *entries)

    @staticmethod
    def _routed(
        notices: RedisNotices,
        user_id: int,
        entry: bytes,
        done: Callable[[bool], None] | None,
        outcome: Outcome,
    ) -> None:
        """Add a notice if no node was told, and call `done` behind it: so none is forgotten.

        A sender who is told False sends again, so that one need not wait for Redis.
        """
        taken = isinstance(outcome, list)
        if outcome == [0] or (outcome is None and done is None):
            notices.away(user_id, entry, done)
        elif done is not None:
            done(taken)

    def _not_queued(self, user_id: int) -> None:
        """Note that Redis never gets an entry; at once, unless there is no room for notes."""
        self._unqueued.add(user_id)
        if not self._pipeline.overflowed:
            self._note_unqueued()

    def _note_unqueued(self) -> None:
        """Note that these users need all unread messages at their next login."""
        users = sorted(self._unqueued)
        self._unqueued.clear()
        for start in range(0, len(users), _MARKS):
            some = users[start : start + _MARKS]
            again = partial(self._unqueued.update, some)
            self._pipeline.submit(
                *(("SET", missed_key(user_id), new_mark(), "EX", self.ttl) for user_id in some),
                dropped=again,
                forgotten=again,
            )
