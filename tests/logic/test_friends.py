"""The cache of friends: bounded by its lists, and by what is in them; a change is seen."""

import asyncio

import pytest

from skyeim_ws.logic import friends
from skyeim_ws.logic.friends import FriendCache


class Source:
    """A Friend service that knows of each user as many friends as its id says."""

    async def friends(self, user_id: int) -> frozenset[int]:
        return frozenset(range(1_000, 1_000 + user_id))

    async def why_denied(self, user_id: int, peer_id: int, timeout: float) -> None:
        raise NotImplementedError


@pytest.mark.gen_test
async def test_many_friends_take_the_room_of_many_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(friends, "_CAPACITY_FRIENDS", 10)
    cache = FriendCache(Source(), lambda: 0.0)
    for user_id in (2, 3, 4):
        await cache.friends(user_id)
    assert [user_id for user_id in (2, 3, 4) if cache.known(user_id)] == [2, 3, 4]
    await cache.friends(5)
    assert [user_id for user_id in (2, 3, 4, 5) if cache.known(user_id)] == [4, 5]
    # A list that is larger than the bound is kept alone; what is forgotten leaves room.
    await cache.friends(40)
    assert [user_id for user_id in (4, 5, 40) if cache.known(user_id)] == [40]
    cache.forget(40)
    await cache.friends(4)
    await cache.friends(6)
    assert [user_id for user_id in (4, 6) if cache.known(user_id)] == [4, 6]


class SlowSource(Source):
    """Reads the list at once, and answers when it may."""

    def __init__(self) -> None:
        self.friends_now = frozenset({1})
        self.may_answer = asyncio.Event()

    async def friends(self, user_id: int) -> frozenset[int]:
        found = self.friends_now
        await self.may_answer.wait()
        return found


@pytest.mark.gen_test
async def test_a_list_that_was_read_before_a_change_is_not_kept() -> None:
    source = SlowSource()
    cache = FriendCache(source, lambda: 0.0)
    asked = asyncio.create_task(cache.friends(7))
    await asyncio.sleep(0)
    source.friends_now = frozenset({1, 2})
    cache.forget(7)
    source.may_answer.set()
    assert await asked == {1}
    assert cache.known(7) is None
    assert await cache.friends(7) == {1, 2}
    assert cache.known(7) == frozenset({1, 2})
