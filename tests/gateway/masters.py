"""All servers of the Redis of a test that take writes: each hears, and counts, a part."""

from typing import Any

from redis.asyncio import RedisCluster

from tests.world import World


async def ask_masters(world: World, *command: str) -> list[Any]:
    """Send a command to each of them; return what each says."""
    redis: object = world.redis
    if isinstance(redis, RedisCluster):
        await redis.initialize()
        return [await node.execute_command(*command) for node in redis.get_primaries()]
    return [await world.redis.execute_command(*command)]  # type: ignore[no-untyped-call]


async def cut_subscriptions(world: World) -> None:
    """End all connections on which nodes hear each other."""
    await ask_masters(world, "CLIENT", "KILL", "TYPE", "pubsub")


async def hearers(world: World, channel: str) -> int:
    """Return how many nodes hear the channel of a group."""
    numsub = "SHARDNUMSUB" if world.gateway.pipeline.sharded else "NUMSUB"
    return sum(int(count) for _, count in await ask_masters(world, "PUBSUB", numsub, channel))


async def keys(world: World, pattern: str) -> list[bytes]:
    """Return all keys that match."""
    return [key for each in await ask_masters(world, "KEYS", pattern) for key in each]
