"""`group:seq:{gid}` in Redis follows the database and is never lowered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services import counters as counters_module
from skyeim_ws.services.counters import SeqCounters
from skyeim_ws.services.db import Database, open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.shared_redis import open_redis
from tests.services.conftest import make_group
from tests.services.peers import running_valkey, valkey_at
from tests.services.serving import serving
from tests.services.test_message import grouped, private
from tests.waiting import DEADLINE, until


@asynccontextmanager
async def running_events(folder: Path) -> AsyncIterator[Events]:
    database = await open_database(str(folder / "im.db"))
    events = Events(database, valkey_at(folder))
    try:
        yield events
    finally:
        await events.close()
        await database.close()


def counters(client: redis.Redis) -> dict[str, int]:
    keys: Any = client.keys("group:seq:*")
    values: Any = client.mget(keys) if keys else []
    pairs = zip(keys, values, strict=True)
    return {key.decode().removeprefix("group:seq:"): int(value) for key, value in pairs}


@pytest.mark.gen_test
async def test_counters_reach_the_seq_of_what_was_stored(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as client:
        client.set("group:seq:ahead", 100)
        client.set("group:seq:g", 1)
        async with serving(tmp_path, valkey_at(tmp_path)) as services:
            for group_id in ("g", "h", "ahead"):
                await make_group(services.database, group_id, 1)
            items = [pb.SendItem(group=grouped(f"g{n}", 1, "g")) for n in range(3)]
            items += [pb.SendItem(group=grouped("h1", 1, "h")), pb.SendItem(private=private("p"))]
            await services.message.SendBatch(pb.SendBatchReq(items=items))
            await services.message.SendGroupMessage(grouped("a1", 1, "ahead"))
            await until(lambda: counters(client) == {"ahead": 100, "g": 3, "h": 1})
            # Redis has forgotten it: the next message brings it back.
            client.delete("group:seq:g")
            await services.message.SendGroupMessage(grouped("g3", 1, "g"))
            await until(lambda: counters(client) == {"ahead": 100, "g": 4, "h": 1})


@pytest.mark.gen_test
async def test_a_counter_keeps_its_time_to_live_and_its_larger_value(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as client:
        client.set("group:seq:g", 5, ex=1000)
        async with running_events(tmp_path) as events:
            events.reached({"g": 7})
            events.reached({"g": 6})
        assert counters(client) == {"g": 7}
        assert 0 < int(client.ttl("group:seq:g")) <= 1000


@pytest.mark.gen_test
async def test_counters_wait_for_a_redis_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters_module, "LONGEST_PAUSE", 0.05)
    async with running_events(tmp_path) as events:
        with capture_logs() as logs:
            for seq in range(1, 50):
                events.reached({"g": seq, "h": 2 * seq})
            await until(lambda: any(each["event"] == "group_seqs_delayed" for each in logs))
            with running_valkey(tmp_path) as client:
                await until(lambda: counters(client) == {"g": 49, "h": 98})
                await until(lambda: any(each["event"] == "group_seqs_flow_again" for each in logs))
    assert len(logs) == 2


@pytest.mark.gen_test
async def test_a_key_of_another_type_holds_up_no_other(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as client:
        client.sadd("group:seq:odd", 1)
        with capture_logs() as logs:
            async with running_events(tmp_path) as events:
                events.reached({"odd": 1, "g": 1})
                await until(lambda: client.get("group:seq:g"))
        assert [(each["event"], each["group"]) for each in logs if "group" in each] == [
            ("group_seq_is_no_counter", "odd")
        ]
        assert client.type("group:seq:odd") == b"set"


@pytest.mark.gen_test
async def test_groups_that_wait_are_bounded_and_counted_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters_module, "GROUPS", 2)
    monkeypatch.setattr("skyeim_ws.services.events.CLOSE_DEADLINE", 0.05)
    with capture_logs() as logs:
        async with running_events(tmp_path) as events:
            events.reached({"a": 1, "b": 1, "c": 1, "d": 1})
            events.reached({"b": 2})
    left = [(e["cause"], e["waiting"]) for e in logs if e["event"] == "group_seqs_left_behind"]
    assert left == [("queue_full", 2), ("closing", 2)]


@pytest.mark.gen_test
async def test_the_counters_end_at_whatever_step_of_a_write_they_are(tmp_path: Path) -> None:
    with running_valkey(tmp_path):
        for steps in range(40):
            client = open_redis(valkey_at(tmp_path))
            tested = SeqCounters(client)
            tested.note({"g": steps + 1})
            for _ in range(steps):
                await asyncio.sleep(0)
            async with asyncio.timeout(DEADLINE):
                await tested.close(0)
            await client.aclose()


@pytest.mark.gen_test
async def test_without_redis_nothing_happens(database: Database) -> None:
    events = Events(database, None, "http://127.0.0.1:9")
    events.reached({"g": 1})
    await events.close()
