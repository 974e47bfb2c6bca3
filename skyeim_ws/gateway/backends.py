"""What a gateway reaches outside: Redis and the business services, opened in order."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from skyeim_ws.config.rpc import RpcConf, RpcTlsConf
from skyeim_ws.config.tree import Backends, Config
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.grpc_tls import ClientTls, client_tls
from skyeim_ws.contract.timing import Timings
from skyeim_ws.discovery.names import fixed, resolved
from skyeim_ws.discovery.watch import watched
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.ops.build import build
from skyeim_ws.rpc import health
from skyeim_ws.rpc.archive import ArchiveClient
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.messages import MessageClient
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.store.announcements import RedisAnnouncements
from skyeim_ws.store.bus import RedisBus, unique_node
from skyeim_ws.store.client import Client, connect
from skyeim_ws.store.nodes import NodeLease
from skyeim_ws.store.notices import RedisNotices
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.orphans import RedisOrphans
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.presence import RedisPresence
from skyeim_ws.store.records import NodeRecord
from skyeim_ws.store.sessions import RedisSessions
from skyeim_ws.store.traces import RedisTraces
from skyeim_ws.store.watermarks import RedisWatermarks

_FLUSH_SECONDS = 2.0
"""How long the last writes to Redis may take at the end."""


@dataclass(frozen=True, slots=True)
class Store:
    """What this node shares with others, in Redis."""

    redis: Client
    pipeline: Pipeline
    presence: RedisPresence
    queue: RedisOfflineQueue
    notices: RedisNotices | None
    traces: RedisTraces
    registry: RedisSessions
    watermarks: RedisWatermarks
    bus: RedisBus
    announcements: RedisAnnouncements
    orphans: RedisOrphans
    lease: NodeLease


async def forget_everyone(config: Config, where: Backends) -> None:
    """Clean up after gateways that did not end well; only for a Redis that no node uses now.

    Raises Unavailable.
    """
    async with AsyncExitStack() as stack:
        store = open_store(stack, config, where, Supervisor(stack))
        gone = await store.lease.reap_all()
        if store.notices is not None:
            store.notices.missed(gone)
        await store.presence.clear()


def open_store(
    stack: AsyncExitStack,
    config: Config,
    where: Backends,
    supervisor: Supervisor,
    *,
    stats: Stats | None = None,
    flusher: Flusher | None = None,
) -> Store:
    """Connect to Redis; at the end, what is still to be written gets a moment.

    The subscription and the lease are not started here. What comes in a turn of the `flusher` is
    written at its end.
    """
    ws = config.web_socket
    redis = connect(where.redis.address)
    stack.push_async_callback(redis.aclose)
    stats = stats or Stats()
    pipeline = Pipeline(
        redis,
        buffer_size=ws.offline_buffer_size,
        timings=stats.timings,
        later=None if flusher is None else flusher.at_end,
    )
    supervisor.keep("redis_pipeline", pipeline.start(), lambda: pipeline.close(_FLUSH_SECONDS))
    node = unique_node(config.name)
    traces = RedisTraces(pipeline, node, stats.trace, size=config.trace.size)
    supervisor.keep("message_trace", traces.start(), traces.close)
    webhook = config.offline.webhook
    notices = (
        RedisNotices(pipeline, node, size=webhook.queue_size, content=webhook.content)
        if webhook.url
        else None
    )
    queue = RedisOfflineQueue(
        pipeline, size=ws.offline_queue_size, ttl=int(ws.offline_ttl), notices=notices
    )
    registry = RedisSessions(pipeline, queue, node)
    return Store(
        redis=redis,
        pipeline=pipeline,
        presence=RedisPresence(pipeline),
        queue=queue,
        notices=notices,
        traces=traces,
        registry=registry,
        watermarks=RedisWatermarks(pipeline, queue, node),
        bus=RedisBus(pipeline, redis, node),
        announcements=RedisAnnouncements(pipeline, registry, node),
        orphans=RedisOrphans(pipeline, redis, registry, node),
        lease=NodeLease(
            pipeline,
            registry,
            node,
            record=NodeRecord.own(config.name, build()),
            renew_seconds=ws.node_renew_interval,
            dead_after=ws.node_dead_after,
        ),
    )


@dataclass(frozen=True, slots=True)
class Services:
    """The business services, over gRPC."""

    messages: MessageClient
    archive: ArchiveClient
    friends: FriendCache
    friend_pages: FriendClient
    groups: GroupClient
    writer: Batcher
    pools: tuple[Pool, ...]


def open_services(
    config: Config,
    where: Backends,
    supervisor: Supervisor,
    flusher: Flusher | None = None,
    timings: Timings | None = None,
) -> Services:
    """Open the channels to the business services, wherever they are and move to.

    Messages are sent, and answered, in the turns of the `flusher`.
    """
    message_pool = open_pool(supervisor, "message", where.message_rpc, timings)
    friend_pool = open_pool(supervisor, "friend", where.friend_rpc, timings)
    group_pool = open_pool(supervisor, "group", where.group_rpc, timings)
    friends, groups = FriendClient(friend_pool), GroupClient(group_pool)
    writer = Batcher(
        message_pool,
        friends,
        groups,
        batch_size=config.web_socket.send_batch_size,
        backlog=config.web_socket.send_backlog,
        together=flusher,
        later=None if flusher is None else flusher.at_end,
    )
    cache = FriendCache(friends, asyncio.get_running_loop().time)
    return Services(
        messages=MessageClient(message_pool, friends.friends),
        archive=ArchiveClient(message_pool),
        friends=cache,
        friend_pages=friends,
        groups=groups,
        writer=writer,
        pools=(message_pool, friend_pool, group_pool),
    )


def open_pool(
    supervisor: Supervisor, name: str, rpc: RpcConf, timings: Timings | None = None
) -> Pool:
    """Open the channels to one service, wherever it is and moves to."""
    tls = None if rpc.tls is None else _tls(rpc.tls)
    pool = Pool(name, (), rpc.timeout / 1000, tls, timings)
    registry = rpc.registry
    source = resolved(watched(registry) if registry is not None else fixed(rpc.targets))
    supervisor.keep(f"{name}_endpoints", pool.follow(source), pool.close)
    supervisor.run(f"{name}_health", health.watch(pool))
    return pool


def _tls(conf: RpcTlsConf) -> ClientTls:
    return client_tls(conf.ca_cert_file, conf.cert_file, conf.key_file, conf.server_name)
