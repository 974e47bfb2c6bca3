"""The database opens from each kind of data source, and its transactions do not fail each other."""

import asyncio
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, event, insert, select, text
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from skyeim_ws.services import batch
from skyeim_ws.services.data_source import DataSourceError, parse_data_source
from skyeim_ws.services.db import Database, chunks, open_database
from skyeim_ws.services.plan import planned
from skyeim_ws.services.tables import friends, metadata
from tests.services.conftest import befriend
from tests.waiting import until


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("data/im.db", "sqlite+aiosqlite:///data/im.db"),
        ("/var/lib/im.db", "sqlite+aiosqlite:////var/lib/im.db"),
        ("sqlite:////var/lib/im.db", "sqlite+aiosqlite:////var/lib/im.db"),
        (
            "im:p%40@ss:w/rd@tcp(127.0.0.1:3306)/skyeim?charset=utf8mb4&parseTime=true&loc=Local",
            "mysql+asyncmy://im:p%2540%40ss%3Aw%2Frd@127.0.0.1:3306/skyeim?charset=utf8mb4",
        ),
        ("im@tcp([::1]:3306)/im", "mysql+asyncmy://im@[::1]:3306/im?charset=utf8mb4"),
        (
            "im:x@unix(/run/mysql.sock)/im",
            "mysql+asyncmy://im:x@/im?charset=utf8mb4&unix_socket=%2Frun%2Fmysql.sock",
        ),
        ("mysql://im:x@db/im", "mysql+asyncmy://im:x@db/im"),
        ("mariadb+pymysql://im:x@db/im", "mariadb+asyncmy://im:x@db/im"),
    ],
)
def test_a_data_source_is_a_file_a_url_or_a_go_dsn(source: str, expected: str) -> None:
    assert parse_data_source(source).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    "source",
    [
        "",
        ":memory:",
        "im:hidden@tcp(nowhere)/im",
        "im:hidden@tcp(h:x)/im",
        "im:hidden@tcp/im",
        "postgresql://im:hidden@db/im",
        "mysql://im:hidden@db",
        "mysql://im:hidden@db:port/im",
        "sqlite://",
        "://hidden",
    ],
)
def test_a_bad_data_source_is_refused_without_repeating_it(source: str) -> None:
    with pytest.raises(DataSourceError) as caught:
        parse_data_source(source)
    assert "hidden" not in str(caught.value)


@given(st.lists(st.integers()), st.integers(1, 7))
def test_chunks_are_the_values_in_order_and_never_too_long(values: list[int], size: int) -> None:
    parts = chunks(values, size)
    assert [value for part in parts for value in part] == values
    assert all(1 <= len(part) <= size for part in parts)


@pytest.mark.gen_test
async def test_sqlite_survives_power_cuts_and_lets_readers_pass(database: Database) -> None:
    def settings(connection: Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]

    wanted = ["wal", 2, 1, 5000]
    assert await database.run_write(settings) == wanted
    assert await database.run_read(settings) == wanted
    async with database.write() as writing, database.read() as reading:
        assert await writing.run_sync(settings) == wanted
        assert await reading.run_sync(settings) == wanted


@pytest.mark.gen_test
async def test_the_indexes_of_an_existing_deployment_are_there(
    database: Database, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "im.db")) as raw:

        def columns(table: str) -> set[tuple[tuple[str, ...], bool]]:
            return {
                (tuple(c[2] for c in raw.execute(f"PRAGMA index_info({index[1]})")), bool(index[2]))
                for index in raw.execute(f"PRAGMA index_list({table})")
            }

        assert columns("im_message") == {
            (("msg_id",), True),
            (("from_user_id", "to_user_id", "created_at"), False),
            (("to_user_id", "status", "created_at"), False),
            (("group_id", "seq"), False),
        }
        assert (("user_id", "friend_id"), True) in columns("im_friend")
        assert (("group_id",), True) in columns("im_group")
        assert (("group_id", "user_id"), True) in columns("im_group_member")


@pytest.mark.gen_test
async def test_a_file_is_opened_again_with_its_rows(tmp_path: Path) -> None:
    for expected in (0, 2):
        database = await open_database(str(tmp_path / "again.db"))
        async with database.read() as connection:
            assert len((await connection.execute(select(friends))).all()) == expected
        await befriend(database, expected + 1, expected + 2)
        await database.close()


@pytest.mark.gen_test
async def test_what_a_failed_transaction_did_is_undone(database: Database) -> None:
    row = insert(friends).values(user_id=1, friend_id=2)

    def twice(connection: Connection) -> None:
        connection.execute(row)
        connection.execute(row)

    with pytest.raises(IntegrityError) as caught:
        await database.run_write(twice)
    # Parameters may be the content of messages, and errors are logged.
    assert "[SQL parameters hidden" in str(caught.value)
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.run_sync(twice)
    async with database.read() as connection:
        assert (await connection.execute(select(friends))).all() == []


@pytest.mark.gen_test
async def test_writers_of_all_kinds_and_programs_wait_for_each_other(
    database: Database, tmp_path: Path
) -> None:
    """Each reads before it writes, which is where lock upgrades fail."""
    other = await open_database(str(tmp_path / "im.db"))

    def increment(connection: Connection) -> None:
        count = len(connection.execute(select(friends.c.id)).all())
        connection.execute(insert(friends).values(user_id=count, friend_id=count))

    async def in_block(program: Database) -> None:
        async with program.write() as connection:
            await connection.run_sync(increment)

    await asyncio.gather(
        *(in_block(program) for program in (database, other) * 10),
        *(program.run_write(increment) for program in (database, other) * 10),
    )
    await other.close()
    async with database.read() as connection:
        numbers = (await connection.execute(select(friends.c.user_id))).scalars().all()
    assert sorted(numbers) == list(range(40))


@pytest.mark.gen_test
async def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(friends).values(user_id=1, friend_id=2))
        rows = await database.run_read(lambda c: c.execute(select(friends)).all())
        assert rows == []


@pytest.mark.gen_test
async def test_cancelled_transactions_leave_the_database_usable(database: Database) -> None:
    row = insert(friends)

    async def block(number: int) -> None:
        async with database.write() as connection:
            await connection.execute(row.values(user_id=number, friend_id=number))

    async def function(number: int) -> None:
        await database.run_write(
            lambda c: c.execute(row.values(user_id=number, friend_id=number)).rowcount
        )

    tasks = [
        asyncio.ensure_future((block if number % 2 else function)(number)) for number in range(20)
    ]
    for task in tasks[:10]:
        # Each is somewhere else on its way when it is cancelled.
        await asyncio.wait(tasks[10:], timeout=0.001)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await block(100)
    await function(101)
    numbers = await database.run_read(
        lambda c: c.execute(select(friends.c.user_id)).scalars().all()
    )
    assert {*range(10, 20), 100, 101} <= set(numbers)


@pytest.mark.gen_test
async def test_closing_waits_for_what_is_under_way_and_leaves_no_thread(tmp_path: Path) -> None:
    """A connection that comes back after its pool was closed is nobody's."""
    database = await open_database(str(tmp_path / "x.db"))
    began, go_on = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with database.read() as connection:
            await connection.execute(select(1))
            began.set()
            await go_on.wait()

    reading = asyncio.create_task(read())
    await began.wait()
    closing_it = asyncio.create_task(database.close())
    finished, _ = await asyncio.wait({closing_it}, timeout=0.1)
    assert not finished
    go_on.set()
    await asyncio.gather(reading, closing_it)
    await until(lambda: not any("_connection_worker" in t.name for t in threading.enumerate()))


@pytest.mark.gen_test
async def test_work_runs_to_its_end_when_its_caller_is_cancelled(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        begun.set()
        assert go_on.wait(10)
        connection.execute(insert(friends).values(user_id=1, friend_id=2))

    task = asyncio.ensure_future(database.run_write(work))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert await database.run_write(lambda c: len(c.execute(select(friends)).all())) == 1


@pytest.mark.gen_test
async def test_pairs_and_keys_are_found_by_index(database: Database) -> None:
    """Or each batch would read whole tables."""
    statements = {
        batch.KNOWN: ["a", "b"],
        batch.IDS: ["a", "b"],
        batch.FRIENDSHIPS: [(1, 2), (3, 4), (5, 6)],
        batch.MEMBERS: [("g", 1), ("h", 2)],
        batch.GROUPS: ["g", "h"],
        batch.SEQS: ["g", "h"],
        batch.LAST_SEQS: ["g", "h"],
    }

    def plans(connection: Connection) -> list[str]:
        ran: list[tuple[str, Any]] = []
        note = lambda _conn, _cursor, sql, values, _context, _many: ran.append((sql, values))  # noqa: E731
        event.listen(connection, "before_cursor_execute", note)
        for statement, keys in statements.items():
            connection.execute(statement, {"keys": keys})
        event.remove(connection, "before_cursor_execute", note)
        return [
            row[3]
            for sql, values in ran
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        ]

    steps = await database.run_read(plans)
    searched = [step for step in steps if step.startswith("SEARCH im_") or "ws_group_seq" in step]
    assert len(searched) == len(statements)
    assert not [step for step in steps if step.startswith(("SCAN im_", "SCAN ws_"))]


def test_tables_and_statements_are_good_mysql() -> None:
    """They compile, with keys whose case counts and room for the largest content."""
    dialect = mysql.dialect()
    tables = {
        table.name: str(CreateTable(table).compile(dialect=dialect))
        for table in metadata.sorted_tables
    }
    for table in metadata.sorted_tables:
        for index in table.indexes:
            CreateIndex(index).compile(dialect=dialect)
    assert "id BIGINT NOT NULL AUTO_INCREMENT" in tables["im_message"]
    assert "msg_id VARCHAR(64) COLLATE utf8mb4_bin NOT NULL" in tables["im_message"]
    assert "content MEDIUMTEXT NOT NULL" in tables["im_message"]
    assert "created_at DATETIME NOT NULL" in tables["im_message"]
    assert all("CHARSET=utf8mb4" in ddl for ddl in tables.values())
    assert str(batch.SEQS.compile(dialect=dialect)).endswith("FOR UPDATE")


@pytest.mark.gen_test
async def test_mysql_without_its_driver_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    source = "user:password@tcp(127.0.0.1:3306)/skyeim"
    for attempt in (open_database, planned):
        with pytest.raises(DataSourceError) as refusal:
            await attempt(source)
        assert str(refusal.value) == "MySQL needs the package asyncmy: skyeim-ws[mysql]"
