"""Per-group order: one queue and one short-lived worker for each group that is active."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import structlog

from skyeim_ws.conn import group_trace
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import hint_frames
from skyeim_ws.conn.seq_order import SeqOrder, Verdict
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.group_frame import GroupFrame

log = structlog.get_logger()

_GAP_SECONDS = 0.5
"""How long messages wait for one that is missing before them."""

_REMEMBERED_GROUPS = 10_000

_MAX_ASKERS = 8
"""In whose names the members of a group are asked for, one after the other."""


class MemberSource(Protocol):
    """Where the members of a group come from."""

    def cached(self, group_id: str) -> frozenset[int] | None:
        """Return the members if they are at hand without waiting."""

    async def find(self, group_id: str, asker_ids: Sequence[int]) -> frozenset[int] | None:
        """Return the members, as the first of the askers who may know them sees them.

        None if they cannot be had; it has a deadline of its own, and never raises.
        """


StoredFrom = Callable[[str, int, int], Awaitable[Sequence[tuple[int, int]] | None]]
"""Of a group, as this user may see it: what is stored at this seq and above, as seq and id.

Ascending, and not all if that is much; None if it is unknown.
"""


class _Group:
    """The queue of an active group."""

    __slots__ = ("check", "doubted", "gap_timer", "queue", "reserved", "worker")

    def __init__(self) -> None:
        # Frames whose seq is not believed before it was compared with what is stored.
        self.doubted: list[GroupFrame] = []
        self.check: asyncio.Task[None] | None = None
        self.queue: deque[GroupFrame] = deque()
        self.reserved = 0
        self.worker: asyncio.Task[None] | None = None
        self.gap_timer: asyncio.TimerHandle | None = None


class GroupRouter:
    """Brings frames to the members of groups who are on this node, in order per group.

    Finding the members may wait for Redis or an RPC; that wait is the group's own. A place in
    the queue is reserved before a message is stored, so a full queue refuses it before, never
    after.
    """

    def __init__(
        self,
        hub: Hub,
        source: MemberSource,
        stored_from: StoredFrom,
        stats: Stats,
        *,
        queue_size: int,
        max_groups: int,
        max_jump: int,
    ) -> None:
        self._hub = hub
        self._source = source
        self._stored_from = stored_from
        self._stats = stats
        self._queue_size = queue_size
        self._max_groups = max_groups
        self._groups: dict[str, _Group] = {}
        # Messages stored by other nodes come over the bus and may overtake, or be overtaken.
        self._order: SeqOrder[GroupFrame] = SeqOrder(_REMEMBERED_GROUPS, max_jump)

    def __len__(self) -> int:
        """Count the active groups."""
        return len(self._groups)

    @property
    def queued(self) -> int:
        """Count the frames that wait, over all groups."""
        return sum(len(group.queue) for group in self._groups.values())

    def last_seq(self, group_id: str) -> int:
        """Return the seq of the group that came last, 0 if that is not remembered."""
        return self._order.last(group_id)

    def skip(self, group_id: str, seq: int) -> None:
        """Wait for no message up to this seq: the members here are told to fetch them."""
        ready = self._order.skip(group_id, seq)
        group = self._groups.get(group_id)
        if group is not None:
            self._go_on(group_id, group, ready)

    def reserve(self, group_id: str) -> bool:
        """Reserve a place for a message; False if the queue is full, or too many are active."""
        group = self._activate(group_id)
        if group is None or self._load(group_id, group) >= self._queue_size:
            return False
        group.reserved += 1
        return True

    def release(self, group_id: str) -> None:
        """Give a reserved place back: the message was not stored."""
        group = self._groups[group_id]
        group.reserved -= 1
        self._forget_if_idle(group_id, group)

    def route(self, group_id: str, item: GroupFrame) -> None:
        """Use a reserved place: queue the frame behind all earlier ones of the group."""
        group = self._groups[group_id]
        group.reserved -= 1
        self._enqueue(group_id, group, item)

    def publish(self, group_id: str, item: GroupFrame) -> bool:
        """Queue a frame without a reservation; False if the queue is full, or too many are active.

        Ephemeral frames are refused once the queue is half full.
        """
        group = self._activate(group_id)
        if group is None:
            return False
        limit = self._queue_size // 2 if item.ephemeral else self._queue_size
        if self._load(group_id, group) >= limit:
            self._forget_if_idle(group_id, group)
            return False
        self._enqueue(group_id, group, item)
        return True

    async def close(self) -> None:
        """Stop all workers; what waits is dropped, its members fetch it by seq."""
        groups = self._groups.values()
        tasks = [task for group in groups for task in (group.worker, group.check) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for group in self._groups.values():
            if group.gap_timer is not None:
                group.gap_timer.cancel()
        self._groups.clear()

    def _activate(self, group_id: str) -> _Group | None:
        group = self._groups.get(group_id)
        if group is None:
            if len(self._groups) >= self._max_groups:
                self._stats.groups_refused += 1
                return None
            group = self._groups[group_id] = _Group()
        return group

    def _load(self, group_id: str, group: _Group) -> int:
        waiting = len(group.queue) + len(group.doubted)
        return group.reserved + waiting + self._order.held(group_id)

    def _enqueue(self, group_id: str, group: _Group, item: GroupFrame) -> None:
        if not item.seq:
            self._append(group_id, group, item)
            self._forget_if_idle(group_id, group)
            return
        admitted = self._order.admit(group_id, item.seq, item.id, item)
        if admitted is None:
            if item.repeat and item.seq <= self._order.last(group_id):
                self._forget_if_idle(group_id, group)
                return
            group.doubted.append(item)
            if group.check is None:
                group.check = asyncio.create_task(self._check(group_id, group))
            return
        self._go_on(group_id, group, admitted)

    def _go_on(self, group_id: str, group: _Group, ready: Iterable[GroupFrame]) -> None:
        """Append what has its turn; for what is still held a missing one is waited for."""
        for item in ready:
            self._append(group_id, group, item)
        if self._order.held(group_id):
            if group.gap_timer is None:
                loop = asyncio.get_running_loop()
                group.gap_timer = loop.call_later(_GAP_SECONDS, self._give_up, group_id, group)
        elif group.gap_timer is not None:
            group.gap_timer.cancel()
            group.gap_timer = None
        self._forget_if_idle(group_id, group)

    def _give_up(self, group_id: str, group: _Group) -> None:
        """Go on without a message that did not come; clients see the gap and fetch it."""
        group.gap_timer = None
        ready = self._order.give_up(group_id)
        log.info("group_gap_skipped", group=group_id, held=len(ready))
        for item in ready:
            self._append(group_id, group, item)
        self._forget_if_idle(group_id, group)

    async def _check(self, group_id: str, group: _Group) -> None:
        """Compare what is doubted with what is stored; what comes meanwhile is not held up."""
        try:
            while group.doubted:
                item = min(group.doubted, key=lambda each: (each.seq, each.id))
                stored = await self._stored(group_id, item)
                group.doubted.remove(item)
                self._decide(group_id, group, item, stored)
                # With this one the others may fit.
                others, group.doubted = group.doubted, []
                for other in others:
                    self._enqueue(group_id, group, other)
        finally:
            group.check = None
            self._forget_if_idle(group_id, group)

    async def _stored(self, group_id: str, item: GroupFrame) -> Sequence[tuple[int, int]] | None:
        """Return what `SeqOrder.judge` has to know."""
        last = self._order.last(group_id)
        stored = await self._stored_from(group_id, item.sender_id, item.seq)
        if stored and stored[-1][0] < last:
            above = await self._stored_from(group_id, item.sender_id, last)
            return None if above is None else [*stored, *above]
        return stored

    def _decide(
        self,
        group_id: str,
        group: _Group,
        item: GroupFrame,
        stored: Sequence[tuple[int, int]] | None,
    ) -> None:
        verdict = None
        if stored is not None:
            verdict = self._order.judge(group_id, item.seq, item.id, stored)
        if verdict is None or verdict is Verdict.NOT_STORED:
            self._stats.group_seqs_refused += 1
            if self._stats.trace.on:
                group_trace.dropped(self._stats.trace, "seq_refused", group_id, item)
            log.warning("group_seq_refused", group=group_id, seq=item.seq, known=stored is not None)
        elif verdict is not Verdict.LATE:
            last = self._order.last(group_id)
            for held in self._order.restart(group_id, item.seq, item.id):
                self._append(group_id, group, held)
            if verdict is Verdict.ANEW:
                log.warning("group_order_restarted", group=group_id, last=last, seq=item.seq)
                # For members who hold more: from here on it counts anew.
                [hint] = hint_frames({group_id: item.seq - 1})
                self._append(group_id, group, GroupFrame(hint))
            self._enqueue(group_id, group, item)

    def _append(self, group_id: str, group: _Group, item: GroupFrame) -> None:
        if group.worker is None:
            members = self._source.cached(group_id)
            if members is not None and (not item.seq or item.sender_id in members):
                # Nothing to wait for and nobody before us: no task is needed.
                self._fan_out(group_id, members, item)
                return
            group.worker = asyncio.create_task(self._work(group_id, group))
        group.queue.append(item)

    async def _work(self, group_id: str, group: _Group) -> None:
        try:
            while group.queue:
                members = self._source.cached(group_id)
                first = group.queue[0]
                if members is None or (first.seq and first.sender_id not in members):
                    # A list without the sender of a stored message is not whole, or too old.
                    members = await self._source.find(group_id, _askers(group.queue))
                # A frame leaves the queue when its members are known, not before: while the
                # look-up waits, later frames must queue up behind it.
                item = group.queue.popleft()
                if members is None:
                    self._stats.group_dropped += 1
                    if self._stats.trace.on:
                        group_trace.dropped(self._stats.trace, "members_unknown", group_id, item)
                else:
                    self._fan_out(group_id, members, item)
        finally:
            group.worker = None
            self._forget_if_idle(group_id, group)

    def _fan_out(self, group_id: str, members: frozenset[int], item: GroupFrame) -> None:
        self._stats.group_routed += 1
        if item.except_ids:
            members -= item.except_ids
        if item.ephemeral:
            if item.sender_id in members:
                self._hub.offer(members, item.frame, item.sender_id)
        else:
            if self._stats.trace.on and item.seq:
                group_trace.handed_out(self._stats.trace, self._hub, group_id, members, item)
            self._hub.fan_out_group(
                members, item.frame, group_id=group_id, seq=item.seq, sender_id=item.sender_id
            )

    def _forget_if_idle(self, group_id: str, group: _Group) -> None:
        idle = group.worker is None and group.gap_timer is None and group.check is None
        if idle and not group.queue and not group.reserved:
            self._groups.pop(group_id, None)


def _askers(queue: Iterable[GroupFrame]) -> list[int]:
    """Return in whose names to ask for the members: of who has sent a stored message first.

    Who is only typing may be in the group no more, and must not decide for the others.
    """
    found = sorted(queue, key=lambda item: (item.ephemeral, not item.sender_id))
    return list(dict.fromkeys(item.sender_id for item in found))[:_MAX_ASKERS]
