"""A user of `skyeim_ws.client`: shown everything, once and in order, whatever is done.

The other people speak in frames, so that no client hides a fault of the gateways. These prove that
the client hides all that it promises to hide.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping, Set

from skyeim_ws.client import (
    Connected,
    Kicked,
    Message,
    Problem,
    SkyeError,
    SkyeIM,
    State,
    StateChanged,
)
from skyeim_ws.handler import tokens
from tests.chaos.book import Book
from tests.chaos.book import Message as Promise
from tests.chaos.person import DEAF_SECONDS
from tests.chaos.rig import GROUP, Rig
from tests.sdk.network import Network, network
from tests.waiting import DEADLINE, until
from tests.world import SECRET

PATIENCE = 1.0
"""Seconds after which this user asks the client to try again."""


class SdkPerson:
    """A user who is at a random node after each connection; has what `Person` has for others."""

    def __init__(self, user_id: int, rig: Rig, book: Book, seed: int) -> None:
        self.user_id = user_id
        self.connections = 0
        self._rig = rig
        self._book = book
        self._random = random.Random(f"{seed}-{user_id}")
        self._count = 0
        self._of_group: set[int] = set()
        self._between: Network | None = None
        self._client: SkyeIM | None = None

    @property
    def idle(self) -> bool:
        """Whether the client is connected, and all that was sent is stored."""
        client = self._client
        return client is not None and client.state is State.OPEN and not client.waiting

    @property
    def heard(self) -> dict[int, bool]:
        """Of whom it is known whether they are online."""
        client = self._client
        found = {} if client is None else {user: client.online(user) for user in self._rig.users}
        return {user: online for user, online in found.items() if online is not None}

    @property
    def _counts_anew(self) -> bool:
        return self._rig.counted != (0, 0)

    async def live(self) -> None:
        """Be connected for good; cancel it to end."""
        async with network(lambda: self._random.choice(self._rig.ports)) as between:
            self._between = between
            token = tokens.issue(SECRET, self.user_id, ttl=86_400)
            url = f"ws://127.0.0.1:{between.port}/ws"
            client = SkyeIM(url, lambda _: token, ping_interval=2.0, pong_timeout=3.0)
            client.on(Message, self._shown)
            client.on(Connected, self._connected)
            client.on(StateChanged, self._changed)
            client.on(Problem, self._failed)
            client.on(Kicked, lambda _: self._wrong("was kicked by nobody"))
            client.watch(user for user in self._rig.users if user != self.user_id)
            client.follow(GROUP)
            self._client = client
            async with client:
                self._wrong(f"stopped: {await client.until_stopped()}")

    async def drop(self) -> None:
        """Lose the connection without a word, and before that for a while what comes over it."""
        if self._between is not None:
            self._between.freeze()
            await asyncio.sleep(self._random.uniform(0, DEAF_SECONDS))
            self.cut()

    def cut(self) -> None:
        """Lose the connection at once."""
        if self._between is not None:
            self._between.cut()
            self._between.mend()

    async def send(self, to: int) -> None:
        """Send a message, and return when it is stored."""
        await until(lambda: self._client is not None)
        assert self._client is not None
        self._count += 1
        message = Promise(f"{self.user_id}-{self._count}", self.user_id, to)
        target = {"to": to} if to else {"group_id": GROUP}
        content = f"hello from {self.user_id}"
        try:
            sent = await self._client.send(content, msg_id=message.msg_id, **target)
        except SkyeError as error:
            self._wrong(f"could not send {message.msg_id}: {error}")
            return
        self._book.acked(message, sent.id)
        if not to:
            self._book.of_group[self.user_id].add(sent.id)

    async def sync(self, stored: Mapping[int, int]) -> None:
        """Wait until all of the group has been shown, which the client sees to by itself.

        Where the group has counted anew, who was away then asks from the first seq that is missing.
        Not `/message/group/history`, which pages by id and sorts by seq, and so can leave messages
        out here. Our services keep the counter and the messages in one database: a counter that
        goes back alone is what only a deployment with other services can meet.
        """
        mine = self._book.of_group[self.user_id]
        if self._counts_anew:
            await self._read_again({seq for number, seq in stored.items() if number not in mine})
        with contextlib.suppress(TimeoutError):
            await until(lambda: stored.keys() <= mine, DEADLINE)

    async def _read_again(self, missing: Set[int]) -> None:
        assert self._client is not None
        after = min(missing, default=0) - 1
        while after >= 0:
            page = await self._client.api.sync(GROUP, after)
            self._book.of_group[self.user_id].update(message.id for message in page.messages)
            self._book.counts["read again by seq"] += len(page.messages)
            # A page may end between two messages of one seq.
            last = max((message.seq for message in page.messages), default=0) - 1
            after = last if last > after else -1

    def _wrong(self, what: str) -> None:
        self._book.wrong.append(f"{self.user_id}, with the client, {what}")

    def _connected(self, _: Connected) -> None:
        self.connections += 1

    def _changed(self, change: StateChanged) -> None:
        if change.state is State.WAITING and self._client is not None:
            asyncio.get_running_loop().call_later(PATIENCE, self._client.retry)

    def _failed(self, problem: Problem) -> None:
        self._book.counts[f"told by the client: {problem.message}"] += 1

    def _shown(self, message: Message) -> None:
        if message.group_id:
            if message.id in self._of_group:
                self._wrong(f"was shown {message.msg_id} twice")
            if message.id < max(self._of_group, default=0) and not self._counts_anew:
                self._wrong(f"was shown {message.msg_id} of the group too late")
            self._of_group.add(message.id)
            self._book.of_group_arrived(self.user_id, message.id, message.seq)
            return
        if message.msg_id in self._book.received[self.user_id]:
            self._wrong(f"was shown {message.msg_id} twice")
        sender = message.from_user_id
        self._book.arrived(self.user_id, sender, message.msg_id, message.id, old=False)
