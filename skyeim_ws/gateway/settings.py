"""What a running gateway takes of a configuration, at its start and at a reload."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from skyeim_ws.config.trace import TraceConf
from skyeim_ws.config.tree import Config
from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.context import ClientContext
from skyeim_ws.conn.limits import Limits
from skyeim_ws.contract.message_trace import MessageTrace
from skyeim_ws.gateway.ports import Ports
from skyeim_ws.handler import tokens
from skyeim_ws.logic.renewal import Renewal
from skyeim_ws.logic.session import Sessions


def take(
    ports: Ports,
    context: ClientContext[Client],
    renewal: Renewal,
    sessions: Sessions,
    config: Config,
) -> None:
    """Give the parts what is new for them; raises OSError before anything is taken."""
    ports.reload(config, replace(context, limits=limits(config.web_socket)))
    renewal.check = lifetime(config)
    sessions.max_connections = max_connections(config)
    context.stats.trace.choose(config.trace.sampler, config.trace.users)


def lifetime(config: Config) -> Callable[[str], tuple[int, int]]:
    """Return what reads whose a token is, and until when."""
    return partial(tokens.lifetime, secrets=config.auth.secrets)


def max_connections(config: Config) -> int:
    """Return how many connections there may be; without a limit, a very large number."""
    return config.max_conns or sys.maxsize


def message_trace(conf: TraceConf) -> MessageTrace:
    """Return what notes the steps of the messages that are chosen at the start."""
    trace = MessageTrace(conf.queue_size)
    trace.choose(conf.sampler, conf.users)
    return trace


def limits(ws: WebSocketConf) -> Limits:
    """Return the limits of each connection."""
    return Limits(
        ping_interval=ws.ping_interval,
        pong_timeout=ws.pong_timeout,
        confirm_interval=ws.confirm_interval,
        close_timeout=ws.close_timeout,
        max_message_size=ws.max_message_size,
        send_queue_size=ws.send_queue_size,
        send_queue_bytes=ws.send_queue_bytes,
        ledger_size=ws.ledger_size,
        rate_limit=ws.rate_limit,
        rate_burst=ws.rate_burst,
    )
