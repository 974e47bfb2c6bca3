"""How the admin commands take what a service may answer, or fail to."""

import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from skyeim_ws.cli import main as cli
from skyeim_ws.cli.admin import calls as admin_calls
from skyeim_ws.cli.admin import friends as admin_friends
from skyeim_ws.cli.admin import groups as admin_groups
from skyeim_ws.cli.admin import messages as admin_messages
from skyeim_ws.cli.admin.calls import AdminError, call, connected
from skyeim_ws.contract.pb import friend_pb2, group_pb2, message_pb2
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from skyeim_ws.process.embedded import services_address
from tests.rpc.servers import Handler, failing, hang, serving


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a configuration whose services are embedded, with their data in a folder to come."""
    file = tmp_path / "ws.yaml"
    file.write_text(
        "Name: ws\nPort: 10300\nMode: dev\nAuth: {AccessSecret: a-secret-of-more-than-32-bytes!!}\n"
        f"Embedded: {{DataDir: {tmp_path / 'data'}}}\n"
    )
    return file


def unread(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; return what it prints."""
    assert cli.main(["admin", "unread", "1", "-f", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_without_services_it_says_how_to_start_them(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = "start them with `skyeim-ws serve` or `skyeim-ws services`\n"
    nowhere = f"error: no business services at {tmp_path / 'data'}: {start}"
    assert unread(file, capsys) == nowhere
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    address = services_address(tmp_path / "data")
    assert unread(file, capsys) == f"error: no business services at {address}: {start}"


def test_a_data_folder_of_the_unit_is_found_from_any_folder(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(file.read_text().replace(str(tmp_path / "data"), "data"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(admin_calls, "STATE_FOLDER", tmp_path)
    assert unread(file, capsys).startswith(f"error: no business services at {elsewhere / 'data'}:")
    (tmp_path / "data").mkdir()
    address = services_address(tmp_path / "data")
    assert unread(file, capsys).startswith(f"error: no business services at {address}:")


def test_a_data_folder_that_cannot_be_used_is_named(
    file: Path,
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "data").mkdir()
    run = tmp_path / "data" / "run"
    run.write_text("in the way")
    said = f"error: cannot use the data folder {tmp_path / 'data'}: File exists: run this as "
    assert unread(file, capsys).startswith(said)

    # The folder for sockets of a deep data folder, if others may write to it.
    deep = tmp_path / ("d" * 110)
    deep.mkdir()
    file.write_text(file.read_text().replace(str(tmp_path / "data"), str(deep)))
    # A short one: the socket's path has to fit, or that is what is said.
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    outside = Path(services_address(deep).removeprefix("unix:")).parent
    outside.chmod(0o777)
    assert unread(file, capsys).startswith(f"error: the folder {outside} is not this user's alone")


def test_a_wrong_configuration_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unread(tmp_path / "none.yaml", capsys).startswith("error: config file ")


async def said_by(handler: Handler, folder: Path) -> str:
    """Return what an operator reads when the service answers like this."""
    async with (
        serving(f"unix:{folder}/s.sock", friend={"IsFriend": handler}) as address,
        connected([address]) as channel,
    ):
        with pytest.raises(AdminError) as caught:
            await call(FriendStub(channel).IsFriend, friend_pb2.IsFriendReq())
    return str(caught.value)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("code", "details", "said"),
    [
        (StatusCode.UNAVAILABLE, "no database", "the services failed (UNAVAILABLE: no database)"),
        (StatusCode.INTERNAL, "", "(INTERNAL: no more is known): look at their log"),
        (StatusCode.UNIMPLEMENTED, "no", "do not offer this (no): use a newer release"),
        # Existing services name no reason, only a text.
        (StatusCode.PERMISSION_DENIED, "not yours", "not yours"),
    ],
)
async def test_each_status_is_explained(
    code: StatusCode, details: str, said: str, tmp_path: Path
) -> None:
    assert said in await said_by(failing(code, details), tmp_path)


@pytest.mark.gen_test
async def test_a_service_that_does_not_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_calls, "DEADLINE", 0.5)
    assert "did not answer within 0.5 s" in await said_by(hang, tmp_path)


@pytest.mark.gen_test
async def test_a_server_that_speaks_no_grpc_is_no_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_calls, "DEADLINE", 0.5)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s.sock")
        listener.listen()
        with pytest.raises(AdminError, match="no business services"):
            async with connected([f"unix:{tmp_path}/s.sock"]):
                pass


@pytest.mark.gen_test
async def test_a_request_that_cannot_be_accepted_is_an_error(tmp_path: Path) -> None:
    async def none(request: Any, context: Any) -> friend_pb2.IsFriendResp:
        return friend_pb2.IsFriendResp()

    async def asked(request: Any, context: Any) -> friend_pb2.AddFriendRequestResp:
        return friend_pb2.AddFriendRequestResp(request_id=1)

    refuse = failing(StatusCode.NOT_FOUND, "there is no such request", "request_not_found")
    methods = {"IsFriend": none, "AddFriendRequest": asked, "HandleFriendRequest": refuse}
    arguments = cli.make_parser().parse_args(["admin", "friend", "add", "1", "2"])
    async with (
        serving(f"unix:{tmp_path}/s.sock", friend=methods) as address,
        connected([address]) as channel,
    ):
        with pytest.raises(AdminError, match="there is no such request"):
            await admin_friends.add(channel, arguments)


@pytest.mark.gen_test
async def test_a_change_is_done_when_its_status_says_so(tmp_path: Path) -> None:
    """Existing servers leave `success` unset although they have done it."""

    async def group(request: Any, context: Any) -> group_pb2.GetGroupInfoResp:
        return group_pb2.GetGroupInfoResp(group=group_pb2.GroupInfo(owner_id=1))

    async def done(request: Any, context: Any) -> group_pb2.KickMemberResp:
        return group_pb2.KickMemberResp()

    arguments = cli.make_parser().parse_args(["admin", "group", "kick", "g", "2"])
    async with (
        serving(
            f"unix:{tmp_path}/s.sock", group={"GetGroupInfo": group, "KickMember": done}
        ) as address,
        connected([address]) as channel,
    ):
        answer = await admin_groups.kick(channel, arguments)
    assert answer.data == {"groupId": "g", "userId": 2, "member": False}


@pytest.mark.gen_test
async def test_a_server_that_promises_more_but_gives_nothing_ends_the_history(
    tmp_path: Path,
) -> None:
    async def promise(request: Any, context: Any) -> message_pb2.GetMessageListResp:
        return message_pb2.GetMessageListResp(has_more=True)

    arguments = cli.make_parser().parse_args(
        ["admin", "message", "history", "--user", "1", "--peer", "2"]
    )
    async with (
        serving(f"unix:{tmp_path}/s.sock", message={"GetMessageList": promise}) as address,
        connected([address]) as channel,
    ):
        answer = await admin_messages.history(channel, arguments)
    assert answer.data == {"messages": [], "hasMore": False}
