"""Frames to users and groups, on whichever node they are."""

from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.logic.bus import Bus


class UserRouter:
    """Serves who is here directly, and the others over the bus."""

    def __init__(self, hub: Hub, router: GroupRouter, bus: Bus) -> None:
        self._hub = hub
        self._router = router
        self._bus = bus

    def send(self, user_id: int, frame: bytes) -> None:
        """Send a frame to a user, if the user is online."""
        if not self._hub.send_to_user(user_id, frame):
            self._bus.to_user(user_id, frame)

    def offer(self, user_id: int, frame: bytes) -> None:
        """Send a frame that may be shed."""
        client = self._hub.get(user_id)
        if client is not None:
            client.offer(frame)
        else:
            self._bus.to_user(user_id, frame, ephemeral=True)

    def publish(self, group_id: str, item: GroupFrame) -> bool:
        """Send a frame to a group; False if its queue here is full, then nobody gets it."""
        if not self._router.publish(group_id, item):
            return False
        self._bus.to_group(group_id, item)
        return True

    def route(self, group_id: str, item: GroupFrame) -> None:
        """Send a stored message to its group; its place in the queue here was reserved."""
        self._router.route(group_id, item)
        self._bus.to_group(group_id, item)
