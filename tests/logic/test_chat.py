"""When the senders of messages that have to be queued are answered, and in which order."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from skyeim_ws.conn.ledger import Delivery
from skyeim_ws.conn.messages import Chat
from skyeim_ws.contract.message_trace import MessageTrace
from skyeim_ws.contract.timing import Timings
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.chat import Sending
from skyeim_ws.logic.outgoing import Outgoing, SendOutcome, Stored
from tests.logic.fakes import Person

ALICE = 1
BOB = 2
CAROL = 3


class Outside:
    """What `Sending` needs: stores at once, and answers for the queue when the test says so.

    Alice and Bob are here.
    """

    def __init__(self) -> None:
        self.alice, self.bob = Person(ALICE), Person(BOB)
        self.looked_up: list[int] = []
        self.elsewhere: list[tuple[int, list[str], str]] = []
        self.stored: list[tuple[Outgoing, Callable[[Outgoing, SendOutcome], None]]] = []
        self.delivered: list[str] = []
        self.queued: list[Callable[[bool], None]] = []
        port = cast(Any, self)
        self.timings = Timings()
        self.acks = Acks(port, port, self.timings)
        self.sending = Sending(
            hub=port,
            user_router=port,
            acks=self.acks,
            writer=port,
            delivery=port,
            router=port,
            trace=MessageTrace(),
            max_in_flight=10,
            send_ahead=10,
            recent_acks=10,
        )

    def say(self, msg_id: str, to: int = CAROL) -> None:
        """Send a message of Alice's, and store it."""
        self.sending.chat(self.alice.client, Chat(to_user_id=to, content="hello", msg_id=msg_id))
        message, done = self.stored.pop()
        done(message, Stored(id=len(self.queued) + 1, msg_id=msg_id, created_at=1))

    def get(self, user_id: int) -> Person | None:
        self.looked_up.append(user_id)
        return {ALICE: self.alice, BOB: self.bob}.get(user_id)

    def ack(self, user_id: int, msg_ids: Sequence[str], status: str) -> None:
        self.elsewhere.append((user_id, list(msg_ids), status))

    def submit(self, message: Outgoing, done: Callable[[Outgoing, SendOutcome], None]) -> bool:
        self.stored.append((message, done))
        return True

    def is_safe_with(self, _client: Person, _message_id: int) -> bool:
        return True

    def deliver(self, client: Person, delivery: Delivery) -> None:
        self.delivered.append(f"{delivery.msg_id} to {client.user_id}")

    def queue(self, _user_id: int, _client: Person | None, delivery: Delivery) -> None:
        sender_id, msg_id = delivery.from_user_id, delivery.msg_id
        self.queued.append(lambda kept: self.acks.kept(sender_id, msg_id, kept))


def test_delivered_never_comes_before_sent() -> None:
    """The node of a receiver may tell of it before Redis says that the message is queued."""
    outside = Outside()
    outside.say("m1")
    outside.say("m2")
    assert outside.alice.acks == []
    assert outside.acks.told(ALICE, ["m1"], "delivered")
    assert outside.alice.acks == ["sent m1", "delivered m1"]
    for answered in outside.queued:
        answered(True)
    assert outside.alice.acks == ["sent m1", "delivered m1", "sent m2"]


def test_a_sender_who_is_elsewhere_is_told_there_and_once() -> None:
    outside = Outside()
    assert not outside.acks.told(CAROL, ["m1"], "read")
    assert outside.elsewhere == []
    outside.acks.tell(CAROL, ["m1"], "read")
    assert outside.elsewhere == [(CAROL, ["m1"], "read")]


def test_of_two_answers_the_first_one_counts() -> None:
    outside = Outside()
    outside.say("m1")
    [answered] = outside.queued
    answered(False)
    answered(True)
    assert outside.alice.acks == ["failed m1"]


def test_a_confirmation_of_the_first_attempt_answers_the_second() -> None:
    """The receiver has the message; its sender was told to try again, and waits anew."""
    outside = Outside()
    outside.say("m1")
    outside.queued[0](False)
    outside.say("m1")
    outside.acks.tell(ALICE, ["m1"], "delivered")
    assert outside.alice.acks == ["failed m1", "sent m1", "delivered m1"]
    outside.queued[1](True)
    assert outside.alice.acks == ["failed m1", "sent m1", "delivered m1"]


def test_receiver_and_sender_are_looked_up_once_each() -> None:
    """For a message between two users of a node, from its storing to its confirmation."""
    outside = Outside()
    outside.say("m1", to=BOB)
    assert outside.delivered == ["m1 to 2"]
    outside.acks.tell(ALICE, ["m1"], "delivered")
    assert outside.alice.acks == ["sent m1", "delivered m1"]
    assert outside.looked_up == [BOB, ALICE]
