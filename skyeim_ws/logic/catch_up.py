"""Older messages first: live ones are held back while a client gets what it has missed."""

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import TypeVar

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ledger import Delivery, merged
from skyeim_ws.conn.state import State
from skyeim_ws.logic.fetched import fetched
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.ports import HistoryMessage, Messages, Refused, Unavailable
from skyeim_ws.logic.progress import Progress, Step, Wait
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import SessionRegistry
from skyeim_ws.logic.tasks import Tasks

log = structlog.get_logger()

_T = TypeVar("_T")

_PAGE = 100
_UNREAD_PAGE = 1000
"""Unread messages asked for at a time: some services look through all of them each time."""

MAX_HELD = 1000
"""Live messages that wait behind older ones; beyond it they are fetched like the others."""

_AT_ONCE = 32
"""Clients that are served at a time: after the death of a node all of its users come at once."""

_LOOK_SECONDS = 0.05
_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Pauses while the service is away; the last one repeats for as long as the client is here."""


class Hold(Enum):
    """What became of a live message."""

    NOT_HELD = auto()
    HELD = auto()
    FULL = auto()


class CatchUp:
    """Brings clients older messages, from their offline queue or from the Message service.

    Between `pause` and the end of that, live messages are held back, so that the order stays.
    Its length is how many clients wait so, and `begun` counts those for whom there was more.
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
        self._under_way: dict[Client, Progress] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self.begun = 0

    def __len__(self) -> int:
        return len(self._under_way)

    def pause(self, client: Client, wait: Wait) -> None:
        """Hold live messages back until `resume`; in between `reread` or `fetch` may be called.

        This is needed also while a catch-up is running: it may have begun too early to find all.
        """
        self._progress(client).waits.add(wait)

    def resume(self, client: Client, wait: Wait) -> None:
        """Let go what was held back, unless older messages are still to come."""
        progress = self._under_way.get(client)
        if progress is None:
            return
        progress.waits.discard(wait)
        if progress.waits or progress.step is not Step.HOLD:
            return
        if progress.due:
            self._start(client, progress)
        else:
            self._release(client, progress)

    def reread(self, client: Client) -> None:
        """Bring the client what was queued while nobody told this node."""
        progress = self._progress(client)
        progress.due.add(Step.READ_QUEUE)
        self._start(client, progress)

    def fetch(self, client: Client, missed: str, after_id: int | None = None) -> None:
        """Bring the client all private messages with a larger id, or all unread.

        When the client has them, the note `missed` is taken away. With a note and an id it gets
        both, for what was missed may be older than that id.
        """
        progress = self._progress(client)
        progress.due.add(Step.FETCH_NEWER)
        progress.missed = missed or progress.missed
        if after_id is not None:
            progress.since = after_id
        if missed or after_id is None:
            progress.due.add(Step.FETCH_UNREAD)
        self._start(client, progress)

    def hold(self, client: Client, delivery: Delivery) -> Hold:
        """Hold a live message back, if the client is to get older ones first."""
        progress = self._under_way.get(client)
        if progress is None:
            return Hold.NOT_HELD
        if delivery.msg_id in client.ledger:
            client.ledger.merge(delivery)  # it was fetched, and is on its way
            return Hold.HELD
        if (held := progress.held.get(delivery.msg_id)) is not None:
            progress.held[delivery.msg_id] = merged(held, delivery)
            return Hold.HELD
        if len(progress.held) < MAX_HELD:
            progress.held[delivery.msg_id] = delivery
            return Hold.HELD
        progress.due.add(Step.FETCH_NEWER)
        return Hold.FULL

    def step(self, client: Client) -> Step:
        """Return what is done for the client now; END also if it needed no catch-up."""
        progress = self._under_way.get(client)
        return Step.END if progress is None else progress.step

    def is_under_way(self, client: Client) -> bool:
        """Return whether live messages are held back."""
        return client in self._under_way

    def reached(self, client: Client) -> tuple[int, str] | None:
        """Return the id below which all was written, and the note of what was missed.

        None while that is not known.
        """
        progress = self._under_way.get(client)
        if progress is None or not progress.reached or Step.FETCH_UNREAD in progress.due:
            return None
        below = min((delivery.id for delivery in progress.held.values()), default=sys.maxsize)
        return min(progress.reached + 1, below), progress.missed

    def held(self, client: Client) -> list[str]:
        """Return the msgIds of the live messages that are held back, as they came."""
        progress = self._under_way.get(client)
        return [] if progress is None else list(progress.held)

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
        progress.set_step(Step.END)
        progress.confirmed.set()
        return list(progress.held.values())

    def _progress(self, client: Client) -> Progress:
        progress = self._under_way.get(client)
        if progress is None:
            progress = self._under_way[client] = Progress(client.user_id)
        return progress

    def _start(self, client: Client, progress: Progress) -> None:
        # While the session is being set up it waits: `resume` comes when that is done.
        if progress.step is Step.HOLD and client.state is not State.CONNECTING:
            self.begun += 1
            progress.set_step(Step.START)
            self._tasks.spawn(self._run(client, progress), client)

    async def _run(self, client: Client, progress: Progress) -> None:
        due = progress.due
        while client in self._under_way:
            if Step.READ_QUEUE in due:
                due.discard(Step.READ_QUEUE)
                progress.set_step(Step.READ_QUEUE)
                async with self._turns:
                    await self._read_queue(client, progress)
            elif Step.FETCH_NEWER in due:
                due.discard(Step.FETCH_NEWER)
                await self._fetch_all(client, progress)
                done = client in self._under_way and Step.FETCH_NEWER not in due
                if done and progress.missed:
                    self._registry.caught_up(client.user_id, progress.missed)
            elif progress.waits:
                progress.set_step(Step.HOLD)  # `resume` goes on
                return
            else:
                self._release(client, progress)

    def _release(self, client: Client, progress: Progress) -> None:
        """Deliver what is held in the order of the ids, whichever way it came."""
        held = deque(sorted(progress.held.values(), key=lambda delivery: delivery.id))
        # The client may be dropped on the way as too slow; then `forget` returns the rest.
        while held and client in self._under_way:
            delivery = held.popleft()
            del progress.held[delivery.msg_id]
            if delivery.msg_id in client.ledger:  # it came with the window as well
                client.ledger.merge(delivery)
            else:
                client.deliver(delivery)
        if self._under_way.pop(client, None) is not None:
            progress.set_step(Step.END)

    async def _read_queue(self, client: Client, progress: Progress) -> None:
        try:
            newer = await self._offline.newer(client)
        except Unavailable:
            newer = None
        if newer is None:
            # Too much, or Redis is away: what the queue holds is unread in the Message service.
            progress.due |= {Step.FETCH_UNREAD, Step.FETCH_NEWER}
            return
        for delivery in newer:
            progress.held[delivery.msg_id] = delivery

    async def _fetch_all(self, client: Client, progress: Progress) -> None:
        if Step.FETCH_UNREAD in progress.due or progress.since is None:
            progress.due.discard(Step.FETCH_UNREAD)
            progress.set_step(Step.FETCH_UNREAD)
            progress.reached = 0
            await self._fetch_unread(client, progress)
            # With nothing unread there is no id to begin with, and nothing was missed.
            if progress.since is None and progress.reached:
                progress.since = progress.reached
        if progress.since is not None and client in self._under_way:
            progress.set_step(Step.FETCH_NEWER)
            await self._fetch_since(client, progress, progress.since)
        await self._until(client, progress, lambda: not len(client.ledger))

    async def _fetch_unread(self, client: Client, progress: Progress) -> None:
        """Deliver what is unread, up to the id from which all is asked for.

        What the user has confirmed long ago is left out, also if it was never marked as read.
        """
        last = progress.since
        after_id = max(session_of(client).watermark - 1, 0)
        more = True
        while more:
            ask = partial(
                self._messages.unread_page,
                client.user_id,
                _UNREAD_PAGE,
                after_id=after_id,
            )
            unread, more = await self._asked(client, ask) or ([], False)
            due = [m for m in unread if last is None or m.id <= last]
            more = more and len(due) == len(unread)
            for start in range(0, len(due), _PAGE):
                page = due[start : start + _PAGE]
                await self._bring(client, progress, page)
                after_id = page[-1].id

    async def _fetch_since(self, client: Client, progress: Progress, since: int) -> None:
        """Deliver all messages with a larger id."""
        more = True
        while more:
            ask = partial(self._messages.since, client.user_id, since, _PAGE)
            page, more = await self._asked(client, ask) or ([], False)
            await self._bring(client, progress, page)
            if page:
                progress.since = since = page[-1].id

    async def _bring(
        self, client: Client, progress: Progress, page: Sequence[HistoryMessage]
    ) -> None:
        """Deliver a page behind those before, as there is room; returns if the client is gone."""
        for message in page:
            if client.outbox.half_full or client.ledger.full:
                await self._until(client, progress, lambda: _has_room(client))
            if client not in self._under_way:
                return
            client.deliver(fetched(message, progress.held.pop(message.msg_id, None)))
            progress.reached = message.id

    async def _until(
        self, client: Client, progress: Progress, condition: Callable[[], bool]
    ) -> None:
        """Wait until the client has confirmed so much, or is gone; it is asked to confirm now."""
        await asyncio.sleep(0)  # what is queued is written in its turn
        while client in self._under_way and not condition():
            progress.confirmed.clear()
            if client.ledger.wants_ping:
                client.put_ping(client.context.clock())
            with suppress(TimeoutError):
                # A queue that holds nothing to be confirmed empties without a word.
                async with asyncio.timeout(None if len(client.ledger) else _LOOK_SECONDS):
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


def _has_room(client: Client) -> bool:
    return not (client.ledger.half_full or client.outbox.half_full)
