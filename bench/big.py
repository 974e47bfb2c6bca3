"""Cases of the large: a group of 100,000 of whom 10,000 are here, a user with 5,000 friends."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import cast

from redis import Redis

from bench.cpu import cpu_used
from bench.load import Fanout
from bench.machine import most_connections
from bench.plan import CONTENT, Plan
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import Gateway, gateway, users
from skyeim_ws.store.member_fills import UNVERIFIED_TTL, members_key
from skyeim_ws.store.member_lists import LARGE_TTL

MEMBERS, QUICK_MEMBERS = 100_000, 20_000
HERE, QUICK_HERE = 10_000, 2_000
FRIENDS, QUICK_FRIENDS = 5_000, 1_000

_GROUP, _SMALL_GROUP = "g_big", "g_here"
_OPENING = 1
_DEADLINE = 600.0
_WATCH = 3.0
"""Seconds around a change in which somebody else's pings show how long the loop is held up."""


@dataclass(frozen=True, slots=True)
class Big:
    """A gateway with a crowd, and somebody who is in no group and nobody's friend."""

    server: Gateway
    crowd: Remote
    watcher: Remote

    @contextmanager
    def held_up(self, found: list[Sample]) -> Iterator[None]:
        """Add the longest round trip of a stranger's ping during the block, in milliseconds."""
        self.watcher.tell("pongs", _WATCH)
        yield
        found.append(Sample(1e3 * self.watcher.answer("pongs", _DEADLINE)))

    def message(self, group_id: str) -> tuple[float, float]:
        """Send a message to the group; return seconds until all have it, and CPU seconds."""
        with cpu_used({"gateway": self.server.pids["gateway"]}) as used:
            told = cast(
                Fanout,
                self.crowd.call("fanout", group_id, CONTENT, 1, 1, True, timeout=_DEADLINE),
            )
        return told.seconds, used["gateway"]


@contextmanager
def _big(server: Gateway, here: range, stranger: int) -> Iterator[Big]:
    with Remote("bench.chat_load", "Chatters") as crowd, Remote("bench.watch", "Watch") as watcher:
        crowd.call("connect", server.port, server.tokens(here), _OPENING, timeout=_DEADLINE)
        crowd.call("introduce", here, "", timeout=_DEADLINE)
        crowd.call("ignore", 1.0, timeout=_DEADLINE)
        [token] = server.tokens([stranger])
        watcher.call("connect", server.port, [token], _OPENING, timeout=_DEADLINE)
        yield Big(server, crowd, watcher)


def big_group(plan: Plan) -> list[Row]:
    """The members of a large group are found, and found again after a change."""
    case, members = "big", plan.size(MEMBERS, QUICK_MEMBERS)
    people = users(members + 1)
    here = people[: min(plan.size(HERE, QUICK_HERE), most_connections())]
    groups = {_GROUP: people[:-1], _SMALL_GROUP: here}
    firsts, changes = [], []
    finding: list[Sample] = []
    holds: list[Sample] = []
    rests: list[Sample] = []
    rounds = plan.rounds(case)
    with ExitStack() as stack:
        server = stack.enter_context(gateway(groups=groups))
        big = stack.enter_context(_big(server, here, people[-1]))
        redis = stack.enter_context(Redis(unix_socket_path=str(server.redis)))
        for _ in range(3):
            big.message(_SMALL_GROUP)
        empty = server.resident
        with big.held_up(finding):
            seconds, _ = big.message(_GROUP)
        firsts.append(Sample(1e3 * seconds, 1e3 * big.message(_SMALL_GROUP)[0]))
        _until_filled(redis, members)
        big.message(_GROUP)
        memory = Sample((server.resident - empty) / 2**20)
        for number in rounds:
            with big.held_up(rests):
                big.message(_SMALL_GROUP)
            redis.sadd(members_key(_GROUP), people[-1] + 1 + number)
            time.sleep(LARGE_TTL)  # as long as a list that has changed is used
            with big.held_up(holds):
                _, cpu = big.message(_GROUP)
            _, least = big.message(_SMALL_GROUP)
            changes.append(plan.tell(case, number, Sample(1e3 * cpu, 1e3 * least), "ms CPU"))
    note = f"{members:,} members, {len(here):,} of them here"
    return [
        Row("big memory", "MB", [memory], note=f"{note}: the list, and who of it is here"),
        Row("big first", "ms", firsts, "small group", note="from the service, until all have it"),
        Row("big change", "ms CPU", changes, "small group", note="a message after one has joined"),
        Row("big first wait", "ms", finding, note="longest round trip of a stranger's ping"),
        Row(
            "big wait",
            "ms",
            [Sample(a.value, b.value) for a, b in zip(holds, rests, strict=True)],
            "small group",
        ),
    ]


def big_user(plan: Plan) -> list[Row]:
    """A user with thousands of friends, of whom half are here, comes and goes."""
    case, count = "big_user", plan.size(FRIENDS, QUICK_FRIENDS)
    people = users(count + 2)
    star, stranger = people[-2], people[-1]
    friends = [(star, friend) for friend in people[:count]]
    costs = []
    holds: list[Sample] = []
    rounds = plan.rounds(case)
    with ExitStack() as stack:
        server = stack.enter_context(gateway(friends=friends))
        big = stack.enter_context(_big(server, people[: count // 2], stranger))
        come = stack.enter_context(Remote("bench.load", "Crowd"))
        for number in rounds:
            with big.held_up(holds), cpu_used({"gateway": server.pids["gateway"]}) as used:
                tokens = server.tokens([star])
                come.call("connect", server.port, tokens, _OPENING, timeout=_DEADLINE)
                big.crowd.call("ignore", 1.0, timeout=_DEADLINE)
                come.call("close", timeout=_DEADLINE)
                big.crowd.call("ignore", 1.0, timeout=_DEADLINE)
            costs.append(plan.tell(case, number, Sample(1e3 * used["gateway"]), "ms CPU"))
    note = f"{count:,} friends, {count // 2:,} of them here"
    return [
        Row(
            "big_user", "ms CPU", costs, note=f"{note}; a login and its end, and a stranger's pings"
        ),
        Row("big_user wait", "ms", holds, note="longest round trip of a stranger's ping"),
    ]


def _until_filled(redis: Redis, members: int) -> None:
    """Wait until the list is in Redis, and compared with the service."""
    deadline = time.monotonic() + _DEADLINE
    while (
        redis.scard(members_key(_GROUP)) != members
        or redis.ttl(members_key(_GROUP)) <= UNVERIFIED_TTL
    ):
        if time.monotonic() > deadline:
            raise TimeoutError("the members have not come into Redis")
        time.sleep(0.2)
