"""Whatever a frame says, its handler gets what the limits allow, or the client an answer."""

import json
import re
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st

from skyeim_ws.conn import messages as wire
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.rate import Verdict
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.codes import UNKNOWN_TYPE
from skyeim_ws.contract.texts import Language
from skyeim_ws.logic.dispatch import Dispatcher, route
from tests.gateway.test_fuzz import json_texts, near_valid
from tests.long import examples
from tests.test_docs import INBOUND

MAX_ID = 2**63 - 1
INVALID = 30001


class Sender:
    """A client that takes notes of what it is sent."""

    acks_due = 0
    ledger = SimpleNamespace(pongs_confirm=True)

    def __init__(self) -> None:
        self.language = Language.EN
        self.user_id = 1
        self.context = SimpleNamespace(stats=Stats())
        # What is refused is noted, whatever it is.
        self.context.stats.trace.choose(1.0)
        self.sent: list[dict[str, Any]] = []

    def count_frame(self) -> Verdict:
        return Verdict.ALLOWED

    def send(self, frame: bytes) -> None:
        """Read the frames, of which there may be two in one piece."""
        while frame:
            size, start = frame[1], 2
            if size == 126:
                size, start = int.from_bytes(frame[2:4], "big"), 4
            self.sent.append(json.loads(frame[start : start + size]))
            frame = frame[start + size :]


def is_id(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_ID


def is_msg_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_.:-]{1,64}", value) is not None


def is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= longest


def are(check: Any, values: object, most: int) -> bool:
    return isinstance(values, list) and len(values) <= most and all(map(check, values))


def allowed(data: object) -> bool:
    """Whether the protocol allows such data, by a list of its own."""
    match data:
        case wire.Chat(to, content, content_type, msg_id):
            whole = is_id(to) and is_text(content, 16_384) and 1 <= content_type <= 5
            return whole and (msg_id is None or is_msg_id(msg_id))
        case wire.GroupChat(group, content, content_type, mentions, msg_id):
            whole = is_text(group, 64) and is_text(content, 16_384) and 1 <= content_type <= 5
            some = mentions is None or are(lambda value: -1 <= value <= MAX_ID, mentions, 500)
            return whole and some and (msg_id is None or is_msg_id(msg_id))
        case wire.ClientAck(status, msg_id, msg_ids):
            some = msg_ids is None or are(is_msg_id, msg_ids, 200)
            return status in ("delivered", "read") and some and (not msg_id or is_msg_id(msg_id))
        case wire.Read(peer, msg_ids):
            return is_id(peer) and (msg_ids is None or are(is_msg_id, msg_ids, 1_000))
        case wire.GroupRead(group, seq):
            return is_text(group, 64) and type(seq) is int and 0 <= seq <= MAX_ID
        case wire.TypingNotice(to, group):
            return is_id(to) if group is None else to is None and is_text(group, 64)
        case wire.PresenceQuery(user_ids):
            return are(is_id, user_ids, 200)
        case wire.OfflinePull(limit):
            return type(limit) is int and 1 <= limit <= 100
        case wire.TokenRenewal(token):
            return isinstance(token, str)
        case None:
            return True
    return False


frames = near_valid().map(lambda drawn: drawn[1]) | json_texts | st.text(max_size=50)


@settings(max_examples=examples(500))
@given(frames)
@example('{"type":"ack","data":{"msgId":""}}')
@example('{"type":"chat","data":{"content":"\\ud800","toUserId":1}}')
@example('{"TYPE":"chat","Data":{"TOUSERID":1,"cONTENT":"x","contentType":0,"msgId":null}}')
def test_a_frame_is_handled_with_what_is_allowed_or_answered_with_an_error(text: str) -> None:
    handled: list[object] = []
    dispatcher = Dispatcher(
        {
            kind: route(payload, lambda _, data: handled.append(data))
            for kind, payload in INBOUND.items()
        }
    )
    sender = Sender()
    dispatcher.dispatch(cast(Client, sender), text)
    if handled:
        assert sender.sent == []
        assert [allowed(data) for data in handled] == [True]
    else:
        failed, *errors = [*sender.sent]
        if errors:
            assert (failed["type"], failed["data"]["status"]) == ("ack", "failed")
            [failed] = errors
        assert failed["type"] == "error"
        assert failed["data"]["code"] in (INVALID, UNKNOWN_TYPE)
