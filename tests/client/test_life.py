"""When a client connects, pings, renews its token, gives up and comes back."""

import math

import pytest

from skyeim_ws.client.effects import Drop, Emit, GetToken, Settle
from skyeim_ws.client.events import Event, Kicked, Problem, State, StateChanged
from skyeim_ws.client.rules import AfterClose, SkyeError, after_close, backoff, expiry_of
from tests.client.bench import Bench, token_until


def test_full_jitter_lies_between_a_short_pause_and_a_doubling_limit() -> None:
    assert backoff(0, lambda: 0.0) == 0.1
    assert [backoff(n, lambda: 1.0) for n in (0, 1, 2, 9, 99)] == [1, 2, 4, 30, 30]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009, 4001, 400, 403, 404])
def test_ends_that_are_final(code: int) -> None:
    assert after_close(code, "", 0, lambda: 1.0).final


@pytest.mark.parametrize("code", [1000, 1006, 1011, 1013, 4002, 4004, 4005, 429, 503])
def test_ends_after_which_it_comes_back(code: int) -> None:
    assert after_close(code, "", 0, lambda: 1.0) == AfterClose(wait=1.0)


@pytest.mark.parametrize("code", [4003, 401])
def test_ends_that_ask_for_a_fresh_token(code: int) -> None:
    assert after_close(code, "", 0, lambda: 1.0) == AfterClose(wait=1.0, fresh_token=True)


@pytest.mark.parametrize("code", [1001, 429])
def test_a_server_says_when_to_come_back(code: int) -> None:
    told = AfterClose(wait=2.973, told=True)
    assert after_close(code, "retry_after_ms=2973", 0, lambda: 1.0) == told
    assert not after_close(code, "retry_after_ms=x", 0, lambda: 1.0).told


def test_a_slot_is_kept_whatever_wakes_us() -> None:
    bench = Bench()
    bench.connect()
    bench.lose(1001, "retry_after_ms=2973")
    bench.core.wake(bench.now)
    bench.pass_time(2.972)
    assert bench.is_in(State.WAITING)
    bench.pass_time(0.002)
    assert bench.is_in(State.TOKEN)


def test_attempts_wait_longer_and_longer_until_a_connection_has_lived() -> None:
    bench, waits = Bench(random=lambda: 1.0), []
    bench.core.start(bench.now)
    for _ in range(3):
        bench.core.token_is("t", bench.now)
        bench.lose()
        waits.append(bench.core.deadline(bench.now) - bench.now)
        bench.pass_time(waits[-1])
    assert waits == [1, 2, 4]
    bench.connect()
    bench.pass_time(10)
    bench.lose()
    assert bench.core.deadline(bench.now) - bench.now == 1


def test_a_network_that_comes_back_is_tried_at_once() -> None:
    bench = Bench()
    bench.connect()
    bench.lose()
    bench.core.wake(bench.now)
    assert bench.is_in(State.TOKEN)


def test_a_kicked_client_stays_away_until_it_is_told_to_connect_again() -> None:
    bench = Bench()
    bench.connect()
    bench.frame("kicked", reason="x")
    assert bench.events(Kicked) == [Kicked("x")]
    bench.lose(4001)
    assert bench.events(StateChanged) == [StateChanged(State.STOPPED, 4001, "kicked")]
    assert bench.core.deadline(bench.now) == math.inf
    bench.core.start(bench.now)
    assert bench.is_in(State.TOKEN)


@pytest.mark.parametrize(("code", "reason"), [(4003, "token_expired"), (401, "unauthorized")])
def test_a_fixed_token_that_is_refused_or_has_expired_is_the_end(code: int, reason: str) -> None:
    bench = Bench(fixed_token=True)
    bench.core.start(bench.now)
    bench.core.token_is("t", bench.now)
    bench.core.take()
    bench.lose(code)
    assert bench.events(StateChanged) == [StateChanged(State.STOPPED, code, reason)]


def test_after_a_refusal_the_next_token_is_fresh() -> None:
    bench = Bench()
    bench.core.start(bench.now)
    assert bench.effects(GetToken) == [GetToken(fresh=False)]
    bench.core.token_is("t", bench.now)
    bench.lose(401)
    bench.pass_time(1)
    assert bench.effects(GetToken) == [GetToken(fresh=True)]


def test_a_token_is_renewed_before_it_expires_on_the_same_connection() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect(token_until(bench.now + 600))
    bench.core.take()
    bench.pass_time(539)
    assert bench.effects(GetToken) == []
    bench.jump(1)
    assert bench.effects(GetToken) == [GetToken(fresh=True)]
    fresh = token_until(bench.now + 600)
    bench.core.token_is(fresh, bench.now)
    assert bench.written() == [{"type": "token", "data": {"token": fresh}}]
    bench.frame("token", expiresAt=bench.now + 600)
    assert bench.core.deadline(bench.now) == bench.now + 540


def test_a_wrong_clock_of_this_machine_changes_nothing_about_when_a_token_is_renewed() -> None:
    bench = Bench(ping_interval=1e9)
    bench.clock_ahead = 86_400
    bench.connect(token_until(bench.now + 600), connectedAt=int(bench.now))
    bench.core.take()
    bench.pass_time(538)
    assert bench.effects(GetToken) == []
    bench.jump(2)
    assert bench.effects(GetToken) == [GetToken(fresh=True)]


def test_an_application_that_gives_the_same_token_again_is_not_asked_all_the_time() -> None:
    bench = Bench(ping_interval=1e9)
    expires_at = bench.now + 100
    bench.connect(token_until(expires_at))
    asked = 0
    while bench.now < expires_at:
        bench.pass_time(0.1)
        asked += len(bench.effects(GetToken))
        bench.frame("token", expiresAt=expires_at)
    assert asked < 15


def test_a_server_that_cannot_renew_is_not_asked_again() -> None:
    bench = Bench(ping_interval=1e9)
    bench.connect(token_until(bench.now + 600))
    bench.frame("error", code=30013, message="unknown type")
    assert bench.core.deadline(bench.now) > bench.now + 1e8


def test_a_token_that_does_not_come_is_tried_again() -> None:
    bench = Bench()
    bench.core.start(bench.now)
    bench.core.token_failed(SkyeError("no_token", "no"), bench.now)
    assert bench.events(Problem) == [Problem(0, "no")]
    assert bench.is_in(State.WAITING)
    bench.pass_time(1)
    assert bench.is_in(State.TOKEN)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.e30.c", "a.bnVsbA.c", "a.WzFd.c"])
def test_a_token_that_does_not_say_when_it_expires(token: str) -> None:
    assert expiry_of(token) is None


def test_no_answer_to_a_ping_ends_the_connection_and_any_frame_is_an_answer() -> None:
    bench = Bench(ping_interval=1.0, pong_timeout=0.3)
    bench.connect()
    bench.jump(1)
    bench.now += 0.29
    bench.frame("online", userId=5)
    bench.jump(0.2)
    assert bench.is_in(State.OPEN)
    bench.jump(0.6)
    bench.core.take()
    bench.jump(0.3)
    assert bench.is_in(State.WAITING)
    assert Drop() in bench.core.take()


def test_a_machine_that_slept_asks_again_before_it_gives_up() -> None:
    bench = Bench(ping_interval=1.0, pong_timeout=0.3)
    bench.connect()
    bench.jump(1)
    bench.jump(3600)
    assert bench.is_in(State.OPEN)


def test_a_handshake_without_an_answer_is_given_up() -> None:
    bench = Bench()
    bench.core.start(bench.now)
    bench.core.token_is("t", bench.now)
    bench.jump(15)
    assert bench.is_in(State.WAITING)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "1", '{"type":"chat"}', '{"type":"ack","data":[]}', '{"data":{}}', '{"type":[]}'],
)
def test_what_is_no_frame_does_no_harm(text: str) -> None:
    bench = Bench()
    bench.connect()
    bench.core.frame(text, bench.now)
    assert bench.is_in(State.OPEN)
    bench.frame("friend_request", requestId=1)
    assert bench.events(Event)[-1] == Event("friend_request", {"requestId": 1})


def test_a_stop_is_the_end_of_the_connection_and_of_what_waits() -> None:
    bench = Bench()
    bench.connect()
    bench.send("a")
    bench.core.take()
    bench.core.stop("closed")
    bench.core.stop("closed")
    bench.core.abandon(SkyeError("closed"))
    assert [type(effect) for effect in bench.core.take()] == [Drop, Emit, Settle]
    assert bench.core.snapshot()["pending"] == []
