"""Which calls are run once more after their transaction was undone, and when."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from skyeim_ws.services.mysql import is_deadlock, is_lost

DEADLOCK_RETRIES = 4
LOST_RETRIES = 1

FIRST_PAUSE = 0.01
"""Seconds at most before the first retry; it doubles. Random: those who met must not meet again."""

_READS = ("Get", "Search", "Check", "Is")
_REPEATABLE = {"SendMessage", "SendGroupMessage", "SendBatch", "UpdateGroupReadSeq"}

log = structlog.get_logger()
_T = TypeVar("_T")


async def with_retries(method: str, call: Callable[[], Awaitable[_T]]) -> _T:
    """Return what `call` returns; `method` is the full name of the RPC that it serves.

    A deadlock has undone the whole transaction, so any call is run again. After a lost connection
    nobody knows whether the commit has happened: only calls are run again that may happen twice.
    """
    retries = 0
    while True:
        try:
            return await call()
        except DBAPIError as error:
            if retries >= _allowed(method, error):
                raise
            log.debug("rpc_retried", method=method, error=type(error.orig).__name__)
        await asyncio.sleep(random.uniform(0, FIRST_PAUSE * 2**retries))  # noqa: S311
        retries += 1


def _allowed(method: str, error: DBAPIError) -> int:
    if is_deadlock(error):
        return DEADLOCK_RETRIES
    name = method.rpartition("/")[2]
    return LOST_RETRIES if is_lost(error) and is_repeatable(name) else 0


def is_repeatable(name: str) -> bool:
    """Say whether an RPC may be carried out twice: it reads, or a key makes it idempotent."""
    return name in _REPEATABLE or name.startswith(_READS)
