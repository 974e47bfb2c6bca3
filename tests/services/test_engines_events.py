"""Events wait on MariaDB as they do on SQLite: the same tests, unchanged."""
# ruff: noqa: F401, F403, F811

from pathlib import Path

import pytest

from skyeim_ws.services.notices import to_user
from tests.services.mariadb import tmp_path
from tests.services.peers import running_gateway
from tests.services.test_events import *
from tests.services.test_events import publish, running_events

pytestmark = pytest.mark.xdist_group("mariadb")


@pytest.mark.gen_test
async def test_two_processes_on_one_database_tell_each_event_once(tmp_path: Path) -> None:
    async with running_gateway() as gateway:
        url = gateway.url
        async with (
            running_events(tmp_path, None, url) as one,
            running_events(tmp_path, None, url) as two,
        ):
            for n in range(20):
                await publish(one if n % 2 else two, to_user(1, "n", {"n": n}))
            await gateway.heard("n", 20)
        assert [call["data"]["n"] for call in gateway.calls] == list(range(20))
