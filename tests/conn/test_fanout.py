"""A message of a group to all of its members: one write each, and whoever cannot take it queues."""

import asyncio
import socket
import struct
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs
from websockets.frames import Opcode

from skyeim_ws.conn import flusher
from skyeim_ws.conn.client import Client
from skyeim_ws.conn.flusher import MAX_WRITE
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text
from tests.conn.endpoint import Endpoint, delivery, endpoint
from tests.conn.test_client import SMALL, read_texts, text
from tests.gateway.raw import RawUser
from tests.waiting import until

MEMBERS = frozenset(range(1, 6))


def say(
    running: Endpoint,
    payload: str,
    seq: int,
    sender_id: int = 0,
    group: str = "g",
    members: frozenset[int] = MEMBERS,
) -> None:
    running.hub.fan_out_group(members, text(payload), group_id=group, seq=seq, sender_id=sender_id)


async def dial_all(running: Endpoint) -> list[tuple[RawUser, Client]]:
    """Connect all members, and have something written to each, as a session's opening is."""
    ends = [await running.dial(user_id) for user_id in sorted(MEMBERS)]
    for user, client in ends:
        client.send(text("opening"))
        assert await read_texts(user, 1) == ["opening"]
        assert client.direct is not None
    return ends


async def everyone_reads(ends: Sequence[tuple[RawUser, Client]], texts: list[str]) -> None:
    for user, _ in ends:
        assert await read_texts(user, len(texts)) == texts


@pytest.mark.gen_test
async def test_what_meets_in_a_turn_costs_each_member_one_send_and_no_place_in_its_queue() -> None:
    async with endpoint(counted=True) as running:
        ends = await dial_all(running)
        sends = [running.counted(client) for _, client in ends]
        for seq, payload in enumerate(("a", "b", "c"), 1):
            say(running, payload, seq)
        assert [len(client.outbox) for _, client in ends] == [0] * len(ends)
        await everyone_reads(ends, ["a", "b", "c"])
        assert [len(each.sizes) for each in sends] == [1] * len(ends)
        assert running.stats.frames_queued == 3 * len(ends) + len(ends)


@pytest.mark.gen_test
async def test_each_sender_gets_the_messages_of_the_others() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        for seq, sender_id in enumerate((2, 3, 2), 1):
            say(running, f"{seq} of {sender_id}", seq, sender_id)
        both = ["1 of 2", "2 of 3", "3 of 2"]
        wanted = {2: both[1:2], 3: both[::2]}
        for user, client in ends:
            texts = wanted.get(client.user_id, both)
            assert await read_texts(user, len(texts)) == texts


@pytest.mark.gen_test
async def test_what_a_member_has_queued_leaves_first_and_other_groups_in_their_own_order() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        say(running, "g1", 1)
        say(running, "h1", 1, group="h")
        say(running, "g2", 2)
        ends[0][1].deliver(delivery(7))
        texts = await read_texts(ends[0][0], 4)
        assert '"id":7' in texts[0]
        assert [each for each in texts if each.startswith("g")] == ["g1", "g2"]
        await everyone_reads(ends[1:], ["g1", "g2", "h1"])


@pytest.mark.gen_test
async def test_a_large_fan_out_takes_turns_with_others_and_keeps_the_order_of_its_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flusher, "MAX_RECEIVERS", 2)
    async with endpoint(counted=True) as running:
        ends = await dial_all(running)
        sends = [running.counted(client) for _, client in ends]

        def written() -> list[int]:
            return [len(each.sizes) for each in sends]

        say(running, "g1", 1)
        await asyncio.sleep(0)
        assert sum(written()) == 2
        # Another group, whose members are few, and the next message, to fewer than before.
        say(running, "h1", 1, group="h", members=frozenset({1, 5}))
        fewer = MEMBERS - {3}
        say(running, "g2", 2, members=fewer)
        say(running, "g3", 3, members=fewer)
        await asyncio.sleep(0)
        assert sum(written()) == 6
        for user, client in ends:
            wanted = {1: ["g1", "h1", "g2", "g3"], 3: ["g1"], 5: ["h1", "g1", "g2", "g3"]}
            texts = wanted.get(client.user_id, ["g1", "g2", "g3"])
            assert await read_texts(user, len(texts)) == texts
        # What came while the first was under way has left together.
        assert written() == [3, 2, 1, 2, 3]
        assert running.stats.frames_queued == len(ends) + 5 + 2 + 2 * 4


@pytest.mark.gen_test
async def test_who_takes_a_part_gets_the_rest_and_what_follows_in_order() -> None:
    async with endpoint(counted=True, send_queue_size=100) as running:
        ends = await dial_all(running)
        slow = await running.dial(6, receive_buffer=SMALL)
        members = MEMBERS | {6}
        running.counted(slow[1]).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        payloads: list[str] = []

        async def send(size: int) -> None:
            payloads.append(f"{len(payloads)}-".ljust(size, "x"))
            frame, seq = text(payloads[-1]), len(payloads)
            running.hub.fan_out_group(members, frame, group_id="g", seq=seq, sender_id=0)
            await asyncio.sleep(0)  # a turn of its own for each

        while slow[1].direct is not None:
            await send(15_000)
        for _ in range(5):
            await send(1_000)
        await everyone_reads([*ends, slow], payloads)
        assert (running.stats.slow_consumers, running.stats.group_frames_folded) == (0, 0)


@pytest.mark.gen_test
async def test_a_socket_that_is_full_and_one_that_is_gone_hold_nobody_up() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        gone = await running.upgrade(6)

        def refuse(_: bytes) -> int:
            raise BlockingIOError

        ends[1][1].direct = refuse
        # Linger for no time: the close is a reset.
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        everyone = MEMBERS | {6}
        lost = running.hub.get(6)
        assert lost is not None
        for seq, payload in enumerate(("one", "two"), 1):
            running.hub.fan_out_group(everyone, text(payload), group_id="g", seq=seq, sender_id=0)
        await everyone_reads(ends, ["one", "two"])
        await until(lambda: lost.state is State.CLOSED)
        say(running, "three", 3)
        await everyone_reads(ends, ["three"])


@pytest.mark.gen_test
async def test_more_than_a_write_may_hold_goes_through_the_queues() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        payloads = [str(number) * 6_000 for number in range(MAX_WRITE // 6_000 + 1)]
        for seq, payload in enumerate(payloads, 1):
            say(running, payload, seq)
        await everyone_reads(ends, payloads)


@pytest.mark.gen_test
async def test_who_comes_and_goes_is_seen_by_the_next_message() -> None:
    async with endpoint() as running:
        first = await running.dial(1)
        say(running, "one", 1)
        second = await running.dial(2)
        say(running, "two", 2)
        assert await read_texts(first[0], 2) == ["one", "two"]
        assert await read_texts(second[0], 1) == ["two"]
        second[0].send_frame(Opcode.CLOSE, struct.pack("!H", 1000))
        await until(lambda: 2 not in running.hub)
        say(running, "three", 3)
        assert await read_texts(first[0], 1) == ["three"]


@pytest.mark.gen_test
async def test_a_connection_that_is_not_open_yet_gets_it_behind_its_opening() -> None:
    async with endpoint() as running:
        user, client = await running.dial(1)
        client.state, client.direct = State.CONNECTING, None
        say(running, "early", 1)
        await asyncio.sleep(0)
        client.start([text("connected")], [])
        assert await read_texts(user, 2) == ["connected", "early"]


@pytest.mark.gen_test
async def test_after_our_close_frame_nothing_is_written() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        user, client = ends[0]
        say(running, "before", 1)
        client.disconnect(CloseCode.NORMAL, Text.KICKED())
        assert client.direct is None
        assert (await user.close_frame()).code == 1000
        await everyone_reads(ends[1:], ["before"])


@pytest.mark.gen_test
async def test_what_had_to_be_queued_is_not_overtaken_when_the_members_change_in_a_turn() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        wide = [f"{seq}-".ljust(6_000, "x") for seq in range(1, MAX_WRITE // 6_000 + 2)]
        for seq, payload in enumerate(wide, 1):
            say(running, payload, seq, sender_id=0)
        say(running, "of 2", len(wide) + 1, sender_id=2)
        # Another list of the same members, as after a change to them.
        say(running, "last", len(wide) + 2, members=frozenset(list(MEMBERS)))
        for user, client in ends:
            own = [] if client.user_id == 2 else ["of 2"]
            assert await read_texts(user, len(wide) + len(own) + 1) == [*wide, *own, "last"]


@pytest.mark.gen_test
async def test_a_fault_with_one_receiver_costs_the_others_nothing() -> None:
    async with endpoint() as running:
        ends = await dial_all(running)
        broken = ends[2][1]

        def fail() -> None:
            raise LookupError

        broken.write_queued = fail  # type: ignore[method-assign]
        with capture_logs() as logs:
            for _, client in ends:
                client.send(text("hello"))
            await everyone_reads([*ends[:2], *ends[3:]], ["hello"])
        assert [line["event"] for line in logs if line["log_level"] == "error"] == ["write_failed"]
