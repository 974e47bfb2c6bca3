"""What Redis says when it takes no writes for now, as a command and in a script."""

import pytest
from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError, ResponseError

from skyeim_ws.store.read_only import is_demoted, is_read_only

IN_SCRIPT = (
    "Error running script (call to f_0f6c): @user_script:3: @user_script: 3: "
    "-OOM command not allowed when used memory > 'maxmemory'."
)


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        ResponseError(IN_SCRIPT),
        ResponseError(IN_SCRIPT.replace("OOM", "READONLY")),
        ConnectionError("gone"),
    ],
)
def test_what_is_tried_again(error: Exception) -> None:
    assert is_read_only(error)


@pytest.mark.parametrize(
    "text",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "unknown command 'FOO'",
        IN_SCRIPT.replace("OOM", "WRONGTYPE"),
        "Error compiling script (new function): user_script:1: '=' expected near '-OOM '",
    ],
)
def test_what_would_fail_again(text: str) -> None:
    assert not is_read_only(ResponseError(text))


@pytest.mark.parametrize(
    ("error", "demoted"),
    [
        (ReadOnlyError("You can't write against a read only replica."), True),
        (MasterDownError("Link with MASTER is down"), True),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), True),
        (ResponseError(IN_SCRIPT.replace("OOM", "READONLY")), True),
        (ResponseError(IN_SCRIPT), False),
        (OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), False),
        (ResponseError("WRONGTYPE Operation against a key"), False),
        (ConnectionError("gone"), False),
    ],
)
def test_what_says_that_a_server_is_no_master(error: Exception, demoted: bool) -> None:
    assert is_demoted(error) is demoted
