"""W3C trace context: to which trace a piece of work belongs, and how long it took.

The work itself asks `SPAN`, which costs next to nothing where there is none. Tasks that are made
meanwhile, and the lines that are logged, belong to the same span.
"""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any

TRACEPARENT = "traceparent"
"""The header, the query parameter, the field of a frame, and the key in the metadata of gRPC."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class Kind(IntEnum):
    """The role of a span, by the numbers that OpenTelemetry gives it."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2


class Span:
    """A piece of work in a trace; ids are in hexadecimal digits, times in Unix nanoseconds.

    It is exported when it ends, if it is `sampled` and there is an exporter.
    """

    __slots__ = (
        "attributes",
        "began",
        "ended",
        "error",
        "export",
        "kind",
        "name",
        "parent_id",
        "sampled",
        "span_id",
        "trace_id",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        trace_id: str,
        parent_id: str,
        export: "Callable[[Span], None] | None",
        *,
        sampled: bool,
    ) -> None:
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id = _new_id(64)
        self.parent_id = parent_id
        self.sampled = sampled
        self.export = export
        self.attributes: dict[str, Any] = {}
        self.error = ""
        self.began = time.time_ns()
        self.ended = 0

    @property
    def traceparent(self) -> str:
        """What tells another process of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"

    def child(self, name: str, kind: Kind = Kind.CLIENT) -> "Span":
        """Begin a piece of this work."""
        return Span(name, kind, self.trace_id, self.span_id, self.export, sampled=self.sampled)

    def end(self, error: str = "", **attributes: Any) -> None:
        """Note that the work is done, once; `error` says in a word why it has failed."""
        if self.ended:
            return
        self.ended = time.time_ns()
        self.error = error
        self.attributes |= attributes
        if self.sampled and self.export is not None:
            self.export(self)


SPAN: ContextVar[Span | None] = ContextVar("span", default=None)
"""The span of what is done now."""


class Tracer:
    """Begins traces: those of callers, and of a part of all other work, from 0 to 1.

    Ask `sampler or traceparent` before `begin`: where neither is there, nothing is begun.
    """

    __slots__ = ("export", "exported", "failed", "sampler")

    def __init__(self, sampler: float = 0.0, export: Callable[[Span], None] | None = None) -> None:
        self.sampler = sampler
        self.export = export
        # How many spans the exporter has sent, and could not send.
        self.exported = self.failed = 0

    def begin(self, name: str, kind: Kind, traceparent: str) -> Span | None:
        """Go on with the trace of a caller, as it is sampled; or begin one, if it is its turn.

        A `traceparent` that is not understood counts as none, as the standard wants it.
        """
        caller = _FORM.fullmatch(traceparent) if traceparent else None
        if caller is not None and _is_valid(caller):
            sampled = bool(int(caller[4], 16) & _SAMPLED)
            return Span(name, kind, caller[2], caller[3], self.export, sampled=sampled)
        if self.sampler and random.random() < self.sampler:  # noqa: S311 - not a secret
            return Span(name, kind, _new_id(128), "", self.export, sampled=True)
        return None


@contextmanager
def within(span: Span | None) -> Iterator[None]:
    """Do something as the work of a span, or of none."""
    token = SPAN.set(span)
    try:
        yield
    finally:
        SPAN.reset(token)


def end_span(error: str = "", **attributes: Any) -> None:
    """End the span of what is done now, if there is one and it has not ended."""
    if (span := SPAN.get()) is not None:
        span.end(error, **attributes)


def _is_valid(caller: "re.Match[str]") -> bool:
    version, trace_id, span_id, _, more = caller.groups()
    known = version != "ff" and not (version == "00" and more)
    return known and bool(int(trace_id, 16) and int(span_id, 16))


def _new_id(bits: int) -> str:
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"
