"""What one client's flood costs another: `python -m bench.floods [--flood NAME] [--rate N]`.

Two friends chat at a steady rate on a gateway as in production, with its limits. How long their
messages take is measured in turn without and with a third client that floods.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import NamedTuple, cast

import structlog

from bench.chat_load import Chat
from bench.cpu import cpu_used
from bench.flood_load import FLOODS, HTTP_FLOODS
from bench.plan import CONTENT, say
from bench.remote import Remote
from bench.server import Gateway, gateway, users

PAIR_RATE = 50.0
"""Messages per second of the two friends together."""

_NAMES = [*FLOODS, *HTTP_FLOODS]
_DEADLINE = 120.0
_OPENING = 1
_SETTLING = 1.0
"""Seconds of a flood before it is measured."""


class Times(NamedTuple):
    """Of messages from when they were due to their arrival, in milliseconds.

    `cpu`: milliseconds of CPU in a second, of the gateway with its Valkey and services.
    """

    p50: float
    p99: float
    cpu: float


def main() -> int:
    """Measure, and print a line for each flood."""
    arguments = _parser().parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    names = arguments.flood or _NAMES
    print("| flood | a second | p50 (ms) | p99 (ms) | p99 ratio | CPU (ms/s) |")
    print("|---|---|---|---|---|---|")
    for name in names:
        without, with_flood = _measure(name, arguments.rate, arguments.runs, arguments.seconds)
        print(_line(name, arguments.rate, without, with_flood), flush=True)
    return 0


def _measure(
    name: str, rate: float, runs: int, seconds: float
) -> tuple[Sequence[Times], Sequence[Times]]:
    people = users(3)
    without, with_flood = [], []
    with ExitStack() as stack:
        pair = (people[0], people[1])
        server = stack.enter_context(gateway(friends=[pair], limited=True))
        chatters = stack.enter_context(Remote("bench.chat_load", "Chatters"))
        chatters.call("connect", server.port, server.tokens(pair), _OPENING, timeout=_DEADLINE)
        chatters.call("introduce", pair, CONTENT, timeout=_DEADLINE)
        chatters.call("ignore", _SETTLING, timeout=_DEADLINE)
        _times(server, chatters, 2.0)
        for run in range(1, runs + 1):
            without.append(_times(server, chatters, seconds))
            with _flooding(server, people[2], name, rate):
                chatters.call("ignore", _SETTLING, timeout=_DEADLINE)
                with_flood.append(_times(server, chatters, seconds))
            say(f"{name}: run {run} of {runs}: without {without[-1]}, with {with_flood[-1]}")
            chatters.call("ignore", _SETTLING, timeout=_DEADLINE)
    return without, with_flood


@contextmanager
def _flooding(server: Gateway, user_id: int, name: str, rate: float) -> Iterator[None]:
    with Remote("bench.flood_load", "Flooder") as flooder:
        [token] = server.tokens([user_id])
        if name in HTTP_FLOODS:
            flooder.tell("flood_http", server.port, token, name, rate)
        else:
            flooder.call("connect", server.port, [token], _OPENING, timeout=_DEADLINE)
            flooder.tell("flood", name, rate)
        yield


def _times(server: Gateway, chatters: Remote, seconds: float) -> Times:
    with cpu_used(server.pids) as used:
        seen = cast(Chat, chatters.call("chat_at", PAIR_RATE, seconds, timeout=_DEADLINE + seconds))
    times = sorted(1e3 * latency for latency in seen.latencies)
    p50, p99 = (times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    return Times(p50, p99, 1e3 * sum(used.values()) / seconds)


def _line(name: str, rate: float, without: Sequence[Times], with_flood: Sequence[Times]) -> str:
    before = Times(*map(median, zip(*without, strict=True)))
    after = Times(*map(median, zip(*with_flood, strict=True)))
    ratio = median(bad.p99 / good.p99 for good, bad in zip(without, with_flood, strict=True))
    speed = f"{rate:g}" if rate else "all it can"
    return (
        f"| `{name}` | {speed} | {before.p50:.1f} to {after.p50:.1f}"
        f" | {before.p99:.1f} to {after.p99:.1f} | {ratio:.1f}"
        f" | {before.cpu:.0f} to {after.cpu:.0f} |"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.floods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--flood", action="append", choices=_NAMES, help="repeatable; default: all")
    parser.add_argument("--rate", type=float, default=180.0, help="frames a second; 0: no pause")
    parser.add_argument("--runs", type=int, default=3, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run; default %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
