"""Signs of life: what a client asks of its friends, and of the server."""

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import (
    Pong,
    PresenceAnswer,
    PresenceQuery,
    frame,
    now_seconds,
)
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.shared_state import Presence


class Social:
    """Handles `presence` and `ping`."""

    def __init__(
        self,
        *,
        hub: Hub,
        presence: Presence,
        friends: FriendCache,
        requests: Requests,
    ) -> None:
        self._hub = hub
        self._presence = presence
        self._friends = friends
        self._requests = requests

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
