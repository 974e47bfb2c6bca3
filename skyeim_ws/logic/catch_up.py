"""What only the Message service knows of: pages of it, each when the one before is confirmed."""

import asyncio
from collections import deque
from enum import Enum, auto

import structlog

from skyeim_ws.conn.client import Client, State
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.types import ChatMessage, encode_data
from skyeim_ws.logic.ports import HistoryMessage, Messages, Refused, Unavailable

log = structlog.get_logger()

_PAGE = 100
_HELD = 1000
"""Live messages that wait behind a catch-up; beyond it they are fetched like the others."""

_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Pauses while the service is away; the last one repeats for as long as the client is here."""


class Hold(Enum):
    """What became of a live message."""

    NOT_HELD = auto()
    HELD = auto()
    FULL = auto()


class _Progress:
    """The catch-up of one connection; of what is unread if it names no id."""

    def __init__(self, after_id: int | None) -> None:
        self.unread_only = after_id is None
        self.after_id = after_id or 0
        self.held: deque[Delivery] = deque()
        self.overflowed = False
        self.confirmed = asyncio.Event()


class CatchUp:
    """Brings a client every private message with an id above one that it names, or all unread.

    Live messages stand behind it meanwhile, so that the order stays.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._under_way: dict[Client, _Progress] = {}

    def begin(self, client: Client, after_id: int | None) -> bool:
        """Hold live messages back from now on; `run` has to follow. False if it is under way."""
        if client in self._under_way:
            return False
        self._under_way[client] = _Progress(after_id)
        return True

    def hold(self, client: Client, delivery: Delivery) -> Hold:
        """Hold a live message back, if the client is catching up."""
        progress = self._under_way.get(client)
        if progress is None:
            return Hold.NOT_HELD
        if len(progress.held) < _HELD:
            progress.held.append(delivery)
            return Hold.HELD
        progress.overflowed = True
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
        return list(progress.held)

    async def run(self, client: Client) -> None:
        """Deliver page after page until there is no more, then what was held back."""
        progress = self._under_way.get(client)
        if progress is None:
            return
        more = True
        while more and client in self._under_way:
            page, more = await self._fetch(client, progress)
            for message in page:
                progress.after_id = max(progress.after_id, message.id)
                client.deliver(from_history(message))
            if not more and progress.overflowed:
                progress.overflowed, more = False, True
            await self._until_confirmed(client, progress)
        if client in self._under_way:
            del self._under_way[client]
            for delivery in progress.held:
                if delivery.id > progress.after_id:
                    client.deliver(delivery)

    async def _until_confirmed(self, client: Client, progress: _Progress) -> None:
        while len(client.ledger) and client in self._under_way:
            progress.confirmed.clear()
            await progress.confirmed.wait()

    async def _fetch(
        self, client: Client, progress: _Progress
    ) -> tuple[list[HistoryMessage], bool]:
        attempt = 0
        while client in self._under_way and client.state is State.OPEN:
            try:
                if not progress.unread_only:
                    return await self._messages.since(client.user_id, progress.after_id, _PAGE)
                unread = await self._messages.unread(client.user_id)
                newer = [message for message in unread if message.id > progress.after_id]
                return newer[:_PAGE], len(newer) > _PAGE
            except (Refused, Unavailable) as error:
                if attempt == 0:
                    log.warning("catch_up_delayed", user=client.user_id, error=str(error))
                await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
                attempt += 1
        return [], False


def from_history(message: HistoryMessage) -> Delivery:
    """Return the delivery of a stored message: the same bytes as when it was new."""
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
        queued=False,
    )
