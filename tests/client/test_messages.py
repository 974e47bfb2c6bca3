"""What a client sends, shows and confirms: nothing lost, nothing twice, in order."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.client.effects import Emit, Settle, Sync
from skyeim_ws.client.events import Delivered, Failed, GroupLost, Message, Problem, Read, Sent
from skyeim_ws.client.inbox import Recent
from skyeim_ws.client.rules import SkyeError
from tests.client.bench import Bench, group_chat


def shown(bench: Bench) -> list[int]:
    return [each.seq or each.id for each in bench.events(Message)]


def synced(bench: Bench, *seqs: int, more: bool = False) -> None:
    found = [Message.of(group_chat(seq)) for seq in seqs]
    bench.core.synced("g", found, more, bench.now)


def test_of_a_conversation_one_message_at_a_time_is_on_its_way() -> None:
    bench = Bench()
    bench.connect()
    for msg_id in ("a", "b", "c"):
        bench.send(msg_id)
    bench.send("x", 1003)
    assert bench.sent() == ["a", "x"]
    bench.ack("a", id=1)
    effects = bench.core.take()
    assert Settle("a", Sent("a", 1, 1)) in effects
    assert Emit(Sent("a", 1, 1)) in effects


@pytest.mark.parametrize("reason", ["busy", "rate_limited", "rpc_error"])
def test_what_is_refused_for_the_moment_is_not_overtaken(reason: str) -> None:
    """It comes again under its msgId, and nobody hears of it."""
    bench = Bench()
    bench.connect()
    bench.send("a")
    bench.send("b")
    bench.core.take()
    bench.ack("a", "failed", reason=reason)
    bench.frame("error", code=30010, message="x", msgId="a")
    assert bench.core.take() == []
    bench.pass_time(1)
    assert bench.sent() == ["a"]
    bench.ack("a", id=1)
    assert bench.sent() == ["b"]


def test_a_refusal_for_good_is_told_and_the_next_message_goes() -> None:
    bench = Bench()
    bench.connect()
    bench.send("a")
    bench.send("b")
    bench.core.take()
    bench.ack("a", "failed", reason="not_friend")
    failed, settled, written = bench.core.take()
    assert failed == Emit(Failed("a", "not_friend", 30004))
    assert isinstance(settled, Settle)
    assert isinstance(settled.outcome, SkyeError)
    assert '"b"' in str(written)


def test_without_an_answer_a_message_is_written_again() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect()
    bench.send("a")
    bench.core.take()
    bench.pass_time(15)
    assert bench.sent() == ["a"]
    bench.lose()
    bench.send("b")
    bench.pass_time(60)
    bench.core.token_is("t", bench.now)
    bench.core.take()
    bench.frame("connected", userId=1001)
    assert bench.sent() == ["a"]


def test_a_full_queue_says_so() -> None:
    bench = Bench(queue_limit=1)
    bench.send("a")
    with pytest.raises(SkyeError, match="more than 1"):
        bench.send("b")
    with pytest.raises(SkyeError, match="being sent"):
        bench.send("a")


def test_at_most_so_many_conversations_at_a_time() -> None:
    bench = Bench()
    bench.connect()
    for peer in range(40):
        bench.send(f"m{peer}", 2000 + peer)
    assert len(bench.sent()) == 32
    bench.ack("m0", id=1)
    assert bench.sent() == ["m32"]


def test_messages_come_once_and_are_confirmed_together() -> None:
    bench = Bench()
    bench.connect()
    bench.core.take()
    for number in (1, 2, 2, 1):
        bench.chat(number)
    assert shown(bench) == [1, 2]
    bench.pass_time(0.02)
    acks = {"msgIds": ["m1", "m2", "m2", "m1"], "status": "delivered"}
    assert bench.written() == [{"type": "ack", "data": acks}]


def test_what_is_remembered_is_bounded() -> None:
    recent = Recent(limit=2)
    assert [recent.add(each) for each in "abcab"] == [True] * 5
    assert recent.add("b") is False


def test_what_has_come_is_confirmed_before_a_stop() -> None:
    bench = Bench()
    bench.connect()
    bench.chat(1)
    bench.core.take()
    bench.core.stop("closed")
    assert bench.written() == [{"type": "ack", "data": {"msgId": "m1", "status": "delivered"}}]


def test_older_windows_are_pulled_and_all_is_shown_in_the_order_of_ids() -> None:
    bench = Bench()
    assert bench.connect() == {"confirm": "ack"}
    bench.core.take()
    bench.frame("offline_messages", pushCount=2, hasMore=True)
    assert bench.written() == [{"type": "offline_pull", "data": {"limit": 100}}]
    for number in (3, 4, 5):
        bench.chat(number)
    assert shown(bench) == []
    bench.frame("offline_messages", pushCount=2, hasMore=False)
    bench.chat(1)
    bench.chat(2)
    assert shown(bench) == [1, 2, 3, 4, 5]
    bench.chat(6)
    assert shown(bench) == [6]


def test_a_pull_that_came_too_early_is_asked_again_but_holds_nothing_for_ever() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect()
    bench.frame("offline_messages", pushCount=1, hasMore=True)
    bench.chat(3)
    bench.core.take()
    bench.frame("error", code=30010, message="read what was pushed first")
    bench.pass_time(1)
    assert any(each["type"] == "offline_pull" for each in bench.written())
    bench.pass_time(30)
    assert shown(bench) == [3]


def test_a_pull_that_fails_is_tried_later_and_holds_nothing_up() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect()
    bench.frame("offline_messages", pushCount=1, hasMore=True)
    bench.chat(3)
    bench.core.take()
    bench.frame("error", code=30011, message="a service is unavailable")
    assert shown(bench) == [3]
    bench.pass_time(10)
    assert any(each["type"] == "offline_pull" for each in bench.written())


def test_after_a_break_it_resumes_behind_the_largest_id() -> None:
    bench = Bench()
    bench.connect()
    for number in (7, 9, 8):
        bench.chat(number)
    assert bench.reconnect() == {"confirm": "ack", "resume": "9"}
    assert bench.core.snapshot()["resume"] == 9


def test_a_gap_in_a_group_is_filled_before_what_follows_is_shown() -> None:
    bench = Bench()
    bench.core.follow("g", 4, bench.now)
    bench.connect()
    synced(bench, 5)
    assert shown(bench) == [5]
    bench.frame("group_chat", **group_chat(8))
    bench.frame("group_chat", **group_chat(7))
    assert bench.effects(Sync) == [Sync("g", 5)]
    synced(bench, 6, 7)
    assert shown(bench) == [6, 7, 8]


def test_each_connection_and_group_behind_ask_for_what_was_missed() -> None:
    bench = Bench()
    bench.core.follow("g", 4, bench.now)
    bench.connect()
    synced(bench)
    bench.core.take()
    bench.frame("group_behind", groupId="g", seq=9)
    assert bench.effects(Sync) == [Sync("g", 4)]
    bench.core.sync_failed("g", False, bench.now)
    bench.pass_time(1)
    assert bench.effects(Sync) == [Sync("g", 4)]
    synced(bench, 5, 6, more=True)
    assert bench.effects(Sync) == [Sync("g", 6)]


def test_a_group_that_nobody_follows_begins_where_it_is_behind() -> None:
    bench = Bench()
    bench.connect()
    bench.core.take()
    bench.frame("group_behind", groupId="g", seq=3)
    assert bench.effects(Sync) == [Sync("g", 2)]


def test_a_hole_in_storage_holds_a_group_up_for_a_second() -> None:
    bench = Bench()
    bench.core.follow("g", 1, bench.now)
    bench.connect()
    synced(bench, 2, 4)
    assert shown(bench) == [2]
    bench.pass_time(1)
    assert bench.effects(Sync) == [Sync("g", 2)]
    synced(bench, 4)
    assert shown(bench) == [4]


def test_our_own_messages_count_in_a_group_and_do_not_come_back() -> None:
    bench = Bench()
    bench.core.follow("g", 1, bench.now)
    bench.connect()
    synced(bench)
    data = {"groupId": "g", "content": "x", "msgId": "mine"}
    bench.core.send("group_chat", data, bench.now)
    bench.core.take()
    bench.ack("mine", id=5, seq=2)
    assert bench.effects(Sync) == []
    bench.frame("group_chat", **group_chat(3))
    assert shown(bench) == [3]
    bench.frame("group_chat", **group_chat(4, "mine"))
    assert shown(bench) == []


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)))
def test_whatever_the_order_a_group_is_shown_in_order_and_whole(
    order: list[int], lost: set[int]
) -> None:
    bench = Bench(ping_interval=1e9)
    bench.core.follow("g", 0, bench.now)
    bench.connect()
    found: list[int] = []
    for seq in order:
        if seq not in lost:
            bench.frame("group_chat", **group_chat(seq))
    bench.frame("group_behind", groupId="g", seq=8)
    for _ in range(20):
        for effect in bench.core.take():
            if isinstance(effect, Emit) and isinstance(effect.event, Message):
                found.append(effect.event.seq)
            if isinstance(effect, Sync):
                synced(bench, *range(effect.seq + 1, 9))
        bench.pass_time(1)
    assert found == list(range(1, 9))


def anew(seq: int) -> dict[str, Any]:
    """Return a message with a lower seq and a newer id."""
    return group_chat(seq, f"anew{seq}", 1000 + seq)


def test_messages_are_shown_when_the_counter_of_their_group_was_set_back() -> None:
    bench = Bench()
    bench.connect()
    for seq in (7, 8, 9):
        bench.frame("group_chat", **group_chat(seq))
    bench.frame("group_behind", groupId="g", seq=4)
    bench.frame("group_chat", **anew(5))
    bench.frame("group_chat", **group_chat(8))
    assert shown(bench) == [7, 8, 9, 5]
    # A gap is filled with what is new; what came before has the same seqs.
    bench.frame("group_chat", **anew(7))
    assert bench.effects(Sync) == [Sync("g", 5)]
    both = [anew(6), group_chat(6), group_chat(7), anew(7), group_chat(8), group_chat(9)]
    found = [Message.of(each) for each in both]
    bench.core.synced("g", found, False, bench.now)
    assert [each.msg_id for each in bench.events(Message)] == ["anew6", "anew7"]
    bench.frame("group_chat", **anew(8))
    assert shown(bench) == [8]


def test_messages_are_shown_when_the_database_comes_from_a_backup() -> None:
    bench = Bench()
    bench.connect()
    for seq in (7, 8, 9):
        bench.frame("group_chat", **group_chat(seq))
    bench.frame("group_behind", groupId="g", seq=7)
    bench.frame("group_chat", **group_chat(8, "other8"))
    bench.frame("group_chat", **group_chat(9, "other9"))
    assert shown(bench) == [7, 8, 9, 8, 9]


def test_our_own_message_may_be_the_first_of_a_new_order() -> None:
    bench = Bench()
    bench.connect()
    bench.frame("group_chat", **group_chat(9))
    data = {"groupId": "g", "content": "x", "msgId": "mine"}
    bench.core.send("group_chat", data, bench.now)
    bench.ack("mine", id=1000, seq=5)
    bench.frame("group_chat", **anew(6))
    assert shown(bench) == [9, 6]


def test_after_a_restart_a_client_knows_what_it_held_of_groups_by_its_id() -> None:
    first = Bench()
    first.connect()
    first.frame("group_chat", **group_chat(9))
    second = Bench(state=json.loads(json.dumps(first.core.snapshot())))
    second.connect()
    second.frame("group_chat", **group_chat(8))
    second.frame("group_chat", **anew(5))
    assert shown(second) == [5]


def test_who_was_removed_from_a_group_no_longer_follows_it() -> None:
    bench = Bench()
    bench.core.follow("g", 1, bench.now)
    bench.connect()
    bench.core.sync_failed("g", True, bench.now)
    assert bench.events(GroupLost) == [GroupLost("g")]
    assert bench.core.snapshot()["groups"] == {}


def test_a_client_goes_on_where_the_one_before_it_was() -> None:
    first = Bench()
    first.connect()
    first.chat(7)
    first.core.follow("g", 4, first.now)
    first.send("a")
    state: dict[str, Any] = json.loads(json.dumps(first.core.snapshot()))
    second = Bench(state=state)
    assert second.connect() == {"confirm": "ack", "resume": "7"}
    effects = second.core.take()
    assert Sync("g", 4) in effects
    assert any('"a"' in str(effect) for effect in effects)


def test_what_was_read_while_away_is_told_on_the_next_connection() -> None:
    bench = Bench()
    bench.core.read(1002, ["a"])
    bench.core.read(1002, ["b"])
    bench.core.read(1003, ["c"])
    bench.core.read(1003, None)
    bench.core.read_group("g", 5)
    bench.core.read_group("g", 4)
    bench.core.start(bench.now)
    bench.core.token_is("t", bench.now)
    bench.frame("connected", userId=1001)
    assert bench.written() == [
        {"type": "read", "data": {"peerId": 1002, "msgIds": ["a", "b"]}},
        {"type": "read", "data": {"peerId": 1003}},
        {"type": "group_read", "data": {"groupId": "g", "readSeq": 5}},
    ]


def test_how_far_our_messages_have_come_is_told() -> None:
    bench = Bench()
    bench.connect()
    bench.core.take()
    bench.ack("a", "delivered")
    bench.ack("a", "read")
    bench.frame("read", userId=1002)
    bench.frame("error", code=30001, message="x", msgId="m")
    assert [each.event for each in bench.effects(Emit)] == [
        Delivered("a"),
        Read(None, ("a",)),
        Read(1002, None),
        Problem(30001, "x", "m"),
    ]
