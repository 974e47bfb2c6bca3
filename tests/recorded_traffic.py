"""A plugin of pytest: what has passed through all gateways of all tests must be as documented.

The users of the tests check what they see themselves, and fail at once. Here are the others: pages
in a browser, both SDKs, chats in a terminal, and gateways that are processes of their own.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.log_capture.traffic_capture import FOLDER_VARIABLE, keep_what_passes

_NO_GATEWAY = ("tests/conn/", "tests/logic/", "tests/autobahn/")
"""Tests of parts, which make and get frames that no gateway would."""

_SHOWN = 400

_HALF_A_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
"""Refused before the fields are looked at; no schema can say that."""


def faults(lines: Iterable[str]) -> Iterator[str]:
    """Give what is wrong with what was kept, each with the test in which it passed."""
    from tests.api import traffic

    for line in lines:
        kept: dict[str, Any] = json.loads(line)
        if kept["test"].startswith(_NO_GATEWAY):
            continue
        try:
            match kept["way"]:
                case "out":
                    traffic.check_received(json.loads(kept["text"]))
                case "answer":
                    method, path, status = kept["about"]
                    traffic.check_answer(method, path, int(status), kept["text"].encode())
                case "in":
                    _check_sent(kept["text"])
                case _:
                    traffic.check_own(json.loads(kept["text"]))
        except (traffic.UndocumentedError, ValueError, LookupError, TypeError) as error:
            yield f"{kept['test']}: {kept['way']}: {error!r}"[:_SHOWN]


def _check_sent(text: str) -> None:
    from tests.api import traffic

    try:
        frame = json.loads(text)
        kind, data = frame["type"], frame["data"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return  # refused by whoever reads it, which tests of that look at
    if isinstance(kind, str) and isinstance(data, dict) and not _HALF_A_CHARACTER.search(text):
        traffic.check_sent(kind, data)


def pytest_configure(config: pytest.Config) -> None:
    """Have this process and those that it will start keep what passes."""
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist have it from their parent
        os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="skyeim-traffic-")
    keep_what_passes()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run if anything was found."""
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(os.environ[FOLDER_VARIABLE])
    found: list[str] = []
    for path in sorted(folder.iterdir()):
        with path.open() as lines:
            found += faults(lines)
    shutil.rmtree(folder)
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.section(f"{len(found)} frames or answers are not as documented", red=True)
            for line in dict.fromkeys(found):
                reporter.line(line)
