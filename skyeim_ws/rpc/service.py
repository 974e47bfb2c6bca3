"""Calls to one business service: a deadline for each, a second try, failures in our own terms."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message
from grpc import StatusCode

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.ports import Refused
from skyeim_ws.rpc.errors import RpcFailed, classify, failure, is_refusal
from skyeim_ws.rpc.pool import AVOID_TIME, Pool

Stub = TypeVar("Stub")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response")


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

        A call that finds no server is made once more within its deadline: every call of the
        gateway may be repeated. `optional`: that the server lacks the method is not trouble.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + (self._pool.timeout if timeout is None else timeout)
        try:
            try:
                return await self._attempt(method, request, deadline)
            except RpcFailed as failed:
                if failed.code is not StatusCode.UNAVAILABLE or loop.time() >= deadline:
                    raise
            return await self._attempt(method, request, deadline)
        except RpcFailed as failed:
            lacking = optional and failed.code is StatusCode.UNIMPLEMENTED
            if not is_refusal(failed.code) and not lacking:
                self._pool.failures.note(method_name(request), failed.code, loop.time() - started)
            raise

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
            found = classify(failed.code, failed.reason, failed.message)
            raise found or Refused(denied, failed.message) from None

    async def _attempt(
        self,
        method: Callable[[Stub], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        deadline: float,
    ) -> Response:
        loop = asyncio.get_running_loop()
        endpoint = await self._pool.connected(deadline)
        left = deadline - loop.time()
        if left <= 0:
            raise RpcFailed(StatusCode.DEADLINE_EXCEEDED)
        try:
            return await method(endpoint.stub(self._stub))(
                request,
                timeout=left,
                # With nowhere else to go, a connection lost in this moment is waited for.
                wait_for_ready=len(self._pool.endpoints) == 1,
            )
        except grpc.aio.AioRpcError as error:
            failed = failure(error)
            if failed.code is StatusCode.DEADLINE_EXCEEDED:
                endpoint.avoid_until = loop.time() + AVOID_TIME
            raise failed from None
        except grpc.aio.UsageError:  # the channel was closed just now
            raise RpcFailed(StatusCode.UNAVAILABLE) from None
        except asyncio.CancelledError:
            # grpcio cancels the calls of a channel that is closed, as if we had been cancelled.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RpcFailed(StatusCode.UNAVAILABLE) from None


def method_name(request: Message) -> str:
    """Return the name of the method whose request this is: the contract names it `<Rpc>Req`."""
    return request.DESCRIPTOR.name.removesuffix("Req")
