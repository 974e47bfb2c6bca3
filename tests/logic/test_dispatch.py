"""Whatever a client writes gets an answer, or reaches its handler as typed data."""

import json
from typing import Any

import pytest

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.messages import Chat, ClientAck
from skyeim_ws.conn.rate import Verdict
from skyeim_ws.contract.codes import ERROR_CODES, UNKNOWN_TYPE, Reason
from skyeim_ws.logic.dispatch import Dispatcher, route
from tests.logic.fakes import Person

INVALID = ERROR_CODES[Reason.INVALID]
CHAT = '{"type":"chat","data":{"toUserId":2,"content":"hello","msgId":"m1"}}'


class Handlers:
    """Takes notes of what comes."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.dispatcher = Dispatcher(
            {
                "chat": route(Chat, self.take),
                "ack": route(ClientAck, self.take, acknowledges=True),
                "ping": route(None, self.take),
            }
        )

    def take(self, _client: Client, data: Any) -> None:
        self.taken.append(data)


def test_a_frame_reaches_its_handler_as_typed_data() -> None:
    alice, handlers = Person(1), Handlers()
    handlers.dispatcher.dispatch(alice.client, CHAT)
    handlers.dispatcher.dispatch(alice.client, '{"type":"ping","data":[1,2]}')
    assert handlers.taken == [Chat(to_user_id=2, content="hello", msg_id="m1"), None]
    assert alice.frames == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", INVALID),
        ("hello", INVALID),
        ("[]", INVALID),
        ('{"data":{}}', INVALID),
        ('{"type":1}', INVALID),
        ("[" * 100_000, INVALID),
        ('{"type":"chat","data":' + "[" * 100_000, INVALID),
        ('{"type":"nothing"}', UNKNOWN_TYPE),
        ('{"type":"chat","data":{"toUserId":"bob","content":"x"}}', INVALID),
        ('{"type":"chat","data":{"toUserId":2,"content":""}}', INVALID),
    ],
)
def test_what_is_wrong_gets_an_error_and_the_next_frame_is_served(text: str, code: int) -> None:
    alice, handlers = Person(1), Handlers()
    handlers.dispatcher.dispatch(alice.client, text)
    assert (alice.errors, handlers.taken) == ([code], [])
    handlers.dispatcher.dispatch(alice.client, CHAT)
    assert len(handlers.taken) == 1


def test_an_error_says_where_it_is_and_of_which_message() -> None:
    alice, handlers = Person(1), Handlers()
    data = {"toUserId": 2, "content": 7, "msgId": "m1"}
    handlers.dispatcher.dispatch(alice.client, json.dumps({"type": "chat", "data": data}))
    assert alice.acks == ["failed m1"]
    error = alice.frames[-1]["data"]
    assert error["msgId"] == "m1"
    assert error["message"].startswith("content: ")


@pytest.mark.parametrize("verdict", [Verdict.LIMITED, Verdict.FLOODING])
def test_over_the_limit_nothing_is_handled_but_acks_that_are_due(verdict: Verdict) -> None:
    alice, handlers = Person(1), Handlers()
    alice.verdict, alice.acks_due = verdict, 1
    handlers.dispatcher.dispatch(alice.client, CHAT)
    for msg_id in ("due", "too many"):
        ack = {"type": "ack", "data": {"msgId": msg_id, "status": "delivered"}}
        handlers.dispatcher.dispatch(alice.client, json.dumps(ack))
    assert [data.msg_id for data in handlers.taken] == ["due"]
    limited = [ERROR_CODES[Reason.RATE_LIMITED]] * 2
    assert alice.errors == (limited if verdict is Verdict.LIMITED else [])
