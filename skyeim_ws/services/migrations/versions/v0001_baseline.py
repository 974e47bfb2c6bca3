"""The tables as of the first revision, completed where the Go services have made some of them.

This page is history: later revisions change the tables, not this.
"""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.schema import SchemaItem

from skyeim_ws.services.migrations.adoption import complete

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create what is missing."""
    schema = MetaData()
    _messages(schema)
    _friends(schema)
    _groups(schema)
    _requests_of_groups(schema)
    complete(op.get_bind(), schema)


# SQLite only numbers a column by itself that is declared INTEGER PRIMARY KEY.
_ID = BigInteger().with_variant(Integer, "sqlite")
# MySQL's usual collations take "a" and "A" for one key; clients' ids differ in case.
_KEY = String(64).with_variant(String(64, collation="utf8mb4_bin"), "mysql", "mariadb")
# 16,384 characters of four bytes each are one byte more than a MySQL TEXT holds.
_CONTENT = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def _table(schema: MetaData, name: str, *items: SchemaItem) -> None:
    options: dict[str, Any] = {
        f"{engine}_{option}": value
        for engine in ("mysql", "mariadb")
        for option, value in (("charset", "utf8mb4"), ("engine", "InnoDB"))
    }
    first = Column("id", _ID, primary_key=True, autoincrement=True)
    Table(name, schema, first, *items, **options)


def _big(name: str, default: str | None = None) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=default)


def _small(name: str, default: str) -> Column[int]:
    return Column(name, SmallInteger, nullable=False, server_default=default)


def _text(name: str, length: int, default: str | None = "") -> Column[str]:
    return Column(name, String(length), nullable=False, server_default=default)


def _times() -> tuple[SchemaItem, SchemaItem]:
    return (
        Column("created_at", DateTime, nullable=False),
        Column("updated_at", DateTime, nullable=False),
    )


def _messages(schema: MetaData) -> None:
    _table(
        schema,
        "im_message",
        Column("msg_id", _KEY, nullable=False),
        _big("from_user_id"),
        _big("to_user_id", "0"),
        _small("chat_type", "1"),
        Column("group_id", _KEY, nullable=False, server_default=""),
        _big("seq", "0"),
        Column("content", _CONTENT, nullable=False),
        _small("content_type", "1"),
        _small("status", "0"),
        Column("at_user_ids", Text),
        *_times(),
        UniqueConstraint("msg_id", name="uk_message_msg_id"),
        Index("idx_message_conversation", "from_user_id", "to_user_id", "created_at"),
        Index("idx_message_receiver", "to_user_id", "status", "created_at"),
        Index("idx_message_group_seq", "group_id", "seq"),
    )
    Table(
        "ws_group_seq",
        schema,
        Column("group_id", _KEY, primary_key=True),
        _big("seq"),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )


def _friends(schema: MetaData) -> None:
    _table(
        schema,
        "im_friend",
        _big("user_id"),
        _big("friend_id"),
        _text("remark", 64),
        _small("status", "1"),
        *_times(),
        UniqueConstraint("user_id", "friend_id", name="uk_friend_pair"),
    )
    _table(
        schema,
        "im_friend_request",
        _big("from_user_id"),
        _big("to_user_id"),
        _text("message", 255),
        _small("status", "0"),
        *_times(),
        Index("idx_friend_request_to", "to_user_id", "status"),
        Index("idx_friend_request_from", "from_user_id", "to_user_id"),
    )


def _groups(schema: MetaData) -> None:
    _table(
        schema,
        "im_group",
        Column("group_id", _KEY, nullable=False),
        _text("name", 64, None),
        _text("avatar", 255),
        _big("owner_id"),
        _text("description", 512),
        Column("max_members", Integer, nullable=False, server_default="200"),
        Column("member_count", Integer, nullable=False, server_default="0"),
        _small("status", "1"),
        _small("invite_confirm_mode", "0"),
        *_times(),
        UniqueConstraint("group_id", name="uk_group_group_id"),
    )
    _table(
        schema,
        "im_group_member",
        Column("group_id", _KEY, nullable=False),
        _big("user_id"),
        _small("role", "3"),
        _text("nickname", 64),
        _small("mute", "0"),
        _big("read_seq", "0"),
        Column("joined_at", DateTime, nullable=False),
        UniqueConstraint("group_id", "user_id", name="uk_group_member"),
        Index("idx_group_member_user", "user_id"),
    )


def _requests_of_groups(schema: MetaData) -> None:
    _table(
        schema,
        "im_group_invitation",
        Column("group_id", _KEY, nullable=False),
        _big("inviter_id"),
        _big("invitee_id"),
        _text("message", 255),
        _small("status", "0"),
        *_times(),
        Index("idx_group_invitation_invitee", "invitee_id", "status"),
        Index("idx_group_invitation_inviter", "inviter_id"),
    )
    _table(
        schema,
        "im_group_join_request",
        Column("group_id", _KEY, nullable=False),
        _big("user_id"),
        _text("message", 255),
        _small("status", "0"),
        _big("handler_id", "0"),
        *_times(),
        Index("idx_group_join_request_group", "group_id", "status"),
        Index("idx_group_join_request_user", "user_id"),
    )
