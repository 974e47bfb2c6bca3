"""The program takes as many descriptors as it may have, and says when these are too few."""

import subprocess
import sys

import pytest

PROGRAM = (
    "import resource\n"
    "from skyeim_ws.process.descriptors import raise_limit\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
    "print(raise_limit({max_conns}), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
)


@pytest.mark.parametrize(
    ("hard", "max_conns", "warned"), [(500, 400, False), (500, 401, True), (500, 0, False)]
)
def test_the_limit_is_raised_and_compared(hard: int, max_conns: int, *, warned: bool) -> None:
    program = PROGRAM.format(soft=100, hard=hard, max_conns=max_conns)
    said = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert said.splitlines()[-1] == f"{hard} ({hard}, {hard})"
    assert ("descriptor_limit_low" in said) is warned
    assert (f"limit={hard} wanted={max_conns + 100}" in said) is warned
