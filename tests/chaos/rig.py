"""The processes of a cluster: gateways, one Valkey and the business services, each to be killed."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from itertools import permutations
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, insert, select, update
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from skyeim_ws.process import valkey
from skyeim_ws.services.db import open_database
from skyeim_ws.services.tables import friends, group_members, group_seqs, groups, messages
from skyeim_ws.store.announcements import TOLD_KEY
from tests.chaos.gateway import TRACED
from tests.faketime import LIBRARY, Clock
from tests.ports import free_port
from tests.waiting import until_async
from tests.world import PUSH_SECRET, SECRET

GROUP = "g_chaos"

HEALTHY_SECONDS = 120.0
"""How long a fault may take to heal; a machine with much else to do starts processes slowly."""
ROOT = Path(__file__).resolve().parent.parent.parent


class Process:
    """A command that can be killed and started again; what it says goes to a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._environment = os.environ | (environment or {})
        self._output = folder / f"{name}.out"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, as a leader of nothing: a signal to the driver is not for it."""
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=self._environment,
            )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            process, self._process = self._process, None
            if process.returncode is None:
                process.kill()
            await process.wait()

    def check(self) -> None:
        """Fail if it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            raise AssertionError(f"{self.name} ended: {self._output.read_text()[-3000:]}")


class Valkey(Process):
    """A server with its data in a folder of its own."""

    def __init__(self, data: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.socket = str(data / "s")
        command = valkey.command(valkey.find_server(), data, data / "s")
        super().__init__(f"valkey-{data.name}", command, folder, environment)


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


class Client(Protocol):
    """Somebody who is connected."""

    def cut(self) -> None:
        """Lose the connection at once."""


class Rig:
    """The running cluster."""

    def __init__(self, folder: Path, nodes: int, users: Sequence[int], without: str) -> None:
        self.folder = folder
        self.users = users
        self.clients: Sequence[Client] = ()
        self.ports = [free_port() for _ in range(nodes)]
        self._retired: list[Process] = []
        self.socket = folder / "s"
        self.database = folder / "skyeim.db"
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=100)
        self.clock = Clock(folder / "clock")
        # The newest id and seq of the group before its counter was set back.
        self.counted = (0, 0)
        # Told so before it is; afterwards the first messages of the new order may be there already.
        self.on_set_back: Callable[[int, int], None] = lambda *_: None
        self._valkeys = 0
        self.valkey = self._new_valkey()
        self._move_to(self.valkey)
        services = (sys.executable, "-m", "skyeim_ws", "services", "-f", str(self._config(0)))
        self.services = Process("services", services, folder)
        self.gateways = [
            Process(
                f"node-{number}",
                (sys.executable, "-m", "tests.chaos.gateway", str(self._config(number)), without),
                folder,
            )
            for number in range(nodes)
        ]

    @property
    def processes(self) -> list[Process]:
        """All of them, in the order of starting."""
        return [self.valkey, self.services, *self.gateways]

    async def start(self) -> None:
        """Fill the database and start everything."""
        await self._seed()
        for process in self.processes:
            await process.start()
        await self.healthy()

    async def close(self) -> None:
        """Kill everything."""
        self._http.close()
        await self.end_retired()
        for process in self.processes:
            await process.kill()

    async def healthy(self) -> None:
        """Wait until every gateway serves and reaches Redis."""

        async def all_healthy() -> bool:
            for process in self.processes:
                process.check()
            return all([await self._is_healthy(port) for port in self.ports])

        await until_async(all_healthy, HEALTHY_SECONDS)

    async def cut_subscriptions(self) -> None:
        """Have Valkey end the connections on which the gateways listen."""
        async with Redis(unix_socket_path=str(self.socket)) as redis:
            await redis.client_kill_filter(_type="pubsub")

    async def empty(self) -> None:
        """Have Valkey lose all that it knows."""
        async with Redis(unix_socket_path=str(self.socket)) as redis:
            await redis.flushall()

    async def move(self) -> None:
        """Make another Valkey the master, as one does who takes a machine out of service.

        What is written is there already when the address moves. The old one refuses writes from
        then on, and ends some time later.
        """
        old, new = self.valkey, self._new_valkey()
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
            self.valkey = new
            self._move_to(new)
            # A replica of nobody, which refuses to write.
            await before.replicaof("127.0.0.1", "1")
            await before.client_unpause()
        self._retired.append(old)

    async def end_retired(self) -> None:
        """End the masters that were."""
        while self._retired:
            await self._retired.pop().kill()

    def _new_valkey(self) -> "Valkey":
        self._valkeys += 1
        folder = self.folder / f"v{self._valkeys}"
        folder.mkdir()
        return Valkey(folder, self.folder, self.clock.environment if LIBRARY else {})

    def _move_to(self, server: "Valkey") -> None:
        self.socket.unlink(missing_ok=True)
        self.socket.symlink_to(server.socket)

    async def online(self) -> dict[str, set[int]]:
        """Return who is online by each of the sets in Valkey."""
        async with Redis(unix_socket_path=str(self.socket)) as redis:
            keys = ("online:users", f"group:online:{GROUP}", TOLD_KEY)
            found = {key: set(map(int, await redis.smembers(key))) for key in keys}
            listed = [await redis.hkeys(key) for key in await redis.keys("ws:sessions:*")]
        return found | {"ws:sessions": {int(user) for users in listed for user in users}}

    async def set_back(self, by: int) -> None:
        """Have the group count anew from an earlier seq; `counted` says what it had come to."""
        database = await open_database(str(self.database))
        try:
            async with database.write() as connection:
                of_group = messages.c.group_id == GROUP
                found = await connection.execute(
                    select(func.max(messages.c.id), func.max(messages.c.seq)).where(of_group)
                )
                newest_id, last = found.one()
                await connection.execute(
                    update(group_seqs)
                    .where(group_seqs.c.group_id == GROUP)
                    .values(seq=max(last - by, 0))
                )
                self.counted = int(newest_id), int(last)
                self.on_set_back(*self.counted)
        finally:
            await database.close()

    async def get(self, port: int, path: str, token: str) -> bytes:
        """Make a user's HTTP call, again while a service is not reached; return the body."""
        headers = {"Authorization": f"Bearer {token}"}

        async def answer() -> bytes:
            url = f"http://127.0.0.1:{port}{path}"
            found = await self._http.fetch(url, headers=headers, raise_error=False)
            if found.code == HTTPStatus.SERVICE_UNAVAILABLE:
                return b""
            found.rethrow()
            return found.body

        return await until_async(answer)

    def logins_without_redis(self) -> set[str]:
        """Return the connections at whose login Redis has not answered."""
        said = "".join(path.read_text(errors="replace") for path in self.folder.glob("node-*.out"))
        return set(re.findall(r"offline_window_replaced .*?conn=(\S+)", said))

    async def stored(self) -> dict[str, tuple[int, int]]:
        """Return what the database holds: the id and seq of each msgId."""
        database = await open_database(str(self.database))
        try:
            async with database.read() as connection:
                found = await connection.execute(
                    select(messages.c.msg_id, messages.c.id, messages.c.seq)
                )
                return {msg_id: (id_, seq) for msg_id, id_, seq in found}
        finally:
            await database.close()

    async def _is_healthy(self, port: int) -> bool:
        try:
            url = f"http://127.0.0.1:{port}/health"
            answer = await self._http.fetch(url, request_timeout=2)
        except Exception:  # not there yet
            return False
        return b'"ok"' in answer.body

    async def _seed(self) -> None:
        """Make everybody a friend of everybody, and a member of the group."""
        database = await open_database(str(self.database))
        try:
            async with database.write() as connection:
                pairs = [
                    {"user_id": one, "friend_id": other}
                    for one, other in permutations(self.users, 2)
                ]
                await connection.execute(insert(friends), pairs)
                await connection.execute(
                    insert(groups).values(
                        group_id=GROUP,
                        name=GROUP,
                        owner_id=self.users[0],
                        member_count=len(self.users),
                    )
                )
                seats = [{"group_id": GROUP, "user_id": user} for user in self.users]
                await connection.execute(insert(group_members), seats)
        finally:
            await database.close()

    def _config(self, number: int) -> Path:
        rpc = f"{{Endpoints: ['unix:{self.folder}/services.sock'], Timeout: 3000}}"
        path = self.folder / f"node-{number}.yaml"
        path.write_text(f"""
Name: node-{number}
Host: 127.0.0.1
Port: {self.ports[number]}
Mode: test
Auth: {{AccessSecret: "{SECRET}"}}
Redis: {{Host: {self.socket}}}
MessageRpc: {rpc}
FriendRpc: {rpc}
GroupRpc: {rpc}
Database: {{DataSource: {self.database}}}
PushEvent: {{Secret: "{PUSH_SECRET}"}}
WebSocket:
  {{LoginBurst: 0, NodeRenewInterval: 500ms, NodeDeadAfter: 3s, PingInterval: 5, PongTimeout: 15,
  PresenceCheckInterval: 10s}}
Log: {{Encoding: plain}}
Trace: {{Sampler: {int(TRACED in os.environ)}}}
""")
        return path


@asynccontextmanager
async def running(
    folder: Path, nodes: int, users: Sequence[int], without: str = ""
) -> AsyncIterator[Rig]:
    """Run a cluster, its gateways on request without one of their parts."""
    async with AsyncExitStack() as stack:
        rig = Rig(folder, nodes, users, without)
        stack.push_async_callback(rig.close)
        await rig.start()
        yield rig


def output(folder: Path, lines: int = 15) -> str:
    """Return the last lines that each process has said."""
    parts = []
    for path in sorted(folder.glob("*.out")):
        said = path.read_text(errors="replace").splitlines()[-lines:]
        parts.append(os.linesep.join([f"== {path.stem}", *said]))
    return os.linesep.join(parts)
