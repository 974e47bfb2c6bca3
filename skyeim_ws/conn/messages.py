"""The envelope and the payloads of the wire: decode, validate, encode."""

import time
import uuid
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from skyeim_ws.conn.framing import Opcode, encode
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.contract.names import EVERYONE, MAX_CONTENT
from skyeim_ws.contract.texts import Language, Phrase, explanation

UserId = Annotated[int, Meta(gt=0, le=2**63 - 1)]
GroupId = Annotated[str, Meta(min_length=1, max_length=64)]
MsgId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:-]{1,64}\Z")]
Content = Annotated[str, Meta(min_length=1, max_length=MAX_CONTENT)]
ContentType = Annotated[int, Meta(ge=1, le=5)]


MAX_MENTIONS = 500
MAX_READ_IDS = 1000
MAX_ACK_IDS = 200
MAX_PRESENCE_IDS = 200
MAX_OFFLINE_PULL = 100


class Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """Any frame of a client; `data` is decoded when the type is known."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    traceparent: str = ""


# From the client.


class Inbound(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The `data` object of a client's frame; `decoding` ignores unknown fields."""


class Chat(Inbound):
    """A private message."""

    to_user_id: UserId
    content: Content
    content_type: ContentType = 1
    msg_id: MsgId | None = None


class GroupChat(Inbound):
    """A group message; `EVERYONE` may stand among the mentions."""

    group_id: GroupId
    content: Content
    content_type: ContentType = 1
    at_user_ids: (
        Annotated[
            list[Annotated[int, Meta(ge=EVERYONE, le=2**63 - 1)]], Meta(max_length=MAX_MENTIONS)
        ]
        | None
    ) = None
    msg_id: MsgId | None = None


class ClientAck(Inbound):
    """The client has messages, or its user has read them: at least one is named."""

    status: Annotated[str, Meta(pattern=r"\A(delivered|read)\Z")]
    msg_id: MsgId | None = None
    msg_ids: Annotated[list[MsgId], Meta(max_length=MAX_ACK_IDS)] | None = None


class Read(Inbound):
    """Messages from the peer were read: those named, else all."""

    peer_id: UserId
    msg_ids: Annotated[list[MsgId], Meta(max_length=MAX_READ_IDS)] | None = None


class GroupRead(Inbound):
    """The group was read up to this seq."""

    group_id: GroupId
    read_seq: Annotated[int, Meta(ge=0, le=2**63 - 1)]


class TypingNotice(Inbound):
    """The user is typing, to a friend or in a group: exactly one of the two."""

    to_user_id: UserId | None = None
    group_id: GroupId | None = None

    def __post_init__(self) -> None:
        if (self.to_user_id is None) == (self.group_id is None):
            raise ValueError("not exactly one: field `toUserId or groupId`")


class PresenceQuery(Inbound):
    """Which of these are online?"""

    user_ids: Annotated[list[UserId], Meta(max_length=MAX_PRESENCE_IDS)]


class TokenRenewal(Inbound):
    """A fresh token for this connection."""

    token: str


class OfflinePull(Inbound):
    """The next older window of the offline queue is wanted."""

    limit: Annotated[int, Meta(ge=1, le=MAX_OFFLINE_PULL)] = 20


# To the client; times are in Unix seconds.


class Outbound(msgspec.Struct, rename="camel", omit_defaults=True):
    """The `data` object of a frame to a client; what is UNSET is left out."""


class ChatMessage(Outbound):
    """A private message; `chat`."""

    id: int
    msg_id: str
    from_user_id: int
    to_user_id: int
    content: str
    content_type: int
    created_at: int


class GroupMessage(Outbound):
    """A group message; `group_chat`."""

    id: int
    msg_id: str
    from_user_id: int
    group_id: str
    content: str
    content_type: int
    created_at: int
    seq: int
    at_user_ids: tuple[int, ...] | UnsetType = UNSET


class GroupBehind(Outbound):
    """Messages of a group that this connection was too slow for; `group_behind`.

    `seq` is the newest of them: the client fetches what it lacks.
    """

    group_id: str
    seq: int


class Connected(Outbound):
    """The first frame of a connection; `connected`."""

    user_id: int
    online_count: int
    connected_at: int
    conn_id: str
    server: str


class Ack(Outbound):
    """The state of a message of the client's; `ack`."""

    msg_id: str
    status: str
    timestamp: int
    reason: str | UnsetType = UNSET
    id: int | UnsetType = UNSET
    seq: int | UnsetType = UNSET


class Error(Outbound):
    """A request that could not be served; `error`."""

    code: int
    message: str
    msg_id: str | UnsetType = UNSET


class UserStatus(Outbound):
    """A friend came or went; `online`, `offline`."""

    user_id: int
    timestamp: int


class OfflineSummary(Outbound):
    """What the following window of the offline queue is part of; `offline_messages`."""

    message_type: str
    total_count: int
    push_count: int
    has_more: bool
    remain_count: int


class ReadReceipt(Outbound):
    """The peer has read messages, all of them if none is named; `read`."""

    user_id: int
    timestamp: int
    msg_ids: list[str] | UnsetType = UNSET


class Typing(Outbound):
    """Somebody is typing; `typing`."""

    from_user_id: int
    group_id: str | UnsetType = UNSET


class PresenceAnswer(Outbound):
    """Who of those asked for is online; `presence`."""

    online: list[int]


class TokenAnswer(Outbound):
    """The connection lives on until then; `token`."""

    expires_at: int


class Pong(Outbound):
    """The answer to an application-level ping; `pong`."""

    timestamp: int


class Kicked(Outbound):
    """Why the server ends this login; `kicked`."""

    reason: str


class Maintenance(Outbound):
    """What operators tell everybody, and when it begins and ends; `maintenance`."""

    message: str
    starts_at: int | UnsetType = UNSET
    ends_at: int | UnsetType = UNSET


_encoder = msgspec.json.Encoder()


def encode_data(data: Outbound) -> bytes:
    """Return the compact JSON of a `data` object."""
    return _encoder.encode(data)


def raw_frame(kind: str, data: bytes) -> bytes:
    """Return the frame of an envelope around JSON that is already encoded."""
    return frame(kind, msgspec.Raw(data))


def frame(kind: str, data: Outbound | msgspec.Raw) -> bytes:
    """Return the frame of an envelope, ready to be written to any number of connections."""
    return encode(Opcode.TEXT, _encoder.encode({"type": kind, "data": data}))


def chat_frame(data: bytes) -> bytes:
    """Return the frame of an encoded private message."""
    return encode(Opcode.TEXT, b'{"type":"chat","data":%b}' % data)


def hint_frames(behind: Mapping[str, int]) -> list[bytes]:
    """Return a `group_behind` frame for each group of which messages were left out."""
    return [
        frame("group_behind", GroupBehind(group_id=group_id, seq=seq))
        for group_id, seq in behind.items()
    ]


def error_frame(
    reason: Reason, language: Language, phrase: Phrase | None = None, msg_id: str | None = None
) -> bytes:
    """Return an `error` frame with the code of the reason."""
    return frame(
        "error",
        Error(
            code=ERROR_CODES[reason],
            message=(phrase or explanation(reason)).spoken(language),
            msg_id=UNSET if msg_id is None else msg_id,
        ),
    )


def new_conn_id() -> str:
    """Return the id of a new connection; ids of later connections are greater."""
    return new_msg_id().replace("-", "")


def new_msg_id() -> str:
    """Return a time-ordered UUID (RFC 9562, version 7)."""
    millis = time.time_ns() // 1_000_000
    value = (millis & (1 << 48) - 1) << 80 | uuid.uuid4().int & (1 << 80) - 1
    value = value & ~(0xF << 76) | 0x7 << 76
    return str(uuid.UUID(int=value))


def now_seconds() -> int:
    """Return the Unix time in seconds, as all frames carry it."""
    return int(time.time())
