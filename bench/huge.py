"""Cases of a full process: 100,000 connections that say nothing, and 10,000 over TLS."""

import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from os import kill
from pathlib import Path
from statistics import median
from typing import cast

from redis import Redis

from bench.chat import quantiles
from bench.chat_load import Chat
from bench.connections import settle
from bench.cpu import cpu_seconds, cpu_used
from bench.machine import kernel_bytes, most_connections
from bench.plan import CONTENT, Plan, say
from bench.remote import Remote
from bench.results import Row, Sample
from bench.server import Gateway, certify, gateway, resident_bytes, users

FULL, QUICK = 100_000, 4_000
TLS_FULL, TLS_QUICK = 10_000, 3_000

_CHATTING = 1_000
_CROWD = 15_000
"""Connections of one process of the load, each of which has an address of its own."""

_GROUP_SIZE = 100
_OPENING = 1
_DEADLINE = 900.0
_PING_INTERVAL = 54.0
_RATE = 300
_SHUTDOWN_SECONDS = 120
_MORE = f"Shutdown: {{WaitTime: {_SHUTDOWN_SECONDS}s}}\n"


@dataclass(slots=True)
class Full:
    """A gateway and the processes of its load; the first thousand people are pairs of friends."""

    server: Gateway
    people: range
    stack: ExitStack
    crowds: list[Remote] = field(default_factory=list)

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """Return the processes by what they are."""
        return {**self.server.pids, "load": [crowd.pid for crowd in self.crowds]}

    def connect(self, first: int, last: int) -> tuple[Sample, float]:
        """Connect some of the people; return CPU microseconds for each, and seconds for all."""
        cuts = [*range(first, last, _CROWD), last]
        began = time.perf_counter()
        with cpu_used(self.server.pids) as used:
            for start, end in pairwise(cuts):
                crowd = self.stack.enter_context(Remote("bench.chat_load", "Chatters"))
                self.crowds.append(crowd)
                tokens = self.server.tokens(self.people[start:end])
                source = f"127.0.0.{len(self.crowds) + 1}"
                options = (_OPENING, source, self.server.certificate)
                crowd.call("connect", self.server.port, tokens, *options, timeout=_DEADLINE)
                crowd.call("introduce", self.people[start:end], CONTENT, timeout=_DEADLINE)
                crowd.call("ignore", 1.0, timeout=_DEADLINE)
                say(f"connected: {end:,}")
            seconds = time.perf_counter() - began
            pids = [pid for some in self.server.pids.values() for pid in some]
            settle(pids, None if self.server.certificate else self.server.port, last)
        costs = {name: 1e6 * cpu / (last - first) for name, cpu in used.items()}
        return Sample(costs.pop("gateway"), others=costs), seconds

    def idle(self, seconds: float) -> Sample:
        """Have everybody answer pings; return per cent of a core, with the pings of a second."""
        with cpu_used(self.pids) as used:
            for crowd in self.crowds:
                crowd.tell("idle", seconds)
            pings = sum(crowd.answer("idle", seconds + _DEADLINE) for crowd in self.crowds)
        shares = {name: 100 * cpu / seconds for name, cpu in used.items()}
        return Sample(shares.pop("gateway"), others={**shares, "pings": pings / seconds})

    def p99(self, seconds: float) -> float:
        """Have the pairs chat by the clock, and the others answer pings; return milliseconds."""
        first, *others = self.crowds
        for crowd in others:
            crowd.tell("idle", seconds)
        seen = cast(Chat, first.call("chat_at", _RATE, seconds, timeout=_DEADLINE))
        for crowd in others:
            crowd.answer("idle", _DEADLINE)
        return quantiles(seen, p99=0.99)["p99"]

    def chat(self, messages: int) -> Sample:
        """Have the pairs chat; return CPU microseconds for each message."""
        with cpu_used(self.pids) as used:
            self.crowds[0].call("chat", messages, timeout=_DEADLINE)
        costs = {name: 1e6 * cpu / messages for name, cpu in used.items()}
        return Sample(costs.pop("gateway"), others=costs)

    def drain(self) -> tuple[Sample, float]:
        """Stop the gateway; return CPU microseconds for each connection, and seconds."""
        pid = self.server.pids["gateway"][0]
        before, began = cpu_seconds(pid), time.perf_counter()
        kill(pid, signal.SIGTERM)
        for crowd in self.crowds:
            crowd.tell("leave")
        for crowd in self.crowds:
            crowd.answer("leave", _DEADLINE)
        seconds = time.perf_counter() - began
        # Its parent has not asked for it yet, so the kernel still knows what it has used.
        return Sample(1e6 * (cpu_seconds(pid) - before) / len(self.people)), seconds


@contextmanager
def full(count: int, ping_interval: float, *, tls: bool = False) -> Iterator[Full]:
    """Run a gateway for so many people, each in one group of a hundred."""
    people = users(count)
    groups = {f"g_{n}": people[n : n + _GROUP_SIZE] for n in range(0, count, _GROUP_SIZE)}
    pairs = list(zip(people[:_CHATTING:2], people[1:_CHATTING:2], strict=True))
    with ExitStack() as stack:
        server = stack.enter_context(
            gateway(
                groups=groups,
                friends=pairs,
                ping_interval=ping_interval,
                tls=tls,
                patience=_DEADLINE,
                more=_MORE,
            )
        )
        yield Full(server, people, stack)


def huge(plan: Plan) -> list[Row]:
    """One process full of connections, against the same one with a thousand."""
    case, wanted = "huge", plan.connections or plan.size(FULL, QUICK)
    count = min(wanted, most_connections())
    note = f"{count:,} connections"
    if count < wanted:
        note += f": a process may have no more here, though {wanted:,} were wanted"
        say(f"{case}: {note}")
    # As many pings a second as the full number has, so that the goal for the CPU means something.
    interval = _PING_INTERVAL * count / FULL
    seconds = plan.size(10, 4)
    rounds = list(plan.rounds(case))
    with full(count, interval) as many:
        many.connect(0, _CHATTING)
        # Before the others are there: a second gateway beside this one would be measured with it.
        few_waits = [many.p99(seconds) for _ in rounds]
        empty, kernel, shared = many.server.resident, kernel_bytes(), _redis_bytes(many.server)
        connected, took = many.connect(_CHATTING, count)
        added = count - _CHATTING
        memory = Sample((many.server.resident - empty) / added / 1024)
        redis = Sample((_redis_bytes(many.server) - shared) / added / 1024)
        kernel = kernel_bytes() - kernel
        note += f"; the kernel took {kernel / added / 1024:.1f} KB for the two ends of each"
        waits = [
            plan.tell(f"{case} p99", number, Sample(many.p99(seconds), few), "ms")
            for number, few in zip(rounds, few_waits, strict=True)
        ]
        beats = [plan.tell(case, number, many.idle(seconds), "% of a core") for number in rounds]
        drained, away = many.drain()
    pings = median(each.others["pings"] for each in beats)
    pinged = f"{pings:.0f} pings/s, PingInterval {interval:.1f} s"
    return [
        Row("huge memory", "KB/connection", [memory], goal=6.0, note=note),
        Row(
            "huge Redis", "KB/connection", [redis], note=f"each user in one group of {_GROUP_SIZE}"
        ),
        Row("huge CPU", "% of a core", beats, goal=10.0, note=pinged),
        Row("huge p99", "ms", waits, "of 1,000", 2.0, note=f"{_RATE} private messages/s"),
        Row("huge connect", "us/connect", [connected], note=f"{added / took:.0f} logins/s"),
        Row("huge drain", "us/connection", [drained], note=f"SIGTERM, all gone after {away:.1f} s"),
    ]


def huge_tls(plan: Plan) -> list[Row]:
    """The same over TLS: memory against bare `ssl`, messages against a plain port."""
    case = "huge_tls"
    count = min(plan.size(TLS_FULL, TLS_QUICK), most_connections())
    messages, seconds = plan.size(10_000, 3_000), plan.size(10, 4)
    interval = _PING_INTERVAL * count / TLS_FULL
    beats, chats = [], []
    rounds = plan.rounds(case)
    with full(_CHATTING, _PING_INTERVAL) as plain, full(count, interval, tls=True) as secured:
        plain.connect(0, _CHATTING)
        secured.connect(0, _CHATTING)
        empty = secured.server.resident
        connected, _ = secured.connect(_CHATTING, count)
        memory = (secured.server.resident - empty) / (count - _CHATTING) / 1024
        for number in rounds:
            least = plain.chat(messages)
            sample = secured.chat(messages)
            sample = Sample(sample.value, least.value, sample.others)
            chats.append(plan.tell(f"{case} private", number, sample, "us/message"))
            sample = secured.idle(seconds)
            beats.append(plan.tell(case, number, sample, "% of a core"))
    memory_row = [Sample(memory, _bare_tls_memory(count))]
    return [
        Row("huge_tls memory", "KB/connection", memory_row, "bare ssl", 1.5),
        Row("huge_tls CPU", "% of a core", beats, note=f"PingInterval {interval:g} s"),
        Row("huge_tls private", "us/message", chats, "plain"),
        Row("huge_tls connect", "us/connect", [connected]),
    ]


def _redis_bytes(server: Gateway) -> int:
    with Redis(unix_socket_path=str(server.redis)) as redis:
        return int(redis.info("memory")["used_memory"])


def _bare_tls_memory(count: int) -> float:
    """Return the KB of a connection that a program holds with `ssl` and nothing else."""
    with (
        tempfile.TemporaryDirectory(prefix="skyeim-bench-") as folder,
        Remote("bench.floor", "Secured") as server,
        Remote("bench.chat_load", "Chatters") as crowd,
    ):
        certificate, key = certify(Path(folder))
        port = server.call("listen", timeout=_DEADLINE)
        server.tell("serve", certificate, key)
        options = (0, "127.0.0.1", certificate)
        crowd.call("connect", port, ["-"] * _CHATTING, *options, timeout=_DEADLINE)
        empty = resident_bytes(server.pid)
        crowd.call("connect", port, ["-"] * (count - _CHATTING), *options, timeout=_DEADLINE)
        return (resident_bytes(server.pid) - empty) / (count - _CHATTING) / 1024
