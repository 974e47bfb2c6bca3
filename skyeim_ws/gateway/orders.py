"""The table of what operators may order of this node."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.stats import Stats
from skyeim_ws.gateway.draining import Drain
from skyeim_ws.gateway.readiness import Readiness
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.orders import Answer, Orders, broadcasting, of_users
from skyeim_ws.logic.reconciliation import Reconciliation
from skyeim_ws.logic.session import Sessions


def orders(
    *,
    hub: Hub,
    sessions: Sessions,
    catch_up: CatchUp,
    reconciliation: Reconciliation,
    readiness: Readiness,
    drain: Drain,
    stats: Stats,
    gauges: Callable[[], Mapping[str, int | float]],
) -> Orders:
    """Return the table."""
    began = time.monotonic()

    def show(_: Any) -> Answer:
        return {
            "problems": readiness(),
            "draining": drain.idle,
            "secondsUp": round(time.monotonic() - began),
            "loopLag": round(readiness.heartbeat.lag, 3),
            "gauges": gauges(),
            "counters": stats.counters(),
        }

    def begin(_: Any) -> Answer:
        if drain.stopping:
            return {"error": "it is stopping, and its clients leave anyhow"}
        planned = drain.begin()
        return {"clients": planned.clients, "seconds": round(planned.pace, 1)}

    def end(_: Any) -> Answer:
        if drain.stopping:
            return {"error": "it is stopping, which nothing undoes"}
        drain.end()
        return {"clients": len(hub)}

    def repair(_: Any) -> Answer:
        reconciliation.ask()
        return {}

    return {
        **of_users(hub, sessions, catch_up),
        **broadcasting(hub),
        "node.show": show,
        "node.drain": begin,
        "node.undrain": end,
        "presence.repair": repair,
    }
