"""The one ordered way to Redis: durable operations are kept and retried, calls are answered.

All pass one queue and one task, so that whatever is asked later sees what was written earlier. What
came in during one turn of the loop, or while the last write was under way, leaves in one write.
"""

import asyncio
import math
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Any

import structlog

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.timing import Timings
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.client import Client, link
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.operation import Operation, Outcome, text
from skyeim_ws.store.read_only import is_demoted, is_denied, is_read_only, kind_of
from skyeim_ws.store.shard import Command
from skyeim_ws.store.taken import Taken

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
    """The queue to Redis and the task that drains it; `start` it on a running loop.

    `timeout` (seconds) bounds each write with its answers, and each call from the moment that it is
    made; a durable operation that waits longer is told so. `dropped` counts durable operations that
    found no room, `failed` operations that Redis has refused for good, `moves` how often it took
    commands again after the server had said that it is no master. The callbacks of `on_recovered`
    run each time that Redis takes commands again after an outage, those of `on_room` when there is
    room again after operations were dropped, which may be without an outage.
    """

    def __init__(
        self,
        client: Client,
        *,
        buffer_size: int = BUFFER_SIZE,
        timeout: float = 2.0,
        timings: Timings | None = None,
    ) -> None:
        self._timings = timings or Timings()
        self.healthy = True
        self.dropped = 0
        self.failed = 0
        self.moves = 0
        self.on_recovered: list[Callable[[], None]] = []
        self.on_room: list[Callable[[], None]] = []
        self.sharded = isinstance(client, Cluster)  # then a command has the keys of one slot
        self._link = link(client)
        self._buffer_size = buffer_size
        self._timeout = timeout
        self._durable: deque[Operation] = deque()
        self._taken = Taken(buffer_size)
        self._calls: OrderedDict[int, Operation] = OrderedDict()
        self._number = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._away = False
        self._overflowed = False
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
        return asyncio.get_running_loop().time() - self._denied_at < DENIED_SECONDS

    @property
    def waiting(self) -> int:
        """Return how many durable operations Redis has not taken yet, without those under way."""
        return len(self._durable)

    @property
    def overflowed(self) -> bool:
        """Whether operations were dropped, and `on_room` is still to come."""
        return self._overflowed

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
        now = 0.0 if done is None else asyncio.get_running_loop().time()
        operation = Operation(self._number, commands, None, True, done, now, dropped, forgotten)
        if self._closed:
            self._drop([operation])
            return
        self._durable.append(operation)
        self._trim()
        self._wake.set()

    def publish(self, *commands: Command) -> None:
        """Send something once, in order, that may get lost.

        Nothing is sent while Redis is away, or when too many calls wait.
        """
        if self._closed or self._away or len(self._calls) >= MAX_CALLS:
            return
        self._number += 1
        self._calls[self._number] = Operation(self._number, commands)
        self._wake.set()

    def call(self, *commands: Command, timeout: float | None = None) -> asyncio.Future[list[Any]]:
        """Ask, once, and return a future of the answers, one for each command.

        The future raises Unavailable at its deadline, when the connection breaks under it, or
        when one of the commands is answered with an error.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        if self._closed or len(self._calls) >= MAX_CALLS:
            answer.set_exception(Unavailable("Redis is not reached, too many calls wait"))
            return answer
        self._number += 1
        call = Operation(self._number, commands, answer)
        call.expiry = loop.call_later(
            self._timeout if timeout is None else timeout, self._expire, call
        )
        self._calls[call.number] = call
        self._wake.set()
        return answer

    def call_each(self, *commands: Command) -> asyncio.Future[list[Any]]:
        """Ask as `call` does, for several users: what is refused has its error for an answer.

        Like a durable operation it counts when a replica has it too.
        """
        answer = self.call(*commands)
        if not answer.done():
            self._calls[self._number].each = True
        return answer

    async def close(self, timeout: float) -> None:
        """Write what can be written within `timeout` seconds; what remains is counted and lost."""
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=timeout)
            await cancel_and_wait(self._task)
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls.values():
            call.fail("closed")
        self._calls.clear()
        if self._durable:
            log.error("redis_unflushed", operations=len(self._durable))
            self._drop(self._durable)
            self._durable.clear()
        await self._link.aclose()

    def _ping_when_idle(self) -> None:
        # One timer for all: to wait with a time-out each time takes a fifth of what a write does.
        self._wake.set()
        self._timer = asyncio.get_running_loop().call_later(PING_INTERVAL, self._ping_when_idle)

    async def _run(self) -> None:
        backoff = BACKOFF_FIRST
        while self._durable or self._calls or not self._closed:
            error = await self._write(self._take())
            if error is None:
                backoff = BACKOFF_FIRST
                self._recovered()
                self._wake.clear()
                if not (self._durable or self._calls or self._closed):
                    await self._wake.wait()
            else:
                self._lost(error)
                # Jitter: all the gateways lose Redis in the same moment.
                await asyncio.sleep(backoff * random.uniform(0.75, 1.25))  # noqa: S311
                backoff = min(backoff * 2, BACKOFF_LIMIT if self._away else REFUSED_LIMIT)

    def _take(self) -> list[Operation]:
        """Take the oldest operations of the two queues, in the order of their coming."""
        batch: list[Operation] = []
        while len(batch) < MAX_BATCH and (self._durable or self._calls):
            call = next(iter(self._calls), None)
            if self._durable and (call is None or self._durable[0].number < call):
                batch.append(self._durable.popleft())
                continue
            _, operation = self._calls.popitem(last=False)
            if operation.answer is None or not operation.answer.done():
                batch.append(operation)
        return batch

    async def _write(self, batch: list[Operation]) -> Exception | None:
        """Write the batch and pass the answers on; return an error if Redis is lost."""
        commands = [command for operation in batch for command in operation.commands]
        durable = any(operation.durable or operation.each for operation in batch)
        # After a loss each write has a PING, since it may not reach the part that was lost.
        ask = not batch or not self.healthy
        if ask:
            commands.append(("PING",))
        failed, began = "", (loop := asyncio.get_running_loop()).time()
        try:
            async with asyncio.timeout(self._timeout):
                answers = await self._link.send(commands, durable=durable)
        except Exception as error:  # not RedisError alone: a transport that dies raises others
            self._away, failed = True, kind_of(error)
            self._put_back(batch)
            return error
        except asyncio.CancelledError:
            self._put_back(batch)
            raise
        finally:
            took, count = loop.time() - began, len(commands)
            self._timings.note(
                "slow_redis", took, "Pipeline", failed, commands=count, waiting=self.waiting
            )
        self._away = False
        pong = answers.pop() if ask else None
        refusal = self._dispatch(batch, answers)
        return pong if isinstance(pong, Exception) else refusal

    def _dispatch(self, batch: list[Operation], answers: list[Any]) -> Exception | None:
        refusal: Exception | None = None
        again: list[Operation] = []
        failures: list[tuple[str, Exception]] = []
        position = 0
        self._taken.trim(now := asyncio.get_running_loop().time())
        for operation in batch:
            own = answers[position : position + len(operation.commands)]
            position += len(own)
            errors = [answer for answer in own if isinstance(answer, Exception)]
            refusals = [error for error in errors if is_read_only(error)]
            if refusals:
                refusal = refusal or refusals[0]
                again.append(operation)
            elif errors:
                failures.append((str(operation.commands[own.index(errors[0])][0]), errors[0]))
                if operation.each:
                    operation.settle(own)
                else:
                    operation.fail(text(errors[0]))
            else:
                operation.settle(own)
                if operation.forgotten is not None:
                    self._taken.add(operation, now)
        if again:
            self._put_back(again)
        if failures:
            # One line for a whole write: a key of the wrong type would give one for each message.
            self.failed += len(failures)
            if any(is_denied(error) for _, error in failures):
                self._denied_at = now
            command, error = failures[0]
            log.error(
                "redis_command_failed", command=command, error=text(error), count=len(failures)
            )
        return refusal

    def _put_back(self, batch: list[Operation]) -> None:
        """Put durable operations back in their order; calls fail, they are sent once only."""
        self._durable.extendleft(op for op in reversed(batch) if op.durable)
        for operation in batch:
            if not operation.durable:
                operation.fail("Redis was lost")
        self._trim()

    def _expire(self, call: Operation) -> None:
        self._calls.pop(call.number, None)
        call.fail("Redis did not answer in time")

    def _trim(self) -> None:
        excess = len(self._durable) - self._buffer_size
        if excess > 0:
            self._drop([self._durable.popleft() for _ in range(excess)])

    def _drop(self, operations: Collection[Operation]) -> None:
        self.dropped += len(operations)
        for operation in operations:
            operation.fail("too many operations wait for Redis")
        if not self._overflowed:
            # Once for each outage; the line of the recovery says how many they were.
            self._overflowed = True
            log.error("redis_operations_dropped", buffer_size=self._buffer_size)

    def _lost(self, error: Exception) -> None:
        if self.healthy:
            self.healthy = False
            log.warning("redis_lost", error=text(error))
            again, notes = self._taken.take_back()
            self._put_back(again)
            for note in notes:
                asyncio.get_running_loop().call_soon(note)
        self._demoted |= is_demoted(error)
        # No operation has a timer, since Redis mostly takes it in time.
        late = asyncio.get_running_loop().time() - self._timeout
        for operation in self._durable:
            if operation.since > late:
                break
            operation.report(None)

    def _recovered(self) -> None:
        if self._overflowed:
            self._overflowed = False
            for make_up in self.on_room:
                make_up()
        if self.healthy:
            return
        self.healthy = True
        self.moves += self._demoted
        self._demoted = False
        log.info("redis_recovered", waiting=len(self._durable), dropped=self.dropped)
        for callback in self.on_recovered:
            try:
                callback()
            except Exception:  # a callback's fault must not stop the queue
                log.exception("redis_recovery_callback_failed")
