"""One connection that hears channels, until it breaks."""

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.store.replies import Replies

PROBE_INTERVAL = 3.0
"""Seconds of silence after which the node publishes to itself."""

PROBE_PATIENCE = 3.0
"""Seconds after which an unanswered probe means that the subscription is dead."""

BATCH = 1_000
"""Channels in one change of the subscription; the next one waits until Redis has confirmed it."""


class Hearer(Protocol):
    """What is done with what a connection hears. None of it waits or raises."""

    def message(self, channel: bytes, data: bytes) -> None:
        """Handle a message."""

    def subscribed(self, channels: Sequence[str]) -> None:
        """Note that these channels are heard from now on."""

    def displaced(self, channels: Sequence[str]) -> None:
        """Note that these are not to be heard here: their slots are on another master."""


class _Asked(NamedTuple):
    """A command whose confirmations are still to come, one for each channel."""

    kind: bytes
    channels: deque[str]


class Listener:
    """Hears channels; which, may change at any time.

    What changes while Redis confirms the last change leaves together in the next one. `sharded`:
    the channels belong to slots of a cluster. `connected` says whether it is.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        hearer: Hearer,
        channels: Iterable[str],
        *,
        sharded: bool = False,
    ) -> None:
        self.connected = False
        self._connection = connection
        self._hearer = hearer
        self._sharded = sharded
        self._joining = dict.fromkeys(channels)
        self._leaving: dict[str, None] = {}
        self._active: set[str] = set()
        self._asked: deque[_Asked] = deque()
        self._fresh: list[str] = []
        self._due = asyncio.Event()
        self._heard_at = 0.0

    @property
    def active(self) -> set[str]:
        """The channels that are heard."""
        return self._active

    def join(self, channels: Iterable[str]) -> None:
        """Hear these too."""
        for channel in channels:
            if channel in self._leaving:
                del self._leaving[channel]
            elif channel not in self._active:
                self._joining[channel] = None
        self._due.set()

    def leave(self, channels: Iterable[str]) -> None:
        """Hear these no more; at some time later."""
        for channel in channels:
            if channel in self._joining:
                del self._joining[channel]
            else:
                self._leaving[channel] = None
        self._due.set()

    async def run(self, probe: Callable[[str], None], moves: Callable[[], int]) -> None:
        """Connect and hear, until it breaks; always raises.

        A connection can die without an error. So after a silence `probe` is called with a channel:
        if what it publishes is not heard, the subscription is dead. One that is left at a server
        which is no longer a master may live on, so it ends when `moves` grows.
        """
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        replies: Replies | None = None
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
            replies = Replies(self._connection, self._heard, lost.set_exception)
            self.connected = True
            tasks = [
                asyncio.create_task(each)
                for each in (self._write(replies), self._watch(probe, moves))
            ]
            done, _ = await asyncio.wait([lost, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            self.connected = False
            if replies is not None:
                replies.close()
            if not lost.cancel():
                lost.exception()  # or it is logged, where something else was faster
            await cancel_and_wait(*tasks)
            await self._connection.disconnect(nowait=True)

    def _heard(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            self._refused(reply)
            return
        self._heard_at = monotonic()
        kind, channel = reply[0], reply[1]
        if kind in (b"message", b"smessage"):
            self._hearer.message(channel, reply[2])
        else:
            self._confirmed(kind, channel.decode())

    async def _write(self, replies: Replies) -> None:
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            if not self._asked and (commands := self._change()):
                replies.write(b"".join(self._connection.pack_commands(commands)))

    async def _watch(self, probe: Callable[[str], None], moves: Callable[[], int]) -> None:
        self._heard_at = monotonic()
        probed_at = -math.inf
        began = moves()
        while True:
            probing = probed_at > self._heard_at
            until = probed_at + PROBE_PATIENCE if probing else self._heard_at + PROBE_INTERVAL
            if (left := until - monotonic()) > 0:
                await asyncio.sleep(left)
            elif probing:
                raise TimeoutError("the subscription is dead")
            else:
                probed_at = monotonic()
                for channel in islice(self._active, 1):
                    probe(channel)
            if moves() != began:
                raise ConnectionError("Redis has moved")

    def _change(self) -> list[tuple[str, ...]]:
        """Return the commands of the next change."""
        prefix = "S" if self._sharded else ""
        commands = []
        for verb, waiting in (("UNSUBSCRIBE", self._leaving), ("SUBSCRIBE", self._joining)):
            some = list(islice(waiting, BATCH))
            for channel in some:
                del waiting[channel]
            if verb == "UNSUBSCRIBE":
                self._active.difference_update(some)
            for together in _by_slot(some) if self._sharded else [some]:
                if together:
                    commands.append((prefix + verb, *together))
                    kind = (prefix + verb).lower().encode()
                    self._asked.append(_Asked(kind, deque(together)))
        return commands

    def _confirmed(self, kind: bytes, channel: str) -> None:
        expected = self._asked[0] if self._asked else None
        if expected is not None and expected.kind == kind and expected.channels[0] == channel:
            expected.channels.popleft()
            if not expected.channels:
                self._asked.popleft()
            if not kind.endswith(b"unsubscribe"):
                self._active.add(channel)
                self._fresh.append(channel)
        elif kind == b"sunsubscribe" and channel in self._active:
            # Nobody has asked for it: the slot has moved.
            self._active.discard(channel)
            self._hearer.displaced([channel])
        if not self._asked:
            self._settled()

    def _refused(self, refusal: Exception) -> None:
        if not (self._asked and isinstance(refusal, AskError | ClusterDownError)):
            raise refusal
        # A MovedError is an AskError. It stands for the whole command, whose channels share a slot.
        self._hearer.displaced(self._asked.popleft().channels)
        if not self._asked:
            self._settled()

    def _settled(self) -> None:
        """Report what is heard, and send what has come meanwhile."""
        if fresh := [channel for channel in self._fresh if channel not in self._leaving]:
            self._hearer.subscribed(fresh)
        self._fresh.clear()
        if self._joining or self._leaving:
            self._due.set()


def _by_slot(channels: Iterable[str]) -> list[list[str]]:
    """Return the channels by their slot: one command may name those of one slot alone."""
    slots: defaultdict[int, list[str]] = defaultdict(list)
    for channel in channels:
        slots[key_slot(channel.encode())].append(channel)
    return list(slots.values())
