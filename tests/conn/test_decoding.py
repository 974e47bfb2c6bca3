"""What existing clients write is understood, and nothing else becomes acceptable by that."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.conn.decoding import Decoding, EnvelopeDecoding, salvage_msg_id
from skyeim_ws.conn.messages import (
    Chat,
    Envelope,
    GroupChat,
    GroupRead,
    Inbound,
    OfflinePull,
    Read,
    TypingNotice,
)

CHAT = Chat(to_user_id=1002, content="hi")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"toUserId":1002,"content":"hi","msgId":"","contentType":0}', CHAT),
        ('{"toUserId":1002,"content":"hi","msgId":null,"contentType":null}', CHAT),
        ('{"ToUserID":1002,"CONTENT":"hi"}', CHAT),
        ('{"touserid":1002,"content":"hi","colour":"red"}', CHAT),
        (
            '{"touserid":1002,"content":"hi","MsgID":"m-1","contenttype":2}',
            Chat(to_user_id=1002, content="hi", content_type=2, msg_id="m-1"),
        ),
        # The exact name counts, wherever it stands.
        ('{"CONTENT":"no","content":"hi","Content":"no","toUserId":1002}', CHAT),
        ('{"groupid":"g","content":"hi","atUserIds":null}', GroupChat(group_id="g", content="hi")),
        ('{"groupId":"","toUserId":1002}', TypingNotice(to_user_id=1002)),
        ('{"groupId":"g","toUserId":0}', TypingNotice(group_id="g")),
        ('{"groupid":"g","readSeq":0}', GroupRead(group_id="g", read_seq=0)),
        ('{"PeerId":7,"msgIds":null}', Read(peer_id=7)),
        ('{"limit":0}', OfflinePull()),
        ("null", OfflinePull()),
        (" null ", OfflinePull()),
    ],
)
def test_what_existing_clients_write_is_understood(data: str, expected: Inbound) -> None:
    assert Decoding(type(expected)).decode(data.encode()) == expected


@pytest.mark.parametrize(
    "data",
    [
        "null",
        "{}",
        "[]",
        '"text"',
        "5",
        "",
        '{"toUserId":1002,"content":"hi"',
        '{"toUserId":0,"content":"hi"}',
        '{"toUserId":null,"content":"hi"}',
        '{"toUserId":1002,"content":""}',
        '{"toUserId":1002,"content":"hi","contentType":false}',
        '{"toUserId":1002,"content":"hi","msgId":0.5}',
        '{"toUserId":1002,"content":"hi","MSGID":"not ok"}',
        '{"toUserId":1002,"content":"hi","x":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
def test_what_is_wrong_is_refused_all_the_same(data: str) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        Decoding(Chat).decode(data.encode())


@given(
    user_id=st.integers(1, 2**63 - 1),
    content=st.text(min_size=1, max_size=50),
    upper=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_the_case_of_names_changes_nothing(user_id: int, content: str, upper: list[bool]) -> None:
    fields: dict[str, Any] = {"toUserId": user_id, "content": content, "contentType": 3}
    fields["msgId"] = "m-1"
    expected = Decoding(Chat).strict(json.dumps(fields))
    changed = {
        name.upper() if up else name: value
        for up, (name, value) in zip(upper, fields.items(), strict=True)
    }
    assert Decoding(Chat).decode(json.dumps(changed).encode()) == expected


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"type":"ping"}', b"{}"),
        ('{"type":"ping","data":null}', b"null"),
        ('{"Type":"ping","DATA":{"a":1},"id":7}', b'{"a":1}'),
        ('{"TYPE":"no","type":"ping"}', b"{}"),
    ],
)
def test_the_envelope_is_read_likewise(text: str, data: bytes) -> None:
    envelope = EnvelopeDecoding().lenient(text)
    assert (envelope.type, bytes(envelope.data)) == ("ping", data)


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"type":null}', '{"type":1}', '{"Type":""'])
def test_without_a_type_there_is_no_frame(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        EnvelopeDecoding().lenient(text)


def test_what_is_written_as_documented_is_decoded_once() -> None:
    """So the strict way must take it: the lenient one costs several times as much."""
    full = '{"toUserId":1002,"content":"hi","contentType":1,"msgId":"m-1"}'
    assert Decoding(Chat).strict(full) == Chat(to_user_id=1002, content="hi", msg_id="m-1")
    text = '{"type":"chat","data":{}}'
    assert EnvelopeDecoding().strict(text) == Envelope("chat", msgspec.Raw(b"{}"))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('{"msgId":"a-1","content":5}', "a-1"),
        ('{"msgId":"not ok"}', "not ok"),
        ('{"msgId":""}', None),
        (f'{{"msgId":"{"消" * 65}"}}', "消" * 64),
        ('{"msgId":5}', None),
        ('{"MSGID":"a-1","content":5}', "a-1"),
        ('{"MSGID":"a-1","msgId":"not ok"}', "not ok"),
        ("[]", None),
        ("null", None),
    ],
)
def test_the_msg_id_of_a_broken_payload_is_answered_as_written(data: str, expected: str) -> None:
    assert salvage_msg_id(msgspec.Raw(data.encode())) == expected
