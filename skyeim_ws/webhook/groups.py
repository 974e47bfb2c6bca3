"""Finds the members who are away when a message has come for their group, and has them told."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple, Protocol

import structlog

from skyeim_ws.logic.member_retry import members_seen_by
from skyeim_ws.logic.outgoing import Outgoing, Stored
from skyeim_ws.logic.ports import Members, Refused, Unavailable
from skyeim_ws.logic.shared_state import Presence

log = structlog.get_logger()

PAUSE = 0.2
"""Seconds in which messages gather, so that one look-up serves many."""

RETRY = 1.0
"""Seconds until the next try while Redis is away."""

BATCH = 100
"""Messages that are looked at together."""

LOOK_UP = 5_000
"""Users that Redis is asked for at a time."""


class Notices(Protocol):
    """The queue of notices, which all nodes share."""

    dropped: int

    def about(self, message: Outgoing, stored: Stored) -> bytes:
        """Return what a notice says of a message, in JSON."""

    def group(self, user_ids: Sequence[int], messages: Sequence[bytes]) -> None:
        """Add notices of messages of one group for all of these users."""


class _Waiting(NamedTuple):
    group_id: str
    sender_id: int
    message: bytes


class GroupNotices:
    """Takes each stored group message, beside its way to the members who are here.

    At most `size` messages wait, then the oldest are dropped, and counted with the notices. `here`
    is a live view of the users of this node.
    """

    def __init__(
        self, notices: Notices, members: Members, presence: Presence, here: Set[int], *, size: int
    ) -> None:
        self._notices = notices
        self._members = members
        self._presence = presence
        self._here = here
        self._size = size
        self._waiting: deque[_Waiting] = deque()
        self._added = asyncio.Event()

    def __len__(self) -> int:
        """Count the messages that wait."""
        return len(self._waiting)

    def stored(self, message: Outgoing, stored: Stored) -> None:
        """Take a message; returns at once."""
        about = self._notices.about(message, stored)
        self._waiting.append(_Waiting(message.group_id, message.from_user_id, about))
        self._bound()
        self._added.set()

    async def run(self) -> None:
        """Tell of what waits, for ever; ends by cancellation alone."""
        while True:
            await self._added.wait()
            await asyncio.sleep(PAUSE)
            self._added.clear()
            try:
                await self.tell()
            except Unavailable:
                await asyncio.sleep(RETRY)
            except Exception:  # a push service must not stop a gateway
                log.exception("webhook_failed")
            if self._waiting:
                self._added.set()

    async def tell(self) -> None:
        """Add the notices of all that waits; raises Unavailable, then the rest waits on."""
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._tell(some)
            except (Unavailable, asyncio.CancelledError):
                self._waiting.extendleft(reversed(some))
                self._bound()
                raise

    async def _tell(self, some: Sequence[_Waiting]) -> None:
        askers = {each.group_id: each.sender_id for each in some}
        found = await asyncio.gather(*map(self._members_of, askers, askers.values()))
        members = dict(zip(askers, found, strict=True))
        away = await self._away(frozenset().union(*found))
        # A sender who has left at once needs no notice of the own message.
        alike: defaultdict[tuple[str, int], list[bytes]] = defaultdict(list)
        for each in some:
            left = each.sender_id if each.sender_id in away else 0
            alike[each.group_id, left].append(each.message)
        for (group_id, left), messages in alike.items():
            receivers = (members[group_id] & away) - {left}
            if receivers:
                self._notices.group(sorted(receivers), messages)

    async def _members_of(self, group_id: str, asker_id: int) -> frozenset[int]:
        """Return what the routing has found or is looking up; nobody if it cannot be had."""
        try:
            return await members_seen_by(self._members, group_id, [asker_id])
        except (Refused, Unavailable):
            return frozenset()

    async def _away(self, user_ids: Iterable[int]) -> set[int]:
        """Return who of the users is on no node; raises Unavailable."""
        away = set(user_ids) - self._here
        candidates = list(away)
        for start in range(0, len(candidates), LOOK_UP):
            away.difference_update(await self._presence.online(candidates[start : start + LOOK_UP]))
        return away

    def _bound(self) -> None:
        while len(self._waiting) > self._size:
            self._waiting.popleft()
            self._notices.dropped += 1
