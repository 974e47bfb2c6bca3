"""A plugin of pytest: no token or secret may stand in what the processes of all tests have logged.

It looks at the end, at the lines of the gateways, services and workers that tests have started, and
of the code that ran in the tests themselves, which is not even masked. A test gives it the logs of
other programs by `keep`.
"""

import ast
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog

from tests.log_capture.sitecustomize import FOLDER_VARIABLE, keep, keep_what_is_logged

TESTS = Path(__file__).parent

_TOKEN = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}"  # a JSON Web Token
    r"|(?i:[?&]token=)(?!\*\*\*)[^\s&\"']{8,}"
    r"|(?i:\bbearer )(?!\*\*\*)[\w.~+/=-]{16,}"
    r"|(?i:push-secret: ?)(?!\*\*\*)\S{8,}"
)
_SHOWN = 300
_LEAST = 12
"""Characters of a secret that is looked for: a shorter one may be a word."""

_METHODS = ("msg", "log", "debug", "info", "warn", "warning", "error", "critical", "exception")


@cache
def secrets() -> frozenset[str]:
    """Return the secrets and passwords of the tests: constants with such names."""
    return frozenset(found for path in TESTS.rglob("*.py") for found in _constants(path))


def _constants(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(value))):
                secret = re.search("SECRET|PASSWORD", name) and "HEADER" not in name
                if secret and len(value) >= _LEAST:
                    yield value


def leaks(lines: Iterable[str]) -> list[str]:
    """Return the lines that hold a token or a secret."""
    return [
        line.rstrip()[:_SHOWN]
        for line in lines
        if _TOKEN.search(line) or any(secret in line for secret in secrets())
    ]


def keep_files(folder: Path) -> None:
    """Keep the logs of another program, which are in this folder."""
    for path in folder.glob("*.log"):
        keep(path.read_text(errors="replace"))


def pytest_configure(config: pytest.Config) -> None:
    """Have this process and those that it will start keep what they log."""
    if not hasattr(config, "workerinput"):  # the workers of pytest-xdist have it from their parent
        os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="skyeim-logs-")
        path = [str(TESTS / "log_capture"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    keep_what_is_logged()
    _keep_events()


def _keep_events() -> None:
    """Keep what our code logs in the process of a test, also where the test looks at it."""
    write = structlog.PrintLogger.msg
    capture = structlog.testing.LogCapture.__call__

    def printed(self: structlog.PrintLogger, message: str) -> None:
        keep(message)
        write(self, message)

    def captured(self: structlog.testing.LogCapture, logger: Any, method: str, event: Any) -> Any:
        keep(repr(event))
        return capture(self, logger, method, event)

    for method in _METHODS:
        setattr(structlog.PrintLogger, method, printed)
    structlog.testing.LogCapture.__call__ = captured  # type: ignore[method-assign, assignment]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole run if anything was found."""
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(os.environ[FOLDER_VARIABLE])
    found = []
    for path in sorted(folder.iterdir()):
        with path.open(errors="replace") as lines:
            found += leaks(lines)
    shutil.rmtree(folder)
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.section(f"{len(found)} log lines hold a token or a secret", red=True)
            for line in dict.fromkeys(found):
                reporter.line(line)
