"""Whether Redis lets its user do what a gateway does: each kind of command on each kind of key."""

from redis.exceptions import NoPermissionError, RedisError

from skyeim_ws.contract.names import BROADCAST
from skyeim_ws.store.client import Client, dedicated, link
from skyeim_ws.store.cluster import Cluster
from skyeim_ws.store.keys import NODES_KEY, group_channel, missed_key, queue_key, session_key
from skyeim_ws.store.member_fills import members_key
from skyeim_ws.store.nodes import node_sessions_key
from skyeim_ws.store.presence import USERS_KEY, group_key

_NOBODY = 0
_NOTHING = "check"
_SCRIPT = "redis.call('INFO', 'server') return redis.call('GET', KEYS[1])"

# None of them leaves anything behind.
_COMMANDS: tuple[tuple[str | int, ...], ...] = (
    ("SREM", USERS_KEY, _NOBODY),
    ("SREM", group_key(_NOTHING), _NOBODY),
    ("SREM", members_key(_NOTHING), _NOBODY),
    ("TTL", members_key(_NOTHING)),
    ("LREM", queue_key(_NOBODY), 1, ""),
    ("EVAL", _SCRIPT, 1, session_key(_NOBODY)),
    ("MGET", session_key(_NOBODY)),
    ("DEL", missed_key(_NOBODY)),
    ("ZREM", NODES_KEY, _NOTHING),
    ("HDEL", node_sessions_key(_NOTHING), _NOBODY),
    ("PUBLISH", "ws:check", ""),
)
_KEY: dict[object, int] = {"EVAL": 3}
"""Where the key of a command stands, if not behind its name."""


async def refused_access(client: Client) -> str:
    """Return what Redis does not let us do, with the reason; an empty text if nothing.

    Raises OSError if it cannot be reached.
    """
    sender = link(client)
    try:
        sharded = ("SPUBLISH", group_channel(_NOTHING), "")
        commands = (*_COMMANDS, sharded) if isinstance(client, Cluster) else _COMMANDS
        answers = await sender.send(commands, durable=False)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, Exception):
                return f"refuses {command[0]} {command[_KEY.get(command[0], 1)]}: {answer}"
        await _subscribe(client)
    except NoPermissionError as error:
        return f"refuses SUBSCRIBE {BROADCAST}: {error}"
    except RedisError as error:
        return str(error) or type(error).__name__
    finally:
        await sender.aclose()
    return ""


async def _subscribe(client: Client) -> None:
    connection = await dedicated(client)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        for verb in ("SUBSCRIBE", "UNSUBSCRIBE"):
            await connection.send_command(verb, BROADCAST)
            await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)
