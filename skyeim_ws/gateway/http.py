"""The HTTP servers of a gateway: its routes, its limits, and TLS."""

import ssl
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from socket import socket
from typing import Any

from tornado.routing import Rule
from tornado.web import url

from skyeim_ws.config.tree import Config
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.poller import Poller
from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.tornado_private import require_hooks
from skyeim_ws.contract.texts import Language
from skyeim_ws.gateway.edge import EdgeServer
from skyeim_ws.gateway.listener import Listener
from skyeim_ws.handler.archive_handler import (
    ConversationsHandler,
    MentionsHandler,
    SearchHandler,
)
from skyeim_ws.handler.base import MAX_BODY_BYTES
from skyeim_ws.handler.contact_handler import (
    FriendListHandler,
    GroupListHandler,
    MemberListHandler,
)
from skyeim_ws.handler.cors import CrossOrigin
from skyeim_ws.handler.gate import Gate, Unknown
from skyeim_ws.handler.health_handler import HealthHandler
from skyeim_ws.handler.http_application import SOCKET_PATH, HttpApplication
from skyeim_ws.handler.limits import CallLimit, CallsUnderWay, Handshakes, LoginLimit
from skyeim_ws.handler.message_handler import (
    GroupHistoryHandler,
    GroupReadHandler,
    GroupSyncHandler,
    HistoryHandler,
    OfflineHandler,
    ReadHandler,
    UnreadCountHandler,
)
from skyeim_ws.handler.prompt_upgrade import PromptUpgrade
from skyeim_ws.handler.push_event_handler import (
    LegacyPushEventHandler,
    Pushers,
    PushEventHandler,
)
from skyeim_ws.handler.remote import TrustedProxies
from skyeim_ws.handler.web_handler import DemoHandler, PageHandler, page_files
from skyeim_ws.handler.ws_handler import Admission, WSHandler
from skyeim_ws.logic.archive import Archive
from skyeim_ws.logic.contacts import FriendPages, GroupPages
from skyeim_ws.logic.events import EventPublisher
from skyeim_ws.logic.ports import Members, Messages
from skyeim_ws.logic.receipts import Receipts

_V1 = r"(?:/api/v1)?"
"""Each path of the users' API has this prefix, or none."""


@dataclass(frozen=True, slots=True)
class Port:
    """Bound sockets that are served."""

    server: EdgeServer
    listeners: list[Listener]

    def take(self, application: HttpApplication, secured: ssl.SSLContext | None) -> None:
        """Serve the requests to come by this, and the connections to come with this TLS."""
        self.server.take(application)
        for listener in self.listeners:
            listener.tls = secured

    def close(self) -> None:
        """Accept no more."""
        for listener in self.listeners:
            listener.close()


def application(
    config: Config,
    *,
    context: ClientContext[Client],
    waiting: Handshakes[Unknown],
    publisher: EventPublisher,
    messages: Messages,
    members: Members,
    archive: Archive,
    friends: FriendPages,
    groups: GroupPages,
    receipts: Receipts,
    problems: Callable[[], list[str]],
    online: Callable[[], int],
    refuses: Callable[[], bool],
    spawn: Callable[[Coroutine[Any, Any, None]], object],
    build: Mapping[str, str],
) -> HttpApplication:
    """Return the web application that users and services talk to.

    No client may connect while `refuses` says so. `waiting` are the connections without a token,
    `spawn` runs a task. Raises ImportError if Tornado lacks something that the connections need.
    """
    require_hooks()
    secrets = config.auth.secrets
    origins = config.web_socket.origins
    admission = Admission(secrets, CrossOrigin.of(origins, otherwise_any=True), refuses)
    asking = {"secrets": secrets, "messages": messages}
    of_members = asking | {"members": members}
    searching = {"secrets": secrets, "archive": archive, "members": members}
    contacts = {"secrets": secrets, "friends": friends, "groups": groups}
    marking = {"secrets": secrets, "receipts": receipts}
    return HttpApplication(
        [
            (SOCKET_PATH, WSHandler, {"context": context, "admission": admission}),
            (r"/health", HealthHandler, {"online": online, "problems": problems, "build": build}),
            *_push_routes(config, publisher),
            *_page_routes(config),
            (_V1 + r"/friend/list", FriendListHandler, contacts),
            (_V1 + r"/group/list", GroupListHandler, contacts),
            (_V1 + r"/group/member/list", MemberListHandler, contacts),
            (_V1 + r"/message/group/sync", GroupSyncHandler, of_members),
            (_V1 + r"/message/offline", OfflineHandler, asking),
            (_V1 + r"/message/history", HistoryHandler, asking),
            (_V1 + r"/message/group/history", GroupHistoryHandler, of_members),
            (_V1 + r"/message/search", SearchHandler, searching),
            (_V1 + r"/message/at-me", MentionsHandler, searching),
            (_V1 + r"/message/conversations", ConversationsHandler, searching),
            (_V1 + r"/message/unread/count", UnreadCountHandler, asking),
            (_V1 + r"/message/read", ReadHandler, marking),
            (_V1 + r"/message/group/read", GroupReadHandler, marking),
        ],
        _gate(config, waiting, context.stats, context.clock),
        PromptUpgrade(context, admission, spawn).take,
    )


def serve(
    stack: AsyncExitStack,
    config: Config,
    application: HttpApplication,
    listeners: Sequence[socket],
    *,
    secured: ssl.SSLContext | None,
    poller: Poller,
) -> Port:
    """Serve the application on bound sockets until the stack is closed."""
    patience = config.web_socket.handshake_timeout
    server = EdgeServer(
        application,
        poller=poller,
        # A body in pieces is cut by its handler, who can say so in JSON, before this is reached.
        max_body_size=2 * MAX_BODY_BYTES,
        # Tornado has one limit for both: sending a request's headers, and idling between two.
        idle_connection_timeout=patience,
        body_timeout=patience,
    )
    stack.push_async_callback(server.close_all_connections)
    started = []
    for bound in listeners:
        listener = Listener(
            bound,
            server.handle_stream,
            application.gate.stats,
            secured,
            plain=server.handle_socket if application.upgrade is not None else None,
        )
        stack.callback(listener.close)
        started.append(listener)
    return Port(server, started)


def pushes(config: Config, gate: Gate, *, publisher: EventPublisher) -> HttpApplication:
    """Return the web application for services that the program has started itself.

    They come without TLS, over loopback.
    """
    return HttpApplication(_push_routes(config, publisher), replace(gate, proxies=TrustedProxies()))


def _page_routes(config: Config) -> list[Rule]:
    if not config.has_page:
        return []
    files = {"files": page_files()}
    routes: list[Rule] = [url(r"/", PageHandler, files), url(r"/web/(.+)", PageHandler, files)]
    if config.demo:
        routes.append(url(r"/demo/users", DemoHandler, {"secret": config.auth.access_secret}))
    return routes


def _gate(
    config: Config, waiting: Handshakes[Unknown], stats: Stats, clock: Callable[[], float]
) -> Gate:
    ws = config.web_socket
    return Gate(
        proxies=TrustedProxies(config.trusted_proxies),
        cross_origin=CrossOrigin.of(ws.origins, otherwise_any=config.is_dev),
        handshakes=waiting,
        logins=LoginLimit(ws.login_burst, ws.login_interval),
        calls=CallLimit(ws.call_rate, ws.call_burst),
        calls_under_way=CallsUnderWay(ws.calls_at_once),
        answer_timeout=ws.answer_timeout,
        language=Language(config.language),
        stats=stats,
        clock=clock,
    )


def _push_routes(config: Config, publisher: EventPublisher) -> list[Rule]:
    conf = config.push_event
    pushers = Pushers(conf.secret, conf.own_secret, loopback=config.is_dev)
    push = {"publisher": publisher, "pushers": pushers}
    return [
        url(r"/api/push", PushEventHandler, push),
        url(r"/api/push/event", LegacyPushEventHandler, push),
    ]


def tls(config: Config) -> ssl.SSLContext | None:
    """Return what secures the port, or None; raises OSError for files that cannot be used."""
    if not config.cert_file:
        return None
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        secured.load_cert_chain(config.cert_file, config.key_file)
    except OSError as error:
        raise OSError(f"CertFile {config.cert_file}, KeyFile {config.key_file}: {error}") from error
    return secured
