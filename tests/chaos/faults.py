"""What is done to a cluster under load; each fault ends when all is healed."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

from tests.chaos.rig import Process, Rig

STALL_SECONDS = (4.0, 6.0)

SET_BACK = (20, 90)
"""By so many messages: less than `MaxSeqJump`, within which a `seq` was believed once."""

Fault = Callable[[Rig, random.Random], Awaitable[None]]

PAUSE_SECONDS = (0.0, 1.0)
"""How long something stays dead."""


async def kill_gateway(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway, and start it again on its port."""
    await _again(chance, chance.choice(rig.gateways))


async def kill_valkey(rig: Rig, chance: random.Random) -> None:
    """Kill Valkey, and start it again on its data."""
    await _again(chance, rig.valkey)


async def kill_services(rig: Rig, chance: random.Random) -> None:
    """Kill the business services, and start them again."""
    await _again(chance, rig.services)


async def cut_subscriptions(rig: Rig, chance: random.Random) -> None:
    """Make every gateway deaf for a moment."""
    await rig.cut_subscriptions()


async def kill_gateway_and_cut(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway while the others are deaf."""
    await rig.cut_subscriptions()
    await kill_gateway(rig, chance)


async def kill_gateway_and_services(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway with what it is storing."""
    await _again(chance, rig.services, chance.choice(rig.gateways))


async def kill_valkey_then_gateway(rig: Rig, chance: random.Random) -> None:
    """Kill a gateway with what it has not been able to tell Valkey."""
    await rig.valkey.kill()
    await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
    await _again(chance, chance.choice(rig.gateways), rig.valkey)


async def disconnect_all(rig: Rig, chance: random.Random) -> None:
    """Reset all connections at once."""
    for client in rig.clients:
        client.cut()


async def stall_gateway(rig: Rig, chance: random.Random) -> None:
    """Have a gateway stand still, for so long that it is taken for dead."""
    await _stall(chance.choice(rig.gateways), chance.uniform(*STALL_SECONDS))


async def stall_valkey(rig: Rig, chance: random.Random) -> None:
    """Have Valkey stand still, longer than a message may wait for it."""
    await _stall(rig.valkey, chance.uniform(*STALL_SECONDS))


async def step_clock(rig: Rig, chance: random.Random) -> None:
    """Set the clock of the machine of Valkey, either way."""
    rig.clock.set(chance.choice([-1, 1]) * chance.randint(2, 3_600))


async def empty_valkey(rig: Rig, chance: random.Random) -> None:
    """Have Valkey lose its data."""
    await rig.empty()


async def move_valkey(rig: Rig, chance: random.Random) -> None:
    """Make another Valkey the master; its address moves with it."""
    await rig.move()
    await rig.healthy()
    await rig.end_retired()


async def set_counters_back(rig: Rig, chance: random.Random) -> None:
    """Have the group count anew, as when its counter comes from an older snapshot."""
    await rig.set_back(chance.randint(*SET_BACK))


SINGLE: tuple[Fault, ...] = (kill_gateway, kill_valkey, cut_subscriptions, kill_services)
ALL: tuple[Fault, ...] = (
    *SINGLE,
    kill_gateway,
    kill_gateway_and_cut,
    kill_gateway_and_services,
    kill_valkey_then_gateway,
    disconnect_all,
    stall_gateway,
    stall_valkey,
    step_clock,
    empty_valkey,
    move_valkey,
    set_counters_back,
)


def plan(faults: int, chance: random.Random, kinds: tuple[Fault, ...]) -> list[Fault]:
    """Return so many faults: each kind in turn, in an order of chance."""
    planned: list[Fault] = []
    while len(planned) < faults:
        planned += chance.sample(kinds, len(kinds))
    return planned[:faults]


async def _stall(process: Process, seconds: float) -> None:
    process.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        process.signal(signal.SIGCONT)


async def _again(chance: random.Random, *processes: Process) -> None:
    for process in processes:
        await process.kill()
    await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
    for process in processes:
        await process.start()
