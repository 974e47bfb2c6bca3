"""A database that the Go services have made is taken over as it is, and used rightly."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tornado.ioloop import IOLoop

from skyeim_ws.contract.pb import friend_pb2, group_pb2
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.services.db import open_database
from skyeim_ws.services.migrations import SchemaError
from skyeim_ws.services.tables import unix_now
from tests.services.conftest import Services, start_services
from tests.services.mariadb import MariaDB
from tests.services.serving import INVALID, refused
from tests.services.test_message import grouped, private

pytestmark = pytest.mark.xdist_group("mariadb")

GO_TABLES = ("im_message", "im_friend", "im_friend_request", "im_group", "im_group_member")
SCHEMA = Path(__file__).parents[1] / "data" / "go_schema.sql"
THEN = 1_700_000_000


class GoDatabase:
    """A database of the Go services on a MariaDB of the test's own."""

    def __init__(self, server: MariaDB) -> None:
        self._server = server
        self.source = server.fresh("skyeim_go")
        self.execute(*SCHEMA.read_text().split(";\n"))

    def execute(self, *statements: str) -> list[tuple[object, ...]]:
        wanted = [statement for statement in statements if statement.strip()]
        return self._server.execute("SET time_zone = '+00:00'", *wanted, database="skyeim_go")

    def definition(self, table: str) -> list[str]:
        ((_, ddl),) = self.execute(f"SHOW CREATE TABLE {table}")
        return [line.strip().rstrip(",") for line in str(ddl).splitlines()]

    def rows(self, table: str) -> list[tuple[object, ...]]:
        return self.execute(f"SELECT * FROM {table} ORDER BY id")


@pytest.fixture
def go(mariadb: MariaDB) -> GoDatabase:
    return GoDatabase(mariadb)


@pytest.fixture
def services(io_loop: IOLoop, go: GoDatabase, tmp_path: Path) -> Iterator[Services]:
    """Our services over the database of the Go services."""
    (tmp_path / "data_source").write_text(go.source)
    stack = AsyncExitStack()
    yield io_loop.run_sync(lambda: start_services(stack, tmp_path))
    io_loop.run_sync(stack.aclose)


async def migrate(source: str) -> None:
    await (await open_database(source)).close()


@pytest.mark.gen_test
async def test_tables_keep_their_columns_indexes_and_rows(go: GoDatabase) -> None:
    before = {table: (go.definition(table), go.rows(table)) for table in GO_TABLES}
    await migrate(go.source)
    for table, (definition, rows) in before.items():
        # The first line names the table, the last its engine and next id.
        assert set(definition[1:-1]) <= set(go.definition(table))
        assert go.rows(table) == rows
    # All that an index of theirs serves already is left alone.
    added = {t: set(go.definition(t)[1:-1]) - set(before[t][0]) for t in GO_TABLES}
    assert {table: len(lines) for table, lines in added.items() if lines} == {
        "im_friend_request": 2
    }
    again = {table: go.definition(table) for table in GO_TABLES}
    await migrate(go.source)
    assert {table: go.definition(table) for table in GO_TABLES} == again


@pytest.mark.gen_test
async def test_messages_are_read_with_times_status_and_mentions(services: Services) -> None:
    page = await services.message.GetMessageList(pb.GetMessageListReq(user_id=2, peer_id=1))
    seen = [(each.msg_id, each.status, each.created_at, each.content) for each in page.list]
    assert seen == [
        ("go-3", 2, THEN + 2, "recalled"),
        ("go-2", 0, THEN + 1, "unread 🦊"),
        ("go-1", 1, THEN, "read"),
    ]
    unread = await services.message.GetUnreadMessages(pb.GetUnreadMessagesReq(user_id=2))
    assert [each.msg_id for each in unread.list] == ["go-2"]
    synced = await services.message.GetGroupMessagesBySeq(
        pb.GetGroupMessagesBySeqReq(user_id=2, group_id="g-go")
    )
    assert [(m.seq, list(m.at_user_ids), m.created_at) for m in synced.list] == [
        (41, [2], THEN + 3),
        (42, [1, -1], THEN + 4),
    ]
    mine = await services.message.GetAtMeMessages(pb.GetAtMeMessagesReq(user_id=2, group_id="g-go"))
    assert [each.seq for each in mine.list] == [42, 41]


@pytest.mark.gen_test
async def test_friends_requests_and_groups_are_read_with_their_times(services: Services) -> None:
    friends = await services.friend.GetFriendList(friend_pb2.GetFriendListReq(user_id=1))
    assert [(f.friend_id, f.remark, f.created_at) for f in friends.list] == [(2, "two", THEN)]
    blocked = await services.friend.GetBlacklist(friend_pb2.GetBlacklistReq(user_id=1))
    assert [(f.friend_id, f.created_at) for f in blocked.list] == [(3, 0)]
    asked = await services.friend.GetFriendRequestList(
        friend_pb2.GetFriendRequestListReq(user_id=1)
    )
    assert [(r.from_user_id, r.message, r.created_at) for r in asked.list] == [(4, "", THEN + 1)]
    groups = await services.group.GetUserGroupList(group_pb2.GetUserGroupListReq(user_id=1))
    assert [(g.group_id, g.name, g.created_at) for g in groups.groups] == [("g-go", "Tea", THEN)]
    members = await services.group.GetMemberList(group_pb2.GetMemberListReq(group_id="g-go"))
    seats = {m.user_id: (m.role, m.read_seq, m.joined_at) for m in members.members}
    assert seats == {1: (1, 41, THEN), 2: (3, 0, THEN)}


@pytest.mark.gen_test
async def test_what_we_write_stands_as_the_go_services_would_write_it(
    services: Services, go: GoDatabase
) -> None:
    before = unix_now()
    sent = await services.message.SendMessage(private("new"))
    request = friend_pb2.AddFriendRequestReq(from_user_id=1, to_user_id=9)
    await services.friend.AddFriendRequest(request)
    await services.friend.HandleFriendRequest(
        friend_pb2.HandleFriendRequestReq(user_id=1, request_id=2, action=1)
    )
    kept: dict[str, object] = {
        "message": go.execute("SELECT UNIX_TIMESTAMP(created_at) FROM im_message WHERE id > 1005"),
        "request": go.execute("SELECT created_at FROM im_friend_request WHERE to_user_id = 9"),
        "answer": go.execute("SELECT updated_at FROM im_friend_request WHERE id = 2"),
        "friend": go.execute("SELECT UNIX_TIMESTAMP(created_at) FROM im_friend WHERE user_id = 4"),
    }
    for what, rows in kept.items():
        assert isinstance(rows, list)
        ((when,),) = rows
        assert before <= when <= unix_now(), what
    assert sent.id == 1006


@pytest.mark.gen_test
async def test_seq_and_idempotence_go_on_where_they_were(services: Services) -> None:
    answers = [
        await services.message.SendGroupMessage(grouped(msg_id, 1, "g-go"))
        for msg_id in ("go-g41", "new-1", "new-2", "new-1")
    ]
    assert [answer.seq for answer in answers] == [41, 43, 44, 43]
    assert [answer.created_at == THEN + 3 for answer in answers] == [True, False, False, False]


@pytest.mark.gen_test
async def test_what_their_tables_cannot_hold_fails_alone(services: Services) -> None:
    """Their collation takes "New" for "new", and their TEXT is a byte short of the largest."""
    items = [private("new"), private("New"), private("long", content="🦊" * 16_384), private("b")]
    response = await services.message.SendBatch(
        pb.SendBatchReq(items=[pb.SendItem(private=item) for item in items])
    )
    reasons = [result.reason for result in response.results]
    assert reasons == ["", "msg_id_conflict", "invalid", ""]
    with refused(*INVALID):
        await services.friend.UpdateFriendRemark(
            friend_pb2.UpdateFriendRemarkReq(user_id=1, friend_id=2, remark="x" * 64)
        )


@pytest.mark.gen_test
async def test_a_column_that_allows_no_null_takes_messages_without_mentions(
    services: Services, go: GoDatabase
) -> None:
    go.execute(
        "UPDATE im_message SET at_user_ids = '[]' WHERE at_user_ids IS NULL",
        "ALTER TABLE im_message MODIFY at_user_ids varchar(255) NOT NULL DEFAULT ''",
    )
    assert (await services.message.SendMessage(private("new"))).id
    page = await services.message.GetMessageList(pb.GetMessageListReq(user_id=2, peer_id=1))
    assert [list(each.at_user_ids) for each in page.list] == [[]] * 4


@pytest.mark.gen_test
async def test_missing_tables_columns_and_indexes_are_added(go: GoDatabase) -> None:
    go.execute(
        "DROP TABLE im_friend",
        "ALTER TABLE im_message DROP COLUMN at_user_ids, DROP COLUMN updated_at, DROP COLUMN seq,"
        " DROP INDEX idx_group_seq, DROP INDEX uk_msg_id, ADD INDEX idx_message_group_seq (status)",
        "ALTER TABLE im_group_member DROP COLUMN nickname, DROP INDEX uk_group_user",
    )
    with capture_logs() as logs:
        await migrate(go.source)
    added = {(each["table"], each["column"]) for each in logs if each["event"] == "column_added"}
    assert added == {
        ("im_message", "at_user_ids"),
        ("im_message", "updated_at"),
        ("im_message", "seq"),
        ("im_group_member", "nickname"),
    }
    definition = go.definition("im_message")
    assert "UNIQUE KEY `uk_message_msg_id` (`msg_id`)" in definition
    assert "KEY `idx_message_group_seq_ws` (`group_id`,`seq`)" in definition
    assert "UNIQUE KEY `uk_group_member` (`group_id`,`user_id`)" in go.definition("im_group_member")
    assert go.execute("SELECT COUNT(*) FROM im_friend") == [(0,)]
    assert set(go.execute("SELECT seq, updated_at FROM im_message")) == {(0, None)}


@pytest.mark.gen_test
async def test_a_table_that_is_no_message_table_is_refused(go: GoDatabase) -> None:
    go.execute("ALTER TABLE im_message DROP COLUMN msg_id")
    with pytest.raises(SchemaError, match="im_message has no column msg_id"):
        await migrate(go.source)


@pytest.mark.gen_test
async def test_a_column_that_our_rows_would_lack_is_named_in_the_log(go: GoDatabase) -> None:
    go.execute("ALTER TABLE im_friend ADD COLUMN source int NOT NULL, ADD COLUMN extra int NULL")
    with capture_logs() as logs:
        await migrate(go.source)
    warnings = [each for each in logs if each["log_level"] == "warning"]
    assert [(w["event"], w["table"], w["column"]) for w in warnings] == [
        ("unknown_column_has_no_default", "im_friend", "source")
    ]
