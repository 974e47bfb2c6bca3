"""The life of a session: login, kick, the opening frames, logout."""

import asyncio
import random
from collections.abc import Callable

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ending import NOBODY, Successor
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import Connected, Kicked, frame
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Phrase, Text
from skyeim_ws.logic.announcer import Announcer, Look
from skyeim_ws.logic.bus import Bus
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.departures import Departure, Departures
from skyeim_ws.logic.introductions import Introductions
from skyeim_ws.logic.memberships import HEARD_SECONDS, Memberships
from skyeim_ws.logic.offline import OfflineMessages, summary_frame
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.progress import Wait
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import Claim, NodeSessions, Presence, SessionRegistry, Window
from skyeim_ws.logic.slots import FIRST_RETURN, SHORTEST_SPREAD
from skyeim_ws.logic.tasks import Tasks
from skyeim_ws.logic.watermarks import Watermarks

log = structlog.get_logger()

HANDOVER_SECONDS = 2.0
"""How long another node has to put back what it holds for a user who is here now."""

_NO_WINDOW = Window([], 0)


class Sessions:
    """The events of all connections; implements `conn.context.SessionEvents`."""

    def __init__(
        self,
        *,
        hub: Hub,
        registry: SessionRegistry,
        node_sessions: NodeSessions,
        bus: Bus,
        presence: Presence,
        memberships: Memberships,
        introductions: Introductions,
        announcer: Announcer,
        departures: Departures,
        offline: OfflineMessages,
        delivery: PrivateDelivery,
        catch_up: CatchUp,
        watermarks: Watermarks,
        tasks: Tasks,
        receive: Callable[[Client, str], None],
        server_name: str,
        max_connections: int,
    ) -> None:
        self._hub = hub
        self._registry = registry
        self._node_sessions = node_sessions
        self._bus = bus
        self._presence = presence
        self._memberships = memberships
        self._introductions = introductions
        self._announcer = announcer
        self._departures = departures
        self._offline = offline
        self._delivery = delivery
        self._catch_up = catch_up
        self._watermarks = watermarks
        self._tasks = tasks
        self._server_name = server_name
        self.max_connections = max_connections
        self._draining = False
        self.on_claim_failed: Callable[[Client], None] | None = None
        # Users whose session on another node was told to end, and has not answered yet.
        self._handovers: dict[int, asyncio.Event] = {}
        self.received = receive

    @property
    def draining(self) -> bool:
        """Whether new connections are sent away.

        Then friends are not told of who leaves, before they had time to come back elsewhere.
        """
        return self._draining

    @draining.setter
    def draining(self, on: bool) -> None:
        self._draining = self._announcer.stopping = on
        self._announcer.away = 0.0

    async def opened(self, client: Client) -> None:
        """Take the user's place, write presence, open with `connected` and the offline window."""
        # Whoever has waited too long, as during a stall, may be on another node by now: a claim
        # would end that session, and its client would not come back.
        if self._draining or client.gone:
            self.send_away(client)
            return
        if len(self._hub) >= self.max_connections and client.user_id not in self._hub:
            log.warning("connection_refused_overloaded", limit=self.max_connections)
            client.disconnect(CloseCode.OVERLOADED, Text.OVERLOADED())
            return
        previous = self._hub.register(client)
        self._catch_up.pause(client, Wait.LOGIN)
        if previous is None:
            if (departure := self._departures.returned(client.user_id)) is not None:
                session_of(client).group_ids = departure.group_ids
                self._watermarks.go_on(client, departure.confirmed)
        else:
            session_of(client).group_ids = session_of(previous).group_ids
            self.kick(previous, Successor(client.conn_id, client.remote))
        finding = self._tasks.spawn(self._memberships.find(client), client)
        await self._start(client, finding)
        if finding.done():
            self._introductions.add(client)
        else:
            finding.add_done_callback(lambda _: self._introductions.add(client))

    def confirmed(self, client: Client, deliveries: list[Delivery]) -> None:
        """Settle what the client has."""
        self._delivery.confirm(client.user_id, deliveries)
        self._catch_up.progressed(client)
        self._watermarks.confirmed(client, deliveries[-1].id)

    def ended(self, client: Client, undelivered: list[Delivery]) -> None:
        """Take the client out of the hub, put back what it held, and have the rest undone."""
        was_current = self._hub.unregister(client)
        confirmed = self._watermarks.last(client, undelivered)
        undelivered += self._catch_up.forget(client)
        # First of all: should this node die before the rest, the session still tells of it.
        self._delivery.return_undelivered(client.user_id, undelivered)
        if was_current:
            session = session_of(client)
            self._departures.add(
                client.user_id,
                Departure(client.conn_id, session.group_ids, session.replaced, confirmed),
            )
        elif (successor := self._hub.get(client.user_id)) is not None:
            self._watermarks.go_on(successor, confirmed)

    def kick(self, client: Client, successor: Successor = NOBODY) -> None:
        """End a connection whose place a newer login has taken: `successor`, if it is known."""
        session_of(client).replaced = True
        client.context.stats.kicked += 1
        self._kick(client, Text.KICKED(), successor)

    def sign_out(self, client: Client) -> None:
        """End a connection for an operator: its client may not come back by itself."""
        self._kick(client, Text.SIGNED_OUT())

    def send_away(self, client: Client, seconds: float | None = None) -> None:
        """End a connection; its client comes back to any node, in so many seconds or a moment."""
        if seconds is None:
            seconds = FIRST_RETURN + SHORTEST_SPREAD * random.random()  # noqa: S311 - spreads load
        self._announcer.away = max(self._announcer.away, seconds)
        delay = round(1000 * seconds)
        client.disconnect(CloseCode.GOING_AWAY, Text.GOING_AWAY(delay=delay))

    def handed_over(self, user_id: int) -> None:
        """Note that the older session has put back what it held."""
        handover = self._handovers.get(user_id)
        if handover is not None:
            handover.set()

    def _kick(self, client: Client, reason: Phrase, successor: Successor = NOBODY) -> None:
        farewell = frame("kicked", Kicked(reason=reason.spoken(client.language)))
        client.disconnect(CloseCode.KICKED, reason, farewell, successor)

    def _rename(self, client: Client, conn_id: str) -> None:
        """Take the id that makes this session the newest, also by a clock that is behind."""
        log.info("connection_renamed", user=client.user_id, conn=client.conn_id, to=conn_id)
        client.conn_id = conn_id
        if client.state is not State.CONNECTING:
            # It ended meanwhile, under its old name.
            if client.user_id not in self._hub:
                session = session_of(client)
                self._departures.add(
                    client.user_id, Departure(conn_id, session.group_ids, session.replaced)
                )
        elif session_of(client).kicked_as == conn_id:
            self.kick(client, session_of(client).kicked_by)

    def _enter_node_sessions(self, client: Client) -> None:
        session = session_of(client)

        def entered(noted: bool) -> None:
            session.in_node_sessions = noted

        self._node_sessions.enter(client.user_id, client.conn_id, session.group_ids, entered)

    async def _start(self, client: Client, finding: asyncio.Task[None]) -> None:
        """Open the session; without Redis it opens all the same, with what is unread."""
        session = session_of(client)
        # First: whoever cleans up after this node should it die must know of everyone.
        self._enter_node_sessions(client)
        claim, online = await asyncio.gather(
            self._registry.claim(client.user_id, client.conn_id, self._offline.push_limit),
            self._presence.enter(client.user_id, session.group_ids),
            return_exceptions=True,
        )
        for failure in (claim, online):
            if isinstance(failure, BaseException) and not isinstance(failure, Unavailable):
                raise failure
        if isinstance(claim, Claim):
            session.known_watermark(claim.watermark)
            if claim.own != client.conn_id:
                self._rename(client, claim.own)
        connected = Connected(
            user_id=client.user_id,
            online_count=len(self._hub) if isinstance(online, BaseException) else online,
            connected_at=client.connected_at,
            conn_id=client.conn_id,
            server=self._server_name,
        )
        frames = [frame("connected", connected)]
        if isinstance(claim, BaseException):
            self._open_unclaimed(client, frames)
            return
        if client.gone:
            # Redis was slow, and the older session may be that of the same client by now: it gets
            # its place back when the end of this one is written.
            self.send_away(client)
            return
        window, missed = claim.window, claim.missed
        if claim.forgetful:
            # Nor does Redis know for certain what friends were told.
            self._announcer.note([client.user_id], Look.EVERYWHERE)
        if claim.conn_id and not claim.here:
            window, missed = await self.evict_remote(client, claim.node, claim.conn_id, missed)
        # What is older the client asks for once it is connected; what is newer has to be heard.
        await asyncio.wait({finding}, timeout=HEARD_SECONDS)
        self._open(client, frames, missed, window)

    def _open_unclaimed(self, client: Client, frames: list[bytes]) -> None:
        """Open a session that Redis has not taken, with what is unread in place of the queue."""
        log.info("offline_window_replaced", user=client.user_id, conn=client.conn_id)
        if client.state is State.CONNECTING:
            # What the queue holds is unread in the Message service, which needs no Redis; and it
            # must come before what is live. The queue is read when Redis is back.
            client.start(frames, [])
            self._memberships.connected(client)
            self._delivery.replay_unread(client, session_of(client).resume_after)
            self._catch_up.resume(client, Wait.LOGIN)
        if self.on_claim_failed is not None and self._hub.get(client.user_id) is client:
            self.on_claim_failed(client)

    async def evict_remote(
        self, client: Client, node: str, conn_id: str, missed: str
    ) -> tuple[Window, str]:
        """End the session on another node, and return the queue with what it has put back.

        With it comes the note of what is missed: `missed`, or a new one if that node is dead or
        cannot be reached.
        """
        # The note is made before the answer is known: a still newer login would find this session,
        # which is well, and would not hear of the older one, which may have died.
        noted = missed or self._registry.note_missed(client.user_id, for_now=True)
        try:
            window = await self._hand_over(client, node, conn_id)
        except Unavailable:
            return _NO_WINDOW, noted
        if not missed:
            self._registry.forget_missed(client.user_id, noted)
        return window, missed

    async def _hand_over(self, client: Client, node: str, conn_id: str) -> Window:
        """Have a node kick its connection and put back what that holds; raises Unavailable."""
        handover = self._handovers[client.user_id] = asyncio.Event()
        try:
            heard = await self._bus.kick(
                node, client.user_id, conn_id, Successor(client.conn_id, client.remote)
            )
            if not heard:
                raise Unavailable("nobody hears it")
            async with asyncio.timeout(HANDOVER_SECONDS):
                await handover.wait()
        except TimeoutError:
            raise Unavailable("no answer in time") from None
        finally:
            if self._handovers.get(client.user_id) is handover:
                del self._handovers[client.user_id]
        return await self._offline.newest(client)

    def _open(self, client: Client, frames: list[bytes], missed: str, window: Window) -> None:
        if client.state is not State.CONNECTING:
            return
        resume_after = session_of(client).resume_after
        if resume_after is not None:
            client.start(frames, [])
            self._catch_up.fetch(client, missed, resume_after)
        elif missed:
            # What the queue holds is unread as well, and comes in its place among the rest.
            client.start(frames, [])
            self._catch_up.fetch(client, missed)
        else:
            window = self._offline.cut(window)
            if window.entries or window.older:
                # Its absence tells existing clients to ask for what is unread themselves.
                frames.append(summary_frame(window))
            client.start(frames, self._offline.take(client, window))
        self._memberships.connected(client)
        self._catch_up.resume(client, Wait.LOGIN)
