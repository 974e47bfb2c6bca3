"""Cases of private chat: what a message costs, against an echo, and how long it takes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import cast

from bench.chat_load import Chat
from bench.cpu import cpu_used
from bench.plan import CONTENT, Plan, say
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import gateway, users

PAIRS = 500
GROUPS, GROUP_SIZE = 100, 10
RATES = (100, 300, 1_000, 4_000)
GROUP_RATE = 300

UNIT = "us/message"

_OPENING = 1
_DEADLINE = 300.0
_PING_INTERVAL = 54.0
_WARM_RATE = 1_000, 1
_LEAST_SECONDS, _LEAST_QUICK = 8, 3


@dataclass(frozen=True, slots=True)
class Target:
    """A server with connected pairs, and how they are run."""

    crowd: Remote
    pids: Mapping[str, Sequence[int]]
    method: str

    def run(self, *arguments: float) -> tuple[Sample, Chat]:
        """Return what a message costs in microseconds, and what the load has seen."""
        with cpu_used(self.pids) as used:
            seen = cast(Chat, self.crowd.call(self.method, *arguments, timeout=_DEADLINE))
        costs = {name: 1e6 * seconds / seen.messages for name, seconds in used.items()}
        return Sample(costs.pop("gateway"), others=costs), seen

    def at_rate(self, method: str) -> "Target":
        """Return the same server, run by a method that takes a rate and seconds."""
        return replace(self, method=method)


@contextmanager
def chatting() -> Iterator[Target]:
    """Run a gateway with pairs of friends, warm."""
    people = users(2 * PAIRS)
    pairs = list(zip(people[::2], people[1::2], strict=True))
    with ExitStack() as stack:
        server = stack.enter_context(gateway(friends=pairs, ping_interval=_PING_INTERVAL))
        crowd = stack.enter_context(Remote("bench.chat_load", "Chatters"))
        crowd.call("connect", server.port, server.tokens(people), _OPENING, timeout=_DEADLINE)
        crowd.call("introduce", people, CONTENT, timeout=_DEADLINE)
        # Friends are told who has come, which is not what is measured.
        crowd.call("ignore", 2.0, timeout=_DEADLINE)
        target = Target(crowd, {**server.pids, "load": [crowd.pid]}, "chat")
        target.run(4 * PAIRS)
        yield target


@contextmanager
def grouped() -> Iterator[Target]:
    """Run a gateway with small groups, all online, warm."""
    people = users(GROUP_SIZE * GROUPS)
    groups = {
        f"g_{number}": people[GROUP_SIZE * number : GROUP_SIZE * (number + 1)]
        for number in range(GROUPS)
    }
    with ExitStack() as stack:
        server = stack.enter_context(gateway(groups=groups, ping_interval=_PING_INTERVAL))
        crowd = stack.enter_context(Remote("bench.chat_load", "Chatters"))
        crowd.call("connect", server.port, server.tokens(people), _OPENING, timeout=_DEADLINE)
        crowd.call("introduce_groups", list(groups), GROUP_SIZE, CONTENT, timeout=_DEADLINE)
        target = Target(crowd, {**server.pids, "load": [crowd.pid]}, "chat_at")
        target.run(*_WARM_RATE)
        yield target


@contextmanager
def echoing() -> Iterator[Target]:
    """Run floor (b) with as many connections, warm."""
    with (
        Remote("bench.floor", "Tornado") as server,
        Remote("bench.chat_load", "Chatters") as crowd,
    ):
        port = server.call("listen", timeout=_DEADLINE)
        server.tell("serve")
        people = users(2 * PAIRS)
        crowd.call("connect", port, ["-"] * len(people), 0, timeout=_DEADLINE)
        crowd.call("introduce", people, CONTENT, timeout=_DEADLINE)
        target = Target(crowd, {"gateway": [server.pid], "load": [crowd.pid]}, "echo")
        target.run(4 * PAIRS)
        yield target


def private(plan: Plan) -> list[Row]:
    """500 pairs chat; both acks, storing and confirming included."""
    case, messages = "private", plan.size(15_000, 6_000)
    samples = []
    rounds = plan.rounds(case)
    with chatting() as target, echoing() as floor:
        for number in rounds:
            sample, _ = target.run(messages)
            least, _ = floor.run(messages)
            sample = Sample(sample.value, least.value, sample.others)
            samples.append(plan.tell(case, number, sample, UNIT))
    return [Row(case, UNIT, samples, "echo", 4.0)]


def latency(plan: Plan) -> list[Row]:
    """From when a send was due to its arrival, at half of what a closed loop can reach."""
    seconds, messages = plan.size(10, 3), plan.size(15_000, 6_000)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    found: dict[str, list[Sample]] = {name: [] for name in shares}
    rounds = plan.rounds("latency")
    with chatting() as target:
        rates, costs = [], []
        for _ in range(3):
            _, seen = target.run(messages)
            rates.append(seen.messages / seen.seconds)
        capacity = max(rates)
        say(f"latency: capacity {capacity:,.0f} messages/s")
        paced = target.at_rate("chat_at")
        for number in rounds:
            sample, seen = paced.run(capacity / 2, seconds)
            costs.append(sample)
            at = quantiles(seen, **shares)
            for name, value in at.items():
                floor = at["p50"] if name == "p99" else None
                found[name].append(Sample(value, floor))
            plan.tell("latency p99", number, found["p99"][-1], "ms")
    note = f"at {capacity / 2:,.0f} messages/s"
    return [
        Row("capacity", "messages/s", [Sample(rate) for rate in rates]),
        Row("private at half", UNIT, costs, note=note),
        *(
            Row(
                f"latency {name}",
                "ms",
                samples,
                "p50" if name == "p99" else "",
                10.0 if name == "p99" else None,
                note=note,
            )
            for name, samples in found.items()
        ),
    ]


def rates(plan: Plan) -> list[Row]:
    """What a message costs, and how long it takes, at light load as at full; echo likewise."""
    found: dict[str, list[Sample]] = {}
    rounds = plan.rounds("rates")
    seconds = plan.size(_LEAST_SECONDS, _LEAST_QUICK)
    with chatting() as target, grouped() as groups, echoing() as floor:
        cases = {f"private at {rate:,}/s": (target, rate) for rate in RATES}
        cases[f"group of {GROUP_SIZE} at {GROUP_RATE}/s"] = groups, GROUP_RATE
        for number in rounds:
            for case, (server, rate) in cases.items():
                sample, seen = server.at_rate("chat_at").run(rate, seconds)
                least, _ = floor.at_rate("echo_at").run(rate, seconds)
                sample = Sample(sample.value, least.value, sample.others)
                found.setdefault(case, []).append(plan.tell(case, number, sample, UNIT))
                for name, value in quantiles(seen, p50=0.5, p99=0.99).items():
                    found.setdefault(f"{case} {name}", []).append(Sample(value))
    return [
        Row(case, UNIT, samples, "echo") if case in cases else Row(case, "ms", samples)
        for case, samples in found.items()
    ]


def quantiles(seen: Chat, **shares: float) -> dict[str, float]:
    """Return latencies in milliseconds by the name of their share."""
    times = sorted(1e3 * latency for latency in seen.latencies)
    return {name: times[int(share * (len(times) - 1))] for name, share in shares.items()}
