"""A node whose subscription is lost, and which Redis lets hear nobody for a while."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skyeim_ws.gateway.app import Gateway
from tests.gateway.masters import ask_masters
from tests.waiting import until
from tests.world import World

USER, PASSWORD = "deaf", "another-long-password"


async def add_node_with_user(world: World) -> Gateway:
    """Start another gateway, as a user of Redis that no other one is."""
    await _set_user(world, "reset", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    return await world.add_node(user=USER, password=PASSWORD)


@asynccontextmanager
async def deafness(world: World, node: Gateway) -> AsyncIterator[None]:
    """Keep the node of `add_node_with_user` from hearing what the others tell."""
    # It is still told of what changes: that is another connection.
    await _set_user(world, "-ssubscribe", "-subscribe", "+subscribe|__redis__:invalidate")
    await ask_masters(world, "CLIENT", "KILL", "TYPE", "pubsub", "USER", USER)
    await until(lambda: not node.bus.ready.is_set())
    yield
    assert not node.bus.ready.is_set()
    await _set_user(world, "+@all")


async def _set_user(world: World, *rules: str) -> None:
    await ask_masters(world, "ACL", "SETUSER", USER, *rules)
