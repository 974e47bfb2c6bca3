"""The look at all logs finds what it is there for, in each process, and fails the run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.log_secrets import leaks, secrets
from tests.world import PUSH_SECRET, SECRET

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOjF9.c2lnbmF0dXJl"

IN_THE_TEST = "structlog.get_logger().info('opened', error='?{leak}')"
CAPTURED = "with structlog.testing.capture_logs():\n        " + IN_THE_TEST
BY_A_LIBRARY = "logging.getLogger('tornado').error('?{leak}')"
IN_A_CHILD = """subprocess.run([sys.executable, '-c', '''
import logging
logging.basicConfig()
logging.getLogger('x').error("?{leak}")
'''], check=True, stderr=subprocess.DEVNULL)"""
PRINTED = "print('?{leak}')"

LEAK = "token=of-somebody-{}"


def test_what_must_not_be_logged_is_found() -> None:
    lines = [
        f"opened {TOKEN}",
        "GET /ws?token=not-even-a-real-one HTTP/1.1",
        "Authorization: Bearer abcdefghijklmnop",
        "x-skyeim-push-secret: whatever-it-is",
        f"secret {SECRET!r}",
        f"{{'secret': '{PUSH_SECRET.replace(chr(39), '')}'}} {PUSH_SECRET}",
    ]
    assert leaks(lines) == lines


def test_what_may_be_logged_is_not() -> None:
    assert (
        leaks(
            [
                "GET /ws?token=*** HTTP/1.1",
                "Authorization: Bearer ***",
                "the token is missing",
                "token_renewed user=1001",
                "push_refused",
            ]
        )
        == []
    )


def test_the_secrets_of_the_tests_are_known() -> None:
    assert {SECRET, PUSH_SECRET} <= secrets()
    assert len(secrets()) > 5


def run(folder: Path, *bodies: str) -> subprocess.CompletedProcess[str]:
    """Run tests that log, each a token of its own."""
    (folder / "test_it.py").write_text(
        "import logging, subprocess, sys\nimport structlog, structlog.testing\n"
        + "".join(
            f"\n\ndef test_{number}():\n    {body}\n".replace("{leak}", LEAK.format(number))
            for number, body in enumerate(bodies)
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.log_secrets"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"{len(bodies)} passed" in done.stdout, done.stdout
    return done


def test_a_run_fails_for_each_way_to_log_a_token(tmp_path: Path) -> None:
    done = run(tmp_path, IN_THE_TEST, CAPTURED, BY_A_LIBRARY, IN_A_CHILD, PRINTED)
    assert done.returncode == 1, done.stdout
    found = set(re.findall(r"token=of-somebody-(\d)", done.stdout))
    assert found == {"0", "1", "2", "3"}, done.stdout


def test_a_run_without_one_does_not(tmp_path: Path) -> None:
    done = run(tmp_path, IN_THE_TEST.replace("{leak}", "token=***"), PRINTED)
    assert done.returncode == 0, done.stdout
