"""The ordered way to Redis, against a real server that is killed, frozen and filled up."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.store.pipeline import MAX_BATCH, MAX_CALLS, Pipeline
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until, until_async


def events(logs: Sequence[Mapping[str, object]]) -> list[object]:
    return [entry["event"] for entry in logs]


async def numbers(client: Redis, key: str = "list") -> list[int]:
    return [int(value) for value in await client.lrange(key, 0, -1)]


def push(pipeline: Pipeline, number: int) -> None:
    pipeline.submit(("RPUSH", "list", number))


def keep(pipeline: Pipeline, number: int) -> None:
    """Push what Redis must not forget, if it is killed before it is in its file."""
    pipeline.submit(("RPUSH", "list", number), forgotten=lambda: None)


@asynccontextmanager
async def outage(server: Server, pipeline: Pipeline) -> AsyncIterator[None]:
    """Kill the server for the time of the block, and wait until the pipeline knows."""
    server.kill()
    await until(lambda: not pipeline.healthy)
    yield
    server.start()
    await until(lambda: pipeline.healthy)


@pytest.mark.gen_test
async def test_a_call_is_answered_command_by_command(server: Server) -> None:
    async with pipelined(server) as pipeline:
        assert await pipeline.call(("SET", "k", 1), ("GET", "k")) == [b"OK", b"1"]


@pytest.mark.gen_test
async def test_a_call_sees_what_was_submitted_before_and_not_what_came_after(
    server: Server,
) -> None:
    async with pipelined(server) as pipeline:
        lengths = []
        for number in range(50):
            push(pipeline, number)
            lengths.append(pipeline.call(("LLEN", "list")))
        answers = await asyncio.gather(*lengths)
        assert [[n + 1] for n in range(50)] == answers


@pytest.mark.gen_test
async def test_more_than_a_batch_keeps_its_order(server: Server) -> None:
    count = 2 * MAX_BATCH + 7
    async with pipelined(server) as pipeline, connected(server) as client:
        for number in range(count):
            push(pipeline, number)
        await pipeline.call(("PING",))
        assert list(range(count)) == await numbers(client)
        assert pipeline.waiting == 0


@pytest.mark.gen_test
async def test_one_turn_of_the_loop_is_one_write(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        await pipeline.call(("PING",))
        before = await client.info("stats")
        for number in range(100):
            push(pipeline, number)
        await pipeline.call(("PING",))
        after = await client.info("stats")
    reads = int(after["total_reads_processed"]) - int(before["total_reads_processed"])
    assert reads < 10


@pytest.mark.gen_test
async def test_an_error_fails_its_own_operation_alone(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        with capture_logs() as logs:
            await pipeline.call(("SET", "text", "x"))
            first = pipeline.call(("GET", "text"))
            wrong = pipeline.call(("LPUSH", "text", "secret"))
            pipeline.submit(("LPUSH", "text", "secret"))
            push(pipeline, 1)
            last = pipeline.call(("GET", "text"))
            assert await first == [b"x"]
            with pytest.raises(Unavailable):
                await wrong
            assert await last == [b"x"]
        assert await numbers(client) == [1]
        assert pipeline.healthy
        assert pipeline.failed == 2
    assert events(logs) == ["redis_command_failed"]
    assert "secret" not in str(logs)


@pytest.mark.gen_test
async def test_kill_and_restart_under_load_loses_nothing_and_keeps_the_order(
    mortal: Server,
) -> None:
    """What was under way, and what Redis may not have in its file, is repeated from its beginning.

    So the list never steps forward.
    """
    async with pipelined(mortal) as pipeline, connected(mortal) as client:
        with capture_logs() as logs:
            for number in range(6000):
                keep(pipeline, number)
                if number % 20 == 0:
                    await asyncio.sleep(0)
                if number in (2000, 4000):
                    await until(lambda: pipeline.waiting < MAX_BATCH)
                    mortal.kill()
                if number in (3000, 5000):
                    await until(lambda: not pipeline.healthy)
                    mortal.start()
                    await until(lambda: pipeline.healthy)
            await until(lambda: pipeline.waiting == 0)
            await pipeline.call(("PING",))
            found = await numbers(client)
    assert list(range(6000)) == sorted(set(found))
    steps = [after - before for before, after in itertools.pairwise(found)]
    assert max(steps) == 1
    assert sum(step < 1 for step in steps) <= 2
    assert events(logs) == ["redis_lost", "redis_recovered"] * 2


@pytest.mark.gen_test
async def test_what_redis_has_taken_and_forgotten_is_sent_again_once(mortal: Server) -> None:
    told: list[object] = []
    async with pipelined(mortal) as pipeline, connected(mortal) as client:
        await pipeline.call(("SET", "k", 1))
        before = mortal.written()
        for number in range(3):
            pipeline.submit(("RPUSH", "list", number), done=told.append, forgotten=lambda: None)
        push(pipeline, 3)
        await until(lambda: len(told) == 3)
        async with outage(mortal, pipeline):
            mortal.forget(before)
        await pipeline.call(("PING",))
        assert list(range(3)) == await numbers(client)
    assert told == [[1], [2], [3]]


@pytest.mark.gen_test
async def test_what_was_taken_is_not_given_up_in_silence_if_it_has_no_room(
    mortal: Server,
) -> None:
    given_up: list[int] = []
    async with pipelined(mortal, buffer_size=10) as pipeline, connected(mortal) as client:
        for number in range(3):
            pipeline.submit(("RPUSH", "list", number), forgotten=partial(given_up.append, number))
        await pipeline.call(("PING",))
        async with outage(mortal, pipeline):
            for number in range(8):
                push(pipeline, 10 + number)
        await pipeline.call(("PING",))
        assert [1, 2, *range(10, 18)] == (await numbers(client))[-10:]
    assert given_up == [0]


@pytest.mark.gen_test
async def test_loss_and_recovery_are_found_without_traffic(mortal: Server) -> None:
    async with pipelined(mortal) as pipeline:
        await pipeline.call(("PING",))
        async with outage(mortal, pipeline):
            pass


@pytest.mark.gen_test
async def test_recovery_is_told_to_all_callbacks_also_if_one_fails(mortal: Server) -> None:
    called: list[bool] = []
    async with pipelined(mortal) as pipeline:

        def faulty() -> None:
            raise LookupError

        pipeline.on_recovered += [faulty, lambda: called.append(True)]
        with capture_logs() as logs:
            async with outage(mortal, pipeline):
                pass
            await until(lambda: called == [True])
        assert events(logs).count("redis_recovery_callback_failed") == 1


@pytest.mark.gen_test
async def test_calls_fail_at_their_deadline_and_are_not_sent_after_it(mortal: Server) -> None:
    async with pipelined(mortal) as pipeline, connected(mortal) as client:
        async with outage(mortal, pipeline):
            late = pipeline.call(("INCR", "late"), timeout=0.01)
            push(pipeline, 1)
            with pytest.raises(Unavailable):
                await late
        await until_async(lambda: numbers(client))
        assert await client.exists("late") == 0


@pytest.mark.gen_test
async def test_a_call_whose_caller_has_gone_is_not_sent(mortal: Server) -> None:
    async with pipelined(mortal) as pipeline, connected(mortal) as client:
        async with outage(mortal, pipeline):
            pipeline.call(("INCR", "gone")).cancel()
        await pipeline.call(("PING",))
        assert await client.exists("gone") == 0


@pytest.mark.gen_test
async def test_a_frozen_server_is_a_lost_one(mortal: Server) -> None:
    async with pipelined(mortal, timeout=2) as pipeline, connected(mortal) as client:
        await pipeline.call(("PING",), timeout=60)
        mortal.freeze()
        push(pipeline, 1)
        late = pipeline.call(("ECHO", "late"), timeout=60)
        await until(lambda: not pipeline.healthy)
        mortal.thaw()
        with pytest.raises(Unavailable):
            await late
        await until(lambda: pipeline.healthy)
        # What comes at last is not taken for the answer to the next.
        assert await pipeline.call(("ECHO", "next")) == [b"next"]
        await until_async(lambda: numbers(client))


@pytest.mark.gen_test
async def test_a_full_buffer_drops_the_oldest_and_says_so_once(mortal: Server) -> None:
    async with pipelined(mortal, buffer_size=10) as pipeline, connected(mortal) as client:
        with capture_logs() as logs:
            async with outage(mortal, pipeline):
                for number in range(25):
                    push(pipeline, number)
            await until(lambda: pipeline.waiting == 0)
            await pipeline.call(("PING",))
        assert list(range(15, 25)) == (await numbers(client))[-10:]
        assert pipeline.dropped == 15
    assert events(logs).count("redis_operations_dropped") == 1


@pytest.mark.gen_test
async def test_too_many_calls_fail_at_once(mortal: Server) -> None:
    async with pipelined(mortal) as pipeline:
        mortal.kill()
        await until(lambda: not pipeline.healthy)
        calls = [pipeline.call(("PING",), timeout=60) for _ in range(MAX_CALLS)]
        with pytest.raises(Unavailable):
            await pipeline.call(("PING",), timeout=60)
        for call in calls:
            call.cancel()
        mortal.start()
        await until(lambda: pipeline.healthy)


@pytest.mark.gen_test
async def test_writes_that_redis_refuses_for_now_are_kept(server: Server) -> None:
    async with pipelined(server) as pipeline, connected(server) as client:
        await pipeline.call(("PING",))
        with capture_logs() as logs:
            await client.config_set("maxmemory", 1)
            try:
                for number in range(5):
                    push(pipeline, number)
                refused = pipeline.call(("SET", "k", 1))
                await until(lambda: not pipeline.healthy)
                with pytest.raises(Unavailable):
                    await refused
                assert pipeline.waiting == 5
            finally:
                await client.config_set("maxmemory", 0)
            await until(lambda: pipeline.healthy)
        assert list(range(5)) == await numbers(client)
    assert events(logs) == ["redis_lost", "redis_recovered"]


@pytest.mark.gen_test
async def test_who_waits_for_an_answer_is_told_when_redis_is_away_for_too_long(
    mortal: Server,
) -> None:
    """Once, and not before the deadline; the operation itself goes on waiting."""
    async with pipelined(mortal, timeout=2) as pipeline, connected(mortal) as client:
        await pipeline.call(("PING",))
        mortal.kill()
        await until(lambda: not pipeline.healthy)
        loop = asyncio.get_running_loop()
        began = loop.time()
        told: list[object] = []
        pipeline.submit(("RPUSH", "list", 1), done=told.append)
        await until(lambda: told)
        assert loop.time() - began >= 2
        mortal.start()
        await until(lambda: pipeline.healthy)
        await until_async(lambda: numbers(client))
        soon: list[object] = []
        pipeline.submit(("RPUSH", "list", 2), done=soon.append)
        await until(lambda: soon)
        assert (told, soon) == ([None], [[2]])


@pytest.mark.gen_test
async def test_closing_flushes(server: Server) -> None:
    async with connected(server) as client:
        pipeline = Pipeline(client)
        pipeline.start()
        for number in range(2000):
            push(pipeline, number)
        await pipeline.close(10)
        assert list(range(2000)) == await numbers(client)
        push(pipeline, 1)
        assert pipeline.dropped == 1
        with pytest.raises(Unavailable):
            await pipeline.call(("PING",))


@pytest.mark.gen_test
async def test_closing_counts_what_was_sent_and_not_answered(mortal: Server) -> None:
    async with connected(mortal) as client:
        pipeline = Pipeline(client)
        pipeline.start()
        await pipeline.call(("PING",))
        mortal.freeze()
        push(pipeline, 1)
        await until(lambda: not pipeline.waiting)
        with capture_logs() as logs:
            await pipeline.close(0.05)
        mortal.thaw()
    [unflushed] = [entry for entry in logs if entry["event"] == "redis_unflushed"]
    assert (unflushed["operations"], pipeline.dropped) == (1, 1)


@pytest.mark.gen_test
async def test_closing_while_redis_is_away_counts_what_is_lost(mortal: Server) -> None:
    async with connected(mortal) as client:
        pipeline = Pipeline(client)
        pipeline.start()
        mortal.kill()
        push(pipeline, 1)
        await until(lambda: not pipeline.healthy)
        push(pipeline, 2)
        pending = pipeline.call(("PING",), timeout=60)
        with capture_logs() as logs:
            await pipeline.close(0.05)
        with pytest.raises(Unavailable):
            await pending
    [unflushed] = [entry for entry in logs if entry["event"] == "redis_unflushed"]
    assert unflushed["operations"] == 2
