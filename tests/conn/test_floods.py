"""Frames of every kind count, but for those with which a client answers ours."""

import json

import pytest
from websockets.frames import Close, Frame, Opcode

from skyeim_ws.conn.messages import ClientAck
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.logic.dispatch import Dispatcher, route
from tests.conn.endpoint import Clock, delivery, endpoint
from tests.conn.test_client import read_texts, text
from tests.waiting import until

BURST = 10
TAKEN = 2 * BURST
"""Frames before it is a flood: a burst, and a debt of the same size."""

NEVER = 3_600.0

FRAMES = {
    "pings": Frame(Opcode.PING, b""),
    "pongs that nobody asked for": Frame(Opcode.PONG, b""),
    "empty fragments": Frame(Opcode.CONT, b"", fin=False),
    "fragments": Frame(Opcode.CONT, b"x", fin=False),
}


def text_frame(kind: str, **data: str) -> bytes:
    payload = json.dumps({"type": kind, "data": data}).encode()
    return Frame(Opcode.TEXT, payload).serialize(mask=True)


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", FRAMES)
async def test_every_frame_counts_and_after_a_flood_none_is_looked_at(kind: str) -> None:
    async with endpoint(
        Clock(), rate_limit=1, rate_burst=BURST, close_timeout=NEVER, pong_timeout=NEVER
    ) as running:
        user, client = await running.dial(1)
        taken = TAKEN
        if FRAMES[kind].opcode is Opcode.CONT:
            user.write(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True))
            taken -= 1
        user.write(FRAMES[kind].serialize(mask=True) * taken)
        user.send_frame(Opcode.TEXT if kind.startswith("p") else Opcode.PING, b"one too many")
        user.write(FRAMES[kind].serialize(mask=True) * 1_000)
        frames = [await user.read_frame()]
        while frames[-1][0] is not Opcode.CLOSE:
            frames.append(await user.read_frame())
        assert Close.parse(frames[-1][1]).code == CloseCode.FLOODING
        assert len(frames) == (1 + TAKEN if kind == "pings" else 1)
        assert await user.at_end()
        assert running.stats.flooding == 1
        assert client.state is State.DRAINING


@pytest.mark.gen_test
async def test_answers_to_our_pings_do_not_count() -> None:
    async with endpoint(
        Clock(), rate_limit=1, rate_burst=BURST, confirm_interval=0, pong_timeout=NEVER
    ) as running:
        user, client = await running.dial(1)
        for number in range(1, 3 * TAKEN):
            client.deliver(delivery(number))
            user.send_frame(Opcode.PONG, await user.next_ping())
            await until(lambda: not client.ledger.ping_under_way)
        assert (client.state, running.stats.flooding) == (State.OPEN, 0)


@pytest.mark.gen_test
async def test_acks_of_what_was_sent_do_not_count_and_others_do() -> None:
    """Delivered and read of each message, private or of a group, whoever confirmed it before."""
    async with endpoint(Clock(), rate_limit=1, rate_burst=BURST, pong_timeout=NEVER) as running:
        acks: list[ClientAck] = []
        dispatcher = Dispatcher(
            {"ack": route(ClientAck, lambda _, ack: acks.append(ack), acknowledges=True)}
        )
        running.notes.received = dispatcher.dispatch  # type: ignore[method-assign]
        user, client = await running.dial(1)
        for number in range(TAKEN):
            client.deliver(delivery(number))
        for seq in range(1, TAKEN + 1):
            running.hub.fan_out_group({1}, text("x"), group_id="g", seq=seq, sender_id=0)
        await read_texts(user, 2 * TAKEN)
        ack = text_frame("ack", msgId="m-1", status="delivered")
        user.write(ack * 4 * TAKEN)
        await until(lambda: len(acks) == 4 * TAKEN)
        assert running.stats.rate_limited == 0
        # Whatever comes beyond is a frame like any other.
        user.write(ack * (TAKEN + 1))
        errors = [json.loads(error) for error in await read_texts(user, BURST)]
        assert {error["data"]["code"] for error in errors} == {30009}
        assert len(acks) == 4 * TAKEN + BURST
        assert (await user.close_frame()).code == CloseCode.FLOODING
