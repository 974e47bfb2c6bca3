"""Channels to the endpoints of one business service, and the choice between them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import grpc
from grpc import ChannelConnectivity, StatusCode

from skyeim_ws import __version__
from skyeim_ws.rpc.errors import FailureLog, RpcFailed

Stub = TypeVar("Stub")

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Far above the largest answer, which is the member list of a large group."""

AVOID_TIME = 5.0
"""Seconds for which an endpoint that let a deadline pass is asked only if no other is ready."""

_POLL_FIRST, _POLL_LAST = 0.005, 0.1

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.primary_user_agent", f"skyeim-ws/{__version__}"),
    # A proxy of the environment is meant for the web, not for services next door.
    ("grpc.enable_http_proxy", 0),
    # A name may stand for several addresses; and this policy reconnects without being asked.
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # It also bounds one attempt to connect, whose default of 20 s outlives every deadline here.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Existing servers answer frequent pings with a GOAWAY, so there are none between calls. But
    # with a keepalive time set, TCP gives a connection up whose data nobody has confirmed for as
    # long as the keepalive timeout, and that is how a dead peer is noticed.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class Endpoint:
    """One address with its channel, and the stubs made for it so far."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.avoid_until = 0.0
        self._stubs: dict[object, Any] = {}

    def stub(self, make: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """Return the stub of this class for the channel."""
        found = self._stubs.get(make)
        if found is None:
            found = self._stubs[make] = make(self.channel)
        return cast(Stub, found)

    def is_ready(self) -> bool:
        """Tell whether there is a connection, and have one made if not."""
        return self.channel.get_state(try_to_connect=True) is ChannelConnectivity.READY


class Pool:
    """Round robin over those endpoints of a service that are connected.

    `endpoints` are gRPC targets: `host:port`, `dns:///name:port`, `unix:/path`. `timeout`
    (seconds) is the deadline of a call that names none. Construct it on the running loop.
    """

    def __init__(self, name: str, endpoints: Sequence[str], timeout: float) -> None:
        self.name = name
        self.timeout = timeout
        self.failures = FailureLog(name)
        self._endpoints: list[Endpoint] = []
        self._next = 0
        self._retired: dict[asyncio.Task[None], Endpoint] = {}
        self.set_endpoints(endpoints)

    @property
    def endpoints(self) -> list[str]:
        """Return the addresses in use."""
        return [endpoint.address for endpoint in self._endpoints]

    @property
    def is_ready(self) -> bool:
        """Tell whether any endpoint is connected, and have connections made to those that are not.

        It never waits.
        """
        # A list, because all of them are to be looked at.
        return True in [endpoint.is_ready() for endpoint in self._endpoints]

    def set_endpoints(self, addresses: Sequence[str]) -> None:
        """Use these endpoints from now on; calls under way on others may still end."""
        kept = {endpoint.address: endpoint for endpoint in self._endpoints}
        self._endpoints = [
            kept.pop(address) if address in kept else Endpoint(address)
            for address in dict.fromkeys(addresses)
        ]
        for endpoint in kept.values():
            closing = asyncio.get_running_loop().create_task(endpoint.channel.close(self.timeout))
            self._retired[closing] = endpoint
            closing.add_done_callback(self._forget)

    async def connected(self, deadline: float) -> Endpoint:
        """Wait until there is an endpoint to be called; raises RpcFailed at the deadline."""
        loop = asyncio.get_running_loop()
        pause = _POLL_FIRST
        while (endpoint := self._pick(loop.time())) is None:
            left = deadline - loop.time()
            if left <= 0 or not self._endpoints:
                raise RpcFailed(StatusCode.UNAVAILABLE)
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _POLL_LAST)
        return endpoint

    async def close(self) -> None:
        """Close all channels; calls under way fail with UNAVAILABLE."""
        endpoints = [*self._endpoints, *self._retired.values()]
        self._endpoints = []
        for closing in self._retired:
            closing.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await asyncio.gather(*(endpoint.channel.close(None) for endpoint in endpoints))

    def _forget(self, closing: asyncio.Task[None]) -> None:
        del self._retired[closing]

    def _pick(self, now: float) -> Endpoint | None:
        """Return the next endpoint that is connected, if possible one that answers in time."""
        late: list[Endpoint] = []
        for step in range(len(self._endpoints)):
            index = (self._next + step) % len(self._endpoints)
            endpoint = self._endpoints[index]
            if endpoint.is_ready():
                if endpoint.avoid_until <= now:
                    self._next = index + 1
                    return endpoint
                late.append(endpoint)
        return min(late, key=lambda endpoint: endpoint.avoid_until, default=None)
