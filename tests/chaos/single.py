"""One Valkey under a rig: it keeps its data, its clock can be set, and its address can move."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

from redis.asyncio import Redis
from redis.exceptions import RedisError

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.process import valkey
from tests.chaos.process import Process
from tests.faketime import LIBRARY, Clock
from tests.ports import free_port
from tests.waiting import until_async


class Valkey(Process):
    """A server with its data in a folder of its own."""

    def __init__(self, data: Path, folder: Path, clock: Clock) -> None:
        self.socket = str(data / "s")
        command = valkey.command(valkey.find_server(), data, data / "s")
        environment = clock.environment if LIBRARY else {}
        super().__init__(f"valkey-{data.name}", command, folder, environment)


class Single:
    """The `kinds.Kind` of one server behind an address, which is a link to its socket."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(folder / "clock")
        self._folder = folder
        self._socket = folder / "s"
        self._servers: list[Valkey] = []
        self._server = self._new()
        self._lead_to(self._server)

    @property
    def conf(self) -> RedisConf:
        """Return what stands under `Redis`."""
        return RedisConf(host=str(self._socket))

    def master(self, _: Random) -> Valkey:
        """Return the server."""
        return self._server

    async def is_well(self) -> bool:
        """Say that the gateways see it; fail if it has ended by itself."""
        self._server.check()
        return True

    async def stop_writing(self) -> None:
        """Have it answer as before, and forget from now on what it is told if it is killed.

        So does one with `appendfsync everysec` on a slow disk, for some two seconds.
        """
        async with Redis(unix_socket_path=self._server.socket) as redis:
            await redis.config_set("appendonly", "no")

    async def move(self) -> None:
        """Make another Valkey the master, as one does who takes a machine out of service.

        What is written is there already when the address moves. The old one refuses writes from
        then on, and ends with `end_retired`.
        """
        old, new = self._server, self._new()
        await new.start()
        async with (
            Redis(unix_socket_path=old.socket) as before,
            Redis(unix_socket_path=new.socket) as after,
        ):
            await until_async(lambda: _answers(after))
            await before.config_set("repl-diskless-sync-delay", 0)
            await before.config_set("bind", "127.0.0.1")
            port = free_port()
            await before.config_set("port", port)
            await after.replicaof("127.0.0.1", str(port))
            await until_async(lambda: _is_synced(after))
            # Until its file is written anew, it would forget all that it has been given.
            await until_async(lambda: _is_kept(after))
            # Until it refuses writes, however long the steps take: what it took after the other one
            # has stopped to listen would be lost.
            await before.execute_command("CLIENT", "PAUSE", "60000", "WRITE")  # type: ignore[no-untyped-call]
            written = (await before.info("replication"))["master_repl_offset"]
            await until_async(lambda: _has_read(after, written))
            await after.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
            self._server = new
            self._lead_to(new)
            # A replica of nobody, which refuses to write.
            await before.replicaof("127.0.0.1", "1")
            await before.client_unpause()

    async def end_retired(self) -> None:
        """End the masters that were."""
        for server in self._servers:
            if server is not self._server:
                await server.kill()

    async def end(self) -> None:
        """End all."""
        for server in self._servers:
            await server.kill()

    def _new(self) -> Valkey:
        data = self._folder / f"v{len(self._servers) + 1}"
        data.mkdir()
        self._servers.append(Valkey(data, self._folder, self.clock))
        return self._servers[-1]

    def _lead_to(self, server: Valkey) -> None:
        self._socket.unlink(missing_ok=True)
        self._socket.symlink_to(server.socket)


@asynccontextmanager
async def single(folder: Path) -> AsyncIterator[Single]:
    """Run one server."""
    kind = Single(folder)
    try:
        await kind.master(Random()).start()
        yield kind
    finally:
        await kind.end()


async def _answers(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except RedisError:
        return False


async def _is_synced(replica: Redis) -> bool:
    return bool((await replica.info("replication")).get("master_link_status") == "up")


async def _is_kept(redis: Redis) -> bool:
    found = await redis.info("persistence")
    return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])


async def _has_read(replica: Redis, offset: int) -> bool:
    return bool((await replica.info("replication"))["slave_repl_offset"] >= offset)
