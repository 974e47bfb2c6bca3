"""A large group: in pieces, and not all of it anew at each change. Counted, not timed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.logic.ports import Refused
from skyeim_ws.store import member_lists
from skyeim_ws.store.member_lists import LARGE, LARGE_TTL, MemberList, MemberLists
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.presence import RedisPresence, group_key
from skyeim_ws.store.sets import PIECE
from tests.store.servers import Server, connected, pipelined
from tests.store.test_members import KEY, Clock, Service, cached, filled, flushed, put
from tests.waiting import until_async

MANY = frozenset(range(1, LARGE + 2_001))


@contextmanager
def measured(patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note the size of each command, and of each list in an answer."""
    sizes: list[int] = []
    call = Pipeline.call

    async def noted(self: Pipeline, *commands: Any, **options: Any) -> list[Any]:
        sizes.extend(len(command) for command in commands)
        answers = await call(self, *commands, **options)
        # That of a scan is a cursor and a list.
        sizes.extend(len(part) for answer in answers if isinstance(answer, list) for part in answer)
        return answers

    with patch.context() as inner:
        inner.setattr(Pipeline, "call", noted)
        yield sizes


@pytest.mark.gen_test
async def test_a_large_list_is_written_and_read_in_pieces(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(MANY)
    with measured(monkeypatch) as sizes:
        async with cached(server, service) as (cache, client):
            assert await cache.members("g") == MANY
            await until_async(lambda: filled(client))
            assert await client.scard(KEY) == len(MANY)
            assert [key async for key in client.scan_iter("{*")] == []
        loads = len(service.askers)
        async with cached(server, service) as (cache, _):
            assert await cache.members("g") == MANY
        assert len(service.askers) == loads
    # A set may give some more of what hangs together in it.
    assert PIECE <= max(sizes) < 1.1 * PIECE


@pytest.mark.gen_test
async def test_a_large_list_that_is_deleted_while_it_is_read_is_no_list(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(MANY)
    call = Pipeline.call
    scans = 0

    async def deleting(self: Pipeline, *commands: Any, **options: Any) -> list[Any]:
        nonlocal scans
        answers = await call(self, *commands, **options)
        if commands[0][0] == "SSCAN" and (scans := scans + 1) == 2:
            await call(self, ("DEL", KEY))
        return answers

    async with cached(server, service) as (cache, client):
        await put(client, KEY, *MANY)
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "call", deleting)
            assert await cache.members("g") == MANY
        assert service.askers[0] == ("g", 0)


@pytest.mark.gen_test
async def test_a_large_list_that_changes_is_used_for_some_time(server: Server) -> None:
    service, clock = Service(MANY), Clock()
    async with cached(server, service, clock=clock) as (cache, client):
        await put(client, KEY, *MANY)
        await flushed(cache, client)
        assert await cache.members("g") == MANY
        await client.srem(KEY, 1)
        await flushed(cache, client)
        assert cache.cached("g") == MANY
        clock.now += LARGE_TTL
        assert cache.cached("g") is None
        assert await cache.members("g") == MANY - {1}
        assert service.askers == []


@pytest.mark.gen_test
async def test_one_more_member_of_a_large_group_is_an_edit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, newcomer, stranger = Service(MANY), len(MANY) + 1, len(MANY) + 2
    async with cached(server, service) as (cache, client):
        await put(client, KEY, *MANY)
        await flushed(cache, client)
        await cache.members("g")
        await client.sadd(KEY, newcomer)
        await flushed(cache, client)
        with measured(monkeypatch) as sizes:
            assert await cache.members("g", newcomer) == MANY | {newcomer}
            assert cache.cached("g") == MANY | {newcomer}
            assert max(sizes) < 10
        with pytest.raises(Refused):
            await cache.members("g", stranger)
        assert service.checked == [("g", stranger)]
        assert service.askers == []


@pytest.mark.gen_test
async def test_the_presence_of_a_large_group_is_compared_in_pieces(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        presence = RedisPresence(pipeline)
        here = frozenset(range(1, 5_001))
        await client.sadd(group_key("g"), *range(4_991, 5_011))
        with measured(monkeypatch) as sizes:
            assert sorted(await presence.sync_group("g", MANY - {5_010}, here)) == [5_010]
        assert max(sizes) < 1.1 * PIECE
        # Behind what has been submitted, and nobody waits for.
        assert await pipeline.call(("SCARD", group_key("g"))) == [5_009]


# Which lists are kept.


def test_members_are_bounded_over_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_lists, "CAPACITY_MEMBERS", 10)
    lists = MemberLists(100, Clock())
    for group_id in "abc":
        lists.keep(group_id, MemberList(frozenset(range(4)), 1.0, asked=False))
    assert [group_id for group_id in "abc" if lists.find(group_id)] == ["b", "c"]
    # A list that is larger than the bound is kept alone.
    lists.keep("d", MemberList(frozenset(range(40)), 1.0, asked=False))
    assert [group_id for group_id in "abcd" if lists.find(group_id)] == ["d"]
    lists.forget("d")
    lists.keep("a", MemberList(frozenset(range(10)), 1.0, asked=False))
    assert lists.find("a") is not None


@given(
    took=st.floats(0, 100), until=st.floats(0, 100), now=st.floats(0, 100), least=st.floats(0, 10)
)
def test_only_a_large_list_outlives_its_change(
    took: float, until: float, now: float, least: float
) -> None:
    small = MemberList(frozenset({1}), until, asked=False, took=took)
    assert small.ending(now, 0.0).until <= now
    large = MemberList(MANY, until, asked=False, took=took)
    assert large.ending(now, least).until <= min(until, now + max(least, LARGE_TTL))
