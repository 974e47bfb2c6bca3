"""A running server of all three services over a database, and rows that tests start from."""

import os
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from sqlalchemy import insert
from tornado.ioloop import IOLoop

from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from skyeim_ws.contract.pb.group_pb2_grpc import GroupStub
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.services.db import Database, open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.server import serve_services
from skyeim_ws.services.tables import (
    ACTIVE,
    ADMIN,
    MEMBER,
    NORMAL,
    OWNER,
    friends,
    group_members,
    groups,
)
from tests.databases import sqlite_file
from tests.services.mariadb import MariaDB, find_server, running_mariadb

if TYPE_CHECKING:
    from skyeim_ws.contract.pb.friend_pb2_grpc import FriendAsyncStub
    from skyeim_ws.contract.pb.group_pb2_grpc import GroupAsyncStub
    from skyeim_ws.contract.pb.message_pb2_grpc import MessageAsyncStub


@dataclass(frozen=True)
class Services:
    """A started server, stubs that speak to it, and its database."""

    database: Database
    channel: grpc.aio.Channel
    message: "MessageAsyncStub"
    friend: "FriendAsyncStub"
    group: "GroupAsyncStub"


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    """Run a MariaDB of this test process; tests that kill it start it again."""
    if find_server() is None:
        reason = "there is no MariaDB server: run tools/install-test-servers"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with running_mariadb() as server:
        yield server


@pytest.fixture
def mariadb(mariadb_server: MariaDB) -> MariaDB:
    """A MariaDB whose usual database has no rows, and perhaps no tables."""
    mariadb_server.clear()
    return mariadb_server


@pytest.fixture
def services(io_loop: IOLoop, tmp_path: Path) -> Iterator[Services]:
    """Start the services on a unix socket over an empty database; no Redis, no pushes."""
    stack = AsyncExitStack()
    started = io_loop.run_sync(lambda: start_services(stack, tmp_path))
    yield started
    io_loop.run_sync(stack.aclose)


@pytest.fixture
def database(io_loop: IOLoop, tmp_path: Path) -> Iterator[Database]:
    """Open an empty database."""
    opened = io_loop.run_sync(lambda: open_database(data_source_in(tmp_path)))
    yield opened
    io_loop.run_sync(opened.close)


def data_source_in(folder: Path) -> str:
    """Return the database that belongs to a folder: a SQLite file, unless another is named there.

    The modules `test_engines_*` name one, and so run the tests of other modules on it unchanged.
    """
    named = folder / "data_source"
    return named.read_text() if named.exists() else sqlite_file(folder / "im.db")


async def start_services(
    stack: AsyncExitStack,
    folder: Path,
    redis: RedisAddress | None = None,
    push_url: str | None = None,
) -> Services:
    """Start the services in `folder`; leaving the stack stops them."""
    database = await open_database(data_source_in(folder))
    stack.push_async_callback(database.close)
    events = Events(database, redis, push_url)
    stack.push_async_callback(events.close)
    address = f"unix:{folder / 's.sock'}"
    await stack.enter_async_context(serve_services(database, events, [address], grace=0.5))
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
    return Services(
        database, channel, MessageStub(channel), FriendStub(channel), GroupStub(channel)
    )


async def befriend(
    database: Database, user_id: int, friend_id: int, *, status: int = NORMAL, back: int = NORMAL
) -> None:
    """Insert both rows of a friendship; `status` is that of the first user's own row."""
    async with database.write() as connection:
        await connection.execute(
            insert(friends),
            [
                {"user_id": user_id, "friend_id": friend_id, "status": status},
                {"user_id": friend_id, "friend_id": user_id, "status": back},
            ],
        )


async def make_group(
    database: Database,
    group_id: str,
    owner: int,
    members: Iterable[int] = (),
    *,
    admins: Iterable[int] = (),
    muted: Iterable[int] = (),
    status: int = ACTIVE,
) -> None:
    """Insert a group, its owner and its members; `admins` and `muted` are among the members."""
    ordinary, admins, muted = list(members), set(admins), set(muted)
    roles = {owner: OWNER} | {each: ADMIN if each in admins else MEMBER for each in ordinary}
    async with database.write() as connection:
        await connection.execute(
            insert(groups).values(
                group_id=group_id,
                name=group_id,
                owner_id=owner,
                member_count=len(roles),
                status=status,
            )
        )
        await connection.execute(
            insert(group_members),
            [
                {"group_id": group_id, "user_id": each, "role": role, "mute": int(each in muted)}
                for each, role in roles.items()
            ],
        )


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    """Return the status and the `reason` of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    # The stubs do not know that an entry is a pair.
    trailing: Any = caught.value.trailing_metadata()
    return caught.value.code(), dict(trailing).get("reason", "")
