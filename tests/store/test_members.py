"""The member cache against a real Redis that others edit, kill and freeze."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from skyeim_ws.contract.codes import Reason
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.store import scripts, tracking
from skyeim_ws.store.member_fills import TTL, UNVERIFIED_TTL
from skyeim_ws.store.members import REFUSED_TTL, UNTRACKED_TTL, MemberCache
from skyeim_ws.store.tracking import changes
from tests.store.servers import Server, client_at, connected, pipelined
from tests.waiting import until, until_async

KEY = "im:group:members:g"
MEMBERS = frozenset({1, 2, 3})


class Service:
    """A Group service of one list, which can be held up and made to fail."""

    def __init__(self, members: frozenset[int] = MEMBERS) -> None:
        self.members = members
        self.failure: Exception | None = None
        self.strangers: set[int] = set()
        self.askers: list[tuple[str, int]] = []
        self.checked: list[tuple[str, int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, group_id: str, asker_id: int) -> frozenset[int]:
        self.askers.append((group_id, asker_id))
        if self.failure is not None:
            raise self.failure
        answer = self.members
        await self.open.wait()
        if asker_id in self.strangers:
            raise Refused(Reason.NOT_MEMBER)
        return answer

    async def check(self, group_id: str, user_id: int) -> bool:
        self.checked.append((group_id, user_id))
        if self.failure is not None:
            raise self.failure
        return user_id in self.members


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def cached(
    server: Server, service: Service, **options: Any
) -> AsyncIterator[tuple[MemberCache, Redis]]:
    """Start a cache and wait until it follows changes; its clock stands still."""
    options.setdefault("clock", Clock())
    async with pipelined(server) as pipeline, connected(server) as client:
        cache = MemberCache(pipeline, client, service.load, service.check, **options)
        cache.start()
        await until(lambda: cache.tracking)
        try:
            yield cache, client
        finally:
            await cache.close()


async def settled(cache: MemberCache, client: Redis) -> None:
    """Fill group g and wait until its list is kept for as long as nobody changes it."""
    await cache.members("g")
    await until_async(lambda: filled(client))
    await flushed(cache, client)
    await cache.members("g")
    await flushed(cache, client)
    assert cache.cached("g") is not None


async def put(client: Redis, key: str, *members: int | str) -> None:
    """Write a whole list, as gateways do; one that never expires is a part of one."""
    await client.sadd(key, *members)
    await client.expire(key, TTL)


async def filled(client: Redis) -> bool:
    return await client.ttl(KEY) > UNVERIFIED_TTL


async def flushed(cache: MemberCache, client: Redis) -> None:
    """Wait until the cache knows of all changes up to now: it is told of them in their order."""
    mark = "im:group:members:mark"
    await put(client, mark, 1)
    await until_async(lambda: kept(cache, "mark"))
    await client.delete(mark)
    await until(lambda: cache.cached("mark") is None)


async def kept(cache: MemberCache, group_id: str) -> bool:
    await cache.members(group_id)
    await asyncio.sleep(0)
    return cache.cached(group_id) is not None


@pytest.mark.gen_test
async def test_a_miss_is_loaded_and_fills_redis(server: Server) -> None:
    service = Service()
    async with cached(server, service) as (cache, client):
        assert cache.cached("g") is None
        assert await cache.members("g", 7) == MEMBERS
        await until_async(lambda: filled(client))
        assert await client.smembers(KEY) == {b"1", b"2", b"3"}
        assert 0 < await client.ttl(KEY) <= TTL
        assert service.askers == [("g", 7)] * 2


@pytest.mark.gen_test
async def test_what_redis_holds_is_not_loaded(server: Server) -> None:
    service = Service()
    async with cached(server, service) as (cache, client):
        await put(client, KEY, 4, 5, "placeholder")
        assert await cache.members("g") == frozenset({4, 5})
        assert service.askers == []


@pytest.mark.gen_test
async def test_a_set_that_never_expires_is_no_list_of_the_members(server: Server) -> None:
    """Another service has added one member to a set that was not there."""
    service = Service()
    async with cached(server, service) as (cache, client):
        await client.sadd(KEY, 3)
        assert await refusal(cache, 2) is None
        assert await cache.members("g") == MEMBERS
        await until_async(lambda: filled(client))
        assert await client.smembers(KEY) == {b"1", b"2", b"3"}


@pytest.mark.gen_test
async def test_a_list_without_the_sender_is_read_anew_once(server: Server) -> None:
    service = Service()
    async with cached(server, service) as (cache, client):
        await put(client, KEY, 3)
        await flushed(cache, client)
        assert await cache.members("g") == frozenset({3})
        assert await cache.members("g", 2) == MEMBERS
        asked = len(service.askers)
        assert await cache.members("g", 9) == MEMBERS
        assert len(service.askers) == asked


@pytest.mark.gen_test
async def test_a_list_is_kept_until_it_changes(server: Server) -> None:
    service, clock = Service(), Clock()
    async with cached(server, service, clock=clock) as (cache, client):
        await settled(cache, client)
        clock.now += 10 * UNTRACKED_TTL
        assert cache.cached("g") == MEMBERS
        await client.srem(KEY, 2)
        await until(lambda: cache.cached("g") is None)
        assert await cache.members("g") == frozenset({1, 3})
        await client.delete(KEY)
        service.members = frozenset({9})
        await until(lambda: cache.cached("g") is None)
        assert await cache.members("g") == frozenset({9})
        await settled(cache, client)
        await client.flushall()
        await until(lambda: cache.cached("g") is None)


@pytest.mark.gen_test
async def test_look_ups_at_once_share_one(server: Server) -> None:
    service = Service()
    service.open.clear()
    async with cached(server, service) as (cache, _):
        waiters = [asyncio.create_task(cache.members("g")) for _ in range(10)]
        await until(lambda: service.askers)
        waiters[0].cancel()
        service.open.set()
        assert await asyncio.gather(*waiters[1:]) == [MEMBERS] * 9
        assert waiters[0].cancelled()


@pytest.mark.gen_test
async def test_a_change_during_a_look_up_keeps_its_list_out(server: Server) -> None:
    service = Service()
    service.open.clear()
    async with cached(server, service) as (cache, client):
        old = asyncio.create_task(cache.members("g"))
        await until(lambda: service.askers)
        service.members = frozenset({1})
        await put(client, KEY, 1)
        await flushed(cache, client)
        service.open.set()
        new = await until_async(lambda: after_change(cache, service))
        assert new == frozenset({1})
        assert await old == MEMBERS
        assert cache.cached("g") != MEMBERS


async def after_change(cache: MemberCache, service: Service) -> frozenset[int] | None:
    members = await cache.members("g")
    return members if members == service.members else None


@pytest.mark.gen_test
async def test_a_change_between_load_and_write_leaves_no_stale_list(server: Server) -> None:
    """The database changed, and the DEL found no key, before the old list was written."""
    service = Service()
    service.open.clear()
    async with cached(server, service) as (cache, client):
        told: list[frozenset[int]] = []
        cache.on_filled = lambda _, members: told.append(members)
        look_up = asyncio.create_task(cache.members("g"))
        await until(lambda: service.askers)
        service.members = frozenset({1})
        assert await client.delete(KEY) == 0
        service.open.set()
        assert await look_up == MEMBERS
        await until(lambda: len(service.askers) == 2)
        await until_async(lambda: absent(client))
        # Whoever was told of the old list meanwhile is told of the new one, without being asked.
        await until(lambda: told[-1:] == [frozenset({1})])
        assert await until_async(lambda: after_change(cache, service)) == frozenset({1})


async def absent(client: Redis) -> bool:
    return await client.exists(KEY) == 0


@pytest.mark.gen_test
async def test_a_list_that_could_not_be_verified_ends_soon(server: Server) -> None:
    service = Service()
    async with cached(server, service) as (cache, client):
        service.open.clear()
        look_up = asyncio.create_task(cache.members("g"))
        await until(lambda: service.askers)
        service.failure = Unavailable("away")
        service.open.set()
        await look_up
        await until(lambda: len(service.askers) == 2)
        assert 0 < await client.ttl(KEY) <= UNVERIFIED_TTL


@pytest.mark.gen_test
async def test_trouble_of_the_service_passes_through_and_is_not_kept(server: Server) -> None:
    service = Service()
    service.failure = Unavailable("away")
    async with cached(server, service) as (cache, _):
        with pytest.raises(Unavailable):
            await cache.members("g")
        service.failure = None
        assert await cache.members("g") == MEMBERS


@pytest.mark.gen_test
async def test_a_group_that_vanishes_during_its_fill_is_not_kept(server: Server) -> None:
    service = Service()
    async with cached(server, service) as (cache, client):
        service.open.clear()
        look_up = asyncio.create_task(cache.members("g"))
        await until(lambda: service.askers)
        service.failure = Refused(Reason.GROUP_NOT_FOUND)
        service.open.set()
        await look_up
        await until(lambda: len(service.askers) == 2)
        await until_async(lambda: absent(client))


@pytest.mark.gen_test
async def test_without_redis_lists_are_loaded_and_kept_for_a_moment(mortal: Server) -> None:
    service, clock = Service(), Clock()
    async with pipelined(mortal) as pipeline, connected(mortal) as client:
        cache = MemberCache(pipeline, client, service.load, service.check, clock=clock)
        cache.start()
        await until(lambda: cache.tracking)
        await settled(cache, client)
        mortal.kill()
        await until(lambda: not cache.tracking and not pipeline.healthy)
        assert cache.cached("g") is None
        loads = len(service.askers)
        assert await cache.members("g") == await cache.members("g") == MEMBERS
        assert len(service.askers) == loads + 1
        clock.now += UNTRACKED_TTL
        assert cache.cached("g") is None
        mortal.start()
        await until(lambda: cache.tracking and pipeline.healthy)
        await settled(cache, client)
        await client.srem(KEY, 3)
        await until(lambda: cache.cached("g") is None)
        await cache.close()


@pytest.mark.gen_test
async def test_a_silent_tracking_connection_empties_the_cache(
    mortal: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PROBE_INTERVAL", 0.1)
    service = Service()
    async with cached(mortal, service) as (cache, client):
        await settled(cache, client)
        mortal.freeze()
        await until(lambda: not cache.tracking)
        assert cache.cached("g") is None
        mortal.thaw()
        await until(lambda: cache.tracking)


@pytest.mark.gen_test
async def test_the_least_recently_used_makes_room_and_fillings_are_told(server: Server) -> None:
    told: list[tuple[str, frozenset[int]]] = []
    async with cached(server, Service(), capacity=2) as (cache, client):
        cache.on_filled = lambda *filling: told.append(filling)
        for group_id in "abc":
            await put(client, f"im:group:members:{group_id}", 1)
        await flushed(cache, client)
        told.clear()
        for group_id in ("a", "b", "a", "c"):
            await cache.members(group_id)
        assert cache.cached("b") is None
        assert cache.cached("a") == cache.cached("c") == frozenset({1})
    assert told == [(group_id, frozenset({1})) for group_id in "abc"]


@pytest.mark.gen_test
async def test_a_large_group_is_filled(server: Server) -> None:
    service = Service(frozenset(range(1, 10_001)))
    async with cached(server, service) as (cache, client):
        await cache.members("g")
        await until_async(lambda: filled(client))
        assert await client.scard(KEY) == 10_000
        assert await cache.members("g") == service.members


@pytest.mark.gen_test
async def test_the_fill_script_adds_and_sets_the_time_to_live(server: Server) -> None:
    async with connected(server) as client:
        await client.sadd("k", 1)
        assert await client.eval(scripts.read("fill_members"), 1, "k", 50, 2, 3) == 1
        assert await client.smembers("k") == {b"1", b"2", b"3"}
        assert 0 < await client.ttl("k") <= 50


@pytest.mark.gen_test
async def test_changes_are_followed_with_no_more_rights_than_the_documents_name(
    mortal: Server,
) -> None:
    rights = "on >secret resetchannels &ws:* &__redis__:invalidate ~im:group:members:* -@all"
    commands = "+client|id +client|tracking +subscribe +ping"
    async with connected(mortal) as admin:
        await admin.execute_command("ACL", "SETUSER", "ws", *f"{rights} {commands}".split())  # type: ignore[no-untyped-call]
        client = client_at(mortal.socket, user="ws", password="secret")
        stream = changes(client, "im:group:members:", lambda: 0)
        try:
            assert (await anext(stream)).tracking
            await admin.sadd(KEY, 1)
            assert (await anext(stream)).keys == (KEY,)
        finally:
            await stream.aclose()
            await client.aclose()


@pytest.mark.gen_test
async def test_changes_are_followed_with_a_password(mortal: Server) -> None:
    async with connected(mortal) as admin:
        await admin.config_set("requirepass", "secret")
        client = client_at(mortal.socket, password="secret")
        stream = changes(client, "p:", lambda: 0)
        try:
            assert (await anext(stream)).tracking
            await admin.set("other", 1)
            await admin.set("p:\N{SNOWMAN}", 1)
            assert (await anext(stream)).keys == ("p:\N{SNOWMAN}",)
        finally:
            await stream.aclose()
            await client.aclose()


async def refusal(cache: MemberCache, user_id: int) -> Reason | None:
    try:
        await cache.require_member("g", user_id)
    except Refused as refused:
        return refused.reason
    return None


@pytest.mark.gen_test
async def test_a_membership_is_asked_for_alone_and_remembered_for_a_moment(server: Server) -> None:
    service, clock = Service(), Clock()
    async with cached(server, service, clock=clock) as (cache, client):
        assert cache.is_member("g", 1) is None
        for _ in range(2):
            assert await refusal(cache, 1) is None
            assert await refusal(cache, 9) is Reason.NOT_MEMBER
        assert service.checked == [("g", 1), ("g", 9)]
        assert service.askers == []
        assert (cache.is_member("g", 1), cache.is_member("g", 9)) == (True, False)
        clock.now = REFUSED_TTL
        service.members = frozenset({9})
        assert await refusal(cache, 1) is Reason.NOT_MEMBER
        assert await refusal(cache, 9) is None
        # Whoever has the list needs to ask nobody about who is in it.
        service.members = frozenset({1, 2})
        await put(client, KEY, 1, 2)
        await flushed(cache, client)
        await until_async(lambda: kept(cache, "g"))
        assert await refusal(cache, 1) is None
        assert len(service.checked) == 4
        assert await refusal(cache, 9) is Reason.NOT_MEMBER
        assert len(service.checked) == 5
        # The list is none the worse for a stranger.
        assert cache.cached("g") == frozenset({1, 2})


@pytest.mark.gen_test
async def test_a_membership_that_redis_has_is_not_asked_for_and_others_are(
    server: Server,
) -> None:
    """A set may be a part of the members, and then its silence is no refusal."""
    service = Service()
    async with cached(server, service) as (cache, client):
        await put(client, KEY, 7)
        assert await refusal(cache, 7) is None
        assert (service.checked, service.askers) == ([], [])
        assert await refusal(cache, 1) is None
        assert await refusal(cache, 9) is Reason.NOT_MEMBER
        assert (service.checked, service.askers) == ([("g", 1), ("g", 9)], [])


@pytest.mark.gen_test
async def test_a_change_of_the_group_ends_what_is_remembered_of_single_users(
    server: Server,
) -> None:
    service = Service()
    async with cached(server, service) as (cache, client):
        assert await refusal(cache, 9) is Reason.NOT_MEMBER
        service.members = frozenset({9})
        await client.sadd(KEY, 9)
        await client.delete(KEY)
        await until(lambda: cache.is_member("g", 9) is None)
        assert cache.seats == 0
        assert await refusal(cache, 9) is None


@pytest.mark.gen_test
async def test_trouble_with_a_single_membership_is_not_remembered(server: Server) -> None:
    service = Service()
    service.failure = Unavailable("away")
    async with cached(server, service) as (cache, _):
        with pytest.raises(Unavailable):
            await cache.require_member("g", 1)
        service.failure = None
        assert await refusal(cache, 1) is None


@pytest.mark.gen_test
async def test_a_refused_look_up_is_not_made_again_for_some_seconds(server: Server) -> None:
    service, clock = Service(), Clock()
    service.failure = Refused(Reason.GROUP_NOT_FOUND)
    async with cached(server, service, clock=clock) as (cache, _):
        for _ in range(3):
            with pytest.raises(Refused):
                await cache.members("g", 1)
        assert service.askers == [("g", 1)]
        clock.now = REFUSED_TTL
        service.failure = None
        assert await cache.members("g", 1) == MEMBERS


@pytest.mark.gen_test
async def test_a_stranger_who_asks_first_decides_for_nobody_else(server: Server) -> None:
    service = Service()
    service.strangers = {8, 9}
    service.open.clear()
    async with cached(server, service) as (cache, _):
        waiting = [asyncio.ensure_future(cache.members("g", asker)) for asker in (9, 1, 8, 2)]
        await until(lambda: service.askers == [("g", 9)])
        service.open.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(answers[0], Refused)
        assert (answers[1], answers[3]) == (MEMBERS, MEMBERS)
        # They wait for one look-up at a time: that of the first of them who may ask.
        assert service.askers[:2] == [("g", 9), ("g", 1)]
