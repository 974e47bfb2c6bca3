"""The parts that bring messages to groups: the cache of their members, and the order of each."""

import asyncio
from functools import partial

from skyeim_ws.config.tree import WebSocketConf
from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.backends import Services, Store
from skyeim_ws.logic.member_retry import MemberRetry
from skyeim_ws.logic.stored_seqs import stored_from
from skyeim_ws.store.members import MemberCache


def group_routing(
    ws: WebSocketConf, store: Store, services: Services, hub: Hub, stats: Stats
) -> tuple[MemberCache, GroupRouter]:
    """Return both, with the bounds of the configuration; the cache is yet to be started."""
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
    return members, GroupRouter(
        hub,
        MemberRetry(members, clock=asyncio.get_running_loop().time),
        partial(stored_from, services.messages),
        stats,
        queue_size=ws.group_queue_size,
        max_groups=ws.max_active_groups,
        max_jump=ws.max_seq_jump,
    )
