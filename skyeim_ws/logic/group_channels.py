"""Which groups this node hears from other nodes: those that have members here."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Protocol

import structlog

from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import hint_frames
from skyeim_ws.logic.bus import Bus
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.logic.session_state import session_of

log = structlog.get_logger()

_COMPARED_AT_ONCE = 500
"""Groups in one question for the newest seqs."""

_CLIENTS_AT_ONCE = 500
"""Connections that are looked at in one turn of the loop."""

_RETRY_SECONDS = 1.0


class NewestSeqs(Protocol):
    """What is stored in groups; `rpc` implements it."""

    async def newest_seqs(self, group_ids: Sequence[str]) -> Mapping[str, int] | None:
        """Return the largest seq of each group that has messages; None if nobody can say.

        Raises Refused, Unavailable.
        """


class SeqCounters(Protocol):
    """The counters of services that count before they store; `store` implements it."""

    async def newest(self, group_ids: Sequence[str]) -> Mapping[str, int]:
        """Return the counters of those groups that have one. Raises Unavailable."""


class Order(Protocol):
    """The order of the messages that come to this node; `GroupRouter` implements it."""

    def last_seq(self, group_id: str) -> int:
        """Return the seq of the group that came last, 0 if that is not remembered."""

    def skip(self, group_id: str, seq: int) -> None:
        """Wait for no message up to this seq."""


class _Waiter:
    """A login that waits for some groups."""

    __slots__ = ("done", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class GroupChannels:
    """Has the node hear a group from its first member here until `linger` seconds after the last.

    Nothing is missed unnoticed. A login waits for its groups before it is told that it is
    connected, and the client asks for what is older then. Where that took too long, or a channel
    was not heard for a while, the newest seq of the group is compared with the last one that came,
    and its members here are told with `group_behind` what to fetch. Beyond `limit` groups are not
    heard, but compared from time to time.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        bus: Bus,
        stored: NewestSeqs,
        counters: SeqCounters,
        order: Order,
        linger: float,
        limit: int,
        clock: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._bus = bus
        self._stored = stored
        self._counters = counters
        self._order = order
        self._linger = linger
        self._limit = limit
        self._clock = clock
        # When there was a member here last, of each group.
        self._seen: dict[str, float] = {}
        self._heard: set[str] = set()
        self._beyond: dict[str, None] = {}
        # Up to which seq the members here have got the messages of a group, or were told of them.
        # What has no entry yet was missed by nobody.
        self._told: dict[str, int] = {}
        self._waiters: dict[str, set[_Waiter]] = {}
        self._doubtful: dict[str, None] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        """Count the groups that have members here."""
        return len(self._seen)

    def __contains__(self, group_id: str) -> bool:
        """Whether the group has members here, or had some lately."""
        return group_id in self._seen

    @property
    def heard(self) -> int:
        """Count the groups that are heard."""
        return len(self._heard)

    @property
    def beyond(self) -> int:
        """Count the groups that are not heard, since there are too many."""
        return len(self._beyond)

    @property
    def doubtful(self) -> int:
        """Count the groups that are to be compared with what is stored."""
        return len(self._doubtful)

    def join(self, group_ids: Sequence[str]) -> asyncio.Future[None] | None:
        """Hear these groups; return a future that is done when they are heard.

        None if they are, or if this node hears nobody now.
        """
        now = self._clock()
        new = []
        for group_id in group_ids:
            if group_id not in self._seen:
                new.append(group_id)
            self._seen[group_id] = now
        if new:
            self._hear(new)
        waiting = [each for each in group_ids if self._awaited(each)]
        if not waiting or self._bus.redis_down or self._bus.not_subscribed:
            return None
        waiter = _Waiter(len(waiting))
        for group_id in waiting:
            self._waiters.setdefault(group_id, set()).add(waiter)
        waiter.done.add_done_callback(lambda _: self._forget(waiter, waiting))
        return waiter.done

    def missing(self, group_ids: Iterable[str]) -> None:
        """Note that members are connected already, and may miss what these groups do not hear."""
        for group_id in group_ids:
            if self._awaited(group_id):
                self._told.setdefault(group_id, 0)

    def groups_heard(self, group_ids: Iterable[str]) -> None:
        """Note which groups are heard from now on, and compare them with what is stored."""
        for group_id in group_ids:
            if group_id in self._seen:
                self._heard.add(group_id)
                self._release(group_id)
                self._doubtful[group_id] = None
        self._wake.set()

    def groups_unheard(self, group_ids: Iterable[str]) -> None:
        """Note which groups may miss something until they are heard again."""
        for group_id in group_ids:
            if group_id in self._heard:
                self._heard.discard(group_id)
                self._told[group_id] = self._order.last_seq(group_id) or self._told.get(group_id, 0)

    def _awaited(self, group_id: str) -> bool:
        return (
            group_id in self._seen and group_id not in self._heard and group_id not in self._beyond
        )

    def _hear(self, group_ids: Sequence[str]) -> None:
        """Hear groups that are new, as many as there is room for."""
        room = max(self._limit - (len(self._seen) - len(group_ids) - len(self._beyond)), 0)
        if room < len(group_ids):
            if not self._beyond:
                log.warning("group_channels_full", limit=self._limit)
            self._beyond.update(dict.fromkeys(group_ids[room:]))
            self._told.update(dict.fromkeys(group_ids[room:], 0))
        if room:
            self._bus.hear_groups(group_ids[:room])

    def _release(self, group_id: str) -> None:
        for waiter in self._waiters.pop(group_id, ()):
            waiter.left -= 1
            if not waiter.left and not waiter.done.done():
                waiter.done.set_result(None)

    def _forget(self, waiter: _Waiter, group_ids: Iterable[str]) -> None:
        for group_id in group_ids:
            waiters = self._waiters.get(group_id)
            if waiters is not None:
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[group_id]

    async def run(self) -> None:
        """Compare what is doubtful, and leave groups without members, for good."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._compare_all())
            tasks.create_task(self._sweep())

    async def _compare_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            some = list(islice(self._doubtful, _COMPARED_AT_ONCE))
            try:
                await self._compare(some)
            except (Refused, Unavailable) as error:
                log.info("group_seqs_unknown", groups=len(self._doubtful), error=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            if self._doubtful:
                self._wake.set()

    async def _compare(self, group_ids: Sequence[str]) -> None:
        stored = await self._stored.newest_seqs(group_ids)
        if stored is None:
            stored = await self._counters.newest(group_ids)
        gaps = {}
        for group_id in group_ids:
            self._doubtful.pop(group_id, None)
            newest = stored.get(group_id, 0)
            if newest > self._told.get(group_id, newest):
                gaps[group_id] = newest
            if group_id in self._seen:
                self._told[group_id] = newest
        if gaps:
            await self._tell(gaps)
            for group_id, seq in gaps.items():
                self._order.skip(group_id, seq)

    async def _tell(self, gaps: Mapping[str, int]) -> None:
        hints = {group_id: hint_frames({group_id: seq})[0] for group_id, seq in gaps.items()}
        for number, client in enumerate(self._hub, 1):
            for group_id in gaps.keys() & session_of(client).group_ids:
                client.send_group(hints[group_id], group_id, gaps[group_id])
            if number % _CLIENTS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _sweep(self) -> None:
        """Leave, again and again, the groups that have had no member here for long."""
        while True:
            await asyncio.sleep(self._linger / 2)
            began = self._clock()
            for number, client in enumerate(self._hub, 1):
                group_ids = session_of(client).group_ids
                for group_id in group_ids:
                    if group_id in self._seen:
                        self._seen[group_id] = began
                    else:  # a fault, or it had no member here for a moment
                        self.join([group_id])
                        self.missing([group_id])
                if number % _CLIENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
            self._leave([each for each, at in self._seen.items() if at < began - self._linger])
            room = self._limit - (len(self._seen) - len(self._beyond))
            if found := list(islice(self._beyond, max(room, 0))):
                for group_id in found:
                    del self._beyond[group_id]
                self._bus.hear_groups(found)
            if self._beyond:
                self._doubtful.update(self._beyond)
                self._wake.set()

    def _leave(self, group_ids: Sequence[str]) -> None:
        for group_id in group_ids:
            del self._seen[group_id]
            self._heard.discard(group_id)
            for each in (self._beyond, self._told, self._doubtful, self._waiters):
                each.pop(group_id, None)
        if group_ids:
            self._bus.leave_groups(group_ids)
