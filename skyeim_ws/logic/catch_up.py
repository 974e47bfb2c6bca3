"""Older messages first: live ones are held back while a client gets what it has missed."""

import asyncio
from collections import deque
from enum import Enum, auto

import structlog
from msgspec.structs import replace

from skyeim_ws.conn.client import Client, State
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.types import ChatMessage, encode_data
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

_PAGE = 100
_HELD = 1000
"""Live messages that wait behind older ones; beyond it they are fetched like the others."""

_AT_ONCE = 32
"""Clients that are being served at a time: after the death of a node all of its users come."""

_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Pauses while the service is away; the last one repeats for as long as the client is here."""


class Hold(Enum):
    """What became of a live message."""

    NOT_HELD = auto()
    HELD = auto()
    FULL = auto()


class _Progress:
    """What one connection still has to get before its live messages."""

    def __init__(self) -> None:
        self.held: dict[str, Delivery] = {}
        self.running = False
        self.reread = False
        self.fetch = False
        self.unread_only = True
        self.after_id = 0
        self.missed = ""
        self.confirmed = asyncio.Event()


class CatchUp:
    """Brings clients older messages, from their offline queue or from the Message service.

    Between `begin` and the end of that, live messages are held back, so that the order stays.
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

    def begin(self, client: Client) -> None:
        """Hold live messages back from now on; `finish`, `reread` or `fetch` has to follow."""
        self._under_way.setdefault(client, _Progress())

    def finish(self, client: Client) -> None:
        """Let go what was held back, unless older messages are still to come."""
        progress = self._under_way.get(client)
        if progress is None or progress.running:
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

        When the client has them, the note `missed` is forgotten.
        """
        progress = self._under_way.setdefault(client, _Progress())
        progress.fetch = True
        progress.missed = missed or progress.missed
        if after_id is not None:
            progress.unread_only, progress.after_id = False, after_id
        self._start(client, progress)

    def hold(self, client: Client, delivery: Delivery) -> Hold:
        """Hold a live message back, if the client is to get older ones first."""
        progress = self._under_way.get(client)
        if progress is None:
            return Hold.NOT_HELD
        if delivery.msg_id in client.ledger:
            client.ledger.take_over(delivery)  # it was fetched, and is on its way
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

    def stop(self, client: Client) -> list[Delivery]:
        """Forget a client that has gone; return the live messages that were held back."""
        progress = self._under_way.pop(client, None)
        if progress is None:
            return []
        progress.confirmed.set()
        return list(progress.held.values())

    def _start(self, client: Client, progress: _Progress) -> None:
        # While the session is being set up it waits: `finish` comes when that is done.
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
            else:
                self._release(client, progress)

    def _release(self, client: Client, progress: _Progress) -> None:
        """Deliver what is held in the order of the ids, whichever way it came."""
        held = deque(sorted(progress.held.values(), key=lambda delivery: delivery.id))
        # The client may be dropped on the way as too slow; then `stop` returns the rest.
        while held and client in self._under_way:
            delivery = held.popleft()
            del progress.held[delivery.msg_id]
            if delivery.msg_id not in client.ledger:  # else it came with the window as well
                client.deliver(delivery)
        self._under_way.pop(client, None)

    async def _read_queue(self, client: Client, progress: _Progress) -> None:
        try:
            newer = await self._offline.newer(client)
        except Unavailable:
            return  # Redis is away again; with its recovery the queue is read again
        if newer is None:
            progress.fetch = True
            return
        for delivery in newer:
            progress.held[delivery.msg_id] = delivery

    async def _fetch_all(self, client: Client, progress: _Progress) -> None:
        """Deliver page after page, each when the one before is confirmed."""
        more = True
        while more:
            page, more = await self._next_page(client, progress)
            for message in page:
                if client not in self._under_way:
                    return
                progress.after_id = max(progress.after_id, message.id)
                client.deliver(_fetched(message, progress.held.pop(message.msg_id, None)))
            while len(client.ledger) and client in self._under_way:
                progress.confirmed.clear()
                await progress.confirmed.wait()

    async def _next_page(
        self, client: Client, progress: _Progress
    ) -> tuple[list[HistoryMessage], bool]:
        attempt = 0
        while client in self._under_way and client.state is State.OPEN:
            try:
                async with self._turns:
                    return await self._ask(client, progress)
            except (Refused, Unavailable) as error:
                if attempt == 0:
                    log.warning("catch_up_delayed", user=client.user_id, error=str(error))
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
        return [], False

    async def _ask(self, client: Client, progress: _Progress) -> tuple[list[HistoryMessage], bool]:
        if not progress.unread_only:
            return await self._messages.since(client.user_id, progress.after_id, _PAGE)
        unread = await self._messages.unread(client.user_id)
        newer = [message for message in unread if message.id > progress.after_id]
        if len(newer) > _PAGE:
            return newer[:_PAGE], True
        # The service tells of a bounded number of unread messages; what follows them is asked
        # for by id. With nothing unread there is no id to begin with, and nothing was missed.
        progress.unread_only = not newer and not progress.after_id
        return newer, not progress.unread_only


def _fetched(message: HistoryMessage, live: Delivery | None) -> Delivery:
    """Return the delivery of a stored message; that of the live one, if it was held back.

    What was fetched need not go into the queue should the connection end: whatever of it the client
    does not have stands there, or is noted as missed.
    """
    if live is not None:
        return replace(live, stored=live.stored or live.data)
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
        stored=data,
        safe=True,
    )
