"""The choice between endpoints, deadlines, restarts and the end, against real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
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
from tests.waiting import DEADLINE, until, until_async


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
    async with asyncio.timeout(DEADLINE):
        while seen != set(names):
            seen.update(await call(pool))


class Counted:
    """A server that says its name, when it is let, and counts how often it was asked."""

    def __init__(self, name: str, delay: float = 0.0) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._name = name
        self._delay = delay

    @property
    def methods(self) -> dict[str, Handler]:
        return {"GetJoinedGroups": self.joined}

    async def joined(self, request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        self.asked += 1
        await asyncio.sleep(self._delay)
        await self.gate.wait()
        return pb.GetJoinedGroupsResp(list=[pb.MemberInfo(group_id=self._name)])


@pytest.mark.gen_test
async def test_calls_under_way_are_shared_by_all_endpoints(tmp_path: Path) -> None:
    one, two = Counted("one"), Counted("two")
    async with (
        serving(unix(tmp_path, "1"), group=one.methods) as first,
        serving(unix(tmp_path, "2"), group=two.methods) as second,
        pooling(first, second) as pool,
    ):
        await both_connected(pool, "one", "two")
        one.asked = two.asked = 0
        one.gate.clear()
        two.gate.clear()
        waiting = [asyncio.ensure_future(call(pool)) for _ in range(100)]
        await until(lambda: one.asked + two.asked == 100)
        one.gate.set()
        two.gate.set()
        await asyncio.gather(*waiting)
    # Their first answers may have taken different times.
    assert min(one.asked, two.asked) > 5


@pytest.mark.gen_test
async def test_a_slow_replica_gets_less(tmp_path: Path) -> None:
    quick, slow = Counted("quick"), Counted("slow", delay=0.2)

    async def caller() -> None:
        for _ in range(100):
            await call(pool)

    async with (
        serving(unix(tmp_path, "1"), group=quick.methods) as first,
        serving(unix(tmp_path, "2"), group=slow.methods) as second,
        pooling(first, second) as pool,
    ):
        await both_connected(pool, "quick", "slow")
        await asyncio.gather(*(caller() for _ in range(4)))
    assert slow.asked < 0.2 * quick.asked


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
        assert agents[0].startswith(f"skyeim-ws/{__version__}")


@pytest.mark.gen_test
async def test_a_call_waits_for_a_server_that_starts_within_its_deadline(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    async with pooling(address, timeout=20) as pool:
        waiting = asyncio.ensure_future(call(pool))
        await until(lambda: not pool.ready)
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
            await until(lambda: pool.ready)
            with pytest.raises(RpcFailed) as caught:
                await call(pool, timeout=0.1)
            # Also the second time: with no other endpoint, it is asked all the same.
            assert caught.value.code is StatusCode.DEADLINE_EXCEEDED
        pool.set_endpoints({hung: "", alive: ""})
        await until(lambda: pool.ready == 2)
        assert [await call(pool) for _ in range(6)] == [["alive"]] * 6


@pytest.mark.gen_test
async def test_a_refusal_is_an_answer_and_not_logged(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    refuse = failing(StatusCode.PERMISSION_DENIED, "you are muted", "muted")
    async with serving(address, group={"GetJoinedGroups": refuse}), pooling(address) as pool:
        with capture_logs() as logs, pytest.raises(RpcFailed) as caught:
            await call(pool)
        assert caught.value.reason == "muted"
        assert logs == []


@pytest.mark.gen_test
async def test_closing_fails_what_is_under_way_and_what_comes_after(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    async with serving(address, group={"GetJoinedGroups": hang}):
        pool = Pool("test", [address], 20)
        waiting = asyncio.ensure_future(call(pool))
        await until(lambda: pool.ready)
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
        pool.set_endpoints({new: ""})
        assert pool.endpoints == [new]
        assert await call(pool) == ["new"]
        gate.set()
        assert await waiting == ["old"]


@pytest.mark.gen_test
async def test_the_replicas_that_a_source_gives_are_called(tmp_path: Path) -> None:
    one, two = unix(tmp_path, "one"), unix(tmp_path, "two")
    told: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    async def source() -> AsyncIterator[dict[str, str]]:
        while True:
            yield await told.get()

    async with (
        serving(one, group=named("one")),
        serving(two, group=named("two")),
        pooling() as pool,
    ):
        pool.follow(source())
        first = asyncio.ensure_future(call(pool))  # it waits for an address
        told.put_nowait({one: ""})
        assert await first == ["one"]
        told.put_nowait({one: "", two: ""})
        await both_connected(pool, "one", "two")
        told.put_nowait({two: ""})
        await until(lambda: pool.endpoints == [two])
        assert await call(pool) == ["two"]


@pytest.mark.gen_test
async def test_a_replica_is_addressed_by_the_name_that_it_was_found_by() -> None:
    """A proxy in between may go by it."""
    heard = asyncio.Event()
    hearing = 0

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hearing
        hearing += 1
        writer.write(b"\0\0\0\4\0\0\0\0\0")  # SETTINGS of HTTP/2, or no call is made
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"group.internal:10600")
            heard.set()
        writer.close()
        await writer.wait_closed()
        hearing -= 1

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with pooling() as pool:
        port = server.sockets[0].getsockname()[1]
        pool.set_endpoints({f"127.0.0.1:{port}": "group.internal:10600"})
        waiting = asyncio.ensure_future(call(pool))
        await heard.wait()
        server.close()
        waiting.cancel()
        await asyncio.wait({waiting})
    await until(lambda: not hearing)


@pytest.mark.gen_test
async def test_a_failing_service_is_spared_and_the_log_says_so_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most calls are refused here; when it is well again all are served."""
    monkeypatch.setattr("skyeim_ws.rpc.breaker.WINDOW", 1.0)
    healed = asyncio.Event()
    asked = 0

    async def joined(request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        nonlocal asked
        asked += 1
        if not healed.is_set():
            await context.abort(StatusCode.INTERNAL, "")
        return pb.GetJoinedGroupsResp()

    async def served() -> bool:
        try:
            await call(pool)
        except RpcFailed:
            return False
        return True

    address = unix(tmp_path, "s")
    async with (
        serving(address, group={"GetJoinedGroups": joined}),
        pooling(address) as pool,
    ):
        await until(lambda: pool.ready)
        with capture_logs() as logs:
            for _ in range(400):
                assert not await served()
            assert (asked + pool.refused, pool.throttled) == (400, 1)
            assert asked < 200
            healed.set()

            async def allowed() -> bool:
                await served()
                return not pool.throttled

            await until_async(allowed)
            assert await served()
    assert [entry["event"] for entry in logs if entry["event"] != "rpc_failed"] == [
        "rpc_throttled",
        "rpc_throttling_over",
    ]


@pytest.mark.gen_test
async def test_a_service_that_is_away_is_called_as_soon_as_it_is_back(tmp_path: Path) -> None:
    """Who is not connected is not asked anyway, so nothing is refused afterwards."""
    address = unix(tmp_path, "s")
    async with pooling(address) as pool:
        for _ in range(20):
            with pytest.raises(RpcFailed):
                await call(pool, timeout=0.02)
        async with serving(address, group=named("back")):
            await until(lambda: pool.ready)
            assert [await call(pool) for _ in range(20)] == [["back"]] * 20


async def optional_call(pool: Pool) -> list[str]:
    answer = await Service(pool, GroupStub).call(
        lambda stub: stub.GetJoinedGroups, pb.GetJoinedGroupsReq(user_id=1), optional=True
    )
    return [seat.group_id for seat in answer.list]


@pytest.mark.gen_test
async def test_an_optional_method_is_asked_of_the_servers_that_have_it(tmp_path: Path) -> None:
    old, new = unix(tmp_path, "old"), unix(tmp_path, "new")
    async with serving(old), pooling(old, new) as pool:
        await until(lambda: pool.ready)
        with capture_logs() as logs:
            for _ in range(3):
                with pytest.raises(RpcFailed) as caught:
                    await optional_call(pool)
                assert caught.value.code is StatusCode.UNIMPLEMENTED
            assert not pool.offers("GetJoinedGroups")
            async with serving(new, group=named("new")):
                await until(lambda: pool.ready == 2)
                assert pool.offers("GetJoinedGroups")
                assert [await optional_call(pool) for _ in range(20)] == [["new"]] * 20
        assert [(entry["event"], entry["endpoint"]) for entry in logs] == [
            ("method_unsupported", old)
        ]


@pytest.mark.gen_test
async def test_a_server_that_was_renewed_is_asked_again_for_what_it_lacked(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    async with pooling(address) as pool:
        async with serving(address):
            await until(lambda: pool.ready)
            with pytest.raises(RpcFailed):
                await optional_call(pool)
        await until(lambda: not pool.ready)
        async with serving(address, group=named("new")):
            assert await optional_call(pool) == ["new"]


@pytest.mark.gen_test
async def test_a_server_that_sheds_load_is_asked_again_and_not_taken_for_ill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three attempts are shed, no call is lost, and no method is spared."""
    monkeypatch.setattr("random.random", lambda: 0.0)  # whatever can be refused, is
    asked = 0

    async def joined(request: Any, context: Any) -> pb.GetJoinedGroupsResp:
        nonlocal asked
        asked += 1
        if asked % 3:
            await context.abort(StatusCode.RESOURCE_EXHAUSTED, "service overloaded")
        return pb.GetJoinedGroupsResp()

    address = unix(tmp_path, "s")
    async with serving(address, group={"GetJoinedGroups": joined}), pooling(address) as pool:
        for _ in range(12):
            assert await call(pool) == []
        assert (pool.throttled, pool.refused) == (0, 0)


@pytest.mark.gen_test
async def test_a_server_that_sheds_all_load_is_spared_at_last(tmp_path: Path) -> None:
    address = unix(tmp_path, "s")
    shed = {"GetJoinedGroups": failing(StatusCode.RESOURCE_EXHAUSTED)}
    async with serving(address, group=shed), pooling(address) as pool:
        await until(lambda: pool.ready)
        async with asyncio.timeout(20):
            while not pool.refused:
                with pytest.raises(RpcFailed):
                    await call(pool, timeout=0.01)
        assert pool.throttled == 1
