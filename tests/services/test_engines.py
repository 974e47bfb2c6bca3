"""What MariaDB does that SQLite does not: many writers, deadlocks, lost connections, its death."""

import asyncio
import sys

import grpc
import pytest
from sqlalchemy import Connection, insert, text
from structlog.testing import capture_logs

from skyeim_ws.contract.pb import friend_pb2, group_pb2
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services.data_source import DataSourceError
from skyeim_ws.services.db import open_database
from skyeim_ws.services.tables import friends
from tests.services.conftest import Services, befriend, make_group
from tests.services.mariadb import DATABASE, MariaDB, tmp_path  # noqa: F401
from tests.services.test_message import grouped, private
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("mariadb")


def waiting_threads(server: MariaDB) -> list[object]:
    """Return the connections that run a statement while somebody waits for another's lock."""
    # Not from innodb_trx, which shows an old picture to whoever asks often.
    ((_, waits),) = server.execute("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
    rows = server.execute(
        "SELECT id FROM information_schema.processlist"
        f" WHERE command = 'Query' AND db = '{DATABASE}' AND id != CONNECTION_ID()"
    )
    return [thread for (thread,) in rows] if waits != "0" else []


@pytest.mark.gen_test
async def test_each_form_of_data_source_opens_with_a_session_of_known_settings(
    mariadb: MariaDB,
) -> None:
    mariadb.execute(
        "CREATE USER IF NOT EXISTS im@'127.0.0.1' IDENTIFIED BY 'p@ss:w/d'",
        f"GRANT ALL ON {DATABASE}.* TO im@'127.0.0.1'",
    )

    def settings(connection: Connection) -> list[object]:
        names = ("time_zone", "tx_isolation", "character_set_connection", "sql_mode")
        return [connection.execute(text(f"SELECT @@{name}")).scalar() for name in names]

    options = "charset=utf8mb4&parseTime=true&loc=Asia%2FShanghai"
    for source in (
        f"im:p@ss:w/d@tcp({mariadb.address})/{DATABASE}?{options}",
        f"mysql://im:p@ss:w/d@tcp({mariadb.address})/{DATABASE}?{options}",
        f"mysql://im:p%40ss%3Aw%2Fd@{mariadb.address}/{DATABASE}?{options}",
        f"mariadb://im:p%40ss%3Aw%2Fd@{mariadb.address}/{DATABASE}",
    ):
        database = await open_database(source)
        zone, isolation, charset, mode = await database.run_read(settings)
        assert (zone, isolation, charset) == ("+00:00", "READ-COMMITTED", "utf8mb4")
        assert "STRICT_TRANS_TABLES" in str(mode)
        await database.close()


@pytest.mark.gen_test
async def test_requests_that_cross_make_one_friendship_and_no_error(services: Services) -> None:
    """Each transaction may wait for the other's row, a deadlock, which a retry resolves."""
    ask = services.friend.AddFriendRequest
    pairs = [(n, 100 + n) for n in range(1, 13)]
    await asyncio.gather(
        *(
            ask(friend_pb2.AddFriendRequestReq(from_user_id=sender, to_user_id=receiver))
            for one, other in pairs
            for sender, receiver in ((one, other), (other, one))
        )
    )
    for pair in pairs:
        for user_id, friend_id in (pair, pair[::-1]):
            request = friend_pb2.IsFriendReq(user_id=user_id, friend_id=friend_id)
            assert (await services.friend.IsFriend(request)).is_friend


@pytest.mark.gen_test
async def test_a_call_that_loses_a_deadlock_is_run_again(
    services: Services, mariadb: MariaDB
) -> None:
    """It holds the group and waits for a member; the other transaction does the reverse."""
    await make_group(services.database, "g", 1, [2])
    with capture_logs() as logs:
        async with services.database.write() as other:
            # The server ends the transaction that has written less.
            for friend_id in range(20):
                await other.execute(insert(friends).values(user_id=9, friend_id=friend_id))
            await other.execute(text("SELECT id FROM im_group_member FOR UPDATE"))
            request = group_pb2.QuitGroupReq(group_id="g", user_id=2)
            leaving = asyncio.ensure_future(services.group.QuitGroup(request))
            await until(lambda: waiting_threads(mariadb))
            await other.execute(text("SELECT id FROM im_group FOR UPDATE"))
        assert (await leaving).success
    assert "rpc_retried" in [each["event"] for each in logs]


@pytest.mark.gen_test
async def test_who_reads_on_from_an_id_misses_nobody_that_commits_late(services: Services) -> None:
    senders = range(2, 12)
    for sender in senders:
        await befriend(services.database, 1, sender)
    seen: list[int] = []

    async def read_on() -> None:
        since = pb.GetMessagesSinceReq(user_id=1, after_id=seen[-1] if seen else 0, limit=100)
        seen.extend(info.id for info in (await services.message.GetMessagesSince(since)).list)

    async def send(sender: int) -> list[int]:
        calls = (services.message.SendMessage(private(f"{sender}-{n}", sender, 1)) for n in "abcde")
        return [(await call).id for call in calls]

    sending = asyncio.gather(*map(send, senders))
    while not sending.done():
        await read_on()
    await read_on()
    assert seen == sorted(id_ for ids in await sending for id_ in ids)


@pytest.mark.gen_test
async def test_connections_that_the_server_has_closed_are_replaced_unnoticed(
    services: Services, mariadb: MariaDB
) -> None:
    await befriend(services.database, 1, 2)
    with capture_logs() as logs:
        for number in range(3):
            threads = mariadb.execute(
                f"SELECT id FROM information_schema.processlist WHERE db = '{DATABASE}'"
                " AND id != CONNECTION_ID()"
            )
            assert threads
            mariadb.execute(*(f"KILL {thread}" for (thread,) in threads))
            assert (await services.message.SendMessage(private(f"m{number}"))).id
            count = await services.message.GetUnreadCount(pb.GetUnreadCountReq(user_id=2))
            assert count.count == number + 1
    assert [each["event"] for each in logs] == []


@pytest.mark.gen_test
async def test_a_call_that_may_happen_twice_survives_its_connection(
    services: Services, mariadb: MariaDB
) -> None:
    """The connection is killed under a statement that waits for a lock."""
    await make_group(services.database, "g", 1)
    await services.message.SendGroupMessage(grouped("first"))
    async with services.database.write() as blocker:
        await blocker.execute(text("SELECT * FROM ws_group_seq FOR UPDATE"))
        sending = asyncio.ensure_future(services.message.SendGroupMessage(grouped("second")))
        await until(lambda: waiting_threads(mariadb))
        mariadb.execute(*(f"KILL {thread}" for thread in waiting_threads(mariadb)))
    assert (await sending).seq == 2


@pytest.mark.gen_test
async def test_what_was_answered_survives_the_death_of_the_database(
    services: Services, mariadb: MariaDB
) -> None:
    """While it is away calls are UNAVAILABLE at once; when it is back they work again."""
    await make_group(services.database, "g", 1)
    answered: dict[str, pb.SendGroupMessageResp] = {}
    failed: dict[str, grpc.StatusCode] = {}
    enough = asyncio.Event()

    async def send_until_it_fails(sender: int) -> None:
        for number in range(100_000):
            msg_id = f"{sender}-{number}"
            try:
                answered[msg_id] = await services.message.SendGroupMessage(grouped(msg_id))
            except grpc.aio.AioRpcError as error:
                failed[msg_id] = error.code()
                return
            if len(answered) >= 40:
                enough.set()

    with capture_logs() as logs:
        senders = [asyncio.ensure_future(send_until_it_fails(number)) for number in range(8)]
        await enough.wait()
        mariadb.kill()
        try:
            await asyncio.gather(*senders)
            assert set(failed.values()) == {grpc.StatusCode.UNAVAILABLE}
            assert len(failed) == len(senders)
        finally:
            mariadb.start()
            mariadb.wait_ready()
        for msg_id in (*answered, *failed):
            again = await services.message.SendGroupMessage(grouped(msg_id))
            assert answered.setdefault(msg_id, again) == again
    assert sorted(each.seq for each in answered.values()) == list(range(1, len(answered) + 1))
    names = [each["event"] for each in logs if each["log_level"] != "debug"]
    assert names == ["database_lost", "database_recovered"]


@pytest.mark.gen_test
async def test_without_the_driver_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    with pytest.raises(DataSourceError, match=r"asyncmy.*skyeim-ws\[mysql\]"):
        await open_database("mysql://im@127.0.0.1/im")
