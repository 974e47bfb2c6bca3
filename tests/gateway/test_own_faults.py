"""A fault of ours ends the connection that it hits with 1011; none goes mute."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.introductions import Introductions
from skyeim_ws.logic.session_state import session_of
from skyeim_ws.logic.social import Social
from skyeim_ws.rpc.messages import MessageClient
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.waiting import until


async def _broken(*_: Any, **__: Any) -> None:
    raise ValueError("a fault of ours")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("where", "name", "kind", "data"),
    [
        (Social, "_presence_of", "presence", {"userIds": [1002]}),
        (MessageClient, "mark_read", "read", {"peerId": 1002}),
    ],
)
async def test_a_fault_in_a_request_ends_the_connection(
    make_world: MakeWorld,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    name: str,
    kind: str,
    data: dict[str, Any],
) -> None:
    monkeypatch.setattr(where, name, _broken)
    async with make_world() as world, raw_user(world, 1001) as alice:
        await alice.expect("connected")
        with capture_logs() as lines:
            alice.send(kind, **data)
            assert (await alice.close_frame()).code == 1011
        assert "background_task_failed" in [line["event"] for line in lines]
        # The others are served.
        bob, carol = await world.login(1002), await world.login(1003)
        await bob.chat(1003, "hello")
        await carol.expect("chat", content="hello")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("where", "name", "query"),
    [(CatchUp, "_run", "?resume=0"), (Introductions, "introduce", "")],
)
async def test_a_fault_in_what_follows_a_login_ends_the_connection(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, where: type, name: str, query: str
) -> None:
    monkeypatch.setattr(where, name, _broken)
    async with make_world() as world, raw_user(world, 1001, query=query) as alice:
        assert (await alice.close_frame()).code == 1011


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("where", "name", "closed"),
    [(Sending, "_answer", 1001), (PrivateDelivery, "deliver", 1002)],
)
async def test_a_fault_with_a_stored_message_ends_the_connection_that_waits_for_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, where: type, name: str, closed: int
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a fault of ours")

    async with make_world() as world:
        async with raw_user(world, 1001) as alice, raw_user(world, 1002) as bob:
            for user in (alice, bob):
                await user.expect("connected")
            await until(
                lambda: all(session_of(client).in_node_sessions for client in world.gateway.hub)
            )
            with monkeypatch.context() as patch:
                patch.setattr(where, name, broken)
                alice.send("chat", toUserId=1002, content="hello")
                waiting = alice if closed == 1001 else bob
                assert (await waiting.close_frame()).code == 1011
        # Nothing is lost: it is stored, and comes with the next connection.
        again = await world.login(1002, url=world.url(1002, resume="0"))
        await again.expect("chat", content="hello")


@pytest.mark.gen_test
async def test_a_fault_in_writing_ends_the_connection(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_world() as world, raw_user(world, 1001) as alice:
        await alice.expect("connected")
        client = world.gateway.hub.get(1001)
        assert client is not None

        def broken(_: Callable[..., None]) -> None:
            raise ValueError("a fault of ours")

        monkeypatch.setattr(type(client), "_write", broken)
        alice.send("ping")
        assert (await alice.close_frame()).code == 1011
