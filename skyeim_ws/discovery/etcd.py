"""A connection to etcd, for as long as it lasts, over the gRPC API that every etcd v3 has."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import grpc

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.contract.pb import etcd_pb2 as pb
from skyeim_ws.contract.pb import etcd_pb2_grpc as stubs
from skyeim_ws.discovery import tls

TIMEOUT = 3.0
"""Seconds for each request; the first one also connects."""

OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.enable_http_proxy", 0),
    # A watch is a call that may be silent for days, so its connection is probed. etcd hangs up on
    # who does that more often than each 5 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # That is for the kernel of the other side; this for etcd itself, else a minute.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Else a new channel inherits the backoff of the one before.
    ("grpc.use_local_subchannel_pool", 1),
)


class EtcdFailed(Exception):  # noqa: N818 - it states what happened
    """etcd could not be asked, or refused; the text says why."""


class Connection:
    """One server of etcd, logged in. After EtcdFailed, which all methods raise, it is of no use."""

    def __init__(self, channel: grpc.aio.Channel, token: str = "") -> None:
        # Without a leader a server says so, instead of showing what was.
        self._metadata = (("hasleader", "true"), *((("token", token),) if token else ()))
        self._kv: stubs.KVAsyncStub = stubs.KVStub(channel)
        self._lease: stubs.LeaseAsyncStub = stubs.LeaseStub(channel)
        self._watch: stubs.WatchAsyncStub = stubs.WatchStub(channel)
        self._auth: stubs.AuthAsyncStub = stubs.AuthStub(channel)

    async def login(self, user: str, password: str) -> str:
        """Return a token; etcd lets it expire when it is not used for some minutes."""
        with _failures():
            answer = await self._auth.Authenticate(
                pb.AuthenticateRequest(name=user, password=password), timeout=TIMEOUT
            )
        return answer.token

    async def read(self, prefix: str) -> tuple[dict[str, str], int]:
        """Return the keys with this prefix and their values, and the revision that this was."""
        request = pb.RangeRequest(key=prefix.encode(), range_end=_end(prefix))
        with _failures():
            answer = await self._kv.Range(request, timeout=TIMEOUT, metadata=self._metadata)
        return {_text(pair.key): _text(pair.value) for pair in answer.kvs}, answer.header.revision

    async def has(self, key: str) -> bool:
        """Tell whether there is such a key."""
        request = pb.RangeRequest(key=key.encode(), count_only=True)
        with _failures():
            answer = await self._kv.Range(request, timeout=TIMEOUT, metadata=self._metadata)
        return answer.count > 0

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[Mapping[str, str | None]]:
        """Give the changes from a revision on: key -> new value, None for what was deleted.

        It ends by EtcdFailed alone; also if the revision is no longer kept.
        """
        request = pb.WatchCreateRequest(
            key=prefix.encode(), range_end=_end(prefix), start_revision=revision
        )
        # Without an iterator of requests, whatever the stub says: grpcio would wait for its end.
        call = self._watch.Watch(metadata=self._metadata)  # type: ignore[call-arg]
        # The first answer says that the watch was created.
        timeout: float | None = TIMEOUT
        try:
            with _failures():
                async with asyncio.timeout(TIMEOUT):
                    await call.write(pb.WatchRequest(create_request=request))
            while True:
                with _failures():
                    async with asyncio.timeout(timeout):
                        answer = await call.read()
                timeout = None
                if not isinstance(answer, pb.WatchResponse):
                    raise EtcdFailed("the watch has ended")
                if answer.compact_revision:
                    raise EtcdFailed(f"all before {answer.compact_revision} was compacted")
                if answer.canceled:
                    raise EtcdFailed(answer.cancel_reason or "the watch was cancelled")
                if answer.events:
                    yield {
                        _text(event.kv.key): _text(event.kv.value)
                        if event.type == pb.Event.PUT
                        else None
                        for event in answer.events
                    }
        finally:
            call.cancel()

    async def grant(self, seconds: int) -> int:
        """Return the id of a new lease."""
        with _failures():
            answer = await self._lease.LeaseGrant(
                pb.LeaseGrantRequest(TTL=seconds), timeout=TIMEOUT, metadata=self._metadata
            )
        return answer.ID

    async def put(self, key: str, value: str, lease: int) -> None:
        """Write a key that lives as long as the lease."""
        request = pb.PutRequest(key=key.encode(), value=value.encode(), lease=lease)
        with _failures():
            await self._kv.Put(request, timeout=TIMEOUT, metadata=self._metadata)

    async def keep_alive(self, lease: int) -> bool:
        """Give a lease its whole time again; False if it is over."""
        request = pb.LeaseKeepAliveRequest(ID=lease)
        call = self._lease.LeaseKeepAlive(iter([request]), timeout=TIMEOUT, metadata=self._metadata)
        try:
            with _failures():
                answer = await call.read()
        finally:
            call.cancel()
        return isinstance(answer, pb.LeaseKeepAliveResponse) and answer.TTL > 0

    async def revoke(self, lease: int) -> None:
        """End a lease, and delete what was written with it."""
        with _failures():
            await self._lease.LeaseRevoke(
                pb.LeaseRevokeRequest(ID=lease), timeout=TIMEOUT, metadata=self._metadata
            )


@asynccontextmanager
async def connect(conf: EtcdConf, attempt: int) -> AsyncIterator[Connection]:
    """Connect to one of the hosts, the next one with each attempt, and log in; raises EtcdFailed.

    Whatever fails later is mended by connecting anew: a token that has expired as well.
    """
    scheme, _, host = conf.hosts[attempt % len(conf.hosts)].rpartition("://")
    if tls.is_wanted(conf) or scheme == "https":
        try:
            async with asyncio.timeout(TIMEOUT):
                credentials, options = await tls.credentials(conf, host)
        except (OSError, ValueError) as error:  # TimeoutError and SSLError are of the first kind
            raise EtcdFailed(str(error) or type(error).__name__) from None
        channel = grpc.aio.secure_channel(host, credentials, options=(*OPTIONS, *options))
    else:
        channel = grpc.aio.insecure_channel(host, options=OPTIONS)
    async with channel:
        connection = Connection(channel)
        if conf.user:
            connection = Connection(channel, await connection.login(conf.user, conf.password))
        yield connection


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what grpcio raises into EtcdFailed."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        # A call that fails in the moment in which it is cancelled tells of the first alone.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError from None
        code = error.code()
        raise EtcdFailed(f"{code.name}: {error.details()}") from None
    except (grpc.aio.UsageError, TimeoutError) as error:
        raise EtcdFailed(str(error) or "no answer in time") from None


def _end(prefix: str) -> bytes:
    """Return the end of the range of all keys with this prefix, which is not empty."""
    start = prefix.encode()
    return start[:-1] + bytes([start[-1] + 1])  # the last byte of UTF-8 is below 255


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
