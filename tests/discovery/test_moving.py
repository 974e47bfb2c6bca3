"""Messages go on while the instances of a service come, go and move, and etcd has its troubles."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.discovery import announce
from skyeim_ws.discovery.announce import Announcement, announcing
from skyeim_ws.discovery.names import resolved
from skyeim_ws.discovery.watch import watched
from skyeim_ws.logic.outgoing import Stored
from skyeim_ws.rpc.batcher import Batcher
from skyeim_ws.rpc.friends import FriendClient
from skyeim_ws.rpc.groups import GroupClient
from skyeim_ws.rpc.pool import Pool
from tests.discovery.etcd_server import PASSWORD, Etcd, needs_etcd, running_etcd
from tests.long import LONG
from tests.rpc.servers import Answers, Handler, Storage, private, serving
from tests.waiting import until

pytestmark = needs_etcd

KEY = "message.rpc"
STEADY = 300
"""Messages that are stored between two events."""

OUTAGE = 60.0 if LONG else 0.0
"""Seconds that etcd is away at least; longer than its leases in the long form."""


class Fleet:
    """Instances of the Message service that announce themselves, over one storage."""

    def __init__(self, conf: EtcdConf, methods: dict[str, Handler]) -> None:
        self._conf = conf
        self._methods = methods
        self._stacks: dict[str, AsyncExitStack] = {}

    async def start(self) -> str:
        stack = AsyncExitStack()
        address = await stack.enter_async_context(serving("127.0.0.1:0", message=self._methods))
        await stack.enter_async_context(announcing([Announcement(self._conf, address)]))
        self._stacks[address] = stack
        return address

    async def stop(self, address: str) -> None:
        """Withdraw the address, then end the server and what it has under way."""
        await self._stacks.pop(address).aclose()

    async def close(self) -> None:
        for address in list(self._stacks):
            await self.stop(address)


class Load:
    """Sends without end, some messages at a time; nobody is to hear of any trouble."""

    def __init__(self, batcher: Batcher) -> None:
        self.answers = Answers()
        self.sent = 0
        self._batcher = batcher
        self._task = asyncio.create_task(self._send())

    async def go_on(self) -> None:
        """Wait until many more are answered than have been so far."""
        await self.answers.wait(len(self.answers.outcomes) + STEADY)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await self.answers.wait(self.sent)

    async def _send(self) -> None:
        while True:
            # No more than single calls can bear, which cost ten times as much.
            for sender in range(1, 21 if self._batcher.pending < 50 else 0):
                self.answers.submit(self._batcher, [private(f"m{self.sent}", sender)])
                self.sent += 1
            await asyncio.sleep(0.005)


@asynccontextmanager
async def under_load(
    etcd: Etcd, methods: Callable[[Storage], dict[str, Handler]], login: dict[str, str]
) -> AsyncIterator[tuple[Fleet, Load, Pool]]:
    """Run three instances and a gateway's way to them; at the end nothing has failed."""
    storage = Storage()
    conf = etcd.conf(KEY, **login)
    fleet = Fleet(conf, methods(storage))
    pool = Pool("message", (), 10.0)
    try:
        for _ in range(3):
            await fleet.start()
        pool.follow(resolved(watched(replace(conf, hosts=("127.0.0.1:1", *conf.hosts)))))
        await until(lambda: pool.ready == 3)
        batcher = Batcher(pool, FriendClient(pool), GroupClient(pool))
        batcher.start()
        load = Load(batcher)
        try:
            await load.go_on()
            yield fleet, load, pool
            await load.go_on()
        finally:
            await load.end()
            await batcher.close()
        failed = [
            f"{name}: {outcome!r}"
            for name, outcome in load.answers.outcomes.items()
            if not isinstance(outcome, Stored)
        ]
        assert failed == []
        assert set(storage.stored) == {f"m{number}" for number in range(load.sent)}
    finally:
        await pool.close()
        await fleet.close()


def batches(storage: Storage) -> dict[str, Handler]:
    return storage.batch_methods


def single_calls(storage: Storage) -> dict[str, Handler]:
    return storage.unary_methods


async def replace_all(fleet: Fleet, load: Load, pool: Pool) -> None:
    """Put a new instance in the place of each."""
    for old in pool.endpoints:
        new = await fleet.start()
        await until(lambda new=new: new in pool.endpoints)  # type: ignore[misc]
        await load.go_on()
        await fleet.stop(old)
        await load.go_on()
        await until(lambda old=old: old not in pool.endpoints)  # type: ignore[misc]


async def lose_etcd(etcd: Etcd, load: Load) -> None:
    etcd.stop()
    await load.go_on()
    await asyncio.sleep(OUTAGE)
    await etcd.start()
    await load.go_on()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "RETRY", 0.1)
    # Who withdraws while etcd does not know its login any more is there until its lease ends.
    monkeypatch.setattr(announce, "LEASE", 3)
    monkeypatch.setattr(announce, "INTERVAL", 0.9)


@pytest.mark.gen_test
@pytest.mark.parametrize("methods", [batches, single_calls])
async def test_no_message_fails_while_instances_change_and_etcd_goes(
    methods: Callable[[Storage], dict[str, Handler]],
) -> None:
    async with running_etcd() as etcd, under_load(etcd, methods, {}) as (fleet, load, pool):
        await replace_all(fleet, load, pool)
        await lose_etcd(etcd, load)
        await replace_all(fleet, load, pool)
        await etcd.compact()
        await replace_all(fleet, load, pool)


@pytest.mark.gen_test
async def test_the_same_with_a_password() -> None:
    async with running_etcd() as etcd:
        await etcd.lock("gateway", f"{KEY}/")
        login = {"user": "gateway", "password": PASSWORD}
        async with under_load(etcd, batches, login) as (fleet, load, pool):
            await replace_all(fleet, load, pool)
            await lose_etcd(etcd, load)
            await replace_all(fleet, load, pool)
