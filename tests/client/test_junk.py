"""Servers and applications that make no sense: told, refused, and nothing is worse than before."""

import pytest

from skyeim_ws.client.draft import frame_of
from skyeim_ws.client.effects import Sync, Write
from skyeim_ws.client.events import Message, Problem
from skyeim_ws.client.rules import SkyeError
from tests.client.bench import Bench, group_chat

GROUP_CHAT = '"id":1,"msgId":"m","fromUserId":1,"content":"x","groupId":"g"'
JUNK = [
    "",
    "null",
    "[]",
    '"chat"',
    "{",
    "[" * 100_000,
    '{"type":7,"data":{}}',
    '{"type":"chat"}',
    '{"type":"chat","data":[1]}',
    '{"type":"chat","data":{"id":null,"msgId":"m","fromUserId":1,"content":"x"}}',
    '{"type":"group_chat","data":{' + GROUP_CHAT + ',"seq":"9"}}',
    '{"type":"group_chat","data":{' + GROUP_CHAT + ',"seq":9,"atUserIds":7}}',
    '{"type":"group_behind","data":{"groupId":"g","seq":null}}',
    '{"type":"offline_messages","data":{"pushCount":"3","hasMore":true}}',
    '{"type":"ack","data":{"msgId":"mine","status":"sent","seq":{}}}',
    '{"type":"token","data":{}}',
    '{"type":"token","data":{"expiresAt":NaN}}',
    '{"type":"presence","data":{"online":7}}',
]


@pytest.mark.parametrize("text", JUNK, ids=lambda text: text[:60])
def test_what_is_no_frame_is_told_and_changes_nothing(text: str) -> None:
    bench = Bench()
    bench.connect()
    bench.core.follow("g", 4, bench.now)
    bench.core.synced("g", [], False, bench.now)
    bench.send("mine")
    bench.core.take()
    before = bench.core.snapshot()
    bench.core.frame(text, bench.now)
    assert bench.events(Problem) == [Problem(0, "the server has sent what is no frame")]
    assert bench.core.snapshot() == before
    assert bench.core.deadline(bench.now) > bench.now
    bench.chat(1)
    bench.frame("group_chat", **group_chat(5))
    assert [each.msg_id for each in bench.events(Message)] == ["m1", "g5"]


def test_a_server_that_always_has_more_and_gives_nothing_is_not_asked_all_the_time() -> None:
    bench = Bench()
    bench.connect()
    bench.core.follow("g", 4, bench.now)
    bench.core.take()
    asked = 0
    for _ in range(100):
        bench.frame("offline_messages", pushCount=0, hasMore=True)
        bench.core.synced("g", [], True, bench.now)
        effects = bench.core.take()
        asked += sum(isinstance(each, Sync) for each in effects)
        asked += sum(isinstance(each, Write) and "pull" in each.text for each in effects)
        bench.pass_time(0.01)
    assert asked <= 4


GOOD = {
    "content": "x",
    "to": 1,
    "group_id": None,
    "content_type": 1,
    "at_user_ids": (),
    "msg_id": "m",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": None},
        {"group_id": "g"},
        {"to": "anna"},
        {"to": None, "group_id": 7},
        {"to": None, "group_id": ""},
        {"content": ""},
        {"content": None},
        {"content": b"bytes"},
        {"content": "x" * 16385},
        {"content": "half an emoji \ud83d"},
        {"content_type": "text"},
        {"at_user_ids": ["x"]},
        {"msg_id": "with a space"},
        {"msg_id": 7},
    ],
    ids=str,
)
def test_a_draft_that_no_frame_can_hold_is_refused_at_once(wrong: dict[str, object]) -> None:
    assert frame_of(**GOOD)[0] == "chat"  # type: ignore[arg-type]
    with pytest.raises(SkyeError) as refused:
        frame_of(**(GOOD | wrong))  # type: ignore[arg-type]
    assert refused.value.reason == "invalid"
