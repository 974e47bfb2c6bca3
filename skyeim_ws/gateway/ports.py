"""The ports of users and services: what they serve, and what a reload gives them."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from socket import socket
from typing import Protocol

from skyeim_ws.config.tree import Config
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.gateway import http
from skyeim_ws.handler.gate import Gate, Unknown
from skyeim_ws.handler.http_application import HttpApplication
from skyeim_ws.handler.limits import Handshakes


class Build(Protocol):
    """Makes the web application of users anew."""

    def __call__(
        self, config: Config, *, context: ClientContext[Client], waiting: Handshakes[Unknown]
    ) -> HttpApplication:
        """Return it; `waiting` are the connections without a token."""


class Ports:
    """What users connect to, and the port on which our own services push without TLS.

    Raises OSError for a certificate that cannot be used.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        config: Config,
        context: ClientContext[Client],
        *,
        build: Build,
        build_pushes: Callable[[Config, Gate], HttpApplication],
        listeners: Sequence[socket],
        push_listeners: Sequence[socket],
    ) -> None:
        ws = config.web_socket
        self._build, self._build_pushes = build, build_pushes
        self._waiting: Handshakes[Unknown] = Handshakes(ws.max_handshakes, ws.max_conns_per_ip)
        users = build(config, context=context, waiting=self._waiting)
        pushes = build_pushes(config, users.gate)
        self.gate = users.gate
        serve = partial(http.serve, stack, config, poller=context.poller)
        self._users = serve(users, listeners, secured=http.tls(config))
        self._pushes = serve(pushes, push_listeners, secured=None)

    def reload(self, config: Config, context: ClientContext[Client]) -> None:
        """Give these to the requests and connections to come; raises OSError as at the start.

        What was counted of logins and calls is forgotten.
        """
        secured = http.tls(config)
        ws = config.web_socket
        users = self._build(config, context=context, waiting=self._waiting)
        self._waiting.resize(ws.max_handshakes, ws.max_conns_per_ip)
        self._users.take(users, secured)
        self._pushes.take(self._build_pushes(config, users.gate), None)

    @property
    def waiting(self) -> int:
        """Count the connections that have not shown a token."""
        return len(self._waiting)

    def close(self) -> None:
        """Accept no more users."""
        self._users.close()
