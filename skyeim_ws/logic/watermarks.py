"""How far each user has confirmed all messages, written every few seconds for a later catch-up."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import msgspec
import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.session_state import Session, session_of

log = structlog.get_logger()

_SECONDS = 3.0
"""A death of the node brings its users again what they have confirmed since."""

_AT_ONCE = 200
"""Users of one write, so that it holds up neither Redis nor the loop."""


class Mark(msgspec.Struct, frozen=True):
    """All messages with an id below `below` are confirmed, or in the queue, as this node knows.

    `bringing` is the note of what the user has missed and is being brought in order, or empty.
    """

    user_id: int
    conn_id: str
    below: int
    bringing: str


class WatermarkStore(Protocol):
    """The watermarks, over all nodes; in `store`."""

    async def advance(self, marks: Sequence[Mark]) -> list[int | None]:
        """Write the watermarks of users, but not above what is in their queues.

        Return what each is now; None for one that has to wait, since somebody else may know better.
        Raises Unavailable.
        """


class Watermarks:
    """Collects who has confirmed something.

    A user is in the set at most once, and leaves it when Redis has the watermark. Before one is
    proposed the session takes it as written: a message below it goes into the queue first, whatever
    becomes of the proposal, and a message of the queue takes the watermark back.
    """

    def __init__(self, hub: Hub, catch_up: CatchUp, store: WatermarkStore) -> None:
        self._hub = hub
        self._catch_up = catch_up
        self._store = store
        self._due: set[Client] = set()

    def __len__(self) -> int:
        return len(self._due)

    def confirmed(self, client: Client, message_id: int) -> None:
        """Note that the client has confirmed messages, with the id of the last one."""
        session: Session = client.session  # no call for each message
        session.confirmed = max(session.confirmed, message_id)
        self._due.add(client)

    def last(self, client: Client, undelivered: Sequence[Delivery]) -> Mark | None:
        """Return what is still to be written of a client that has gone; None if that is nothing.

        Its later sessions may confirm nothing, and one of them may not end in order.
        """
        self._due.discard(client)
        session = session_of(client)
        if not session.confirmed or self._catch_up.is_under_way(client):
            return None
        below = min([session.confirmed + 1, *(delivery.id for delivery in undelivered)])
        return (
            Mark(client.user_id, client.conn_id, below, "") if below > session.watermark else None
        )

    def go_on(self, client: Client, left: Mark | None) -> None:
        """Write for a client what is left of the one before it, which was here as well."""
        if left is not None:
            self.confirmed(client, left.below - 1)

    async def write(self) -> None:
        """Write what is due; raises Unavailable."""
        due = {client for client in self._due if self._hub.get(client.user_id) is client}
        self._due.clear()
        while due:
            some = list(islice(due, _AT_ONCE))
            due.difference_update(some)
            proposed = {client: mark for client in some if (mark := self._mark(client))}
            try:
                written = await self._store.advance(list(proposed.values())) if proposed else []
            except Unavailable:
                self._due.update(proposed, due)
                raise
            for client, watermark in zip(proposed, written, strict=True):
                if watermark is None:
                    self._due.add(client)
                else:
                    session_of(client).watermark = watermark

    async def run(self) -> None:
        """Write what is due, for good; at the end of a session `last` says what is left."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.write()
            except Unavailable:
                log.debug("watermarks_not_written", users=len(self._due))

    def _mark(self, client: Client) -> Mark | None:
        """Return what this node knows, and take it as written; None if it is nothing new."""
        session = session_of(client)
        below, bringing = session.confirmed + 1, ""
        if self._catch_up.is_under_way(client):
            reached = self._catch_up.reached(client)
            if reached is None:
                self._due.add(client)  # it is not known yet
                return None
            below, bringing = reached
        below = min(below, client.ledger.lowest_id(below))
        if below <= session.watermark:
            return None
        session.proposed = max(session.proposed, below)
        return Mark(client.user_id, client.conn_id, below, bringing)
