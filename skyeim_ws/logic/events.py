"""Business events that the services push to users and groups, passed on untouched."""

from skyeim_ws.conn.group_router import GroupFrame, GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.types import raw_frame
from skyeim_ws.logic.friends import FriendCache


class EventPublisher:
    """Forwards events to whoever is online; they are not stored."""

    def __init__(self, *, hub: Hub, router: GroupRouter, friends: FriendCache) -> None:
        self._hub = hub
        self._router = router
        self._friends = friends

    def to_user(self, user_id: int, kind: str, data: bytes) -> bool:
        """Send an event to a user; False if the user is not here. `data` is encoded JSON."""
        # Whatever the Friend service has to say may have changed the list of friends.
        self._friends.forget(user_id)
        return self._hub.send_to_user(user_id, raw_frame(kind, data))

    def to_group(self, group_id: str, kind: str, data: bytes) -> bool:
        """Send an event to a group, in order with its messages; False if its queue is full."""
        return self._router.publish(group_id, GroupFrame(raw_frame(kind, data)))
