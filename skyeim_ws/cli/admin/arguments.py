"""`skyeim-ws admin`: the arguments of the operators' commands, and how a command is run."""

import argparse
import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from skyeim_ws.config.check import load
from skyeim_ws.config.loader import parse_duration

MAX_MSG_ID = 64

MAX_NOTICE = 1_000
"""Characters of what everybody is told."""

MAX_HISTORY = 10_000
"""Messages that one command shows at most."""

_FRIEND_EXAMPLES = """\
  skyeim-ws admin friend add 1001 1002
  skyeim-ws admin friend list 1001 --json
  skyeim-ws admin friend block 1001 1002 --undo
"""
_GROUP_EXAMPLES = """\
  skyeim-ws admin group create --owner 1001 --name "Team" --members 1002,1003
  skyeim-ws admin group members g_demo
  skyeim-ws admin group add g_demo 1004 1005
  skyeim-ws admin group role g_demo 1002 admin
"""
_MESSAGE_EXAMPLES = """\
  skyeim-ws admin message history --user 1001 --peer 1002 --limit 50
  skyeim-ws admin message history --user 1001 --group g_demo
  skyeim-ws admin message show 01a21a4d2c07735ebec6e718f9a35e4b
"""
_USER_EXAMPLES = """\
  skyeim-ws admin user show 1002
  skyeim-ws admin user queue 1002 --json
  skyeim-ws admin user disconnect 1002
"""
_NODE_EXAMPLES = """\
  skyeim-ws admin node list -f etc/ws-cluster.yaml --env-file /etc/skyeim-ws/secrets.env
  skyeim-ws admin node show ws-1
  skyeim-ws admin node drain ws-1
"""
_PRESENCE_EXAMPLES = """\
  skyeim-ws admin presence check
  skyeim-ws admin presence repair -f etc/ws-cluster.yaml
"""
_EXAMPLES = f"""{_FRIEND_EXAMPLES}{_GROUP_EXAMPLES}{_MESSAGE_EXAMPLES}{_USER_EXAMPLES}\
{_NODE_EXAMPLES}\
  skyeim-ws admin broadcast "Back at 02:30" --in 10m --for 30m
  skyeim-ws admin unread 1001 -f etc/ws-cluster.yaml
"""

_TRACE_EPILOG = """\
Gateways note the steps of the messages that `Trace` chooses. Of others it is shown what storage and
queues say. Services other than ours need --user, and --peer or --group, for that.
"""

_Converter = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all commands have: their common options, and how ids are read."""

    parents: Sequence[argparse.ArgumentParser]
    user_id: _Converter
    group_id: _Converter


def run(arguments: argparse.Namespace) -> int:
    """Run a command and return its exit code: 0 done, 1 failed; raises ConfigError."""
    config = load(arguments.file, env=arguments.env).config
    # Imported late: gRPC takes its time, for which no other command should wait.
    execute = importlib.import_module("skyeim_ws.cli.admin.commands").execute
    return int(asyncio.run(execute(config, arguments)))


def add_commands(
    commands: Any, file: argparse.ArgumentParser, *, user_id: _Converter, group_id: _Converter
) -> None:
    """Add `admin` to the commands of the program.

    `commands` is what `add_subparsers` returned, `file` the parent with the options of the
    configuration file; the other two read ids and raise ArgumentTypeError.
    """
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true", help="print JSON, times in Unix seconds")
    shared = _Shared([file, output], user_id, group_id)
    summary = "Look after users, groups, messages and running gateways."
    areas = _area(commands, "admin", summary, _EXAMPLES)
    _add_friend(_area(areas, "friend", "Friends of a user.", _FRIEND_EXAMPLES), shared)
    _add_group(_area(areas, "group", "Groups and their members.", _GROUP_EXAMPLES), shared)
    _add_message(_area(areas, "message", "Stored messages.", _MESSAGE_EXAMPLES), shared)
    _add_user(_area(areas, "user", "Users who are connected, or not.", _USER_EXAMPLES), shared)
    _add_node(_area(areas, "node", "Gateways that run.", _NODE_EXAMPLES), shared)
    _add_broadcast(areas, shared)
    presence = _area(areas, "presence", "Who is online.", _PRESENCE_EXAMPLES)
    for name, summary in (
        ("check", "Compare who is shown online with who is connected."),
        ("repair", "Have all gateways compare who is online with the truth."),
    ):
        _command(presence, shared, name, f"presence_{name}", summary)
    _command(areas, shared, "unread", "unread", "Count a user's unread private messages.", "USER")
    trace = _command(
        commands, shared, "trace", "trace", "Show what became of a message, and where."
    )
    trace.epilog = _TRACE_EPILOG
    _add_msg_id(trace, shared)


def _add_friend(area: Any, shared: _Shared) -> None:
    def command(name: str, summary: str, *ids: str) -> argparse.ArgumentParser:
        return _command(area, shared, name, f"friend_{name}", summary, *ids)

    command("add", "Make two users friends.", "USER", "FRIEND")
    command("list", "List the friends of a user.", "USER")
    command("remove", "End a friendship.", "USER", "FRIEND")
    block = command("block", "Block a friend in the name of USER.", "USER", "FRIEND")
    block.add_argument("--undo", action="store_true", help="let the friend write again")


def _add_group(area: Any, shared: _Shared) -> None:
    def command(name: str, summary: str, *ids: str) -> argparse.ArgumentParser:
        return _command(area, shared, name, f"group_{name}", summary, *ids)

    def user_ids(text: str) -> list[int]:
        return [shared.user_id(part.strip()) for part in text.split(",")]

    create = command("create", "Make a group.")
    create.add_argument("--owner", type=shared.user_id, required=True, metavar="N", help="user id")
    create.add_argument("--name", required=True, metavar="NAME", help="1 to 64 characters")
    create.add_argument(
        "--members", type=user_ids, default=[], metavar="N,N,...", help="the other members"
    )
    listing = command("list", "List the groups of a user.")
    listing.add_argument("--user", type=shared.user_id, required=True, metavar="N", help="user id")
    command("info", "Show a group.", "GROUP")
    members = command("members", "List the members of a group.", "GROUP")
    members.add_argument(
        "--online",
        dest="command",
        action="store_const",
        const="group_members_online",
        help="those who are online",
    )
    add = command("add", "Add users to a group.", "GROUP")
    add.add_argument("users", type=shared.user_id, nargs="+", metavar="USER", help="user id")
    command("kick", "Remove a member from a group.", "GROUP", "USER")
    mute = command("mute", "Forbid a member to write to a group.", "GROUP", "USER")
    mute.add_argument("--undo", action="store_true", help="let the member write again")
    role = command("role", "Change a member's role, or hand the group over.", "GROUP", "USER")
    role.add_argument("role", choices=("owner", "admin", "member"), help="the new role")
    command("dismiss", "End a group for good.", "GROUP")


def _add_message(area: Any, shared: _Shared) -> None:
    history = _command(
        area, shared, "history", "message_history", "Show the last messages, oldest first."
    )
    show = _command(
        area, shared, "show", "message_show", "Show where a message is, without its content."
    )
    _add_msg_id(show, shared)
    _add_conversation(history, shared, needed=True)
    show.epilog = "Services other than ours need --user, and --peer or --group."
    history.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="how many (%(default)s)"
    )


def _add_msg_id(command: argparse.ArgumentParser, shared: _Shared) -> None:
    command.add_argument("msg_id", metavar="MSGID", type=_msg_id, help="the msgId of the client")
    _add_conversation(command, shared, needed=False)


def _add_conversation(command: argparse.ArgumentParser, shared: _Shared, *, needed: bool) -> None:
    command.add_argument(
        "--user", type=shared.user_id, required=needed, metavar="N", help="whose conversation"
    )
    other = command.add_mutually_exclusive_group(required=needed)
    other.add_argument("--peer", type=shared.user_id, metavar="N", help="with this user")
    other.add_argument("--group", type=shared.group_id, metavar="G", help="or in this group")


def _add_user(area: Any, shared: _Shared) -> None:
    def command(name: str, summary: str) -> argparse.ArgumentParser:
        return _command(area, shared, name, f"user_{name}", summary, "USER")

    command("show", "Show where a user is, and what is wrong with it.")
    command("kick", "End the connection; the client may not come back by itself (4001).")
    command("disconnect", "End the connection; the client comes back in seconds (1001).")
    queue = command("queue", "Show the private messages that wait for a user, newest first.")
    queue.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="how many (%(default)s)"
    )


def _add_node(area: Any, shared: _Shared) -> None:
    def command(name: str, summary: str) -> argparse.ArgumentParser:
        return _command(area, shared, name, f"node_{name}", summary)

    command("list", "Show all gateways, and how each is.")
    show = command("show", "Show all that a gateway says of itself.")
    drain = command("drain", "Send the clients of a gateway to the others, and stop nothing.")
    for each in (show, drain):
        each.add_argument("node", metavar="NODE", help="its id, or its Name if no other has it")
    drain.add_argument("--cancel", action="store_true", help="let it take clients again")
    drain.add_argument(
        "--force", action="store_true", help="also if no other gateway takes the clients"
    )


def _add_broadcast(areas: Any, shared: _Shared) -> None:
    told = _command(
        areas,
        shared,
        "broadcast",
        "broadcast",
        "Tell everybody who is connected of a maintenance (the event `maintenance`).",
    )
    told.add_argument("message", metavar="TEXT", type=_text, help="what people read")
    told.add_argument("--in", dest="begins", type=_time, metavar="TIME", help="such as 10m")
    told.add_argument("--for", dest="lasts", type=_time, metavar="TIME", help="such as 1h")


def _command(
    area: Any, shared: _Shared, name: str, key: str, summary: str, *ids: str
) -> argparse.ArgumentParser:
    """Add a command; `ids` are those of its arguments that are ids, in order."""
    made: argparse.ArgumentParser = area.add_parser(
        name, parents=shared.parents, help=summary, description=summary, allow_abbrev=False
    )
    made.set_defaults(run=run, command=key)
    for each in ids:
        kind = shared.group_id if each == "GROUP" else shared.user_id
        help_text = "group id" if each == "GROUP" else "user id"
        made.add_argument(each.lower(), type=kind, metavar=each, help=help_text)
    return made


def _area(commands: Any, name: str, summary: str, examples: str) -> Any:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser.add_subparsers(metavar="COMMAND", required=True)


def _msg_id(text: str) -> str:
    if not 1 <= len(text) <= MAX_MSG_ID:
        raise argparse.ArgumentTypeError(f"a msgId has 1 to {MAX_MSG_ID} characters")
    return text


def _text(text: str) -> str:
    if not 1 <= len(text) <= MAX_NOTICE:
        raise argparse.ArgumentTypeError(f"a text of 1 to {MAX_NOTICE} characters")
    return text


def _time(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from error


def _limit(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= MAX_HISTORY:
        raise argparse.ArgumentTypeError(f"a number from 1 to {MAX_HISTORY}, not {text!r}")
    return number
