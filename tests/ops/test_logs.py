"""The log: one format for all loggers, levels, files, and no secret in any of it."""

import json
import logging
import re
import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import structlog
from tornado.httputil import HTTPInputError

from skyeim_ws.config.log import FieldKeysConf, LogConf
from skyeim_ws.contract.names import SLOW_LOG, STAT_LOG
from skyeim_ws.contract.timing import Timings
from skyeim_ws.ops import logs
from tests.log_capture.sitecustomize import FOLDER_VARIABLE

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOjF9.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the process its own logging back."""
    # These tests log secrets, and look themselves at what is written.
    monkeypatch.delenv(FOLDER_VARIABLE)
    loggers = [logging.getLogger(name) for name in (None, "skyeim_ws", "tornado.access")]
    before = [(log, log.level, log.propagate, list(log.handlers)) for log in loggers]
    yield
    for log, level, propagate, handlers in before:
        for added in set(log.handlers) - set(handlers):
            added.close()
        log.setLevel(level)
        log.propagate, log.handlers = propagate, handlers
    structlog.reset_defaults()


def flush() -> None:
    """Wait until the thread has written what was logged."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def written(capfd: pytest.CaptureFixture[str]) -> str:
    flush()
    return capfd.readouterr().out


def lines(captured: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.splitlines()]


def test_an_event_is_one_json_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(service_name="ws"), process="gateway", dev=False)
    structlog.get_logger("skyeim_ws.test").warning("redis_lost", error="gone\nfar", attempt=2)
    (entry,) = lines(written(capfd))
    stamp, caller = entry.pop("@timestamp"), entry.pop("caller")
    assert datetime.fromisoformat(stamp).tzinfo is not None
    assert re.fullmatch(r"ops/test_logs\.py:\d+", caller)
    assert list(entry.items()) == [
        ("level", "warn"),
        ("content", "redis_lost"),
        ("service", "ws"),
        ("process", "gateway"),
        ("error", "gone\nfar"),
        ("attempt", 2),
    ]


@pytest.mark.parametrize("name", ["tornado.application", "grpc", "asyncio"])
def test_library_loggers_have_the_same_format(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(service_name="ws"), process="gateway", dev=False)
    logging.getLogger(name).error("failed: %s", "why")
    (entry,) = lines(written(capfd))
    assert (entry["content"], entry["level"], entry["service"]) == ("failed: why", "error", "ws")


def test_an_exception_is_a_field(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(), process="gateway", dev=False)
    for log in (structlog.get_logger("skyeim_ws.test"), logging.getLogger("tornado.general")):
        try:
            raise ValueError(f"bad ?token={TOKEN}")
        except ValueError:
            log.exception("turn_failed")
    entries = lines(written(capfd))
    assert [entry["content"] for entry in entries] == ["turn_failed", "turn_failed"]
    for entry in entries:
        assert "ValueError: bad ?token=***" in entry["exception"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warn", "error", "fatal"]),
        ("info", ["info", "warn", "error", "fatal"]),
        ("warn", ["warn", "error", "fatal"]),
        ("error", ["error", "fatal"]),
        ("severe", ["fatal"]),
    ],
)
def test_levels_are_those_of_go_zero(
    level: Any, shown: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure(LogConf(level=level), process="gateway", dev=False)
    log = structlog.get_logger("skyeim_ws.test")
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(log, method)("something_happened")
    assert [entry["level"] for entry in lines(written(capfd))] == shown


def test_libraries_never_log_at_debug(capfd: pytest.CaptureFixture[str]) -> None:
    """A database driver's debug lines hold the rows, so the content of messages."""
    logs.configure(LogConf(level="debug"), process="gateway", dev=False)
    logging.getLogger("aiosqlite").debug("executing insert into im_message")
    assert written(capfd) == ""


def test_requests_are_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(level="debug"), process="gateway", dev=False)
    logging.getLogger("tornado.access").error("500 GET /ws?token=x")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_secrets_are_masked_by_name_and_by_look(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(), process="gateway", dev=False)
    structlog.get_logger("skyeim_ws.test").error(
        "refused",
        access_token="hush",
        prev_secret="hush",
        password=1234,
        headers={"Authorization": "hush", "Host": "h"},
        uri=f"/ws?token={TOKEN}&device=1",
        error=ValueError(f"Bearer {TOKEN}"),
        seen=[TOKEN, 3, None],
    )
    captured = written(capfd)
    assert "hush" not in captured
    assert "eyJ" not in captured
    (entry,) = lines(captured)
    assert entry["headers"] == {"Authorization": "***", "Host": "h"}
    assert entry["uri"] == "/ws?token=***&device=1"
    assert entry["seen"] == ["***", 3, None]
    assert entry["password"] == "***"


def test_a_status_is_a_number(capfd: pytest.CaptureFixture[str]) -> None:
    for encoding, wanted in (("plain", "status=503"), ("json", '"status": 503')):
        logs.configure(LogConf(encoding=encoding), process="gateway", dev=False)  # type: ignore[arg-type]
        structlog.get_logger("skyeim_ws.test").warning(
            "request_failed", status=HTTPStatus.SERVICE_UNAVAILABLE
        )
        assert wanted in written(capfd)


@pytest.mark.parametrize("encoding", ["plain", "json"])
def test_a_value_has_no_control_characters(
    encoding: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure(LogConf(encoding=encoding), process="gateway", dev=False)
    tricks = "a\x1b[31m\x00b\x85c\u202ed\u2066e\nforged line\r\x7f\u2028\ud800"
    structlog.get_logger("skyeim_ws.test").info("connection_opened", device=tricks)
    said = written(capfd)
    assert len(said.splitlines()) == 1
    for trick in (
        "\x1b",
        "\x00",
        "\x85",
        "\u202e",
        "\u2066",
        "\r",
        "\x7f",
        "\u2028",
        "\\u00",
        "\\n",
    ):
        assert trick not in said


def test_a_line_of_tornado_quotes_no_header(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(), process="gateway", dev=False)
    log = logging.getLogger("tornado.general")
    log.info("Malformed HTTP message from %s: %s", "10.0.0.1", HTTPInputError("Malformed: 'hush'"))
    log.warning("SSL Error on %s %s: %s", 7, ("10.0.0.1", 5), ssl.SSLError("wrong version number"))
    first, second = lines(written(capfd))
    assert first["content"] == "Malformed HTTP message from 10.0.0.1: Malformed"
    assert "wrong version number" in second["content"]


def test_lines_that_anyone_can_cause_are_limited_and_counted(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    logs.configure(LogConf(), process="gateway", dev=False)
    ours, theirs = structlog.get_logger("skyeim_ws.test"), logging.getLogger("tornado.general")
    for number in range(logs.LINES_PER_MINUTE + 7):
        ours.info("call_refused", number=number)
        theirs.info("Malformed HTTP message from %s: %s", "10.0.0.1", HTTPInputError("x"))
        ours.info("connection_opened", number=number)
    said = [entry["content"] for entry in lines(written(capfd))]
    assert said.count("call_refused") == logs.LINES_PER_MINUTE
    assert len([event for event in said if event.startswith("Malformed")]) == logs.LINES_PER_MINUTE
    assert said.count("connection_opened") == logs.LINES_PER_MINUTE + 7
    now += 60
    ours.info("call_refused")
    told = lines(written(capfd))
    assert [(line["content"], line.get("kind"), line.get("count")) for line in told] == [
        ("log_lines_left_out", "call_refused", 7),
        ("log_lines_left_out", "Malformed HTTP message from %s", 7),
        ("call_refused", None, None),
    ]


def test_plain_is_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    """No colour codes, unless a person looks at a terminal."""
    logs.configure(LogConf(encoding="plain"), process="gateway", dev=True)
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger("skyeim_ws.test").exception("turn_failed", user_id=7)
    captured = written(capfd)
    assert "turn_failed" in captured
    assert "user_id=7" in captured
    assert "ValueError: why" in captured
    assert "\x1b" not in captured


def test_long_texts_are_cut_where_asked(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(max_content_length=10), process="gateway", dev=False)
    structlog.get_logger("skyeim_ws.test").error("refused", error="x" * 100)
    (entry,) = lines(written(capfd))
    assert entry["error"] == "x" * 10


def test_a_second_call_replaces_the_first(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConf(service_name="one"), process="gateway", dev=False)
    logs.configure(LogConf(service_name="two"), process="gateway", dev=False)
    structlog.get_logger("skyeim_ws.test").error("once")
    assert [entry["service"] for entry in lines(written(capfd))] == ["two"]


@pytest.mark.parametrize("mode", ["file", "volume"])
def test_files_are_those_of_go_zero(mode: Any, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    conf = LogConf(mode=mode, path=str(folder), service_name="ws", level="debug")
    logs.configure(conf, process="gateway", dev=True)
    log = structlog.get_logger("skyeim_ws.test")
    for method in ("debug", "info", "warning", "error", "critical"):
        getattr(log, method)("something_happened")
    structlog.get_logger(STAT_LOG).info("stat")
    structlog.get_logger(SLOW_LOG).warning("slow_rpc", duration="700.0ms")
    flush()
    place = folder if mode == "file" else folder / "ws" / socket.gethostname()
    found = {
        file.name: [entry["level"] for entry in lines(file.read_text())] for file in place.iterdir()
    }
    assert found == {
        "access.log": ["debug", "info"],
        "error.log": ["warn", "error"],
        "severe.log": ["fatal"],
        "stat.log": ["stat"],
        "slow.log": ["slow"],
    }


def test_each_process_is_named_and_has_files_of_its_own(tmp_path: Path) -> None:
    """Processes that turned over one file would lose lines."""
    config = LogConf(mode="file", path=str(tmp_path), service_name="ws")
    for process, place in (
        ("parent", "."),
        ("worker-0", "worker-0"),
        ("worker-1", "worker-1"),
        ("services", "services"),
    ):
        logs.configure(config, process=process, dev=False)
        structlog.get_logger("skyeim_ws.test").info("began")
        flush()
        (entry,) = lines((tmp_path / place / "access.log").read_text())
        assert (entry["content"], entry["process"], entry["service"]) == ("began", process, "ws")


def test_no_field_of_an_event_takes_the_place_of_one_of_all_lines(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.configure(LogConf(service_name="ws"), process="worker-3", dev=False)
    structlog.get_logger("skyeim_ws.test").info(
        "began", service="x", process="x", content="x", caller="x", other="y"
    )
    (entry,) = lines(written(capfd))
    assert [entry[key] for key in ("service", "process", "content", "other")] == [
        *("ws", "worker-3", "began", "y"),
    ]
    assert entry["caller"].startswith("ops/test_logs.py:")


def test_what_is_slow_is_logged_by_whoever_was_slow(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else the logger of the module would keep this configuration, also for the tests after this.
    monkeypatch.setattr("skyeim_ws.contract.timing.log", structlog.get_logger(SLOW_LOG))
    logs.configure(LogConf(), process="gateway", dev=False)
    Timings(0.1).note("slow_rpc", 0.2, "label", method="Send")
    (entry,) = lines(written(capfd))
    assert entry.pop("@timestamp")
    assert entry.pop("caller").startswith("ops/test_logs.py:")
    assert entry == {
        "level": "slow",
        "content": "slow_rpc",
        "duration": "200.0ms",
        "process": "gateway",
        "method": "Send",
    }


def test_fields_have_the_names_that_are_configured(capfd: pytest.CaptureFixture[str]) -> None:
    keys = FieldKeysConf(
        **{f"{name}_key": name[0] for name in ("timestamp", "level", "content", "span")},
        caller_key="from",
        duration_key="took",
        trace_key="trace_id",
        truncated_key="cut",
    )
    conf = LogConf(field_keys=keys, time_format="02/Jan/06 15h", max_content_length=5)
    logs.configure(conf, process="gateway", dev=False)
    structlog.get_logger("skyeim_ws.test").info(
        "began", duration="1.0ms", trace="a", span="b", error="x" * 9
    )
    (entry,) = lines(written(capfd))
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d\d \d\dh", entry.pop("t"))
    assert entry.pop("from").startswith("ops/test_logs.py:")
    assert list(entry.items()) == [
        *(("l", "info"), ("c", "began"), ("took", "1.0ms"), ("trace_id", "a"), ("s", "b")),
        *(("process", "gateway"), ("error", "xxxxx"), ("cut", True)),
    ]


def test_files_that_were_moved_away_are_opened_anew(tmp_path: Path) -> None:
    conf = LogConf(mode="file", path=str(tmp_path))
    logs.configure(conf, process="gateway", dev=False)
    log = structlog.get_logger("skyeim_ws.test")
    log.info("before")
    flush()
    (tmp_path / "access.log").rename(tmp_path / "moved")
    logs.reopen(conf, process="gateway")
    log.info("after")
    flush()
    for name, event in (("moved", "before"), ("access.log", "after")):
        assert [each["content"] for each in lines((tmp_path / name).read_text())] == [event]
