"""Group commit: while one batch is being stored, whatever comes in waits for the next."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import structlog
from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.names import EVERYONE, MAX_BATCH
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.contract.timing import BATCH_MESSAGES
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc import sending
from skyeim_ws.rpc.errors import RpcFailed, classify, is_refusal, status_code
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.keyed_queue import KeyedQueue
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.repeats import FAILED, NotStored, Repeats, Unclear, Why
from skyeim_ws.rpc.sending import Done, Item
from skyeim_ws.rpc.service import Service

BATCH_SIZE = 256

BATCH_BYTES = 2 * 1024 * 1024
"""Half of what a gRPC server takes unless told otherwise."""

BACKLOG = 10_000
CONCURRENT_CALLS = 64
"""Calls at a time, to a server that knows no batches."""

CONCURRENT_LOOK_UPS = 64
LEAST_TIME = 0.1
"""The part of its time that a message must have left when it is sent.

A batch has the shortest deadline of its messages."""

log = structlog.get_logger()


class Batcher:
    """`ports.MessageWriter` over the pool of the Message service.

    At most `backlog` messages are unanswered at a time, and each is answered within `timeout`
    seconds (the pool's, unless given). They are answered in the order of submission, but for those
    denied without a reason: for these the other two services are asked, and nobody waits. With a
    server that knows no batches the order holds per sender and per group; what waits for its turn
    has its `timeout` from then on, as long as the server answers at all. The messages of a batch
    are answered inside of `together`.

    `batches` counts the batches sent, `stored` the messages that are stored, repeats included,
    `pending` those not yet answered.
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
    ) -> None:
        self.batches = 0
        self.stored = 0
        self.pending = 0
        self.batching = True
        # Whether the last single call has found no server that works.
        self._failing = False
        self._pool = pool
        self._sizes = pool.timings.histogram(BATCH_MESSAGES)
        self._service = Service(pool, MessageStub)
        self.repeats = Repeats(pool)
        self._friends = friends
        self._groups = groups
        self._batch_size = min(batch_size, MAX_BATCH)
        self._backlog = backlog
        self._together = nullcontext() if together is None else together
        self._timeout = pool.timeout if timeout is None else timeout
        self._waiting: deque[Item] = deque()
        self._ordered: KeyedQueue[Item] = KeyedQueue()
        self._wake = asyncio.Event()
        self._closed = False
        self._drain: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._look_ups: set[asyncio.Task[None]] = set()
        self._look_up_slots = asyncio.Semaphore(CONCURRENT_LOOK_UPS)

    def start(self) -> asyncio.Task[None]:
        """Begin to send; return the task, which ends at `close` alone, or by a fault."""
        self._drain = asyncio.create_task(self._run())
        return self._drain

    def submit(self, message: Outgoing, done: Done) -> bool:
        """Take a message for storing; False, and `done` is never called, when it is full."""
        if self._closed or self.pending >= self._backlog:
            return False
        loop = asyncio.get_running_loop()
        self.pending += 1
        self._waiting.append(Item(message, done, loop.time() + self._timeout))
        self._wake.set()
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
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._closed:
                if self.batching:
                    if batch := self._take():
                        await self._store_batch(batch)
                elif not self._pool.offers("SendBatch"):
                    self._queue_calls()
                elif self._calls:  # they come first, or the order would be lost
                    break
                else:
                    self.batching = True
        if not self.batching:
            self._queue_calls()

    def _is_late(self, item: Item) -> bool:
        return _time_left(item) < LEAST_TIME * self._timeout

    def _take(self) -> list[Item]:
        """Take the next batch; those before it that are too late are answered."""
        while self._waiting and self._is_late(self._waiting[0]):
            self._answer(self._waiting.popleft(), Unavailable("no time left"))
        batch: list[Item] = []
        size = 0
        while self._waiting and len(batch) < self._batch_size:
            size += sending.size_bound(self._waiting[0].message)
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _store_batch(self, batch: Sequence[Item]) -> None:
        """Store a batch and answer it, or put it back if the server knows no batches."""
        found = [sending.batch_item(item.message) for item in batch]
        sent = {
            item: request
            for item, request in zip(batch, found, strict=True)
            if not isinstance(request, Refused)
        }
        outcomes = await self._send_batch(sent) if sent else []
        if not self.batching:
            self._waiting.extendleft(reversed(batch))
            return
        settled = iter(outcomes)
        with self._together:
            for item, request in zip(batch, found, strict=True):
                self._settle(item, request if isinstance(request, Refused) else next(settled))

    async def _send_batch(self, sent: Mapping[Item, pb.SendItem]) -> list[SendOutcome | Unclear]:
        """Return the outcome of each item."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        messages = [item.message for item in sent]
        self.batches += 1
        self._sizes.add(len(messages))
        try:
            answer = await self._service.call(
                lambda stub: stub.SendBatch,
                pb.SendBatchReq(items=sent.values()),
                timeout=_time_left(next(iter(sent))),
                optional=True,
            )
        except RpcFailed as failed:
            if failed.code is StatusCode.UNIMPLEMENTED:
                self.batching = False
                return []
            if is_refusal(failed.code):
                # This says nothing about a single item, so the whole batch has failed.
                self._pool.failures.note("SendBatch", failed.code, loop.time() - started)
            return [Unavailable(failed.code.name)] * len(messages)
        except Exception:  # whatever it is, the messages behind this batch must go on
            log.exception("send_batch_failed", items=len(messages))
            return [Unavailable("internal error")] * len(messages)
        finally:
            took = loop.time() - started
            self._pool.timings.note(
                "slow_batch", took, messages=len(messages), waiting=self.pending - len(messages)
            )
        results = answer.results
        if len(results) != len(messages) or not all(map(sending.answers, messages, results)):
            log.error("send_batch_mismatch", items=len(messages), results=len(results))
            return [Unavailable("the answer does not fit the batch")] * len(messages)
        for code in {status_code(result.code) for result in results} - {StatusCode.OK}:
            if not is_refusal(code):
                self._pool.failures.note("SendBatch", code, loop.time() - started)
        return list(map(sending.outcome, messages, results))

    def _queue_calls(self) -> None:
        while self._waiting:
            item = self._waiting.popleft()
            self._ordered.add(item, sending.order_keys(item.message))
        self._start_calls()

    def _start_calls(self) -> None:
        while len(self._calls) < CONCURRENT_CALLS and (item := self._ordered.take()) is not None:
            if self._closed or (self._failing and self._is_late(item)):
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
        item.deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            outcome = await self._send_one(item)
            # An existing server fails so once with the first message of a group. What is not stored
            # is sent again in its turn, or it would come behind those that follow it.
            if outcome == FAILED:
                outcome = await self._find_out(item, FAILED)
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
        left = _time_left(item)
        if isinstance(request, pb.SendGroupMessageReq):
            answer = await self._service.call(
                lambda stub: stub.SendGroupMessage, request, timeout=left
            )
        else:
            answer = await self._service.call(lambda stub: stub.SendMessage, request, timeout=left)
        outcome = await self.repeats.check(item.message, answer, _time_left(item))
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
        self._answer(item, await self._find_out(item, unclear))

    async def _find_out(self, item: Item, unclear: Unclear) -> SendOutcome:
        """Return what a message gets that was denied without a reason, or may be stored already."""
        outcome: SendOutcome
        try:
            async with asyncio.timeout_at(item.deadline), self._look_up_slots:
                if unclear.why is Why.DENIED:
                    outcome = Refused(await self._why_denied(item))
                else:
                    outcome = await self.repeats.look_up(
                        item.message, unclear, _time_left(item), item.newest_id
                    )
        except (Refused, Unavailable) as answer:
            outcome = answer
        except RpcFailed as failed:
            denied = Refused(Reason.NOT_MEMBER if item.message.group_id else Reason.NOT_FRIEND)
            outcome = classify(failed.code, failed.reason) or denied
        except TimeoutError:
            outcome = Unavailable("no time left")
        return outcome

    async def _why_denied(self, item: Item) -> Reason:
        message, left = item.message, _time_left(item)
        if not message.group_id:
            return await self._friends.why_denied(message.from_user_id, message.to_user_id, left)
        return await self._groups.why_denied(
            message.group_id,
            message.from_user_id,
            at_all=EVERYONE in message.at_user_ids,
            timeout=left,
        )

    def _answer(self, item: Item, outcome: SendOutcome) -> None:
        self.pending -= 1
        self.stored += isinstance(outcome, Stored)
        try:
            item.done(item.message, outcome)
        except Exception:  # a fault in one receiver of answers must not stop the others
            log.exception("send_callback_failed")


def _time_left(item: Item) -> float:
    return item.deadline - asyncio.get_running_loop().time()
