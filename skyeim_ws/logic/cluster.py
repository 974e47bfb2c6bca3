"""What other nodes say, and what follows an outage or the death of one."""

import asyncio
from collections.abc import Sequence

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.group_router import GroupFrame, GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.ports import Bus, Presence, Refused, Roster, SessionRegistry, Unavailable
from skyeim_ws.logic.session import Sessions
from skyeim_ws.logic.social import Social
from skyeim_ws.logic.tasks import Tasks

log = structlog.get_logger()

_RECLAIM_AT_ONCE = 500
_REREAD_AT_ONCE = 50
"""Users per step, so that a node with many does not hold Redis up after an outage."""

_RETRY_SECONDS = 1.0


class Cluster:
    """Implements `ports.BusEvents`, and keeps this node's part of the shared state right."""

    def __init__(
        self,
        *,
        hub: Hub,
        router: GroupRouter,
        registry: SessionRegistry,
        roster: Roster,
        bus: Bus,
        presence: Presence,
        sessions: Sessions,
        delivery: PrivateDelivery,
        offline: OfflineMessages,
        catch_up: CatchUp,
        social: Social,
        tasks: Tasks,
    ) -> None:
        self._hub = hub
        self._router = router
        self._registry = registry
        self._roster = roster
        self._bus = bus
        self._presence = presence
        self._sessions = sessions
        self._delivery = delivery
        self._offline = offline
        self._catch_up = catch_up
        self._social = social
        self._tasks = tasks
        self._reclaiming = False
        self._reclaim_again = False

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

    def group(
        self, group_id: str, frame: bytes, *, sender_id: int, seq: int, ephemeral: bool
    ) -> None:
        """Send a frame to the members of a group who are here."""
        item = GroupFrame(frame, sender_id, seq, ephemeral)
        if not self._router.publish(group_id, item) and not ephemeral:
            log.warning("group_frame_dropped", group=group_id, seq=seq)

    def kicked(self, user_id: int, conn_id: str) -> None:
        """End the connection: a newer login on another node has taken its place."""
        client = self._hub.get(user_id)
        if client is not None and client.conn_id == conn_id:
            self._sessions.kick(client)

    def lost_messages(self, user_id: int) -> None:
        """Bring the user what the Message service has unread: another node died with it."""
        client = self._hub.get(user_id)
        if client is not None and self._catch_up.begin(client, None):
            self._tasks.spawn(self._catch_up.run(client))

    # What follows an outage or a death.

    def reclaim(self) -> None:
        """Write sessions and presence of this node again, and read the queues of its users.

        After Redis was away, after the subscription was, or after the others took this node for
        dead: in between messages may have been queued of which nobody has told us.
        """
        self._presence.resync({client.user_id: client.group_ids for client in self._hub})
        self._reclaim_again = True
        if not self._reclaiming:
            self._reclaiming = True
            self._tasks.spawn(self._reclaim_all())

    async def buried(self, gone: Sequence[int], moved: Sequence[int]) -> None:
        """Tell the friends of users whom a dead node has left offline.

        Those who had already moved to another node may miss what the dead one had in its hands.
        """
        for user_id in gone:
            try:
                await self._social.announce(user_id, online=False)
            except (Refused, Unavailable) as error:
                log.info("friends_not_told", user=user_id, online=False, error=str(error))
        for user_id in moved:
            if user_id in self._hub:
                self.lost_messages(user_id)
            else:
                self._bus.catch_up(user_id)

    async def _reclaim_all(self) -> None:
        try:
            while self._reclaim_again:
                self._reclaim_again = False
                try:
                    await self._reclaim_once()
                except Unavailable:
                    self._reclaim_again = True
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._reclaiming = False

    async def _reclaim_once(self) -> None:
        clients = list(self._hub)
        for start in range(0, len(clients), _RECLAIM_AT_ONCE):
            some = clients[start : start + _RECLAIM_AT_ONCE]
            answers = await self._registry.reclaim([(c.user_id, c.conn_id) for c in some])
            for client, ours in zip(some, answers, strict=True):
                if self._hub.get(client.user_id) is not client:
                    continue
                if ours:
                    self._roster.enter(client.user_id, client.conn_id, client.group_ids)
                else:
                    self._sessions.kick(client)
        self._sessions.push_late_windows()
        for start in range(0, len(clients), _REREAD_AT_ONCE):
            some = clients[start : start + _REREAD_AT_ONCE]
            await asyncio.gather(*(self._reread(client) for client in some))

    async def _reread(self, client: Client) -> None:
        """Deliver what was queued for a client while this node did not hear of it."""
        here = self._hub.get(client.user_id) is client
        if here and not await self._offline.push_newer(client):
            self.lost_messages(client.user_id)
