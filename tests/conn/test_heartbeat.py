"""Pings, signs of life and time limits of connections, on a clock that the test moves."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from skyeim_ws.config.web_socket import WebSocketConf
from skyeim_ws.conn import heartbeat as heartbeats
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.framing import Opcode as Sent
from skyeim_ws.conn.framing import encode
from skyeim_ws.conn.heartbeat import Heartbeat, tick_seconds
from skyeim_ws.conn.state import State
from skyeim_ws.contract.cancellation import cancel_and_wait
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text
from skyeim_ws.gateway import settings
from tests.conn.endpoint import TOKEN_SECONDS, Clock, delivery, endpoint
from tests.gateway.raw import RawUser
from tests.waiting import DEADLINE, until

seconds = st.floats(0.01, 10_000)


async def sign_of_life(user: RawUser, client: Client, clock: Clock) -> None:
    """Send a pong that answers nothing, and wait until it is seen."""
    user.send_frame(Opcode.PONG, b"unasked")
    await until(lambda: client.last_seen == clock.now)


def pass_time(heartbeat: Heartbeat, clock: Clock, seconds: float) -> None:
    """Let time pass, with a sweep at each second of it and at its end."""
    end = clock.now + seconds
    while clock.now < end:
        clock.now = min(end, clock.now + 1)
        heartbeat.sweep()


@pytest.mark.gen_test
async def test_pings_of_a_crowd_that_came_at_once_are_spread_over_the_interval() -> None:
    clock = Clock()
    async with endpoint(clock, ping_interval=50, pong_timeout=1_000) as running:
        ends = [await running.dial(user_id) for user_id in range(1, 41)]
        heartbeat = Heartbeat(running.context)
        start = clock.now
        assert all(0 <= client.next_ping - start < 50 for _, client in ends)
        pinged: Counter[int] = Counter()
        for second in range(1, 51):
            clock.now = start + second
            heartbeat.sweep()
            before = pinged.total()
            for user, client in ends:
                if client.last_ping == clock.now:
                    pinged[client.user_id] += 1
                    assert await user.read_frame() == (Opcode.PING, b"1")
            # Evenly spread it would be one of them in each second.
            assert pinged.total() - before < len(ends) / 2
        assert pinged == dict.fromkeys(range(1, 41), 1)
        # From then on each keeps its own beat.
        assert all(start + 50 <= client.next_ping <= start + 101 for _, client in ends)


@pytest.mark.gen_test
async def test_an_unanswered_ping_is_not_followed_by_another() -> None:
    clock = Clock()
    async with endpoint(clock, ping_interval=10, pong_timeout=1_000) as running:
        user, client = await running.dial(1)
        heartbeat = Heartbeat(running.context)
        for _ in range(5):
            client.deliver(delivery(int(clock.now)))
            pass_time(heartbeat, clock, 10)
        user.send("marker")
        await until(lambda: running.notes.received_texts)
        client.disconnect(CloseCode.NORMAL, Text.KICKED())
        frames = [await user.read_frame() for _ in range(7)]
        assert [opcode for opcode, _ in frames].count(Opcode.PING) == 1
        assert frames[-1][0] is Opcode.CLOSE


@pytest.mark.gen_test
async def test_an_answered_ping_is_followed_by_another_after_the_interval() -> None:
    clock = Clock()
    async with endpoint(clock, ping_interval=10, pong_timeout=1_000) as running:
        user, client = await running.dial(1)
        heartbeat = Heartbeat(running.context)
        for number in range(1, 4):
            pass_time(heartbeat, clock, 10)
            ping = await user.next_ping()
            assert ping == b"%d" % number
            heartbeat.sweep()
            user.send_frame(Opcode.PONG, ping)
            await until(lambda: not client.ledger.ping_under_way)


@pytest.mark.gen_test
async def test_who_gives_no_sign_of_life_is_closed_and_whoever_gives_one_is_not() -> None:
    clock = Clock()
    async with endpoint(clock, ping_interval=54, pong_timeout=60) as running:
        silent, lost = await running.dial(1)
        alive, kept = await running.dial(2)
        heartbeat = Heartbeat(running.context)
        pass_time(heartbeat, clock, 59.9)
        assert (lost.state, kept.state) == (State.OPEN, State.OPEN)
        await sign_of_life(alive, kept, clock)
        lost.deliver(delivery(1))
        pass_time(heartbeat, clock, 0.1)
        assert (lost.state, kept.state) == (State.DRAINING, State.OPEN)
        assert (await silent.close_frame()).code == CloseCode.HEARTBEAT_TIMEOUT
        assert running.notes.returned == {1: ["m-1"]}
        assert running.stats.heartbeat_timeouts == 1
        pass_time(heartbeat, clock, 59.9)
        assert kept.state is State.DRAINING


@pytest.mark.gen_test
async def test_a_standstill_of_the_process_is_no_silence_of_its_clients() -> None:
    """Whoever had so many seconds left before it has them after it, and frames are read first."""
    clock = Clock()
    async with endpoint(clock, ping_interval=54, pong_timeout=60) as running:
        (user, client), (_, silent) = await running.dial(1), await running.dial(2)
        heartbeat = Heartbeat(running.context)
        pass_time(heartbeat, clock, 50)
        user.send_frame(Opcode.TEXT, b"in the kernel")
        assert heartbeat.lag < 1
        clock.now += 3_000
        assert heartbeat.lag > 2_900
        heartbeat.sweep()
        assert heartbeat.lag > 2_900
        assert (client.state, silent.state) == (State.OPEN, State.OPEN)
        await until(lambda: running.notes.received_texts == ["in the kernel"])
        states = []
        for seconds in (9, 2, 48, 2):
            pass_time(heartbeat, clock, seconds)
            states.append((client.state, silent.state))
        assert states == [
            (State.OPEN, State.OPEN),
            (State.OPEN, State.DRAINING),
            (State.OPEN, State.DRAINING),
            (State.DRAINING, State.DRAINING),
        ]


@pytest.mark.gen_test
async def test_any_frame_is_a_sign_of_life() -> None:
    clock = Clock()
    async with endpoint(clock, pong_timeout=60) as running:
        user, client = await running.dial(1)
        for opcode in (Opcode.TEXT, Opcode.PING, Opcode.PONG):
            clock.now += 59
            user.send_frame(opcode, b"here")
            await until(lambda: client.last_seen == clock.now)
        Heartbeat(running.context).sweep()
        assert client.state is State.OPEN


@pytest.mark.gen_test
async def test_whoever_takes_what_is_written_is_alive_however_slowly() -> None:
    """The ping that it would answer stands behind all that."""
    clock = Clock()
    async with endpoint(clock, pong_timeout=60) as running:
        user, client = await running.dial(1, receive_buffer=4_096)
        heartbeat = Heartbeat(running.context)
        client.send(encode(Sent.TEXT, bytes(600_000)))
        await until(lambda: client.direct is None)
        for _ in range(5):
            pass_time(heartbeat, clock, 59)
            assert client.state is State.OPEN
            await user.read_bytes(100_000)
            await until(lambda: client.last_seen == clock.now)
        pass_time(heartbeat, clock, 60)
        assert client.state.name == "DRAINING"


@pytest.mark.gen_test
async def test_a_connection_ends_with_its_token() -> None:
    clock = Clock()
    async with endpoint(clock, pong_timeout=2 * TOKEN_SECONDS) as running:
        user, client = await running.dial(1)
        heartbeat = Heartbeat(running.context)
        pass_time(heartbeat, clock, TOKEN_SECONDS - 1)
        assert client.state is State.OPEN
        pass_time(heartbeat, clock, 1)
        assert (await user.close_frame()).code == CloseCode.TOKEN_EXPIRED


@pytest.mark.gen_test
@pytest.mark.parametrize("change", [600, -600])
async def test_a_renewed_connection_ends_with_its_newer_token(change: int) -> None:
    """Also when that ends before the older one: it is looked at in time."""
    clock = Clock()
    never = 2 * TOKEN_SECONDS
    async with endpoint(clock, pong_timeout=never, ping_interval=never) as running:
        user, client = await running.dial(1)
        heartbeat = Heartbeat(running.context)
        renewed = client.expires_at + change
        client.renew(renewed)
        clock.now = renewed - 1
        heartbeat.sweep()
        assert client.state is State.OPEN
        clock.now = renewed
        heartbeat.sweep()
        assert (await user.close_frame()).code == CloseCode.TOKEN_EXPIRED


@pytest.mark.gen_test
async def test_a_sweep_looks_at_a_part_of_a_crowd_and_says_that_there_is_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeats, "_AT_ONCE", 4)
    clock = Clock()
    async with endpoint(clock, ping_interval=50, pong_timeout=1_000) as running:
        clients = [(await running.dial(user_id))[1] for user_id in range(1, 11)]
        clock.now += 51
        heartbeat = Heartbeat(running.context)
        pinged = []
        while heartbeat.sweep():
            pinged.append(sum(client.ledger.ping_under_way for client in clients))
        assert pinged == [4, 8]
        assert all(client.ledger.ping_under_way for client in clients)


@pytest.mark.gen_test
async def test_what_waits_for_confirmation_is_pinged_when_the_confirm_interval_is_over() -> None:
    clock = Clock()
    async with endpoint(clock, confirm_interval=0.5, ping_interval=1_000) as running:
        user, client = await running.dial(1)
        heartbeat = Heartbeat(running.context)
        client.deliver(delivery(1))
        user.send_frame(Opcode.PONG, await user.next_ping())
        await until(lambda: running.notes.confirmed_ids == ["m-1"])
        client.deliver(delivery(2))
        await user.read_frame()
        for _ in range(2):
            clock.now += 0.2
            heartbeat.sweep()
            # The flusher has its turn, and finds that it is too early.
            await until(lambda: running.context.awaiting_confirmation == {client})
            assert not client.ledger.ping_under_way
        clock.now += 0.1
        heartbeat.sweep()
        user.send_frame(Opcode.PONG, await user.next_ping())
        await until(lambda: running.notes.confirmed_ids == ["m-1", "m-2"])
        heartbeat.sweep()
        assert running.context.awaiting_confirmation == set()


@pytest.mark.gen_test
async def test_a_running_heartbeat_sweeps_by_itself() -> None:
    async with endpoint(ping_interval=0.05, pong_timeout=0.2) as running:
        user, client = await running.dial(1)
        heartbeat = Heartbeat(running.context)
        task = asyncio.create_task(heartbeat.run())
        assert await user.next_ping() == b"1"
        async with asyncio.timeout(DEADLINE):
            assert (await user.close_frame()).code == CloseCode.HEARTBEAT_TIMEOUT
        await cancel_and_wait(task)
        assert client.user_id not in running.hub


@given(ping=seconds, pong=seconds, confirm=seconds)
def test_a_tick_is_short_enough_for_every_time_limit(
    ping: float, pong: float, confirm: float
) -> None:
    conf = WebSocketConf(ping_interval=ping, pong_timeout=pong, confirm_interval=confirm)
    tick = tick_seconds(settings.limits(conf))
    assert 0 < tick <= min(1, ping / 4, pong / 4, confirm)
