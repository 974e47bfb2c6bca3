"""Messages per second of CPU time, in batches and one call each: `python -m bench.batch_vs_unary`.

Both go through the gateway's batcher to the same services process over the same SQLite file. The
CPU time is that of both processes, threads and system time included. A message sent by itself is
a batch of one: it has a transaction and an fsync of its own.
"""

import argparse
import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from statistics import median

import structlog

from bench.cpu import cpu_seconds
from bench.services import Services, fill, running_services
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.pool import Pool

USERS = 200
GROUPS = 20
IN_FLIGHT = 256
"""Messages under way at a time: each answer lets the next one go."""

TIMEOUT = 30.0
CONTENT = "a chat message of ordinary length, such as people type on their phones all day"

KINDS = ("group", "private")
MODES = ("batch", "unary")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU time of one run, in microseconds per message; how many of them one call carried."""

    client: float
    server: float
    per_call: float

    @property
    def total(self) -> float:
        """Return what both processes used."""
        return self.client + self.server


class Flight:
    """Sends a number of messages, so many at a time, and waits for the answers."""

    def __init__(self, batcher: Batcher, messages: Iterator[Outgoing], in_flight: int) -> None:
        self._batcher = batcher
        self._messages = messages
        self._in_flight = in_flight
        self._open = 0
        self._failed: SendOutcome | None = None
        self._landed = asyncio.Event()

    async def run(self) -> None:
        """Return when all messages are stored; raises RuntimeError if one is not."""
        for _ in range(self._in_flight):
            self._send_next()
        await self._landed.wait()
        if self._failed is not None:
            raise RuntimeError(f"a message was not stored: {self._failed!r}")

    def _send_next(self) -> None:
        message = next(self._messages, None)
        if message is not None:
            self._open += 1
            if not self._batcher.submit(message, self._done):
                raise RuntimeError("the batcher is full: fewer messages must be in flight")

    def _done(self, _message: Outgoing, outcome: SendOutcome) -> None:
        self._open -= 1
        if not isinstance(outcome, Stored) or outcome.first is not None:
            self._failed = outcome
        self._send_next()
        if not self._open:
            self._landed.set()


def messages_of(kind: str, amount: int, numbers: Iterator[int]) -> Iterator[Outgoing]:
    """Yield messages from all users in turn, to all groups in turn or to the friend of each."""
    for index, number in zip(range(amount), numbers, strict=False):
        sender = index % USERS + 1
        yield Outgoing(
            msg_id=f"bench-{number:012d}",
            from_user_id=sender,
            content=CONTENT,
            content_type=1,
            to_user_id=sender % USERS + 1 if kind == "private" else 0,
            group_id=f"g{index % GROUPS}" if kind == "group" else "",
        )


async def measure(
    services: Services,
    kind: str,
    mode: str,
    numbers: Iterator[int],
    *,
    amount: int,
    in_flight: int,
) -> Cost:
    """Send `amount` messages and return what one of them cost."""
    async with sending(services, mode) as batcher:
        # The connection, the statements and the caches are not what is measured.
        await Flight(batcher, messages_of(kind, 2 * in_flight, numbers), in_flight).run()
        batches = sum(batcher.sizes.buckets)
        before = cpu_seconds(os.getpid()), cpu_seconds(services.pid)
        await Flight(batcher, messages_of(kind, amount, numbers), in_flight).run()
        after = cpu_seconds(os.getpid()), cpu_seconds(services.pid)
        if batcher.batching != (mode == "batch"):
            raise RuntimeError("the services know no batches")
    client, server = (1e6 * (a - b) / amount for a, b in zip(after, before, strict=True))
    calls = sum(batcher.sizes.buckets) - batches if batcher.batching else amount
    return Cost(client, server, amount / calls)


class BatchlessPool(Pool):
    """A pool whose servers are taken for older ones."""

    def offers(self, method: str) -> bool:
        """Say no."""
        return False


@asynccontextmanager
async def sending(services: Services, mode: str) -> AsyncIterator[Batcher]:
    """Provide a batcher, connected to the services as the gateway's is."""
    pool = (Pool if mode == "batch" else BatchlessPool)("message", [services.address], TIMEOUT)
    batcher = Batcher(pool, FriendClient(pool), GroupClient(pool))
    batcher.batching = mode == "batch"
    batcher.start()
    try:
        yield batcher
    finally:
        await batcher.close()
        await pool.close()


async def run(amount: int, runs: int, in_flight: int) -> dict[tuple[str, str], list[Cost]]:
    """Return the costs of all runs by kind and mode; the modes take turns."""
    costs: dict[tuple[str, str], list[Cost]] = {}
    numbers = count()
    with tempfile.TemporaryDirectory(prefix="skyeim-bench-") as name:
        folder = Path(name)
        source = str(folder / "im.db")
        await fill(source, range(1, USERS + 1), [f"g{n}" for n in range(GROUPS)])
        async with running_services(folder, source) as services:
            for number in range(runs):
                print(f"run {number + 1} of {runs}", file=sys.stderr, flush=True)
                for kind, mode in product(KINDS, MODES):
                    cost = await measure(
                        services, kind, mode, numbers, amount=amount, in_flight=in_flight
                    )
                    costs.setdefault((kind, mode), []).append(cost)
    return costs


def table(costs: dict[tuple[str, str], list[Cost]]) -> str:
    """Return the medians, and how many messages a second stores in batches for one of unary."""
    lines = [f"{'':<16}{'per call':>9}{'client':>9}{'server':>9}{'total':>9}{'messages/s':>12}"]
    for (kind, mode), runs in costs.items():
        per_call = median(cost.per_call for cost in runs)
        client, server = median(cost.client for cost in runs), median(cost.server for cost in runs)
        total = median(cost.total for cost in runs)
        lines.append(
            f"{kind:<9}{mode:<7}{per_call:>9.0f}{client:>9.1f}{server:>9.1f}{total:>9.1f}"
            f"{1e6 / total:>12,.0f}"
        )
    for kind in KINDS:
        pairs = zip(costs[kind, "batch"], costs[kind, "unary"], strict=True)
        ratio = median(unary.total / batch.total for batch, unary in pairs)
        lines.append(f"{kind}: in batches {ratio:.1f} times as many messages per second of CPU")
    return "\n".join(lines)


def positive(text: str) -> int:
    """Return a number from the command line; raises ValueError below 1."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch_vs_unary", description=__doc__)
    parser.add_argument("--messages", type=positive, default=2_000, help="per run, kind and mode")
    parser.add_argument("--runs", type=positive, default=5)
    parser.add_argument("--in-flight", type=positive, default=IN_FLIGHT)
    arguments = parser.parse_args()
    # The table alone goes to the standard output.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    costs = asyncio.run(run(arguments.messages, arguments.runs, arguments.in_flight))
    print(
        f"{arguments.messages} messages a run, {arguments.in_flight} in flight;"
        f" medians of {arguments.runs} runs, in microseconds of CPU per message"
    )
    print(table(costs))


if __name__ == "__main__":
    main()
