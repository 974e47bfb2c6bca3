"""Every use of what redis-py does not document: what it is worth.

`setup.cfg` allows the versions that the tests have seen.
"""

import asyncio
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse

NOTHING = object()
"""What a reader gives while there is no whole reply."""


def take_over(
    connection: AbstractConnection, protocol: asyncio.Protocol
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Give what is read to `protocol`; return where to write, and who has read before.

    The library reads through a stream, a future and five coroutines for each reply, and wakes a
    task. Without them a message to a small group costs a fifth less.
    """
    transport = cast(Any, connection)._writer.transport  # noqa: SLF001
    before = transport.get_protocol()
    transport.set_protocol(protocol)
    return transport, before


def reply_reader(connection: AbstractConnection) -> hiredis.Reader:
    """Return a parser of replies, which makes the exceptions of the library for errors."""
    return hiredis.Reader(
        protocolError=InvalidResponse,
        replyError=connection._parser.parse_error,  # noqa: SLF001
        notEnoughData=NOTHING,
    )
