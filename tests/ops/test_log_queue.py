"""A log that nobody reads stops nobody, and what was lost is counted and said."""

import contextlib
import io
import json
import logging
import os
import threading

import pytest
import structlog

from skyeim_ws.ops import log_queue
from skyeim_ws.ops.log_queue import QueuedHandler
from tests.waiting import DEADLINE, wait_for

LINES, SIZE = 5_000, 100


def test_a_pipe_that_nobody_reads_stops_nobody() -> None:
    logger = logging.getLogger("skyeim_ws.ops.log_queue")
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    reader, writer = os.pipe()
    with os.fdopen(reader) as source, os.fdopen(writer, "w") as stream:
        handler = QueuedHandler(logging.StreamHandler(stream), SIZE)
        logger.addHandler(handler)
        try:
            for number in range(LINES):
                logger.warning('{"number": %d, "padding": "%s"}', number, "x" * 100)
            assert 0 < handler.dropped < LINES
            found: list[str] = []
            reading = threading.Thread(target=lambda: found.extend(source))
            reading.start()
            wait_for(lambda: not handler.waiting, "the lines that had room")
            logger.warning('{"number": -1}')
        finally:
            logger.removeHandler(handler)
            handler.close()
            structlog.reset_defaults()
        stream.close()
        reading.join()
    entries = [json.loads(line) for line in found]
    said = [entry for entry in entries if "event" in entry]
    assert {entry["event"] for entry in said} == {"log_lines_dropped"}
    assert sum(entry["count"] for entry in said) == handler.dropped
    assert len(entries) - len(said) == LINES + 1 - handler.dropped


def test_what_has_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a process closes also the handlers that reloads have replaced."""
    monkeypatch.setattr(log_queue, "FLUSH_SECONDS", 100 * DEADLINE)
    handler = QueuedHandler(logging.StreamHandler(io.StringIO()), SIZE)
    for _ in range(3):
        closing = threading.Thread(target=logging.shutdown, args=[[lambda: handler]], daemon=True)
        closing.start()
        closing.join(DEADLINE)
        assert not closing.is_alive()


def test_what_cannot_be_written_is_counted() -> None:
    # What is left in its buffer cannot be written at its end either.
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        handler = QueuedHandler(logging.StreamHandler(full), SIZE)
        handler.handle(logging.makeLogRecord({"msg": "a line", "levelno": logging.ERROR}))
        wait_for(lambda: handler.dropped == 1, "a disk that is full")
        handler.close()
