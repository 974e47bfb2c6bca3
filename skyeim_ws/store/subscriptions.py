"""Which channels this node hears; whatever breaks, the answer is a new connection."""

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.store.client import Client, dedicated
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.listener import Listener
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sharded import Audience, ShardedChannels

log = structlog.get_logger()

BACKOFF_FIRST, BACKOFF_LIMIT = 0.1, 2.0


class Subscriptions:
    """Hears the `fixed` channels, those of the node, and others, which may change at any time.

    All of them over one connection; but in a cluster each of the others is sharded: it is told to
    the master of its slot alone, and heard over a connection to that. `ready` is set while the
    fixed ones are heard. `probe` is a message that means nothing: the node sends it to itself.
    """

    def __init__(
        self,
        client: Client,
        pipeline: Pipeline,
        audience: Audience,
        fixed: Sequence[str],
        probe: bytes,
    ) -> None:
        self.ready = asyncio.Event()
        self._client = client
        self._pipeline = pipeline
        self._audience = audience
        self._fixed = fixed
        self._probe = probe
        self._on_ready: Callable[[], None] = lambda: None
        self._others: dict[str, None] = {}
        self._listener: Listener | None = None
        self._sharded = (
            ShardedChannels(client, pipeline, audience, probe)
            if isinstance(client, Cluster)
            else None
        )

    @property
    def complete(self) -> bool:
        """Whether there is a connection for each channel; some may wait to be confirmed."""
        return self.ready.is_set() and (self._sharded is None or self._sharded.complete)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Hear, until it is cancelled; `on_ready` is called each time `ready` is set."""
        self._on_ready = on_ready
        shards = None if self._sharded is None else asyncio.create_task(self._sharded.run())
        try:
            await self._keep()
        finally:
            if shards is not None:
                await cancel_and_wait(shards)

    def join(self, channels: Collection[str]) -> None:
        """Hear these channels too."""
        if self._sharded is not None:
            self._sharded.join(channels)
            return
        self._others.update(dict.fromkeys(channels))
        if self._listener is not None:
            self._listener.join(channels)

    def leave(self, channels: Collection[str]) -> None:
        """Hear these channels no more."""
        if self._sharded is not None:
            self._sharded.leave(channels)
            return
        for channel in channels:
            self._others.pop(channel, None)
        if self._listener is not None:
            self._listener.leave(channels)

    # What the connection of the node hears.

    def message(self, channel: bytes, data: bytes) -> None:
        """Hand a message on."""
        self._audience.message(channel, data)

    def subscribed(self, channels: Sequence[str]) -> None:
        """Note what is heard from now on; the fixed channels are the first."""
        others = [channel for channel in channels if channel not in self._fixed]
        if len(others) < len(channels):
            self.ready.set()
            self._on_ready()
        self._audience.gained(others)

    def displaced(self, channels: Sequence[str]) -> None:
        """Do nothing: there are no slots."""

    async def _keep(self) -> None:
        backoff = BACKOFF_FIRST
        lost = False
        while True:
            try:
                await self._hear()
            except Exception as error:  # whatever broke it, the answer is a new connection
                if self.ready.is_set():
                    backoff, lost = BACKOFF_FIRST, False
                if not lost:
                    lost = True
                    log.warning("bus_lost", error=type(error).__name__)
            finally:
                self.ready.clear()
            await asyncio.sleep(backoff * random.uniform(0.75, 1.25))  # noqa: S311
            backoff = min(backoff * 2, BACKOFF_LIMIT)

    async def _hear(self) -> None:
        connection = await dedicated(self._client)
        listener = self._listener = Listener(connection, self, [*self._fixed, *self._others])
        try:
            await listener.run(self._send_probe, lambda: self._pipeline.moves)
        finally:
            self._listener = None
            self._audience.missed([each for each in listener.active if each in self._others])

    def _send_probe(self, _: str) -> None:
        self._pipeline.publish(("PUBLISH", self._fixed[0], self._probe))
