"""A whole chat for a test: gateway, gRPC services over SQLite and Valkey, all real."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
from redis.asyncio import Redis
from sqlalchemy import Executable, Row, insert
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.netutil import bind_sockets
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.config.tree import Auth, Backends, Config, PushEventConf, ShutdownConf
from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.contract.names import DEMO_USERS
from skyeim_ws.contract.pb.group_pb2 import InviteMembersReq
from skyeim_ws.contract.pb.group_pb2_grpc import GroupStub
from skyeim_ws.gateway.app import Gateway, gateway
from skyeim_ws.handler import tokens
from skyeim_ws.services.db import Database, open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.server import serve_services
from skyeim_ws.services.shared_redis import open_redis
from skyeim_ws.services.tables import group_members, groups
from skyeim_ws.store.keys import session_key
from skyeim_ws.store.sessions import CLEAN
from tests.api.traffic import check_answer, check_received, check_sent
from tests.databases import sqlite_file
from tests.waiting import DEADLINE, until

if TYPE_CHECKING:
    from skyeim_ws.contract.pb.group_pb2_grpc import GroupAsyncStub

SECRET = "a secret for tests, longer than 32 bytes"
PUSH_SECRET = "the services' secret, longer than 32 bytes"
GRACE = 0.5
"""Seconds for calls under way at the end: one that is cut while it opens a connection to the
database leaves a thread behind."""

Frame = dict[str, Any]


class User:
    """A client of the gateway on a library that is not the gateway's own."""

    def __init__(self, user_id: int, connection: ClientConnection) -> None:
        self.user_id = user_id
        self.connection = connection
        self.skipped: list[Frame] = []

    async def send(self, kind: str, **data: Any) -> None:
        """Send a frame; names are as on the wire."""
        check_sent(kind, data)
        await self.connection.send(json.dumps({"type": kind, "data": data}))

    async def receive(self) -> Frame:
        """Return the next frame."""
        async with asyncio.timeout(DEADLINE):
            frame: Frame = json.loads(await self.connection.recv())
            check_received(frame)
            return frame

    async def expect(self, kind: str, **data: Any) -> dict[str, Any]:
        """Return the data of the next frame of this type that has these fields.

        What is passed over is kept in `skipped`.
        """
        try:
            while True:
                frame = await self.receive()
                found: dict[str, Any] = frame["data"]
                if frame["type"] == kind and data.items() <= found.items():
                    return found
                self.skipped.append(frame)
        except TimeoutError:
            raise AssertionError(
                f"no {kind} {data} came for {self.user_id}, but {self.skipped}"
            ) from None

    async def quiet(self) -> list[Frame]:
        """Return what comes before the answer to a ping: all that was sent until now."""
        await self.send("ping")
        frames = []
        while (frame := await self.receive())["type"] != "pong":
            frames.append(frame)
        return frames

    async def chat(self, to: int, content: str, **more: Any) -> dict[str, Any]:
        """Send a private message; return the `ack` that says it is stored."""
        await self.send("chat", toUserId=to, content=content, **more)
        return await self.expect("ack", status="sent")

    async def persist(self, kind: str, *, msg_id: str, **data: Any) -> dict[str, Any]:
        """Send a message, again under the same msgId while it is told `rpc_error`; its ack."""
        while True:
            await self.send(kind, msgId=msg_id, content="hello", **data)
            ack = await self.expect("ack", msgId=msg_id)
            while ack["status"] == "delivered":  # of an attempt that was told to be tried again
                ack = await self.expect("ack", msgId=msg_id)
            if ack["status"] == "sent":
                return ack
            assert ack["reason"] == "rpc_error"

    async def close_code(self) -> int | None:
        """Return the close code, once the server has closed the connection."""
        async with asyncio.timeout(DEADLINE):
            try:
                while True:
                    frame = json.loads(await self.connection.recv())
                    check_received(frame)
                    self.skipped.append(frame)
            except ConnectionClosed:
                return self.connection.close_code


class World:
    """The running chat and its users: 1001, 1002 and 1003 are friends, members of `g_demo`."""

    def __init__(self, stack: AsyncExitStack, folder: Path, config: Config) -> None:
        self._stack = stack
        self._services: AsyncExitStack | None = None
        self.folder = folder
        self.config = config
        self.gateway: Gateway
        self.backends: Backends
        self.database: Database
        self.redis: Redis
        self.group: GroupAsyncStub
        self.port = 0
        self.http: AsyncHTTPClient = SimpleAsyncHTTPClient(force_instance=True)
        stack.callback(self.http.close)

    @property
    def service_address(self) -> str:
        """The address of the business services."""
        return f"unix:{self.folder}/services.sock"

    async def start_services(self) -> None:
        """Start the business services on the same database as before."""
        async with AsyncExitStack() as stack:
            redis = self.config.redis
            assert redis is not None
            events = Events(
                self.database, redis.address, f"http://127.0.0.1:{self.port}", PUSH_SECRET
            )
            stack.push_async_callback(events.close)
            await stack.enter_async_context(
                serve_services(self.database, events, [self.service_address], grace=GRACE)
            )
            self._services = stack.pop_all()

    async def stop_services(self) -> None:
        """Stop the business services at once."""
        if self._services is not None:
            services, self._services = self._services, None
            await services.aclose()

    async def rows(self, statement: Executable) -> list[Row[Any]]:
        """Return what a statement finds in the database of the services."""
        async with self.database.read() as connection:
            return list((await connection.execute(statement)).all())

    async def execute(self, statement: Executable) -> None:
        """Change the database behind the services' back."""
        async with self.database.write() as connection:
            await connection.execute(statement)

    async def add_group(self, group_id: str, *user_ids: int) -> None:
        """Enter a group into the database; the first user owns it."""
        owner, count = user_ids[0], len(user_ids)
        await self.execute(
            insert(groups).values(
                group_id=group_id, name=group_id, owner_id=owner, member_count=count
            )
        )
        seats = [{"group_id": group_id, "user_id": user_id} for user_id in user_ids]
        await self.execute(insert(group_members).values(seats))

    async def invite(self, group_id: str, inviter_id: int, user_id: int) -> None:
        """Have a member take a user into a group, as the services do it."""
        await self.group.InviteMembers(
            InviteMembersReq(group_id=group_id, inviter_id=inviter_id, member_ids=[user_id])
        )

    async def add_node(self, **redis: Any) -> Gateway:
        """Start another gateway on the same services and Redis; `redis` overrides that section."""
        listeners = bind_sockets(0, "127.0.0.1")
        backends = replace(self.backends, redis=replace(self.backends.redis, **redis))
        return await self._stack.enter_async_context(gateway(self.config, backends, listeners))

    def token(self, user_id: int, **options: Any) -> str:
        """Return a token of the user."""
        return tokens.issue(SECRET, user_id, **({"ttl": 3600.0} | options))

    def url(self, user_id: int, node: Gateway | None = None, **query: str) -> str:
        """Return the address for the user's connection, to the first node if none is named."""
        more = "".join(f"&{name}={value}" for name, value in query.items())
        port = self.port if node is None else node.port
        return f"ws://127.0.0.1:{port}/ws?token={self.token(user_id)}{more}"

    async def dial(
        self, user_id: int, url: str | None = None, node: Gateway | None = None, **options: Any
    ) -> User:
        """Open a connection and read nothing; it is closed with the world."""
        # Unbounded, or what nobody has read would hold up the closing.
        settings: dict[str, Any] = {"max_queue": None, "max_size": None}
        settings |= {"compression": None, "ping_interval": None} | options
        connection = await connect(url or self.url(user_id, node), **settings)
        self._stack.push_async_callback(connection.close)
        return User(user_id, connection)

    async def login(self, user_id: int, **options: Any) -> User:
        """Open a connection and read its first frame; the offline window, if any, is next."""
        user = await self.dial(user_id, **options)
        connected = await user.receive()
        assert connected["type"] == "connected"
        return user

    async def get(self, path: str, user_id: int | None = None) -> HTTPResponse:
        """Call an HTTP path, as a user if one is named; never raises for a status."""
        headers = {} if user_id is None else {"Authorization": f"Bearer {self.token(user_id)}"}
        return await self.fetch(path, headers=headers)

    async def push(self, body: Mapping[str, Any] | bytes, path: str = "/api/push") -> HTTPResponse:
        """Push an event as a business service does."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"X-Skyeim-Push-Secret": PUSH_SECRET}
        return await self.fetch(path, method="POST", body=data, headers=headers)

    async def fetch(self, path: str, **options: Any) -> HTTPResponse:
        """Make an HTTP request to the gateway; never raises for a status."""
        request = HTTPRequest(f"http://127.0.0.1:{self.port}{path}", **options)
        response = await self.http.fetch(request, raise_error=False)
        check_answer(request.method, path, response.code, response.body)
        return response


@asynccontextmanager
async def world(
    redis: Path | RedisConf,
    folder: Path,
    *,
    group_rpc: RpcConf | None = None,
    rpc_timeout: int = 5000,
    settings: Mapping[str, Any] | None = None,
    been_here: bool = True,
    **ws: Any,
) -> AsyncIterator[World]:
    """Run a chat on a Redis, or on the one with that socket.

    `ws` overrides the WebSocket section, `group_rpc` where groups are asked for,
    `settings` overrides the top level of the configuration, `rpc_timeout` is in milliseconds. The
    users have `been_here` before, and left in order: at a first login they get all that is unread.
    """
    async with AsyncExitStack() as stack:
        rpc = RpcConf(endpoints=(f"unix:{folder}/services.sock",), timeout=rpc_timeout)
        redis_conf = redis if isinstance(redis, RedisConf) else RedisConf(host=str(redis))
        config = Config(
            name="test-gateway",
            host="127.0.0.1",
            port=0,
            mode="test",
            auth=Auth(access_secret=SECRET),
            message_rpc=rpc,
            friend_rpc=rpc,
            group_rpc=group_rpc or rpc,
            redis=redis_conf,
            web_socket=replace(WebSocketConf(), **({"login_burst": 0} | ws)),
            push_event=PushEventConf(secret=PUSH_SECRET),
            shutdown=ShutdownConf(wrap_up_time=0.2, wait_time=2),
        )
        config = replace(config, **(settings or {}))
        listeners = bind_sockets(0, "127.0.0.1")
        result = World(stack, folder, config)
        result.port = listeners[0].getsockname()[1]
        stack.push_async_callback(_database_threads_ended)
        result.database = await open_database(sqlite_file(folder / "skyeim.db", demo=True))
        stack.push_async_callback(result.database.close)
        await result.start_services()
        stack.push_async_callback(result.stop_services)
        # The client of a cluster has the same methods.
        owner = replace(redis_conf, user="", password="")
        result.redis = cast(Redis, open_redis(owner.address))
        stack.push_async_callback(result.redis.aclose)
        if been_here:
            for user_id in DEMO_USERS:
                await result.redis.set(session_key(user_id), CLEAN)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(result.service_address))
        result.group = GroupStub(channel)
        result.backends = Backends(
            redis_conf,
            config.message_rpc or rpc,
            config.friend_rpc or rpc,
            config.group_rpc or rpc,
            private_redis=False,
        )
        result.gateway = await stack.enter_async_context(
            gateway(config, result.backends, listeners)
        )
        yield result


async def _database_threads_ended() -> None:
    """Wait for the threads of connections that were being opened when their caller was cancelled.

    Nobody else does, and they want the loop when they end.
    """
    name = "_connection_worker_thread"
    await until(lambda: not any(name in thread.name for thread in threading.enumerate()))
