"""A session from its login to its end: who takes whose place, and what happens in which order."""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skyeim_ws.conn.client import Client
from skyeim_ws.conn.state import State
from skyeim_ws.contract.codes import CloseCode
from skyeim_ws.logic import session
from skyeim_ws.logic.departures import Departure
from skyeim_ws.logic.introductions import Introductions
from skyeim_ws.logic.memberships import Memberships
from skyeim_ws.logic.offline import OfflineMessages
from skyeim_ws.logic.ports import Unavailable
from skyeim_ws.logic.session import Sessions
from skyeim_ws.logic.shared_state import Claim, Window
from skyeim_ws.logic.tasks import Tasks
from tests.logic.fakes import People, Person, Queue, live, queued
from tests.waiting import until

BOB = 2
EMPTY = Window([], 0)


class Outside:
    """What `Sessions` needs: notes in `calls` what it is told, and answers with `claim`."""

    def __init__(self, max_connections: int = 10) -> None:
        self.calls: list[str] = []
        self.claim_answer: Claim | Exception = Claim(EMPTY, own=f"c-{BOB}")
        self.people = People()
        self.claim_failed: list[Client] = []
        self.groups_left: tuple[str, ...] = ()
        self.tasks = Tasks()
        self.groups_known = asyncio.Event()
        self.groups_known.set()
        self.heard: asyncio.Future[None] | None = None
        port = cast(Any, self)
        announcer = cast(Any, SimpleNamespace(note=self.note("announce")))
        node_sessions = cast(Any, SimpleNamespace(enter=self.note("enter node sessions")))
        presence = cast(Any, SimpleNamespace(enter=self.online))
        self.memberships = Memberships(
            hub=cast(Any, self.people),
            groups=cast(Any, SimpleNamespace(joined=self.joined)),
            members=port,
            channels=cast(
                Any, SimpleNamespace(join=lambda _: self.heard, missing=self.note("may miss"))
            ),
            node_sessions=node_sessions,
            presence=presence,
            tasks=self.tasks,
        )
        self.sessions = Sessions(
            hub=cast(Any, self.people),
            registry=port,
            node_sessions=node_sessions,
            bus=port,
            presence=presence,
            memberships=self.memberships,
            introductions=Introductions(
                hub=cast(Any, self.people),
                node_sessions=cast(Any, SimpleNamespace(enter_again=self.enter_again)),
                presence=cast(Any, SimpleNamespace(enter_again=self.enter_again)),
                announcer=announcer,
                tasks=self.tasks,
            ),
            announcer=announcer,
            departures=cast(
                Any,
                SimpleNamespace(
                    add=self.left, returned=lambda _: Departure("c", self.groups_left, False)
                ),
            ),
            offline=OfflineMessages(queue=Queue(), requests=port, push_limit=20, max_bytes=1_000),
            delivery=cast(
                Any,
                SimpleNamespace(
                    return_undelivered=self.note("return undelivered"),
                    replay_unread=self.note("replay unread"),
                ),
            ),
            catch_up=cast(
                Any,
                SimpleNamespace(
                    pause=self.note("pause"),
                    resume=self.note("resume"),
                    forget=lambda _client: [live(7)],
                ),
            ),
            watermarks=cast(
                Any,
                SimpleNamespace(
                    confirmed=self.note("confirmed"),
                    last=lambda *_: None,
                    go_on=lambda *_: None,
                ),
            ),
            tasks=self.tasks,
            receive=lambda _client, _text: None,
            server_name="here",
            max_connections=max_connections,
        )
        self.sessions.on_claim_failed = self.claim_failed.append

    def note(self, what: str) -> Callable[..., None]:
        return lambda *_args, **_more: self.calls.append(what)

    async def claim(self, _user_id: int, _conn_id: str, _limit: int) -> Claim:
        self.calls.append("claim")
        if isinstance(self.claim_answer, Exception):
            raise self.claim_answer
        return self.claim_answer

    def left(self, _user_id: int, departure: Departure) -> None:
        self.calls.append("replaced" if departure.replaced else "left")

    async def online(self, _user_id: int, _group_ids: Sequence[str]) -> int:
        return 1

    async def enter_again(self, _: object) -> None:
        self.calls.append("introduce")

    async def joined(self, _user_id: int) -> list[str]:
        await self.groups_known.wait()
        return ["g"]

    async def login(self, person: Person) -> None:
        await self.sessions.opened(person.client)
        await until(lambda: not len(self.tasks))


def arriving() -> Person:
    return Person(BOB, State.CONNECTING)


@pytest.mark.gen_test
async def test_a_login_is_known_to_the_others_before_it_is_claimed() -> None:
    """So that whoever cleans up after this node finds everyone who was here."""
    outside, bob = Outside(), arriving()
    outside.claim_answer = Claim(Window([queued(8), queued(9)], 3), own="c-2")
    await outside.login(bob)
    assert outside.calls[:3] == ["pause", "enter node sessions", "claim"]
    assert [frame["type"] for frame in bob.frames] == ["connected", "offline_messages"]
    assert bob.delivered == ["m8", "m9"]
    assert bob.session.group_ids == ("g",)
    assert outside.calls[-3:] == ["introduce", "introduce", "announce"]


@pytest.mark.gen_test
async def test_a_login_that_redis_does_not_answer_gets_what_is_unread_and_is_claimed_later() -> (
    None
):
    outside, bob = Outside(), arriving()
    outside.claim_answer = Unavailable("no answer in time")
    await outside.login(bob)
    assert [frame["type"] for frame in bob.frames] == ["connected"]
    assert outside.calls.index("replay unread") < outside.calls.index("resume")
    assert outside.claim_failed == [bob.client]


@pytest.mark.gen_test
async def test_a_newer_login_takes_the_place_and_nobody_is_told_of_either() -> None:
    outside, older, newer = Outside(), arriving(), arriving()
    await outside.login(older)
    outside.claim_answer = Claim(EMPTY, conn_id="c-2", here=True, own="c-3")
    outside.calls.clear()
    await outside.login(newer)
    assert older.closed == [CloseCode.KICKED]
    assert newer.conn_id == "c-3"
    assert newer.session.group_ids == ("g",)
    outside.sessions.ended(older.client, [])
    assert outside.people == {BOB: newer}
    assert not {"left", "replaced"} & set(outside.calls)


@pytest.mark.gen_test
async def test_a_kick_may_name_a_connection_before_its_own_claim_does() -> None:
    outside, bob = Outside(), arriving()
    bob.session.kicked_as = "c-3"
    outside.claim_answer = Claim(EMPTY, own="c-3")
    await outside.login(bob)
    assert bob.closed == [CloseCode.KICKED]
    assert bob.frames == []


@pytest.mark.gen_test
async def test_at_the_end_what_is_held_is_put_back_before_the_session_is_released() -> None:
    """Should this node die in between, the session still tells that something may be missed."""
    outside, bob = Outside(), arriving()
    await outside.login(bob)
    outside.calls.clear()
    undelivered = [live(5)]
    outside.sessions.ended(bob.client, undelivered)
    await until(lambda: not len(outside.tasks))
    assert outside.calls == ["return undelivered", "left"]
    assert [delivery.msg_id for delivery in undelivered] == ["m5", "m7"]
    assert not outside.people


@pytest.mark.gen_test
async def test_a_full_node_takes_no_further_user_and_one_that_stops_none_at_all() -> None:
    outside = Outside(max_connections=1)
    bob, again, carol = arriving(), arriving(), Person(3, State.CONNECTING)
    for person in (bob, carol, again):
        await outside.login(person)
    assert (carol.closed, again.closed) == ([CloseCode.OVERLOADED], [])
    outside.sessions.draining = True
    assert again.closed == []
    late = arriving()
    await outside.login(late)
    assert late.closed == [CloseCode.GOING_AWAY]
    assert 3 not in outside.people


@pytest.mark.gen_test
async def test_who_comes_back_and_leaves_before_the_groups_are_known_leaves_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "HEARD_SECONDS", 0.01)
    outside, bob = Outside(), arriving()
    outside.groups_known.clear()
    outside.groups_left = ("g", "h")
    await outside.sessions.opened(bob.client)
    assert bob.frames[0]["type"] == "connected"
    assert list(bob.session.group_ids) == ["g", "h"]
    outside.groups_known.set()
    await until(lambda: not len(outside.tasks))
    assert list(bob.session.group_ids) == ["g"]


@pytest.mark.gen_test
async def test_who_leaves_before_its_new_groups_are_heard_is_not_entered_in_them() -> None:
    """Its departure has taken it out already, and nobody would do it again."""
    outside, bob, carol = Outside(), Person(BOB), Person(BOB + 1)
    outside.heard = asyncio.get_running_loop().create_future()
    outside.people.register(bob)
    finding = asyncio.create_task(outside.memberships.run())
    outside.memberships.members_changed(None)
    await until(lambda: bob.session.group_ids)
    outside.people.unregister(bob)
    outside.heard.set_result(None)
    outside.people.register(carol)
    outside.memberships.members_changed(None)
    await until(lambda: carol.session.group_ids and "enter node sessions" in outside.calls)
    assert outside.calls.count("enter node sessions") == 1
    finding.cancel()
    await asyncio.wait({finding})
