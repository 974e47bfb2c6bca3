"""Estimates what a large deployment needs, from measured unit costs: `python -m bench.model`.

It reads what `python -m bench` has written, and prints tables. It is arithmetic on costs of one
small machine: good for which part is full first, and for whether a plan is off by ten times.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, exp, log
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec

MODEL_CASES = ("idle", "connect", "rates", "private", "growth", "across", "huge", "huge_tls")
"""Which cases of `python -m bench` it needs."""

SAFE = 0.6
"""Share of a core that is planned with: the rest is for the peaks and for nodes that are away."""

_RATES, _CLOSED_LOOP = (100, 300, 1_000), 8_000
"""Private messages of a second; as many as a process can is the case `private`."""

_PING_INTERVAL = 54.0
_GROUP = 10
_MICRO = 1e-6


@dataclass(frozen=True)
class World:
    """Who is there, and what they do; a user is one connection."""

    users: int = 10_000_000
    nodes: int = 100
    messages_per_hour: float = 20.0
    """Of each user."""
    share_of_groups: float = 0.4
    members_online: int = 20
    """Of a group to which a message goes."""
    friends_online: int = 20
    session_hours: float = 2.0

    @property
    def privates(self) -> float:
        """Return the private messages of a second."""
        return self.users * self.messages_per_hour / 3_600 * (1 - self.share_of_groups)

    @property
    def groups(self) -> float:
        """Return the group messages of a second."""
        return self.users * self.messages_per_hour / 3_600 * self.share_of_groups

    @property
    def logins(self) -> float:
        """Return the logins of a second."""
        return self.users / (3_600 * self.session_hours)

    @property
    def hearing(self) -> float:
        """Return on how many nodes the members of a group are, spread as by chance."""
        return self.nodes * (1 - (1 - 1 / self.nodes) ** self.members_online)


class Cost(NamedTuple):
    """CPU microseconds in each kind of process."""

    gateway: float
    redis: float = 0.0
    services: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What one of each costs."""

    privates: Mapping[int, Cost]
    """A private message on one node, by the messages of a second in that process."""
    crossing: Cost
    """What it costs more from one node to another."""
    group: Cost
    """A group message without its deliveries."""
    delivery: float
    login: Cost
    ping: float
    connection_kb: float
    tls_kb: float
    redis_kb: float
    """In Redis for each user who is online."""

    def private(self, rate: float) -> Cost:
        """Return what a private message costs at a rate, between measured ones by logarithms."""
        rates = sorted(self.privates)
        rate = min(max(rate, rates[0]), rates[-1])
        upper = next(each for each in rates if each >= rate)
        lower = max((each for each in rates if each <= rate), default=upper)
        part = 0.0 if upper == lower else log(rate / lower) / log(upper / lower)
        low, high = self.privates[lower], self.privates[upper]
        return Cost(*(exp(log(a) + part * log(b / a)) for a, b in zip(low, high, strict=True)))


class Part(NamedTuple):
    """CPU seconds in a second for one activity, over all processes of a kind."""

    name: str
    cores: Cost


class _Sample(msgspec.Struct):
    others: dict[str, float]


class _Row(msgspec.Struct):
    case: str
    median: float
    samples: list[_Sample]

    def other(self, name: str) -> float:
        """Return what somebody else has used; the median."""
        return median([sample.others.get(name, 0.0) for sample in self.samples])

    @property
    def cost(self) -> Cost:
        """Return the row as a cost."""
        return Cost(self.median, self.other("valkey"), self.other("services"))


class _Results(msgspec.Struct):
    rows: list[_Row]


def costs(results: bytes) -> Costs:
    """Read the unit costs from what `python -m bench` has written.

    Raises KeyError for a case that was not measured, msgspec.MsgspecError.
    """
    rows = {row.case: row for row in msgspec.json.decode(results, type=_Results).rows}
    one, many = rows["growth at 10"].median, rows["growth at 1000"].median
    # Of n deliveries each costs: delivery + message / n.
    delivery = (1_000 * many - 10 * one) / 990
    group = rows[f"group of {_GROUP} at 300/s"].cost
    crossing = zip(rows["across private"].cost, rows["private"].cost, strict=True)
    beats = rows["huge CPU"]
    return Costs(
        privates={rate: rows[f"private at {rate:,}/s"].cost for rate in _RATES}
        | {_CLOSED_LOOP: rows["private"].cost},
        crossing=Cost(*(max(a - b, 0.0) for a, b in crossing)),
        group=group._replace(gateway=group.gateway - (_GROUP - 1) * delivery),
        delivery=delivery,
        login=rows["connect"].cost,
        ping=beats.median / 100 / beats.other("pings") / _MICRO,
        connection_kb=rows["huge memory"].median,
        tls_kb=rows["huge_tls memory"].median,
        redis_kb=rows["huge Redis"].median,
    )


def parts(world: World, unit: Costs) -> list[Part]:
    """Return what the activities need."""
    rate = (world.privates + world.groups) / world.nodes
    private = unit.private(rate)
    away = 1 - 1 / world.nodes
    crossing = Cost(*(away * each for each in unit.crossing))
    # Each node that hears a message has work with it like that of a delivery or two.
    spread = world.members_online * unit.delivery + 2 * world.hearing * unit.delivery
    told = 2 * world.friends_online * unit.delivery
    return [
        Part("private messages", _times(world.privates, private)),
        Part("from node to node", _times(world.privates, crossing)),
        Part("group messages", _times(world.groups, unit.group)),
        Part("their deliveries", _times(world.groups, Cost(spread))),
        Part("logins, ends", _times(world.logins, unit.login)),
        Part("friends told", _times(world.logins, Cost(told))),
        Part("heartbeats", _times(world.users / _PING_INTERVAL, Cost(unit.ping))),
    ]


def total(some: Sequence[Part]) -> Cost:
    """Return the cores that all activities need."""
    return Cost(*(sum(column) for column in zip(*(part.cores for part in some), strict=True)))


def tables(world: World, unit: Costs) -> str:
    """Return the estimate as Markdown."""
    found = parts(world, unit)
    cores = total(found)
    lines = [
        f"{world.users:,} users on {world.nodes} nodes: {world.privates:,.0f} private and"
        f" {world.groups:,.0f} group messages and {world.logins:,.0f} logins a second.",
        "",
        "| | a gateway process, % of a core | Redis, cores | services, cores |",
        "|---|---|---|---|",
    ]
    for name, cost in [*found, Part("all", cores)]:
        share = 100 * cost.gateway / world.nodes
        lines.append(f"| {name} | {share:.1f} | {cost.redis:.1f} | {cost.services:.1f} |")
    users = world.users / world.nodes
    lines += [
        "",
        "| | one of them has | it can have | full at, in users |",
        "|---|---|---|---|",
    ]
    shards = ceil(cores.redis / SAFE)
    limits = [
        ("gateway process, core", cores.gateway / world.nodes, SAFE, ""),
        ("one Redis, core", cores.redis, SAFE, f"{shards} shards"),
        ("services of one machine with 16 cores", cores.services, 16 * SAFE, ""),
    ]
    for name, used, limit, remedy in sorted(limits, key=lambda each: each[2] / each[1]):
        full = f"{world.users * limit / used:,.0f}" + (f"; needed: {remedy}" if remedy else "")
        lines.append(f"| {name} | {used:.2f} | {limit:.2f} | {full} |")
    memory = users * unit.connection_kb / 2**20
    lines += [
        "",
        f"Memory of a gateway process: {memory:.2f} GB for {users:,.0f} connections,"
        f" {users * unit.tls_kb / 2**20:.2f} GB over TLS. Memory of Redis for who is online:"
        f" {world.users * unit.redis_kb / 2**20:.1f} GB in all.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the estimate, and draw it on request; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.model", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("bench-results/results.json"))
    parser.add_argument("--users", type=int, default=World.users)
    parser.add_argument("--nodes", type=int, default=World.nodes)
    parser.add_argument("--picture", type=Path, help="a PNG to draw; needs matplotlib")
    arguments = parser.parse_args()
    try:
        unit = costs(arguments.results.read_bytes())
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        cases = " ".join(f"--case {case}" for case in MODEL_CASES)
        print(f"{arguments.results}: {error}; run: python -m bench {cases}", file=sys.stderr)
        return 1
    world = World(users=arguments.users, nodes=arguments.nodes)
    print(tables(world, unit))
    if arguments.picture is not None:
        # Only here: whoever has no use for the picture needs no matplotlib.
        from bench import plot  # noqa: PLC0415

        plot.write_scale(arguments.picture, world, unit)
    return 0


def _times(rate: float, cost: Cost) -> Cost:
    return Cost(*(rate * _MICRO * each for each in cost))


if __name__ == "__main__":
    sys.exit(main())
