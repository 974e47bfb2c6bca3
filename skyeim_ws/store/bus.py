"""The channels between nodes: one for each node, one for each group, and one for all."""

import uuid
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from skyeim_ws.contract.group_frame import GroupFrame
from skyeim_ws.contract.names import BROADCAST
from skyeim_ws.logic.bus import BusEvents
from skyeim_ws.store import scripts
from skyeim_ws.store.client import Client
from skyeim_ws.store.keys import (
    GROUP_CHANNEL_PREFIX,
    NODE_PREFIX,
    group_channel,
    node_channel,
    session_key,
)
from skyeim_ws.store.messages import (
    AckMessage,
    ArrivalAsked,
    Arrived,
    BusMessage,
    FrameMessage,
    GroupMessage,
    HandedOver,
    Kick,
    NodeDied,
    Order,
    PrivateMessage,
    Probe,
    decode,
    encode,
    encode_reply,
)
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.subscriptions import Subscriptions

log = structlog.get_logger()


class RedisBus:
    """`logic.bus.Bus`: publishes through the pipeline, hears on connections of its own.

    Publishing is not durable: whoever misses a frame has the message in a queue, in SQL, or can
    live without it. `ready` is set while the node hears what concerns it and all nodes;
    `subscriptions` counts how often it began to, `heard` the messages.
    """

    def __init__(self, pipeline: Pipeline, client: Client, node: str) -> None:
        self.subscriptions = self.heard = 0
        self._pipeline = pipeline
        self._node = node
        self._tell = scripts.read("tell_user")
        self._tell_node = scripts.read("tell_node")
        # A cluster tells a plain message to all its servers, a sharded one to those of its slot.
        self._publish_to_group = "SPUBLISH" if pipeline.sharded else "PUBLISH"
        self._events: BusEvents
        own = node_channel(node)
        self._subscriptions = Subscriptions(
            client, pipeline, self, (own, BROADCAST), encode(Probe())
        )
        self.ready = self._subscriptions.ready

    async def run(self, events: BusEvents, on_ready: Callable[[], None]) -> None:
        """Listen, for good; `on_ready` is called after each new subscription."""

        def subscribed() -> None:
            self.subscriptions += 1
            log.info("bus_listening", node=self._node)
            on_ready()

        self._events = events
        await self._subscriptions.run(subscribed)

    @property
    def complete(self) -> bool:
        """Whether this node has the connections over which it hears all channels it wants."""
        return self._subscriptions.complete

    @property
    def not_subscribed(self) -> bool:
        """Whether Redis is there, but this node does not hear what others tell it."""
        return self._pipeline.healthy and not self.ready.is_set()

    @property
    def redis_down(self) -> bool:
        """Whether Redis is away, so that nobody hears anybody."""
        return not self._pipeline.healthy

    def to_user(self, user_id: int, frame: bytes, *, ephemeral: bool = False) -> None:
        """Send a frame to a user of another node; dropped if the user is nowhere."""
        self._publish_to(user_id, FrameMessage(self._node, [user_id], frame, ephemeral))

    def ack(self, user_id: int, msg_ids: Sequence[str], status: str) -> None:
        """Tell a sender on another node that its messages are `delivered` or `read`."""
        self._publish_to(user_id, AckMessage(user_id, list(msg_ids), status))

    def to_group(self, group_id: str, item: GroupFrame) -> None:
        """Send a frame to the members of a group who are on other nodes: once, not per member."""
        message = GroupMessage(
            self._node,
            group_id,
            item.frame,
            item.sender_id,
            item.seq,
            item.ephemeral,
            list(item.except_ids),
            item.id,
            item.repeat,
        )
        if item.seq or item.ephemeral:
            channel = group_channel(group_id)
            self._pipeline.publish((self._publish_to_group, channel, encode(message)))
        else:
            # An event may be what says that somebody is a member now, whose node does not hear the
            # group yet.
            self._pipeline.publish(("PUBLISH", BROADCAST, encode(message)))

    def hear_groups(self, group_ids: Iterable[str]) -> None:
        """Hear the channels of these groups too; `BusEvents.groups_heard` is called for them."""
        self._subscriptions.join([group_channel(group_id) for group_id in group_ids])

    def leave_groups(self, group_ids: Iterable[str]) -> None:
        """Hear these no more."""
        self._subscriptions.leave([group_channel(group_id) for group_id in group_ids])

    async def kick(self, node: str, user_id: int, conn_id: str, successor: tuple[str, str]) -> bool:
        """Tell a node that a newer login has replaced its connection; return whether it listens.

        A cluster cannot say, so the answer is True there. If the node is dead after all, its lease
        runs out. Whoever then cleans up brings the user what the node may have lost.
        """
        message = encode(Kick(user_id, conn_id, self._node, successor))
        [listeners] = await self._pipeline.call(("PUBLISH", node_channel(node), message))
        # A node of a cluster counts the listeners on itself alone.
        return bool(listeners) or self._pipeline.sharded

    def handed_over(self, node: str, user_id: int) -> None:
        """Tell a node that the connection it has replaced has put back everything into the queue.

        This goes the same way as what was put back, and so arrives behind it.
        """
        self._publish_to_node(node, user_id, HandedOver(user_id))

    async def ask_arrived(self, user_id: int) -> bool:
        """Have the node of the user say when nothing older is on its way to it."""
        message = encode(ArrivalAsked(user_id, self._node))
        [told] = await self._pipeline.call(
            ("EVAL", self._tell, 1, session_key(user_id), message, NODE_PREFIX)
        )
        return bool(told)

    def arrived(self, node: str, user_id: int) -> None:
        """Tell a node that has asked that nothing older is on its way to the user."""
        self._publish_to_node(node, user_id, Arrived(user_id))

    def catch_up(self, user_id: int) -> None:
        """Tell the node of the user that messages may have been lost with another node."""
        message = encode(NodeDied(user_id))
        self._pipeline.submit(("EVAL", self._tell, 1, session_key(user_id), message, NODE_PREFIX))

    def _publish_to(self, user_id: int, message: BusMessage) -> None:
        self._pipeline.publish(
            ("EVAL", self._tell, 1, session_key(user_id), encode(message), NODE_PREFIX)
        )

    def _publish_to_node(self, node: str, user_id: int, message: BusMessage) -> None:
        channel = node_channel(node)
        self._pipeline.publish(
            ("EVAL", self._tell_node, 1, session_key(user_id), channel, encode(message))
        )

    # What the subscriptions tell.

    def message(self, channel: bytes, data: bytes) -> None:
        """Handle a message; if that fails, log it and leave the message out."""
        self.heard += 1
        try:
            message = decode(data)
        except msgspec.DecodeError:
            log.warning("bus_message_unreadable", channel=channel.decode(errors="replace"))
            return
        try:
            self._handle(message)
        except Exception:  # a fault of ours with one message must not cost the others theirs
            log.exception("bus_message_failed", kind=type(message).__name__)

    def gained(self, channels: Sequence[str]) -> None:
        """Note from which groups this node hears from now on."""
        self._events.groups_heard(_group_ids(channels))

    def missed(self, channels: Sequence[str]) -> None:
        """Note from which groups it may have missed something."""
        self._events.groups_unheard(_group_ids(channels))

    def _handle(self, message: BusMessage) -> None:
        events = self._events
        match message:
            case PrivateMessage():
                events.private(message.user_id, message.entry)
            case AckMessage():
                events.acked(message.user_id, message.msg_ids, message.status)
            case Kick():
                events.kicked(message.user_id, message.conn_id, message.origin, message.successor)
            case HandedOver():
                events.handed_over(message.user_id)
            case ArrivalAsked():
                events.arrival_asked(message.user_id, message.origin)
            case Arrived():
                events.arrived(message.user_id)
            case Order():
                answer = events.ordered(message.what, message.about)
                self._pipeline.publish(("PUBLISH", message.reply, encode_reply(self._node, answer)))
            case NodeDied():
                events.node_died(message.user_id)
            case FrameMessage() if message.origin != self._node:
                events.frame(message.user_ids, message.frame, ephemeral=message.ephemeral)
            case GroupMessage() if message.origin != self._node:
                events.group(message.group_id, _frame_of(message))


def _frame_of(message: GroupMessage) -> GroupFrame:
    return GroupFrame(
        message.frame,
        message.sender_id,
        message.seq,
        message.ephemeral,
        frozenset(message.except_ids),
        message.message_id,
        message.repeat,
    )


def _group_ids(channels: Iterable[str]) -> list[str]:
    return [channel.removeprefix(GROUP_CHANNEL_PREFIX) for channel in channels]


def unique_node(name: str) -> str:
    """Return a name that no other node has: after a restart a gateway is another node."""
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
    return f"{safe}-{uuid.uuid4().hex[:12]}"
