"""A client as anyone would write it: drops duplicates, sends again, pulls while there is more.

Every second one stores what it gets, and resumes. The next message of a conversation is sent when
the one before is acked, as a person does it.

It speaks in frames, and not through `skyeim_ws.client`: that sorts what comes and fills gaps, and
so would hide what the books here are kept for.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from skyeim_ws.handler import tokens
from tests.api.traffic import UndocumentedError, check_received
from tests.chaos.book import Book, Message
from tests.chaos.rig import GROUP, Rig
from tests.world import SECRET

PULL = 100
RETRY_SECONDS = 0.2
DEAF_SECONDS = 0.4
ACK_SECONDS = 4.0
"""After so long without an answer a message is sent again."""


class Person:
    """A user on one connection at a time, to a random node."""

    def __init__(self, user_id: int, rig: Rig, book: Book, seed: int) -> None:
        self.user_id = user_id
        self.connections = 0
        self.heard: dict[int, bool] = {}
        self.token = tokens.issue(SECRET, user_id, ttl=86_400)
        self._rig = rig
        self._book = book
        self._random = random.Random(f"{seed}-{user_id}")
        self._count = 0
        self._unacked: dict[str, Message] = {}
        self._answers: dict[str, asyncio.Event] = {}
        self._connection: ClientConnection | None = None
        self._window = 0
        self._old = False
        self._first = False
        self._resumes = user_id % 2 == 0
        self._largest = 0
        self._conn_id = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether the person is connected, and all that was sent is acked."""
        return self._connection is not None and not self._unacked

    async def live(self) -> None:
        """Be connected for good; cancel it to end."""
        try:
            while True:
                with contextlib.suppress(OSError, InvalidHandshake, ConnectionClosed, TimeoutError):
                    await self._connected()
                self._connection = None
                await asyncio.sleep(self._random.uniform(0, RETRY_SECONDS))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drop(self) -> None:
        """Lose the connection without a word, and before that for a while what comes over it."""
        if (connection := self._connection) is not None:
            with contextlib.suppress(RuntimeError):  # it is closed already
                connection.transport.pause_reading()
            await asyncio.sleep(self._random.uniform(0, DEAF_SECONDS))
            connection.transport.abort()

    def cut(self) -> None:
        """Lose the connection at once."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def send(self, to: int) -> None:
        """Send a message, and return when it is acked."""
        self._count += 1
        message = Message(f"{self.user_id}-{self._count}", self.user_id, to)
        self._unacked[message.msg_id] = message
        answer = self._answers[message.msg_id] = asyncio.Event()
        while message.msg_id in self._unacked:
            answer.clear()
            await self._write(message)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ACK_SECONDS):
                    await answer.wait()
            if message.msg_id in self._unacked:
                self._book.counts["sent again"] += 1
                await asyncio.sleep(self._random.uniform(0.1, RETRY_SECONDS))
        del self._answers[message.msg_id]

    async def _connected(self) -> None:
        port = self._random.choice(self._rig.ports)
        query = {"token": self.token} | ({"resume": self._largest} if self._resumes else {})
        url = f"ws://127.0.0.1:{port}/ws?{urlencode(query)}"
        options: dict[str, Any] = {"compression": None, "ping_interval": None, "close_timeout": 1}
        async with connect(url, open_timeout=5, max_queue=None, **options) as connection:
            self._window, self._first = 0, not self._resumes
            self._connection = connection
            self.heard = {}
            self.connections += 1
            # What was sent on the last connection may be lost: its senders write it again.
            for answer in self._answers.values():
                answer.set()
            try:
                while True:
                    frame = json.loads(await connection.recv())
                    try:
                        check_received(frame)
                    except UndocumentedError as error:
                        self._book.wrong.append(str(error))
                    self._received(frame)
            except ConnectionClosed:
                if connection.close_code == 4001:
                    self._book.wrong.append(f"{self.user_id} was kicked by nobody")
                raise

    async def _write(self, message: Message) -> None:
        data = {"msgId": message.msg_id, "content": f"hello from {message.sender}"}
        if message.to:
            await self._frame("chat", toUserId=message.to, **data)
        else:
            await self._frame("group_chat", groupId=GROUP, **data)

    async def _frame(self, kind: str, **data: Any) -> None:
        if self._connection is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._connection.send(json.dumps({"type": kind, "data": data}))

    def _received(self, frame: dict[str, Any]) -> None:
        kind, data = frame["type"], frame["data"]
        if kind == "chat":
            old, self._window = self._old and self._window > 0, max(self._window - 1, 0)
            self._book.arrived(
                self.user_id,
                data["fromUserId"],
                data["msgId"],
                data["id"],
                old=old,
                connection=self._conn_id,
            )
            self._first = False
            self._largest = max(self._largest, data["id"])
        elif kind == "connected":
            self._conn_id = data["connId"]
            if self._resumes:
                self._pull()  # what is not confirmed, and older
        elif kind == "group_chat":
            self._book.of_group_arrived(self.user_id, data["id"], data["seq"])
        elif kind == "ack":
            self._acked(data)
        elif kind in ("online", "offline"):
            self.heard[data["userId"]] = kind == "online"
        elif kind == "offline_messages":
            # The first one stands before all that is live.
            self._window, self._old = data["pushCount"], not self._first
            self._first = False
            if data["hasMore"]:
                self._pull()
        elif kind == "error" and "msgId" not in data:
            self._pull(after=RETRY_SECONDS)

    def _acked(self, data: dict[str, Any]) -> None:
        message = self._unacked.get(data["msgId"])
        if data["status"] == "sent":
            if message is not None:
                del self._unacked[message.msg_id]
                self._book.acked(message, data["id"])
                if not message.to:
                    self._book.of_group[self.user_id].add(data["id"])
        elif data["status"] == "failed":
            self._book.counts[f"failed: {data['reason']}"] += 1
        if (answer := self._answers.get(data["msgId"])) is not None:
            answer.set()

    def _pull(self, after: float = 0) -> None:
        async def pull() -> None:
            await asyncio.sleep(after)
            await self._frame("offline_pull", limit=PULL)

        task = asyncio.create_task(pull())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def sync(self, stored: Mapping[int, int]) -> None:
        """Fetch the messages of the group from the first one that is missing, given all seqs."""
        mine = self._book.of_group[self.user_id]
        newest = min((seq for number, seq in stored.items() if number not in mine), default=0) - 1
        while newest >= 0:
            query = urlencode({"groupId": GROUP, "seq": newest, "limit": 200})
            port = self._random.choice(self._rig.ports)
            body = await self._rig.get(port, f"/message/group/sync?{query}", self.token)
            found = json.loads(body)["data"]["list"]
            mine.update(message["id"] for message in found)
            # A page may end between two messages of one seq.
            last = max((message["seq"] for message in found), default=0) - 1
            newest = last if last > newest else -1
