"""Typing and presence, which may be lost and must not stay."""

from skyeim_ws.client.events import Presence, Typing
from tests.client.bench import Bench


def test_a_notice_goes_out_each_three_seconds_and_after_each_message() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect()
    bench.core.take()
    for _ in range(40):
        bench.core.tell_typing({"toUserId": 1002}, bench.now)
        bench.pass_time(0.1)
    assert len(bench.written()) == 2
    bench.send("a")
    bench.core.take()
    bench.core.tell_typing({"toUserId": 1002}, bench.now)
    assert bench.written() == [{"type": "typing", "data": {"toUserId": 1002}}]


def test_typing_is_shown_for_six_seconds_or_until_the_message() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect()
    bench.frame("typing", fromUserId=1002)
    bench.pass_time(4)
    bench.frame("typing", fromUserId=1002)
    bench.pass_time(5)
    assert bench.events(Typing) == [Typing(1002, "", active=True)]
    bench.pass_time(1)
    assert bench.events(Typing) == [Typing(1002, "", active=False)]
    bench.frame("typing", fromUserId=1002)
    bench.chat(1)
    assert [each.active for each in bench.events(Typing)] == [True, False]
    bench.frame("typing", fromUserId=1003, groupId="g")
    bench.lose()
    assert [each.active for each in bench.events(Typing)] == [True, False]


def test_presence_is_asked_for_and_unknown_without_a_connection() -> None:
    bench = Bench(ping_interval=1e9)
    bench.core.watch([1002, 1003], bench.now)
    assert bench.core.online(1002) is None
    bench.connect()
    asked = {"type": "presence", "data": {"userIds": [1002, 1003]}}
    assert bench.written() == [asked]
    bench.pass_time(60)
    assert bench.written() == [asked]
    bench.frame("presence", online=[1002])
    bench.frame("presence", online=[1002])
    assert bench.events(Presence) == [Presence(1002, True), Presence(1003, False)]
    bench.frame("offline", userId=1002)
    assert bench.core.online(1002) is False
    bench.frame("online", userId=1003)
    bench.lose()
    assert bench.core.online(1003) is None
    assert bench.events(Presence)[-1] == Presence(1003, None)


def test_more_than_a_frame_holds_is_asked_for_in_several() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect()
    bench.core.take()
    bench.core.watch(range(1, 402), bench.now)
    assert [len(each["data"]["userIds"]) for each in bench.written()] == [200, 200, 1]
    bench.frame("presence", online=[1])
    bench.frame("presence", online=[])
    assert bench.core.online(1) is True
    assert bench.core.online(400) is False
    assert bench.core.online(401) is None
