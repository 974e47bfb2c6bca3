"""What stands in for a connection and for Redis, where the logic is tested alone."""

import json
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.ending import NOBODY, Successor
from skyeim_ws.conn.ledger import Delivery, Ledger
from skyeim_ws.conn.outbox import Outbox
from skyeim_ws.conn.rate import Verdict
from skyeim_ws.conn.state import State
from skyeim_ws.conn.stats import Stats
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.contract.texts import Language, Phrase
from skyeim_ws.logic.session_state import Session
from skyeim_ws.logic.shared_state import QueuedMessage, Window


class Person:
    """A connection that takes notes of what it is told; its ledger and its session are real."""

    def __init__(self, user_id: int, state: State = State.OPEN) -> None:
        self.user_id = user_id
        self.conn_id = f"c-{user_id}"
        self.remote = "10.0.0.1"
        self.connected_at = 1
        self.state = state
        self.session = Session()
        self.ledger = Ledger(1_000)
        self.outbox = Outbox(256, 1_048_576)
        self.now = self.opened_at = 0.0
        self.context = SimpleNamespace(stats=Stats(), clock=lambda: self.now)
        self.gone = False
        self.language = Language.EN
        self.acks_due = 0
        self.verdict = Verdict.ALLOWED
        self.frames: list[dict[str, Any]] = []
        self.delivered: list[str] = []
        self.closed: list[CloseCode] = []

    @property
    def client(self) -> Client:
        """Itself, as the code takes it."""
        return cast(Client, self)

    @property
    def acks(self) -> list[str]:
        """The acks it was sent: status and msgId."""
        datas = [frame["data"] for frame in self.frames if frame["type"] == "ack"]
        return [f"{data['status']} {data['msgId']}" for data in datas]

    @property
    def errors(self) -> list[int]:
        """The codes of the errors it was sent."""
        return [frame["data"]["code"] for frame in self.frames if frame["type"] == "error"]

    def send(self, data: bytes) -> None:
        self.frames += decoded(data)

    def put_ping(self, _now: float) -> None:
        self.ledger.next_ping()

    def deliver(self, delivery: Delivery) -> None:
        self.ledger.add(delivery)
        self.delivered.append(delivery.msg_id)

    def start(self, frames: Iterable[bytes], deliveries: Iterable[Delivery]) -> None:
        self.state = State.OPEN
        for data in frames:
            self.send(data)
        for delivery in deliveries:
            self.deliver(delivery)

    def disconnect(
        self,
        code: CloseCode,
        _reason: Phrase,
        _farewell: bytes = b"",
        successor: Successor = NOBODY,
    ) -> None:
        self.state = State.DRAINING
        self.closed.append(code)
        self.successor = successor

    def count_frame(self) -> Verdict:
        return self.verdict


def decoded(data: bytes) -> list[dict[str, Any]]:
    """Return the messages of text frames that stand behind one another; RFC 6455, 5.2."""
    messages = []
    while data:
        start = {126: 4, 127: 10}.get(data[1], 2)
        size = data[1] if start == 2 else int.from_bytes(data[2:start])
        messages.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return messages


class People(dict[int, Person]):
    """The hub: who is here."""

    def __iter__(self) -> Any:
        return iter(list(self.values()))

    @property
    def users(self) -> set[int]:
        """Who is here."""
        return set(self.keys())

    def register(self, person: Person) -> Person | None:
        previous = self.get(person.user_id)
        self[person.user_id] = person
        return previous

    def unregister(self, person: Person) -> bool:
        return self.get(person.user_id) is person and bool(self.pop(person.user_id))


class Queue:
    """`shared_state.OfflineQueue` that takes notes; a test answers the entries that are routed."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: list[Callable[[bool], None]] = []
        self.windows: list[Window] = []
        self.asked: list[int | None] = []

    def push(self, user_id: int, entries: Sequence[bytes]) -> None:
        self.calls.append(("push", user_id, *entries))

    def route(self, user_id: int, entry: bytes, done: Callable[[bool], None] | None = None) -> None:
        self.calls.append(("route", user_id, entry))
        if done is not None:
            self.answers.append(done)

    def unheard(self, user_id: int, entry: bytes) -> None:
        self.calls.append(("unheard", user_id, entry))

    def remove(self, user_id: int, entries: Sequence[bytes]) -> None:
        self.calls.append(("remove", user_id, *entries))

    def read(self, entry: bytes) -> QueuedMessage | None:
        return queued(int(entry))

    async def window(self, _user_id: int, before_id: int | None, _limit: int) -> Window:
        self.asked.append(before_id)
        return self.windows.pop(0)


def queued(number: int) -> QueuedMessage:
    """Return the entry of a message with this id."""
    entry = b"%d" % number
    return QueuedMessage(raw=entry, stored=entry, id=number, msg_id=f"m{number}", from_user_id=9)


def live(number: int, sender_id: int = 9) -> Delivery:
    """Return a live message with this id."""
    return Delivery(data=b"%d" % number, id=number, msg_id=f"m{number}", from_user_id=sender_id)
