"""The channels of a cluster that belong to slots: each is heard at the master of its slot."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.store.cluster import Address, Cluster
from skyeim_ws.store.listener import Listener
from skyeim_ws.store.pipeline import Pipeline

log = structlog.get_logger()

SETTLE_SECONDS = 0.2
"""Between two looks at the map of slots, while there are channels without a master."""


class Audience(Protocol):
    """What is done with what is heard. None of it waits or raises."""

    def message(self, channel: bytes, data: bytes) -> None:
        """Handle a message."""

    def gained(self, channels: Sequence[str]) -> None:
        """Note that these channels are heard from now on."""

    def missed(self, channels: Sequence[str]) -> None:
        """Note that messages on these channels may have been missed, for some seconds already."""


class ShardedChannels:
    """Hears channels over one connection to each master that has the slot of any.

    A channel whose slot has moved, or whose connection is lost, is homeless until the map of slots
    has been read again.
    """

    def __init__(
        self,
        cluster: Cluster,
        pipeline: Pipeline,
        audience: Audience,
        probe: bytes,
    ) -> None:
        self._cluster = cluster
        self._pipeline = pipeline
        self._audience = audience
        self._probe = probe
        self._where: dict[str, Address] = {}
        self._homeless: dict[str, None] = {}
        self._heard: set[str] = set()
        self._listeners: dict[Address, Listener] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    @property
    def complete(self) -> bool:
        """Whether there is a connection for each channel; some may wait to be confirmed."""
        return not self._homeless and all(each.connected for each in self._listeners.values())

    async def run(self) -> None:
        """Find masters for the channels that have none, until it is cancelled."""
        lost = False
        try:
            while True:
                if self.complete:
                    lost = False
                await self._wake.wait()
                self._wake.clear()
                try:
                    await self._cluster.read_map()
                    self._settle()
                except Exception as error:  # whatever it is, the next look may find more
                    if not lost:
                        lost = True
                        log.warning("bus_lost", error=type(error).__name__)
                if self._homeless:
                    self._wake.set()
                # While a slot is on its way, its old master and its new one may both refuse it.
                await asyncio.sleep(SETTLE_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311
        finally:
            await cancel_and_wait(*self._tasks)

    def join(self, channels: Collection[str]) -> None:
        """Hear these channels too."""
        self._homeless.update(dict.fromkeys(channels))
        self._settle()
        if self._homeless:
            self._wake.set()

    def leave(self, channels: Collection[str]) -> None:
        """Hear these channels no more."""
        left: defaultdict[Address, list[str]] = defaultdict(list)
        for channel in channels:
            self._homeless.pop(channel, None)
            self._heard.discard(channel)
            address = self._where.pop(channel, None)
            if address is not None:
                left[address].append(channel)
        for address, some in left.items():
            self._listeners[address].leave(some)

    # What the connections hear.

    def message(self, channel: bytes, data: bytes) -> None:
        """Hand a message on."""
        self._audience.message(channel, data)

    def subscribed(self, channels: Sequence[str]) -> None:
        """Note what is heard from now on."""
        here = [channel for channel in channels if channel in self._where]
        self._heard.update(here)
        self._audience.gained(here)

    def displaced(self, channels: Iterable[str]) -> None:
        """Look for the masters of channels that are not heard where they were."""
        homeless = [channel for channel in channels if self._where.pop(channel, None) is not None]
        self._homeless.update(dict.fromkeys(homeless))
        missed = self._heard.intersection(homeless)
        self._heard -= missed
        if missed:
            self._audience.missed(list(missed))
        if homeless:
            self._cluster.doubt_map()
            self._wake.set()

    def _settle(self) -> None:
        """Hear each homeless channel at its master, if that is known."""
        found: defaultdict[Address, list[str]] = defaultdict(list)
        for channel in self._homeless:
            owner = self._cluster.owner(channel)
            if owner is not None:
                found[owner].append(channel)
                self._where[channel] = owner
        for address, channels in found.items():
            for channel in channels:
                del self._homeless[channel]
            listener = self._listeners.get(address)
            if listener is not None:
                listener.join(channels)
            else:
                self._start(address, channels)

    def _start(self, address: Address, channels: Sequence[str]) -> None:
        connection = self._cluster.connection(address)
        listener = Listener(connection, self, channels, sharded=True)
        self._listeners[address] = listener
        task = asyncio.create_task(self._hear(address, listener))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hear(self, address: Address, listener: Listener) -> None:
        try:
            await listener.run(self._send_probe, lambda: self._pipeline.moves)
        except Exception as error:  # whatever broke it, the answer is another connection
            lost = [channel for channel, where in self._where.items() if where == address]
            if lost:
                log.info(
                    "shard_lost", master=f"{address[0]}:{address[1]}", error=type(error).__name__
                )
            del self._listeners[address]
            self.displaced(lost)

    def _send_probe(self, channel: str) -> None:
        self._pipeline.publish(("SPUBLISH", channel, self._probe))
