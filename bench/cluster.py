"""Cases of a cluster: what its nodes cost one another, and messages from one to another."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import mean

from bench.cpu import cpu_used
from bench.plan import CONTENT, Plan, say
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import gateway, node, users

SIZES, QUICK_SIZES = (1, 2, 4, 8), (1, 8)
MEMBERS = 200

UNIT = "us/message"

_GROUP = "g_bench"
_ELSEWHERE = 100
"""Users on each of the other nodes."""

_OPENING = 1
_DEADLINE = 300.0
_WARM_UP_PAUSE = 1.5


@dataclass(frozen=True, slots=True)
class Cluster:
    """Nodes on one Redis; the members of the group are on the first one."""

    crowd: Remote
    pids: Mapping[str, Sequence[int]]
    """Processes: `node 0` and so on, `valkey`, `services`."""

    def run(self, messages: int) -> dict[str, float]:
        """Return the CPU microseconds of each for a message, without what they use at rest."""
        began = time.perf_counter()
        with cpu_used(self.pids) as used:
            self.crowd.call("fanout", _GROUP, CONTENT, messages, 1, True, timeout=_DEADLINE)
        seconds = time.perf_counter() - began
        with cpu_used(self.pids) as rested:
            time.sleep(seconds)
        return {name: 1e6 * (cpu - rested[name]) / messages for name, cpu in used.items()}


@contextmanager
def cluster(size: int) -> Iterator[Cluster]:
    """Run so many nodes, warm."""
    members = users(MEMBERS + 1)
    with ExitStack() as stack:
        first = stack.enter_context(gateway(groups={_GROUP: members}))
        crowd = stack.enter_context(Remote("bench.load", "Crowd"))
        crowd.call("connect", first.port, first.tokens(members), _OPENING, timeout=_DEADLINE)
        pids = {"node 0": first.pids["gateway"]}
        for number in range(1, size):
            other = stack.enter_context(node(first))
            pids[f"node {number}"] = other.pids["gateway"]
            people = users(_ELSEWHERE, start=1_000 * number)
            idlers = stack.enter_context(Remote("bench.load", "Crowd"))
            idlers.call("connect", other.port, first.tokens(people), _OPENING, timeout=_DEADLINE)
        for kind in ("valkey", "services"):
            pids[kind] = first.pids[kind]
        found = Cluster(crowd, pids)
        found.run(3)
        time.sleep(_WARM_UP_PAUSE)
        found.run(20)
        yield found


def spread(plan: Plan) -> list[Row]:
    """What a group message costs with 1 to 8 nodes, and the nodes that have none of its members."""
    case, messages = "cluster", plan.size(400, 100)
    sizes = QUICK_SIZES if plan.quick else SIZES
    totals: dict[int, list[Sample]] = {size: [] for size in sizes}
    others: dict[int, list[Sample]] = {size: [] for size in sizes}
    rounds = plan.rounds(case)
    with ExitStack() as stack:
        clusters = {}
        for size in sizes:
            say(f"{case}: starting {size} nodes")
            clusters[size] = stack.enter_context(cluster(size))
        for number in rounds:
            for size, nodes in clusters.items():
                used = nodes.run(messages)
                shared = {name: used[name] for name in ("valkey", "services")}
                alone = totals[sizes[0]][number - 1].value if size > 1 else None
                sample = Sample(sum(used.values()), alone, shared)
                totals[size].append(plan.tell(f"{case} of {size}", number, sample, UNIT))
                if size > 1:
                    idle = mean(used[f"node {each}"] for each in range(1, size))
                    others[size].append(Sample(idle, used["node 0"]))
    note = f"all processes; a group of {MEMBERS} on one node, {_ELSEWHERE} users on each other one"
    rows = [
        Row(
            f"cluster of {size}",
            UNIT,
            samples,
            "one node" if size > 1 else "",
            1.1 if size == sizes[-1] else None,
            note=note,
        )
        for size, samples in totals.items()
    ]
    last = sizes[-1]
    return [*rows, Row("cluster others", UNIT, others[last], "with members", 0.02)]


def across(plan: Plan) -> list[Row]:
    """Pairs of friends of whom each is on another node, and a group that is on both."""
    case, messages = "across", plan.size(6_000, 2_000)
    people = users(2 * MEMBERS)
    pairs = list(zip(people[:MEMBERS], people[MEMBERS:], strict=True))
    privates, groups = [], []
    rounds = plan.rounds(case)
    with ExitStack() as stack:
        first = stack.enter_context(gateway(groups={_GROUP: people}, friends=pairs))
        second = stack.enter_context(node(first))
        crowd = stack.enter_context(Remote("bench.chat_load", "Chatters"))
        for port, some in (first.port, people[:MEMBERS]), (second.port, people[MEMBERS:]):
            crowd.call("connect", port, first.tokens(some), _OPENING, timeout=_DEADLINE)
        crowd.call("introduce_halves", people, CONTENT, timeout=_DEADLINE)
        crowd.call("ignore", 3.0, timeout=_DEADLINE)
        pids = {**first.pids, "gateway": [*first.pids["gateway"], *second.pids["gateway"]]}

        def run(method: str, *arguments: object, count: int) -> Sample:
            with cpu_used(pids) as used:
                crowd.call(method, *arguments, timeout=_DEADLINE)
            costs = {name: 1e6 * cpu / count for name, cpu in used.items()}
            return Sample(costs.pop("gateway"), others=costs)

        run("chat", messages // 10, count=1)
        for number in rounds:
            sample = run("chat", messages, count=messages)
            privates.append(plan.tell(case, number, sample, UNIT))
            crowd.call("ignore", 1.0, timeout=_DEADLINE)
            said = messages // 20
            sample = run("fanout", _GROUP, CONTENT, said, 1, True, count=said * len(people))
            groups.append(plan.tell(f"{case} group", number, sample, "us/delivery"))
    note = f"{MEMBERS} pairs, or a group of {2 * MEMBERS}, over two nodes"
    return [
        Row("across private", UNIT, privates, note=note),
        Row("across group", "us/delivery", groups, note=note),
    ]
