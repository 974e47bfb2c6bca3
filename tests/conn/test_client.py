"""A connection over a real socket: what is written, when, and what becomes of it."""

import json
import socket
import struct

import pytest
from structlog.testing import capture_logs
from websockets.frames import Opcode

from skyeim_ws.conn.framing import Opcode as Sent
from skyeim_ws.conn.framing import encode
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text
from tests.conn.endpoint import Clock, Endpoint, delivery, endpoint
from tests.gateway.raw import RawUser
from tests.waiting import until

SMALL = 4_096
"""A kernel buffer so small that a burst does not fit."""


def text(payload: str) -> bytes:
    return encode(Sent.TEXT, payload.encode())


async def read_texts(user: RawUser, count: int) -> list[str]:
    """Return the next text frames; pings on the way are kept."""
    texts: list[str] = []
    while len(texts) < count:
        opcode, payload = await user.read_frame()
        if opcode is Opcode.TEXT:
            texts.append(payload.decode())
        else:
            user.pings.append(payload)
    return texts


async def answer_pings(user: RawUser, running: Endpoint, count: int) -> None:
    """Confirm what comes until so many messages are confirmed."""
    confirmed = running.notes.confirmed_ids
    while (before := len(confirmed)) < count:
        user.send_frame(Opcode.PONG, await user.next_ping())
        await until(lambda before=before: len(confirmed) > before)  # type: ignore[misc]


@pytest.mark.gen_test
async def test_frames_that_meet_in_a_turn_leave_in_one_send() -> None:
    async with endpoint(counted=True) as running:
        user, client = await running.dial(1)
        sends = running.counted(client)
        client.send(text("one"))
        client.offer(text("two"))
        client.deliver(delivery(3))
        client.send(text("four"))
        assert (await read_texts(user, 4))[::3] == ["one", "four"]
        assert await user.next_ping() == b"1"
        assert len(sends.sizes) == 1
        client.send(text("later"))
        assert await read_texts(user, 1) == ["later"]
        assert len(sends.sizes) == 2


@pytest.mark.gen_test
async def test_a_fan_out_costs_each_connection_one_send() -> None:
    async with endpoint(counted=True) as running:
        ends = [await running.dial(user_id) for user_id in range(1, 6)]
        sends = [running.counted(client) for _, client in ends]
        for payload in ("a", "b", "c"):
            assert running.hub.fan_out({1, 3, 4, 5}, text(payload)) == 4
        for user, client in ends:
            if client.user_id != 2:
                assert await read_texts(user, 3) == ["a", "b", "c"]
        assert [len(send.sizes) for send in sends] == [1, 0, 1, 1, 1]


@pytest.mark.gen_test
async def test_what_the_kernel_takes_in_parts_arrives_whole_and_in_order() -> None:
    async with endpoint(counted=True) as running:
        user, client = await running.dial(1, receive_buffer=SMALL)
        sends = running.counted(client)
        sends.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        payloads = [str(number) * 20_000 for number in range(10)]
        for payload in payloads[:5]:
            client.send(text(payload))
        await until(lambda: client.direct is None)
        # These wait for the rest of the first write, and so does the answer to a ping.
        for payload in payloads[5:]:
            client.send(text(payload))
        user.send_frame(Opcode.PING, b"now")
        assert len(client.outbox) >= 5
        frames = [await user.read_frame() for _ in range(11)]
        assert (Opcode.PONG, b"now") in frames
        frames.remove((Opcode.PONG, b"now"))
        assert [payload.decode() for _, payload in frames] == payloads
        assert len(sends.sizes) > 2
        assert running.stats.slow_consumers == 0


@pytest.mark.gen_test
async def test_what_the_kernel_does_not_take_yet_is_written_later() -> None:
    async with endpoint(counted=True) as running:
        user, client = await running.dial(1)
        sends = running.counted(client)
        sends.refusals = 2
        client.send(text("first"))
        client.send(text("second"))
        assert await read_texts(user, 2) == ["first", "second"]
        assert len(sends.sizes) == 1
        client.send(text("third"))
        assert await read_texts(user, 1) == ["third"]


@pytest.mark.gen_test
async def test_a_peer_that_resets_in_the_middle_of_a_fan_out_costs_the_others_nothing() -> None:
    async with endpoint() as running:
        others = [await running.dial(user_id) for user_id in range(1, 20)]
        lost = [await running.upgrade(user_id) for user_id in (101, 102)]
        everyone = {*range(1, 20), 101, 102}
        with capture_logs() as logs:
            for connection in lost:
                # Linger for no time: the close is a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            # The loop has not turned since, so the connections are still taken to be open.
            assert running.hub.fan_out(everyone, text("one")) == 21
            for user, _ in others:
                assert await read_texts(user, 1) == ["one"]
            await until(lambda: running.notes.returned.keys() == {101, 102})
        assert running.hub.fan_out(everyone, text("two")) == 19
        for user, _ in others:
            assert await read_texts(user, 1) == ["two"]
        assert {line["log_level"] for line in logs} <= {"debug", "info"}


@pytest.mark.gen_test
async def test_a_burst_of_one_turn_is_no_slow_reader() -> None:
    """One turn may bring more than the outbox holds: that is no fault of a peer that reads."""
    async with endpoint(send_queue_size=10, ledger_size=100) as running:
        user, client = await running.dial(1)
        for number in range(50):
            client.send(text(str(number)))
        assert await read_texts(user, 50) == [str(number) for number in range(50)]
        for number in range(50):
            client.deliver(delivery(number))
        assert len(client.outbox) <= 10
        contents = [json.loads(frame) for frame in await read_texts(user, 50)]
        assert [frame["data"]["id"] for frame in contents] == list(range(50))
        assert (client.state, running.stats.slow_consumers) == (State.OPEN, 0)


@pytest.mark.gen_test
async def test_a_ping_confirms_nothing_that_is_written_behind_it() -> None:
    async with endpoint(send_queue_size=10, confirm_interval=0) as running:
        user, client = await running.dial(1)
        for number in range(25):
            client.deliver(delivery(number))
        written: list[str] = []
        while len(running.notes.confirmed_ids) < 25:
            opcode, payload = await user.read_frame()
            if opcode is Opcode.PING:
                user.send_frame(Opcode.PONG, payload)
                user.send("settled", at=len(written))
                settled = json.dumps({"type": "settled", "data": {"at": len(written)}})
                await until(lambda text=settled: text in running.notes.received_texts)  # type: ignore[misc]
                assert set(running.notes.confirmed_ids) <= set(written)
            else:
                written.append(f"m-{json.loads(payload)['data']['id']}")
        assert running.notes.confirmed_ids == [f"m-{number}" for number in range(25)]


@pytest.mark.gen_test
async def test_a_reader_that_stops_is_dropped_and_what_it_did_not_confirm_comes_back() -> None:
    async with endpoint(counted=True, send_queue_size=10, ledger_size=5_000) as running:
        user, client = await running.dial(1, receive_buffer=SMALL)
        running.counted(client).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        given = 0
        while client.state is State.OPEN:
            client.deliver(delivery(given, size=1_000))
            given += 1
        assert running.notes.returned == {1: [f"m-{number}" for number in range(given)]}
        assert 1 not in running.hub
        assert (len(client.outbox), client.outbox.size, len(client.ledger)) == (0, 0, 0)
        assert running.stats.slow_consumers == 1
        # Whoever goes on reading is told why.
        assert (await user.close_frame()).code == CloseCode.SLOW_CONSUMER


@pytest.mark.gen_test
async def test_a_client_that_confirms_nothing_is_dropped_when_its_ledger_is_full() -> None:
    async with endpoint(ledger_size=3) as running:
        user, client = await running.dial(1)
        for number in range(4):
            client.deliver(delivery(number))
        assert running.notes.returned == {1: ["m-0", "m-1", "m-2", "m-3"]}
        assert (await user.close_frame()).code == CloseCode.SLOW_CONSUMER


@pytest.mark.gen_test
async def test_only_frames_that_nobody_misses_are_shed_when_the_queue_is_crowded() -> None:
    async with endpoint(send_queue_size=4) as running:
        user, client = await running.dial(1)
        for payload in ("a", "b"):
            client.send(text(payload))
        client.offer(text("typing"))
        client.send(text("c"))
        assert await read_texts(user, 3) == ["a", "b", "c"]
        assert running.stats.frames_shed == 1


@pytest.mark.gen_test
async def test_live_messages_wait_behind_what_opens_the_session() -> None:
    async with endpoint() as running:
        user, client = await running.dial(1)
        # As if the session were still being set up.
        client.state = State.CONNECTING
        client.deliver(delivery(2))
        client.send(text("live"))
        client.start([text("connected")], [delivery(1)])
        texts = await read_texts(user, 4)
        assert [texts[0], texts[3]] == ["connected", "live"]
        assert [json.loads(frame)["data"]["id"] for frame in texts[1:3]] == [1, 2]
        await answer_pings(user, running, 2)
        assert running.notes.confirmed_ids == ["m-1", "m-2"]


@pytest.mark.gen_test
async def test_the_confirm_interval_lies_between_two_pings_that_confirm() -> None:
    clock = Clock()
    async with endpoint(clock, confirm_interval=0.5) as running:
        user, client = await running.dial(1)
        client.deliver(delivery(1))
        await answer_pings(user, running, 1)
        clock.now += 0.4
        client.deliver(delivery(2))
        await read_texts(user, 1)
        assert not client.ledger.ping_under_way
        assert running.context.awaiting_confirmation == {client}
        clock.now += 0.1
        client.request_flush()
        await answer_pings(user, running, 2)
        assert running.notes.confirmed_ids == ["m-1", "m-2"]
        assert running.context.awaiting_confirmation == set()


@pytest.mark.gen_test
async def test_a_pong_that_answers_no_ping_confirms_nothing() -> None:
    async with endpoint() as running:
        user, client = await running.dial(1)
        user.send_frame(Opcode.PONG, b"")
        client.deliver(delivery(1))
        ping = await user.next_ping()
        for payload in (b"", b"0", b"2", ping + b" ", b"\xff" * 125):
            user.send_frame(Opcode.PONG, payload)
        user.send("marker")
        await until(lambda: running.notes.received_texts)
        assert running.notes.confirmed_ids == []
        assert client.ledger.ping_under_way
        user.send_frame(Opcode.PONG, ping)
        user.send_frame(Opcode.PONG, ping)
        await until(lambda: running.notes.confirmed_ids)
        assert running.notes.confirmed_ids == ["m-1"]


@pytest.mark.gen_test
async def test_a_message_that_the_client_names_itself_is_confirmed_once() -> None:
    async with endpoint() as running:
        user, client = await running.dial(1)
        client.deliver(delivery(1))
        ping = await user.next_ping()
        assert [found.msg_id for found in client.confirm(["m-1"])] == ["m-1"]
        assert client.confirm(["m-1"]) == []
        user.send_frame(Opcode.PONG, ping)
        await until(lambda: not client.ledger.ping_under_way)
        assert running.notes.confirmed_ids == ["m-1"]
        assert running.stats.deliveries_confirmed == 1


@pytest.mark.gen_test
async def test_the_state_never_goes_back() -> None:
    async with endpoint() as running:
        user, client = await running.dial(1)
        for earlier in (State.CONNECTING, State.OPEN):
            with pytest.raises(ValueError, match=f"cannot go from OPEN to {earlier.name}"):
                client.state.advanced_to(earlier)
        client.disconnect(CloseCode.NORMAL, Text.KICKED(), text("farewell"))
        assert client.state is State.DRAINING
        # Whatever comes now is too late, and no fault.
        client.send(text("late"))
        client.offer(text("late"))
        client.start([text("late")], [])
        client.disconnect(CloseCode.KICKED, Text.KICKED())
        assert await read_texts(user, 1) == ["farewell"]
        assert (await user.close_frame()).code == CloseCode.NORMAL
        user.send_frame(Opcode.CLOSE, struct.pack("!H", 1000))
        await until(lambda: client.state is State.CLOSED)
        with pytest.raises(ValueError, match="cannot go from CLOSED"):
            client.state.advanced_to(State.OPEN)
        assert running.notes.returned == {1: []}
        assert running.stats.connections_closed == 1


@pytest.mark.gen_test
async def test_what_is_queued_leaves_before_the_close_frame() -> None:
    async with endpoint() as running:
        user, client = await running.dial(1)
        client.send(text("queued"))
        client.disconnect(CloseCode.KICKED, Text.KICKED(), text("kicked"))
        assert await read_texts(user, 2) == ["queued", "kicked"]
        close = await user.close_frame()
        assert (close.code, close.reason) == (CloseCode.KICKED, str(Text.KICKED()))
