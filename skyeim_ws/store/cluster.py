"""A Redis Cluster: which master has which key, and one write to each of them.

The library's own client is not used. When one node fails, it reports that at once and leaves the
writes to the other nodes under way. A retry could then be overtaken by its first try.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError

from skyeim_ws.store.shard import Command, Shard

log = structlog.get_logger()

Address = tuple[str, int]

SLOTS_SECONDS = 0.5
"""How long one node has to tell the map of slots."""

SHARD_SECONDS = 1.0
"""How long one master has for its part of a write. It is less than the whole write has, so that the
others can answer although one master is silent."""

_KEYLESS = {"PING", "PUBLISH"}
_SCRIPT = "EVAL"


class Cluster:
    """Sends commands to the masters of a cluster; `seeds` are some of its nodes.

    `connect` gives the client of one node. What is sent to one slot keeps its order; slots of
    different masters do not wait for one another. One `send` at a time. `maps` grows when there are
    other masters.
    """

    def __init__(self, seeds: Sequence[Address], connect: Callable[[str, int], Redis]) -> None:
        self._seeds = tuple(seeds)
        self._connect = connect
        self._shards: dict[Address, Shard] = {}
        self._masters: list[Address] = []
        self._owners: list[Address | None] = []
        self._failed: set[Address] = set()
        self._stale = True
        self.maps = 0
        self._reading = asyncio.Lock()

    async def send(self, commands: Sequence[Command], *, durable: bool) -> list[Any]:
        """Send each command to the master of its key; return the answers in the same order.

        A command that was refused or whose master failed has an exception for its answer. Raises
        if no master is left that is thought to live.
        """
        if self._stale:
            await self.read_map()
        parts: dict[Address, list[int]] = {}
        for position, command in enumerate(commands):
            for address in self._targets(command):
                parts.setdefault(address, []).append(position)
        answers: list[Any] = [None] * len(commands)
        failures = await self._send_parts(parts, commands, answers, durable=durable)
        if failures and not self._living():
            raise failures[0]
        self._stale |= any(isinstance(a, MovedError | ClusterDownError) for a in answers)
        await self._follow(commands, answers, durable=durable)
        return answers

    def owner(self, key: str) -> Address | None:
        """Return the master of a key, or of a channel, as far as it is known."""
        return None if not self._owners or self._stale else self._owners[key_slot(key.encode())]

    def doubt_map(self) -> None:
        """Have the map of slots read again before it is used."""
        self._stale = True

    def connection(self, address: Address) -> AbstractConnection:
        """Return a connection of one's own to a master, not open yet."""
        pool = self._shard(address).redis.connection_pool
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def any_node(self) -> Redis:
        """Return the client of a master that is thought to live; another one each time."""
        if not self._masters:
            await self.read_map()
        return self._shard(random.choice(self._living() or self._masters)).redis  # noqa: S311

    async def masters(self) -> list[Redis]:
        """Return the clients of all masters."""
        if not self._masters:
            await self.read_map()
        return [self._shard(address).redis for address in self._masters]

    async def aclose(self) -> None:
        """Close the connections to all nodes."""
        for address in list(self._shards):
            await self._close(address)
        self._stale = True

    def _living(self) -> list[Address]:
        return [address for address in self._masters if address not in self._failed]

    def _targets(self, command: Command) -> list[Address]:
        name = command[0]
        if name == "PING":
            return self._masters  # the cluster is well if all are
        if name in _KEYLESS:
            # The same one each time, as long as it lives: what one publishes stays in order.
            return (self._living() or self._masters)[:1]
        key = command[3 if name == _SCRIPT else 1]
        data = key if isinstance(key, bytes) else str(key).encode()
        owner = self._owners[key_slot(data)]
        if owner is None:
            # Send it anyway: any node answers where it belongs, or that the cluster is down.
            return self._masters[:1]
        return [owner]

    async def _send_parts(
        self,
        parts: dict[Address, list[int]],
        commands: Sequence[Command],
        answers: list[Any],
        *,
        durable: bool,
    ) -> list[Exception]:
        """Write each part to its node, fill in the answers; return what failed as a whole."""
        # Wait for all of them: a write that is still under way could overtake its retry.
        results = await asyncio.gather(
            *(
                self._send_part(address, [commands[i] for i in positions], durable=durable)
                for address, positions in parts.items()
            )
        )
        failures = []
        for positions, result in zip(parts.values(), results, strict=True):
            if isinstance(result, Exception):
                failures.append(result)
            for position, answer in zip(positions, _each(result, len(positions)), strict=True):
                if not isinstance(answers[position], Exception):
                    answers[position] = answer
        return failures

    async def _send_part(
        self, address: Address, commands: list[Command], *, durable: bool
    ) -> list[Any] | Exception:
        self._failed.add(address)
        try:
            async with asyncio.timeout(SHARD_SECONDS):
                answers = await self._shard(address).send(commands, durable=durable)
        except Exception as error:  # not RedisError alone: a transport that dies raises others
            self._stale = True
            return error
        self._failed.discard(address)
        return answers

    async def _follow(
        self, commands: Sequence[Command], answers: list[Any], *, durable: bool
    ) -> None:
        """Send what was refused with another address there, once; in the same order."""
        wanted: dict[Address, list[Command]] = {}
        places: dict[Address, list[int | None]] = {}
        for position, answer in enumerate(answers):
            if not isinstance(answer, AskError) or not answer.host:  # MovedError is one too
                continue
            address = (answer.host, answer.port)
            if not isinstance(answer, MovedError):
                wanted.setdefault(address, []).append(("ASKING",))
                places.setdefault(address, []).append(None)
            wanted.setdefault(address, []).append(commands[position])
            places.setdefault(address, []).append(position)
        for address, some in wanted.items():
            result = await self._send_part(address, some, durable=durable)
            for place, answer in zip(places[address], _each(result, len(some)), strict=True):
                if place is not None:
                    answers[place] = answer

    def _shard(self, address: Address) -> Shard:
        shard = self._shards.get(address)
        if shard is None:
            shard = self._shards[address] = Shard(self._connect(*address), replicated=True)
        return shard

    async def read_map(self) -> None:
        """Read the map of slots if it is in doubt, once for all who want it now."""
        async with self._reading:
            if self._stale:
                await self._ask_for_map()

    async def _ask_for_map(self) -> None:
        """Ask the nodes, one after the other; those that failed come last."""
        known = list({*self._shards, *self._seeds})
        random.shuffle(known)
        known.sort(key=lambda address: address in self._failed)
        error: Exception = ClusterError("no node knows of any slot")
        for address in known:
            self._failed.add(address)
            try:
                async with asyncio.timeout(SLOTS_SECONDS):
                    [ranges] = await self._shard(address).send(
                        [("CLUSTER", "SLOTS")], durable=False
                    )
            except Exception as caught:
                error = caught
                continue
            self._failed.discard(address)
            if isinstance(ranges, Exception):
                error = ranges
            elif ranges:
                await self._use(ranges, address)
                return
        raise error

    async def _use(self, ranges: list[Any], teller: Address) -> None:
        owners: list[Address | None] = [None] * 16_384
        for first, last, (host, port, *_), *_ in ranges:
            # A node that does not know its own address gives none. It is the one that we asked.
            address = (host.decode() if host else teller[0], int(port))
            owners[first : last + 1] = [address] * (last + 1 - first)
        masters = list(dict.fromkeys(owner for owner in owners if owner is not None))
        if masters != self._masters:
            self.maps += 1
            log.info("redis_cluster_mapped", masters=[f"{host}:{port}" for host, port in masters])
        self._owners, self._masters, self._stale = owners, masters, False
        self._failed.intersection_update({*masters, *self._seeds})
        for address in set(self._shards).difference(masters):
            await self._close(address)

    async def _close(self, address: Address) -> None:
        shard = self._shards.pop(address)
        await shard.aclose()
        await shard.redis.aclose()


def _each(result: list[Any] | Exception, count: int) -> list[Any]:
    """Return the answers; of a write that failed as a whole, its exception for each command."""
    return [result] * count if isinstance(result, Exception) else result
