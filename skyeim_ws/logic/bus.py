"""What nodes tell each other: how the logic says it, and how it hears it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from skyeim_ws.contract.group_frame import GroupFrame


class Bus(Protocol):
    """Tells other nodes; `store` implements it.

    All but `kick` and `ask_arrived` return at once and raise nothing. What they tell may be lost;
    of `catch_up` alone it is tried until Redis has taken it.
    """

    def to_user(self, user_id: int, frame: bytes, *, ephemeral: bool = False) -> None:
        """Send a frame to a user of another node; it is dropped if the user is nowhere."""

    def ack(self, user_id: int, msg_ids: Sequence[str], status: str) -> None:
        """Tell a sender on another node that its messages are `delivered` or `read`."""

    def to_group(self, group_id: str, item: GroupFrame) -> None:
        """Send a frame to the members of a group who are on other nodes."""

    def hear_groups(self, group_ids: Iterable[str]) -> None:
        """Hear what others send to these groups too; `BusEvents.groups_heard` follows."""

    def leave_groups(self, group_ids: Iterable[str]) -> None:
        """Hear these no more."""

    @property
    def not_subscribed(self) -> bool:
        """Whether this node does not hear the others, though Redis is there."""

    @property
    def redis_down(self) -> bool:
        """Whether Redis is away, and with it what the others tell."""

    async def kick(self, node: str, user_id: int, conn_id: str, successor: tuple[str, str]) -> bool:
        """Tell a node that a newer login has taken the place of its connection.

        `successor` is the id of the newer connection and the address of its client. Returns
        whether that node listens. Raises Unavailable.
        """

    def handed_over(self, node: str, user_id: int) -> None:
        """Tell the node of a newer login that the queue has all that the older connection held."""

    async def ask_arrived(self, user_id: int) -> bool:
        """Have the node of the user say when nothing older is on its way to it.

        Returns False if the user is nowhere. Raises Unavailable.
        """

    def arrived(self, node: str, user_id: int) -> None:
        """Tell a node that has asked that nothing older is on its way to the user."""

    def catch_up(self, user_id: int) -> None:
        """Tell the node of the user that another node may have died with messages for it."""


class BusEvents(Protocol):
    """Hears what the other nodes tell this one. None of it waits or raises."""

    def private(self, user_id: int, entry: bytes) -> None:
        """Deliver a message that has been queued for a user of this node."""

    def frame(self, user_ids: Sequence[int], frame: bytes, *, ephemeral: bool) -> None:
        """Send a frame to those of the users who are here."""

    def acked(self, user_id: int, msg_ids: Sequence[str], status: str) -> None:
        """Tell the sender of messages that their receiver has them or has read them."""

    def group(self, group_id: str, item: GroupFrame) -> None:
        """Send a frame to the members of a group who are here."""

    def groups_heard(self, group_ids: Sequence[str]) -> None:
        """Note that what others send to these groups is heard from now on."""

    def groups_unheard(self, group_ids: Sequence[str]) -> None:
        """Note that something may have been missed of these groups, until they are heard again."""

    def kicked(self, user_id: int, conn_id: str, node: str, successor: tuple[str, str]) -> None:
        """End the connection: a newer login on that node, `successor`, has taken its place."""

    def handed_over(self, user_id: int) -> None:
        """Note that the older session of a user has put back what it held."""

    def arrival_asked(self, user_id: int, node: str) -> None:
        """Tell that node when nothing older is on its way to the user."""

    def arrived(self, user_id: int) -> None:
        """Note that nothing older is on its way to the user."""

    def node_died(self, user_id: int) -> None:
        """Bring the user what the Message service has unread: another node died with it."""

    def ordered(self, what: str, about: bytes) -> bytes:
        """Do what an operator has ordered; return the answer. Both are JSON objects."""
