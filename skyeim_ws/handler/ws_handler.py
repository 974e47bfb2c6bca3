"""The handshake of a client: token, upgrade, origin, device, then the session."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, HTTPError, stream_request_body

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.messages import new_conn_id
from skyeim_ws.contract.spans import SPAN, end_span
from skyeim_ws.contract.texts import Text
from skyeim_ws.handler.answers import (
    allowed_methods,
    answer_error,
    answer_limited,
    fail,
    language_of,
)
from skyeim_ws.handler.bearer import BEARER, authenticate, bearer_token
from skyeim_ws.handler.cors import CrossOrigin
from skyeim_ws.handler.gate import gate_of
from skyeim_ws.handler.numbers import parse_number
from skyeim_ws.handler.spans import begin_span, trace
from skyeim_ws.handler.tokens import Identity, TokenError, verify
from skyeim_ws.handler.upgrade import Refusal, refusal
from skyeim_ws.logic.session_state import Session

log = structlog.get_logger()

MAX_DEVICE_CHARACTERS = 64

_RETRY_SECONDS = 5
"""When a client may try again that was refused by a node which takes nobody."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may connect: whom these secrets vouch for, from these origins (none: from any).

    Nobody while `refuses` says so: a balancer then takes another node.
    """

    secrets: Sequence[str] = field(repr=False)
    origins: CrossOrigin
    refuses: Callable[[], bool]


# Streamed, although it has none: so a body is not read before the request is refused for it.
@stream_request_body
class WSHandler(Client):
    """`GET /ws`: a client that has shown a token."""

    def initialize(self, context: ClientContext[Client], admission: Admission) -> None:  # type: ignore[override]
        """Take what the process shares."""
        super().initialize(context)
        self._admission = admission

    def prepare(self) -> None:
        """Refuse the request before the upgrade, or note whose connection this will be."""
        trace(self, "login")
        identity = authenticate(self, self._admission.secrets)
        if identity is None:
            return
        if self.request.method not in allowed_methods(self):
            answer_error(self, HTTPStatus.METHOD_NOT_ALLOWED)
            return
        refused = refusal(self.request) or self._refusal()
        if refused is not None:
            for name, value in refused.headers.items():
                self.set_header(name, value)
            fail(self, refused.status, int(refused.status), refused.phrase)
            return
        wait = self._wait(identity)
        if wait:
            gate_of(self).stats.logins_limited += 1
            answer_limited(self, HTTPStatus.TOO_MANY_REQUESTS, Text.LOGS_IN_TOO_OFTEN(), wait)
            return
        self._admit(identity)
        # Tornado wants the one word; others beside it are offers that nobody has to take.
        self.request.headers["Upgrade"] = "websocket"

    @classmethod
    def admitted(
        cls,
        request: HTTPServerRequest,
        application: Application,
        context: ClientContext[Client],
        admission: Admission,
    ) -> Self | None:
        """Return the client of a request that `prepare` would let through, without an answer.

        None if it would not: then nothing is noted of it, and it may be tried by Tornado. What it
        makes of a handler for answering a request is not there.
        """
        client = cls.__new__(cls)
        client.application, client.request = application, request
        client.initialize(context, admission)
        return client if client.admit() else None

    def admit(self) -> bool:
        """Note whose connection this will be, unless the request is to be refused."""
        try:
            identity = verify(bearer_token(self.request), self._admission.secrets)
            refused = refusal(self.request) or self._refusal()
        except (TokenError, HTTPError):  # the second for an argument that is not UTF-8
            return False
        if refused is not None or self._wait(identity):
            return False
        self._admit(identity)
        return True

    def _wait(self, identity: Identity) -> float:
        gate = gate_of(self)
        return gate.logins.wait(identity.user_id, gate.clock())

    def _admit(self, identity: Identity) -> None:
        """Note whose connection this will be."""
        self.language = language_of(self)
        now = time.time()
        self.identify(
            user_id=identity.user_id,
            conn_id=new_conn_id(),
            device=self.get_query_argument("device", ""),
            connected_at=int(now),
            expires_at=self.context.clock() + identity.expires_at - now,
            remote=self.request.remote_ip or "",
            user_agent=self.request.headers.get("User-Agent", ""),
        )

    async def open(self, *args: str, **kwargs: str) -> None:
        """Log who has come, then set the session up."""
        if SPAN.get() is None:  # else it has passed `prepare`
            begin_span(self, "login")
        log.info(
            "connection_opened",
            user=self.user_id,
            conn=self.conn_id,
            device=self.device,
            remote=self.remote,
            user_agent=self.user_agent,
        )
        await super().open(*args, **kwargs)
        end_span()
        SPAN.set(None)  # what the client sends has traces of its own

    def on_finish(self) -> None:
        """End the span of a handshake that was refused."""
        if (status := self.get_status()) != HTTPStatus.SWITCHING_PROTOCOLS:
            end_span(str(status))

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Accept `bearer`, which carries the token; no other one means anything here."""
        return next((name for name in subprotocols if name.lower() == BEARER), None)

    def check_origin(self, origin: str) -> bool:
        """Accept what `prepare` has let through: Tornado looks at fewer requests than that."""
        return True

    def data_received(self, chunk: bytes) -> None:
        """Take no body: `prepare` has refused a request that has one."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what fails before the upgrade in JSON, as every other path does."""
        answer_error(self, status_code)

    def _refusal(self) -> Refusal | None:
        """Return why the bearer of a good token may not connect, or None."""
        session = self.session = Session()
        device = self.get_query_argument("device", None)
        resume = self.get_query_argument("resume", None, strip=False)
        confirm = self.get_query_argument("confirm", None)
        if self._admission.refuses():
            again = {"Retry-After": str(_RETRY_SECONDS)}
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, Text.TAKES_NOBODY(), again)
        if not self._is_origin_allowed():
            return Refusal(HTTPStatus.FORBIDDEN, Text.ORIGIN())
        if device is not None and not 1 <= len(device) <= MAX_DEVICE_CHARACTERS:
            wanted = Text.LENGTH(name="device", most=MAX_DEVICE_CHARACTERS)
            return Refusal(HTTPStatus.BAD_REQUEST, wanted)
        if resume is not None:
            session.resume_after = parse_number(resume, 0)
            if session.resume_after is None:
                return Refusal(HTTPStatus.BAD_REQUEST, Text.RESUME())
            session.pushed_from = session.resume_after + 1
        if confirm not in (None, "ack"):
            return Refusal(HTTPStatus.BAD_REQUEST, Text.CONFIRM())
        self.ledger.pongs_confirm = confirm is None
        return None

    def _is_origin_allowed(self) -> bool:
        origin = self.request.headers.get("Origin")
        # Without one this is not a page: programs may connect.
        return origin is None or self._admission.origins.allows(origin)
