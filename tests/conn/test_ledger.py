"""The ledger against a model: nothing is confirmed that was not proven, nothing is forgotten."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from skyeim_ws.conn.ledger import Delivery, DeliveryState, Ledger

STATES = st.sampled_from(DeliveryState)
SAFE = {DeliveryState.QUEUED, DeliveryState.FETCHED}


def delivery(number: int, state: DeliveryState = DeliveryState.LIVE) -> Delivery:
    entry = None if state is DeliveryState.LIVE else b"entry"
    return Delivery(
        data=b"{}",
        id=number,
        msg_id=f"m{number}",
        from_user_id=1,
        state=state,
        queue_entry=entry,
    )


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(5)
        self.written: list[int] = []
        self.next = 0
        self.ping: bytes | None = None
        self.covered: set[int] = set()
        self.states: dict[int, set[DeliveryState]] = {}

    @rule(state=STATES)
    def write(self, state: DeliveryState) -> None:
        self.next += 1
        self.ledger.add(delivery(self.next, state))
        self.written.append(self.next)
        self.states[self.next] = {state}

    @precondition(lambda self: self.written)
    @rule(data=st.data(), state=STATES)
    def merge(self, data: st.DataObject, state: DeliveryState) -> None:
        """A message that came twice is as safe as the less safe one, and keeps its place."""
        number = data.draw(st.sampled_from(self.written))
        self.ledger.merge(delivery(number, state))
        self.states[number].add(state)

    @precondition(lambda self: self.written)
    @rule(data=st.data(), state=STATES)
    def write_again(self, data: st.DataObject, state: DeliveryState) -> None:
        """A message that is written twice is confirmed, and returned, once; else as merged."""
        number = data.draw(st.sampled_from(self.written))
        self.ledger.add(delivery(number, state))
        self.states[number].add(state)

    @rule()
    def send_ping(self) -> None:
        assert self.ledger.ping_under_way is (self.ping is not None)
        if self.ping is None:
            self.ping = self.ledger.next_ping()
            self.covered = set(self.written)

    @rule()
    def pong(self) -> None:
        if self.ping is None:
            return
        confirmed = [entry.id for entry in self.ledger.pong(self.ping) or ()]
        assert confirmed == [number for number in self.written if number in self.covered]
        self.written = [number for number in self.written if number not in self.covered]
        self.ping = None

    @rule(payload=st.sampled_from([b"", b"0", b"999999", b"x"]))
    def unsolicited_pong(self, payload: bytes) -> None:
        assert self.ledger.pong(payload) is None

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.written))
        confirmed = self.ledger.confirm(f"m{number}")
        assert confirmed is not None
        assert confirmed.id == number
        assert self.ledger.confirm(f"m{number}") is None
        self.written.remove(number)

    @rule()
    def drain(self) -> None:
        left = self.ledger.drain()
        assert [entry.id for entry in left] == self.written
        for entry in left:
            came = self.states[entry.id]
            assert entry.safe is (came <= SAFE)
            # What may be in the queue leaves it with the confirmation.
            assert (entry.queue_entry is None) is (came == {DeliveryState.LIVE})
            assert (entry.state is DeliveryState.LIVE) is (came == {DeliveryState.LIVE})
        self.written = []

    @invariant()
    def sizes_agree(self) -> None:
        assert len(self.ledger) == len(self.written)
        assert self.ledger.full is (len(self.written) >= 5)


def test_without_pongs_only_the_client_confirms() -> None:
    """Behind a proxy that answers pings itself."""
    ledger = Ledger(5)
    ledger.pongs_confirm = False
    for number in (1, 2):
        ledger.add(delivery(number))
    assert not ledger.wants_ping
    assert ledger.pong(ledger.next_ping()) == []
    assert not ledger.ping_under_way
    assert not ledger.wants_ping
    assert ledger.confirm("m1") == delivery(1)
    assert not ledger.wants_ping
    assert ledger.drain() == [delivery(2)]


TestLedger = LedgerMachine.TestCase
