"""What the terminal client decides: lines, frames, and when to come back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.cli.chat.conversation import (
    MAX_ATTEMPTS,
    MAX_BACKOFF_SECONDS,
    REMEMBERED,
    Conversation,
    Step,
    Target,
    reconnect_delay,
)
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.names import MAX_CONTENT

TO_1002 = Target(user_id=1002)


def frame(kind: str, **data: Any) -> str:
    return json.dumps({"type": kind, "data": data})


def sent(text: str) -> dict[str, Any]:
    return dict(json.loads(text)["data"])


class TestConversation:
    def test_a_line_becomes_a_message_that_waits_for_its_ack(self) -> None:
        conversation = Conversation(TO_1002)
        assert conversation.typed("  hello\n") == Step()
        ((msg_id, waiting),) = conversation.unacked.items()
        assert json.loads(waiting.frame) == {
            "type": "chat",
            "data": {"toUserId": 1002, "msgId": msg_id, "content": "hello"},
        }
        ack = frame("ack", msgId=msg_id, status="sent", id=1)
        assert conversation.received(ack) == Step(show=("✓ sent",))
        assert conversation.unacked == {}
        assert conversation.received(ack) == Step()
        delivered = frame("ack", msgId=msg_id, status="delivered")
        assert conversation.received(delivered) == Step(show=("✓✓ delivered",))

    def test_commands_choose_whom_lines_go_to(self) -> None:
        conversation = Conversation()
        assert conversation.typed("hello").show[0].startswith("* whom to?")
        conversation.typed("/to 1003")
        assert conversation.target == Target(user_id=1003)
        conversation.typed("/group g1")
        conversation.typed("//slash")
        (waiting,) = conversation.unacked.values()
        assert sent(waiting.frame)["groupId"] == "g1"
        assert sent(waiting.frame)["content"] == "/slash"
        assert conversation.typed("/quit").quit
        for wrong in ("/to", "/to ann", "/to 0", "/group", "/fly"):
            assert conversation.typed(wrong).show[0].startswith("* commands:")
        assert conversation.typed("\n") == Step()
        assert conversation.typed("x" * (MAX_CONTENT + 1)).show[0].startswith("✗ not sent")

    def test_read_marks_the_peer_or_the_group(self) -> None:
        conversation = Conversation()
        assert conversation.typed("/read").show
        conversation.typed("/to 1002")
        (text,) = conversation.typed("/read").send
        assert json.loads(text) == {"type": "read", "data": {"peerId": 1002}}
        conversation.typed("/group g1")
        assert conversation.typed("/read") == Step()
        conversation.received(frame("group_chat", groupId="g1", msgId="a", seq=7, content="x"))
        (text,) = conversation.typed("/read").send
        assert json.loads(text) == {"type": "group_read", "data": {"groupId": "g1", "readSeq": 7}}

    def test_a_message_is_shown_once_and_confirmed_each_time(self) -> None:
        conversation = Conversation()
        chat = frame("chat", id=9, msgId="m", fromUserId=1002, content="hello", contentType=1)
        first, second = conversation.received(chat), conversation.received(chat)
        assert first.show == ("1002: hello",)
        assert sent(first.send[0]) == {"msgId": "m", "status": "delivered"}
        assert second == Step(send=first.send)
        assert conversation.last_id == 9

    def test_group_messages_name_the_group_and_are_not_confirmed(self) -> None:
        conversation = Conversation()
        data = {"groupId": "g1", "msgId": "m", "fromUserId": 2, "content": "u", "contentType": 2}
        assert conversation.received(frame("group_chat", **data)) == Step(
            show=("g1 2: [picture] u",)
        )

    def test_what_was_sent_to_a_group_is_not_shown_again(self) -> None:
        conversation = Conversation(Target(group_id="g1"))
        conversation.typed("hello")
        (msg_id,) = conversation.unacked
        echo = frame("group_chat", groupId="g1", msgId=msg_id, fromUserId=1, content="hello")
        assert conversation.received(echo) == Step()

    def test_a_passing_failure_is_tried_again_and_a_lasting_one_is_told(self) -> None:
        conversation = Conversation(TO_1002)
        conversation.typed("hello")
        ((msg_id, waiting),) = conversation.unacked.items()
        busy = frame("ack", msgId=msg_id, status="failed", reason="busy")
        assert conversation.received(busy) == Step(retry=msg_id)
        waiting.attempts = MAX_ATTEMPTS
        assert conversation.received(busy).show[0].startswith("✗ not sent: too many")
        assert conversation.failed
        conversation.typed("again")
        (msg_id,) = conversation.unacked
        denied = frame("ack", msgId=msg_id, status="failed", reason="not_friend")
        assert conversation.received(denied).show == (
            "✗ not sent: you are not friends with this user",
        )
        assert conversation.received(frame("error", code=30004, message="x", msgId=msg_id)) == (
            Step()
        )

    def test_other_frames_are_notices(self) -> None:
        conversation = Conversation()
        shown = {
            frame("connected", userId=1, onlineCount=2): "* connected as 1, 2 online",
            frame("online", userId=2): "* 2 is online",
            frame("kicked", reason="elsewhere"): "* kicked: elsewhere",
            frame("createGroup", groupId="g"): '* createGroup {"groupId": "g"}',
            frame("error", code=30013, message="unknown type"): "! error 30013: unknown type",
        }
        for text, line in shown.items():
            assert conversation.received(text) == Step(show=(line,))
        assert conversation.received(frame("pong", timestamp=1)) == Step()

    def test_nothing_from_elsewhere_steers_the_terminal(self) -> None:
        chat = frame("chat", id=1, msgId="m", fromUserId=2, content="\x1b[2Ja\nb\u202e")
        (line,) = Conversation().received(chat).show
        assert line == "2: \ufffd[2Ja\n    b\ufffd"

    @given(st.text() | st.binary() | st.recursive(st.none(), st.lists).map(json.dumps))
    def test_what_is_no_frame_is_passed_over(self, text: str | bytes) -> None:
        assert Conversation().received(text) == Step()

    @given(
        st.sampled_from(["chat", "group_chat", "ack", "error", "connected", "offline_messages"]),
        st.dictionaries(
            st.sampled_from(["id", "msgId", "content", "seq", "groupId", "status", "contentType"]),
            st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
        ),
    )
    def test_no_frame_whatever_its_fields_stops_the_client(
        self, kind: str, data: dict[str, Any]
    ) -> None:
        Conversation().received(frame(kind, **data))

    def test_memory_of_message_ids_is_bounded(self) -> None:
        conversation = Conversation()
        for number in range(REMEMBERED + 10):
            conversation.received(frame("chat", id=number, msgId=str(number), content="x"))
        assert len(conversation.seen) == REMEMBERED


class TestReconnectDelay:
    @pytest.mark.parametrize("code", [4001, 1002, 1003, 1007, 1009])
    def test_some_codes_forbid_it(self, code: int) -> None:
        assert reconnect_delay(code, "", 0, 0.5) is None

    @given(st.integers(0, 10**6), st.floats(0, 1))
    def test_a_gateway_that_goes_away_says_when(self, millis: int, jitter: float) -> None:
        delay = reconnect_delay(CloseCode.GOING_AWAY, f"retry_after_ms={millis}", 0, jitter)
        assert delay is not None
        assert min(millis / 1000, MAX_BACKOFF_SECONDS) <= delay <= MAX_BACKOFF_SECONDS + 1

    @given(
        st.sampled_from([None, 1000, 1001, 1006, 1011, 1013, 4002, 4003, 4004, 4005]),
        st.integers(0, 10**6),
        st.floats(0, 1),
    )
    def test_the_others_back_off_within_bounds(
        self, code: int | None, attempt: int, jitter: float
    ) -> None:
        delay = reconnect_delay(code, "", attempt, jitter)
        assert delay is not None
        assert 0 < delay <= MAX_BACKOFF_SECONDS

    def test_an_overloaded_gateway_is_given_more_time(self) -> None:
        at_once = reconnect_delay(CloseCode.HEARTBEAT_TIMEOUT, "", 0, 0.5)
        later = reconnect_delay(CloseCode.OVERLOADED, "", 0, 0.5)
        assert at_once is not None
        assert later is not None
        assert at_once < later
