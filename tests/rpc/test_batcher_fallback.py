"""The writer over a server that knows no batches: single calls, in order where it matters."""

import asyncio
from pathlib import Path

import pytest
from grpc import StatusCode
from msgspec.structs import replace
from structlog.testing import capture_logs

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.outgoing import Outgoing, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.batcher import CONCURRENT_CALLS, Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from tests.rpc.servers import (
    Answers,
    Storage,
    batching,
    failing,
    grouped,
    pooling,
    private,
    serving,
    stored,
)
from tests.waiting import until


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 's'}"


@pytest.mark.gen_test
async def test_what_was_in_the_batch_is_sent_at_once_and_the_log_says_so_once(
    address: str,
) -> None:
    storage, answers = Storage(), Answers()
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        with capture_logs() as logs:
            answers.submit(batcher, [private("a"), grouped("b")])
            await answers.wait(2)
            # When a message came has no part in whether it is the one that is stored.
            answers.submit(batcher, [replace(private("c"), since=7.0)])
            await answers.wait(3)
        assert not batcher.batching
        assert (sum(batcher.sizes.buckets), batcher.pending) == (1, 0)
    assert storage.stored == ["a", "b", "c"]
    assert answers.outcomes == {
        "a": Stored(id=1, msg_id="a", created_at=7),
        "b": Stored(id=2, msg_id="b", created_at=7, seq=2),
        "c": Stored(id=3, msg_id="c", created_at=7),
    }
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("method_unsupported", "info")
    ]


@pytest.mark.gen_test
async def test_senders_and_groups_wait_for_themselves_alone(address: str) -> None:
    """Many calls are under way, but one per sender and one per group."""
    storage, answers = Storage(), Answers()
    storage.gate.clear()
    count = CONCURRENT_CALLS + 10
    crowd = [private(f"p{sender}", sender) for sender in range(100, 100 + count)]
    first = [private("a", 1), private("b", 1), grouped("c", 2), grouped("d", 3), grouped("e", 1)]
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        answers.submit(batcher, first + crowd)
        await until(lambda: len(storage.calls) == CONCURRENT_CALLS)
        assert {"a", "c"} <= set(storage.calls)
        assert not {"b", "d", "e"} & set(storage.calls)
        storage.gate.set()
        await answers.wait(len(first) + count)
    assert stored(answers.outcomes.values())
    for lane in (["a", "b", "e"], ["c", "d", "e"]):
        assert [msg_id for msg_id in storage.calls if msg_id in lane] == lane
        assert [msg_id for msg_id in answers.order if msg_id in lane] == lane


@pytest.mark.gen_test
async def test_refusals_come_with_their_reasons_and_look_ups_hold_up_nobody(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.denied = {
        "a": (StatusCode.PERMISSION_DENIED, ""),
        "b": (StatusCode.PERMISSION_DENIED, "not_friend"),
        "c": (StatusCode.INTERNAL, ""),
    }
    gone = {"CheckMembership": failing(StatusCode.NOT_FOUND)}
    async with (
        serving(address, message=storage.unary_methods, group=gone),
        batching(address) as batcher,
    ):
        misfit = Outgoing(
            msg_id="e", from_user_id=1, content="hi", content_type=1, to_user_id=1 << 63
        )
        messages = [grouped("a"), private("b"), private("c"), grouped("d"), misfit]
        answers.submit(batcher, messages)
        await answers.wait(5)
    assert stored([answers.outcomes["d"]])
    assert isinstance(answers.outcomes["c"], Unavailable)
    refusals = {
        msg_id: outcome.reason
        for msg_id, outcome in answers.outcomes.items()
        if isinstance(outcome, Refused)
    }
    assert refusals == {
        "a": Reason.GROUP_NOT_FOUND,
        "b": Reason.NOT_FRIEND,
        "e": Reason.INVALID,
    }
    assert [msg_id for msg_id in answers.order if msg_id != "a"] == ["b", "c", "d", "e"]


@pytest.mark.gen_test
async def test_a_server_that_hangs_costs_no_more_than_the_deadline(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.gate.clear()
    count = CONCURRENT_CALLS + 10
    crowd = [private(f"p{n}", sender=1 + n) for n in range(count)]
    async with (
        serving(address, message=storage.unary_methods),
        batching(address, timeout=1.0) as batcher,
    ):
        answers.submit(batcher, [*crowd, *(private(f"q{n}") for n in range(5))])
        await answers.wait(count + 5)
        assert batcher.pending == 0
    assert all(isinstance(outcome, Unavailable) for outcome in answers.outcomes.values())
    lane = [msg_id for msg_id in answers.order if msg_id in ("p0", "q0", "q1", "q2", "q3", "q4")]
    assert lane == ["p0", "q0", "q1", "q2", "q3", "q4"]


@pytest.mark.gen_test
async def test_closing_waits_for_calls_and_fails_what_waits_behind_them(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.gate.clear()
    async with serving(address, message=storage.unary_methods), batching(address) as batcher:
        answers.submit(batcher, map(private, "abc"))
        await until(lambda: storage.calls)
        answers.submit(batcher, [private("d")])
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        assert not batcher.submit(private("e"), answers.done)
        storage.gate.set()
        await closing
    assert answers.order == ["a", "b", "c", "d"]
    assert [isinstance(outcome, Stored) for outcome in answers.outcomes.values()] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.gen_test
async def test_batches_begin_again_with_a_server_that_knows_them(
    address: str,
) -> None:
    """The order holds over both changes; messages go to old and new server alike."""
    storage, answers = Storage(), Answers()
    names = [f"m{n:03}" for n in range(60)]
    async with pooling(address, f"{address}-new") as pool:
        batcher = Batcher(pool, FriendClient(pool), GroupClient(pool))
        batcher.start()
        async with serving(address, message=storage.unary_methods):
            answers.submit(batcher, map(private, names[:20]))
            await answers.wait(20)
            assert not batcher.batching
            methods = {**storage.unary_methods, **storage.batch_methods}
            async with serving(f"{address}-new", message=methods):
                storage.gate.clear()
                answers.submit(batcher, map(private, names[20:30]))
                await until(lambda: len(storage.calls) == 21)
                await until(lambda: pool.ready == 2)
                answers.submit(batcher, map(private, names[30:40]))
                storage.gate.set()
                await answers.wait(40)
                assert [name for batch in storage.batches for name in batch] == names[30:40]
            answers.submit(batcher, map(private, names[40:]))
            await answers.wait(60)
        await batcher.close()
    assert storage.stored == names
    assert answers.order == names
