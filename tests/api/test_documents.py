"""The documents of the wire: generated, valid, whole, and held against what passes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from skyeim_ws.conn.messages import Chat, Read
from tests.api.traffic import (
    UndocumentedError,
    check_answer,
    check_received,
    check_sent,
    check_text,
)
from tests.gateway.conftest import MakeWorld
from tools.api import frames, http
from tools.api.__main__ import DOCS, DOCUMENTS, text

PONG = {"type": "pong", "data": {"timestamp": 1}}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_is_what_the_generator_makes(name: str) -> None:
    """If not: make api."""
    assert (DOCS / name).read_text() == text(DOCUMENTS[name]())


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(found := value.get("$ref"), str):
            yield found
        value = list(value.values())
    for each in value if isinstance(value, list) else ():
        yield from references(each)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_somewhere(name: str) -> None:
    document = DOCUMENTS[name]()
    found = set(references(document))
    assert len(found) > 10
    for reference in found:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert isinstance(target, dict)


def test_openapi_is_valid() -> None:
    OpenAPIV31SpecValidator(http.document()).validate()


def test_asyncapi_has_what_its_specification_asks_for() -> None:
    document = frames.document()
    assert document["asyncapi"] == "3.0.0"
    assert document["info"].keys() >= {"title", "version"}
    [channel] = document["channels"].values()
    assert channel["messages"].keys() == document["components"]["messages"].keys()
    told = [
        reference["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
        for reference in operation["messages"]
    ]
    assert sorted(told) == sorted(channel["messages"])
    actions = {name: each["action"] for name, each in document["operations"].items()}
    assert actions == {"client": "receive", "server": "send"}


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "pong", "data": {}},
        {"type": "pong", "data": {"timestamp": "1"}},
        {"type": "pong", "data": {"timestamp": 1, "more": 1}},
        {"type": "pong", "data": {"timestamp": 1}, "more": 1},
        {"type": "ack", "data": {"msgId": "m", "status": "lost", "timestamp": 1}},
        {"type": "", "data": {}},
        {"data": {}},
    ],
    ids=json.dumps,
)
def test_a_wrong_frame_is_found(frame: dict[str, Any]) -> None:
    check_received(PONG)
    with pytest.raises(UndocumentedError):
        check_received(frame)


def test_what_a_library_says_is_found() -> None:
    check_text("content: missing, out of range or of the wrong type")
    check_text("atUserIds[...]：缺失、超出范围或类型错误")
    for message in ("Expected `int`, got `str` - at `$.toUserId`", "", "internal"):
        with pytest.raises(UndocumentedError):
            check_text(message)
        with pytest.raises(UndocumentedError):
            check_received({"type": "error", "data": {"code": 30001, "message": message}})


def test_an_event_may_have_any_data() -> None:
    check_received({"type": "friend_request", "data": {"id": 1}})


def test_what_the_gateway_takes_and_the_document_does_not_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_sent("chat", {"toUserId": 1, "content": "hi"})
    check_sent("chat", {"toUserId": 0, "content": "hi"})
    check_sent("chat", {"toUserId": 1, "content": "hi", "msgId": None, "more": 1})
    monkeypatch.setattr(frames, "INBOUND", {"chat": Read, "read": Chat})
    with pytest.raises(UndocumentedError):
        check_sent("chat", {"toUserId": 1, "content": "hi"})
    with pytest.raises(UndocumentedError):
        check_sent("read", {"toUserId": 1, "content": "hi"})


def test_a_wrong_answer_is_found() -> None:
    good = {"code": 200, "message": "success", "data": {"count": 1}}
    check_answer("GET", "/message/unread/count?peerId=1", 200, json.dumps(good).encode())
    for data in ({}, {"count": "1"}, {"count": 1, "more": 1}):
        body = json.dumps(good | {"data": data}).encode()
        with pytest.raises(UndocumentedError):
            check_answer("GET", "/api/v1/message/unread/count", 200, body)
    with pytest.raises(UndocumentedError):
        check_answer("GET", "/message/unread/count", 400, b'{"code":1,"message":""}')


@pytest.mark.gen_test
async def test_every_call_is_in_the_document_and_every_path_exists(make_world: MakeWorld) -> None:
    document = http.document()
    async with make_world() as world:
        for path, operations in document["paths"].items():
            for method in ("get", "post"):
                answer = await world.fetch(
                    path, method=method.upper(), body=b"{}" if method == "post" else None
                )
                expected = {200, 400, 401} if method in operations else {401, 405}
                assert answer.code in expected, (method, path)


def test_every_route_is_in_the_document() -> None:
    source = (DOCS.parent / "skyeim_ws/gateway/http.py").read_text()
    routed = set(re.findall(r'r"(/(?:message|friend|group|api|health)[a-z/-]*)"', source))
    assert routed == http.document()["paths"].keys()
