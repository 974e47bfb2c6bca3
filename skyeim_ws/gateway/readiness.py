"""Why a gateway is not ready, by name: read from what its parts know, when somebody asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from skyeim_ws.conn.heartbeat import Heartbeat
from skyeim_ws.gateway.backends import Store
from skyeim_ws.gateway.draining import Drain
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.handler.health_handler import FAILED
from skyeim_ws.rpc.pool import Pool

LOOP_LAG = 2.0
"""Seconds that the loop may be late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Knows the parts whose state decides; a call gives the reasons, none if all is well."""

    supervisor: Supervisor
    heartbeat: Heartbeat
    store: Store
    pools: Sequence[Pool]
    drain: Drain

    def __call__(self) -> list[str]:
        """Return what is wrong; operations.md says what each name means."""
        found = self.fatal()
        if self.drain.idle:
            found.append("draining")
        if self.heartbeat.lag > LOOP_LAG:
            found.append("loop_lags")
        found += self._of_redis()
        for pool in self.pools:
            if not pool.ready:
                found.append(f"{pool.name}_service_away")
            elif not pool.serving:
                found.append(f"{pool.name}_service_unhealthy")
            if pool.throttled:
                found.append(f"{pool.name}_calls_fail")
        return found

    def fatal(self) -> list[str]:
        """Return the reasons for which this node ends, or is to be started anew."""
        states = {FAILED: self.supervisor.failed.is_set(), "stopping": self.drain.stopping}
        return [name for name, wrong in states.items() if wrong]

    def _of_redis(self) -> list[str]:
        store = self.store
        if not store.pipeline.healthy:
            return ["redis_away"]
        states = {
            "redis_takes_no_writes": not store.lease.renewed,
            "redis_refuses_access": store.pipeline.access_refused,
            "bus_not_heard": not store.bus.complete,
        }
        return [name for name, wrong in states.items() if wrong]
