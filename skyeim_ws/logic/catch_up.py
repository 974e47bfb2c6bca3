"""Older messages first: live ones are held back while a client gets what it has missed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from functools import partial
from itertools import islice
from typing import TypeVar

import structlog
from msgspec.structs import replace

from skyeim_ws.conn.client import Client, State
from skyeim_ws.conn.ledger import Delivery, DeliveryState
from skyeim_ws.conn.messages import ChatMessage, encode_data
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.ports import (
    HistoryMessage,
    Messages,
    Refused,
    SessionRegistry,
    Unavailable,
)
from skyeim_ws.logic.tasks import Tasks

log = structlog.get_logger()

_T = TypeVar("_T")

_PAGE = 100
_HELD = 1000
"""Live messages that wait behind older ones; beyond it they are fetched like the others. Also how
many unread ones are kept for the next pages: the service tells of all of them each time."""

_AT_ONCE = 32
"""Clients that are being served at a time: after the death of a node all of its users come."""

_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Pauses while the service is away; the last one repeats for as long as the client is here."""


class Hold(Enum):
    """What became of a live message."""

    NOT_HELD = auto()
    HELD = auto()
    FULL = auto()


class Wait(Enum):
    """Why live messages wait although nothing older may be on its way yet."""

    LOGIN = auto()
    RECLAIM = auto()


class _Progress:
    """What one connection still has to get before its live messages."""

    def __init__(self) -> None:
        self.held: dict[str, Delivery] = {}
        self.waits: set[Wait] = set()
        self.running = False
        self.reread = False
        self.fetch = False
        # First what is unread, of which the client has all up to `unread_since`; then all that has
        # a larger id than `since`, which is not known if it is what follows the unread ones.
        self.unread = False
        self.unread_since = 0
        self.since: int | None = None
        self.missed = ""
        self.confirmed = asyncio.Event()
        self.ended = asyncio.Event()


class CatchUp:
    """Brings clients older messages, from their offline queue or from the Message service.

    Between `pause` and the end of that, live messages are held back, so that the order stays.
    """

    def __init__(
        self,
        messages: Messages,
        offline: OfflineMessages,
        registry: SessionRegistry,
        tasks: Tasks,
    ) -> None:
        self._messages = messages
        self._offline = offline
        self._registry = registry
        self._tasks = tasks
        self._under_way: dict[Client, _Progress] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def pause(self, client: Client, wait: Wait) -> None:
        """Hold live messages back from now on, until `resume`; `reread` or `fetch` may precede it.

        Also if other older messages are on their way: these may have been asked for too early.
        """
        self._under_way.setdefault(client, _Progress()).waits.add(wait)

    def resume(self, client: Client, wait: Wait) -> None:
        """Let go what was held back, unless older messages are still to come."""
        progress = self._under_way.get(client)
        if progress is None:
            return
        progress.waits.discard(wait)
        if progress.waits or progress.running:
            return
        if progress.reread or progress.fetch:
            self._start(client, progress)
        else:
            self._release(client, progress)

    def reread(self, client: Client) -> None:
        """Bring the client what was queued while nobody told us."""
        progress = self._under_way.setdefault(client, _Progress())
        progress.reread = True
        self._start(client, progress)

    def fetch(self, client: Client, missed: str, after_id: int | None = None) -> None:
        """Bring the client all private messages with a larger id, or all unread.

        When the client has them, the note `missed` is forgotten. So with a note and an id it gets
        both: what was missed may be older than what has come to it since.
        """
        progress = self._under_way.setdefault(client, _Progress())
        progress.fetch = True
        progress.missed = missed or progress.missed
        if after_id is not None:
            progress.since = after_id
        if missed or after_id is None:
            progress.unread = True
        self._start(client, progress)

    def hold(self, client: Client, delivery: Delivery) -> Hold:
        """Hold a live message back, if the client is to get older ones first."""
        progress = self._under_way.get(client)
        if progress is None:
            return Hold.NOT_HELD
        if delivery.msg_id in client.ledger:
            client.ledger.merge(delivery)  # it was fetched, and is on its way
            return Hold.HELD
        if len(progress.held) < _HELD:
            progress.held[delivery.msg_id] = delivery
            return Hold.HELD
        progress.fetch = True
        return Hold.FULL

    def progressed(self, client: Client) -> None:
        """Note that the client has confirmed messages."""
        progress = self._under_way.get(client)
        if progress is not None:
            progress.confirmed.set()

    async def ended(self, client: Client) -> None:
        """Wait until the client has what it is to get before its live messages, or is gone."""
        while (progress := self._under_way.get(client)) is not None:
            await progress.ended.wait()

    def forget(self, client: Client) -> list[Delivery]:
        """Forget a client that has gone; return the live messages that were held back."""
        progress = self._under_way.pop(client, None)
        if progress is None:
            return []
        progress.confirmed.set()
        progress.ended.set()
        return list(progress.held.values())

    def _start(self, client: Client, progress: _Progress) -> None:
        # While the session is being set up it waits: `resume` comes when that is done.
        if not progress.running and client.state is not State.CONNECTING:
            progress.running = True
            self._tasks.spawn(self._run(client, progress))

    async def _run(self, client: Client, progress: _Progress) -> None:
        while client in self._under_way:
            if progress.reread:
                progress.reread = False
                async with self._turns:
                    await self._read_queue(client, progress)
            elif progress.fetch:
                progress.fetch = False
                await self._fetch_all(client, progress)
                if client in self._under_way and not progress.fetch and progress.missed:
                    self._registry.forget_missed(client.user_id, progress.missed)
            elif progress.waits:
                progress.running = False  # `resume` goes on
                return
            else:
                self._release(client, progress)

    def _release(self, client: Client, progress: _Progress) -> None:
        """Deliver what is held in the order of the ids, whichever way it came."""
        held = deque(sorted(progress.held.values(), key=lambda delivery: delivery.id))
        # The client may be dropped on the way as too slow; then `forget` returns the rest.
        while held and client in self._under_way:
            delivery = held.popleft()
            del progress.held[delivery.msg_id]
            if delivery.msg_id not in client.ledger:  # else it came with the window as well
                client.deliver(delivery)
        self._under_way.pop(client, None)
        progress.ended.set()

    async def _read_queue(self, client: Client, progress: _Progress) -> None:
        try:
            newer = await self._offline.newer(client)
        except Unavailable:
            newer = None
        if newer is None:
            # Too much, or Redis is away: what the queue holds is unread in the Message service.
            progress.fetch = progress.unread = True
            return
        for delivery in newer:
            progress.held[delivery.msg_id] = delivery

    async def _fetch_all(self, client: Client, progress: _Progress) -> None:
        if progress.unread or progress.since is None:
            progress.unread = False
            await self._fetch_unread(client, progress)
            # With nothing unread there is no id to begin with, and nothing was missed.
            if progress.since is None and progress.unread_since:
                progress.since = progress.unread_since
        if progress.since is not None:
            await self._fetch_since(client, progress, progress.since)

    async def _fetch_unread(self, client: Client, progress: _Progress) -> None:
        """Deliver what is unread, up to the id from which all is asked for.

        The service tells of a bounded number; if it is more, what follows is asked for by id.
        """
        last = progress.since
        ask = partial(self._messages.unread, client.user_id)
        unread: list[HistoryMessage] = []
        count = 0
        if last is not None:
            # Before they are told: what comes in between is no reason to take them for a part.
            count_all = partial(self._messages.unread_count, client.user_id)
            count = await self._asked(client, count_all) or 0
        more = True
        while more:
            unread = await self._asked(client, ask) or []
            newer = (message for message in unread if message.id > progress.unread_since)
            due = list(islice((m for m in newer if last is None or m.id <= last), _HELD))
            for start in range(0, len(due), _PAGE):
                page = due[start : start + _PAGE]
                await self._bring(client, progress, page)
                progress.unread_since = page[-1].id
            more = len(due) == _HELD
        if last is not None and unread and count > len(unread) and unread[-1].id < last:
            progress.since = unread[-1].id

    async def _fetch_since(self, client: Client, progress: _Progress, since: int) -> None:
        """Deliver all messages with a larger id."""
        more = True
        while more:
            ask = partial(self._messages.since, client.user_id, since, _PAGE)
            page, more = await self._asked(client, ask) or ([], False)
            await self._bring(client, progress, page)
            if page:
                progress.since = since = page[-1].id

    async def _bring(
        self, client: Client, progress: _Progress, page: Sequence[HistoryMessage]
    ) -> None:
        """Deliver a page, and wait until it is confirmed or the client is gone."""
        for message in page:
            if client not in self._under_way:
                return
            client.deliver(_fetched(message, progress.held.pop(message.msg_id, None)))
        while len(client.ledger) and client in self._under_way:
            progress.confirmed.clear()
            await progress.confirmed.wait()

    async def _asked(self, client: Client, ask: Callable[[], Awaitable[_T]]) -> _T | None:
        """Ask the service until it answers; None if the client is gone."""
        attempt = 0
        while client in self._under_way and client.state is State.OPEN:
            try:
                async with self._turns:
                    return await ask()
            except (Refused, Unavailable) as error:
                if attempt == 0:
                    log.warning("catch_up_delayed", user=client.user_id, error=str(error))
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
        return None


def _fetched(message: HistoryMessage, live: Delivery | None) -> Delivery:
    """Return the delivery of a stored message; that of the live one, if it was held back.

    What was fetched need not go into the queue should the connection end: whatever of it the client
    does not have stands there, or is noted as missed.
    """
    if live is not None:
        # Whoever routed it before may have queued it.
        state = DeliveryState.QUEUEING if live.state is DeliveryState.LIVE else live.state
        return replace(live, state=state, queue_entry=live.queue_entry or live.data)
    data = encode_data(
        ChatMessage(
            id=message.id,
            msg_id=message.msg_id,
            from_user_id=message.from_user_id,
            to_user_id=message.to_user_id,
            content=message.content,
            content_type=message.content_type,
            created_at=message.created_at,
        )
    )
    return Delivery(
        data=data,
        id=message.id,
        msg_id=message.msg_id,
        from_user_id=message.from_user_id,
        state=DeliveryState.FETCHED,
        queue_entry=data,
    )
