"""Business events that the services push to users and groups, passed on untouched."""

from skyeim_ws.conn.messages import raw_frame
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.user_router import UserRouter


class EventPublisher:
    """Forwards events to whoever is online; they are not stored."""

    def __init__(self, *, user_router: UserRouter, friends: FriendCache) -> None:
        self._user_router = user_router
        self._friends = friends

    def to_user(self, user_id: int, kind: str, data: bytes) -> None:
        """Send an event to a user, if the user is online. `data` is encoded JSON."""
        # Whatever the Friend service has to say may have changed the list of friends.
        self._friends.forget(user_id)
        self._user_router.send(user_id, raw_frame(kind, data))

    def to_group(
        self, group_id: str, kind: str, data: bytes, except_ids: frozenset[int] = frozenset()
    ) -> bool:
        """Send an event to a group, in order with its messages; False if its queue is full.

        The members in `except_ids` get no copy.
        """
        item = GroupFrame(raw_frame(kind, data), except_ids=except_ids)
        return self._user_router.publish(group_id, item)
