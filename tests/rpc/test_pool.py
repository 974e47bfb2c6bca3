"""The choice between endpoints, deadlines, restarts and the end, against real servers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws import __version__
from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.contract.pb.group_pb2_grpc import GroupStub
from skyeim_ws.rpc.errors import RpcFailed
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service
from tests.rpc.servers import Handler, failing, hang, pooling, serving
from tests.waiting import until


async def call(pool: Pool, timeout: float | None = None) -> list[str]:
    """Ask for the joined groups; the scripted servers answer with their own name."""
    answer = await Service(pool, GroupStub).call(
        lambda stub: stub.GetJoinedGroups, pb.GetJoinedGroupsReq(user_id=1), timeout=timeout
    )
    return [seat.group_id for seat in answer.list]


def named(name: str) -> dict[str, Handler]:
    async def joined(request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        return pb.GetJoinedGroupsResp(list=[pb.MemberInfo(group_id=name)])

    return {"GetJoinedGroups": joined}


def unix(folder: Path, name: str) -> str:
    return f"unix:{folder / name}"


async def both_connected(pool: Pool, *names: str) -> None:
    seen: set[str] = set()
    async with asyncio.timeout(20):
        while seen != set(names):
            seen.update(await call(pool))


@pytest.mark.gen_test
async def test_calls_take_turns_over_the_endpoints(tmp_path: Path) -> None:
    one, two = unix(tmp_path, "1"), unix(tmp_path, "2")
    async with (
        serving(one, group=named("one")),
        serving(two, group=named("two")),
        pooling(one, two) as pool,
    ):
        await both_connected(pool, "one", "two")
        answers = [(await call(pool))[0] for _ in range(6)]
        assert sorted(answers) == ["one"] * 3 + ["two"] * 3


@pytest.mark.gen_test
async def test_a_dead_endpoint_is_passed_over_from_the_start(tmp_path: Path) -> None:
    alive = unix(tmp_path, "alive")
    dead = [unix(tmp_path, "dead"), "127.0.0.1:1"]
    async with serving(alive, group=named("alive")), pooling(*dead, alive) as pool:
        assert [await call(pool) for _ in range(6)] == [["alive"]] * 6


@pytest.mark.gen_test
async def test_tcp_and_the_user_agent() -> None:
    agents = []

    async def joined(request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        agents.append(dict(context.invocation_metadata())["user-agent"])
        return pb.GetJoinedGroupsResp()

    async with (
        serving("127.0.0.1:0", group={"GetJoinedGroups": joined}) as address,
        pooling(address) as pool,
    ):
        assert await call(pool) == []
        assert agents[0].startswith(f"skyeim-ws/{__version__} ")


@pytest.mark.gen_test
async def test_a_call_waits_for_a_server_that_starts_within_its_deadline(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    async with pooling(address, timeout=20) as pool:
        waiting = asyncio.ensure_future(call(pool))
        await until(lambda: not pool.is_ready)
        async with serving(address, group=named("late")):
            assert await waiting == ["late"]


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_a_server_that_restarts_under_a_call_is_survived(tmp_path: Path, kind: str) -> None:
    under_way = asyncio.Event()

    async def never(request: Any, context: Any) -> None:
        under_way.set()
        await hang(request, context)

    wanted = unix(tmp_path, "s") if kind == "unix" else "127.0.0.1:0"
    async with serving(wanted, group={"GetJoinedGroups": never}) as address:
        pool = Pool("test", [address], 20)
        waiting = asyncio.ensure_future(call(pool))
        await under_way.wait()
    async with serving(address, group=named("again")):
        assert await waiting == ["again"]
        await pool.close()


@pytest.mark.gen_test
async def test_without_a_server_a_call_fails_at_its_deadline_and_is_logged(tmp_path: Path) -> None:
    async with pooling(unix(tmp_path, "s")) as pool:
        with capture_logs() as logs, pytest.raises(RpcFailed) as caught:
            await call(pool, timeout=0.05)
        assert caught.value.code is StatusCode.UNAVAILABLE
        assert [(entry["event"], entry["method"], entry["code"]) for entry in logs] == [
            ("rpc_failed", "GetJoinedGroups", "UNAVAILABLE")
        ]


@pytest.mark.gen_test
async def test_a_server_that_hangs_costs_one_deadline_and_is_then_avoided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyeim_ws.rpc.service.AVOID_TIME", 1000.0)
    hung, alive = unix(tmp_path, "hung"), unix(tmp_path, "alive")
    async with (
        serving(hung, group={"GetJoinedGroups": hang}),
        serving(alive, group=named("alive")),
        pooling(hung, timeout=30) as pool,
    ):
        for _ in range(2):
            await until(lambda: pool.is_ready)
            with pytest.raises(RpcFailed) as caught:
                await call(pool, timeout=0.1)
            # Also the second time: with no other endpoint, it is asked all the same.
            assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        pool.set_endpoints([hung, alive])
        await until(lambda: False not in [endpoint.is_ready() for endpoint in pool._endpoints])
        assert [await call(pool) for _ in range(6)] == [["alive"]] * 6


@pytest.mark.gen_test
async def test_a_refusal_is_an_answer_and_not_logged(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    refuse = failing(StatusCode.PERMISSION_DENIED, "you are muted", "muted")
    async with serving(address, group={"GetJoinedGroups": refuse}), pooling(address) as pool:
        with capture_logs() as logs, pytest.raises(RpcFailed) as caught:
            await call(pool)
        assert (caught.value.reason, caught.value.message) == ("muted", "you are muted")
        assert logs == []


@pytest.mark.gen_test
async def test_the_text_of_a_server_that_names_no_reason_is_dropped(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    refuse = failing(StatusCode.INVALID_ARGUMENT, "SELECT * FROM im_group: 1064")
    async with serving(address, group={"GetJoinedGroups": refuse}), pooling(address) as pool:
        with pytest.raises(RpcFailed) as caught:
            await call(pool)
        assert (caught.value.reason, caught.value.message) == ("", "")


@pytest.mark.gen_test
async def test_closing_fails_what_is_under_way_and_what_comes_after(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    async with serving(address, group={"GetJoinedGroups": hang}):
        pool = Pool("test", [address], 20)
        waiting = asyncio.ensure_future(call(pool))
        await until(lambda: pool.is_ready)
        await pool.close()
        for attempt in (waiting, call(pool)):
            with pytest.raises(RpcFailed) as caught:
                await attempt
            assert caught.value.code is StatusCode.UNAVAILABLE


@pytest.mark.gen_test
async def test_cancelling_the_caller_cancels_the_call(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def joined(request: Any, context: Any) -> None:
        begun.set()
        try:
            await hang(request, context)
        finally:
            cancelled.set()

    async with serving(address, group={"GetJoinedGroups": joined}), pooling(address) as pool:
        waiting = asyncio.ensure_future(call(pool))
        await begun.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await cancelled.wait()


@pytest.mark.gen_test
async def test_endpoints_change_and_calls_under_way_on_the_old_ones_end(tmp_path: Path) -> None:
    old, new = unix(tmp_path, "old"), unix(tmp_path, "new")
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        begun.set()
        await gate.wait()
        return pb.GetJoinedGroupsResp(list=[pb.MemberInfo(group_id="old")])

    async with (
        serving(old, group={"GetJoinedGroups": slow}),
        serving(new, group=named("new")),
        pooling(old) as pool,
    ):
        waiting = asyncio.ensure_future(call(pool))
        await begun.wait()
        pool.set_endpoints([new])
        assert pool.endpoints == [new]
        assert await call(pool) == ["new"]
        gate.set()
        assert await waiting == ["old"]
