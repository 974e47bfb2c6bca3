"""Events reach Redis first and the gateway second, in order, whoever dies in between."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from structlog.testing import capture_logs

from skyeim_ws.contract.pb import group_pb2 as pb
from skyeim_ws.services import events as events_module
from skyeim_ws.services import outbox, pusher
from skyeim_ws.services.db import Database, open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.notices import to_group, to_user, to_users
from skyeim_ws.services.outbox import Push
from skyeim_ws.services.tables import unix_now, waiting_events
from tests.services.conftest import data_source_in, make_group
from tests.services.peers import running_gateway, running_valkey, valkey_at
from tests.services.serving import serving
from tests.waiting import until

SECRET = "push-secret-of-the-tests"
TLS = Path(__file__).parents[1] / "gateway" / "tls"
CERT, KEY = TLS / "localhost-cert.pem", TLS / "localhost-key.pem"


@asynccontextmanager
async def running_events(folder: Path, *args: Any, **kwargs: Any) -> AsyncIterator[Events]:
    database = await open_database(data_source_in(folder))
    events = Events(database, *args, **kwargs)
    try:
        yield events
    finally:
        await events.close()
        await database.close()


async def publish(events: Events, *pushes: Push, members_of: str = "") -> None:
    async with events.changing() as connection:
        await events.note(connection, *pushes, members_of=members_of)


async def waiting(database: Database) -> int:
    count = select(func.count()).select_from(waiting_events)
    return await database.run_read(lambda connection: connection.scalar(count) or 0)


@asynccontextmanager
async def database_in(folder: Path) -> AsyncIterator[Database]:
    database = await open_database(data_source_in(folder))
    try:
        yield database
    finally:
        await database.close()


async def unused_url() -> str:
    async with running_gateway() as gateway:
        return gateway.url


@pytest.mark.gen_test
async def test_pushes_arrive_in_order_with_the_secret(tmp_path: Path) -> None:
    async with (
        running_gateway() as gateway,
        running_events(tmp_path, None, gateway.url, SECRET) as events,
    ):
        invited = {"memberIds": [2, 3]}
        await publish(
            events, to_group("g_1", "inviteMember", invited, but=[2, 3]), to_users([2, 3], "x", {})
        )
        for n in range(20):
            await publish(events, to_user(1, "n", {"n": n}))
        await gateway.heard("n", 20)
        assert gateway.calls[:3] == [
            {
                "type": "group",
                "groupId": "g_1",
                "eventType": "inviteMember",
                "eventData": {"memberIds": [2, 3]},
                "exceptUserIds": [2, 3],
            },
            {"type": "user", "userId": 2, "notificationType": "x", "data": {}},
            {"type": "user", "userId": 3, "notificationType": "x", "data": {}},
        ]
        assert [call["data"]["n"] for call in gateway.of_kind("n")] == list(range(20))
        assert gateway.secrets == {SECRET}


@pytest.mark.gen_test
async def test_events_outlive_the_process_between_commit_and_push(tmp_path: Path) -> None:
    """The rows are what a process has left that was killed after its commit."""
    async with running_gateway() as gateway:
        async with database_in(tmp_path) as database, database.write() as connection:
            await outbox.add(connection, "", [to_user(1, "first", {}), to_user(1, "second", {})])
        async with running_events(tmp_path, None, gateway.url):
            await gateway.heard("second")
        assert [call["notificationType"] for call in gateway.calls] == ["first", "second"]
        async with database_in(tmp_path) as database:
            assert await waiting(database) == 0


@pytest.mark.gen_test
async def test_nothing_is_told_of_a_change_that_was_undone(tmp_path: Path) -> None:
    async with (
        running_gateway() as gateway,
        running_events(tmp_path, None, gateway.url) as events,
    ):
        with suppress(ZeroDivisionError):
            async with events.changing() as connection:
                await events.note(connection, to_user(1, "undone", {}))
                raise ZeroDivisionError
        await publish(events, to_user(1, "next", {}))
        await gateway.heard("next")
        assert gateway.of_kind("undone") == []


@pytest.mark.gen_test
async def test_each_new_member_is_told_once(tmp_path: Path) -> None:
    async with running_gateway() as gateway, serving(tmp_path, push_url=gateway.url) as services:
        await make_group(services.database, "g_1", 1)
        await services.group.InviteMembers(
            pb.InviteMembersReq(group_id="g_1", inviter_id=1, member_ids=[2, 3])
        )
        await gateway.heard("inviteMember", 3)
    group, *users = gateway.of_kind("inviteMember")
    assert group["exceptUserIds"] == [2, 3]
    assert [user["userId"] for user in users] == [2, 3]


@pytest.mark.gen_test
async def test_member_cache_is_deleted_before_the_push(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as client:
        client.sadd("im:group:members:g_1", 1, 2)
        client.sadd("im:group:members:g_2", 1, 2)
        cached: list[object] = []
        async with (
            running_gateway() as gateway,
            running_events(tmp_path, valkey_at(tmp_path), gateway.url) as events,
        ):
            gateway.on_call = lambda: cached.append(client.exists("im:group:members:g_1"))
            for n in range(1, 4):
                client.sadd("im:group:members:g_1", 1, 2)
                await publish(events, to_group("g_1", "kickMember", {}), members_of="g_1")
                await gateway.heard("kickMember", n)
        assert cached == [0, 0, 0]
        assert client.exists("im:group:members:g_2") == 1


@pytest.mark.gen_test
async def test_member_caches_do_not_wait_for_a_gateway_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 2)
    with running_valkey(tmp_path) as client:
        async with running_events(tmp_path, valkey_at(tmp_path), await unused_url()) as events:
            for n in range(5):
                client.sadd(f"im:group:members:g_{n}", 1, 2)
                await publish(events, to_group(f"g_{n}", "kickMember", {}), members_of=f"g_{n}")
            await until(lambda: not client.keys("im:group:members:*"))


@pytest.mark.gen_test
async def test_member_cache_outlives_a_redis_outage(tmp_path: Path) -> None:
    """A stale cache would show a wrong group for days."""
    with running_valkey(tmp_path) as client:
        client.sadd("im:group:members:g_1", 1, 2)
        client.save()
    async with running_events(tmp_path, valkey_at(tmp_path)) as events:
        with capture_logs() as logs:
            await publish(events, members_of="g_1")
            await until(lambda: any(entry["event"] == "events_delayed" for entry in logs))
    with running_valkey(tmp_path) as client:
        assert client.exists("im:group:members:g_1")
        async with running_events(tmp_path, valkey_at(tmp_path)):
            await until(lambda: not client.exists("im:group:members:g_1"))


@pytest.mark.gen_test
async def test_events_wait_for_a_gateway_that_is_away(tmp_path: Path) -> None:
    port = int((await unused_url()).rpartition(":")[2])
    async with running_events(tmp_path, None, f"http://127.0.0.1:{port}/") as events:
        with capture_logs() as logs:
            await publish(events, to_user(1, "early", {}))
            await until(lambda: any(entry["event"] == "events_delayed" for entry in logs))
            async with running_gateway(port) as gateway:
                await gateway.heard("early")
                await until(lambda: any(entry["event"] == "events_flow_again" for entry in logs))


@pytest.mark.gen_test
async def test_of_one_event_to_many_each_user_hears_once_over_an_outage(tmp_path: Path) -> None:
    async with (
        running_gateway() as gateway,
        running_events(tmp_path, None, gateway.url) as events,
    ):
        gateway.on_call = lambda: gateway.statuses.append(503) if len(gateway.calls) < 3 else None
        await publish(events, to_users([1, 2, 3, 4], "x", {}))
        await gateway.heard("x", 4)
    assert gateway.refused == 3
    assert [call["userId"] for call in gateway.calls] == [1, 2, 3, 4]


@pytest.mark.gen_test
async def test_event_is_retried_on_server_errors_and_given_up_on_refusal(tmp_path: Path) -> None:
    async with (
        running_gateway() as gateway,
        running_events(tmp_path, None, gateway.url, SECRET) as events,
    ):
        with capture_logs() as logs:
            gateway.statuses.extend([503, 500, 401])
            await publish(events, to_user(1, "refused", {"text": "private"}))
            await publish(events, to_user(1, "next", {}))
            await gateway.heard("next")
        assert gateway.refused == 3
        assert gateway.of_kind("refused") == []
        refusals = [entry for entry in logs if entry["event"] == "push_refused"]
        assert [entry["status"] for entry in refusals] == [401]
        assert SECRET not in str(logs)
        assert "private" not in str(logs)


@pytest.mark.gen_test
async def test_a_push_that_the_gateway_cannot_serve_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pusher, "FAULTS", 3)
    async with (
        running_gateway() as gateway,
        running_events(tmp_path, None, gateway.url) as events,
    ):
        gateway.statuses.extend([500, 500, 500])
        await publish(events, to_user(1, "poison", {}))
        await publish(events, to_user(1, "next", {}))
        await gateway.heard("next")
    assert [call["notificationType"] for call in gateway.calls] == ["next"]


@pytest.mark.gen_test
async def test_an_event_that_is_too_old_is_dropped_with_a_log_event(tmp_path: Path) -> None:
    async with database_in(tmp_path) as database, database.write() as connection:
        old = unix_now() - outbox.LIFETIME - 1
        push = '{"type":"user","userIds":[1],"notificationType":"old","data":{}}'
        await connection.execute(insert(waiting_events).values(push=push, created_at=old))
    with capture_logs() as logs:
        async with (
            running_gateway() as gateway,
            running_events(tmp_path, None, gateway.url) as events,
        ):
            await publish(events, to_user(1, "new", {}))
            await gateway.heard("new")
    assert [call["notificationType"] for call in gateway.calls] == ["new"]
    dropped = [entry for entry in logs if entry["event"] == "event_dropped"]
    assert [(entry["cause"], entry["pushes"]) for entry in dropped] == [("too_old", ["old"])]


@pytest.mark.gen_test
async def test_a_full_outbox_is_told_of_and_drops_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "LIMIT", 3)
    monkeypatch.setattr(events_module, "MANY", 2)
    with capture_logs() as logs:
        async with running_events(tmp_path, None, await unused_url()) as events:
            for n in range(3):
                await publish(events, to_user(1, "n", {"n": n}))
            await until(lambda: any(entry["event"] == "events_pile_up" for entry in logs))
            await publish(events, to_user(1, "n", {"n": 3}))
    dropped = [entry["cause"] for entry in logs if entry["event"] == "event_dropped"]
    assert dropped == ["outbox_full"]
    assert "events_wait_for_restart" in [entry["event"] for entry in logs]
    async with running_gateway() as gateway:
        async with running_events(tmp_path, None, gateway.url):
            await gateway.heard("n", 3)
        assert [call["data"]["n"] for call in gateway.calls] == [0, 1, 2]


@pytest.mark.gen_test
async def test_close_delivers_what_is_queued(tmp_path: Path) -> None:
    async with running_gateway() as gateway:
        async with running_events(tmp_path, None, gateway.url) as events:
            await publish(events, to_user(1, "last", {}))
        assert len(gateway.of_kind("last")) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("known", [True, False])
async def test_over_tls_a_gateway_is_known_by_its_certificate_alone(
    tmp_path: Path, known: bool
) -> None:
    """Both certificates name localhost, and the address is 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERT, KEY)
    other = CERT if known else TLS / "other-cert.pem"
    with capture_logs() as logs:
        async with (
            running_gateway(tls=context) as gateway,
            running_events(tmp_path, None, gateway.url, push_cert=str(other)) as events,
        ):
            await publish(events, to_user(1, "safe", {}))
            if known:
                await gateway.heard("safe")
            else:
                await until(lambda: any(entry["event"] == "events_delayed" for entry in logs))
                assert gateway.calls == []


@pytest.mark.gen_test
async def test_without_targets_nothing_happens(tmp_path: Path) -> None:
    async with running_events(tmp_path) as events, database_in(tmp_path) as database:
        await publish(events, to_user(1, "unheard", {}), members_of="g_1")
        assert await waiting(database) == 0
