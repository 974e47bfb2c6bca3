"""The offline queue as its owner sees it: a window on connecting, older ones on request."""

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import MAX_OFFLINE_PULL, OfflinePull, OfflineSummary, frame
from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.answers import refuse
from skyeim_ws.logic.fetched import queued
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import OfflineQueue, Window


class OfflineMessages:
    """Pushes windows of the queue; a message stays queued until it is confirmed."""

    def __init__(
        self, *, queue: OfflineQueue, requests: Requests, push_limit: int, max_bytes: int
    ) -> None:
        self._queue = queue
        self._requests = requests
        self.push_limit = push_limit
        # A window may fill half of the outbox, so that live messages still fit beside it.
        self.max_bytes = max_bytes // 2

    def pull(self, client: Client, data: OfflinePull) -> None:
        """Push the next older window, or the newest if none was pushed; one pull at a time."""
        too_early = client.outbox.half_full or client.ledger.room < data.limit
        session = session_of(client)
        if session.pulling or too_early:
            refuse(client, "offline_pull", Reason.BUSY, Text.PULLED_TOO_EARLY())
            return
        work = self._pull(client, data.limit)
        session.pulling = self._requests.run(client, "offline_pull", work)

    async def newest(self, client: Client) -> Window:
        """Return the newest window of the client's queue; raises Unavailable."""
        return await self._queue.window(client.user_id, None, self.push_limit)

    async def newer(self, client: Client) -> list[Delivery] | None:
        """Return what was queued since this connection began; raises Unavailable.

        Also below what was pushed, if nothing had been left there: a message may be late.
        Returns None if there is more of it than one window holds.
        """
        session = session_of(client)
        limit = MAX_OFFLINE_PULL + len(client.ledger)
        window = await self._queue.window(client.user_id, None, limit)
        first = 0 if session.all_pushed else session.pushed_from or 0
        later = [entry for entry in window.entries if entry.id >= first]
        new = [entry for entry in later if entry.msg_id not in client.ledger]
        for entry in later:
            if entry.msg_id in client.ledger:
                client.ledger.merge(queued(entry))  # it may have been queued since it was written
        if len(new) >= MAX_OFFLINE_PULL:
            return None
        return self.take(client, Window(new, window.older + len(window.entries) - len(later)))

    def take(self, client: Client, window: Window) -> list[Delivery]:
        """Return the deliveries of a window, and note how far the queue is pushed."""
        session = session_of(client)
        session.all_pushed |= window.older == 0
        if window.entries:
            first = window.entries[0].id
            session.pushed_from = min(first, session.pushed_from or first)
            client.context.stats.offline_pushed += len(window.entries)
        trace = client.context.stats.trace
        if trace.on:
            for entry in window.entries:
                trace.note("from_queue", entry.msg_id, client.user_id, entry.from_user_id)
        return [queued(entry) for entry in window.entries]

    def cut(self, window: Window) -> Window:
        """Return the newest part of a window that fits into the outbox, at least one entry."""
        size = 0
        for index in range(len(window.entries) - 1, -1, -1):
            size += len(window.entries[index].raw)
            if size > self.max_bytes and index < len(window.entries) - 1:
                return Window(window.entries[index + 1 :], window.older + index + 1)
        return window

    async def _pull(self, client: Client, limit: int) -> None:
        session = session_of(client)
        try:
            window = self.cut(await self._queue.window(client.user_id, session.pushed_from, limit))
            client.send(summary_frame(window))
            for delivery in self.take(client, window):
                client.deliver(delivery)
        finally:
            session.pulling = False


def summary_frame(window: Window) -> bytes:
    """Return the `offline_messages` frame that stands before a window."""
    return frame(
        "offline_messages",
        OfflineSummary(
            message_type="private",
            total_count=len(window.entries) + window.older,
            push_count=len(window.entries),
            has_more=window.older > 0,
            remain_count=window.older,
        ),
    )
