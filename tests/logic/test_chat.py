"""When the senders of messages that have to be queued are answered, and in which order."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import Chat
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.ports import Outgoing, SendOutcome, Stored

ALICE = 1
CAROL = 3
LATER = b"delivered, told by another node"


class Outside:
    """The ports of `Sending`: takes notes, and answers when the test says so."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.stored: list[tuple[Outgoing, Callable[[Outgoing, SendOutcome], None]]] = []
        self.queued: list[Callable[[bool], None]] = []

    def send(self, _user_id: int, frame: bytes) -> None:
        if frame == LATER:
            self.sent.append("later")
            return
        # A failed ack has an error behind it, in the same bytes.
        answer, _ = json.JSONDecoder().raw_decode(frame[frame.index(b"{") :].decode("latin-1"))
        if answer["type"] == "ack":
            self.sent.append(f"{answer['data']['status']} {answer['data']['msgId']}")

    def submit(self, message: Outgoing, done: Callable[[Outgoing, SendOutcome], None]) -> bool:
        self.stored.append((message, done))
        return True

    def is_here(self, _user_id: int) -> bool:
        return False

    def queue(self, _user_id: int, _delivery: Delivery, done: Callable[[bool], None]) -> None:
        self.queued.append(done)

    def admit(self, _client: Client) -> bool:
        return True

    def done(self, _client: Client) -> None:
        return


def sending(outside: Outside) -> tuple[Sending, Callable[[str], None]]:
    """Return what is tested, and a way to send and store a message of Alice's."""
    port = cast(Any, outside)
    tested = Sending(
        user_router=port, writer=port, delivery=port, router=port, requests=port, recent_acks=10
    )
    client = cast(
        Client, SimpleNamespace(user_id=ALICE, send=lambda frame: port.send(ALICE, frame))
    )

    def say(msg_id: str) -> None:
        tested.chat(client, Chat(to_user_id=CAROL, content="hello", msg_id=msg_id))
        message, done = outside.stored.pop()
        done(message, Stored(id=len(outside.queued) + 1, msg_id=msg_id, created_at=1))

    return tested, say


def test_what_another_node_tells_waits_for_the_ack_before_it_and_for_no_other() -> None:
    """A receiver on this node may confirm a later message before Redis has the earlier one."""
    outside = Outside()
    tested, say = sending(outside)
    say("m1")
    assert tested.follow(ALICE, LATER)
    say("m2")
    first, second = outside.queued
    second(True)
    assert outside.sent == ["sent m2"]
    first(True)
    assert outside.sent == ["sent m2", "sent m1", "later"]
    assert not tested.follow(ALICE, LATER)


def test_of_two_answers_the_first_one_counts() -> None:
    outside = Outside()
    _, say = sending(outside)
    say("m1")
    [done] = outside.queued
    done(False)
    done(True)
    assert outside.sent == ["failed m1"]


def test_a_confirmation_of_the_first_attempt_answers_the_second() -> None:
    """The receiver has the message; its sender was told to try again, and waits anew."""
    outside = Outside()
    _, say = sending(outside)
    say("m1")
    outside.queued[0](False)
    say("m1")
    outside.queued[0](True)
    assert outside.sent == ["failed m1", "sent m1"]
    outside.queued[1](True)
    assert outside.sent == ["failed m1", "sent m1"]
