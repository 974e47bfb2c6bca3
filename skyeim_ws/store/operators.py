"""What operators see of a running cluster and tell its nodes: over its Redis, from anywhere.

Whoever can log in to that Redis may do all of this; there is no other right.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.store import offline, traces
from skyeim_ws.store.announcements import TOLD_KEY
from skyeim_ws.store.client import Client, connect, dedicated, link
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.keys import missed_key, node_channel, queue_key, session_key
from skyeim_ws.store.messages import Order, decode_reply, encode
from skyeim_ws.store.nodes import node_sessions_key
from skyeim_ws.store.presence import CHUNK, USERS_KEY, chunks, group_key
from skyeim_ws.store.records import Seen, listing, read_listing
from skyeim_ws.store.sessions import CLEAN, is_session
from skyeim_ws.store.shard import Command, Shard

REPLY_PREFIX = "ws:reply:"

Answers = dict[str, dict[str, Any]]


class UserState(msgspec.Struct, frozen=True, rename="camel"):
    """What Redis says of a user."""

    node: str
    """Where the user's session is; empty if there is none."""
    conn_id: str
    clean_end: bool
    """Whether the last session has ended in order: there is none now."""
    listed_by_node: bool
    """Whether the node of the session knows of the user."""
    online: bool
    """Whether `online:users` has the user, which other services read."""
    told_online: bool
    """Whether friends were told last that the user is online."""
    queued: int
    missed: bool
    """Whether the next login gets all unread messages, since some may be in no queue."""


class Waiting(msgspec.Struct, frozen=True, rename="camel"):
    """A private message in an offline queue, without its content."""

    id: int
    msg_id: str
    from_user_id: int
    created_at: int


class Operators:
    """Made by `reached`. All methods raise RedisError, OSError or TimeoutError without Redis."""

    def __init__(self, client: Client, sender: Shard | Cluster, seconds: float) -> None:
        self._client = client
        self._sender = sender
        self._seconds = seconds

    async def nodes(self) -> list[Seen]:
        """Return the nodes that are listed, those heard of last first."""
        return read_listing(*await self._ask(*listing()))

    async def user(self, user_id: int) -> UserState:
        """Return what Redis says of a user."""
        session, queued, missed, online, told = await self._ask(
            ("GET", session_key(user_id)),
            ("LLEN", queue_key(user_id)),
            ("EXISTS", missed_key(user_id)),
            ("SISMEMBER", USERS_KEY, user_id),
            ("SISMEMBER", TOLD_KEY, user_id),
        )
        found = (session or b"").decode()
        node, conn_id, *_ = found.split(" ") if is_session(found) else ("", "")
        [listed] = await self._ask(("HEXISTS", node_sessions_key(node), user_id))
        return UserState(
            node=node,
            conn_id=conn_id,
            clean_end=found.startswith(CLEAN) and not is_session(found),
            listed_by_node=bool(listed),
            online=bool(online),
            told_online=bool(told),
            queued=queued,
            missed=bool(missed),
        )

    async def queue(self, user_id: int, limit: int) -> tuple[list[Waiting], int, int]:
        """Return the newest entries of a user's offline queue, newest first.

        Also how many of those cannot be read, and the length of the whole queue.
        """
        head, length = await self._ask(
            ("LRANGE", queue_key(user_id), 0, limit - 1), ("LLEN", queue_key(user_id))
        )
        read = [entry for entry in map(offline.decode, head) if entry is not None]
        waiting = [
            Waiting(each.id, each.msg_id, each.from_user_id, _created_at(each.raw)) for each in read
        ]
        return waiting, len(head) - len(read), length

    async def is_queued(self, user_id: int, msg_id: str) -> bool:
        """Return whether a private message waits in the queue of its receiver."""
        [entries] = await self._ask(("LRANGE", queue_key(user_id), 0, -1))
        read = map(offline.decode, entries)
        return any(entry is not None and entry.msg_id == msg_id for entry in read)

    async def trace(self, msg_id: str) -> tuple[list[traces.TraceLine], int]:
        """Return the lines of the trace of a message, and how many lines there are of all."""

        async def ask(command: Command) -> Any:
            [answer] = await self._ask(command)
            return answer

        return await traces.read(ask, msg_id)

    async def online_wrongly(self) -> dict[int, str]:
        """Return who is shown online and is nowhere, with the session that Redis has, or ""."""
        wrong: dict[int, str] = {}
        cursor = 0
        while True:
            [(cursor, members)] = await self._ask(("SSCAN", USERS_KEY, cursor, "COUNT", CHUNK))
            users = [int(member) for member in members if member.isdigit()]
            sessions = await self._ask(*(("GET", session_key(user)) for user in users))
            housed: list[tuple[int, str]] = []
            for user, session in zip(users, sessions, strict=True):
                found = (session or b"").decode()
                if is_session(found):
                    housed.append((user, found))
                else:
                    wrong[user] = ""
            listed = await self._ask(
                *(
                    ("HEXISTS", node_sessions_key(session.split(" ")[0]), user)
                    for user, session in housed
                )
            )
            wrong |= {
                each: name for (each, name), known in zip(housed, listed, strict=True) if not known
            }
            cursor = int(cursor)
            if not cursor:
                return wrong

    async def offline_wrongly(self, nodes: Collection[str]) -> set[int]:
        """Return who is connected to one of the nodes and is not shown online."""
        wrong: set[int] = set()
        for node in nodes:
            [keys] = await self._ask(("HKEYS", node_sessions_key(node)))
            users = [int(key) for key in keys if key.isdigit()]
            for some in chunks(users):
                [flags] = await self._ask(("SMISMEMBER", USERS_KEY, *some))
                wrong.update(user for user, flag in zip(some, flags, strict=True) if not flag)
        return wrong

    async def shown_online(self) -> int:
        """Return how many users `online:users` has."""
        [count] = await self._ask(("SCARD", USERS_KEY))
        return int(count)

    async def online_members(self, group_id: str) -> set[int]:
        """Return who of a group is online, as other services read it."""
        [members] = await self._ask(("SMEMBERS", group_key(group_id)))
        return {int(member) for member in members if member.isdigit()}

    async def order(
        self, nodes: Collection[str], what: str, about: Mapping[str, object], seconds: float
    ) -> Answers:
        """Order something of nodes; return the answers that came in time, by node.

        The answer of a node that could not do it has an `error`.
        """
        reply = REPLY_PREFIX + uuid.uuid4().hex
        message = encode(Order(what, msgspec.json.encode(about), reply))
        connection = await dedicated(self._client)
        answers: Answers = {}
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_command("SUBSCRIBE", reply)
            await connection.read_response()
            for node in nodes:
                await self._ask(("PUBLISH", node_channel(node), message))
            clock = asyncio.get_running_loop().time
            deadline = clock() + seconds
            while len(answers) < len(nodes) and (left := deadline - clock()) > 0:
                heard = await connection.read_response(timeout=left)
                if heard is not None:
                    said = decode_reply(heard[2])
                    answers[said.node] = msgspec.json.decode(said.answer)
        finally:
            await connection.disconnect(nowait=True)
        return answers

    async def _ask(self, *commands: Command) -> list[Any]:
        if not commands:
            return []
        async with asyncio.timeout(self._seconds):
            answers = await self._sender.send(commands, durable=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


def _created_at(entry: bytes) -> int:
    created = msgspec.json.decode(entry).get("createdAt")
    return created if isinstance(created, int) else 0


@asynccontextmanager
async def reached(address: RedisAddress, seconds: float) -> AsyncIterator[Operators]:
    """Connect to the Redis of the gateways; it has so many seconds for each answer."""
    client = connect(address, seconds)
    sender = link(client)
    try:
        yield Operators(client, sender, seconds)
    finally:
        await sender.aclose()
        await client.aclose()
