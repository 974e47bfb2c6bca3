"""How the admin commands reach the business services: addresses, deadlines, what failures mean."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import grpc
from google.protobuf.message import Message
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from skyeim_ws.config.rpc import RpcConf
from skyeim_ws.config.tree import Config
from skyeim_ws.contract.grpc_tls import ClientTls, client_tls, open_channel
from skyeim_ws.discovery.etcd import EtcdFailed
from skyeim_ws.discovery.watch import read_once
from skyeim_ws.process.embedded import services_address
from skyeim_ws.process.valkey import EmbeddedError

DEADLINE = 5.0
"""Seconds for each call, and for each connection."""

STATE_FOLDER = Path("/var/lib/skyeim-ws")
"""Where the program runs under systemd, so that a relative data folder lies in it."""

ServiceName = Literal["message", "friend", "group"]

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response")

_OPTIONS = (
    # A proxy of the environment is meant for the web, not for services next door.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)

_REFUSALS = (
    StatusCode.INVALID_ARGUMENT,
    StatusCode.PERMISSION_DENIED,
    StatusCode.NOT_FOUND,
    StatusCode.ALREADY_EXISTS,
    StatusCode.FAILED_PRECONDITION,
)

_NO_MEMBER = (
    "this user is not a member of the group: `skyeim-ws admin group members GROUP` shows who is"
)
_ADVICE = {
    "message_not_found": "no message with this msgId is stored, so its sender got no `sent`: its "
    "client has shown a `failed` with the reason, or still sends",
    "not_friend": "these users are not friends: `skyeim-ws admin friend list USER` shows who is",
    "group_not_found": "there is no such group, or it was dismissed: "
    "`skyeim-ws admin group list --user USER` shows the groups of a user",
    "not_member": _NO_MEMBER,
    "member_not_found": _NO_MEMBER,
    # The commands act as the owner, who outranks everybody but himself.
    "role_too_low": "this user owns the group: make another member the owner first, with "
    "`skyeim-ws admin group role GROUP USER owner`",
}
"""The services address the user in whose name they are asked; here an operator reads."""


class AdminError(Exception):
    """A command failed; the text, one line, says what was wrong and what to do."""


class NotOfferedError(AdminError):
    """These services lack the call."""


async def addresses(config: Config, service: ServiceName) -> Sequence[str]:
    """Return where a service may be: its endpoints, those in etcd, or the embedded socket.

    Raises AdminError.
    """
    rpc = _section(config, service)
    if rpc is None:
        return (_embedded_address(config),)
    if rpc.registry is None:
        return rpc.targets
    try:
        found = await read_once(rpc.registry)
    except EtcdFailed as error:
        raise AdminError(f"cannot ask etcd for the {service} service: {error}") from None
    if not found:
        raise _nothing_at(f"the key {rpc.registry.key} in etcd")
    return found


def tls_of(config: Config, service: ServiceName) -> ClientTls | None:
    """Return the TLS settings of a service, if it uses TLS; raises AdminError."""
    rpc = _section(config, service)
    if rpc is None or rpc.tls is None:
        return None
    conf = rpc.tls
    try:
        return client_tls(conf.ca_cert_file, conf.cert_file, conf.key_file, conf.server_name)
    except OSError as error:
        raise AdminError(f"cannot read {error.filename}: {error.strerror}") from None


def _section(config: Config, service: ServiceName) -> RpcConf | None:
    return config.rpcs[f"{service.capitalize()}Rpc"]


@asynccontextmanager
async def connected(
    addresses: Sequence[str], tls: ClientTls | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to the first of the addresses where a server is; raises AdminError."""
    for address in addresses:
        async with open_channel(address, tls, _OPTIONS) as channel:
            if await _connects(channel):
                yield channel
                return
    raise _nothing_at(", ".join(addresses))


async def call(
    method: grpc.aio.UnaryUnaryMultiCallable[Request, Response], request: Request
) -> Response:
    """Call a method of a service, once; raises AdminError."""
    try:
        return await method(request, timeout=DEADLINE)
    except grpc.aio.AioRpcError as error:
        lacking = error.code() is StatusCode.UNIMPLEMENTED
        raise (NotOfferedError if lacking else AdminError)(_explain(error)) from None


def data_folder(config: Config) -> Path:
    """Return the data folder of an embedded set-up, wherever this is run; raises AdminError."""
    if config.embedded is None:
        raise ValueError("the configuration was not checked: a section is missing")
    folder = Path(config.embedded.data_dir)
    # To ask for an address in it would make it.
    for found in (folder, STATE_FOLDER / folder):
        if found.is_dir():
            return found
    raise _nothing_at(str(folder.absolute()))


def _embedded_address(config: Config) -> str:
    data_dir = Path("")
    try:
        data_dir = data_folder(config)
        return services_address(data_dir)
    except EmbeddedError as error:
        raise AdminError(str(error)) from None
    except OSError as error:
        raise AdminError(
            f"cannot use the data folder {data_dir.absolute()}: {error.strerror}: "
            "run this as the user that runs the services"
        ) from None


def _nothing_at(place: str) -> AdminError:
    return AdminError(
        f"no business services at {place}: "
        "start them with `skyeim-ws serve` or `skyeim-ws services`"
    )


async def _connects(channel: grpc.aio.Channel) -> bool:
    # Unlike `channel_ready`, a call fails at once where nobody listens.
    try:
        await HealthStub(channel).Check(HealthCheckRequest(), timeout=DEADLINE)
    except grpc.aio.AioRpcError as error:
        # Whoever refuses is there: other services need not know this call.
        return error.code() not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)
    return True


def _explain(error: grpc.aio.AioRpcError) -> str:
    code, details = error.code(), error.details() or "no more is known"
    if code is StatusCode.DEADLINE_EXCEEDED:
        return (
            f"the services did not answer within {DEADLINE:g} s: "
            "see whether it was done all the same, then try again"
        )
    if code is StatusCode.UNIMPLEMENTED:
        return f"these services do not offer this ({details}): use a newer release of them"
    if code in _REFUSALS:
        return _ADVICE.get(_reason(error), details)
    return f"the services failed ({code.name}: {details}): look at their log, then try again"


def _reason(error: grpc.aio.AioRpcError) -> str:
    # The stubs take its entries for something else than the pairs that they are.
    trailing: Iterable[tuple[str, str | bytes]] = cast(Any, error.trailing_metadata()) or ()
    return str(dict(trailing).get("reason", ""))
