"""Brings the database up to date, or says how: `python -m skyeim_ws.services.migrate`."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from skyeim_ws.services.data_source import DataSourceError
from skyeim_ws.services.db import open_database
from skyeim_ws.services.migrations import SchemaError
from skyeim_ws.services.plan import planned


def main(argv: Sequence[str] | None = None) -> int:
    """Migrate, or print the SQL; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m skyeim_ws.services.migrate")
    parser.add_argument("--data-source-env", metavar="NAME", required=True)
    parser.add_argument("--dry-run", action="store_true", help="print the SQL, change nothing")
    arguments = parser.parse_args(argv)
    # The driver repeats the server's warnings; what a dry run notes has not been done.
    logging.getLogger("asyncmy").setLevel(logging.CRITICAL)
    level = logging.WARNING if arguments.dry_run else logging.INFO
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    source = os.environ[arguments.data_source_env]
    try:
        text = asyncio.run(_planned(source) if arguments.dry_run else _migrated(source))
    except (DataSourceError, SchemaError, SQLAlchemyError, OSError, TimeoutError) as error:
        sys.stderr.write(f"error: the database: {_said(error)}\n")
        return 1
    sys.stdout.write(f"{text}\n")
    return 0


async def _planned(source: str) -> str:
    statements = await planned(source)
    if not statements:
        return "-- the database is up to date: nothing would be done"
    return "\n".join(f"{statement};" for statement in statements)


async def _migrated(source: str) -> str:
    # The database and its folder are for this user alone, as with the services.
    os.umask(0o077)
    await (await open_database(source)).close()
    return "the database is up to date"


def _said(error: Exception) -> str:
    """Return the first line; SQLAlchemy's further ones repeat the statement."""
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
