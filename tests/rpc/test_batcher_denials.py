"""Denials without a reason: the other services are asked, and nobody waits for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.pb import friend_pb2, group_pb2
from skyeim_ws.logic.ports import Refused, Unavailable
from tests.rpc.servers import (
    Answers,
    Storage,
    batching,
    failing,
    grouped,
    hang,
    private,
    serving,
)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 's'}"


@pytest.mark.gen_test
async def test_a_denial_without_a_reason_is_looked_up_and_holds_up_nobody(address: str) -> None:
    storage, answers = Storage(), Answers()
    gate = asyncio.Event()
    storage.denied = dict.fromkeys(("b", "c", "d"), (StatusCode.PERMISSION_DENIED, ""))

    async def is_friend(request: Any, context: Any) -> friend_pb2.IsFriendResp:
        await gate.wait()
        return friend_pb2.IsFriendResp(status=2 if request.user_id == 2 else 1)

    async def check(request: Any, context: Any) -> group_pb2.CheckMembershipResp:
        await gate.wait()
        member = group_pb2.MemberInfo(role=3, mute=int(request.user_id == 5))
        return group_pb2.CheckMembershipResp(is_member=True, member=member)

    async with (
        serving(
            address,
            message=storage.batch_methods,
            friend={"IsFriend": is_friend},
            group={"CheckMembership": check},
        ),
        batching(address) as batcher,
    ):
        sent = [private("a"), private("b"), grouped("c", 5), grouped("d", at_user_ids=[-1])]
        answers.submit(batcher, [*sent, private("e")])
        await answers.wait(2)
        answers.submit(batcher, [private("f")])
        await answers.wait(3)
        assert answers.order == ["a", "e", "f"]
        assert batcher.pending == 3
        gate.set()
        await answers.wait(6)
    assert {
        msg_id: outcome.reason
        for msg_id, outcome in answers.outcomes.items()
        if isinstance(outcome, Refused)
    } == {"b": Reason.BLOCKED, "c": Reason.MUTED, "d": Reason.AT_ALL_DENIED}


@pytest.mark.gen_test
async def test_a_look_up_that_fails_or_hangs_ends_with_the_deadline(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.denied = dict.fromkeys(("a", "b"), (StatusCode.PERMISSION_DENIED, ""))
    async with (
        serving(
            address,
            message=storage.batch_methods,
            friend={"IsFriend": failing(StatusCode.INTERNAL)},
            group={"CheckMembership": hang},
        ),
        batching(address, timeout=0.5) as batcher,
    ):
        answers.submit(batcher, [private("a"), grouped("b")])
        await answers.wait(2)
    assert all(isinstance(outcome, Unavailable) for outcome in answers.outcomes.values())


@pytest.mark.gen_test
async def test_a_group_that_is_gone_shows_in_the_look_up(address: str) -> None:
    storage, answers = Storage(), Answers()
    storage.denied = {"a": (StatusCode.PERMISSION_DENIED, "")}
    gone = {"CheckMembership": failing(StatusCode.NOT_FOUND)}
    async with (
        serving(address, message=storage.batch_methods, group=gone),
        batching(address) as batcher,
    ):
        answers.submit(batcher, [grouped("a")])
        await answers.wait(1)
    outcome = answers.outcomes["a"]
    assert isinstance(outcome, Refused)
    assert outcome.reason is Reason.GROUP_NOT_FOUND
