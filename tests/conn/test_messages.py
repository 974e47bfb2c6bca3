"""The payloads: what is accepted, what is refused, what the frames look like."""

import json
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.conn.decoding import Decoding
from skyeim_ws.conn.messages import (
    Ack,
    Chat,
    ChatMessage,
    ClientAck,
    Envelope,
    GroupChat,
    OfflinePull,
    PresenceQuery,
    Read,
    TypingNotice,
    chat_frame,
    encode_data,
    error_frame,
    frame,
    new_msg_id,
)
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.contract.texts import Language, explanation


def payload(data: bytes) -> Any:
    """Return the JSON of a frame."""
    header = {126: 4, 127: 10}.get(data[1], 2)
    return json.loads(data[header:])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Chat, {"toUserId": 0, "content": "a"}),
        (Chat, {"toUserId": True, "content": "a"}),
        (Chat, {"toUserId": 2**63, "content": "a"}),
        (Chat, {"toUserId": "1002", "content": "a"}),
        (Chat, {"toUserId": 1002, "content": ""}),
        (Chat, {"toUserId": 1002, "content": "a" * 16385}),
        (Chat, {"toUserId": 1002, "content": "a", "contentType": 6}),
        (Chat, {"toUserId": 1002, "content": "a", "msgId": "a\n"}),
        (Chat, {"toUserId": 1002, "content": "a", "msgId": "a" * 65}),
        (Chat, {"content": "a"}),
        (GroupChat, {"groupId": "", "content": "a"}),
        (GroupChat, {"groupId": "g" * 65, "content": "a"}),
        (GroupChat, {"groupId": "g", "content": "a", "atUserIds": [-2]}),
        (GroupChat, {"groupId": "g", "content": "a", "atUserIds": [1] * 501}),
        (ClientAck, {"msgId": "a", "status": "sent"}),
        (Read, {"peerId": -1}),
        (TypingNotice, {}),
        (TypingNotice, {"toUserId": 1, "groupId": "g"}),
        (PresenceQuery, {"userIds": [1] * 201}),
        (OfflinePull, {"limit": 101}),
    ],
)
def test_what_is_out_of_range_is_refused(kind: type, data: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        Decoding(kind).decode(json.dumps(data).encode())


def test_defaults_and_unknown_fields() -> None:
    text = b'{"toUserId":1002,"content":"hi","colour":"red"}'
    assert Decoding(Chat).decode(text) == Chat(to_user_id=1002, content="hi")


@given(content=st.text(min_size=1, max_size=16384))
def test_any_text_survives_the_way_through(content: str) -> None:
    message = ChatMessage(
        id=1,
        msg_id="m",
        from_user_id=1,
        to_user_id=2,
        content=content,
        content_type=1,
        created_at=1,
    )
    assert payload(chat_frame(encode_data(message)))["data"]["content"] == content


def test_unset_fields_are_left_out_and_names_are_camel_case() -> None:
    ack = payload(frame("ack", Ack(msg_id="m", status="sent", timestamp=5, id=7)))
    assert ack == {
        "type": "ack",
        "data": {"msgId": "m", "status": "sent", "timestamp": 5, "id": 7},
    }


def test_every_reason_has_a_code_and_a_text() -> None:
    assert set(ERROR_CODES) == set(Reason)
    for reason in Reason:
        for language in Language:
            error = payload(error_frame(reason, language))["data"]
            message = explanation(reason).spoken(language)
            assert error == {"code": ERROR_CODES[reason], "message": message}


def test_new_msg_ids_are_time_ordered_uuids() -> None:
    ids = [new_msg_id() for _ in range(50)]
    assert {uuid.UUID(value).version for value in ids} == {7}
    assert len(set(ids)) == 50
    stamps = [value[:13] for value in ids]
    assert stamps == sorted(stamps)


def test_the_envelope_needs_a_type() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode('{"data":{}}', type=Envelope)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode('{"type":1}', type=Envelope)
