"""The end of a connection: what still comes before the close frame, and that nothing follows it."""

import socket
import struct

import pytest
from websockets.frames import Close, Frame, Opcode

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Text
from tests.conn.endpoint import endpoint
from tests.conn.test_client import SMALL, read_texts, text
from tests.gateway.raw import RawUser
from tests.waiting import until

NEVER = 3_600.0
"""Seconds; a test that waits for this has failed."""

GOODBYE = struct.pack("!H", 1000) + b"bye"

BROKEN = {
    CloseCode.PROTOCOL_ERROR: b"\x81\x02hi",
    CloseCode.UNSUPPORTED_DATA: Frame(Opcode.BINARY, b"hi").serialize(mask=True),
    CloseCode.INVALID_PAYLOAD: Frame(Opcode.TEXT, b"\xff").serialize(mask=True),
    CloseCode.MESSAGE_TOO_BIG: Frame(Opcode.TEXT, b"x" * 1_001).serialize(mask=True),
}


async def read_all(user: RawUser) -> list[tuple[Opcode, bytes]]:
    """Return all frames up to the close frame, behind which the stream must end."""
    frames: list[tuple[Opcode, bytes]] = []
    while not frames or frames[-1][0] is not Opcode.CLOSE:
        frames.append(await user.read_frame())
    assert await user.at_end()
    return frames


@pytest.mark.gen_test
@pytest.mark.parametrize("code", BROKEN)
async def test_whoever_breaks_the_protocol_does_not_wait_for_the_end(code: CloseCode) -> None:
    """Its own close frame is not looked at any more, so the stream ends behind ours."""
    async with endpoint(close_timeout=NEVER, max_message_size=1_000) as running:
        user, client = await running.dial(1)
        user.write(BROKEN[code] + b"and whatever else is under way")
        [(_, payload)] = await read_all(user)
        assert Close.parse(payload).code == code
        assert client.state is State.DRAINING
        await user.cut()
        await until(lambda: client.state is State.CLOSED)


@pytest.mark.gen_test
async def test_the_end_waits_for_what_the_kernel_has_not_taken() -> None:
    async with endpoint(counted=True, close_timeout=NEVER) as running:
        user, client = await running.dial(1, receive_buffer=SMALL)
        running.counted(client).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        client.send(text("x" * 200_000))
        await until(lambda: client.direct is None)
        user.write(BROKEN[CloseCode.PROTOCOL_ERROR])
        await until(lambda: client.state is State.DRAINING)
        frames = await read_all(user)
        assert [opcode for opcode, _ in frames] == [Opcode.TEXT, Opcode.CLOSE]


@pytest.mark.gen_test
async def test_what_came_in_one_read_with_the_close_frame_is_answered_first() -> None:
    async with endpoint(close_timeout=NEVER) as running:

        def echo(client: Client, received: str) -> None:
            client.send(text(received))

        running.notes.received = echo  # type: ignore[method-assign,assignment]
        user, _ = await running.dial(1)
        frames = [Frame(Opcode.TEXT, b"one"), Frame(Opcode.PING, b"two"), Frame(Opcode.TEXT, b"3")]
        frames.append(Frame(Opcode.CLOSE, GOODBYE))
        user.write(b"".join(frame.serialize(mask=True) for frame in frames))
        answers = await read_all(user)
        assert sorted(answers[:3]) == [
            (Opcode.TEXT, b"3"),
            (Opcode.TEXT, b"one"),
            (Opcode.PONG, b"two"),
        ]
        assert Close.parse(answers[3][1]).code == 1000


@pytest.mark.gen_test
async def test_a_peer_that_closes_gets_what_the_kernel_has_not_taken_yet() -> None:
    async with endpoint(counted=True, close_timeout=NEVER) as running:
        user, client = await running.dial(1, receive_buffer=SMALL)
        running.counted(client).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        for payload in ("x" * 100_000, "queued"):
            client.send(text(payload))
        await until(lambda: client.direct is None)
        user.send_frame(Opcode.CLOSE, GOODBYE)
        await until(lambda: client.state is State.DRAINING)
        assert 1 not in running.hub
        frames = await read_all(user)
        assert [len(payload) for _, payload in frames[:2]] == [100_000, 6]
        await until(lambda: client.state is State.CLOSED)


@pytest.mark.gen_test
async def test_nothing_follows_our_close_frame() -> None:
    """Neither the answer to a ping that waited, nor what others send meanwhile."""
    async with endpoint(counted=True, close_timeout=NEVER) as running:
        user, client = await running.dial(1, receive_buffer=SMALL)
        running.counted(client).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        client.send(text("x" * 100_000))
        await until(lambda: client.direct is None)
        user.send_frame(Opcode.PING, b"waits")
        user.send("marker")
        await until(lambda: running.notes.received_texts)
        client.disconnect(CloseCode.KICKED, Text.KICKED())
        client.send(text("late"))
        running.hub.fan_out_group({1}, text("late"), group_id="g", seq=1, sender_id=0)
        user.send_frame(Opcode.PING, b"late")
        assert await read_texts(user, 1) == ["x" * 100_000]
        assert (await user.read_frame())[0] is Opcode.CLOSE
        user.send_frame(Opcode.CLOSE, GOODBYE)
        assert await user.at_end()
