"""The handshake of a client: token, origin, device, then the upgrade."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Any

import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.messages import new_conn_id
from skyeim_ws.handler.base import BEARER, answer, authenticate
from skyeim_ws.logic.session_state import Session

log = structlog.get_logger()

MAX_DEVICE_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may connect: whom these secrets vouch for, from these origins (none: from any)."""

    secrets: Sequence[str]
    origins: Sequence[str] = ()


class WSHandler(Client):
    """`GET /ws`: a client that has shown a token."""

    def initialize(self, context: ClientContext[Client], admission: Admission) -> None:  # type: ignore[override]
        """Take what the process shares."""
        super().initialize(context)
        self._admission = admission

    def prepare(self) -> None:
        """Refuse the request before the upgrade, or note whose connection this will be."""
        identity = authenticate(self, self._admission.secrets)
        if identity is None:
            return
        session = self.session = Session()
        device = self.get_query_argument("device", None)
        if device is not None and not 1 <= len(device) <= MAX_DEVICE_CHARACTERS:
            message = f"device: 1 to {MAX_DEVICE_CHARACTERS} characters are wanted"
            answer(self, HTTPStatus.BAD_REQUEST, {"code": 400, "message": message})
            return
        resume = self.get_query_argument("resume", None)
        if resume is not None:
            if not (resume.isascii() and resume.isdecimal() and int(resume[:20]) < 2**63):
                message = "resume: the largest message id that the client holds is wanted"
                answer(self, HTTPStatus.BAD_REQUEST, {"code": 400, "message": message})
                return
            session.resume_after = int(resume)
        confirm = self.get_query_argument("confirm", None)
        if confirm is not None:
            if confirm != "ack":
                message = "confirm: ack is wanted, or nothing"
                answer(self, HTTPStatus.BAD_REQUEST, {"code": 400, "message": message})
                return
            self.ledger.pongs_confirm = False
        now = time.time()
        self.identify(
            user_id=identity.user_id,
            conn_id=new_conn_id(),
            device=device or "",
            connected_at=int(now),
            expires_at=self.context.clock() + identity.expires_at - now,
        )

    async def open(self, *args: str, **kwargs: str) -> None:
        """Log who has come, then set the session up."""
        log.info(
            "connection_opened",
            user=self.user_id,
            conn=self.conn_id,
            device=self.device,
            remote=self.request.remote_ip,
        )
        await super().open(*args, **kwargs)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """Accept `bearer`, which carries the token; no other one means anything here."""
        return next((name for name in subprotocols if name.lower() == BEARER), None)

    def check_origin(self, origin: str) -> bool:
        """Accept an origin that is listed, such as `https://*.example.com`; any if none is."""
        origins = self._admission.origins
        if not origins:
            return True
        return any(fnmatchcase(origin.lower(), allowed.lower()) for allowed in origins)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer what fails before the upgrade in JSON, as every other path does."""
        phrase = HTTPStatus(status_code).phrase
        answer(self, status_code, {"code": status_code, "message": phrase})
