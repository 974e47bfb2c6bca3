"""What the parts of a gateway measure now, by the name of the metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.backends import Services, Store
from skyeim_ws.gateway.groups import GroupParts
from skyeim_ws.gateway.ports import Ports
from skyeim_ws.gateway.presence import PresenceKeeping
from skyeim_ws.gateway.readiness import Readiness
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.requests import Requests
from skyeim_ws.ops import catalogue, metrics
from skyeim_ws.rpc.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """Knows the parts; a call gives what they measure, but for the counters of connections."""

    hub: Hub
    ports: Ports
    requests: Requests
    sending: Sending
    catch_up: CatchUp
    grouped: GroupParts
    store: Store
    keeping: PresenceKeeping
    login_rate: Callable[[], float]
    webhook: Callable[[], Mapping[str, int]]

    def __call__(self) -> dict[str, int | float]:
        """Return plain numbers."""
        pipeline = self.store.pipeline
        return {
            "connections": len(self.hub),
            "handshakes": self.ports.waiting,
            "calls_under_way": len(self.ports.gate.calls_under_way),
            "sends_under_way": self.sending.under_way,
            "sends_ahead": self.sending.window.waiting,
            "catch_ups_under_way": len(self.catch_up),
            "look_ups_under_way": self.requests.looking_up,
            "groups_active": len(self.grouped.router),
            "group_frames_queued": self.grouped.router.queued,
            "group_channels": len(self.grouped.channels),
            "group_channels_heard": self.grouped.channels.heard,
            "group_channels_beyond": self.grouped.channels.beyond,
            "group_channels_doubtful": self.grouped.channels.doubtful,
            "member_look_ups_under_way": self.grouped.members.look_ups,
            "memberships_remembered": self.grouped.members.seats,
            "memberships_unknown": len(self.grouped.memberships),
            "logins_to_undo": len(self.keeping.departures),
            "users_to_announce": len(self.keeping.announcer),
            "redis_healthy": int(pipeline.healthy),
            "redis_operations_waiting": pipeline.waiting,
            "redis_operations_dropped": pipeline.dropped,
            "redis_operations_failed": pipeline.failed,
            "message_trace_lines_waiting": self.store.traces.waiting,
            "message_trace_lines_dropped": self.store.traces.dropped,
            "message_trace_lines_written": self.store.traces.count,
            **self.webhook(),
        }


def registry(
    build: Mapping[str, str], stats: Stats, gauges: Gauges, services: Services, readiness: Readiness
) -> CollectorRegistry:
    """Return the metrics of a gateway, which are read at each scrape."""

    def read() -> metrics.Reading:
        return {
            **metrics.of_process(build),
            "problems": {(problem,): 1 for problem in readiness()},
            "other_nodes": gauges.store.lease.others,
            "login_rate": gauges.login_rate(),
            **stats.counters(),
            "spans_exported": stats.tracer.exported,
            "spans_not_exported": stats.tracer.failed,
            "closes": {(str(code),): count for code, count in stats.closes.items()},
            "refusals": {(str(reason),): count for reason, count in stats.refusals.items()},
            **gauges(),
            "messages_stored": services.writer.stored,
            "catch_ups": gauges.catch_up.begun,
            "bus_subscribed": int(gauges.store.bus.ready.is_set()),
            "bus_subscriptions": gauges.store.bus.subscriptions,
            "bus_heard": gauges.store.bus.heard,
            **_of_services(services.pools),
        }

    return metrics.registry(catalogue.GATEWAY, stats.timings, read)


def _of_services(pools: Sequence[Pool]) -> dict[str, dict[tuple[str, ...], int]]:
    return {
        "rpc_endpoints": {(pool.name,): len(pool.endpoints) for pool in pools},
        "rpc_endpoints_ready": {(pool.name,): pool.ready for pool in pools},
        "rpc_endpoint_changes": {(pool.name,): pool.changes for pool in pools},
        "rpc_methods_throttled": {(pool.name,): pool.throttled for pool in pools},
        "rpc_calls_refused": {(pool.name,): pool.refused for pool in pools},
    }
