"""Calls to one business service: a deadline for each, another try, failures in our own terms."""

import asyncio
import math
import random
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

import grpc
import structlog
from google.protobuf.message import Message
from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.spans import SPAN, TRACEPARENT, Span
from skyeim_ws.logic.ports import Refused
from skyeim_ws.rpc.errors import RpcFailed, classify, failure, is_refusal
from skyeim_ws.rpc.pool import AVOID_TIME, Endpoint, Pool

ATTEMPTS = 5
"""Tries of a call whose connections are lost one after the other."""

SHED_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each further try of a call that a server refused for its load, on average."""

FAIR_SHARE = 0.5
"""The part of the usual time that a call must have had for its end to be the server's fault."""

Stub = TypeVar("Stub")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response")

_TROUBLE = frozenset(
    {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED}
    | {StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS}
)
"""How a server answers that has a fault."""

_MADE_AGAIN = StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.UNIMPLEMENTED
"""What another server may do, or the same one later; see `Service.call`."""

_REPEATED = {("SendMessage", StatusCode.UNKNOWN), ("SendGroupMessage", StatusCode.INTERNAL)}
"""How existing servers answer a `msgId` that they have stored already; this is no fault."""

log = structlog.get_logger()


class Service(Generic[Stub]):
    """The methods of a generated stub class, over whichever endpoint of the pool is connected."""

    def __init__(self, pool: Pool, stub: Callable[[grpc.aio.Channel], Stub]) -> None:
        self._pool = pool
        self._stub = stub

    async def call(
        self,
        method: Callable[[Stub], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        timeout: float | None = None,
        optional: bool = False,
    ) -> Response:
        """Call a method within `timeout` seconds (the pool's, unless given); raises RpcFailed.

        A call that finds no server, or one that sheds load, is made again within its deadline:
        every call of the gateway may be repeated. While nearly all calls of the method fail, most
        are refused here, at once, with UNAVAILABLE. `optional`: that a server lacks the method is
        not trouble; it is UNIMPLEMENTED if all that are connected do.
        """
        name = method_name(request)
        if not self._pool.allows(name):
            raise RpcFailed(StatusCode.UNAVAILABLE)
        started, code = monotonic(), StatusCode.CANCELLED
        deadline = started + (self._pool.timeout if timeout is None else timeout)
        try:
            attempt = 1
            pauses = iter(SHED_PAUSES)
            while True:
                endpoint = await self._pool.connected(deadline, name)
                try:
                    answer = await self._attempt(endpoint, method, request, deadline)
                    code = StatusCode.OK
                    return answer
                except RpcFailed as failed:
                    if optional and failed.code is StatusCode.UNIMPLEMENTED:
                        # Next time this server is not chosen for it.
                        self._note_lacking(endpoint, name)
                        continue
                    if failed.code is StatusCode.RESOURCE_EXHAUSTED:
                        pause = next(pauses, math.inf) * random.uniform(0.5, 1.5)  # noqa: S311
                        if monotonic() + pause >= deadline:
                            self._pool.breakers[name].note(accepted=False)
                            raise
                        await asyncio.sleep(pause)
                        continue
                    # A server that answers so gets one more chance, or another one has it.
                    last = 2 if endpoint.is_ready() else ATTEMPTS
                    late = monotonic() >= deadline
                    if failed.code is not StatusCode.UNAVAILABLE or attempt >= last or late:
                        raise
                attempt += 1
        except RpcFailed as failed:
            code = failed.code
            lacking = optional and failed.code is StatusCode.UNIMPLEMENTED
            if not is_refusal(code) and not lacking:
                self._pool.failures.note(name, code, monotonic() - started)
            raise
        finally:
            self._note_time(name, code, monotonic() - started)

    def begin(
        self,
        method: Callable[[Stub], Any],
        request: Request,
        timeout: float,
        done: Callable[[Any], None],
    ) -> bool:
        """Make a call in this very turn of the loop, if that is possible; else use `call`.

        It is if a server is connected by a connection of our own, and nothing speaks against it.
        `done` is called once, on the loop, never from inside: with the answer, with RpcFailed, or
        with None if `call` may do better.
        """
        name = method_name(request)
        endpoint = self._pool.at_ease(name)
        if endpoint is None:
            return False
        began = monotonic()

        def ended(answer: Any) -> None:
            now = monotonic()
            took = now - began
            endpoint.load.end(took, now)
            code = answer.code if isinstance(answer, RpcFailed) else StatusCode.OK
            self._note(endpoint, name, code, took)
            if code in _MADE_AGAIN:
                done(None)
                return
            if code is not StatusCode.OK and not is_refusal(code):
                self._pool.failures.note(name, code, took)
            self._note_time(name, code, took)
            done(answer)

        begun: bool = method(endpoint.stub(self._stub)).begin(request, timeout, ended)
        if begun:
            endpoint.load.begin()
        return begun

    async def ask(
        self,
        method: Callable[[Stub], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        denied: Reason,
        timeout: float | None = None,
    ) -> Response:
        """Call a method as `call` does; raises Refused or Unavailable.

        `denied` is the reason when the server denies without one that we know.
        """
        try:
            return await self.call(method, request, timeout=timeout)
        except RpcFailed as failed:
            found = classify(failed.code, failed.reason)
            raise found or Refused(denied) from None

    async def ask_optional(
        self,
        method: Callable[[Stub], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        denied: Reason,
    ) -> Response | None:
        """Call a method as `ask` does; None if no server that is connected has it."""
        try:
            return await self.call(method, request, optional=True)
        except RpcFailed as failed:
            if failed.code is StatusCode.UNIMPLEMENTED:
                return None
            found = classify(failed.code, failed.reason)
            raise found or Refused(denied) from None

    async def _attempt(
        self,
        endpoint: Endpoint,
        method: Callable[[Stub], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        deadline: float,
    ) -> Response:
        """Make a call once, and note for later ones how it went."""
        began = monotonic()
        if began >= deadline:
            raise RpcFailed(StatusCode.DEADLINE_EXCEEDED)
        endpoint.load.begin()
        name = method_name(request)
        span = SPAN.get()
        if span is not None:
            span = span.child(f"{self._pool.name}.{self._pool.name.title()}/{name}")
        code = StatusCode.CANCELLED
        try:
            answer = await self._send(endpoint, method, request, deadline - began, span)
            code = StatusCode.OK
        except RpcFailed as failed:
            code = failed.code
            self._note(endpoint, name, code, monotonic() - began)
            raise
        finally:
            if span is not None:
                _end(span, code, endpoint.address)
            now = monotonic()
            endpoint.load.end(now - began, now)
        self._note(endpoint, name, code, now - began)
        return answer

    def _note(self, endpoint: Endpoint, name: str, code: StatusCode, seconds: float) -> None:
        if code is StatusCode.OK:
            self._pool.breakers[name].note(accepted=True)
            return
        if code in (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE):
            endpoint.avoid_until = monotonic() + AVOID_TIME
        if code is StatusCode.DEADLINE_EXCEEDED and seconds < FAIR_SHARE * self._pool.timeout:
            return
        if code is StatusCode.RESOURCE_EXHAUSTED:  # it counts when the call is given up
            return
        if code not in _TROUBLE or (name, code) in _REPEATED:
            self._pool.breakers[name].note(accepted=True)
        elif endpoint.is_ready():  # who is not connected is not asked anyway
            self._pool.breakers[name].note(accepted=False)

    async def _send(
        self,
        endpoint: Endpoint,
        method: Callable[[Stub], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        timeout: float,
        span: Span | None,
    ) -> Response:
        try:
            return await method(endpoint.stub(self._stub))(
                request,
                timeout=timeout,
                metadata=() if span is None else ((TRACEPARENT, span.traceparent),),
                # With nowhere else to go, a connection lost in this moment is waited for.
                wait_for_ready=len(self._pool.endpoints) == 1,
            )
        except grpc.aio.AioRpcError as error:
            # A call that fails in the moment in which it is cancelled tells of the first alone.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from None
            raise failure(error) from None
        except grpc.aio.UsageError:  # the channel was closed just now
            raise RpcFailed(StatusCode.UNAVAILABLE) from None
        except asyncio.CancelledError:
            # grpcio cancels the calls of a channel that is closed, as if we had been cancelled.
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise RpcFailed(StatusCode.UNAVAILABLE) from None

    def _note_time(self, name: str, code: StatusCode, seconds: float) -> None:
        self._pool.timings.note(
            "slow_rpc",
            seconds,
            f"{self._pool.path}{name}",
            "0" if code is StatusCode.OK else str(code.value[0]),
            callee=self._pool.name,
            method=name,
        )

    def _note_lacking(self, endpoint: Endpoint, name: str) -> None:
        if endpoint.note_lacking(name, monotonic()):
            log.info(
                "method_unsupported",
                callee=self._pool.name,
                method=name,
                endpoint=endpoint.address,
            )


def _end(span: Span, code: StatusCode, address: str) -> None:
    """End the span of a try; what a service refuses is an answer, and no failure."""
    error = "" if code is StatusCode.OK or is_refusal(code) else code.name
    span.end(error, **{"rpc.system": "grpc", "server.address": address, "status": code.name})


def method_name(request: Message) -> str:
    """Return the name of the method whose request this is: the contract names it `<Rpc>Req`."""
    return request.DESCRIPTOR.name.removesuffix("Req")
