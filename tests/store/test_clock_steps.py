"""The clock of Redis is set either way: nobody dies of it, and whoever dies is noticed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from skyeim_ws.store.keys import NODES_KEY
from tests.store.servers import Server, running_server
from tests.store.test_nodes import DEAD_AFTER, cluster
from tests.waiting import until, until_async

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)

pytestmark = pytest.mark.skipif(
    LIBRARY is None, reason="needs libfaketime: tools/install-test-servers"
)

DAY = 86_400


class Clock:
    """The clock of a Redis of one's own, with the clocks of the nodes as they are."""

    def __init__(self, file: Path, server: Server) -> None:
        self.server = server
        self._file = file

    def set(self, offset: int) -> None:
        """Step to so many seconds from the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{offset:+d}\n")
        new.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    file = tmp_path / "clock"
    file.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with running_server(environment) as server:
        yield Clock(file, server)


async def signs(redis: Redis) -> dict[bytes, float]:
    listed: list[Any] = list(await redis.zrange(NODES_KEY, 0, -1, withscores=True))
    return dict(listed)


@pytest.mark.parametrize("step", [DAY, -DAY, 2])
@pytest.mark.gen_test
async def test_a_step_kills_nobody_and_hides_no_death(clock: Clock, step: int) -> None:
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
