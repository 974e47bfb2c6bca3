"""How a servicer says no, and how what it raises becomes a gRPC status."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import structlog
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.spans import SPAN, TRACEPARENT, Kind, Tracer, end_span
from skyeim_ws.contract.timing import Timings
from skyeim_ws.services.mysql import is_lost
from skyeim_ws.services.retry import with_retries

DATABASE_TROUBLE = (OperationalError, InterfaceError, PoolTimeoutError, TimeoutError, OSError)
"""What a database raises that is away, locked, full or too slow: the caller may try again."""

_TROUBLE = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

log = structlog.get_logger()


class RefusedError(Exception):
    """A call is refused, for a reason that the caller can act on.

    `reason` goes into the trailing metadata key `reason`, when it is not empty; `message` is for
    people.
    """

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


def invalid(message: str) -> RefusedError:
    """Return the refusal of a request that has a bad field."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, Reason.INVALID, message)


def denied(reason: str, message: str) -> RefusedError:
    """Return the refusal of a caller who may not do this."""
    return RefusedError(grpc.StatusCode.PERMISSION_DENIED, reason, message)


def not_found(reason: str, message: str) -> RefusedError:
    """Return the refusal of a call on something that does not exist."""
    return RefusedError(grpc.StatusCode.NOT_FOUND, reason, message)


def already_exists(reason: str, message: str) -> RefusedError:
    """Return the refusal to make what is there already."""
    return RefusedError(grpc.StatusCode.ALREADY_EXISTS, reason, message)


_Handler = Any
_Behaviour = Callable[[Any, Any], Awaitable[Any]]


class StatusInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Turns what unary handlers raise into statuses.

    RefusedError gives its own; database trouble that a retry does not mend gives UNAVAILABLE,
    logged when it begins and when it is over; anything else gives INTERNAL, logged with its
    traceback.
    """

    def __init__(self, timings: Timings | None = None, tracer: Tracer | None = None) -> None:
        self._handlers: dict[str, _Handler] = {}
        self._database_lost = False
        self._timings = timings or Timings()
        self._tracer = tracer or Tracer()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Return the handler of the call, wrapped."""
        method: str = handler_call_details.method
        if method in self._handlers:
            return self._handlers[method]
        handler = await continuation(handler_call_details)
        # Health checks do not touch the database, so they must not report it as recovered.
        if handler is None or handler.unary_unary is None or method.startswith("/grpc.health."):
            return handler
        wrapped = grpc.unary_unary_rpc_method_handler(
            self._wrap(method, handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )
        # Only registered methods come this far, so the table is bounded.
        self._handlers[method] = wrapped
        return wrapped

    def _wrap(self, method: str, behaviour: _Behaviour) -> _Behaviour:
        async def call(request: Any, context: Any) -> Any:
            began, code = time.monotonic(), grpc.StatusCode.CANCELLED
            for key, value in context.invocation_metadata():
                if key == TRACEPARENT:  # a call has a task of its own
                    SPAN.set(self._tracer.begin(method.lstrip("/"), Kind.SERVER, str(value)))
            try:
                response = await with_retries(method, partial(behaviour, request, context))
                code = grpc.StatusCode.OK
            except RefusedError as refusal:
                code = refusal.code
                metadata = (("reason", refusal.reason),) if refusal.reason else ()
                await context.abort(refusal.code, refusal.message, metadata)
            except DataError:
                # The column of an existing database is shorter than ours.
                code = grpc.StatusCode.INVALID_ARGUMENT
                await context.abort(
                    code,
                    "the database cannot hold so long a text",
                    (("reason", Reason.INVALID),),
                )
            except Exception as error:
                if not isinstance(error, DATABASE_TROUBLE) and not is_lost(error):
                    log.exception("rpc_failed", method=method)
                    code = grpc.StatusCode.INTERNAL
                    await context.abort(code, "internal error")
                self._note_trouble(method, error)
                code = grpc.StatusCode.UNAVAILABLE
                await context.abort(code, "the database is not available; try again")
            finally:
                took = time.monotonic() - began
                end_span(code.name if code in _TROUBLE else "", status=code.name)
                self._timings.note("slow_call", took, method, str(code.value[0]), method=method)
            self._note_success()
            return response

        return call

    def _note_trouble(self, method: str, error: BaseException) -> None:
        if not self._database_lost:
            self._database_lost = True
            log.error("database_lost", method=method, error=said(error))

    def _note_success(self) -> None:
        if self._database_lost:
            self._database_lost = False
            log.info("database_recovered")


def said(error: BaseException) -> str:
    """Return what an error of the database says; SQLAlchemy's further lines have the statement."""
    text = str(getattr(error, "orig", None) or error)
    return text.splitlines()[0] if text else type(error).__name__
