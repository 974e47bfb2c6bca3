"""Real gRPC servers with scripted answers, and what the tests send to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import grpc
from grpc import StatusCode

from skyeim_ws.contract.pb import friend_pb2_grpc, group_pb2_grpc, message_pb2_grpc
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.pool import Pool
from tests.waiting import until

Handler = Callable[[Any, Any], Awaitable[Any]]


async def unimplemented(request: Any, context: Any) -> None:
    await context.abort(StatusCode.UNIMPLEMENTED, "Method not found!")


async def hang(request: Any, context: Any) -> None:
    await asyncio.Event().wait()


def failing(code: StatusCode, message: str = "", reason: str = "") -> Handler:
    """Return a method that always fails; with a reason as our own servers do."""

    async def fail(request: Any, context: Any) -> None:
        await context.abort(code, message, (("reason", reason),) if reason else ())

    return fail


def _scripted(base: Any, methods: Mapping[str, Handler]) -> Any:
    """Return a servicer with these methods; the server lacks all others."""
    names = [name for name in vars(base) if name[0].isupper()]
    assert methods.keys() <= set(names)
    own = {name: staticmethod(methods.get(name, unimplemented)) for name in names}
    return type("Scripted", (base,), own)()


@asynccontextmanager
async def serving(
    address: str,
    *,
    message: Mapping[str, Handler] | None = None,
    friend: Mapping[str, Handler] | None = None,
    group: Mapping[str, Handler] | None = None,
    grace: float | None = None,
) -> AsyncIterator[str]:
    """Serve all three services; yields the address, with the port that was found for port 0.

    At the end, calls under way get `grace` seconds.
    """
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    message_pb2_grpc.add_MessageServicer_to_server(
        _scripted(message_pb2_grpc.MessageServicer, message or {}), server
    )
    friend_pb2_grpc.add_FriendServicer_to_server(
        _scripted(friend_pb2_grpc.FriendServicer, friend or {}), server
    )
    group_pb2_grpc.add_GroupServicer_to_server(
        _scripted(group_pb2_grpc.GroupServicer, group or {}), server
    )
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield address if address.startswith("unix:") else f"127.0.0.1:{port}"
    finally:
        await server.stop(grace)


@asynccontextmanager
async def pooling(*addresses: str, timeout: float = 10.0) -> AsyncIterator[Pool]:
    pool = Pool("test", addresses, timeout)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def batching(
    *addresses: str, timeout: float = 10.0, connected: bool = False, **options: Any
) -> AsyncIterator[Batcher]:
    """Run a batcher; `connected` only when each server can be called without waiting."""
    async with pooling(*addresses, timeout=timeout) as pool:
        if connected:
            await until(lambda: all(each.channel.direct() for each in pool.in_use))
        batcher = Batcher(pool, FriendClient(pool), GroupClient(pool), **options)
        batcher.start()
        try:
            yield batcher
        finally:
            await batcher.close()


class Storage:
    """A Message service that stores in memory and notes what it was asked.

    `denied` maps a msg_id to the status and reason with which it is refused. While `gate` is
    clear, every call waits. `repeats` says what a single call gets whose msg_id is stored: a
    status, or with OK the first answer, without a word that it is; without it a message of its own.
    """

    def __init__(self, repeats: Mapping[str, StatusCode] | None = None) -> None:
        self.repeats = repeats or {}
        self.complaint = "as a person reads it"
        # By msg_id, the oldest first.
        self.infos: dict[str, pb.MessageInfo] = {}
        self.pages = 0
        self.batches: list[list[str]] = []
        self.calls: list[str] = []
        self.stored: list[str] = []
        self.denied: dict[str, tuple[StatusCode, str]] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def batch_methods(self) -> dict[str, Handler]:
        return {"SendBatch": self.send_batch}

    @property
    def unary_methods(self) -> dict[str, Handler]:
        return {
            "SendMessage": self.send_message,
            "SendGroupMessage": self.send_group_message,
            "GetMessageList": self.list_private,
            "GetGroupMessageList": self.list_group,
        }

    async def list_private(self, request: Any, context: Any) -> pb.GetMessageListResp:
        pair = {request.user_id, request.peer_id}
        return self._page(request, lambda info: {info.from_user_id, info.to_user_id} == pair)

    async def list_group(self, request: Any, context: Any) -> pb.GetGroupMessageListResp:
        found = self._page(request, lambda info: info.group_id == request.group_id)
        return pb.GetGroupMessageListResp(list=found.list, has_more=found.has_more)

    def _page(
        self, request: Any, chosen: Callable[[pb.MessageInfo], bool]
    ) -> pb.GetMessageListResp:
        self.pages += 1
        below = request.last_msg_id or 1 << 62
        newest_first = reversed(self.infos.values())
        matching = (info for info in newest_first if info.id < below and chosen(info))
        found = list(islice(matching, request.limit + 1))
        return pb.GetMessageListResp(
            list=found[: request.limit], has_more=len(found) > request.limit
        )

    async def send_batch(self, request: Any, context: Any) -> pb.SendBatchResp:
        messages = [getattr(item, item.WhichOneof("item")) for item in request.items]
        self.batches.append([message.msg_id for message in messages])
        await self.gate.wait()
        return pb.SendBatchResp(results=[self._store(message.msg_id) for message in messages])

    async def send_message(self, request: Any, context: Any) -> pb.SendMessageResp:
        result = await self._call("SendMessage", request, context)
        return pb.SendMessageResp(id=result.id, msg_id=result.msg_id, created_at=7)

    async def send_group_message(self, request: Any, context: Any) -> pb.SendGroupMessageResp:
        result = await self._call("SendGroupMessage", request, context)
        return pb.SendGroupMessageResp(
            id=result.id, msg_id=result.msg_id, created_at=7, seq=result.seq
        )

    async def _call(self, method: str, request: Any, context: Any) -> pb.SendResult:
        msg_id = request.msg_id
        self.calls.append(msg_id)
        await self.gate.wait()
        known = self.infos.get(msg_id)
        if known is not None and method in self.repeats:
            if self.repeats[method] is not StatusCode.OK:
                await context.abort(self.repeats[method], self.complaint)
            return pb.SendResult(id=known.id, msg_id=msg_id, seq=known.seq)
        result = self._store(msg_id)
        if result.code:
            code, reason = self.denied[msg_id]
            await context.abort(code, "as a person reads it", (("reason", reason),) * bool(reason))
        group = method == "SendGroupMessage"
        info = pb.MessageInfo(
            id=result.id,
            msg_id=msg_id,
            from_user_id=request.from_user_id,
            to_user_id=0 if group else request.to_user_id,
            group_id=request.group_id if group else "",
            content=request.content,
            content_type=request.content_type,
            created_at=result.created_at,
            seq=result.seq if group else 0,
            at_user_ids=request.at_user_ids if group else (),
        )
        self.infos[msg_id] = info
        return result

    def _store(self, msg_id: str) -> pb.SendResult:
        if msg_id in self.denied:
            code, reason = self.denied[msg_id]
            return pb.SendResult(code=code.value[0], reason=reason)
        self.stored.append(msg_id)
        number = len(self.stored)
        return pb.SendResult(id=number, msg_id=msg_id, created_at=7, seq=number)


class Answers:
    """Takes what the writer answers."""

    def __init__(self) -> None:
        self.outcomes: dict[str, SendOutcome] = {}

    def done(self, message: Outgoing, outcome: SendOutcome) -> None:
        assert message.msg_id not in self.outcomes, "answered twice"
        self.outcomes[message.msg_id] = outcome

    @property
    def order(self) -> list[str]:
        return list(self.outcomes)

    async def wait(self, count: int) -> None:
        await until(lambda: len(self.outcomes) >= count)

    def submit(self, batcher: Batcher, messages: Iterable[Outgoing]) -> None:
        for message in messages:
            assert batcher.submit(message, self.done)


def private(msg_id: str, sender: int = 1, content: str = "hi", to: int = 2) -> Outgoing:
    return Outgoing(
        msg_id=msg_id, from_user_id=sender, content=content, content_type=1, to_user_id=to
    )


def grouped(
    msg_id: str, sender: int = 1, group_id: str = "g", at_user_ids: Sequence[int] = ()
) -> Outgoing:
    return Outgoing(
        msg_id=msg_id,
        from_user_id=sender,
        content="hi",
        content_type=1,
        group_id=group_id,
        at_user_ids=tuple(at_user_ids),
    )


def stored(outcomes: Iterable[SendOutcome]) -> bool:
    return all(isinstance(outcome, Stored) for outcome in outcomes)
