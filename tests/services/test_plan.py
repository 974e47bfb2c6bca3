"""A dry run of the migrations: it tells what they would do, and does nothing."""

from pathlib import Path

import pytest
from sqlalchemy import text

from skyeim_ws.services.db import open_database
from skyeim_ws.services.migrations import VERSION_TABLE, SchemaError
from skyeim_ws.services.plan import planned
from tests.services.test_migrations import source

__all__ = ["source"]

TABLES = {
    *("im_friend", "im_friend_request", "im_group", "im_group_invitation"),
    *("im_group_join_request", "im_group_member", "im_message", "ws_event", "ws_group_seq"),
    VERSION_TABLE,
}


def is_there(source: str) -> bool:
    return Path(source).exists()


def created(statements: list[str]) -> set[str]:
    words = [statement.split() for statement in statements]
    return {line[2] for line in words if line[:2] == ["CREATE", "TABLE"]}


@pytest.mark.gen_test
async def test_all_tables_of_an_empty_database(source: str) -> None:
    first = await planned(source)
    assert created(first) == TABLES
    assert sorted(await planned(source)) == sorted(first)  # nothing has changed
    assert not is_there(source)
    await (await open_database(source)).close()
    assert await planned(source) == []


@pytest.mark.gen_test
async def test_what_is_missing_alone_and_by_the_words_that_are_executed(source: str) -> None:
    database = await open_database(source)
    async with database.write() as connection:
        await connection.execute(text("UPDATE ws_schema_version SET version_num = '0001'"))
        await connection.execute(text("DROP TABLE ws_event"))
    await database.close()
    statements = await planned(source)
    assert created(statements) == {"ws_event"}
    assert [line.split()[0] for line in statements] == ["CREATE", "UPDATE"]


@pytest.mark.gen_test
async def test_a_column_and_an_index_of_a_table_that_others_have_made(source: str) -> None:
    database = await open_database(source)
    async with database.write() as connection:
        await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        await connection.execute(text("ALTER TABLE im_group_member DROP COLUMN nickname"))
        on = "" if connection.dialect.name == "sqlite" else " ON im_group_member"
        await connection.execute(text(f"DROP INDEX idx_group_member_user{on}"))
    await database.close()
    statements = await planned(source)
    changes = [line for line in statements if VERSION_TABLE not in line]
    assert [line.split()[0] for line in changes] == ["ALTER", "CREATE"]
    assert "nickname" in changes[0]
    assert "idx_group_member_user" in changes[1]


@pytest.mark.gen_test
async def test_a_newer_schema_is_refused(source: str) -> None:
    database = await open_database(source)
    async with database.write() as connection:
        await connection.execute(text("UPDATE ws_schema_version SET version_num = '9999'"))
    await database.close()
    with pytest.raises(SchemaError, match="9999"):
        await planned(source)
