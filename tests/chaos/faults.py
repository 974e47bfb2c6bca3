"""What is done to a cluster under load; each fault ends when all is healed."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from skyeim_ws.store.keys import group_channel
from tests.chaos import kinds
from tests.chaos.process import Mortal
from tests.chaos.replicated import Replicated
from tests.chaos.rig import GROUP, Rig
from tests.chaos.single import Single

STALL_SECONDS = (4.0, 6.0)

SET_BACK = (20, 90)
"""By so many messages: less than `MaxSeqJump`, within which a `seq` was believed once."""

Fault = Callable[[Rig, random.Random], Awaitable[None]]

FORGOTTEN_SECONDS = (0.3, 1.8)

PAUSE_SECONDS = (0.0, 1.0)
"""How long something stays dead."""

MOVED_USERS = 6


async def kill_gateway(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway, and start it again on its port."""
    await _again(chance, chance.choice(rig.gateways))


async def kill_redis(rig: Rig, chance: random.Random) -> None:
    """Kill a Redis, and start it again: on its data, or as a replica of what took its place."""
    await _again(chance, rig.redis.master(chance))


async def kill_services(rig: Rig, chance: random.Random) -> None:
    """Kill the business services, and start them again."""
    await _again(chance, rig.services)


async def cut_subscriptions(rig: Rig, chance: random.Random) -> None:
    """Make every gateway deaf for a moment."""
    await kinds.cut_subscriptions(rig.redis.conf)


async def kill_gateway_and_cut(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway while the others are deaf."""
    await kinds.cut_subscriptions(rig.redis.conf)
    await kill_gateway(rig, chance)


async def kill_gateway_and_services(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway with what it is storing."""
    await _again(chance, rig.services, chance.choice(rig.gateways))


async def kill_redis_then_gateway(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway with what it has not been able to tell Redis."""
    master = rig.redis.master(chance)
    await master.kill()
    await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
    await _again(chance, chance.choice(rig.gateways), master)


async def kill_forgetful_redis(rig: Rig, chance: random.Random) -> None:
    """Kill Redis, which has not written to its file lately, and start it again."""
    await _forget(rig, chance)
    await _again(chance, rig.redis.master(chance))


async def kill_forgetful_redis_and_gateway(rig: Rig, chance: random.Random) -> None:
    """The same, together with a gateway that may have written what is forgotten."""
    await _forget(rig, chance)
    await _again(chance, chance.choice(rig.gateways), rig.redis.master(chance))


async def disconnect_all(rig: Rig, chance: random.Random) -> None:
    """Reset all connections at once."""
    for client in rig.clients:
        client.cut()


async def stall_gateway(rig: Rig, chance: random.Random) -> None:
    """Have a gateway stand still, for so long that it is taken for dead."""
    await _stall(chance.choice(rig.gateways), chance.uniform(*STALL_SECONDS))


async def stall_redis(rig: Rig, chance: random.Random) -> None:
    """Have a Redis stand still, longer than a message may wait for it, or a replica for it."""
    await _stall(rig.redis.master(chance), chance.uniform(*STALL_SECONDS))


async def step_clock(rig: Rig, chance: random.Random) -> None:
    """Set the clock of the machine of Valkey, either way."""
    assert isinstance(rig.redis, Single)
    rig.redis.clock.set(chance.choice([-1, 1]) * chance.randint(2, 3_600))


async def empty_redis(rig: Rig, chance: random.Random) -> None:
    """Have Redis lose its data."""
    await kinds.empty(rig.redis.conf)


async def move_redis(rig: Rig, chance: random.Random) -> None:
    """Make another Valkey the master; its address moves with it."""
    assert isinstance(rig.redis, Single)
    await rig.redis.move()
    await rig.healthy()
    await rig.redis.end_retired()


async def move_slots(rig: Rig, chance: random.Random) -> None:
    """Move to other masters of a cluster what belongs to some users, and the group."""
    assert isinstance(rig.redis, Replicated)
    queues = [f"offline:private:{user}" for user in chance.sample(rig.users, MOVED_USERS)]
    await rig.redis.move_slots([*queues, group_channel(GROUP), "online:users"], chance)


async def set_counters_back(rig: Rig, chance: random.Random) -> None:
    """Have the group count anew, as when its counter comes from an older snapshot."""
    await rig.set_back(chance.randint(*SET_BACK))


_ON_ONE_SERVER: tuple[Fault, ...] = (
    kill_forgetful_redis,
    kill_forgetful_redis_and_gateway,
    step_clock,
    move_redis,
)
_ALL: tuple[Fault, ...] = (
    kill_gateway,
    kill_redis,
    cut_subscriptions,
    kill_services,
    kill_gateway,
    kill_gateway_and_cut,
    kill_gateway_and_services,
    kill_redis_then_gateway,
    kill_forgetful_redis,
    kill_forgetful_redis_and_gateway,
    disconnect_all,
    stall_gateway,
    stall_redis,
    step_clock,
    empty_redis,
    move_redis,
    set_counters_back,
)
_REPLICATED = tuple(fault for fault in _ALL if fault not in _ON_ONE_SERVER)
FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "single": _ALL,
    "cluster": (*_REPLICATED, move_slots),
    "sentinel": _REPLICATED,
}
"""What happens to a rig on each kind of Redis."""


def plan(faults: int, chance: random.Random, each: tuple[Fault, ...]) -> list[Fault]:
    """Return so many faults: each of them in turn, in an order of chance."""
    planned: list[Fault] = []
    while len(planned) < faults:
        planned += chance.sample(each, len(each))
    return planned[:faults]


async def _forget(rig: Rig, chance: random.Random) -> None:
    assert isinstance(rig.redis, Single)
    await rig.redis.stop_writing()
    await asyncio.sleep(chance.uniform(*FORGOTTEN_SECONDS))


async def _stall(process: Mortal, seconds: float) -> None:
    process.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        process.thaw()


async def _again(chance: random.Random, *processes: Mortal) -> None:
    for process in processes:
        await process.kill()
    await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
    for process in processes:
        await process.start()
