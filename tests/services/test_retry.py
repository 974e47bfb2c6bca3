"""Calls are run again only when that cannot do harm, and not for ever."""

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from skyeim_ws.contract.pb import friend_pb2, group_pb2, message_pb2
from skyeim_ws.services.retry import DEADLOCK_RETRIES, is_repeatable, with_retries


class Failing:
    """A call that fails some times before it answers."""

    def __init__(self, error: DBAPIError, failures: int) -> None:
        self.error = error
        self.failures = failures
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "answer"


def mysql_error(number: int, *, lost: bool = False) -> DBAPIError:
    return OperationalError("SELECT", None, Exception(number, "text"), connection_invalidated=lost)


@pytest.mark.gen_test
@pytest.mark.parametrize("number", [1213, 1205])
async def test_any_call_outlives_a_few_deadlocks(number: int) -> None:
    call = Failing(mysql_error(number), DEADLOCK_RETRIES)
    assert await with_retries("/group.Group/KickMember", call) == "answer"
    endless = Failing(mysql_error(number), 100)
    with pytest.raises(OperationalError):
        await with_retries("/group.Group/KickMember", endless)
    assert endless.calls == DEADLOCK_RETRIES + 1


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "calls"),
    [
        ("/message.Message/SendBatch", 2),
        ("/friend.Friend/IsFriend", 2),
        ("/friend.Friend/AddFriendRequest", 1),
        ("/group.Group/InviteMembers", 1),
    ],
)
async def test_after_a_lost_connection_only_what_may_happen_twice_is_run_once_more(
    method: str, calls: int
) -> None:
    call = Failing(mysql_error(2013, lost=True), 100)
    with pytest.raises(OperationalError):
        await with_retries(method, call)
    assert call.calls == calls


@pytest.mark.gen_test
async def test_a_server_that_cannot_be_reached_is_not_asked_again() -> None:
    call = Failing(mysql_error(2003), 100)
    with pytest.raises(OperationalError):
        await with_retries("/message.Message/SendBatch", call)
    assert call.calls == 1


def test_reads_and_sends_are_repeatable_and_nothing_else() -> None:
    names = {
        method.name
        for module in (friend_pb2, group_pb2, message_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    writes = {name for name in names if not name.startswith(("Get", "Search", "Is", "Check"))}
    repeatable = {name for name in writes if is_repeatable(name)}
    assert repeatable == {"SendMessage", "SendGroupMessage", "SendBatch", "UpdateGroupReadSeq"}
    assert "SendGroupInvitation" in writes
    assert all(is_repeatable(name) for name in names - writes)
