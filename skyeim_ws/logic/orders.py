"""What operators may order of a running node, by name: JSON in, JSON out."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.hub import Hub
from skyeim_ws.conn.messages import Maintenance, frame
from skyeim_ws.logic.catch_up import CatchUp
from skyeim_ws.logic.session import Sessions
from skyeim_ws.logic.session_state import session_of

log = structlog.get_logger()

Answer = Mapping[str, object]
Orders = Mapping[str, Callable[[Any], Answer]]
"""The name of an order, and what does it: a function of its arguments that does not wait."""


def execute(orders: Orders, what: str, about: bytes) -> bytes:
    """Do what is ordered; return the answer, whose `error` says why it was not done."""
    order = orders.get(what)
    if order is None:
        # An operator's program may be newer than this node.
        return _encoded({"error": f'this node does not know the order "{what}": upgrade it'})
    try:
        return _encoded(order(msgspec.json.decode(about)))
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
        return _encoded({"error": f"the order is not understood: {type(error).__name__}"})


def of_users(hub: Hub, sessions: Sessions, catch_up: CatchUp) -> Orders:
    """Return the orders about the connection of a user, which is named by `user`."""

    def to_client(act: Callable[[Client, Any], Answer]) -> Callable[[Any], Answer]:
        def order(about: Any) -> Answer:
            client = hub.get(about["user"])
            return {"here": False} if client is None else {"here": True, **act(client, about)}

        return order

    def show(client: Client, _: Any) -> Answer:
        return {
            "conn": client.conn_id,
            "device": client.device,
            "remote": client.remote,
            "userAgent": client.user_agent,
            "connectedAt": client.connected_at,
            "state": client.state.name.lower(),
            "secondsSilent": round(client.context.clock() - client.last_seen, 1),
            "tokenSeconds": round(client.expires_at - client.context.clock()),
            "unconfirmed": len(client.ledger),
            "heldBack": len(catch_up.held(client)),
            "catchUp": catch_up.step(client).name.lower(),
            "framesWaiting": len(client.outbox),
            "bytesWaiting": client.outbox.size,
            "sendsUnderWay": session_of(client).sending,
            "readingPaused": client.reading_paused,
            "groups": len(session_of(client).group_ids),
        }

    def show_message(client: Client, about: Any) -> Answer:
        msg_id = str(about["msgId"])
        return {
            "unconfirmed": msg_id in client.ledger,
            "heldBack": msg_id in catch_up.held(client),
        }

    def kick(client: Client, _: Any) -> Answer:
        log.info("signed_out_by_operator", user=client.user_id, conn=client.conn_id)
        sessions.sign_out(client)
        return {"conn": client.conn_id}

    def disconnect(client: Client, _: Any) -> Answer:
        log.info("sent_away_by_operator", user=client.user_id, conn=client.conn_id)
        sessions.send_away(client)
        return {"conn": client.conn_id}

    return {
        "user.show": to_client(show),
        "user.message": to_client(show_message),
        "user.kick": to_client(kick),
        "user.disconnect": to_client(disconnect),
    }


def broadcasting(hub: Hub) -> Orders:
    """Return the order that tells every user of this node of a maintenance."""

    def broadcast(about: Any) -> Answer:
        notice = msgspec.convert(about, Maintenance)
        told = hub.fan_out(hub.users, frame("maintenance", notice))
        log.info("maintenance_announced", users=told)
        return {"users": told}

    return {"broadcast": broadcast}


def _encoded(answer: Answer) -> bytes:
    return msgspec.json.encode(answer)
