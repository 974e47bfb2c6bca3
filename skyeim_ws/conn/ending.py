"""The line that tells of a connection when it is over: whose it was, what passed, who ended it."""

from typing import NamedTuple, Protocol

import structlog

from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.tcp_info import Traffic
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.timing import duration

log = structlog.get_logger()

_NO_CODE, _NO_CLOSE_FRAME = 1005, 1006
"""RFC 6455, 7.4.1: for what happened without a code, and without a close frame."""


class Successor(NamedTuple):
    """The connection that has taken the place of another one, and its client's address."""

    conn_id: str = ""
    remote: str = ""


NOBODY = Successor()


class Ending(NamedTuple):
    """Who has ended a connection, and why; `code` is None until its close frame has come."""

    by: str
    code: int | None = None
    reason: str = ""
    successor: Successor = NOBODY


BY_CLIENT = Ending("client", _NO_CODE)
LOST = Ending("network", _NO_CLOSE_FRAME, "no close frame")


class Ended(Protocol):
    """A connection that is over."""

    user_id: int
    conn_id: str
    device: str
    remote: str
    user_agent: str
    opened_at: float
    frames_in: int
    frames_out: int
    unconfirmed: int
    stats: Stats


def by_gateway(code: CloseCode, reason: object, successor: Successor) -> Ending:
    """Return the ending of a connection that we close."""
    return Ending("gateway", int(code), str(reason), successor)


def tell(
    client: Ended, ending: Ending, code: int | None, traffic: Traffic | None, now: float
) -> None:
    """Log the line; `code` is that of the client's close frame, `now` on the context's clock."""
    if ending is BY_CLIENT and code is not None:
        ending = ending._replace(code=code)
    client.stats.closes[ending.code or _NO_CODE] += 1
    counted: dict[str, object] = {}
    if traffic is not None:
        counted = {
            "bytes_in": traffic.received,
            "bytes_out": traffic.acknowledged,
            "rtt": duration(traffic.rtt),
            "retransmits": traffic.retransmits,
        }
    new = ending.successor
    followed = {"new_conn": new.conn_id, "new_remote": new.remote} if new.conn_id else {}
    log.info(
        "connection_closed",
        user=client.user_id,
        conn=client.conn_id,
        code=ending.code,
        by=ending.by,
        reason=ending.reason,
        **followed,
        device=client.device,
        remote=client.remote,
        user_agent=client.user_agent,
        duration=duration(now - client.opened_at),
        frames_in=client.frames_in,
        frames_out=client.frames_out,
        **counted,
        unconfirmed=client.unconfirmed,
    )
