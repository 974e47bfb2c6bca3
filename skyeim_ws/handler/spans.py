"""The span of a request, in the trace of its caller or in a new one."""

from tornado.web import RequestHandler

from skyeim_ws.contract.spans import SPAN, TRACEPARENT, Kind, Span
from skyeim_ws.handler.gate import gate_of


def begin_span(handler: RequestHandler, name: str) -> Span | None:
    """Begin the span of a request in its caller's trace, or in a new one if it is its turn.

    It is that of the running task, which has to be the request's own.
    """
    tracer, request = gate_of(handler).stats.tracer, handler.request
    caller = request.headers.get(TRACEPARENT, "")
    if not caller and (query := request.query_arguments.get(TRACEPARENT)):
        caller = query[-1].decode("ascii", "replace")
    span = tracer.begin(name, Kind.SERVER, caller) if caller or tracer.sampler else None
    if span is not None:
        SPAN.set(span)
    return span


def trace(handler: RequestHandler, name: str) -> None:
    """Begin the span of a request, and name it in the answer, as go-zero does."""
    if (span := begin_span(handler, name)) is not None:
        handler.set_header(TRACEPARENT, span.traceparent)
