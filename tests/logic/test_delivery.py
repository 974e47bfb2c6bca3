"""Where a private message goes, and in whose hands it is until it is confirmed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from skyeim_ws.conn.ledger import Delivery, DeliveryState
from skyeim_ws.conn.state import State
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.timing import Timings
from skyeim_ws.logic.acks import Acks
from skyeim_ws.logic.catch_up import Hold
from skyeim_ws.logic.delivery import PrivateDelivery
from tests.logic.fakes import People, Person, Queue, live, queued

ALICE, BOB = 1, 2


class Outside:
    """What `PrivateDelivery` needs; Alice, who sends, and Bob are here."""

    def __init__(self) -> None:
        self.alice, self.bob = Person(ALICE), Person(BOB)
        self.people = People({ALICE: self.alice, BOB: self.bob})
        self.queue = Queue()
        self.hold = Hold.NOT_HELD
        self.fetched: list[int] = []
        self.bus = SimpleNamespace(not_subscribed=False, redis_down=False)
        self.node_sessions = SimpleNamespace(listed=True)
        hub = cast(Any, self.people)
        self.acks = Acks(hub, cast(Any, None), Timings())
        catch_up = SimpleNamespace(
            hold=lambda _client, _delivery: self.hold,
            fetch=lambda client, _missed, _after_id: self.fetched.append(client.user_id),
        )
        self.delivery = PrivateDelivery(
            hub=hub,
            queue=self.queue,
            node_sessions=cast(Any, self.node_sessions),
            bus=cast(Any, self.bus),
            acks=self.acks,
            catch_up=cast(Any, catch_up),
            stats=Stats(),
        )

    def deliver(self, delivery: Delivery) -> None:
        self.delivery.deliver(self.bob.client, delivery)


def test_a_message_is_safe_with_whom_the_others_would_find_here() -> None:
    outside = Outside()
    bob, safe = outside.bob.client, outside.delivery.is_safe_with
    outside.bob.session.known_watermark(7)
    assert not safe(bob, 8)
    outside.bob.session.in_node_sessions = True
    assert safe(bob, 8)
    outside.node_sessions.listed = False
    assert not safe(bob, 8)
    outside.node_sessions.listed, outside.bus.not_subscribed = True, True
    assert not safe(bob, 8)


def test_a_late_message_goes_into_the_queue_which_takes_the_watermark_back() -> None:
    outside = Outside()
    bob, session = outside.bob.client, outside.bob.session
    session.in_node_sessions = True
    assert not outside.delivery.is_safe_with(bob, 8)  # nothing is known before the claim
    session.known_watermark(7)
    assert outside.delivery.is_safe_with(bob, 7)
    assert not outside.delivery.is_safe_with(bob, 6)
    session.proposed = 9  # and Redis may have it, whatever it answers
    session.known_watermark(7)
    assert not outside.delivery.is_safe_with(bob, 8)


def test_who_is_leaving_gets_it_through_the_queue() -> None:
    """As one who writes to itself, and does not take the answer."""
    outside = Outside()
    outside.bob.state = State.DRAINING
    outside.deliver(live(1))
    assert outside.queue.calls == [("route", BOB, b"1")]
    assert outside.bob.delivered == []


@pytest.mark.parametrize("first", ["the queue", "its receiver"])
def test_a_message_that_is_queued_and_delivered_is_kept_by_whoever_is_first(first: str) -> None:
    outside = Outside()
    kept: list[bool] = []
    outside.acks.wait(ALICE, "m1", kept.append)
    outside.delivery.queue(BOB, outside.bob.client, live(1, ALICE))
    assert outside.bob.delivered == ["m1"]
    [in_queue] = outside.queue.answers
    if first == "the queue":
        in_queue(True)
    assert kept == [True] * (first == "the queue")
    outside.delivery.confirm(BOB, outside.bob.ledger.drain())
    in_queue(False)
    assert kept == [True]
    assert outside.alice.acks == ["delivered m1"]
    assert outside.queue.calls == [("route", BOB, b"1"), ("remove", BOB, b"1")]


@pytest.mark.parametrize(
    ("state", "returned"),
    [
        (DeliveryState.LIVE, True),
        (DeliveryState.QUEUEING, True),
        (DeliveryState.QUEUED, False),
        (DeliveryState.FETCHED, False),
    ],
)
def test_what_stays_unconfirmed_is_put_back_unless_somebody_else_has_it(
    state: DeliveryState, returned: bool
) -> None:
    outside = Outside()
    left = Delivery(data=b"1", id=1, msg_id="m1", from_user_id=ALICE, state=state)
    # Bob is on a newer connection, which is about to read the queue.
    outside.delivery.return_undelivered(BOB, [left])
    assert outside.queue.calls == ([("push", BOB, b"1")] if returned else [])
    del outside.people[BOB]
    outside.queue.calls.clear()
    outside.delivery.return_undelivered(BOB, [left])
    assert outside.queue.calls == ([("route", BOB, b"1")] if returned else [])


def test_what_cannot_be_held_back_is_queued_unless_it_is() -> None:
    outside = Outside()
    outside.hold = Hold.FULL
    outside.deliver(live(1))
    outside.delivery.deliver_queued(BOB, queued(2).stored)
    assert outside.queue.calls == [("push", BOB, b"1")]


def test_without_redis_what_is_unread_comes_first_and_once() -> None:
    outside = Outside()
    outside.bus.redis_down, outside.bob.now = True, 100.0
    for number in (1, 2):
        outside.deliver(live(number, ALICE))
    assert outside.fetched == [BOB]
    outside.bob.session.brought_unread = 0.0  # Redis was back
    outside.deliver(live(3, ALICE))
    assert outside.fetched == [BOB, BOB]


def test_without_redis_what_is_unread_comes_first_of_whoever_has_come_since() -> None:
    """The sender was on a node that has Redis, and may have written there."""
    outside = Outside()
    outside.bus.redis_down, outside.bob.now = True, 100.0
    outside.deliver(live(1, ALICE))
    outside.alice.opened_at, outside.bob.now = 200.0, 201.0
    for number in (2, 3):
        outside.deliver(live(number, ALICE))
    assert outside.fetched == [BOB, BOB]
    del outside.people[ALICE]
    outside.deliver(live(4, ALICE))
    assert outside.fetched == [BOB, BOB, BOB]


def test_a_message_that_is_told_of_twice_is_written_once() -> None:
    outside = Outside()
    for _ in range(2):
        outside.delivery.deliver_queued(BOB, queued(1).stored)
    assert outside.bob.delivered == ["m1"]


def test_a_retry_that_is_told_of_leaves_the_queue_with_the_first_one() -> None:
    outside = Outside()
    outside.bob.ledger.add(live(1, ALICE))
    outside.delivery.deliver_queued(BOB, queued(1).stored)
    confirmed = outside.bob.ledger.confirm("m1")
    assert confirmed is not None
    outside.delivery.confirm(BOB, [confirmed])
    assert outside.queue.calls == [("remove", BOB, queued(1).stored)]
    assert outside.bob.delivered == []
