"""Which messages are traced, and what waits to be written."""

from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.conn.messages import GroupMessage, frame
from skyeim_ws.contract.message_trace import MessageTrace, msg_id_of

IDS = [f"m-{number}" for number in range(2_000)]


def chosen(trace: MessageTrace) -> set[str]:
    return {each for each in IDS if trace.chooses(each, 1, 2)}


def test_nothing_is_traced_unless_it_is_chosen() -> None:
    trace = MessageTrace()
    switched = [trace.on]
    for sampler in (0.5, 0.0):
        trace.choose(sampler)
        switched.append(trace.on)
    assert switched == [False, True, False]
    assert chosen(trace) == set()


def test_nodes_choose_the_same_sample_and_a_larger_one_holds_the_smaller() -> None:
    some, same, more, everything = (MessageTrace() for _ in range(4))
    for trace, sampler in ((some, 0.1), (same, 0.1), (more, 0.3), (everything, 1.0)):
        trace.choose(sampler)
    assert chosen(some) == chosen(same)
    assert chosen(some) < chosen(more) < chosen(everything) == set(IDS)
    assert 0.05 < len(chosen(some)) / len(IDS) < 0.15


def test_all_messages_from_and_to_a_chosen_user_are_traced() -> None:
    trace = MessageTrace()
    trace.choose(0.0, [1002])
    trace.note("accepted", "m-1", 1001, 1002)
    trace.note("accepted", "m-2", 1002, 1001)
    trace.note("accepted", "m-3", 1001, 1003)
    assert [line.msg_id for line in trace.take(10)] == ["m-1", "m-2"]


def test_what_finds_no_room_is_dropped_and_counted() -> None:
    trace = MessageTrace(queue_size=2)
    trace.choose(1.0)
    for number in range(3):
        trace.note("accepted", f"m-{number}", 1)
    assert (len(trace), trace.dropped, trace.noted.is_set()) == (2, 1, True)
    first = trace.take(1)
    assert trace.take(1) == first  # until it is written
    trace.written(first)
    [second] = trace.take(10)
    assert (second.number, second.msg_id, trace.noted.is_set()) == (2, "m-1", True)
    trace.written([second])
    assert (len(trace), trace.noted.is_set()) == (0, False)


@given(st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True), st.text(max_size=100))
def test_a_frame_says_its_msg_id(msg_id: str, content: str) -> None:
    message = GroupMessage(1, msg_id, 1001, 'g"msgId":"x', content, 1, 1, 1)
    assert msg_id_of(frame("group_chat", message)) == msg_id
    assert msg_id_of(b"no such thing") == ""
