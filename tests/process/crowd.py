"""Pairs of clients who chat all the while, and what happens to them meanwhile."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import insert

from skyeim_ws.client import Connected, Message, SkyeIM, State, StateChanged
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.services.tables import friends
from tests.waiting import DEADLINE, until
from tests.world import World


@dataclass(frozen=True)
class Return:
    """A client is back: when it was closed, with which code, and when it was connected again."""

    left: float
    code: int | None
    back: float


class Crowd:
    """The books of all clients; the first of each pair writes, the second one reads."""

    def __init__(self) -> None:
        self.sent: dict[int, list[str]] = defaultdict(list)
        self.received: dict[int, set[str]] = defaultdict(set)
        self.returns: list[Return] = []
        self.refused: list[StateChanged] = []
        """Attempts that have not led to a connection, but for those that were sent on."""
        self.stop = asyncio.Event()
        self._open: set[int] = set()
        self._left: dict[int, tuple[float, int | None]] = {}

    @property
    def away(self) -> int:
        """How many are on their way back."""
        return len(self._left)

    def follow(self, user_id: int, client: SkyeIM) -> None:
        """Keep the books of a client."""
        now = asyncio.get_running_loop().time

        def changed(change: StateChanged) -> None:
            if change.state is State.OPEN:
                self._open.add(user_id)
            elif change.state is State.WAITING and user_id in self._open:
                self._open.discard(user_id)
                self._left[user_id] = now(), change.code
            elif change.state is State.WAITING and change.code != CloseCode.GOING_AWAY:
                self.refused.append(change)

        def connected(_: Connected) -> None:
            if (left := self._left.pop(user_id, None)) is not None:
                self.returns.append(Return(*left, now()))

        client.on(StateChanged, changed)
        client.on(Connected, connected)
        client.on(Message, lambda message: self.received[user_id].add(message.content))

    async def talk(self, client: SkyeIM, user_id: int, to: int, pause: float) -> None:
        """Write to the other one until it is enough; each message is stored in the end."""
        while not self.stop.is_set():
            text = f"{user_id}-{len(self.sent[to])}"
            async with asyncio.timeout(DEADLINE):
                await client.send(text, to=to)
            self.sent[to].append(text)
            await asyncio.sleep(pause)

    async def settled(self) -> None:
        """Wait until everybody has what was stored for them; fails if it does not come."""
        await until(
            lambda: all(self.received[to].issuperset(sent) for to, sent in self.sent.items())
        )


@asynccontextmanager
async def crowd(
    here: World, url: str, user_ids: Sequence[int], pause: float, tls: ssl.SSLContext
) -> AsyncIterator[Crowd]:
    """Connect pairs of friends and let them chat; all that was stored has arrived at the end."""
    pairs = list(zip(user_ids[::2], user_ids[1::2], strict=True))
    rows = [pair for one, other in pairs for pair in ((one, other), (other, one))]
    await here.execute(
        insert(friends).values([{"user_id": one, "friend_id": other} for one, other in rows])
    )
    books = Crowd()
    async with AsyncExitStack() as stack:
        clients = {}
        for user_id in user_ids:
            client = clients[user_id] = SkyeIM(url, here.token(user_id), ssl=tls)
            books.follow(user_id, client)
            await stack.enter_async_context(client)
        talks = [
            asyncio.create_task(books.talk(clients[one], one, other, pause)) for one, other in pairs
        ]
        try:
            yield books
            books.stop.set()
            await asyncio.gather(*talks)
            await books.settled()
        finally:
            for talk in talks:
                talk.cancel()
            await asyncio.gather(*talks, return_exceptions=True)
