"""The gauges of a gateway: what its parts measure now, by the name of the metric."""

from collections.abc import Callable, Mapping, Sequence

from skyeim_ws.conn.group_router import GroupRouter
from skyeim_ws.conn.hub import Hub
from skyeim_ws.gateway.presence import PresenceKeeping
from skyeim_ws.handler.gate import Gate
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.requests import Requests
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.store.members import MemberCache
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.traces import RedisTraces


def gauges(
    *,
    hub: Hub,
    gate: Gate,
    requests: Requests,
    sending: Sending,
    router: GroupRouter,
    members: MemberCache,
    pipeline: Pipeline,
    traces: RedisTraces,
    keeping: PresenceKeeping,
    webhook: Callable[[], Mapping[str, int]],
) -> dict[str, int | float]:
    """Return the gauges of the gateway itself."""
    return {
        "connections": len(hub),
        "handshakes": len(gate.handshakes),
        "calls_under_way": len(gate.calls_under_way),
        "sends_under_way": sending.under_way,
        "sends_ahead": sending.window.waiting,
        "look_ups_under_way": requests.looking_up,
        "groups_active": len(router),
        "group_frames_queued": router.queued,
        "member_look_ups_under_way": members.look_ups,
        "memberships_remembered": members.seats,
        "logins_to_undo": len(keeping.departures),
        "users_to_announce": len(keeping.announcer),
        "redis_healthy": int(pipeline.healthy),
        "redis_operations_waiting": pipeline.waiting,
        "redis_operations_dropped": pipeline.dropped,
        "redis_operations_failed": pipeline.failed,
        "message_trace_lines_waiting": traces.waiting,
        "message_trace_lines_dropped": traces.dropped,
        "message_trace_lines_written": traces.count,
        **webhook(),
    }


def service_gauges(pools: Sequence[Pool]) -> dict[str, dict[str, int]]:
    """Return gauges that each service has: name -> service -> value."""
    return {
        "rpc_endpoints": {pool.name: len(pool.endpoints) for pool in pools},
        "rpc_endpoints_ready": {pool.name: pool.ready for pool in pools},
        "rpc_methods_throttled": {pool.name: pool.throttled for pool in pools},
        "rpc_calls_refused": {pool.name: pool.refused for pool in pools},
    }
