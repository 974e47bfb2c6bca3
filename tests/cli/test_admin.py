"""The admin commands against running services: what they do, print and refuse."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from skyeim_ws.cli import main as cli
from skyeim_ws.cli.admin.calls import addresses, call, connected
from skyeim_ws.config.check import load
from skyeim_ws.contract.pb import friend_pb2, message_pb2
from skyeim_ws.contract.pb.friend_pb2_grpc import FriendStub
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.process.embedded import services_address

T = TypeVar("T")

READY_DEADLINE = 60.0
BASE = "Name: ws\nPort: 10300\nMode: dev\nAuth: {AccessSecret: a-secret-of-more-than-32-bytes!!}\n"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d"

Admin = Callable[..., str]
"""Runs a command that must succeed and returns what it prints."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run the services in a process of their own; give the configuration that finds them."""
    folder = tmp_path_factory.mktemp("admin")
    (folder / "data").mkdir()
    command = [sys.executable, "-m", "skyeim_ws.services.server", "--demo"]
    command += ["--data-source", str(folder / "im.db")]
    command += ["--listen", services_address(folder / "data")]
    with (
        (folder / "services.log").open("wb") as log,
        subprocess.Popen(command, stderr=log) as process,
    ):
        try:
            asyncio.run(ready(services_address(folder / "data")))
            configured = folder / "ws.yaml"
            configured.write_text(f"{BASE}Embedded: {{DataDir: {folder / 'data'}}}\n")
            yield configured
        finally:
            process.terminate()


@pytest.fixture
def admin(file: Path, capsys: pytest.CaptureFixture[str]) -> Admin:
    def run(*words: str) -> str:
        code = cli.main(["admin", *words, "-f", str(file)])
        captured = capsys.readouterr()
        assert (code, captured.err) == (0, "")
        return captured.out

    return run


@pytest.fixture
def failure(file: Path, capsys: pytest.CaptureFixture[str]) -> Admin:
    """Run a command that must fail with exit code 1 and one line; give that line."""

    def run(*words: str, file: Path = file) -> str:
        code = cli.main(["admin", *words, "-f", str(file)])
        captured = capsys.readouterr()
        assert (code, captured.out) == (1, "")
        assert captured.err.startswith("error: ")
        assert captured.err.endswith("\n")
        assert captured.err.count("\n") == 1
        return captured.err.removeprefix("error: ").removesuffix("\n")

    return run


async def ready(address: str) -> None:
    async with asyncio.timeout(READY_DEADLINE), grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()


def ask(file: Path, question: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
    """Speak to the services of a configuration directly."""

    async def work() -> T:
        config = load(str(file)).config
        async with connected(await addresses(config, "message")) as channel:
            return await question(channel)

    return asyncio.run(work())


def columns(text: str) -> list[list[str]]:
    """Return the cells of a table, without its heading."""
    return [re.split(r" {2,}", line) for line in text.splitlines()[1:]]


def make_group(admin: Admin, *words: str) -> str:
    made = json.loads(admin("group", "create", "--name", "A team", "--json", *words))
    return str(made["group"]["groupId"])


def members(admin: Admin, group_id: str) -> dict[int, dict[str, Any]]:
    found = json.loads(admin("group", "members", group_id, "--json"))
    return {seat["userId"]: seat for seat in found["members"]}


def test_friends_are_made_once_shown_and_parted(admin: Admin) -> None:
    assert admin("friend", "add", "1", "2") == "1 and 2 are now friends\n"
    assert admin("friend", "add", "2", "1") == "2 and 1 are already friends\n"
    assert json.loads(admin("friend", "add", "1", "3", "--json")) == {
        "userId": 1,
        "friendId": 3,
        "friends": True,
        "already": False,
    }
    shown = admin("friend", "list", "1")
    assert shown.splitlines()[0].split() == ["FRIEND", "STATUS", "SINCE", "REMARK"]
    assert [row[:2] for row in columns(shown)] == [["2", "normal"], ["3", "normal"]]
    assert all(re.fullmatch(TIME, row[2]) for row in columns(shown))
    assert admin("friend", "remove", "1", "2") == "1 and 2 are no longer friends\n"
    assert json.loads(admin("friend", "remove", "1", "3", "--json"))["friends"] is False
    assert admin("friend", "list", "1") == "1 has no friends\n"
    assert json.loads(admin("friend", "list", "1", "--json")) == {
        "userId": 1,
        "friends": [],
        "total": 0,
    }


def test_a_request_that_the_friend_made_first_is_its_own_answer(admin: Admin, file: Path) -> None:
    request = friend_pb2.AddFriendRequestReq(from_user_id=12, to_user_id=11)
    ask(file, lambda channel: call(FriendStub(channel).AddFriendRequest, request))
    assert admin("friend", "add", "11", "12") == "11 and 12 are now friends\n"


def test_who_is_blocked_stays_in_the_list(admin: Admin) -> None:
    admin("friend", "add", "21", "22")
    assert admin("friend", "block", "21", "22") == "21 blocks 22\n"
    found = json.loads(admin("friend", "list", "21", "--json"))
    assert [(each["friendId"], each["status"]) for each in found["friends"]] == [(22, 2)]
    assert found["total"] == 1
    assert columns(admin("friend", "list", "21"))[0][:2] == ["22", "blocked"]
    assert columns(admin("friend", "list", "22"))[0][:2] == ["21", "normal"]
    undone = json.loads(admin("friend", "block", "21", "22", "--undo", "--json"))
    assert undone == {"userId": 21, "friendId": 22, "blocked": False}
    assert admin("friend", "block", "21", "22", "--undo") == "21 no longer blocks 22\n"
    assert columns(admin("friend", "list", "21"))[0][:2] == ["22", "normal"]


def test_a_group_is_made_shown_and_dismissed(admin: Admin, failure: Admin) -> None:
    created = admin("group", "create", "--owner", "31", "--name", "A team", "--members", "32, 33")
    found = re.fullmatch(r"created group (\S+) with owner 31, 3 members\n", created)
    assert found is not None
    group_id = found[1]
    shown = dict(line.split(maxsplit=1) for line in admin("group", "info", group_id).splitlines())
    assert re.fullmatch(TIME, shown.pop("created"))
    assert re.fullmatch(TIME, shown.pop("updated"))
    assert shown == {
        "group": group_id,
        "name": "A team",
        "owner": "31",
        "members": "3 of at most 200",
        "status": "normal",
        "description": "-",
    }
    ((listed, owner, count, created_at, name),) = columns(admin("group", "list", "--user", "32"))
    assert (listed, owner, count, name) == (group_id, "31", "3/200", "A team")
    assert re.fullmatch(TIME, created_at)
    machine = json.loads(admin("group", "list", "--user", "32", "--json"))
    assert (machine["total"], machine["groups"][0]["groupId"]) == (1, group_id)
    assert admin("group", "dismiss", group_id) == f"{group_id} was dismissed\n"
    assert json.loads(admin("group", "info", group_id, "--json"))["group"]["status"] == 2
    assert admin("group", "list", "--user", "32") == "32 is in no group\n"
    for words in (["dismiss"], ["kick", "32"], ["add", "34"]):
        assert "no such group" in failure("group", words[0], group_id, *words[1:])


def test_members_come_go_and_change(admin: Admin) -> None:
    group_id = make_group(admin, "--owner", "41", "--members", "42")
    assert admin("group", "add", group_id, "43", "44") == f"added 2 users to {group_id}\n"
    again = f"added 1 user to {group_id}; already in it: 42, 43\n"
    assert admin("group", "add", group_id, "42", "43", "45", "45") == again
    assert json.loads(admin("group", "add", group_id, "42", "46", "--json")) == {
        "groupId": group_id,
        "added": [46],
        "already": [42],
    }
    assert admin("group", "kick", group_id, "46") == f"46 is no longer in {group_id}\n"
    assert json.loads(admin("group", "kick", group_id, "45", "--json"))["member"] is False
    assert admin("group", "mute", group_id, "43") == f"43 is muted in {group_id}\n"
    assert json.loads(admin("group", "mute", group_id, "44", "--json"))["muted"] is True
    unmuted = admin("group", "mute", group_id, "44", "--undo")
    assert unmuted == f"44 is no longer muted in {group_id}\n"
    assert admin("group", "role", group_id, "44", "admin") == f"44 is now admin of {group_id}\n"
    assert json.loads(admin("group", "role", group_id, "43", "member", "--json"))["role"] == 3
    assert [row[:4] for row in columns(admin("group", "members", group_id))] == [
        ["41", "owner", "no", "0"],
        ["44", "admin", "no", "0"],
        ["42", "member", "no", "0"],
        ["43", "member", "yes", "0"],
    ]


def test_a_group_is_handed_over(admin: Admin) -> None:
    group_id = make_group(admin, "--owner", "51", "--members", "52")
    handed = admin("group", "role", group_id, "52", "owner")
    assert handed == f"52 is now owner of {group_id}, and 51 is admin\n"
    roles = {user: seat["role"] for user, seat in members(admin, group_id).items()}
    assert roles == {52: 1, 51: 2}
    # Further commands act in the name of the new owner.
    admin("group", "kick", group_id, "51")


def test_who_finds_no_room_is_named(admin: Admin, failure: Admin) -> None:
    group_id = make_group(admin, "--owner", "61", "--members", "62")
    newcomers = [str(user) for user in range(1000, 1199)]
    said = failure("group", "add", group_id, "62", *newcomers)
    assert said.startswith(f"added 198 users to {group_id}, but not 1198: ")
    assert f"`skyeim-ws admin group info {group_id}` shows whether there is room" in said


def test_history_is_shown_oldest_first_over_several_pages(admin: Admin, file: Path) -> None:
    admin("friend", "add", "71", "72")

    async def chat(channel: grpc.aio.Channel) -> None:
        items = [
            message_pb2.SendItem(
                private=message_pb2.SendMessageReq(
                    msg_id=f"admin-{n}",
                    from_user_id=71 + n % 2,
                    to_user_id=72 - n % 2,
                    content="1\n2\x1b[2J" if n == 129 else f"nr {n}",
                    content_type=1 if n < 129 else 2,
                )
            )
            for n in range(130)
        ]
        answer = await MessageStub(channel).SendBatch(message_pb2.SendBatchReq(items=items))
        assert {result.code for result in answer.results} == {0}

    ask(file, chat)
    between = ("message", "history", "--user", "71", "--peer", "72")
    everything = json.loads(admin(*between, "--limit", "130", "--json"))
    assert everything["hasMore"] is False
    assert [each["msgId"] for each in everything["messages"]] == [f"admin-{n}" for n in range(130)]
    last = everything["messages"][-1]
    assert last.pop("id") > 0
    assert last.pop("createdAt") > 0
    assert last == {
        "msgId": "admin-129",
        "fromUserId": 72,
        "toUserId": 71,
        "content": "1\n2\x1b[2J",
        "contentType": 2,
        "status": 0,
        "chatType": 1,
        "groupId": "",
        "seq": 0,
        "atUserIds": [],
    }
    heading, earlier, latest, more = admin(*between, "--limit", "2").splitlines()
    assert heading.split() == ["ID", "TIME", "FROM", "STATUS", "TYPE", "CONTENT"]
    assert re.split(" {2,}", earlier)[2:] == ["71", "unread", "text", "nr 128"]
    assert latest.endswith(r"unread  picture  1\n2\x1b[2J")
    assert more == "(there are older messages: raise --limit)"
    assert len(json.loads(admin(*between, "--json"))["messages"]) == 20
    assert admin("unread", "71") == "71 has 65 unread private messages\n"
    assert json.loads(admin("unread", "72", "--json")) == {"userId": 72, "count": 65}


def test_the_history_of_a_group_is_shown_to_a_member(
    admin: Admin, failure: Admin, file: Path
) -> None:
    group_id = make_group(admin, "--owner", "81")
    of_group = ("message", "history", "--group", group_id, "--user")
    assert admin(*of_group, "81") == "there are no messages\n"
    request = message_pb2.SendGroupMessageReq(
        msg_id="admin-g", from_user_id=81, group_id=group_id, content="你好", content_type=1
    )
    ask(file, lambda channel: call(MessageStub(channel).SendGroupMessage, request))
    shown = admin(*of_group, "81")
    assert shown.splitlines()[0].split()[3] == "SEQ"
    assert columns(shown)[0][2:] == ["81", "1", "text", "你好"]
    assert "not a member" in failure(*of_group, "82")
    assert admin("unread", "81") == "81 has no unread private messages\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("friend add 90 90", "a user cannot be a friend of himself"),
        ("friend remove 90 91", "`skyeim-ws admin friend list USER`"),
        ("friend block 90 91", "not friends"),
        ("group info none", "no such group"),
        ("group members none", "`skyeim-ws admin group list --user USER`"),
        ("group add none 90", "no such group"),
        ("group kick g_demo 90", "`skyeim-ws admin group members GROUP`"),
        ("group mute g_demo 90", "not a member"),
        ("group kick g_demo 1001", "`skyeim-ws admin group role GROUP USER owner`"),
        ("group role g_demo 1001 member", "owns the group"),
        ("message history --user 90 --group none", "no such group"),
        ("group create --owner 90 --name", "name"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(words: str, said: str, failure: Admin) -> None:
    name = ["x" * 65] if words.endswith("--name") else []
    assert said in failure(*words.split(), *name)


def test_it_runs_as_a_process(file: Path) -> None:
    command = [sys.executable, "-m", "skyeim_ws", "admin", "group", "members", "g_demo"]
    command += ["-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [row[0] for row in columns(done.stdout)] == ["1001", "1002", "1003"]
    assert done.stderr == ""


def test_a_reader_who_has_left_is_no_failure(file: Path) -> None:
    command = [sys.executable, "-m", "skyeim_ws", "admin", "unread", "1001", "-f", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_endpoints_are_tried_in_order(
    file: Path, tmp_path: Path, failure: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = file.parent / "data"
    configured = tmp_path / "ws.yaml"
    first, second = f"unix:{tmp_path}/none.sock", services_address(data_dir)
    configured.write_text(
        f"{BASE}Embedded:\nMessageRpc: {{Endpoints: ['{first}', '{second}']}}\n"
        f"FriendRpc: {{Target: '{first}'}}\n"
        "GroupRpc: {Etcd: {Hosts: ['127.0.0.1:1'], Key: group.rpc}}\n"
    )
    assert cli.main(["admin", "unread", "1001", "-f", str(configured)]) == 0
    assert capsys.readouterr().err == ""
    assert f"at {first}: " in failure("friend", "list", "1", file=configured)
    assert "cannot ask etcd for the group service" in failure("group", "info", "g", file=configured)
