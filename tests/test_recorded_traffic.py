"""The look at all traffic finds what no document has, in each process, and fails the run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.log_capture.traffic_capture import FOLDER_VARIABLE
from tests.recorded_traffic import faults

CHAT = {"toUserId": 1002, "content": "hi", "msgId": "m"}
COUNT = "/message/unread/count"
ACCEPTED = '{"code":200,"message":"success","data":{"count":1}}'

IN_THE_TEST = "messages.raw_frame('pong', b'{}')"
IN_A_CHILD = """subprocess.run([sys.executable, '-c', '''
from skyeim_ws.conn import messages
messages.raw_frame("pong", b"{}")
'''], check=True)"""


def kept(way: str, frame: Any, *about: str, test: str = "tests/web/test_page.py::test") -> str:
    text = frame if isinstance(frame, str) else json.dumps(frame)
    return json.dumps({"test": test, "way": way, "text": text, "about": about})


RIGHT = [
    kept("out", {"type": "pong", "data": {"timestamp": 1}}),
    kept("in by an SDK", {"type": "chat", "data": CHAT}),
    kept("in by an SDK", {"type": "ping", "data": {}}),
    kept("in", {"type": "chat", "data": CHAT | {"content": ""}}),
    kept("in", "no frame"),
    kept("in", {"type": "unknown", "data": None}),
    kept("answer", ACCEPTED, "GET", COUNT, "200"),
    kept("out", {"type": "pong", "data": {}}, test="tests/conn/test_client.py::test"),
]
WRONG = [
    kept("out", {"type": "pong", "data": {}}),
    kept("in by an SDK", {"type": "chat", "data": CHAT | {"content": ""}}),
    kept("in by an SDK", {"type": "chat", "data": CHAT | {"more": 1}}),
    kept("in by an SDK", {"type": "unknown", "data": {}}),
    kept("in by an SDK", "no frame"),
    kept("answer", ACCEPTED.replace("1", '"1"'), "GET", COUNT, "200"),
]


def test_what_is_documented_is_no_fault() -> None:
    assert list(faults(RIGHT)) == []


@pytest.mark.parametrize("line", WRONG)
def test_what_is_not_is_told_with_its_test(line: str) -> None:
    [fault] = faults([line])
    assert fault.startswith(f"tests/web/test_page.py::test: {json.loads(line)['way']}: ")


def test_a_run_fails_for_what_passed_in_any_process(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import subprocess, sys\n\n\ndef test_it():\n"
        f"    from skyeim_ws.conn import messages\n    {IN_THE_TEST}\n"
        f"\n\ndef test_child():\n    {IN_A_CHILD}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.recorded_traffic"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    environment = {**os.environ, FOLDER_VARIABLE: ""}
    done = subprocess.run(
        [*command, str(tmp_path)], capture_output=True, text=True, check=False, env=environment
    )
    assert "2 passed" in done.stdout, done.stdout
    assert done.returncode == 1, done.stdout
    assert "test_it: out" in done.stdout, done.stdout
    assert "test_child: out" in done.stdout, done.stdout
