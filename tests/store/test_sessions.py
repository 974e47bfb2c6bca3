"""One session per user over all nodes; what was lost with a node stays noted until made up for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from skyeim_ws.store import scripts
from skyeim_ws.store.keys import missed_key, session_key
from skyeim_ws.store.offline import RedisOfflineQueue
from skyeim_ws.store.pipeline import Pipeline
from skyeim_ws.store.sessions import RedisSessions
from tests.lives import lifeless
from tests.store.servers import Server, connected, pipelined
from tests.waiting import until

USER = 1001


class Nodes:
    """Two nodes on one Redis."""

    def __init__(self, pipeline: Pipeline, redis: Redis) -> None:
        self.pipeline = pipeline
        self.redis = redis
        queue = RedisOfflineQueue(pipeline, size=10, ttl=60)
        self.east = RedisSessions(pipeline, queue, "east")
        self.west = RedisSessions(pipeline, queue, "west")

    async def session(self) -> object:
        return lifeless(await self.redis.get(session_key(USER)))

    async def release(self, node: RedisSessions, conn_id: str) -> bool:
        """End a session, and return whether the user has none now."""
        [none] = await node.release([(USER, conn_id)])
        return none


@asynccontextmanager
async def nodes(server: Server) -> AsyncIterator[Nodes]:
    async with pipelined(server) as pipeline, connected(server) as redis:
        yield Nodes(pipeline, redis)


@pytest.mark.gen_test
async def test_a_login_takes_over_and_says_from_whom(server: Server) -> None:
    async with nodes(server) as both:
        first = await both.east.claim(USER, "c1", 20)
        assert (first.node, first.conn_id, first.here) == ("", "", False)
        again = await both.east.claim(USER, "c2", 20)
        assert (again.node, again.conn_id, again.here) == ("east", "c1", True)
        moved = await both.west.claim(USER, "c3", 20)
        assert (moved.node, moved.conn_id, moved.here) == ("east", "c2", False)
        assert await both.session() == b"west c3"


@pytest.mark.gen_test
async def test_a_session_ends_only_by_its_own_connection(server: Server) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        await both.west.claim(USER, "c2", 20)
        assert not await both.release(both.east, "c1")
        assert await both.session() == b"west c2"
        assert await both.release(both.west, "c2")
        assert await both.session() == b"clean"
        assert 0 < await both.redis.ttl(session_key(USER)) <= 60
        assert await both.west.anywhere([USER]) == [False]


@pytest.mark.gen_test
async def test_a_connection_of_which_redis_has_not_heard_ends_the_one_before_it_here(
    server: Server,
) -> None:
    """Both ended while Redis was away, and the node has one entry for each user who is to go."""
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        assert await both.release(both.east, "c2")
        assert await both.session() == b"clean"
        assert not (await both.west.claim(USER, "c3", 20)).conn_id


@pytest.mark.gen_test
async def test_a_claim_that_came_too_late_gives_the_place_back(server: Server) -> None:
    """Its client has gone, and is on the other node."""
    async with nodes(server) as both:
        await both.west.claim(USER, "c2", 20)
        late = await both.east.claim(USER, "c1", 20)
        assert (late.node, late.conn_id, late.own) == ("west", "c2", "c2+")
        assert not await both.release(both.east, late.own)
        assert await both.session() == b"west c2"
        [answer] = await both.west.reclaim([(USER, "c2")])
        assert (answer.ours, answer.own, answer.conn_id) == (True, "c2", "")
        assert await both.release(both.west, "c2")
        assert await both.session() == b"clean"


@pytest.mark.gen_test
async def test_whoever_has_no_mark_of_a_clean_end_may_have_missed_something(
    server: Server,
) -> None:
    """The first login, as after a change of gateways, and one after Redis was emptied."""
    async with nodes(server) as both:
        first = await both.east.claim(USER, "c1", 20)
        assert first.missed
        assert 0 < await both.redis.ttl(missed_key(USER)) <= 60
        both.east.forget_missed(USER, first.missed)
        await both.release(both.east, "c1")
        assert not (await both.west.claim(USER, "c2", 20)).missed
        await both.redis.flushall()
        [answer] = await both.west.reclaim([(USER, "c2")])
        assert answer.ours
        assert answer.missed


@pytest.mark.gen_test
async def test_a_redis_that_was_started_again_may_have_forgotten_something(mortal: Server) -> None:
    """One user has a session, one has none, and one logs in to another node."""
    async with nodes(mortal) as both:
        connections = [(user, f"c{user}") for user in (1, 2, 3)]
        for user, conn_id in connections:
            claim = await both.east.claim(user, conn_id, 20)
            both.east.forget_missed(user, claim.missed)
        assert await both.east.release([(2, "c2")]) == [True]
        assert [answer.missed for answer in await both.east.reclaim(connections[::2])] == ["", ""]
        mortal.kill()
        mortal.start()
        await until(lambda: not both.pipeline.healthy)
        await until(lambda: both.pipeline.healthy)
        [answer] = await both.east.reclaim([(1, "c1")])
        found = [answer.missed] + [
            (await both.west.claim(user, f"d{user}", 20)).missed for user in (2, 3)
        ]
        assert all(found)
        both.west.forget_missed(3, found[-1])
        assert not (await both.west.claim(3, "d4", 20)).missed


@pytest.mark.gen_test
async def test_an_end_whose_answer_was_lost_is_one_the_second_time_too(server: Server) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        assert await both.release(both.east, "c1")
        assert await both.release(both.east, "c1")
        assert await both.session() == b"clean"


@pytest.mark.gen_test
async def test_of_two_logins_the_newer_reclaims(server: Server) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        # The newer login came to the other node, which did not reach Redis then.
        [newer] = await both.west.reclaim([(USER, "c2")])
        assert (newer.ours, newer.node, newer.conn_id) == (True, "east", "c1")
        [older] = await both.east.reclaim([(USER, "c1")])
        assert not older.ours
        assert await both.session() == b"west c2"
        # The older one is told until it has put back what it had in its hands.
        [same] = await both.west.reclaim([(USER, "c2")])
        assert (same.ours, same.node, same.conn_id) == (True, "east", "c1")
        assert not await both.release(both.east, "c1")
        [same] = await both.west.reclaim([(USER, "c2")])
        assert (same.ours, same.node, same.conn_id) == (True, "", "")


@pytest.mark.gen_test
async def test_what_died_with_a_node_is_noted_over_logins_until_it_is_made_up_for(
    server: Server,
) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        assert await both.west.reap([(USER, "east c1")]) == [USER]
        assert await both.session() is None
        first = await both.west.claim(USER, "c2", 20)
        assert first.missed
        assert (first.node, first.conn_id) == ("", "")
        assert await both.release(both.west, "c2")
        second = await both.west.claim(USER, "c3", 20)
        assert second.missed == first.missed
        both.west.forget_missed(USER, second.missed)
        assert not (await both.west.claim(USER, "c4", 20)).missed


@pytest.mark.gen_test
async def test_a_user_of_a_dead_node_who_has_moved_keeps_the_session_and_has_missed_something(
    server: Server,
) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        await both.west.claim(USER, "c2", 20)
        assert await both.west.reap([(USER, "east c1")]) == []
        assert await both.session() == b"west c2"
        assert await both.redis.exists(missed_key(USER))
        [answer] = await both.west.reclaim([(USER, "c2")])
        assert answer.ours
        assert answer.missed


@pytest.mark.gen_test
async def test_a_user_whose_session_had_just_ended_on_a_node_that_died_has_missed_something(
    server: Server,
) -> None:
    """The node may have died between the end of the session and the end of the roster's entry."""
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        await both.release(both.east, "c1")
        assert await both.west.reap([(USER, "east c1")]) == [USER]
        assert (await both.west.claim(USER, "c2", 20)).missed


@pytest.mark.gen_test
async def test_a_reclaim_does_not_swallow_that_something_was_missed(server: Server) -> None:
    """A user who logged in while Redis was away after the death of another node."""
    async with nodes(server) as both:
        await both.east.claim(USER, "c1", 20)
        await both.west.reap([(USER, "east c1")])
        [answer] = await both.west.reclaim([(USER, "c2")])
        assert answer.missed
        assert await both.session() == b"west c2"


@pytest.mark.gen_test
async def test_what_is_missed_later_is_not_forgotten_with_what_was_made_up_for(
    server: Server,
) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c0", 20)
        earlier = both.west.note_missed(USER)
        later = both.east.note_missed(USER)
        both.west.forget_missed(USER, earlier)
        assert (await both.west.claim(USER, "c1", 20)).missed == later


@pytest.mark.gen_test
async def test_a_note_for_now_takes_the_place_of_no_other(server: Server) -> None:
    """Else it would be forgotten with the note that proved wrong."""
    async with nodes(server) as both:
        await both.east.claim(USER, "c0", 20)
        of_a_reaper = both.west.note_missed(USER)
        for_now = both.east.note_missed(USER, for_now=True)
        both.east.forget_missed(USER, for_now)
        assert (await both.west.claim(USER, "c1", 20)).missed == of_a_reaper


@pytest.mark.gen_test
async def test_a_later_claim_is_the_newer_session_also_by_a_clock_that_is_behind(
    server: Server,
) -> None:
    """Else a reclaim of the earlier one would kick it, while it kicks the earlier one."""
    async with nodes(server) as both:
        assert (await both.east.claim(USER, "c2", 20)).own == "c2"
        later = await both.west.claim(USER, "c1", 20)
        assert later.own > "c2"
        [earlier] = await both.east.reclaim([(USER, "c2")])
        assert not earlier.ours
        [again] = await both.west.reclaim([(USER, later.own)])
        assert again.ours
        assert await both.session() == f"west {later.own}".encode()


@pytest.mark.gen_test
async def test_a_reclaim_by_the_name_before_a_claim_that_was_not_answered_is_no_kick(
    server: Server,
) -> None:
    async with nodes(server) as both:
        await both.east.claim(USER, "c9", 20)
        renamed = (await both.west.claim(USER, "c5", 20)).own
        [answer] = await both.west.reclaim([(USER, "c5")])
        assert (answer.ours, answer.own) == (True, renamed)
        assert await both.session() == f"west {renamed}".encode()


@pytest.mark.gen_test
async def test_a_user_whom_redis_refuses_holds_up_nobody_else(server: Server) -> None:
    async with nodes(server) as both:
        await both.redis.lpush(session_key(2), "of another program")
        connections = [(1, "c1"), (2, "c2"), (3, "c3")]
        answers = await both.east.reclaim(connections)
        assert [(a.ours, a.refused) for a in answers] == [
            (True, False),
            (False, True),
            (True, False),
        ]
        assert await both.east.release(connections) == [True, True, True]
        left = await both.redis.mget(session_key(1), session_key(3))
        assert list(map(lifeless, left)) == [b"clean", b"clean"]


@pytest.mark.gen_test
async def test_a_redis_that_hides_its_run_id_is_trusted(server: Server) -> None:
    script = "local redis = {call = function() return '# Server' end}\n" + scripts.read("life")
    async with connected(server) as redis:
        assert await redis.eval(f"{script}\nreturn life_now()", 0) == b""
