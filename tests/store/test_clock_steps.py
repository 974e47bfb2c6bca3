"""The clock of Redis is set either way: nobody dies of it, and whoever dies is noticed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from skyeim_ws.store.keys import NODES_KEY
from tests.faketime import LIBRARY, Clock
from tests.store.servers import Server, running_server
from tests.store.test_nodes import DEAD_AFTER, cluster
from tests.waiting import until, until_async

pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="needs libfaketime: tools/install-test-servers"
)

DAY = 86_400


class RedisClock(Clock):
    """The clock of a Redis of one's own, with the clocks of the nodes as they are."""

    server: Server


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[RedisClock]:
    made = RedisClock(tmp_path / "clock")
    with running_server(made.environment) as made.server:
        yield made


async def signs(redis: Redis) -> dict[bytes, float]:
    listed: list[Any] = list(await redis.zrange(NODES_KEY, 0, -1, withscores=True))
    return dict(listed)


@pytest.mark.parametrize("step", [DAY, -DAY, 2])
@pytest.mark.gen_test
async def test_a_step_kills_nobody_and_hides_no_death(clock: RedisClock, step: int) -> None:
    async with cluster(clock.server, "doomed", "east", "west") as (redis, [doomed, east, west]):
        await doomed.login(1, "c1", "g")
        await east.login(2, "c2", "g")
        before = max((await signs(redis)).values())
        clock.set(step)

        async def lived_on() -> bool:
            """All have renewed for longer than any may be silent, by the new clock."""
            seen = await signs(redis)
            wanted = before + 1000 * (step + 2 * DEAD_AFTER)
            return len(seen) == 3 and all(wanted < sign < wanted + 1e7 for sign in seen.values())

        await until_async(lived_on)
        assert (doomed.lost, east.lost, west.lost) == (0, 0, 0)
        assert await redis.smembers("online:users") == {b"1", b"2"}
        doomed.vanish()
        await until(lambda: east.gone + west.gone == [1])
        assert await redis.smembers("online:users") == {b"2"}
