"""The parts that bring messages to groups: members, order, and what this node hears."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.backends import Services, Store
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.logic.group_channels import GroupChannels
from skyeim_ws.logic.member_retry import MemberRetry
from skyeim_ws.logic.memberships import Memberships
from skyeim_ws.logic.stored_seqs import stored_from
from skyeim_ws.logic.tasks import Tasks
from skyeim_ws.store.counters import RedisCounters
from skyeim_ws.store.members import MemberCache


@dataclass(frozen=True, slots=True)
class GroupParts:
    """The parts; what is heard needs the cache and the order to be there."""

    members: MemberCache
    router: GroupRouter
    channels: GroupChannels
    memberships: Memberships

    def start(self, supervisor: Supervisor, stack: AsyncExitStack) -> None:
        """Start all of them."""
        supervisor.keep("member_cache", self.members.start(), self.members.close)
        stack.push_async_callback(self.router.close)
        supervisor.run("group_channels", self.channels.run())
        supervisor.run("memberships", self.memberships.run())


def group_parts(
    ws: WebSocketConf,
    *,
    store: Store,
    services: Services,
    hub: Hub,
    stats: Stats,
    tasks: Tasks,
) -> GroupParts:
    """Return the parts, with the bounds of the configuration; they are yet to be started."""
    clock = asyncio.get_running_loop().time
    members = MemberCache(
        store.pipeline,
        store.redis,
        services.groups.fetch_members,
        services.groups.is_member,
        capacity=ws.member_cache_size,
        refused_ttl=ws.member_refusal_ttl,
        max_loads=ws.member_look_ups,
        timings=stats.timings,
    )
    router = GroupRouter(
        hub,
        MemberRetry(members, clock=clock),
        partial(stored_from, services.messages),
        stats,
        queue_size=ws.group_queue_size,
        max_groups=ws.max_active_groups,
        max_jump=ws.max_seq_jump,
    )
    channels = GroupChannels(
        hub=hub,
        bus=store.bus,
        stored=services.messages,
        counters=RedisCounters(store.pipeline),
        order=router,
        linger=ws.group_channel_linger,
        limit=ws.max_group_channels,
        clock=clock,
    )
    memberships = Memberships(
        hub=hub,
        groups=services.groups,
        members=members,
        channels=channels,
        node_sessions=store.lease,
        presence=store.presence,
        tasks=tasks,
    )
    members.on_filled = memberships.members_known
    members.on_changed = memberships.members_changed
    members.on_flushed = store.lease.look
    return GroupParts(members, router, channels, memberships)
