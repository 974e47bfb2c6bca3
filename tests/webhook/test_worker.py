"""The task that posts: notices leave the queue when they were taken, whoever fails meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.store.keys import session_key
from skyeim_ws.store.notices import HOLDER_KEY, STREAM_KEY, RedisNotices
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.webhook import worker
from skyeim_ws.webhook.post import Post
from skyeim_ws.webhook.worker import MAX_BYTES, Webhook, backoff, fitting
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until, until_async
from tests.webhook.receiver import SECRET, Receiver, receiving


@asynccontextmanager
async def working(receiver: Receiver, notices: RedisNotices) -> AsyncIterator[Webhook]:
    post = Post(receiver.url, SECRET, 5)
    webhook = Webhook(notices, post, 5)
    task = asyncio.create_task(webhook.run())
    try:
        yield webhook
    finally:
        await cancel_and_wait(task)
        post.close()
        notices.release()


def entry(number: int) -> bytes:
    return b'{"id":%d,"msgId":"m%d","fromUserId":7,"toUserId":8,"content":"hi"}' % (number, number)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(worker, "TICK", 0.05)


@pytest.mark.gen_test
async def test_notices_are_posted_together_and_leave_the_queue(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        async with receiving() as receiver:
            for number in range(1, 11):
                notices.away(8, entry(number))
            async with working(receiver, notices) as webhook:
                await until(lambda: len(receiver.taken) == 10)
                await until_async(lambda: _empty(redis))
            assert (webhook.posted, webhook.refused, webhook.failures) == (10, 0, 0)
        assert len(receiver.posts) == 1
        assert receiver.taken[0].pop("id")
        assert receiver.taken[0] == {
            "userId": 8,
            "kind": "private",
            "message": {
                "id": 1,
                "msgId": "m1",
                "fromUserId": 7,
                "createdAt": 0,
                "contentType": 1,
            },
        }


@pytest.mark.gen_test
async def test_the_content_is_in_a_notice_only_if_that_is_wanted(server: Server) -> None:
    async with pipelined(server) as pipeline:
        notices = RedisNotices(pipeline, "n1", size=100, content=True)
        notices.away(8, entry(1))
        async with receiving() as receiver, working(receiver, notices):
            await until(lambda: receiver.taken)
        assert receiver.taken[0]["message"]["content"] == "hi"


@pytest.mark.gen_test
async def test_a_service_that_fails_is_asked_again_and_gets_all_in_order(server: Server) -> None:
    async with pipelined(server) as pipeline:
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        with capture_logs() as logs:
            async with receiving() as receiver:
                receiver.statuses = [503, 500, 429]
                async with working(receiver, notices) as webhook:
                    notices.away(8, entry(1))
                    await until(lambda: webhook.failures == 3)
                    notices.away(8, entry(2))
                    await until(lambda: webhook.posted == 2)
        assert receiver.told == [(8, "m1"), (8, "m2")]
    assert [each["event"] for each in logs] == ["webhook_not_reached", "webhook_recovered"]


@pytest.mark.gen_test
async def test_what_is_refused_is_dropped_and_told(server: Server) -> None:
    async with pipelined(server) as pipeline:
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        with capture_logs() as logs:
            async with receiving() as receiver:
                receiver.statuses = [410]
                async with working(receiver, notices) as webhook:
                    notices.away(8, entry(1))
                    await until(lambda: webhook.refused == 1)
                    notices.away(8, entry(2))
                    await until(lambda: receiver.taken)
        assert receiver.told == [(8, "m2")]
    [refused] = [each for each in logs if each["event"] == "webhook_refused"]
    assert (refused["answer"], refused["notices"]) == ("HTTP 410", 1)


@pytest.mark.gen_test
async def test_a_full_queue_drops_the_oldest_counts_and_says_so(server: Server) -> None:
    async with pipelined(server) as pipeline:
        notices = RedisNotices(pipeline, "n1", size=3, content=False)
        for number in range(1, 6):
            notices.away(8, entry(number))
        with capture_logs() as logs:
            async with receiving() as receiver, working(receiver, notices) as webhook:
                await until(lambda: webhook.posted == 3)
        assert receiver.told == [(8, "m3"), (8, "m4"), (8, "m5")]
        assert notices.dropped == 2
    [dropped] = [each for each in logs if each["event"] == "webhook_notices_dropped"]
    assert dropped["count"] == 2


@pytest.mark.gen_test
async def test_one_node_posts_and_another_goes_on_when_it_has_died(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        dead = RedisNotices(pipeline, "dead", size=100, content=False)
        assert await dead.hold(0.5)  # and it dies with what it had read
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        assert not await notices.hold(5)
        notices.release()  # not its own
        dead.away(8, entry(1))
        assert await redis.get(HOLDER_KEY) == b"dead"
        async with receiving() as receiver, working(receiver, notices):
            await until(lambda: receiver.taken)
        assert receiver.told == [(8, "m1")]


@pytest.mark.gen_test
async def test_a_message_is_promised_when_its_notice_is_kept(server: Server) -> None:
    """`sent` waits for both, so a gateway that dies in between has promised nothing."""
    async with pipelined(server) as pipeline, connected(server) as redis:
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        queue = RedisOfflineQueue(pipeline, notices=notices)
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.route(8, entry(1), told.set_result)
        assert await told is True
        assert await redis.xlen(STREAM_KEY) == 1


@pytest.mark.gen_test
async def test_who_is_online_elsewhere_gets_no_notice(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        queue = RedisOfflineQueue(pipeline, notices=notices)
        await redis.set(session_key(8), "n2 c1")
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.route(8, entry(1), told.set_result)
        assert await told is True
        assert await redis.xlen(STREAM_KEY) == 0
        queue.unheard(8, entry(1))
        await until_async(lambda: redis.exists(STREAM_KEY))


@pytest.mark.gen_test
async def test_a_stream_that_redis_refuses_holds_up_no_message(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as redis:
        await redis.set(STREAM_KEY, "of another type")
        notices = RedisNotices(pipeline, "n1", size=100, content=False)
        queue = RedisOfflineQueue(pipeline, notices=notices)
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with capture_logs() as logs:
            queue.route(8, entry(1), told.set_result)
            assert await told is True
    assert [each["event"] for each in logs] == ["redis_command_failed"]


async def _empty(redis: Redis) -> bool:
    return await redis.xlen(STREAM_KEY) == 0


@given(st.integers(1, 5000))
def test_a_backoff_is_bounded(failures: int) -> None:
    assert 0 <= backoff(failures) <= worker.LONGEST_BACKOFF


def test_a_post_has_a_bounded_size_and_at_least_one_notice() -> None:
    large = [(b"%d-0" % n, b"x" * (MAX_BYTES // 2)) for n in range(4)]
    assert fitting(large) == large[:2]
    huge = [(b"1-0", b"x" * (2 * MAX_BYTES)), *large]
    assert fitting(huge) == huge[:1]
    assert fitting([]) == []
