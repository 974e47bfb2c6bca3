"""What each failure of a call means, and how often it is logged."""

import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import explanation
from skyeim_ws.logic.ports import Refused, Unavailable
from skyeim_ws.rpc.errors import LOG_INTERVAL, FailureLog, classify, is_refusal, status_code


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (StatusCode.INVALID_ARGUMENT, "", Reason.INVALID),
        (StatusCode.NOT_FOUND, "", Reason.GROUP_NOT_FOUND),
        (StatusCode.ALREADY_EXISTS, "", Reason.MSG_ID_CONFLICT),
        (StatusCode.ALREADY_EXISTS, "no_such_reason", Reason.MSG_ID_CONFLICT),
        (StatusCode.PERMISSION_DENIED, "muted", Reason.MUTED),
        (StatusCode.PERMISSION_DENIED, "blocked", Reason.BLOCKED),
        (StatusCode.INVALID_ARGUMENT, "not_member", Reason.NOT_MEMBER),
    ],
)
def test_a_refusal_has_the_reason_of_the_server_else_that_of_its_status(
    code: StatusCode, reason: str, expected: Reason
) -> None:
    found = classify(code, reason)
    assert isinstance(found, Refused)
    assert found.reason is expected
    assert found.phrase == explanation(expected)


@pytest.mark.parametrize("reason", ["", "role_too_low"])
def test_a_denial_without_a_known_reason_is_no_verdict(reason: str) -> None:
    assert classify(StatusCode.PERMISSION_DENIED, reason) is None


@pytest.mark.parametrize("code", [code for code in StatusCode if not is_refusal(code)])
def test_any_other_status_means_that_the_service_is_unavailable(code: StatusCode) -> None:
    assert isinstance(classify(code, "muted"), Unavailable)


def test_numbers_are_read_as_statuses() -> None:
    assert status_code(7) is StatusCode.PERMISSION_DENIED
    assert status_code(99) is StatusCode.UNKNOWN


def test_a_failure_is_logged_once_in_a_while_with_the_count_of_those_left_out() -> None:
    now = [100.0]
    failures = FailureLog("message", clock=lambda: now[0])
    with capture_logs() as logs:
        for _ in range(5):
            failures.note("SendBatch", StatusCode.UNAVAILABLE, 0.25)
        failures.note("SendBatch", StatusCode.INTERNAL, 0.25)
        failures.note("MarkAsRead", StatusCode.UNAVAILABLE, 0.25)
        now[0] += LOG_INTERVAL
        failures.note("SendBatch", StatusCode.UNAVAILABLE, 0.5)
        failures.note("SendBatch", StatusCode.UNAVAILABLE, 0.5)
    assert logs[0] == {
        "event": "rpc_failed",
        "log_level": "warning",
        "callee": "message",
        "method": "SendBatch",
        "code": "UNAVAILABLE",
        "duration": "250.0ms",
        "suppressed": 0,
    }
    assert [(entry["method"], entry["code"], entry["suppressed"]) for entry in logs] == [
        ("SendBatch", "UNAVAILABLE", 0),
        ("SendBatch", "INTERNAL", 0),
        ("MarkAsRead", "UNAVAILABLE", 0),
        ("SendBatch", "UNAVAILABLE", 4),
    ]
