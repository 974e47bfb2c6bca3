"""A read of all over HTTP waits for what is on its way, on whichever node the user is."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import insert
from tornado.httpclient import HTTPRequest

from skyeim_ws.services.tables import messages
from skyeim_ws.store.keys import session_key
from skyeim_ws.store.sessions import CLEAN
from tests.gateway.conftest import MakeWorld
from tests.gateway.raw import raw_user
from tests.gateway.test_http import decoded
from tests.lives import lifeless
from tests.waiting import until_async
from tests.world import World


async def is_nowhere(world: World, user_id: int) -> bool:
    """Whether the last session of the user has ended in order."""
    session: Any = await world.redis.get(session_key(user_id))
    return lifeless(session) == CLEAN.encode()


async def read_all(world: World, port: int, peer_id: int) -> dict[str, Any]:
    """Mark all messages from the peer to 1002 as read over HTTP, at any node."""
    request = HTTPRequest(
        f"http://127.0.0.1:{port}/message/read",
        method="POST",
        body=json.dumps({"peerId": peer_id}),
        headers={"Authorization": f"Bearer {world.token(1002)}"},
        request_timeout=60,
    )
    answer: dict[str, Any] = json.loads((await world.http.fetch(request, raise_error=False)).body)
    return answer


@pytest.mark.gen_test
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_read_of_all_over_http_waits_for_what_is_on_its_way(
    make_world: MakeWorld, elsewhere: bool
) -> None:
    """Else it marks what was never sent, and with it gone the catch-up ends."""
    async with make_world(been_here=False, confirm_interval=0.02, ledger_size=100) as world:
        other = await world.add_node()
        rows = [
            {"msg_id": f"m-{n}", "from_user_id": 1001, "to_user_id": 1002, "content": "x"}
            for n in range(150)
        ]
        await world.execute(insert(messages).values(rows))
        port = other.port if elsewhere else world.port
        async with raw_user(world, 1002) as bob:
            first = [(await bob.expect("chat"))["msgId"] for _ in range(100)]
            reading = asyncio.create_task(read_all(world, port, 1001))
            # The rest does not come before these are confirmed, so nothing may be marked.
            bob.send("ping")
            await bob.expect("pong")
            count = decoded(await world.get("/message/unread/count", 1002))["data"]["count"]
            assert (count, reading.done()) == (150, False)
            bob.send("ack", msgIds=first, status="delivered")
            rest = [(await bob.expect("chat"))["msgId"] for _ in range(50)]
            bob.send("ack", msgIds=rest, status="delivered")
            assert await reading == {"code": 200, "message": "success", "data": {"count": 150}}
            assert first + rest == [f"m-{n}" for n in range(150)]
        # Who is nowhere has nothing on its way.
        await until_async(lambda: is_nowhere(world, 1002))
        assert (await read_all(world, port, 1001))["data"] == {"count": 0}


@pytest.mark.gen_test
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_read_of_all_over_http_does_not_wait_for_ever(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    monkeypatch.setattr("skyeim_ws.logic.arrivals.PATIENCE", 0.3)
    async with make_world(been_here=False) as world:
        other = await world.add_node()
        row = {"msg_id": "m-1", "from_user_id": 1001, "to_user_id": 1002, "content": "x"}
        await world.execute(insert(messages).values(row))
        async with raw_user(world, 1002) as bob:
            await bob.expect("chat")
            answer = await read_all(world, other.port if elsewhere else world.port, 1001)
            assert answer["code"] == 30011
            count = decoded(await world.get("/message/unread/count", 1002))["data"]["count"]
            assert count == 1
