"""The table of events that wait to be pushed.

This page is history: later revisions change the tables, not this.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from skyeim_ws.services.migrations.adoption import complete

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table, if it is not there yet."""
    schema = MetaData()
    Table(
        "ws_event",
        schema,
        Column(
            "id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        Column(
            "group_id",
            String(64).with_variant(String(64, collation="utf8mb4_bin"), "mysql", "mariadb"),
            nullable=False,
            server_default="",
        ),
        Column("push", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb"), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
        mysql_engine="InnoDB",
        mariadb_engine="InnoDB",
    )
    complete(op.get_bind(), schema)
