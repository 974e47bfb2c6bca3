"""The services with events of a test's own choice, and how to expect a refusal."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from skyeim_ws.contract.redis_address import RedisAddress
from tests.services.conftest import Services, start_services

DENIED = grpc.StatusCode.PERMISSION_DENIED
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXISTS = grpc.StatusCode.ALREADY_EXISTS
INVALID = (grpc.StatusCode.INVALID_ARGUMENT, "invalid")
ROLE_TOO_LOW = (DENIED, "role_too_low")
NOT_MEMBER = (DENIED, "not_member")
NO_GROUP = (NOT_FOUND, "group_not_found")

ACCEPT, REFUSE = 1, 2


@asynccontextmanager
async def serving(
    folder: Path, redis: RedisAddress | None = None, push_url: str | None = None
) -> AsyncIterator[Services]:
    """Serve over an empty database, telling Redis and a gateway of changes if they are given."""
    async with AsyncExitStack() as stack:
        yield await start_services(stack, folder, redis, push_url)


@contextmanager
def refused(code: grpc.StatusCode, reason: str) -> Iterator[None]:
    """Expect the call inside to be refused, with the reason in the trailing metadata."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield
    # The stubs do not know that an entry is a pair.
    trailing: Any = caught.value.trailing_metadata()
    assert (caught.value.code(), dict(trailing).get("reason")) == (code, reason)
