"""Group commit, its order, its bounds and its failures, against real servers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc import batcher as batcher_module
from tests.rpc.servers import (
    Answers,
    Storage,
    batching,
    failing,
    grouped,
    private,
    serving,
    stored,
)
from tests.waiting import until


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 's'}"


def reasons(answers: Answers) -> list[Reason | None]:
    return [
        outcome.reason if isinstance(outcome, Refused) else None
        for outcome in answers.outcomes.values()
    ]


def unavailable(outcome: SendOutcome) -> bool:
    return isinstance(outcome, Unavailable)


@pytest.mark.gen_test
async def test_what_comes_in_while_a_batch_is_stored_goes_with_the_next(address: str) -> None:
    storage, answers = Storage(), Answers()
    numbers = [f"m{n}" for n in range(300)]
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        storage.gate.clear()
        answers.submit(batcher, [private("first")])
        await until(lambda: storage.batches)
        answers.submit(batcher, map(private, numbers))
        storage.gate.set()
        await answers.wait(301)
        assert [len(batch) for batch in storage.batches] == [1, 256, 44]
        assert (sum(batcher.sizes.buckets), batcher.pending) == (3, 0)
    assert answers.order == storage.stored == ["first", *numbers]
    assert answers.outcomes["m9"] == Stored(id=11, msg_id="m9", created_at=7, seq=11)


@pytest.mark.gen_test
async def test_what_is_submitted_in_one_turn_of_the_loop_is_one_batch(address: str) -> None:
    storage, answers = Storage(), Answers()
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        answers.submit(batcher, [private("a"), grouped("b"), private("c")])
        await answers.wait(3)
    assert storage.batches == [["a", "b", "c"]]


@pytest.mark.gen_test
async def test_a_batch_has_a_bounded_size(address: str) -> None:
    storage, answers = Storage(), Answers()
    large = "x" * 16_384
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        answers.submit(batcher, [private(f"m{n}", content=large) for n in range(70)])
        await answers.wait(70)
    assert stored(answers.outcomes.values())
    assert len(storage.batches) > 1
    assert all(len(batch) * 4 * 16_384 <= batcher_module.BATCH_BYTES for batch in storage.batches)


@pytest.mark.gen_test
async def test_a_batch_has_no_more_items_than_servers_take(address: str) -> None:
    storage, answers = Storage(), Answers()
    async with (
        serving(address, message=storage.batch_methods),
        batching(address, batch_size=5_000) as batcher,
    ):
        answers.submit(batcher, [private(f"m{n}") for n in range(1_500)])
        await answers.wait(1_500)
    assert [len(batch) for batch in storage.batches] == [1_000, 500]


@pytest.mark.gen_test
async def test_a_full_backlog_refuses_and_has_room_again_later(address: str) -> None:
    storage, answers = Storage(), Answers()
    async with (
        serving(address, message=storage.batch_methods),
        batching(address, backlog=3, batch_size=2) as batcher,
    ):
        storage.gate.clear()
        answers.submit(batcher, map(private, "abc"))
        assert not batcher.submit(private("d"), answers.done)
        await until(lambda: storage.batches)
        assert not batcher.submit(private("d"), answers.done)
        storage.gate.set()
        await answers.wait(3)
        answers.submit(batcher, [private("e")])
        await answers.wait(4)
    assert answers.order == ["a", "b", "c", "e"]


@pytest.mark.gen_test
async def test_each_item_has_its_own_outcome(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.denied = {
        "b": (StatusCode.PERMISSION_DENIED, "muted"),
        "c": (StatusCode.INVALID_ARGUMENT, ""),
        "d": (StatusCode.ALREADY_EXISTS, "msg_id_conflict"),
        "e": (StatusCode.INTERNAL, ""),
    }
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        with capture_logs() as logs:
            answers.submit(batcher, map(private, "abcdef"))
            await answers.wait(6)
    assert answers.order == list("abcdef")
    assert reasons(answers) == [
        None,
        Reason.MUTED,
        Reason.INVALID,
        Reason.MSG_ID_CONFLICT,
        None,
        None,
    ]
    assert unavailable(answers.outcomes["e"])
    assert stored([answers.outcomes["a"], answers.outcomes["f"]])
    assert [(entry["event"], entry["method"], entry["code"]) for entry in logs] == [
        ("rpc_failed", "SendBatch", "INTERNAL")
    ]


@pytest.mark.gen_test
async def test_a_message_that_does_not_fit_on_the_wire_spoils_no_batch(address: str) -> None:
    storage, answers = Storage(), Answers()
    misfit = Outgoing(msg_id="b", from_user_id=1, content="hi", content_type=1, to_user_id=1 << 63)
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        answers.submit(batcher, [private("a"), misfit, private("c", content="\ud800")])
        await answers.wait(3)
        answers.submit(batcher, [private("d", content="\ud800")])
        await answers.wait(4)
    assert reasons(answers) == [None, Reason.INVALID, Reason.INVALID, Reason.INVALID]
    assert storage.stored == ["a"]


@pytest.mark.gen_test
async def test_a_server_that_hangs_costs_no_more_than_the_deadline(address: str) -> None:
    """All are answered, nothing is sent when its time is up, and nothing stays behind."""
    storage, answers = Storage(), Answers()
    storage.gate.clear()
    async with (
        serving(address, message=storage.batch_methods),
        batching(address, timeout=0.3, batch_size=2) as batcher,
    ):
        with capture_logs() as logs:
            answers.submit(batcher, map(private, "abcd"))
            await answers.wait(4)
        assert answers.order == list("abcd")
        assert all(map(unavailable, answers.outcomes.values()))
        assert storage.batches in ([["a", "b"]], [])
        assert batcher.pending == 0
        assert [entry["event"] for entry in logs] in (["rpc_failed"], [])


@pytest.mark.gen_test
async def test_without_a_server_all_are_answered(address: str) -> None:
    answers = Answers()
    async with batching(address, timeout=0.1) as batcher:
        answers.submit(batcher, map(private, "ab"))
        await answers.wait(2)
    assert all(map(unavailable, answers.outcomes.values()))


@pytest.mark.gen_test
async def test_a_restart_in_the_middle_loses_and_reorders_nothing(address: str) -> None:
    before, after, answers = Storage(), Storage(), Answers()
    before.gate.clear()
    async with batching(address, timeout=30) as batcher:
        async with serving(address, message=before.batch_methods):
            answers.submit(batcher, map(private, "abc"))
            await until(lambda: before.batches)
            answers.submit(batcher, map(private, "def"))
        answers.submit(batcher, map(private, "ghi"))
        async with serving(address, message=after.batch_methods):
            await answers.wait(9)
            assert after.batches == [["a", "b", "c"], list("defghi")]
    assert answers.order == after.stored == list("abcdefghi")
    assert stored(answers.outcomes.values())


@pytest.mark.gen_test
async def test_of_two_endpoints_one_may_be_dead(address: str) -> None:
    storage, answers = Storage(), Answers()
    async with (
        serving(address, message=storage.batch_methods),
        batching(f"{address}-dead", address) as batcher,
    ):
        for number in range(6):
            answers.submit(batcher, [private(f"m{number}")])
            await answers.wait(number + 1)
    assert stored(answers.outcomes.values())


async def no_results(request: Any, context: Any) -> pb.SendBatchResp:
    return pb.SendBatchResp(results=[pb.SendResult()])


async def swapped_results(request: Any, context: Any) -> pb.SendBatchResp:
    ids = [item.private.msg_id for item in reversed(request.items)]
    return pb.SendBatchResp(results=[pb.SendResult(id=1, msg_id=msg_id) for msg_id in ids])


@pytest.mark.gen_test
@pytest.mark.parametrize("method", [no_results, swapped_results])
async def test_an_answer_that_does_not_fit_the_batch_is_not_believed(
    address: str, method: Any
) -> None:
    answers = Answers()
    async with serving(address, message={"SendBatch": method}), batching(address) as batcher:
        with capture_logs() as logs:
            answers.submit(batcher, map(private, "ab"))
            await answers.wait(2)
    assert all(map(unavailable, answers.outcomes.values()))
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("send_batch_mismatch", "error")
    ]


@pytest.mark.gen_test
async def test_a_batch_refused_as_a_whole_says_nothing_about_its_items(address: str) -> None:
    answers = Answers()
    methods = {"SendBatch": failing(StatusCode.INVALID_ARGUMENT, "too many items", "invalid")}
    async with serving(address, message=methods), batching(address) as batcher:
        with capture_logs() as logs:
            answers.submit(batcher, map(private, "ab"))
            await answers.wait(2)
    assert all(map(unavailable, answers.outcomes.values()))
    assert [entry["code"] for entry in logs] == ["INVALID_ARGUMENT"]


@pytest.mark.gen_test
async def test_a_callback_that_raises_stops_no_other(address: str) -> None:
    storage, answers = Storage(), Answers()

    def raising(message: Outgoing, outcome: SendOutcome) -> None:
        raise RuntimeError("boom")

    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        with capture_logs() as logs:
            assert batcher.submit(private("a"), raising)
            answers.submit(batcher, [private("b")])
            await answers.wait(1)
        assert batcher.pending == 0
    assert stored(answers.outcomes.values())
    assert [entry["event"] for entry in logs] == ["send_callback_failed"]


@pytest.mark.gen_test
async def test_a_callback_may_submit_again(address: str) -> None:
    storage, answers = Storage(), Answers()
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:

        def again(message: Outgoing, outcome: SendOutcome) -> None:
            answers.submit(batcher, [private("b")])
            assert "b" not in answers.outcomes

        assert batcher.submit(private("a"), again)
        await answers.wait(1)
    assert storage.batches == [["a"], ["b"]]


@pytest.mark.gen_test
async def test_closing_waits_for_what_is_under_way_and_fails_what_waits(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.gate.clear()
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        answers.submit(batcher, [private("a")])
        await until(lambda: storage.batches)
        answers.submit(batcher, map(private, "bc"))
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        assert not batcher.submit(private("d"), answers.done)
        storage.gate.set()
        await closing
    assert answers.order == ["a", "b", "c"]
    assert stored([answers.outcomes["a"]])
    assert unavailable(answers.outcomes["b"])
    assert unavailable(answers.outcomes["c"])


@pytest.mark.gen_test
async def test_what_was_sent_at_once_in_vain_is_sent_again_in_its_order(address: str) -> None:
    """The call of the turn meets a server that sheds load; the task behind it waits and repeats."""
    storage, answers, shed = Storage(), Answers(), 2

    async def send_batch(request: Any, context: Any) -> pb.SendBatchResp:
        nonlocal shed
        if shed:
            shed -= 1
            await context.abort(StatusCode.RESOURCE_EXHAUSTED, "too many calls")
        return await storage.send_batch(request, context)

    works: list[Any] = []
    async with (
        serving(address, message={"SendBatch": send_batch}) as at,
        batching(at, connected=True, later=works.append) as batcher,
    ):
        answers.submit(batcher, [private("a"), private("b")])
        assert len(works) == 1  # for the whole turn
        works.pop()()
        answers.submit(batcher, [private("c")])
        await until(lambda: works)
        works.pop()()
        await answers.wait(3)
    assert storage.batches == [["a", "b"], ["c"]]
    assert answers.order == ["a", "b", "c"]
    assert shed == 0


@pytest.mark.gen_test
async def test_a_fault_in_a_batch_is_answered_and_stops_no_other(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, answers = Storage(), Answers()
    async with serving(address, message=storage.batch_methods), batching(address) as batcher:
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(batcher_module, "Batch", None)
            answers.submit(batcher, [private("a")])
            await answers.wait(1)
        assert [line["event"] for line in logs] == ["send_batch_failed"]
        assert unavailable(answers.outcomes["a"])
        answers.submit(batcher, [private("b")])
        await answers.wait(2)
    assert answers.outcomes["b"] == Stored(id=1, msg_id="b", created_at=7, seq=1)
