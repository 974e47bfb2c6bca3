"""Pushes from the business services: events for a user or a group."""

import hmac
import ipaddress
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from skyeim_ws.conn.messages import GroupId, UserId
from skyeim_ws.contract.codes import ERROR_CODES, Reason
from skyeim_ws.handler.base import JsonHandler, answer
from skyeim_ws.logic.events import EventPublisher

log = structlog.get_logger()

SECRET_HEADER = "X-Skyeim-Push-Secret"  # noqa: S105 - a name

_PROXY_HEADERS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Via")

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


class LegacyGroupEvent(msgspec.Struct, rename="camel"):
    """The older form, for groups only."""

    group_id: GroupId
    event_type: EventName
    event_data: msgspec.Raw = msgspec.Raw(b"{}")


_push = msgspec.json.Decoder(UserEvent | GroupEvent)
_legacy = msgspec.json.Decoder(LegacyGroupEvent)


class PushEventHandler(JsonHandler):
    """`POST /api/push`."""

    decode: Callable[[bytes], UserEvent | GroupEvent | LegacyGroupEvent] = staticmethod(
        _push.decode
    )

    def initialize(self, publisher: EventPublisher, secret: str) -> None:
        """Take the publisher, and the secret of the services or ""."""
        self._publisher = publisher
        self._secret = secret

    def prepare(self) -> None:
        """Refuse callers without the secret; without one configured, all but loopback."""
        if not self._trusted():
            log.warning("push_refused", remote=self.request.remote_ip)
            self.fail(HTTPStatus.UNAUTHORIZED, 401, "Unauthorized")

    def post(self) -> None:
        """Pass an event on."""
        try:
            event = self.decode(self.request.body)
            if isinstance(event, UserEvent):
                user_data = msgspec.json.format(event.data, indent=-1)
                self._publisher.to_user(event.user_id, event.notification_type, bytes(user_data))
                taken = True
            else:
                group_data = msgspec.json.format(event.event_data, indent=-1)
                taken = self._publisher.to_group(
                    event.group_id, event.event_type, bytes(group_data)
                )
        except (msgspec.DecodeError, RecursionError) as error:
            self.fail(HTTPStatus.BAD_REQUEST, 400, f"malformed body: {error}")
            return
        if taken:
            answer(self, HTTPStatus.OK, {"code": 0, "message": "success"})
        else:
            self.fail(
                HTTPStatus.SERVICE_UNAVAILABLE,
                ERROR_CODES[Reason.BUSY],
                "the queue of this group is full; try again",
            )

    def _trusted(self) -> bool:
        if self._secret:
            shown = self.request.headers.get(SECRET_HEADER, "")
            return hmac.compare_digest(shown.encode(), self._secret.encode())
        # Behind a proxy on this machine everybody seems to come from loopback.
        if any(name in self.request.headers for name in _PROXY_HEADERS):
            return False
        try:
            return ipaddress.ip_address(self.request.remote_ip or "").is_loopback
        except ValueError:
            return False


class LegacyPushEventHandler(PushEventHandler):
    """`POST /api/push/event`."""

    decode = staticmethod(_legacy.decode)
