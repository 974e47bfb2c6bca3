"""The tables of a SkyeIM database, and two of our own: the sequence of each group, and events.

Whatever a time is in the database, `UnixSeconds` shows it as an integer. The tables are made and
changed by `migrations`, which is where a change of this page belongs too.
"""

import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.types import TypeDecorator, TypeEngine

PRIVATE, GROUP = 1, 2
"""`im_message.chat_type`."""

UNREAD, READ, RECALLED = 0, 1, 2
"""`im_message.status`; group messages stay UNREAD."""

NORMAL, BLOCKED = 1, 2
"""`im_friend.status`."""

PENDING, ACCEPTED, REFUSED = 0, 1, 2
"""`status` of friend requests, invitations and join requests."""

ACTIVE, DISMISSED = 1, 2
"""`im_group.status`."""

OWNER, ADMIN, MEMBER = 1, 2, 3
"""`im_group_member.role`."""


def unix_now() -> int:
    """Return the present Unix time in seconds."""
    return int(time.time())


class UnixSeconds(TypeDecorator[int]):
    """A time that Python sees as Unix seconds; `column` is its "table.column".

    An existing database has DATETIME, TIMESTAMP or, of Unix seconds, BIGINT: what a column is
    there, the dialect of the engine knows from `use_integer_times`.
    """

    impl = DateTime
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the column has in the database of this dialect."""
        return dialect.type_descriptor(BigInteger() if self._is_integer(dialect) else DateTime())

    def process_bind_param(self, value: int | None, dialect: Dialect) -> datetime | int | None:
        """Turn Unix seconds into what the column holds: a naive UTC datetime, or the same."""
        if value is None or self._is_integer(dialect):
            return value
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)

    def process_result_value(self, value: object, dialect: Dialect) -> int | None:
        """Turn what the column holds into Unix seconds."""
        if isinstance(value, datetime):
            return int(value.replace(tzinfo=UTC).timestamp())
        # MySQL's zero date, which is no time, comes as text.
        return value if isinstance(value, int) else None

    def _is_integer(self, dialect: Dialect) -> bool:
        return self.column in getattr(dialect, "integer_times", ())


def find_integer_times(connection: Connection) -> frozenset[str]:
    """Return the times, as "table.column", that this database keeps as integers."""
    types = {
        f"{table}.{column['name']}": column["type"]
        for (_, table), columns in inspect(connection).get_multi_columns().items()
        for column in columns
    }
    return frozenset(
        column.type.column
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UnixSeconds)
        and isinstance(types.get(column.type.column), Integer)
    )


def use_integer_times(dialect: Dialect, columns: frozenset[str]) -> None:
    """Tell the dialect of an engine, before its first statement, which times are integers."""
    # A fact about one database: the tables are shared by all that are open.
    dialect.integer_times = columns  # type: ignore[attr-defined]


metadata = MetaData()

# SQLite only numbers a column by itself that is declared INTEGER PRIMARY KEY.
_Id = BigInteger().with_variant(Integer, "sqlite")
# 16,384 characters of four bytes each are one byte more than a MySQL TEXT holds.
_Content = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
# MySQL's usual collations take "a" and "A" for one key; clients' ids differ in case.
_Key = String(64).with_variant(String(64, collation="utf8mb4_bin"), "mysql", "mariadb")
_MYSQL: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
}


def _time(table: str, name: str, **options: Any) -> Column[int]:
    return Column(name, UnixSeconds(f"{table}.{name}"), nullable=False, default=unix_now, **options)


def _times(table: str) -> tuple[Column[int], Column[int]]:
    return _time(table, "created_at"), _time(table, "updated_at", onupdate=unix_now)


messages = Table(
    "im_message",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("msg_id", _Key, nullable=False, unique=True),
    Column("from_user_id", BigInteger, nullable=False),
    Column("to_user_id", BigInteger, nullable=False, default=0),
    Column("chat_type", SmallInteger, nullable=False, default=PRIVATE),
    Column("group_id", _Key, nullable=False, default=""),
    Column("seq", BigInteger, nullable=False, default=0),
    Column("content", _Content, nullable=False),
    Column("content_type", SmallInteger, nullable=False, default=1),
    Column("status", SmallInteger, nullable=False, default=UNREAD),
    Column("at_user_ids", Text),
    *_times("im_message"),
    Index("idx_message_conversation", "from_user_id", "to_user_id", "created_at"),
    Index("idx_message_receiver", "to_user_id", "status", "created_at"),
    Index("idx_message_group_seq", "group_id", "seq"),
    **_MYSQL,
)
"""`at_user_ids` is a JSON array, or NULL."""

friends = Table(
    "im_friend",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("user_id", BigInteger, nullable=False),
    Column("friend_id", BigInteger, nullable=False),
    Column("remark", String(64), nullable=False, default=""),
    Column("status", SmallInteger, nullable=False, default=NORMAL),
    *_times("im_friend"),
    UniqueConstraint("user_id", "friend_id", name="uk_friend_pair"),
    **_MYSQL,
)

friend_requests = Table(
    "im_friend_request",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("from_user_id", BigInteger, nullable=False),
    Column("to_user_id", BigInteger, nullable=False),
    Column("message", String(255), nullable=False, default=""),
    Column("status", SmallInteger, nullable=False, default=PENDING),
    *_times("im_friend_request"),
    Index("idx_friend_request_to", "to_user_id", "status"),
    Index("idx_friend_request_from", "from_user_id", "to_user_id"),
    **_MYSQL,
)

groups = Table(
    "im_group",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("group_id", _Key, nullable=False, unique=True),
    Column("name", String(64), nullable=False),
    Column("avatar", String(255), nullable=False, default=""),
    Column("owner_id", BigInteger, nullable=False),
    Column("description", String(512), nullable=False, default=""),
    Column("max_members", Integer, nullable=False, default=200),
    Column("member_count", Integer, nullable=False, default=0),
    Column("status", SmallInteger, nullable=False, default=ACTIVE),
    Column("invite_confirm_mode", SmallInteger, nullable=False, default=0),
    *_times("im_group"),
    **_MYSQL,
)

group_members = Table(
    "im_group_member",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("group_id", _Key, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("role", SmallInteger, nullable=False, default=MEMBER),
    Column("nickname", String(64), nullable=False, default=""),
    Column("mute", SmallInteger, nullable=False, default=0),
    Column("read_seq", BigInteger, nullable=False, default=0),
    _time("im_group_member", "joined_at"),
    UniqueConstraint("group_id", "user_id", name="uk_group_member"),
    Index("idx_group_member_user", "user_id"),
    **_MYSQL,
)

group_invitations = Table(
    "im_group_invitation",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("group_id", _Key, nullable=False),
    Column("inviter_id", BigInteger, nullable=False),
    Column("invitee_id", BigInteger, nullable=False),
    Column("message", String(255), nullable=False, default=""),
    Column("status", SmallInteger, nullable=False, default=PENDING),
    *_times("im_group_invitation"),
    Index("idx_group_invitation_invitee", "invitee_id", "status"),
    Index("idx_group_invitation_inviter", "inviter_id"),
    **_MYSQL,
)

group_join_requests = Table(
    "im_group_join_request",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("group_id", _Key, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("message", String(255), nullable=False, default=""),
    Column("status", SmallInteger, nullable=False, default=PENDING),
    Column("handler_id", BigInteger, nullable=False, default=0),
    *_times("im_group_join_request"),
    Index("idx_group_join_request_group", "group_id", "status"),
    Index("idx_group_join_request_user", "user_id"),
    **_MYSQL,
)

group_seqs = Table(
    "ws_group_seq",
    metadata,
    Column("group_id", _Key, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    **_MYSQL,
)
"""The last seq given out in a group; a missing row means the largest seq of `im_message`.

The row of group "" counts private messages, whose writers it puts in line.
"""

waiting_events = Table(
    "ws_event",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("group_id", _Key, nullable=False, default=""),
    Column("push", _Content, nullable=False),
    Column("created_at", BigInteger, nullable=False, default=unix_now),
    **_MYSQL,
)
"""What others must still hear of, in the order of `id`; a row goes once it is told.

`group_id` names the group whose cached members are stale, `push` is JSON; either may be "".
"""
