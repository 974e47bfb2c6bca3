"""How the admin commands reach the gateways: over their Redis, on whichever machine they run."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from skyeim_ws.cli.admin.calls import DEADLINE, AdminError, data_folder
from skyeim_ws.config.tree import Config
from skyeim_ws.contract.redis_address import RedisAddress
from skyeim_ws.process import valkey
from skyeim_ws.store.operators import Operators, reached
from skyeim_ws.store.records import Seen

ANSWER_SECONDS = 3.0
"""How long nodes have to answer an order."""


@asynccontextmanager
async def gateways(config: Config) -> AsyncIterator[Operators]:
    """Reach the gateways that share the Redis of a configuration; raises AdminError."""
    try:
        async with reached(_address(config), DEADLINE) as operators:
            yield operators
    except NoPermissionError as error:
        raise AdminError(f"Redis refuses: {error}: use the user of the gateways") from None
    except (RedisError, OSError, TimeoutError) as error:
        said = str(error) or type(error).__name__
        raise AdminError(
            f"cannot reach Redis: {said}: see `skyeim-ws check --connect`, "
            "and that the gateway runs"
        ) from None


async def listed(operators: Operators) -> list[Seen]:
    """Return all nodes; raises AdminError if there is none."""
    nodes = await operators.nodes()
    if not nodes:
        raise AdminError("no gateway is listed in Redis: start one with `skyeim-ws serve`")
    return nodes


async def find(operators: Operators, name: str) -> Seen:
    """Return the node that a word names: its id, the beginning of it, or its `Name`."""
    nodes = await listed(operators)
    for found in (
        [seen for seen in nodes if seen.node == name],
        [seen for seen in nodes if seen.record is not None and seen.record.name == name],
        [seen for seen in nodes if seen.node.startswith(name)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(seen.node for seen in found)
            raise AdminError(f"{name!r} may be several nodes, name one of them: {names}")
    raise AdminError(f"no node is called {name!r}: `skyeim-ws admin node list` shows them")


async def order(
    operators: Operators, node: str, what: str, about: Mapping[str, object]
) -> dict[str, Any]:
    """Have one node do something, and return its answer; raises AdminError."""
    answers = await operators.order([node], what, about, ANSWER_SECONDS)
    if node not in answers:
        raise AdminError(
            f"the node {node} did not answer within {ANSWER_SECONDS:g} s: it hangs, is cut off "
            "from Redis, or is of a version without this command; see its log"
        )
    if "error" in answers[node]:
        raise AdminError(f"the node {node} says: {answers[node]['error']}")
    return answers[node]


def _address(config: Config) -> RedisAddress:
    if config.redis is not None:
        return config.redis.address
    folder = data_folder(config)
    try:
        return RedisAddress(hosts=(str(valkey.runtime_dir(folder) / valkey.SOCKET_NAME),))
    except (OSError, valkey.EmbeddedError) as error:
        raise AdminError(f"{error}: run this as the user that runs the gateway") from None
