"""Group commit: while one batch is being stored, whatever comes in waits for the next."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import monotonic
from typing import Any

import structlog
from grpc import StatusCode

from skyeim_ws.contract.names import MAX_BATCH
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.contract.spans import SPAN
from skyeim_ws.contract.timing import BATCH_MESSAGES
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc import sending
from skyeim_ws.rpc.batch import Batch, failures
from skyeim_ws.rpc.errors import RpcFailed, is_refusal
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.inquiry import Inquiry
from skyeim_ws.rpc.keyed_queue import KeyedQueue
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.repeats import FAILED, NotStored, Repeats, Unclear
from skyeim_ws.rpc.sending import Done, Item, time_left
from skyeim_ws.rpc.service import Service

BATCH_SIZE = 256

BATCH_BYTES = 2 * 1024 * 1024
"""Half of what a gRPC server takes unless told otherwise."""

BACKLOG = 10_000
CONCURRENT_CALLS = 64
"""Calls at a time, to a server that knows no batches."""

LEAST_TIME = 0.1
"""The part of its time that a message must have left when it is sent.

A batch has the shortest deadline of its messages."""

log = structlog.get_logger()

Answer = pb.SendBatchResp | RpcFailed


class Batcher:
    """`ports.MessageWriter` over the pool of the Message service.

    At most `backlog` messages are unanswered at a time, and each is answered within `timeout`
    seconds (the pool's, unless given). They are answered in the order of submission, but for those
    denied without a reason: for these the other two services are asked, and nobody waits. With a
    server that knows no batches the order holds per sender and per group; what waits for its turn
    has its `timeout` from then on, as long as the server answers at all. The messages of a batch
    are answered inside of `together`, and what `later` is given is called at the end of a turn of
    the loop: by then all that has come in it goes into one batch.

    `sizes` counts the batches sent, by their messages, `stored` the messages that are stored,
    repeats included, `pending` those not yet answered.
    """

    def __init__(
        self,
        pool: Pool,
        friends: FriendClient,
        groups: GroupClient,
        *,
        batch_size: int = BATCH_SIZE,
        backlog: int = BACKLOG,
        timeout: float | None = None,
        together: AbstractContextManager[None] | None = None,
        later: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.stored = 0
        self.pending = 0
        self.batching = True
        # Whether the last single call has found no server that works.
        self._failing = False
        self._pool = pool
        self.sizes = pool.timings.histogram(BATCH_MESSAGES)
        self._service = Service(pool, MessageStub)
        self.repeats = Repeats(pool)
        self._inquiry = Inquiry(self.repeats, friends, groups)
        self._batch_size = min(batch_size, MAX_BATCH)
        self._backlog = backlog
        self._together = nullcontext() if together is None else together
        self._later = asyncio.get_running_loop().call_soon if later is None else later
        self._timeout = pool.timeout if timeout is None else timeout
        self._waiting: deque[Item] = deque()
        self._ordered: KeyedQueue[Item] = KeyedQueue()
        # Whether `_send` will be called, the batch under way, and whether the task is to store it.
        self._due = False
        self._batch: Batch | None = None
        self._stalled = False
        self._wake = asyncio.Event()
        self._closed = False
        self._drain: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._look_ups: set[asyncio.Task[None]] = set()

    def start(self) -> asyncio.Task[None]:
        """Begin to send; return the task, which ends at `close` alone, or by a fault."""
        self._drain = asyncio.create_task(self._run())
        return self._drain

    def submit(self, message: Outgoing, done: Done) -> bool:
        """Take a message for storing; False, and `done` is never called, when it is full."""
        if self._closed or self.pending >= self._backlog:
            return False
        self.pending += 1
        self._waiting.append(Item(message, done, monotonic() + self._timeout))
        self._go_on()
        return True

    async def close(self) -> None:
        """Answer what waits with Unavailable; what is under way is waited for."""
        self._closed = True
        self._wake.set()
        if self._drain is not None:
            await asyncio.wait({self._drain})
        while self._waiting:
            self._answer(self._waiting.popleft(), Unavailable("closing"))
        while under_way := self._calls | self._look_ups:
            await asyncio.wait(under_way)

    async def _run(self) -> None:
        """Do what has to wait: for a server, or for the single calls that one needs."""
        while not self._closed or self._batch is not None:
            await self._wake.wait()
            self._wake.clear()
            if self._batch is not None:
                if self._stalled:
                    self._stalled = False
                    await self._store_batch(self._batch)
            elif self._waiting and not self.batching and not self._closed:
                if not self._pool.offers("SendBatch"):
                    self._queue_calls()
                elif not self._calls:  # they come first, or the order would be lost
                    self.batching = True
                    self._go_on()
        if not self.batching:
            self._queue_calls()

    def _go_on(self) -> None:
        """Send what waits at the end of this turn of the loop, unless a batch is under way."""
        if self._closed:
            self._wake.set()
        elif self._waiting and not self._due and self._batch is None:
            self._due = True
            self._later(self._send)

    def _take(self, now: float) -> list[Item]:
        """Take the next batch; those before it that are too late are answered."""
        late = now + LEAST_TIME * self._timeout
        while self._waiting and self._waiting[0].deadline < late:
            self._answer(self._waiting.popleft(), Unavailable("no time left"))
        batch: list[Item] = []
        size = 0
        while self._waiting and len(batch) < self._batch_size:
            size += sending.size_bound(self._waiting[0].message)
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _send(self) -> None:
        """Send the next batch in this turn of the loop; what has to wait is left to the task."""
        self._due = False
        if self._batch is not None or self._closed:
            return
        now = monotonic()
        if not self.batching:
            self._wake.set()
        elif items := self._take(now):
            try:
                self._begin(Batch(items), now)
            except Exception:  # whatever it is, the messages behind this batch must go on
                log.exception("send_batch_failed", items=len(items))
                self._batch = None
                for item in items:
                    self._answer(item, Unavailable("internal error"))

    def _begin(self, batch: Batch, now: float) -> None:
        self._batch = batch
        timeout, ended = batch.items[0].deadline - now, partial(self._ended, batch, now)
        if not batch.size:  # none of them fits on the wire
            ended(pb.SendBatchResp())
            return
        self.sizes.add(batch.size)
        # A traced one is left to the task, which has a context of its own.
        if batch.spans or not self._service.begin(_send_batch, batch.request, timeout, ended):
            ended(None)

    def _ended(self, batch: Batch, began: float, answer: Answer | None) -> None:
        if answer is None:  # another server may take it, or the same one later
            self._stalled = True
            self._wake.set()
        else:
            self._answer_batch(batch, answer, monotonic() - began)

    async def _store_batch(self, batch: Batch) -> None:
        """Have a batch stored that could not be sent at once, or was sent in vain."""
        began = monotonic()
        answer: Answer
        try:
            with batch.traced():
                answer = await self._service.call(
                    _send_batch, batch.request, timeout=time_left(batch.items[0]), optional=True
                )
        except RpcFailed as failed:
            answer = failed
        except Exception:  # whatever it is, the messages behind this batch must go on
            log.exception("send_batch_failed", items=batch.size)
            answer = RpcFailed(StatusCode.INTERNAL)
        self._answer_batch(batch, answer, monotonic() - began)

    def _answer_batch(self, batch: Batch, answer: Answer, took: float) -> None:
        """Answer the messages of a batch, or put them back if the server knows no batches."""
        self._batch = None
        size = batch.size
        self._pool.timings.note("slow_batch", took, messages=size, waiting=self.pending - size)
        if isinstance(answer, RpcFailed) and answer.code is StatusCode.UNIMPLEMENTED:
            self.batching = False
            self._waiting.extendleft(reversed(batch.items))
            self._wake.set()
            return
        with self._together:
            outcomes = self._outcomes(batch, answer, took)
            for item, outcome in zip(batch.items, outcomes, strict=True):
                self._settle(item, outcome)
            self._go_on()

    def _outcomes(
        self, batch: Batch, answer: Answer, took: float
    ) -> Sequence[SendOutcome | Unclear]:
        if isinstance(answer, RpcFailed):
            if is_refusal(answer.code):
                # This says nothing about a single item, so the whole batch has failed.
                self._pool.failures.note("SendBatch", answer.code, took)
            return batch.failed(answer.code.name)
        found = batch.outcomes(answer)
        if found is None:
            log.error("send_batch_mismatch", items=batch.size, results=len(answer.results))
            return batch.failed("the answer does not fit the batch")
        for code in failures(answer):
            if not is_refusal(code):
                self._pool.failures.note("SendBatch", code, took)
        return found

    def _queue_calls(self) -> None:
        while self._waiting:
            item = self._waiting.popleft()
            self._ordered.add(item, sending.order_keys(item.message))
        self._start_calls()

    def _start_calls(self) -> None:
        while len(self._calls) < CONCURRENT_CALLS and (item := self._ordered.take()) is not None:
            late = self._failing and time_left(item) < LEAST_TIME * self._timeout
            if self._closed or late:
                self._answer(item, Unavailable("closing" if self._closed else "no time left"))
                self._ordered.finish(item)
                continue
            call = asyncio.get_running_loop().create_task(self._call(item))
            self._calls.add(call)
            call.add_done_callback(self._call_done)

    def _call_done(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._start_calls()
        if not self._calls:
            self._wake.set()

    async def _call(self, item: Item) -> None:
        item.newest_id = self.repeats.newest_id
        item.deadline = monotonic() + self._timeout
        SPAN.set(item.message.span)  # of this task alone
        try:
            outcome = await self._send_one(item)
            # An existing server fails so once with the first message of a group. What is not stored
            # is sent again in its turn, or it would come behind those that follow it.
            if outcome == FAILED:
                outcome = await self._inquiry.find_out(item, FAILED)
                if isinstance(outcome, NotStored):
                    outcome = await self._send_one(item)
        except Exception:  # whatever it is, the messages behind this one must go on
            log.exception("send_failed")
            outcome = Unavailable("internal error")
        self._failing = isinstance(outcome, Unavailable)
        self._settle(item, outcome)
        self._ordered.finish(item)

    async def _send_one(self, item: Item) -> SendOutcome | Unclear:
        try:
            return await self._store(item)
        except RpcFailed as failed:
            return sending.failed(failed)

    async def _store(self, item: Item) -> SendOutcome:
        """Store one message by a call of its own; raises RpcFailed."""
        request = sending.request(item.message)
        if isinstance(request, Refused):
            return request
        answer: pb.SendMessageResp | pb.SendGroupMessageResp
        left = time_left(item)
        if isinstance(request, pb.SendGroupMessageReq):
            answer = await self._service.call(
                lambda stub: stub.SendGroupMessage, request, timeout=left
            )
        else:
            answer = await self._service.call(lambda stub: stub.SendMessage, request, timeout=left)
        outcome = await self.repeats.check(item.message, answer, time_left(item))
        self.repeats.seen(answer.id)
        return outcome

    def _settle(self, item: Item, outcome: SendOutcome | Unclear) -> None:
        if not isinstance(outcome, Unclear):
            self._answer(item, outcome)
            return
        look_up = asyncio.get_running_loop().create_task(self._look_up(item, outcome))
        self._look_ups.add(look_up)
        look_up.add_done_callback(self._look_ups.discard)

    async def _look_up(self, item: Item, unclear: Unclear) -> None:
        SPAN.set(item.message.span)
        self._answer(item, await self._inquiry.find_out(item, unclear))

    def _answer(self, item: Item, outcome: SendOutcome) -> None:
        self.pending -= 1
        self.stored += isinstance(outcome, Stored)
        if item.message.span is not None:
            sending.end_span(item.message.span, outcome)
        try:
            item.done(item.message, outcome)
        except Exception:  # a fault in one receiver of answers must not stop the others
            log.exception("send_callback_failed")


def _send_batch(stub: MessageStub) -> Any:
    return stub.SendBatch
