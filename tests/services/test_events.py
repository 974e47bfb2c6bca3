"""Events reach Redis first and the gateway second, in order, and never hold up the caller."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.services import events as events_module
from skyeim_ws.services.events import Events, to_group, to_user
from tests.services.peers import running_gateway, running_valkey, valkey_at
from tests.waiting import until

SECRET = "push-secret-of-the-tests"


@asynccontextmanager
async def running_events(*args: Any, **kwargs: Any) -> AsyncIterator[Events]:
    events = Events(*args, **kwargs)
    try:
        yield events
    finally:
        await events.close()


@pytest.mark.gen_test
async def test_pushes_arrive_in_order_with_the_secret() -> None:
    async with running_gateway() as gateway, running_events(None, gateway.url, SECRET) as events:
        events.publish(to_group("g_1", "inviteMember", {"memberIds": [2]}), to_user(2, "x", {}))
        for n in range(20):
            events.publish(to_user(1, "n", {"n": n}))
        await gateway.heard("n", 20)
        assert gateway.calls[:2] == [
            {
                "type": "group",
                "groupId": "g_1",
                "eventType": "inviteMember",
                "eventData": {"memberIds": [2]},
            },
            {"type": "user", "userId": 2, "notificationType": "x", "data": {}},
        ]
        assert [call["data"]["n"] for call in gateway.of_kind("n")] == list(range(20))
        assert gateway.secrets == {SECRET}


@pytest.mark.gen_test
async def test_member_cache_is_deleted_before_the_push(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as client:
        client.sadd("im:group:members:g_1", 1, 2)
        client.sadd("im:group:members:g_2", 1, 2)
        cached: list[object] = []
        async with (
            running_gateway() as gateway,
            running_events(valkey_at(tmp_path), gateway.url) as events,
        ):
            gateway.on_call = lambda: cached.append(client.exists("im:group:members:g_1"))
            events.publish(to_group("g_1", "kickMember", {}), members_of="g_1")
            await gateway.heard("kickMember")
        assert cached == [0]
        assert client.exists("im:group:members:g_2") == 1


@pytest.mark.gen_test
async def test_events_wait_for_a_gateway_that_is_away() -> None:
    async with running_gateway() as first:
        port = int(first.url.rpartition(":")[2])
    async with running_events(None, f"http://127.0.0.1:{port}/") as events:
        with capture_logs() as logs:
            events.publish(to_user(1, "early", {}))
            await until(lambda: any(entry["event"] == "events_delayed" for entry in logs))
            async with running_gateway(port) as gateway:
                await gateway.heard("early")
                await until(lambda: any(entry["event"] == "events_flow_again" for entry in logs))


@pytest.mark.gen_test
async def test_event_is_retried_on_server_errors_and_given_up_on_refusal() -> None:
    async with running_gateway() as gateway, running_events(None, gateway.url, SECRET) as events:
        with capture_logs() as logs:
            gateway.statuses.extend([503, 500, 401])
            events.publish(to_user(1, "refused", {"text": "private"}))
            events.publish(to_user(1, "next", {}))
            await gateway.heard("next")
        assert gateway.refused == 3
        assert gateway.of_kind("refused") == []
        refusals = [entry for entry in logs if entry["event"] == "push_refused"]
        assert [entry["status"] for entry in refusals] == [401]
        assert SECRET not in str(logs)
        assert "private" not in str(logs)


@pytest.mark.gen_test
async def test_event_is_dropped_with_a_log_event_when_patience_ends() -> None:
    async with running_gateway() as gateway:
        url = gateway.url
    async with running_events(None, url, patience=0.1) as events:
        with capture_logs() as logs:
            events.publish(to_user(1, "lost", {}))
            await until(lambda: any(entry["event"] == "event_dropped" for entry in logs))
        dropped = next(entry for entry in logs if entry["event"] == "event_dropped")
        assert dropped["pushes"] == ["lost"]


@pytest.mark.gen_test
async def test_member_cache_outlives_a_redis_outage_longer_than_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push may be dropped, but a stale cache would show a wrong group for days."""
    monkeypatch.setattr(events_module, "LONGEST_PAUSE", 0.05)
    with running_valkey(tmp_path) as client:
        client.sadd("im:group:members:g_1", 1, 2)
        client.save()
    redis = valkey_at(tmp_path)
    async with running_gateway() as gateway, running_events(redis, gateway.url, patience=0.0) as e:
        with capture_logs() as logs:
            e.publish(to_group("g_1", "kickMember", {}), members_of="g_1")
            await until(lambda: any(entry["event"] == "event_dropped" for entry in logs))
            with running_valkey(tmp_path) as client:
                await until(lambda: not client.exists("im:group:members:g_1"))
                await until(lambda: any(entry["event"] == "events_flow_again" for entry in logs))
        assert gateway.calls == []


@pytest.mark.gen_test
async def test_full_queue_drops_the_newest_and_never_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events_module, "QUEUE_SIZE", 2)
    async with running_gateway() as gateway, running_events(None, gateway.url) as events:
        with capture_logs() as logs:
            for n in range(4):
                events.publish(to_user(1, "n", {"n": n}))
        dropped = [entry for entry in logs if entry["event"] == "event_dropped"]
        assert [entry["cause"] for entry in dropped] == ["queue_full", "queue_full"]
        await gateway.heard("n", 2)
    assert [call["data"]["n"] for call in gateway.calls] == [0, 1]


@pytest.mark.gen_test
async def test_close_delivers_what_is_queued() -> None:
    async with running_gateway() as gateway:
        async with running_events(None, gateway.url) as events:
            events.publish(to_user(1, "last", {}))
        assert len(gateway.of_kind("last")) == 1


@pytest.mark.gen_test
async def test_close_says_what_it_could_not_deliver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "CLOSE_DEADLINE", 0.05)
    async with running_gateway() as gateway:
        url = gateway.url
    with capture_logs() as logs:
        async with running_events(valkey_at(Path("/nonexistent")), url) as events:
            events.publish(to_group("g_1", "kickMember", {}), members_of="g_1")
    names = [entry["event"] for entry in logs]
    assert "events_lost_at_close" in names
    assert "member_caches_left_stale" in names


@pytest.mark.gen_test
async def test_without_targets_nothing_happens() -> None:
    async with running_events() as events:
        events.publish(to_user(1, "unheard", {}), members_of="g_1")
