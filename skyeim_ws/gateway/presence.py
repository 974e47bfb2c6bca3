"""What keeps Redis and friends right about who is online: put together, and started."""

from collections.abc import Sequence
from dataclasses import dataclass

from skyeim_ws.conn.hub import Hub
from skyeim_ws.gateway.backends import Store
from skyeim_ws.gateway.supervisor import Supervisor
from skyeim_ws.logic.announcer import Announcer
from skyeim_ws.logic.cluster import Cluster
from skyeim_ws.logic.departures import Departures
from skyeim_ws.logic.friends import FriendCache
from skyeim_ws.logic.introductions import Introductions
from skyeim_ws.logic.reconciliation import Reconciliation
from skyeim_ws.logic.tasks import Tasks


@dataclass(frozen=True, slots=True)
class PresenceKeeping:
    """The parts; the later ones give work to the earlier ones."""

    announcer: Announcer
    reconciliation: Reconciliation
    departures: Departures
    introductions: Introductions

    def start(self, supervisor: Supervisor, store: Store, cluster: Cluster) -> None:
        """Join the other nodes, and start all parts: they end before the lease does."""
        store.pipeline.on_recovered += [
            cluster.reclaim,
            self.announcer.recovered,
            self.departures.recovered,
        ]
        supervisor.run("bus", store.bus.run(cluster, cluster.subscribed))

        def reaped(gone: Sequence[int], moved: Sequence[int]) -> None:
            cluster.reaped(gone, moved)
            if store.notices is not None:
                store.notices.missed(gone)

        lease = store.lease.start(
            on_lost=cluster.reclaim, on_reaped=reaped, on_refused=supervisor.failed.set
        )
        supervisor.keep("lease", lease, store.lease.close)
        supervisor.run("announcer", self.announcer.run())
        supervisor.run("reconciliation", self.reconciliation.run())
        supervisor.keep("departures", self.departures.start(), self.departures.close)


def presence_keeping(
    hub: Hub, store: Store, friends: FriendCache, tasks: Tasks, interval: float
) -> PresenceKeeping:
    """Return the parts; `interval` is that of the reconciliation, in seconds."""
    announcer = Announcer(
        hub=hub,
        registry=store.registry,
        announcements=store.announcements,
        friends=friends,
    )
    introductions = Introductions(
        hub=hub,
        node_sessions=store.lease,
        presence=store.presence,
        announcer=announcer,
        tasks=tasks,
    )
    return PresenceKeeping(
        announcer,
        Reconciliation(
            hub=hub,
            introductions=introductions,
            announcer=announcer,
            orphans=store.orphans,
            interval=interval,
        ),
        Departures(
            hub=hub,
            registry=store.registry,
            presence=store.presence,
            node_sessions=store.lease,
            watermarks=store.watermarks,
            on_left=announcer.left,
        ),
        introductions,
    )
