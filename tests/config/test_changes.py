"""What differs between two configurations, and what of it a running gateway takes."""

from dataclasses import replace

from skyeim_ws.config.changes import LIVE, differences, with_live
from skyeim_ws.config.log import LogConf
from skyeim_ws.config.tree import Auth, Config, EmbeddedConf, PushEventConf
from skyeim_ws.config.web_socket import WebSocketConf
from tests.test_docs import keys

OLD = Config(name="old", port=1, auth=Auth(access_secret="old"))
NEW = replace(
    OLD,
    path="elsewhere",
    name="new",
    auth=Auth(access_secret="new", access_expire=9),
    web_socket=WebSocketConf(rate_limit=1, ping_interval=50.0),
    push_event=PushEventConf(secret="new", own_secret="not in the file"),
    log=LogConf(level="debug", encoding="plain"),
)


def test_every_difference_is_named_as_the_file_does() -> None:
    assert differences(OLD, OLD) == []
    assert differences(OLD, NEW) == [
        *("Name", "Auth.AccessSecret", "Auth.AccessExpire"),
        *("WebSocket.PingInterval", "WebSocket.RateLimit", "PushEvent.Secret"),
        *("Log.Encoding", "Log.Level"),
    ]


def test_a_section_that_comes_is_one_difference() -> None:
    assert differences(OLD, replace(OLD, embedded=EmbeddedConf())) == ["Embedded"]


def test_what_is_live_is_taken_and_nothing_else() -> None:
    taken = with_live(OLD, NEW)
    assert differences(OLD, taken) == [
        *("Auth.AccessSecret", "WebSocket.RateLimit", "PushEvent.Secret", "Log.Level"),
    ]
    assert (taken.path, taken.push_event.own_secret) == (OLD.path, OLD.push_event.own_secret)
    assert differences(taken, NEW) == [
        *("Name", "Auth.AccessExpire", "WebSocket.PingInterval", "Log.Encoding"),
    ]


def test_what_is_live_are_keys() -> None:
    assert {name for name, _ in keys(Config)} >= LIVE
