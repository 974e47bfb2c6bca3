"""Whether what the services need answers: `python -m skyeim_ws.services.probe` prints it."""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Sequence

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.services.data_source import DataSourceError
from skyeim_ws.services.errors import said
from skyeim_ws.services.migrations import SchemaError
from skyeim_ws.services.plan import planned
from skyeim_ws.services.shared_redis import open_redis

SECONDS = 10.0
"""How long each has to answer."""

_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("EVAL", "return redis.call('GET', KEYS[1])", "1", "group:seq:check"),
    ("DEL", "im:group:members:check"),
)
"""What the services do to Redis, on keys that nobody has."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print, as JSON, a list of what was asked and what is wrong with it, or an empty text."""
    parser = argparse.ArgumentParser(prog="python -m skyeim_ws.services.probe")
    parser.add_argument("--data-source-env", metavar="NAME", required=True)
    parser.add_argument("--redis-env", metavar="NAME")
    arguments = parser.parse_args(argv)
    logging.getLogger("asyncmy").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    redis = os.environ[arguments.redis_env] if arguments.redis_env else ""
    found = asyncio.run(ask(os.environ[arguments.data_source_env], redis))
    sys.stdout.write(f"{json.dumps(found)}\n")
    return 0


async def ask(data_source: str, redis: str) -> list[tuple[str, str]]:
    """Ask the database, and Redis unless its encoded address is empty; nothing is changed."""
    found = [("Redis", await _problem(_redis(RedisAddress.decode(redis))))] if redis else []
    # Where the services could not migrate, they could not start.
    return [*found, ("Database", await _problem(planned(data_source)))]


async def _problem(question: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(SECONDS):
            await question
    except TimeoutError:
        return f"no answer within {SECONDS:.0f} s"
    except SQLAlchemyError as error:
        return said(error)
    except (DataSourceError, SchemaError, RedisError, OSError, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


async def _redis(address: RedisAddress) -> None:
    client = open_redis(address)
    try:
        for command in _COMMANDS:
            await client.execute_command(*command)
    finally:
        await client.aclose()


if __name__ == "__main__":
    sys.exit(main())
