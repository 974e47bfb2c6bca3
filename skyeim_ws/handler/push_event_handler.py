"""Pushes from the business services: events for a user or a group."""

import hmac
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
import structlog
from msgspec import Meta

from skyeim_ws.conn.messages import GroupId, UserId
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.contract.texts import Text
from skyeim_ws.handler.answers import answer
from skyeim_ws.handler.base import JsonHandler
from skyeim_ws.handler.body import MalformedBodyError, compact, decode
from skyeim_ws.handler.gate import gate_of
from skyeim_ws.handler.remote import is_forwarded, is_from_browser, is_loopback
from skyeim_ws.handler.spans import trace
from skyeim_ws.logic.events import EventPublisher

log = structlog.get_logger()

SECRET_HEADER = "X-Skyeim-Push-Secret"  # noqa: S105 - a name

EventName = Annotated[str, Meta(min_length=1, max_length=64)]


class UserEvent(msgspec.Struct, rename="camel", tag="user"):
    """An event for one user."""

    user_id: UserId
    notification_type: EventName
    data: msgspec.Raw = msgspec.Raw(b"{}")


class GroupEvent(msgspec.Struct, rename="camel", tag="group"):
    """An event for the members of a group."""

    group_id: GroupId
    event_type: EventName
    event_data: msgspec.Raw = msgspec.Raw(b"{}")
    except_user_ids: list[UserId] = []
    """Members who are told otherwise, and get no copy."""


class LegacyGroupEvent(msgspec.Struct, rename="camel"):
    """The older form, for groups only."""

    group_id: GroupId
    event_type: EventName
    event_data: msgspec.Raw = msgspec.Raw(b"{}")


_push = msgspec.json.Decoder(UserEvent | GroupEvent)
_legacy = msgspec.json.Decoder(LegacyGroupEvent)


@dataclass(frozen=True, slots=True)
class Pushers:
    """Who may push: whoever shows a secret, and without one configured perhaps this machine.

    `secret` is the configured one, `own` that of the services which the program has started itself;
    either may be "".
    """

    secret: str = field(default="", repr=False)
    own: str = field(default="", repr=False)
    loopback: bool = False


class PushEventHandler(JsonHandler):
    """`POST /api/push`."""

    decoder: msgspec.json.Decoder[Any] = _push

    def initialize(self, publisher: EventPublisher, pushers: Pushers) -> None:
        """Take the publisher, and who may use it."""
        self._publisher = publisher
        self._pushers = pushers

    def admit(self) -> bool:
        """Refuse callers who may not push."""
        if self._trusted():
            gate_of(self).known(self.request)
            trace(self, f"POST {self.request.path}")
            return True
        log.warning("push_refused", remote=self.request.remote_ip)
        self.fail(HTTPStatus.UNAUTHORIZED, 401, Text.UNAUTHORIZED())
        return False

    def post(self) -> None:
        """Pass an event on."""
        try:
            taken = self._publish(decode(self.request.body, self.decoder))
        except MalformedBodyError as error:
            self.fail(HTTPStatus.BAD_REQUEST, 400, error.phrase)
            return
        if taken:
            answer(self, HTTPStatus.OK, {"code": 0, "message": "success"})
        else:
            self.fail(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ERROR_CODES[Reason.BUSY],
                Text.GROUP_BUSY(),
            )

    def _publish(self, event: UserEvent | GroupEvent | LegacyGroupEvent) -> bool:
        if isinstance(event, UserEvent):
            data = compact(event.data)
            self._publisher.to_user(event.user_id, event.notification_type, data)
            return True
        left_out = event.except_user_ids if isinstance(event, GroupEvent) else ()
        data = compact(event.event_data)
        return self._publisher.to_group(event.group_id, event.event_type, data, frozenset(left_out))

    def _trusted(self) -> bool:
        headers = self.request.headers
        if is_from_browser(headers):
            return False
        shown = headers.get(SECRET_HEADER, "").encode()
        for secret in (self._pushers.secret, self._pushers.own):
            if secret and hmac.compare_digest(shown, secret.encode()):
                return True
        # Behind a proxy on this machine everybody seems to come from loopback.
        return (
            self._pushers.loopback
            and not self._pushers.secret
            and not is_forwarded(headers)
            and is_loopback(self.request.remote_ip or "")
        )


class LegacyPushEventHandler(PushEventHandler):
    """`POST /api/push/event`."""

    decoder = _legacy
