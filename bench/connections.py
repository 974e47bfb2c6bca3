"""Cases of connections: what it costs to open one, and what one costs that says nothing."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from urllib.request import urlopen

from bench.cpu import cpu_seconds, cpu_used
from bench.machine import require_descriptors
from bench.plan import Plan
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import NEVER, Gateway, gateway, resident_bytes, users

FULL, QUICK = 10_000, 2_000

CONNECT_UNIT = "us/connect"

_OPENING = 1
_GROUP_SIZE = 100
_DEADLINE = 300.0
_PING_INTERVAL = 54.0

_SETTLED = 0.1
"""Share of a core below which a process has nothing left to do but its usual rounds."""

_LOOK, _LOOKS = 0.3, 3
_WARM_UP = 100


@dataclass(frozen=True, slots=True)
class Target:
    """A server to which a crowd of people connects, who end together."""

    port: int
    tokens: Sequence[str]
    crowd: Remote
    pids: Mapping[str, Sequence[int]]
    server: Gateway | None = None

    def connect(self, count: int) -> Sample:
        """Connect so many, wait until the server is at rest; return microseconds for each."""
        opening = _OPENING if self.server else 0
        with cpu_used(self.pids) as used:
            self.crowd.call("connect", self.port, self.tokens[:count], opening, timeout=_DEADLINE)
            self.settle(count)
        costs = {name: 1e6 * seconds / count for name, seconds in used.items()}
        return Sample(costs.pop("gateway"), others=costs)

    def disconnect(self) -> None:
        """End all connections, and wait until the server has done with them."""
        self.crowd.call("close", timeout=_DEADLINE)
        self.settle(0)

    def settle(self, online: int) -> None:
        """Wait until so many are online and the server has nothing left to do."""
        pids = [pid for name, some in self.pids.items() if name != "load" for pid in some]
        settle(pids, None if self.server is None else self.port, online)


def settle(pids: Sequence[int], port: int | None, online: int) -> None:
    """Wait until these processes have nothing left to do, and so many are online at the port."""
    deadline = time.monotonic() + _DEADLINE
    quiet = 0
    while quiet < _LOOKS or (port is not None and _online(port) != online):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server has not settled in {_DEADLINE:g} s")
        before = sum(map(cpu_seconds, pids))
        time.sleep(_LOOK)
        busy = (sum(map(cpu_seconds, pids)) - before) / _LOOK
        quiet = quiet + 1 if busy < _SETTLED else 0


@contextmanager
def visited(count: int, ping_interval: float) -> Iterator[Target]:
    """Run a gateway for so many people without friends, each in one group of a hundred."""
    people = users(count)
    groups = {
        f"g_{start}": people[start : start + _GROUP_SIZE] for start in range(0, count, _GROUP_SIZE)
    }
    with ExitStack() as stack:
        server = stack.enter_context(gateway(groups=groups, ping_interval=ping_interval))
        crowd = stack.enter_context(Remote("bench.chat_load", "Chatters"))
        pids = {**server.pids, "load": [crowd.pid]}
        target = Target(server.port, server.tokens(people), crowd, pids, server)
        # What is loaded and kept at the first connection is not the price of the next ones.
        target.connect(_WARM_UP)
        target.disconnect()
        yield target


@contextmanager
def upgraded(count: int) -> Iterator[Target]:
    """Run floor (b) for as many."""
    with (
        Remote("bench.floor", "Tornado") as server,
        Remote("bench.chat_load", "Chatters") as crowd,
    ):
        port = server.call("listen", timeout=_DEADLINE)
        server.tell("serve")
        # A token of the usual length: reading the header is a part of the upgrade.
        tokens = ["-" * 300] * count
        pids = {"gateway": [server.pid], "load": [crowd.pid]}
        target = Target(port, tokens, crowd, pids)
        target.connect(_WARM_UP)
        target.disconnect()
        yield target


def connect(plan: Plan) -> list[Row]:
    """Log in, all at once, and everything behind the login; against a bare upgrade."""
    case, count = "connect", plan.size(FULL, QUICK)
    require_descriptors(count)
    samples = []
    rounds = plan.rounds(case)
    with visited(count, NEVER) as target, upgraded(count) as floor:
        for number in rounds:
            sample = target.connect(count)
            least = floor.connect(count)
            target.disconnect()
            floor.disconnect()
            sample = Sample(sample.value, least.value, sample.others)
            samples.append(plan.tell(case, number, sample, CONNECT_UNIT))
    note = f"{count:,} users without friends, each in one group of {_GROUP_SIZE}"
    return [Row(case, CONNECT_UNIT, samples, "upgrade", 8.0, note=note)]


def idle(plan: Plan) -> list[Row]:
    """What connections hold in memory, and what their heartbeats cost."""
    case, count = "idle", plan.size(FULL, QUICK)
    require_descriptors(count)
    # As many pings a second as the full number has, so that the goal for the CPU means something.
    interval = _PING_INTERVAL * count / FULL
    seconds = plan.size(60, 12) / plan.runs
    memory, load = [], []
    rounds = plan.rounds(case)
    with visited(count, interval) as target:
        [pid] = target.pids["gateway"]
        empty = resident_bytes(pid)
        target.connect(count)
        target.crowd.call("introduce", users(count), "", timeout=_DEADLINE)
        target.crowd.call("ignore", 1.0, timeout=_DEADLINE)
        for number in rounds:
            with cpu_used(target.pids) as used:
                pings = target.crowd.call("idle", seconds, timeout=seconds + _DEADLINE)
            shares = {name: 100 * cpu / seconds for name, cpu in used.items()}
            sample = Sample(shares.pop("gateway"), others={**shares, "pings": pings / seconds})
            load.append(plan.tell(case, number, sample, "% of a core"))
            memory.append(Sample((resident_bytes(pid) - empty) / count / 1024))
    note = f"{count:,} connections, PingInterval {interval:g} s: "
    note += f"{median(sample.others['pings'] for sample in load):.0f} pings/s"
    return [
        Row("idle memory", "KB/connection", memory, goal=16.0, note=note),
        Row("idle CPU", "% of a core", load, goal=1.0, note=note),
    ]


def _online(port: int) -> int:
    with urlopen(f"http://127.0.0.1:{port}/health", timeout=_DEADLINE) as answer:
        return int(json.load(answer)["online"])
