"""A crowd with friends and groups that logs in as fast as it can, as after a restart."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain

from bench.connections import Target
from bench.cpu import cpu_used
from bench.machine import require_descriptors
from bench.plan import Plan, say
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import NEVER, gateway, resident_bytes, users

FULL, QUICK = 10_000, 2_000

_FRIENDS, _GROUPS, _GROUP_SIZE = 100, 20, 100
_AT_ONCE = 2_000
_OPENING = 1
_DEADLINE = 600.0
_QUIET = 5.0
"""Seconds without news after which all friends have been told."""


def storm(plan: Plan) -> list[Row]:
    """Log all in, each with friends and groups among the others, and count what friends hear."""
    case, count = "storm", plan.size(FULL, QUICK)
    require_descriptors(count)
    people = users(count)
    samples, told, most = [], 0, 0
    with ExitStack() as stack:
        say(f"{case}: filling the database")
        server = stack.enter_context(
            gateway(groups=_groups(people), friends=_friends(people), ping_interval=NEVER)
        )
        crowd = stack.enter_context(Remote("bench.chat_load", "Chatters"))
        pids = {**server.pids, "load": [crowd.pid]}
        crowd.call("hurry", _AT_ONCE, timeout=_DEADLINE)
        target = Target(server.port, server.tokens(people), crowd, pids, server)
        [pid] = pids["gateway"]
        for number in plan.rounds(case):
            began = time.monotonic()
            with cpu_used(pids) as used:
                crowd.call("connect", server.port, target.tokens, _OPENING, timeout=_DEADLINE)
                took = time.monotonic() - began
                told, most = crowd.call("hear", _QUIET, timeout=_DEADLINE)
                target.settle(count)
            costs = {name: 1e6 * seconds / count for name, seconds in used.items()}
            megabytes = resident_bytes(pid) / 1e6
            others = {"logins/s": count / took, "told": float(told), "MB": megabytes}
            sample = Sample(costs.pop("gateway"), others=costs | others)
            samples.append(plan.tell(case, number, sample, "us/login"))
            target.disconnect()
    note = f"{count:,} users with {_FRIENDS} friends and {_GROUPS} groups each, "
    note += f"{_AT_ONCE:,} at a time; {told:,} news for friends, of each at most {most}"
    return [Row(case, "us/login", samples, note=note)]


def _friends(people: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs: each is a friend of those beside, on both sides."""
    count = len(people)
    return [
        (person, people[(place + step) % count])
        for place, person in enumerate(people)
        for step in range(1, _FRIENDS // 2 + 1)
    ]


def _groups(people: Sequence[int]) -> dict[str, Sequence[int]]:
    """Return so many groups for each, every time other ones beside him."""
    found: dict[str, Sequence[int]] = {}
    for series in range(_GROUPS):
        stride = series + 1
        order = list(chain.from_iterable(people[start::stride] for start in range(stride)))
        for start in range(0, len(order), _GROUP_SIZE):
            found[f"g_{series}_{start}"] = order[start : start + _GROUP_SIZE]
    return found
