"""Has a process of a test keep what it logs, for the look at the end of all tests.

A process that is killed has kept what it has logged until then. Only what a handler of the
standard library has written is a log: what a program prints for a person may well be a token.
"""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "SKYEIM_TEST_LOGS"

_CLIENT = "websockets.client"
"""The client of the tests may say what it sends."""


@cache
def _file(folder: str, _process: int) -> int:
    # Kept open: a test may leave the process no descriptor.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(Path(folder, f"{os.getpid()}.log"), flags, 0o600)


def keep(text: str) -> None:
    """Keep a text that was logged, if anybody looks at the end."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        os.write(_file(folder, os.getpid()), text.encode(errors="replace") + b"\n")


def keep_what_is_logged() -> None:
    """Keep what any handler that writes to a stream or a file is given, from now on."""
    emit = logging.StreamHandler.emit

    def kept(self: "logging.StreamHandler[Any]", record: logging.LogRecord) -> None:
        if not str(record.name).startswith(_CLIENT):
            keep(self.format(record))
        emit(self, record)

    logging.StreamHandler.emit = kept  # type: ignore[method-assign, assignment]


if FOLDER_VARIABLE in os.environ and __name__ == "sitecustomize":
    keep_what_is_logged()
    from traffic_capture import keep_what_passes  # type: ignore[import-not-found]

    keep_what_passes()
