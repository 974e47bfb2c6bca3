"""The migrations lead to the tables that the services use, once, however many run them."""

import asyncio
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, select, text

from skyeim_ws.services import migrations
from skyeim_ws.services.db import open_database
from skyeim_ws.services.migrations import VERSION_TABLE, SchemaError
from skyeim_ws.services.tables import friends, metadata
from tests.services.mariadb import MariaDB

OPEN = """
import asyncio, sys
from skyeim_ws.services import migrations
from skyeim_ws.services.db import open_database
async def main():
    await (await open_database(sys.argv[1])).close()
asyncio.run(main())
"""


@pytest.fixture(
    params=["sqlite", pytest.param("mariadb", marks=pytest.mark.xdist_group("mariadb"))]
)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return str(tmp_path / "im.db")
    server: MariaDB = request.getfixturevalue("mariadb_server")
    return server.fresh("skyeim_empty")


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return list(compare_metadata(context, metadata))


@pytest.mark.gen_test
async def test_an_empty_database_gets_the_tables_of_the_services(source: str) -> None:
    """Or a change in `tables` lacks its revision."""
    database = await open_database(source)
    assert await database.run_read(differences) == []
    await database.close()


@pytest.mark.gen_test
async def test_a_database_without_a_version_is_completed_and_keeps_its_rows(source: str) -> None:
    database = await open_database(source)
    async with database.write() as connection:
        await connection.execute(insert(friends).values(user_id=1, friend_id=2))
        await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        await connection.execute(text("DROP TABLE im_group"))
        await connection.execute(text("ALTER TABLE im_group_member DROP COLUMN nickname"))
        await connection.execute(
            text(
                "DROP INDEX idx_group_member_user ON im_group_member"
                if connection.dialect.name != "sqlite"
                else "DROP INDEX idx_group_member_user"
            )
        )
    await database.close()
    database = await open_database(source)
    assert await database.run_read(differences) == []
    rows = await database.run_read(lambda c: c.execute(select(friends.c.friend_id)).all())
    assert [tuple(row) for row in rows] == [(2,)]
    await database.close()


@pytest.mark.gen_test
async def test_processes_that_start_at_once_do_not_collide(source: str) -> None:
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN, source, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    said = [(await child.communicate())[1].decode() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], said


@pytest.mark.gen_test
async def test_a_database_of_a_newer_version_is_refused(source: str) -> None:
    database = await open_database(source)
    async with database.write() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    await database.close()
    with pytest.raises(SchemaError, match="9999"):
        await open_database(source)


@pytest.mark.gen_test
@pytest.mark.xdist_group("mariadb")
async def test_a_migration_that_never_ends_elsewhere_is_not_waited_for_forever(
    mariadb_server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mariadb_server.fresh("skyeim_empty")
    database = await open_database(source)
    monkeypatch.setattr(migrations, "LOCK_DEADLINE", 0)
    async with database.write() as connection:
        await connection.execute(text("SELECT GET_LOCK('skyeim_ws.skyeim_empty', 0)"))
        with pytest.raises(SchemaError, match="another process"):
            await open_database(source)
        await connection.execute(text("SELECT RELEASE_ALL_LOCKS()"))
    await (await open_database(source)).close()
    await database.close()
