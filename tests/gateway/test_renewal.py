"""A connection outlives its first token when its client sends a newer one in time."""

import time

import pytest

from skyeim_ws.conn.client import Client
from tests.gateway.conftest import MakeWorld
from tests.world import World


def connection(world: World) -> Client:
    client = world.gateway.hub.get(1001)
    assert client is not None
    return client


@pytest.mark.gen_test
async def test_a_connection_ends_with_its_newest_token(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        client = connection(world)
        now = int(time.time())
        for lifetime in (7_200, 60, 9_000):
            ends = now + lifetime
            await alice.send("token", token=world.token(1001, now=now, ttl=lifetime))
            assert await alice.expect("token") == {"expiresAt": ends}
            left = client.expires_at - client.context.clock()
            assert left == pytest.approx(ends - time.time(), abs=1)
        client.renew(client.context.clock())
        assert await alice.close_code() == 4003


@pytest.mark.gen_test
async def test_a_token_that_is_not_good_changes_nothing(make_world: MakeWorld) -> None:
    async with make_world() as world:
        alice = await world.login(1001)
        before = connection(world).expires_at
        for token, message in (
            (world.token(1002), "the token is another user's"),
            (world.token(1001, ttl=-60), "the token has expired"),
            (world.token(1001, token_type=1), "this is not an access token"),
            ("x" * 5000, "the token is too long"),
            ("x", "the token is malformed"),
            ("", "the token is missing"),
        ):
            await alice.send("token", token=token)
            assert await alice.expect("error") == {"code": 30001, "message": message}
        await alice.send("token")
        assert (await alice.expect("error"))["code"] == 30001
        assert connection(world).expires_at == before
