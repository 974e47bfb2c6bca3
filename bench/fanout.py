"""Cases of fan-out: one group message to many members who are online, against bare sends."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import cast

from bench.cpu import cpu_used
from bench.load import Fanout
from bench.plan import CONTENT, Plan, say
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import gateway, users

MEMBERS = 1_000
BURST = 10

UNIT = "us/delivery"

_GROUP, _LARGE_GROUP = "g_bench", "g_large"
_OPENING = 1
"""Frames with which the gateway opens: `connected`."""

_DEADLINE = 300.0
_WARM_UP_PAUSE = 1.5
"""Seconds: the gateway keeps a list of members that was just filled for one second only."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server with a crowd that is connected to it."""

    crowd: Remote
    pids: Mapping[str, Sequence[int]]
    acks: bool

    def run(self, rounds: int, burst: int = 1, group: str = _GROUP) -> tuple[Sample, bytes]:
        """Return what a delivery costs in microseconds, and a frame as it was delivered."""
        with cpu_used(self.pids) as used:
            told = cast(
                Fanout,
                self.crowd.call(
                    "fanout", group, CONTENT, rounds, burst, self.acks, timeout=_DEADLINE
                ),
            )
        costs = {name: 1e6 * seconds / told.deliveries for name, seconds in used.items()}
        return Sample(costs.pop("gateway"), others=costs), told.frame


@contextmanager
def served(online: int, *, workers: int = 1, members: int = 0) -> Iterator[Target]:
    """Run a gateway with a sender and so many receivers, warm; a large group on request."""
    groups = {_GROUP: users(online + 1)}
    if members:
        groups[_LARGE_GROUP] = users(members)
    with ExitStack() as stack:
        server = stack.enter_context(gateway(groups=groups, workers=workers))
        crowd = stack.enter_context(Remote("bench.load", "Crowd"))
        tokens = server.tokens(users(online + 1))
        crowd.call("connect", server.port, tokens, _OPENING, timeout=_DEADLINE)
        target = Target(crowd, {**server.pids, "load": [crowd.pid]}, acks=True)
        for group in groups:
            target.run(3, group=group)
        time.sleep(_WARM_UP_PAUSE)
        for group in groups:
            target.run(10, group=group)
        yield target


@contextmanager
def bare(online: int, frame: bytes) -> Iterator[Target]:
    """Run floor (a) with as many receivers, of the same frame, warm."""
    with Remote("bench.floor", "Sends") as server, Remote("bench.load", "Crowd") as crowd:
        port = server.call("listen", timeout=_DEADLINE)
        server.tell("serve", online, frame)
        # The floor takes the first connection for the sender.
        for tokens in ["-"], ["-"] * online:
            crowd.call("connect", port, tokens, 0, timeout=_DEADLINE)
        target = Target(crowd, {"gateway": [server.pid], "load": [crowd.pid]}, acks=False)
        target.run(10)
        yield target


def fanout(plan: Plan) -> list[Row]:
    """One message at a time to 1,000 members."""
    return _against_sends(plan, "fanout", goal=1.4)


def fanout_burst(plan: Plan) -> list[Row]:
    """The same in bursts of ten; the floor still sends one message at a time."""
    return _against_sends(plan, "fanout_burst", goal=0.35, burst=BURST)


def _against_sends(plan: Plan, case: str, *, goal: float, burst: int = 1) -> list[Row]:
    messages = plan.size(150, 60)
    samples = []
    rounds = plan.rounds(case)
    with served(MEMBERS) as target:
        _, frame = target.run(1)
        with bare(MEMBERS, frame) as floor:
            for number in rounds:
                sample, _ = target.run(messages * 2 // burst if burst > 1 else messages, burst)
                least, _ = floor.run(messages)
                sample = Sample(sample.value, least.value, sample.others)
                samples.append(plan.tell(case, number, sample, UNIT))
    return [Row(case, UNIT, samples, "sends", goal)]


def fanout_large(plan: Plan) -> list[Row]:
    """A group of 10,000 of whom 1,000 are online, against the one where all are."""
    case, messages = "fanout_large", plan.size(150, 60)
    samples = []
    rounds = plan.rounds(case)
    with served(MEMBERS, members=10_000) as target:
        for number in rounds:
            sample, _ = target.run(messages, group=_LARGE_GROUP)
            small, _ = target.run(messages)
            sample = Sample(sample.value, small.value, sample.others)
            samples.append(plan.tell(case, number, sample, UNIT))
    return [Row(case, UNIT, samples, "fanout", 1.2)]


def workers(plan: Plan) -> list[Row]:
    """Two workers, parent included, against one."""
    case, messages = "workers", plan.size(150, 60)
    samples = []
    rounds = plan.rounds(case)
    with served(MEMBERS, workers=2) as two, served(MEMBERS) as one:
        for number in rounds:
            sample, _ = two.run(messages)
            single, _ = one.run(messages)
            sample = Sample(sample.value, single.value, sample.others)
            samples.append(plan.tell(case, number, sample, UNIT))
    return [Row(case, UNIT, samples, "one worker", 1.15)]


def growth(plan: Plan) -> list[Row]:
    """The cost at each size, floor beside it; then what the largest cost beyond 100 is to that."""
    sizes = (10, 100, 1_000) if plan.quick else (10, 100, 1_000, 10_000)
    deliveries = plan.size(150_000, 40_000)
    found: dict[int, list[Sample]] = {size: [] for size in sizes}
    rounds = plan.rounds("growth")
    with ExitStack() as stack:
        targets = {}
        for size in sizes:
            say(f"growth: connecting {size}")
            target = stack.enter_context(served(size))
            _, frame = target.run(1)
            targets[size] = target, stack.enter_context(bare(size, frame))
        for number in rounds:
            for size, (target, floor) in targets.items():
                # Small groups need not be measured to the same number of deliveries.
                messages = min(max(deliveries // size, 10), 500)
                sample, _ = target.run(messages)
                least, _ = floor.run(messages)
                sample = Sample(sample.value, least.value, sample.others)
                found[size].append(plan.tell(f"growth at {size}", number, sample, UNIT))
    rows = [Row(f"growth at {n}", UNIT, some, "sends", size=n) for n, some in found.items()]
    larger = [size for size in sizes if size > 100]
    worst = max(larger, key=lambda size: median(sample.value for sample in found[size]))
    ratios = [
        Sample(high.value, low.value, high.others)
        for high, low in zip(found[worst], found[100], strict=True)
    ]
    return [*rows, Row("growth", UNIT, ratios, "at 100", 1.3, note=f"of {worst} online to 100")]
