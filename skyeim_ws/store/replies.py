"""A connection to Redis whose replies come by a callback, without a task that waits for them."""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from skyeim_ws.store.redis_private import NOTHING, reply_reader, take_over


class Replies(asyncio.Protocol):
    """Takes over a connection that the library has made, with its handshake.

    `heard` is called with each reply, an exception for an error, and `lost` once, with the reason,
    when the connection is gone or has sent what is no reply. Both are called on the loop, and no
    more after `close`. `fault` is why it is lost, None while it is not.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        heard: Callable[[Any], None],
        lost: Callable[[Exception], None],
    ) -> None:
        self.fault: Exception | None = None
        self._heard = heard
        self._lost = lost
        self._closed = False
        self._reader = reply_reader(connection)
        self._transport, self._before = take_over(connection, self)

    def write(self, data: bytes) -> None:
        """Write; what is lost with the connection is not told here."""
        self._transport.write(data)

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        reader = self._reader
        try:
            reader.feed(data)
            while not self._closed and (reply := reader.gets()) is not NOTHING:
                self._heard(reply)
        except Exception as error:  # of the parser, or of who hears
            self._end(error)
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell why it is lost, here and to whoever waits for the end of the library's stream."""
        self._end(RedisConnectionError("connection lost" if error is None else str(error)))
        self._before.connection_lost(error)

    def _end(self, fault: Exception) -> None:
        if self.fault is None and not self._closed:
            self.fault = fault
            self._lost(fault)
