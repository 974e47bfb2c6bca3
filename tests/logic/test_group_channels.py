"""Which groups are heard, and of which gaps the clients are told."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.logic.group_channels import GroupChannels
from skyeim_ws.logic.ports import Unavailable
from tests.logic.fakes import People, Person
from tests.waiting import until


class Member(Person):
    """A connection that keeps what it is told of groups."""

    def __init__(self, user_id: int, *group_ids: str) -> None:
        super().__init__(user_id)
        self.session.group_ids = group_ids
        self.told: list[tuple[str, int]] = []

    def send_group(self, _frame: bytes, group_id: str, seq: int) -> None:
        self.told.append((group_id, seq))


class Outside:
    """The bus, the order and the services; `stored` is what the newest seqs are."""

    redis_down = not_subscribed = False

    def __init__(self, linger: float, limit: int) -> None:
        self.people = People()
        self.stored: dict[str, int] | None = {}
        self.counted: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.skipped: list[tuple[str, int]] = []
        self.joined: list[list[str]] = []
        self.left: list[str] = []
        self.failures = 0
        port = cast(Any, self)
        self.channels = GroupChannels(
            hub=cast(Any, self.people),
            bus=port,
            stored=port,
            counters=port,
            order=port,
            linger=linger,
            limit=limit,
            clock=asyncio.get_running_loop().time,
        )

    def hear_groups(self, group_ids: Iterable[str]) -> None:
        self.joined.append(list(group_ids))

    def leave_groups(self, group_ids: Iterable[str]) -> None:
        self.left += group_ids

    async def newest_seqs(self, _group_ids: Sequence[str]) -> Mapping[str, int] | None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("no answer")
        return self.stored

    async def newest(self, _group_ids: Sequence[str]) -> Mapping[str, int]:
        return self.counted

    def last_seq(self, group_id: str) -> int:
        return self.last.get(group_id, 0)

    def skip(self, group_id: str, seq: int) -> None:
        self.skipped.append((group_id, seq))

    def enter(self, *members: Member) -> None:
        for member in members:
            self.people[member.user_id] = member


@asynccontextmanager
async def outside(*members: Member, linger: float = 60, limit: int = 100) -> AsyncIterator[Outside]:
    found = Outside(linger, limit)
    found.enter(*members)
    running = asyncio.create_task(found.channels.run())
    try:
        yield found
    finally:
        await cancel_and_wait(running)


@pytest.mark.gen_test
async def test_a_login_waits_until_all_its_groups_are_heard_and_is_told_nothing() -> None:
    bob = Member(2, "a", "b")
    async with outside(bob) as there:
        there.stored = {"a": 5}
        heard = there.channels.join(["a", "b"])
        assert heard is not None
        assert there.joined == [["a", "b"]]
        there.channels.groups_heard(["a"])
        assert not heard.done()
        there.channels.groups_heard(["b"])
        assert heard.done()
        assert there.channels.join(["b", "a"]) is None
        await until(lambda: not there.channels.doubtful)
        assert bob.told == []


@pytest.mark.gen_test
async def test_members_who_are_connected_before_a_group_is_heard_are_told_its_newest_seq() -> None:
    bob, carol = Member(2, "a", "b"), Member(3, "b")
    async with outside(bob, carol) as there:
        there.stored = {"a": 5}
        there.channels.join(["a", "b"])
        there.channels.missing(["a", "b"])
        there.channels.groups_heard(["a", "b"])
        await until(lambda: there.skipped)
        assert (bob.told, carol.told) == ([("a", 5)], [])
        assert there.skipped == [("a", 5)]


@pytest.mark.gen_test
async def test_after_an_outage_what_came_last_is_compared_with_what_is_stored() -> None:
    """What came last is what came before the outage, whatever was sent from here meanwhile."""
    bob = Member(2, "a", "b", "c")
    async with outside(bob) as there:
        there.stored = {"a": 5, "b": 7, "c": 2}
        there.channels.join(["a", "b", "c"])
        there.channels.groups_heard(["a", "b", "c"])
        await until(lambda: not there.channels.doubtful)
        there.last = {"b": 8}
        there.channels.groups_unheard(["a", "b", "c"])
        there.last = {"a": 6, "b": 9}
        there.stored = {"a": 6, "b": 9, "c": 2}
        there.failures = 1
        there.channels.groups_heard(["a", "b", "c"])
        await until(lambda: there.skipped)
        assert sorted(bob.told) == [("a", 6), ("b", 9)]


@pytest.mark.gen_test
async def test_counters_tell_where_the_service_cannot() -> None:
    bob = Member(2, "a")
    async with outside(bob) as there:
        there.stored, there.counted = None, {"a": 3}
        there.channels.join(["a"])
        there.channels.missing(["a"])
        there.channels.groups_heard(["a"])
        await until(lambda: bob.told == [("a", 3)])


@pytest.mark.gen_test
async def test_a_group_is_left_when_it_has_had_no_member_for_a_while() -> None:
    bob = Member(2, "a")
    async with outside(bob, linger=0.05) as there:
        there.channels.join(["a", "b"])
        there.channels.groups_heard(["a", "b"])
        await until(lambda: there.left == ["b"])
        assert (len(there.channels), there.channels.heard) == (1, 1)
        there.people.clear()
        await until(lambda: there.left == ["b", "a"])
        assert len(there.channels) == 0


@pytest.mark.gen_test
async def test_groups_beyond_the_bound_are_compared_until_there_is_room() -> None:
    bob, carol = Member(2, "a"), Member(3, "b")
    async with outside(bob, carol, linger=0.05, limit=1) as there:
        there.stored = {"b": 4}
        assert there.channels.join(["a"]) is not None
        assert there.channels.join(["b"]) is None
        assert there.channels.beyond == 1
        await until(lambda: carol.told == [("b", 4)])
        there.stored = {"b": 5}
        await until(lambda: carol.told == [("b", 4), ("b", 5)])
        del there.people[2]
        await until(lambda: there.joined == [["a"], ["b"]])
        assert (there.left, there.channels.beyond) == (["a"], 0)


@pytest.mark.gen_test
async def test_a_login_that_has_gone_waits_for_nothing() -> None:
    async with outside() as there:
        heard = there.channels.join(["a"])
        assert heard is not None
        heard.cancel()
        there.channels.groups_heard(["a"])
        there.channels.join(["b"])
        there.redis_down = True
        assert there.channels.join(["c"]) is None
