"""The one ordered way to Redis: durable operations are kept and retried, calls are answered.

All pass one queue, so that whatever is asked later sees what was written earlier. What came in
during one turn of the loop, or while the last write was under way, leaves in one write.
"""

import asyncio
import math
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.timing import Timings
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.batch import Batch
from skyeim_ws.store.client import Client, link
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.operation import Operation, Outcome, text
from skyeim_ws.store.read_only import is_demoted, kind_of
from skyeim_ws.store.shard import Command
from skyeim_ws.store.taken import Taken
from skyeim_ws.store.waiting import Waiting

log = structlog.get_logger()

BUFFER_SIZE, MAX_CALLS = 10_000, 10_000
"""How many durable operations wait, else the oldest is dropped; and calls, else they fail."""

MAX_BATCH = 512
"""Operations in one write. After a failure all of them have to be sent again."""

PING_INTERVAL, BACKOFF_FIRST, BACKOFF_LIMIT = 1.0, 0.1, 2.0
REFUSED_LIMIT = 0.5
"""The longest pause while only a part of Redis is away: the other parts wait meanwhile."""

DENIED_SECONDS = 30.0
"""How long it is remembered that Redis has refused a command for want of a right."""


class Pipeline:
    """The queue to Redis; `start` it on a running loop.

    A write leaves, and is answered, without a task, while all is well; the task does what has to
    wait: to connect, to try again, all that goes to several servers. What `later` is given is
    called at the end of a turn of the loop.

    `timeout` (seconds) bounds each write with its answers, and each call from the moment that it is
    made; a durable operation that waits longer is told so. `failed` counts operations that Redis
    has refused for good, `moves` how often it took commands again after the server had said that it
    is no master. The callbacks of `on_recovered` run each time that Redis takes commands again
    after an outage, those of `on_room` when there is room again after operations were dropped,
    which may be without an outage.
    """

    def __init__(
        self,
        client: Client,
        *,
        buffer_size: int = BUFFER_SIZE,
        timeout: float = 2.0,
        timings: Timings | None = None,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._later = self._loop.call_soon if later is None else later
        self._timings = timings or Timings()
        self.healthy = True
        self.failed = 0
        self.moves = 0
        self.on_recovered: list[Callable[[], None]] = []
        self.on_room: list[Callable[[], None]] = []
        self.sharded = isinstance(client, Cluster)  # then a command has the keys of one slot
        self._link = link(client)
        self._timeout = timeout
        self._waiting = Waiting(buffer_size)
        self._taken = Taken(buffer_size)
        self._number = 0
        # Whether a write may begin: none is under way, and the task has nothing to do; whether
        # `_begin` will be called; what is under way; and what the task is to look into.
        self._free = False
        self._due = False
        self._batch: Batch | None = None
        self._error: Exception | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._away = False
        self._denied_at = -math.inf
        self._demoted = False

    def start(self) -> asyncio.Task[None]:
        """Begin to write, first a PING; return the task, which ends at `close` or by a fault."""
        self._task = asyncio.create_task(self._run())
        self._ping_when_idle()
        return self._task

    @property
    def access_refused(self) -> bool:
        """Whether Redis has lately refused a command because its user lacks the right."""
        return monotonic() - self._denied_at < DENIED_SECONDS

    @property
    def waiting(self) -> int:
        """Return how many durable operations Redis has not taken yet, without those under way."""
        return len(self._waiting.durable)

    @property
    def dropped(self) -> int:
        """Count the durable operations that found no room."""
        return self._waiting.dropped

    @property
    def overflowed(self) -> bool:
        """Whether operations were dropped, and `on_room` is still to come."""
        return self._waiting.overflowed

    def submit(
        self,
        *commands: Command,
        done: Callable[[Outcome], None] | None = None,
        dropped: Callable[[], None] | None = None,
        forgotten: Callable[[], None] | None = None,
    ) -> None:
        """Take one durable operation, which is sent until Redis has taken it: at least once.

        Its commands stay together. After `close` it is dropped, and counted. `done` is called
        once, with None if Redis is away for longer than `timeout`; `dropped` is called if it is
        given up. With `forgotten` it is sent again, tacitly, if Redis is lost soon after it has
        taken it, since it may have died and forgotten it; that is called if this is given up.
        All are called later, on the loop, never from here.
        """
        self._number += 1
        now = 0.0 if done is None else monotonic()
        operation = Operation(self._number, commands, None, True, done, now, dropped, forgotten)
        if self._closed:
            self._waiting.drop([operation])
            return
        self._waiting.add(operation)
        self._go_on()

    def publish(self, *commands: Command) -> None:
        """Send something once, in order, that may get lost.

        Nothing is sent while Redis is away, or when too many calls wait.
        """
        calls = self._waiting.calls
        if self._closed or self._away or len(calls) >= MAX_CALLS:
            return
        self._number += 1
        calls[self._number] = Operation(self._number, commands)
        self._go_on()

    def call(self, *commands: Command, timeout: float | None = None) -> asyncio.Future[list[Any]]:
        """Ask, once, and return a future of the answers, one for each command.

        The future raises Unavailable at its deadline, when the connection breaks under it, or
        when one of the commands is answered with an error.
        """
        answer: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._closed or len(self._waiting.calls) >= MAX_CALLS:
            answer.set_exception(Unavailable("Redis is not reached, too many calls wait"))
            return answer
        self._number += 1
        call = Operation(self._number, commands, answer)
        timeout = self._timeout if timeout is None else timeout
        call.expiry = self._loop.call_later(timeout, self._expire, call)
        self._waiting.calls[call.number] = call
        self._go_on()
        return answer

    def call_each(self, *commands: Command) -> asyncio.Future[list[Any]]:
        """Ask as `call` does, for several users: what is refused has its error for an answer.

        Like a durable operation it counts when a replica has it too.
        """
        answer = self.call(*commands)
        if not answer.done():
            self._waiting.calls[self._number].each = True
        return answer

    async def close(self, timeout: float) -> None:
        """Write what can be written within `timeout` seconds; what remains is counted and lost."""
        self._closed = True
        if self._free:
            self._leave_to_task()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)
            await cancel_and_wait(self._task)
        if self._timer is not None:
            self._timer.cancel()
        if self._batch is not None:
            self._waiting.put_back(self._batch.operations)
        for call in self._waiting.calls.values():
            call.fail("closed")
        self._waiting.calls.clear()
        if durable := self._waiting.durable:
            log.error("redis_unflushed", operations=len(durable))
            self._waiting.drop(durable)
            durable.clear()
        await self._link.aclose()

    def _ping_when_idle(self) -> None:
        # One timer for all: to wait with a time-out each time takes a fifth of what a write does.
        if self._free:
            self._leave_to_task()
        self._timer = self._loop.call_later(PING_INTERVAL, self._ping_when_idle)

    def _go_on(self) -> None:
        """Write what waits at the end of this turn of the loop, unless a write is under way."""
        if self._free and not self._due:
            self._due = True
            self._later(self._begin)

    def _leave_to_task(self) -> None:
        self._free = False
        self._wake.set()

    async def _run(self) -> None:
        """Do what has to wait; else wait until there is such work."""
        backoff = BACKOFF_FIRST
        while self._waiting or self._batch or self._error or not self._closed:
            error, self._error = self._error, None
            if error is None:
                error = await self._write(self._batch or self._take())
            if error is None:
                backoff = BACKOFF_FIRST
                self._recovered()
                if not (self._waiting or self._closed):
                    self._wake.clear()
                    self._free = True
                    await self._wake.wait()
            else:
                self._lost(error)
                # Jitter: all the gateways lose Redis in the same moment.
                await asyncio.sleep(backoff * random.uniform(0.75, 1.25))  # noqa: S311
                backoff = min(backoff * 2, BACKOFF_LIMIT if self._away else REFUSED_LIMIT)

    def _take(self) -> Batch:
        self._batch = batch = Batch(self._waiting.take(MAX_BATCH), monotonic())
        return batch

    def _begin(self) -> None:
        """Write in this very turn of the loop, if that can be; else leave it to the task."""
        self._due = False
        if not self._free:
            return
        self._free = False
        link, batch = self._link, self._take()
        try:
            if isinstance(link, Cluster) or not link.begin(
                batch.commands, self._ended, batch.began + self._timeout, durable=batch.durable
            ):
                self._wake.set()
        except Exception as fault:  # such as a command that cannot be sent
            self._ended(fault)

    def _ended(self, outcome: list[Any] | Exception) -> None:
        """Pass on what became of a write that `_begin` has begun."""
        try:
            self._error = self._settle(outcome)
        except Exception as fault:  # whatever it is, what comes behind this write must go on
            self._error = fault
        if self._error is not None or self._closed:
            self._wake.set()
            return
        self._free = True
        if self._waiting.overflowed:
            self._recovered()
        if self._waiting:
            self._go_on()

    async def _write(self, batch: Batch) -> Exception | None:
        """Write the batch and pass the answers on; return an error if Redis is lost."""
        # After a loss each write has a PING, since it may not reach the part that was lost.
        ask = not batch.commands or not self.healthy
        if ask:
            batch.commands.append(("PING",))
        outcome: list[Any] | Exception
        try:
            async with asyncio.timeout(self._timeout):
                outcome = await self._link.send(batch.commands, durable=batch.durable)
        except Exception as error:  # not RedisError alone: a transport that dies raises others
            outcome = error
        pong = outcome.pop() if ask and isinstance(outcome, list) else None
        refusal = self._settle(outcome)
        return pong if isinstance(pong, Exception) else refusal

    def _settle(self, outcome: list[Any] | Exception) -> Exception | None:
        """Pass on what became of the batch under way; return an error if Redis is lost."""
        batch, self._batch = self._batch, None
        assert batch is not None  # noqa: S101 - each is told once
        now = monotonic()
        self._away = isinstance(outcome, Exception)
        failed = kind_of(outcome) if isinstance(outcome, Exception) else ""
        count, waiting, took = len(batch.commands), len(self._waiting.durable), now - batch.began
        self._timings.note("slow_redis", took, "Pipeline", failed, commands=count, waiting=waiting)
        if isinstance(outcome, Exception):
            self._waiting.put_back(batch.operations)
            return outcome
        self._taken.trim(now)
        settled = batch.settle(outcome)
        for operation in settled.taken:
            self._taken.add(operation, now)
        if settled.again:
            self._waiting.put_back(settled.again)
        self.failed += settled.failed
        if settled.denied:
            self._denied_at = now
        return settled.refusal

    def _expire(self, call: Operation) -> None:
        self._waiting.calls.pop(call.number, None)
        call.fail("Redis did not answer in time")

    def _lost(self, error: Exception) -> None:
        if self.healthy:
            self.healthy = False
            log.warning("redis_lost", error=text(error))
            again, notes = self._taken.take_back()
            self._waiting.put_back(again)
            for note in notes:
                self._loop.call_soon(note)
        self._demoted |= is_demoted(error)
        # No operation has a timer, since Redis mostly takes it in time.
        self._waiting.report_late(monotonic() - self._timeout)

    def _recovered(self) -> None:
        if self._waiting.overflowed:
            self._waiting.overflowed = False
            for make_up in self.on_room:
                make_up()
        if self.healthy:
            return
        self.healthy = True
        self.moves += self._demoted
        self._demoted = False
        log.info("redis_recovered", waiting=self.waiting, dropped=self.dropped)
        for callback in self.on_recovered:
            try:
                callback()
            except Exception:  # a callback's fault must not stop the queue
                log.exception("redis_recovery_callback_failed")
