"""The channel to one server: calls go over a lean connection of our own where there is one.

A call through grpcio wakes its threads some six times, and that is most of what a lone call costs;
over this connection it takes a third of the CPU time. What the connection does not do goes through
grpcio: TLS, streams, a request larger than the server takes at once, and calls while there is none.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from functools import lru_cache
from time import monotonic
from typing import Any, Generic, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc import StatusCode

from skyeim_ws.contract.grpc_tls import ClientTls, Options, open_channel
from skyeim_ws.rpc.connection import Address, Connection, connect
from skyeim_ws.rpc.errors import REASON_KEY, RpcFailed, failed
from skyeim_ws.rpc.grpc_private import is_connected
from skyeim_ws.rpc.http2 import Http2Error, Reply, head

RECONNECT = 1.0
"""Seconds between the beginnings of two attempts to connect."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Far above the largest answer, which is the member list of a large group."""

log = structlog.get_logger()

Request = TypeVar("Request")
Response = TypeVar("Response")


class Channel:
    """What a stub needs of a channel, and `is_connected` and `close`. Make it on the running loop.

    `authority` is the name by which the server is addressed; empty for the address itself.
    """

    def __init__(
        self, address: str, tls: ClientTls | None, options: Options, authority: str, user_agent: str
    ) -> None:
        self._grpcio = open_channel(address, tls, options, authority)
        self._name = address
        self._address = _direct_address(address, tls)
        self.head = head(
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", authority or ("localhost" if address.startswith("unix") else address)),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", user_agent),
        )
        self._loop = asyncio.get_running_loop()
        # The newest is the one in use; those before it only end their calls.
        self._connections: list[Connection] = []
        self._connecting: asyncio.Task[None] | None = None
        self._connect_at = 0.0
        self._closed = False

    def is_connected(self) -> bool:
        """Tell whether a call can be made at once, and have a connection made if not."""
        return self.direct() is not None or is_connected(self._grpcio)

    def direct(self) -> Connection | None:
        """Return our own connection, if there is one; have it made if not."""
        if self._connections:
            newest = self._connections[-1]
            if not newest.closing:
                return newest
            if newest.fault is not None:
                self._give_up(newest.fault)
        if self._address is not None and self._connecting is None and not self._closed:
            now = monotonic()
            if now >= self._connect_at:
                self._connect_at = now + RECONNECT
                # It outlives the call for which it is made, whose trace it must not go on with.
                self._connecting = self._loop.create_task(
                    self._connect(self._address), context=Context()
                )
        return None

    def unary_unary(
        self,
        path: str,
        request_serializer: Callable[[Request], bytes],
        response_deserializer: Callable[[bytes], Response],
        **ours: Any,
    ) -> "Method[Request, Response]":
        """Return a method, as a generated stub asks for it."""
        grpcio = self._grpcio.unary_unary(path, request_serializer, response_deserializer, **ours)
        return Method(self, path, request_serializer, response_deserializer, grpcio)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """Return a method whose answer is a stream, which is that of grpcio."""
        return self._grpcio.unary_stream(*method, **options)

    async def close(self, grace: float | None) -> None:
        """Close; calls under way get `grace` seconds, then end with UNAVAILABLE."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        closing = self._loop.create_task(self._grpcio.close(grace))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace or 0.0):
                for each in self._connections:
                    await each.idle()
        for each in self._connections:
            each.close()
        await closing

    async def _connect(self, address: Address) -> None:
        try:
            connection = await connect(address, MAX_MESSAGE_BYTES)
        except OSError:
            pass  # the calls tell that the server is away: they go through grpcio meanwhile
        except Http2Error as fault:
            self._give_up(fault)
        else:
            self._connections = [each for each in self._connections if each.under_way]
            self._connections.append(connection)
        finally:
            self._connecting = None

    def _give_up(self, fault: Http2Error) -> None:
        """Leave all calls to grpcio: what breaks the protocol once will do it again."""
        if self._address is not None:
            self._address = None
            log.error("rpc_connection_unusable", address=self._name, error=str(fault))


class Method(Generic[Request, Response]):
    """One method of a server, called as those of `grpc.aio` are."""

    def __init__(
        self,
        channel: Channel,
        path: str,
        serialize: Callable[[Request], bytes],
        deserialize: Callable[[bytes], Response],
        grpcio: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
    ) -> None:
        self._channel = channel
        self._head = channel.head + head((":path", path))
        self._serialize = serialize
        self._deserialize = deserialize
        self._grpcio = grpcio

    def begin(
        self, request: Request, timeout: float, done: Callable[[Response | RpcFailed], None]
    ) -> bool:
        """Begin a call on our own connection; False if there is none, or none with room.

        `done` is called once, on the loop, never from inside.
        """
        connection = self._channel.direct()
        if connection is None:
            return False

        def ended(reply: Reply) -> None:
            code, body, details, trailers = reply
            answer: Response | RpcFailed
            if code is StatusCode.OK:
                try:
                    answer = self._deserialize(body)
                except DecodeError:
                    answer = RpcFailed(StatusCode.INTERNAL)
            else:
                answer = failed(code, details, trailers.get(REASON_KEY, ""))
            done(answer)

        head = self._head + _timeout(round(1000 * timeout))
        return connection.begin(head, self._serialize(request), timeout, ended) is not None

    async def __call__(
        self,
        request: Request,
        *,
        timeout: float,
        metadata: Iterable[tuple[str, str]] = (),
        wait_for_ready: bool = False,
    ) -> Response:
        """Call it; raises grpc.aio.AioRpcError."""
        connection = self._channel.direct()
        reply = None
        if connection is not None:
            options = self._head + _timeout(round(1000 * timeout)) + head(*metadata)
            reply = await connection.call(options, self._serialize(request), timeout)
        if reply is None:
            return await self._grpcio(
                request, timeout=timeout, metadata=(*metadata,), wait_for_ready=wait_for_ready
            )
        code, body, details, trailers = reply
        if code is not StatusCode.OK:
            raise grpc.aio.AioRpcError(
                code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers.items()), details, None
            )
        return self._deserialize(body)


def _direct_address(address: str, tls: ClientTls | None) -> Address | None:
    """Return where to connect to; None for what is left to grpcio."""
    scheme, colon, path = address.partition(":")
    if scheme == "unix" and colon:
        return "/" + path.lstrip("/") if path.startswith("/") else path
    host, _, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return None if tls or not port.isdigit() else (str(ip), int(port))


@lru_cache(maxsize=4096)
def _timeout(milliseconds: int) -> bytes:
    """Return the header of a time as gRPC writes it, in at most eight digits."""
    return head(("grpc-timeout", f"{min(max(milliseconds, 1), 99_999_999)}m"))
