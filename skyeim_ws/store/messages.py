"""The messages that nodes send to each other, and how they are encoded."""

import msgspec


class PrivateMessage(msgspec.Struct, frozen=True, tag="p", array_like=True):
    """A private message that was queued for a user of the node that is told."""

    user_id: int
    entry: bytes


class FrameMessage(msgspec.Struct, frozen=True, tag="f", array_like=True):
    """A frame for users; `origin` has served its own."""

    origin: str
    user_ids: list[int]
    frame: bytes
    ephemeral: bool = False


class AckMessage(msgspec.Struct, frozen=True, tag="a", array_like=True):
    """Tells a sender on this node that its messages are `delivered` or `read`."""

    user_id: int
    msg_ids: list[str]
    status: str


class GroupMessage(msgspec.Struct, frozen=True, tag="g", array_like=True):
    """A frame for the members of a group; `origin` has served its own."""

    origin: str
    group_id: str
    frame: bytes
    sender_id: int
    seq: int
    ephemeral: bool
    except_ids: list[int] = []
    message_id: int = 0
    repeat: bool = False
    """Whether the sender has sent it before, so that the node may have had it."""


class Kick(msgspec.Struct, frozen=True, tag="k", array_like=True):
    """A newer login has taken the place of a connection."""

    user_id: int
    conn_id: str
    origin: str = ""
    """The node of the newer login; it waits until the old connection has put back what it held."""
    successor: tuple[str, str] = ("", "")
    """The id of the newer connection, and the address of its client."""


class HandedOver(msgspec.Struct, frozen=True, tag="h", array_like=True):
    """A node has put back everything that a kicked connection held."""

    user_id: int


class ArrivalAsked(msgspec.Struct, frozen=True, tag="q", array_like=True):
    """A node wants to know when a user has what precedes its live messages."""

    user_id: int
    origin: str


class Arrived(msgspec.Struct, frozen=True, tag="r", array_like=True):
    """The user has it, or is not here any more."""

    user_id: int


class NodeDied(msgspec.Struct, frozen=True, tag="l", array_like=True):
    """A node died; it may have held unconfirmed messages of a user who is here now."""

    user_id: int


class Probe(msgspec.Struct, frozen=True, tag="t", array_like=True):
    """A node tests whether it still hears itself."""


class Order(msgspec.Struct, frozen=True, tag="o", array_like=True):
    """An operator wants `what`; `about` is JSON, and the answer goes to the channel `reply`."""

    what: str
    about: bytes
    reply: str


BusMessage = (
    PrivateMessage
    | FrameMessage
    | AckMessage
    | GroupMessage
    | Kick
    | HandedOver
    | ArrivalAsked
    | Arrived
    | NodeDied
    | Probe
    | Order
)

_decoder = msgspec.msgpack.Decoder(BusMessage)
_encoder = msgspec.msgpack.Encoder()


def encode(message: BusMessage) -> bytes:
    """Return the bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes) -> BusMessage:
    """Return the message of these bytes; raises msgspec.DecodeError."""
    message: BusMessage = _decoder.decode(data)
    return message


class Reply(msgspec.Struct, frozen=True):
    """What a node answers to an `Order`, as JSON: operators may read it as it comes."""

    node: str
    answer: msgspec.Raw


def encode_reply(node: str, answer: bytes) -> bytes:
    """Return the bytes of an answer, which is JSON."""
    return msgspec.json.encode(Reply(node, msgspec.Raw(answer)))


def decode_reply(data: bytes) -> Reply:
    """Return the answer of these bytes; raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=Reply)
