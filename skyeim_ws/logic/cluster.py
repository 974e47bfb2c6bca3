"""What other nodes say, and what follows an outage or the death of one."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ending import Successor
from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.state import State
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.announcer import Announcer, Look
from skyeim_ws.logic.arrivals import Arrivals
from skyeim_ws.logic.bus import Bus
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.group_channels import GroupChannels
from skyeim_ws.logic.orders import Orders, execute
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.progress import Wait
from skyeim_ws.logic.session import Sessions
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.shared_state import NodeSessions, Presence, Reclaimed, SessionRegistry
from skyeim_ws.logic.tasks import Tasks

log = structlog.get_logger()

_RECLAIM_AT_ONCE = 500
"""Users per step, so that a node with many does not hold Redis up after an outage."""

_RETRY_SECONDS = 1.0


class Cluster:
    """Implements `bus.BusEvents`, and keeps this node's part of the shared state right."""

    def __init__(
        self,
        *,
        hub: Hub,
        router: GroupRouter,
        registry: SessionRegistry,
        node_sessions: NodeSessions,
        bus: Bus,
        presence: Presence,
        sessions: Sessions,
        delivery: PrivateDelivery,
        acks: Acks,
        arrivals: Arrivals,
        catch_up: CatchUp,
        announcer: Announcer,
        channels: GroupChannels,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._router = router
        self._registry = registry
        self._bus = bus
        self._presence = presence
        self._sessions = sessions
        self._delivery = delivery
        self._acks = acks
        self._arrivals = arrivals
        self._catch_up = catch_up
        self._announcer = announcer
        self._channels = channels
        self._tasks = tasks
        self._node_sessions = node_sessions
        self._reclaiming = False
        # Connections of which Redis may not know.
        self._unclaimed: set[Client] = set()
        self.orders: Orders = {}

    # What other nodes say.

    def private(self, user_id: int, entry: bytes) -> None:
        """Deliver a message that has been queued for a user of this node."""
        self._delivery.deliver_queued(user_id, entry)

    def frame(self, user_ids: Sequence[int], frame: bytes, *, ephemeral: bool) -> None:
        """Send a frame to those of the users who are here."""
        if ephemeral:
            self._hub.offer(set(user_ids), frame)
        else:
            self._hub.fan_out(set(user_ids), frame)

    def acked(self, user_id: int, msg_ids: Sequence[str], status: str) -> None:
        """Tell the sender of messages that their receiver has them or has read them."""
        self._acks.told(user_id, msg_ids, status)

    def group(self, group_id: str, item: GroupFrame) -> None:
        """Send a frame to the members of a group who are here."""
        if not self._router.publish(group_id, item) and not item.ephemeral:
            log.warning("group_frame_dropped", group=group_id, seq=item.seq)

    def groups_heard(self, group_ids: Sequence[str]) -> None:
        """Note that what others send to these groups is heard from now on."""
        self._channels.groups_heard(group_ids)

    def groups_unheard(self, group_ids: Sequence[str]) -> None:
        """Note that something may have been missed of these groups, until they are heard again."""
        self._channels.groups_unheard(group_ids)

    def kicked(self, user_id: int, conn_id: str, node: str, successor: tuple[str, str]) -> None:
        """End the connection: a newer login on that node, `successor`, has taken its place."""
        client = self._hub.get(user_id)
        if client is not None:
            by = Successor(*successor)
            if client.conn_id == conn_id:
                self._sessions.kick(client, by)
            elif client.state is State.CONNECTING:
                # Its claim may have given it this name, and the answer is still on its way.
                session_of(client).kicked_as = conn_id
                session_of(client).kicked_by = by
        if node:
            # Also for one that has ended before: what it held is on its way into the queue.
            self._bus.handed_over(node, user_id)

    def handed_over(self, user_id: int) -> None:
        """Note that the older session has put back what it held."""
        self._sessions.handed_over(user_id)

    def arrival_asked(self, user_id: int, node: str) -> None:
        """Tell that node when nothing older is on its way to the user."""
        self._arrivals.asked(user_id, node)

    def arrived(self, user_id: int) -> None:
        """Note that nothing older is on its way to the user."""
        self._arrivals.told(user_id)

    def node_died(self, user_id: int) -> None:
        """Bring the user what the Message service has unread: another node died with it."""
        client = self._hub.get(user_id)
        if client is not None:
            self._catch_up.fetch(client, self._registry.note_missed(user_id))

    def ordered(self, what: str, about: bytes) -> bytes:
        """Do what an operator has ordered; return the answer. Both are JSON objects."""
        return execute(self.orders, what, about)

    # What follows an outage or a death.

    def reclaim(self) -> None:
        """Write sessions and presence of this node again, and read the queues of its users.

        It is called when Redis or the subscription is back, and when the others have taken this
        node for dead: messages may have been queued of which nobody has told this node.
        """
        self._presence.resync({c.user_id: session_of(c).group_ids for c in self._hub})
        for client in self._hub:
            self._catch_up.pause(client, Wait.RECLAIM)
            session = session_of(client)
            session.in_node_sessions, session.brought_unread = False, 0.0
        self._claim_again(self._hub)

    def subscribed(self) -> None:
        """Make up for what the others may have told while this node did not hear them."""
        self.reclaim()
        self._announcer.subscribed()

    def claim_later(self, client: Client) -> None:
        """Write the session of a login that could not reach Redis, as soon as it can.

        Friends may have been told that the user was offline, and Redis may have forgotten that.
        """
        self._announcer.note([client.user_id], Look.EVERYWHERE)
        self._presence.resync({client.user_id: session_of(client).group_ids})
        self._claim_again([client])

    def _claim_again(self, clients: Iterable[Client]) -> None:
        self._unclaimed.update(clients)
        if not self._reclaiming:
            self._reclaiming = True
            self._tasks.spawn(self._reclaim_all())

    def reaped(self, gone: Sequence[int], moved: Sequence[int]) -> None:
        """Tell the friends of users whom a dead node has left offline.

        Those who had already moved to another node may miss what the dead one had in its hands.
        """
        self._announcer.note(gone)
        for user_id in moved:
            if user_id in self._hub:
                self.node_died(user_id)
            else:
                self._bus.catch_up(user_id)

    async def _reclaim_all(self) -> None:
        try:
            while self._unclaimed:
                some = list(islice(self._unclaimed, _RECLAIM_AT_ONCE))
                self._unclaimed.difference_update(some)
                try:
                    await self._reclaim([c for c in some if self._hub.get(c.user_id) is c])
                except Unavailable:
                    # Redis is away again: chat between the users of this node goes on. Those who
                    # have gone need no session.
                    left = {c for c in (*some, *self._unclaimed) if self._hub.get(c.user_id) is c}
                    self._unclaimed = left
                    for client in left:
                        self._catch_up.resume(client, Wait.RECLAIM)
                    await asyncio.sleep(_RETRY_SECONDS)
            # Until then nobody found the users here, to tell them who of their friends had come.
            self._announcer.subscribed()
        finally:
            self._reclaiming = False

    async def _reclaim(self, clients: Sequence[Client]) -> None:
        if self._bus.redis_down:
            raise Unavailable("Redis is away")  # holding messages back would help nobody
        for client in clients:
            self._catch_up.pause(client, Wait.RECLAIM)
        # First: whoever cleans up after this node should it die must know of everyone.
        await self._node_sessions.enter_again(
            [(c.user_id, c.conn_id, session_of(c).group_ids) for c in clients]
        )
        # Whoever has left since is being taken out, and must not be written behind that.
        clients = [client for client in clients if self._hub.get(client.user_id) is client]
        for client in clients:
            session_of(client).in_node_sessions = True
        answers = await self._registry.reclaim([(c.user_id, c.conn_id) for c in clients])
        for client, answer in zip(clients, answers, strict=True):
            if self._hub.get(client.user_id) is not client:
                continue
            if answer.refused:
                # Redis refuses it for this user alone; the chat goes on here.
                log.error("session_not_written", user=client.user_id)
                self._catch_up.resume(client, Wait.RECLAIM)
                continue
            # Friends may have been told that this node is dead, or nothing at all.
            self._announcer.note([client.user_id])
            if not answer.ours:
                self._sessions.kick(client)
                continue
            client.conn_id = answer.own
            session_of(client).known_watermark(answer.watermark)
            if answer.conn_id:
                # Redis was away at this login, or did not answer; now the older one is told.
                self._tasks.spawn(self._evict_remote(client, answer), client)
            else:
                self._reclaimed(client, answer.missed)

    async def _evict_remote(self, client: Client, answer: Reclaimed) -> None:
        _, missed = await self._sessions.evict_remote(
            client, answer.node, answer.conn_id, answer.missed
        )
        if self._hub.get(client.user_id) is client:
            self._reclaimed(client, missed)

    def _reclaimed(self, client: Client, missed: str) -> None:
        """Bring the client what was queued or missed while nobody told this node."""
        session_of(client).brought_unread = 0.0
        if missed:
            self._catch_up.fetch(client, missed)
        else:
            self._catch_up.reread(client)
        # Unless there was another reason meanwhile, as when the subscription is back as well.
        if client not in self._unclaimed:
            self._catch_up.resume(client, Wait.RECLAIM)
