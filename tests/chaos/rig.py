"""Gateways, a Redis of some kind and the business services: processes, each to be killed."""

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from itertools import permutations
from pathlib import Path
from typing import Protocol

from sqlalchemy import func, insert, select, update
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from skyeim_ws.services.db import open_database
from skyeim_ws.services.tables import friends, group_members, group_seqs, groups, messages
from tests.chaos.gateway import TRACED
from tests.chaos.kinds import Kind, section, started
from tests.chaos.process import Process
from tests.ports import free_port
from tests.waiting import until_async
from tests.world import PUSH_SECRET, SECRET

GROUP = "g_chaos"

HEALTHY_SECONDS = 120.0
"""How long a fault may take to heal; a machine with much else to do starts processes slowly."""


class Client(Protocol):
    """Somebody who is connected."""

    def cut(self) -> None:
        """Lose the connection at once."""


class Rig:
    """The running cluster."""

    def __init__(
        self, folder: Path, redis: Kind, nodes: int, users: Sequence[int], without: str
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.users = users
        self.clients: Sequence[Client] = ()
        self.ports = [free_port() for _ in range(nodes)]
        self.database = folder / "skyeim.db"
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=100)
        # The newest id and seq of the group before its counter was set back.
        self.counted = (0, 0)
        # Told so before it is; afterwards the first messages of the new order may be there already.
        self.on_set_back: Callable[[int, int], None] = lambda *_: None
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
        return [self.services, *self.gateways]

    async def start(self) -> None:
        """Fill the database and start everything."""
        await self._seed()
        for process in self.processes:
            await process.start()
        await self.healthy()

    async def close(self) -> None:
        """Kill everything."""
        self._http.close()
        for process in self.processes:
            await process.kill()

    async def healthy(self) -> None:
        """Wait until every gateway serves and reaches Redis, which is as it was."""

        async def all_healthy() -> bool:
            for process in self.processes:
                process.check()
            well = [await self._is_healthy(port) for port in self.ports]
            return all([*well, await self.redis.is_well()])

        await until_async(all_healthy, HEALTHY_SECONDS)

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
Redis: {section(self.redis.conf)}
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
    folder: Path, redis: str, nodes: int, users: Sequence[int], without: str = ""
) -> AsyncIterator[Rig]:
    """Run it on a kind of Redis, its gateways on request without one of their parts."""
    async with AsyncExitStack() as stack:
        kind = await stack.enter_async_context(started(redis, folder))
        rig = Rig(folder, kind, nodes, users, without)
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
