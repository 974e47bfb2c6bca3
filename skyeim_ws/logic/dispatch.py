"""From a text frame to the function that handles its type."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.decoding import (
    Decoding,
    EnvelopeDecoding,
    fault,
    salvage_msg_id,
    salvage_send,
)
from skyeim_ws.conn.messages import Error, Inbound, frame
from skyeim_ws.conn.rate import Verdict
from skyeim_ws.contract.codes import UNKNOWN_TYPE, Reason
from skyeim_ws.contract.spans import Kind, Tracer, within
from skyeim_ws.contract.texts import Text
from skyeim_ws.logic.answers import refuse

_BROKEN = (msgspec.DecodeError, RecursionError)


class Route(NamedTuple):
    """How the `data` of a type is decoded, and who handles it; the handler never waits.

    `acknowledges` says that a client owes such frames for what it was sent.
    """

    decoding: Decoding[Any] | None
    handle: Callable[[Client, Any], None]
    acknowledges: bool


def route(
    payload: type[Inbound] | None,
    handle: Callable[[Client, Any], None],
    *,
    acknowledges: bool = False,
) -> Route:
    """Return the route of a type; without a payload its `data` is not looked at."""
    return Route(None if payload is None else Decoding(payload), handle, acknowledges)


class Dispatcher:
    """Decodes each frame once and looks its type up in a table."""

    def __init__(self, routes: Mapping[str, Route], tracer: Tracer | None = None) -> None:
        self._routes = routes
        self._tracer = tracer or Tracer()
        self._envelope = EnvelopeDecoding()

    def dispatch(self, client: Client, text: str) -> None:
        """Handle a frame; whatever is wrong with it gets an answer."""
        try:
            envelope = self._envelope.strict(text)
        except _BROKEN:
            try:
                envelope = self._envelope.lenient(text)
            except _BROKEN:
                _refuse_text(client, text)
                return
        found = self._routes.get(envelope.type)
        if found is not None and found.acknowledges and client.acks_due:
            client.acks_due -= 1
        elif (verdict := client.count_frame()) is not Verdict.ALLOWED:
            if verdict is Verdict.LIMITED:
                client.context.stats.rate_limited += 1
                msg_id = salvage_msg_id(envelope.data)
                refuse(client, envelope.type, Reason.RATE_LIMITED, msg_id=msg_id)
            return
        if found is None:
            _refuse_type(client, envelope.type)
            return
        data: Any = None
        if found.decoding is not None:
            try:
                data = found.decoding.strict(envelope.data)
            except _BROKEN:
                try:
                    data = found.decoding.lenient(envelope.data)
                except _BROKEN as broken:
                    msg_id = salvage_msg_id(envelope.data)
                    refuse(client, envelope.type, Reason.INVALID, fault(broken), msg_id)
                    return
        if envelope.traceparent or self._tracer.sampler:
            span = self._tracer.begin(envelope.type, Kind.SERVER, envelope.traceparent)
            with within(span):
                found.handle(client, data)
            return
        found.handle(client, data)


def _refuse_text(client: Client, text: str) -> None:
    client.count_frame()
    kind, msg_id = salvage_send(text)
    refuse(client, kind, Reason.INVALID, Text.NOT_A_FRAME(), msg_id=msg_id)


def _refuse_type(client: Client, kind: str) -> None:
    client.context.stats.refusals["unknown_type"] += 1
    phrase = Text.UNKNOWN_TYPE(kind=repr(kind[:64]))
    client.send(frame("error", Error(code=UNKNOWN_TYPE, message=phrase.spoken(client.language))))
