"""Channels to the endpoints of one business service, and the choice between them."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import structlog
from grpc import StatusCode

from skyeim_ws import __version__
from skyeim_ws.contract.grpc_tls import ClientTls
from skyeim_ws.contract.timing import Timings
from skyeim_ws.rpc.balance import Load, choose
from skyeim_ws.rpc.breaker import Breaker
from skyeim_ws.rpc.channel import MAX_MESSAGE_BYTES, Channel
from skyeim_ws.rpc.errors import FailureLog, RpcFailed

Stub = TypeVar("Stub")

AVOID_TIME = 5.0
"""Seconds for which an endpoint that has failed is asked only if no other is ready."""

LACKING_TIME = 300.0
"""Seconds after which a server is asked again for a method that it lacked."""

_POLL_FIRST, _POLL_LAST = 0.005, 0.1

_USER_AGENT = f"skyeim-ws/{__version__}"

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.primary_user_agent", _USER_AGENT),
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
    # with a keepalive time set, TCP gives a connection up when nobody confirms its data within
    # the keepalive timeout. That is how a dead peer is noticed.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


log = structlog.get_logger()


class Endpoint:
    """One address with its channel, its load, and what is known about its server.

    `authority` is the name by which the server is addressed; empty for the address itself.
    """

    def __init__(self, address: str, authority: str = "", tls: ClientTls | None = None) -> None:
        self.address = address
        self.authority = authority
        self.channel = Channel(address, tls, _OPTIONS, authority, _USER_AGENT)
        self.load = Load()
        self.avoid_until = 0.0
        # Bounded by the methods there are.
        self._lacking_until: dict[str, float] = {}
        self._stubs: dict[object, Any] = {}

    def stub(self, make: Callable[[Any], Stub]) -> Stub:
        """Return the stub of this class for the channel."""
        found = self._stubs.get(make)
        if found is None:
            found = self._stubs[make] = make(self.channel)
        stub: Stub = found
        return stub

    def is_ready(self) -> bool:
        """Tell whether there is a connection, and have one made if not."""
        if self.channel.is_connected():
            return True
        # What comes back may be a newer server.
        self._lacking_until = dict.fromkeys(self._lacking_until, 0.0)
        return False

    def lacks(self, method: str, now: float) -> bool:
        """Tell whether the server has lately said that it has no such method."""
        return self._lacking_until.get(method, now) > now

    def note_lacking(self, method: str, now: float) -> bool:
        """Remember that the server has no such method; tell whether that is news."""
        news = method not in self._lacking_until  # where what is over stays as well
        self._lacking_until[method] = now + LACKING_TIME
        return news


class Pool:
    """The endpoints of a service; the less loaded of two that are connected gets a call.

    `endpoints` are gRPC targets: `host:port`, `dns:///name:port`, `unix:/path`. `timeout`
    (seconds) is the deadline of a call that names none. With `tls` all but what is on a unix socket
    is spoken to over it. `path` is what stands before a method on the wire, `serving` what
    `rpc.health` has found, and `changes` counts new sets of endpoints. Construct it on the running
    loop.
    """

    def __init__(
        self,
        name: str,
        endpoints: Iterable[str],
        timeout: float,
        tls: ClientTls | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.name = name
        self.path = f"/{name}.{name.capitalize()}/"
        self.timings = timings or Timings()
        self.serving = True
        self.changes = 0
        self._tls = tls
        self.timeout = timeout
        self.failures = FailureLog(name)
        self._clock = monotonic
        self._endpoints: list[Endpoint] = []
        self._closed = False
        self.breakers: defaultdict[str, Breaker] = defaultdict(
            partial(Breaker, self._clock, random.random)
        )
        """By method, of which there are few."""
        self._throttled: set[str] = set()
        self._follower: asyncio.Task[None] | None = None
        self._retired: dict[asyncio.Task[None], Endpoint] = {}
        self._work: set[asyncio.Task[None]] = set()
        self.set_endpoints(dict.fromkeys(endpoints, ""))

    @property
    def endpoints(self) -> list[str]:
        """Return the addresses in use."""
        return [endpoint.address for endpoint in self._endpoints]

    @property
    def in_use(self) -> Sequence[Endpoint]:
        """Return the endpoints themselves."""
        return self._endpoints

    @property
    def ready(self) -> int:
        """Count the connected endpoints, and have connections made to the others.

        It never waits.
        """
        return sum([endpoint.is_ready() for endpoint in self._endpoints])

    @property
    def throttled(self) -> int:
        """Count the methods of which calls are refused for failing."""
        return sum(breaker.is_open for breaker in self.breakers.values())

    @property
    def refused(self) -> int:
        """Count the calls that were refused for that so far."""
        return sum(breaker.refused for breaker in self.breakers.values())

    def allows(self, method: str) -> bool:
        """Tell whether the method may be called, or is spared for failing."""
        breaker = self.breakers[method]
        allowed = breaker.allows()
        if breaker.is_open != (method in self._throttled):
            if breaker.is_open:
                self._throttled.add(method)
                log.warning("rpc_throttled", callee=self.name, method=method)
            else:
                self._throttled.discard(method)
                log.info("rpc_throttling_over", callee=self.name, method=method)
        return allowed

    def at_ease(self, method: str) -> Endpoint | None:
        """Return a server for a call that need not wait; None if there is anything to look into."""
        if method in self._throttled or self.breakers[method].surplus > 0:
            return None
        try:
            return self._pick(method)
        except RpcFailed:
            return None

    def follow(self, source: AsyncIterator[Mapping[str, str]]) -> asyncio.Task[None]:
        """Use what a source gives, each time; return the task, which ends at `close`."""

        async def following() -> None:
            async for addresses in source:
                self.set_endpoints(addresses)

        self._follower = asyncio.create_task(following())
        return self._follower

    def set_endpoints(self, addresses: Mapping[str, str]) -> None:
        """Use these addresses from now on, each with its authority; calls on others may end."""
        self.changes += 1
        kept = {(endpoint.address, endpoint.authority): endpoint for endpoint in self._endpoints}
        self._endpoints = [
            kept.pop(pair) if pair in kept else Endpoint(*pair, self._tls)
            for pair in addresses.items()
        ]
        for endpoint in kept.values():
            closing = asyncio.get_running_loop().create_task(endpoint.channel.close(self.timeout))
            self._retired[closing] = endpoint
            closing.add_done_callback(self._forget)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run work that makes calls of the pool; `close` waits for its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def offers(self, method: str) -> bool:
        """Tell whether a connected server may have the method, as far as is known."""
        now = self._clock()
        return any(not end.lacks(method, now) for end in self._endpoints if end.is_ready())

    async def connected(self, deadline: float, method: str) -> Endpoint:
        """Wait until there is an endpoint to be called.

        Raises RpcFailed: UNAVAILABLE at the deadline, and UNIMPLEMENTED if the connected servers
        are known to lack the method.
        """
        pause = _POLL_FIRST
        while (endpoint := self._pick(method)) is None:
            left = deadline - self._clock()
            if left <= 0 or self._closed:
                raise RpcFailed(StatusCode.UNAVAILABLE)
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _POLL_LAST)
        return endpoint

    async def close(self) -> None:
        """Close all channels; calls under way fail with UNAVAILABLE."""
        self._closed = True
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.wait({self._follower})
        endpoints = [*self._endpoints, *self._retired.values()]
        self._endpoints = []
        for closing in self._retired:
            closing.cancel()
        await asyncio.gather(*self._retired, return_exceptions=True)
        await asyncio.gather(*(endpoint.channel.close(None) for endpoint in endpoints))
        while self._work:
            await asyncio.wait(self._work)

    def _forget(self, closing: asyncio.Task[None]) -> None:
        del self._retired[closing]

    def _pick(self, method: str) -> Endpoint | None:
        """Return a connected endpoint that has the method, if possible one that has not failed."""
        now = self._clock()
        ready = False
        able, well = [], []
        for endpoint in self._endpoints:
            if endpoint.is_ready():
                ready = True
                if not endpoint.lacks(method, now):
                    able.append(endpoint)
                    if endpoint.avoid_until <= now:
                        well.append(endpoint)
        if len(well) == 1:
            return well[0]
        if well:
            return choose(well, lambda endpoint: endpoint.load.cost(now), random.sample)
        if able:
            return min(able, key=lambda endpoint: endpoint.avoid_until)
        if ready:
            raise RpcFailed(StatusCode.UNIMPLEMENTED)
        return None
