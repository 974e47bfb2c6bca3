"""Signs of life: what friends see of each other, and what a client asks of the server."""

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import (
    Pong,
    PresenceAnswer,
    PresenceQuery,
    UserStatus,
    frame,
    now_seconds,
)
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.ports import Presence, SessionRegistry, Unavailable
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.user_router import UserRouter


class Social:
    """Handles `presence`, and announces who comes and goes."""

    def __init__(
        self,
        *,
        hub: Hub,
        presence: Presence,
        friends: FriendCache,
        sessions: SessionRegistry,
        user_router: UserRouter,
        requests: Requests,
    ) -> None:
        self._hub = hub
        self._presence = presence
        self._friends = friends
        self._sessions = sessions
        self._user_router = user_router
        self._requests = requests

    async def announce(self, user_id: int, *, online: bool) -> None:
        """Tell the online friends that the user came or went, if it is still so by then."""
        friends = await self._friends.friends(user_id)
        if online:
            still_so = user_id in self._hub
        else:
            still_so = user_id not in self._hub and not await self._sessions.anywhere(user_id)
        if not still_so:
            return
        status = UserStatus(user_id=user_id, timestamp=now_seconds())
        self._user_router.send_all(friends, frame("online" if online else "offline", status))

    def pong(self, client: Client, _data: object) -> None:
        """Answer a ping of a client that cannot see those of the protocol."""
        client.send(frame("pong", Pong(timestamp=now_seconds())))

    def presence(self, client: Client, data: PresenceQuery) -> None:
        """Answer which of the users are online; only friends are told of."""
        self._requests.run(client, "presence", self._presence_of(client, data.user_ids))

    async def _presence_of(self, client: Client, user_ids: list[int]) -> None:
        friends = await self._friends.friends(client.user_id)
        asked = [user_id for user_id in dict.fromkeys(user_ids) if user_id in friends]
        try:
            online = await self._presence.online(asked) if asked else []
        except Unavailable:
            # Without Redis this node still knows its own users.
            online = [user_id for user_id in asked if user_id in self._hub]
        client.offer(frame("presence", PresenceAnswer(online=online)))
