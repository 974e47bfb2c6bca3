"""Completes the tables that another program has made; changes and drops nothing."""

from collections.abc import Sequence
from typing import Any

import structlog
from alembic import op
from sqlalchemy import Column, Connection, DateTime, MetaData, Table, UniqueConstraint, inspect
from sqlalchemy.engine.interfaces import ReflectedColumn

from skyeim_ws.services.migrations import SchemaError

log = structlog.get_logger()

_Key = tuple[tuple[str, ...], bool]
"""The columns of an index, and whether it is unique."""


def complete(connection: Connection, schema: MetaData) -> None:
    """Create what the database lacks of the schema: tables, columns, indexes.

    What exists stays as it is, types included. Raises SchemaError if a table lacks a column that
    its rows cannot do without.
    """
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    for table in schema.sorted_tables:
        if table.name not in present:
            table.create(connection)
            log.info("table_created", table=table.name)
            continue
        _add_columns(table, inspector.get_columns(table.name))
        keys = {
            index["name"]: (tuple(map(str, index["column_names"])), bool(index["unique"]))
            for index in inspector.get_indexes(table.name)
        } | {
            # SQLite names the uniqueness that is part of a table apart from its indexes.
            rule["name"]: (tuple(rule["column_names"]), True)
            for rule in inspector.get_unique_constraints(table.name)
        }
        _add_indexes(table, keys)


def _add_columns(table: Table, present: Sequence[ReflectedColumn]) -> None:
    names = {column["name"] for column in present}
    for column in table.columns:
        if column.name not in names:
            op.add_column(table.name, _addition(table, column))
            log.info("column_added", table=table.name, column=column.name)
    for found in present:
        if found["name"] not in table.c and not found["nullable"] and found["default"] is None:
            # Our rows leave it out, and a strict server then refuses them.
            log.warning("unknown_column_has_no_default", table=table.name, column=found["name"])


def _addition(table: Table, column: Column[Any]) -> Column[Any]:
    """Return a column that rows can be given that are there already."""
    has_value = column.nullable or column.server_default is not None
    if not has_value and not isinstance(column.type, DateTime):
        raise SchemaError(f"table {table.name} has no column {column.name}")
    default = column.server_default
    return Column(
        column.name,
        column.type,
        # Nobody knows the times of the rows that are there.
        nullable=column.nullable or not has_value,
        server_default=None if default is None else getattr(default, "arg", None),
    )


def _add_indexes(table: Table, present: dict[str | None, _Key]) -> None:
    wanted: list[tuple[str, _Key]] = [
        (str(index.name), (tuple(index.columns.keys()), index.unique)) for index in table.indexes
    ]
    wanted += [
        (str(rule.name), (tuple(rule.columns.keys()), True))
        for rule in table.constraints
        if isinstance(rule, UniqueConstraint)
    ]
    for name, (columns, unique) in sorted(wanted):
        if any(_serves(key, columns, unique=unique) for key in present.values()):
            continue
        free_name = f"{name}_ws" if name in present else name
        op.create_index(free_name, table.name, list(columns), unique=unique)
        log.info("index_added", table=table.name, index=free_name)


def _serves(key: _Key, columns: tuple[str, ...], *, unique: bool) -> bool:
    if unique:
        return key[1] and set(key[0]) == set(columns)
    return key[0][: len(columns)] == columns
