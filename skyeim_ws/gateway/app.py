"""The one place where the parts of a gateway are put together: start order, stop order."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from socket import socket

import structlog

from skyeim_ws.config.tree import Backends, Config
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.heartbeat import Heartbeat
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway import http
from skyeim_ws.gateway.backends import forget_everyone, open_services, open_store
from skyeim_ws.gateway.dispatch_table import dispatcher
from skyeim_ws.gateway.draining import Drain
from skyeim_ws.gateway.gauges import Gauges, registry
from skyeim_ws.gateway.groups import group_parts
from skyeim_ws.gateway.login_rate import measured_login_rate
from skyeim_ws.gateway.operators import serve_operators
from skyeim_ws.gateway.orders import orders
from skyeim_ws.gateway.ports import Ports
from skyeim_ws.gateway.presence import presence_keeping
from skyeim_ws.gateway.readiness import Readiness
from skyeim_ws.gateway.settings import lifetime, limits, max_connections, message_trace, take
from skyeim_ws.gateway.stat import tell_minutes
from skyeim_ws.gateway.status import Status
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.gateway.waits import joined
from skyeim_ws.gateway.webhook import start_webhook
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.arrivals import Arrivals
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.cluster import Cluster
from skyeim_ws.logic.delivery import PrivateDelivery
from skyeim_ws.logic.events import EventPublisher
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.receipts import Receipts
from skyeim_ws.logic.renewal import Renewal
from skyeim_ws.logic.requests import Requests
from skyeim_ws.logic.session import Sessions
from skyeim_ws.logic.social import Social
from skyeim_ws.logic.tasks import Tasks
from skyeim_ws.logic.typing_notices import TypingNotices
from skyeim_ws.logic.user_router import UserRouter
from skyeim_ws.logic.watermarks import Watermarks
from skyeim_ws.ops import build
from skyeim_ws.ops.loop_watch import watching
from skyeim_ws.ops.telemetry import exporting
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.store.bus import RedisBus
from skyeim_ws.store.pipeline import Pipeline

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway: its parts, as far as others look at them."""

    port: int
    hub: Hub
    sessions: Sessions
    sending: Sending
    delivery: PrivateDelivery
    catch_up: CatchUp
    router: GroupRouter
    pipeline: Pipeline
    bus: RedisBus
    writer: Batcher
    stats: Stats
    reload: Callable[[Config], None]
    """Takes what may change of the configuration; raises OSError before it takes anything."""
    drain: Drain
    status: Status
    failed: asyncio.Event
    """Set once the gateway has to be stopped: a permanent task has ended by itself."""


@asynccontextmanager
async def gateway(
    config: Config,
    where: Backends,
    listeners: Sequence[socket],
    push_listeners: Sequence[socket] = (),
) -> AsyncIterator[Gateway]:
    """Run a gateway on bound sockets; what was started last stops first.

    On `push_listeners` it takes events of the services without TLS.

    Raises OSError, Unavailable, and ImportError if Tornado lacks something that we need.

    At the end its clients are sent away, what they have not confirmed is put back into their
    offline queues, and Redis gets what is still to be written.
    """
    async with AsyncExitStack() as stack:
        ws = config.web_socket
        stats, tasks, supervisor, made = (
            Stats(
                timings=stack.enter_context(watching(config.log.slow_threshold)),
                trace=message_trace(config.trace),
                tracer=await stack.enter_async_context(
                    exporting(config.named_telemetry, config.name)
                ),
            ),
            Tasks(),
            Supervisor(stack),
            build.build(),
        )
        flusher = Flusher(asyncio.get_running_loop().call_soon, stats)
        hub = Hub(flusher)
        if where.private_redis:
            await forget_everyone(config, where)
        store = open_store(stack, config, where, supervisor, stats=stats, flusher=flusher)
        services = open_services(config, where, supervisor, flusher, stats.timings)
        messages, groups, friends = services.messages, services.groups, services.friends

        grouped = group_parts(ws, store=store, services=services, hub=hub, stats=stats, tasks=tasks)
        members, router = grouped.members, grouped.router
        grouped.start(supervisor, stack)
        supervisor.keep("batcher", services.writer.start(), services.writer.close)
        stack.push_async_callback(tasks.close)

        requests = Requests(tasks, ws.max_in_flight, ws.max_look_ups)
        user_router, acks = UserRouter(hub, router, store.bus), Acks(hub, store.bus, stats.timings)
        offline = OfflineMessages(
            queue=store.queue,
            requests=requests,
            push_limit=ws.offline_push_limit,
            max_bytes=ws.send_queue_bytes,
        )
        catch_up = CatchUp(messages, offline, store.registry, tasks)
        watermarks = Watermarks(hub, catch_up, store.watermarks)
        delivery = PrivateDelivery(
            hub=hub,
            queue=store.queue,
            node_sessions=store.lease,
            bus=store.bus,
            acks=acks,
            catch_up=catch_up,
            stats=stats,
        )
        sending = Sending(
            hub=hub,
            user_router=user_router,
            acks=acks,
            writer=services.writer,
            delivery=delivery,
            router=router,
            trace=stats.trace,
            max_in_flight=ws.max_in_flight,
            send_ahead=ws.send_ahead,
            recent_acks=ws.recent_acks,
        )
        arrivals = Arrivals(hub=hub, bus=store.bus, catch_up=catch_up, tasks=tasks)
        receipts = Receipts(
            user_router=user_router,
            acks=acks,
            messages=messages,
            groups=groups,
            friends=friends,
            catch_up=catch_up,
            arrivals=arrivals,
            requests=requests,
        )
        keeping = presence_keeping(hub, store, friends, tasks, ws.presence_check_interval)
        renewal = Renewal(lifetime(config))
        sessions = Sessions(
            hub=hub,
            registry=store.registry,
            node_sessions=store.lease,
            bus=store.bus,
            presence=store.presence,
            memberships=grouped.memberships,
            introductions=keeping.introductions,
            announcer=keeping.announcer,
            departures=keeping.departures,
            offline=offline,
            delivery=delivery,
            catch_up=catch_up,
            watermarks=watermarks,
            tasks=tasks,
            receive=dispatcher(
                tracer=stats.tracer,
                sending=sending,
                receipts=receipts,
                social=Social(hub=hub, presence=store.presence, friends=friends, requests=requests),
                typing=TypingNotices(
                    friends=friends,
                    members=members,
                    user_router=user_router,
                    requests=requests,
                    stats=stats,
                ),
                offline=offline,
                renewal=renewal,
            ).dispatch,
            server_name=config.name,
            max_connections=max_connections(config),
        )
        cluster = Cluster(
            hub=hub,
            router=router,
            registry=store.registry,
            node_sessions=store.lease,
            bus=store.bus,
            presence=store.presence,
            sessions=sessions,
            delivery=delivery,
            acks=acks,
            arrivals=arrivals,
            catch_up=catch_up,
            announcer=keeping.announcer,
            channels=grouped.channels,
            tasks=tasks,
        )
        sessions.on_claim_failed = cluster.claim_later
        context = ClientContext(
            events=sessions,
            flusher=flusher,
            poller=Poller(flusher),
            limits=limits(ws),
            stats=stats,
            clock=time.monotonic,
        )

        keeping.start(supervisor, store, cluster)
        supervisor.run("watermarks", watermarks.run())
        heartbeat = Heartbeat(context)
        supervisor.run("heartbeat", heartbeat.run())
        await joined(store)

        publisher = EventPublisher(user_router=user_router, friends=friends)
        login_rate = measured_login_rate(stats, config.shutdown.login_rate, tasks)
        drain = Drain(
            hub=hub,
            sessions=sessions,
            sending=sending,
            stats=stats,
            login_rate=login_rate,
            # Its workers stop together: they are no help to each other.
            fleet=lambda: (store.lease.others + 1) / config.workers - 1,
        )
        readiness = Readiness(
            supervisor=supervisor,
            heartbeat=heartbeat,
            store=store,
            pools=services.pools,
            drain=drain,
        )
        ports = Ports(
            stack,
            config,
            context,
            build=partial(
                http.application,
                publisher=publisher,
                messages=messages,
                members=members,
                archive=services.archive,
                friends=services.friend_pages,
                groups=groups,
                receipts=receipts,
                problems=readiness,
                online=lambda: len(hub),
                refuses=lambda: drain.idle,
                spawn=tasks.spawn,
                build=made,
            ),
            build_pushes=partial(http.pushes, publisher=publisher),
            listeners=listeners,
            push_listeners=push_listeners,
        )
        gauges = Gauges(
            hub=hub,
            ports=ports,
            requests=requests,
            sending=sending,
            catch_up=catch_up,
            grouped=grouped,
            store=store,
            keeping=keeping,
            login_rate=login_rate,
            webhook=start_webhook(
                config.offline.webhook, store, supervisor, hub=hub, members=members, sending=sending
            ),
        )
        running = Gateway(
            port=listeners[0].getsockname()[1],
            hub=hub,
            sessions=sessions,
            sending=sending,
            delivery=delivery,
            catch_up=catch_up,
            router=router,
            pipeline=store.pipeline,
            bus=store.bus,
            writer=services.writer,
            stats=stats,
            reload=partial(take, ports, context, renewal, sessions),
            drain=drain,
            status=Status(hub, stats, drain, asyncio.get_running_loop().time),
            failed=supervisor.failed,
        )
        tasks.spawn(tell_minutes(config.log, stats, gauges, services.writer))
        cluster.orders = orders(
            hub=hub,
            sessions=sessions,
            catch_up=catch_up,
            reconciliation=keeping.reconciliation,
            readiness=readiness,
            drain=drain,
            stats=stats,
            gauges=gauges,
        )
        serve_operators(
            stack,
            config,
            registry(made, stats, gauges, services, readiness),
            stats,
            neighbours=where.neighbours,
            alive=readiness.fatal,
            ready=readiness,
        )
        log.info("gateway_listening", host=config.host, port=running.port, name=config.name, **made)
        yield running
        await drain.stop(
            config.shutdown,
            ports.close,
            lambda: ports.waiting,
            failed=supervisor.failed.is_set(),
        )
        log.info("gateway_stopped", connections=len(hub))
