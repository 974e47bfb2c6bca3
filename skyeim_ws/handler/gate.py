"""What stands between the network and the handlers of a port, shared by all its requests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.tornado_private import stream_of
from skyeim_ws.contract.texts import Language
from skyeim_ws.handler.cors import CrossOrigin
from skyeim_ws.handler.limits import CallLimit, CallsUnderWay, Handshakes, LoginLimit
from skyeim_ws.handler.remote import TrustedProxies


class Unknown(Protocol):
    """A connection whose caller has not shown a token."""

    def __hash__(self) -> int: ...

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whom to believe, which pages may ask, how much one caller may do, and how to speak to it."""

    proxies: TrustedProxies
    cross_origin: CrossOrigin
    handshakes: Handshakes[Unknown]
    logins: LoginLimit
    calls: CallLimit
    calls_under_way: CallsUnderWay
    answer_timeout: float
    language: Language
    stats: Stats
    clock: Callable[[], float]

    def known(self, request: HTTPServerRequest) -> None:
        """Note that the caller has shown who it is."""
        stream = stream_of(request.connection)
        if stream is not None:
            self.handshakes.leave(stream)


def gate_of(handler: RequestHandler) -> Gate:
    """Return the gate through which a request has come, from the settings of the application."""
    gate: Gate = handler.settings["gate"]
    return gate
