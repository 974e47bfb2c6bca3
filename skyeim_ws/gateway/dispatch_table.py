"""The table of message types: which part of the logic handles each."""

from skyeim_ws.conn.messages import (
    Chat,
    ClientAck,
    GroupChat,
    GroupRead,
    OfflinePull,
    PresenceQuery,
    Read,
    TokenRenewal,
    TypingNotice,
)
from skyeim_ws.contract.spans import Tracer
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.dispatch import Dispatcher, route
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.receipts import Receipts
from skyeim_ws.logic.renewal import Renewal
from skyeim_ws.logic.social import Social
from skyeim_ws.logic.typing_notices import TypingNotices


def dispatcher(
    *,
    tracer: Tracer,
    sending: Sending,
    receipts: Receipts,
    social: Social,
    typing: TypingNotices,
    offline: OfflineMessages,
    renewal: Renewal,
) -> Dispatcher:
    """Return what decodes each frame and hands it on."""
    return Dispatcher(
        {
            "chat": route(Chat, sending.chat),
            "group_chat": route(GroupChat, sending.group_chat),
            "ack": route(ClientAck, receipts.ack, acknowledges=True),
            "read": route(Read, receipts.read),
            "group_read": route(GroupRead, receipts.group_read),
            "typing": route(TypingNotice, typing.typing),
            "presence": route(PresenceQuery, social.presence),
            "offline_pull": route(OfflinePull, offline.pull),
            "token": route(TokenRenewal, renewal.renew),
            "ping": route(None, social.pong),
        },
        tracer,
    )
