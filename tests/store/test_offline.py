"""The queues of undelivered messages: reading entries, choosing windows, and a real Redis."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from skyeim_ws.store.keys import missed_key, queue_key
from skyeim_ws.store.offline import GROWTH, SLACK, RedisOfflineQueue, choose, decode
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until, until_async


def entry(number: int, **extra: Any) -> bytes:
    data = {"id": number, "msgId": f"m{number}", "fromUserId": 7, "content": "ü", **extra}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def enveloped(number: int) -> bytes:
    return b'{"type":"chat", "data": ' + entry(number) + b" }"


NOT_ENTRIES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"id":1}',
    b'{"id":"x","msgId":"m"}',
    b'{"id":1,"msgId":2}',
    b'{"type":"chat","data":{"id":1}}',
    b'{"type":"chat","data":5}',
    b'{"id":1,"msgId":"m","content":"\xff"}',
    entry(1)[:-1],
]


def test_an_entry_is_kept_as_it_stands() -> None:
    message = decode(entry(5, later="field"))
    assert message is not None
    assert (message.id, message.msg_id, message.from_user_id) == (5, "m5", 7)
    assert message.raw == message.stored == entry(5, later="field")


def test_the_data_is_taken_out_of_a_whole_frame() -> None:
    message = decode(enveloped(5))
    assert message is not None
    assert (message.id, message.raw, message.stored) == (5, entry(5), enveloped(5))


def test_numbers_written_as_strings_are_read() -> None:
    message = decode(b'{"id":"12","msgId":"m","fromUserId":"3"}')
    assert message is not None
    assert (message.id, message.from_user_id) == (12, 3)


@pytest.mark.parametrize("stored", NOT_ENTRIES)
def test_what_is_no_entry_is_none(stored: bytes) -> None:
    assert decode(stored) is None


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_no_bytes_break_the_reader(stored: bytes) -> None:
    message = decode(stored)
    assert message is None or message.stored == stored


@given(
    ids=st.lists(st.integers(1, 10_000), unique=True, max_size=60),
    forms=st.randoms(use_true_random=False),
    before_id=st.none() | st.integers(0, 10_001),
    limit=st.integers(1, 100),
)
def test_a_whole_queue_gives_the_newest_below_the_mark(
    ids: list[int], forms: Any, before_id: int | None, limit: int
) -> None:
    """Whatever order and form the entries are in."""
    head = [forms.choice([entry, enveloped])(number) for number in ids]
    choice = choose(head, len(head), before_id, limit)
    below = sorted(number for number in ids if before_id is None or number < before_id)
    assert choice.complete
    assert [message.id for message in choice.window.entries] == below[-limit:]
    assert choice.window.older == len(below[:-limit])


@given(
    length=st.integers(0, 300),
    bad=st.sets(st.integers(0, 299)),
    seen=st.integers(1, 300),
    before_id=st.none() | st.integers(0, 301),
    limit=st.integers(1, 60),
)
def test_a_complete_look_at_the_head_equals_one_at_the_whole(
    length: int, bad: set[int], seen: int, before_id: int | None, limit: int
) -> None:
    queue = [b"?" if n in bad else entry(n) for n in range(length, 0, -1)]
    part = choose(queue[:seen], length, before_id, limit)
    whole = choose(queue, length, before_id, limit)
    if part.complete:
        assert part.window.entries == whole.window.entries
        behind = queue[seen:].count(b"?")  # not known to be unreadable before they are read
        assert part.window.older == whole.window.older + behind


def ids_of(entries: Any) -> list[int]:
    return [message.id for message in entries]


@pytest.mark.gen_test
async def test_windows_walk_back_through_the_queue(server: Server) -> None:
    async with pipelined(server) as pipeline:
        queue = RedisOfflineQueue(pipeline)
        queue.push(1, [entry(n) for n in range(1, 31)])
        for number in range(31, 46):
            queue.push(1, [entry(number)])
        first = await queue.window(1, None, 20)
        assert (ids_of(first.entries), first.older) == (list(range(26, 46)), 25)
        second = await queue.window(1, 26, 20)
        assert (ids_of(second.entries), second.older) == (list(range(6, 26)), 5)
        third = await queue.window(1, 6, 20)
        assert (ids_of(third.entries), third.older) == (list(range(1, 6)), 0)
        assert await queue.window(1, 1, 20) == await queue.window(2, None, 20)


@pytest.mark.gen_test
async def test_a_window_far_down_is_found(server: Server) -> None:
    count = (SLACK + 10) * GROWTH * GROWTH
    async with pipelined(server) as pipeline:
        queue = RedisOfflineQueue(pipeline)
        queue.push(1, [entry(n) for n in range(1, count + 1)])
        window = await queue.window(1, 12, 10)
        assert (ids_of(window.entries), window.older) == (list(range(2, 12)), 1)


@pytest.mark.gen_test
async def test_confirmed_entries_leave_and_others_stay(server: Server) -> None:
    async with pipelined(server) as pipeline:
        queue = RedisOfflineQueue(pipeline)
        queue.push(1, [entry(1), enveloped(2), entry(3), entry(4)])
        window = await queue.window(1, None, 2)
        queue.remove(1, [message.stored for message in window.entries])
        left = await queue.window(1, None, 10)
        assert ids_of(left.entries) == [1, 2]
        queue.remove(1, [left.entries[1].stored])
        assert ids_of((await queue.window(1, None, 10)).entries) == [1]


@pytest.mark.gen_test
async def test_a_push_that_was_repeated_is_queued_once(server: Server) -> None:
    """A write that Redis took, and whose answer was lost, is made again."""
    async with pipelined(server) as pipeline:
        queue = RedisOfflineQueue(pipeline)
        for _ in range(2):
            queue.push(1, [entry(1), entry(2), entry(3)])
            queue.route(1, entry(2))
        window = await queue.window(1, None, 10)
        assert ids_of(window.entries) == [1, 2, 3]
        queue.remove(1, [message.stored for message in window.entries])
        assert (await queue.window(1, None, 10)).entries == []


@pytest.mark.gen_test
async def test_nodes_that_bring_at_once_what_has_waited_do_not_hide_each_others(
    server: Server,
) -> None:
    """After an outage each has many messages for a user, and a window is the newest of all."""
    east, west = range(2, 400, 2), range(1, 400, 2)
    async with pipelined(server) as pipeline:
        queue = RedisOfflineQueue(pipeline)
        for node in (west, east):
            for number in node:
                queue.route(1, entry(number))
        seen: list[int] = []
        while len(seen) < 399:
            window = await queue.window(1, seen[0] if seen else None, 20)
            assert window.older == 399 - len(seen) - len(window.entries)
            seen = ids_of(window.entries) + seen
        assert seen == list(range(1, 400))


@pytest.mark.gen_test
async def test_a_full_queue_makes_room_by_id_and_not_by_the_time_of_coming(server: Server) -> None:
    async with pipelined(server) as pipeline:
        queue = RedisOfflineQueue(pipeline, size=3, ttl=60)
        queue.push(1, [entry(n) for n in (5, 6, 7)])
        queue.push(1, [entry(4), entry(8)])
        assert ids_of((await queue.window(1, None, 10)).entries) == [6, 7, 8]


LARGE = 2**53
"""Above it a number of Lua, and of JavaScript, stands for its neighbours as well."""

placed = st.lists(
    st.tuples(
        st.integers(1, 40) | st.integers(LARGE, LARGE + 40) | st.integers(2**63 - 40, 2**63 - 1),
        st.sampled_from([entry, enveloped]),
    ),
    unique_by=lambda pair: pair[0],
    max_size=30,
)


@given(pushed=placed, batch=st.integers(1, 5))
def test_whatever_comes_when_the_queue_is_in_the_order_of_the_ids(
    server: Server, pushed: list[tuple[int, Any]], batch: int
) -> None:
    entries = [form(number) for number, form in pushed]

    async def push_all() -> list[bytes]:
        async with pipelined(server) as pipeline:
            queue = RedisOfflineQueue(pipeline)
            await pipeline.call(("DEL", queue_key(1)))
            for start in range(0, len(entries), batch):
                queue.push(1, entries[start : start + batch])
            [found] = await pipeline.call(("LRANGE", queue_key(1), 0, -1))
            return list(found)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        found = runner.run(push_all())
    assert found == [form(number) for number, form in sorted(pushed, key=lambda p: -p[0])]


@pytest.mark.gen_test
async def test_a_queue_is_bounded_and_ends(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        queue = RedisOfflineQueue(pipeline, size=5, ttl=1000)
        queue.push(1, [])
        queue.remove(1, [])
        queue.push(1, [entry(n) for n in range(1, 8)])
        queue.push(1, [entry(8)])
        window = await queue.window(1, None, 10)
        assert (ids_of(window.entries), window.older) == ([4, 5, 6, 7, 8], 0)
        assert 0 < await client.ttl("offline:private:1") <= 1000


@pytest.mark.gen_test
async def test_unreadable_entries_are_logged_once_and_removed(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        queue = RedisOfflineQueue(pipeline)
        queue.push(1, [entry(1), b"secret", entry(2), b"secret", b'{"id":3}'])
        with capture_logs() as logs:
            for _ in range(2):
                assert ids_of((await queue.window(1, None, 10)).entries) == [1, 2]
        assert await client.llen("offline:private:1") == 2
    [warning] = logs
    assert (warning["event"], warning["count"]) == ("offline_entries_unreadable", 3)
    assert "secret" not in str(logs)


@pytest.mark.gen_test
async def test_who_lost_an_entry_to_a_full_buffer_is_noted_when_redis_is_back(
    mortal: Server,
) -> None:
    """What was put back had been promised: the next login gets it from the Message service."""
    async with (
        pipelined(mortal, buffer_size=4, timeout=2) as pipeline,
        connected(mortal) as redis,
    ):
        queue = RedisOfflineQueue(pipeline, size=10, ttl=60)
        mortal.kill()
        await until(lambda: not pipeline.healthy)
        queue.push(1, [entry(1)])
        # The buffer runs over long after the first have been said to be late.
        late: list[object] = []
        pipeline.submit(("SET", "k", 1), done=late.append)
        await until(lambda: late)
        for user_id in (2, 3, 4):
            queue.push(user_id, [entry(user_id)])
        queue.route(5, entry(5))
        asked: list[bool] = []
        queue.route(6, entry(6), asked.append)
        mortal.start()
        await until(lambda: pipeline.healthy and not pipeline.waiting)
        await pipeline.call(("PING",))
        assert (await _noted(redis), await _queued(redis)) == ([1, 2], [3, 4, 5, 6])
        assert asked


@pytest.mark.gen_test
async def test_an_entry_that_redis_has_forgotten_is_queued_again(mortal: Server) -> None:
    """It answers before it writes to its file, while the disk is slow; and then it dies."""
    async with pipelined(mortal) as pipeline, connected(mortal) as redis:
        queue = RedisOfflineQueue(pipeline, size=10, ttl=60)
        await pipeline.call(("PING",))
        before = mortal.written()
        taken: list[bool] = []
        queue.route(1, entry(1), taken.append)
        queue.push(2, [entry(2)])
        await pipeline.call(("PING",))
        await until(lambda: taken)
        mortal.kill()
        mortal.forget(before)
        mortal.start()
        await until(lambda: not pipeline.healthy)
        await until(lambda: pipeline.healthy and not pipeline.waiting)
        await pipeline.call(("PING",))
        assert (await _noted(redis), await _queued(redis)) == ([], [1, 2])
    assert taken == [True]


@pytest.mark.gen_test
async def test_who_lost_an_entry_without_an_outage_is_noted_as_soon_as_there_is_room(
    server: Server,
) -> None:
    """More may come in one turn than the buffer holds, as when everybody leaves at once."""
    async with pipelined(server, buffer_size=100) as pipeline, connected(server) as redis:
        await pipeline.call(("PING",))
        queue = RedisOfflineQueue(pipeline, size=10, ttl=60)
        for user_id in range(1, 201):
            queue.push(user_id, [entry(user_id)])
        assert pipeline.dropped == 100
        await until(lambda: not pipeline.waiting)
        await pipeline.call(("PING",))
        assert pipeline.healthy
        noted, queued = await _noted(redis, 200), await _queued(redis, 200)
        assert (noted, queued) == (list(range(1, 101)), list(range(101, 201)))


async def _noted(redis: Redis, users: int = 8) -> list[int]:
    return [user_id for user_id in range(1, users + 1) if await redis.exists(missed_key(user_id))]


async def _queued(redis: Redis, users: int = 8) -> list[int]:
    return [user_id for user_id in range(1, users + 1) if await redis.exists(queue_key(user_id))]


@pytest.mark.gen_test
async def test_an_entry_that_redis_refuses_for_good_is_noted_for_a_catch_up(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        queue = RedisOfflineQueue(pipeline)
        await redis.set(queue_key(1), "another program's")
        await redis.set(queue_key(2), "another program's")
        queue.push(1, [entry(1)])
        queue.route(2, entry(2))

        async def noted() -> bool:
            return bool(await redis.exists(missed_key(1), missed_key(2)) == 2)

        await until_async(noted)
        assert 0 < await redis.ttl(missed_key(1)) <= queue.ttl
