"""The command line: arguments in, exit codes out; 0 fine, 1 wrong configuration, 2 wrong usage."""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from skyeim_ws.cli.admin import arguments as admin
from skyeim_ws.cli.chat import terminal as chat_client
from skyeim_ws.cli.chat.people import Target
from skyeim_ws.config.check import Loaded, load, warnings
from skyeim_ws.config.env_file import read_env_file
from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.loader import parse_duration
from skyeim_ws.config.strict import problems
from skyeim_ws.config.tree import Config
from skyeim_ws.contract.names import DEFAULT_URL
from skyeim_ws.handler import tokens
from skyeim_ws.ops.build import build

DEFAULT_FILE = "etc/ws.yaml"
INSTALLED_FILE = "/etc/skyeim-ws/ws.yaml"
CHAT_TOKEN_SECONDS = 86400.0

_EXAMPLES = """\
examples:
  skyeim-ws demo                             try it out: a gateway, services and a few users
  skyeim-ws serve                            run the gateway with etc/ws.yaml
  skyeim-ws chat --user 1001 --to 1002       in one terminal, and in another:
  skyeim-ws chat --user 1002 --to 1001
  skyeim-ws check -f etc/ws-cluster.yaml --env
  skyeim-ws token --user 1001 --ttl 1h       a token for your own client

skyeim-ws COMMAND --help says more about each command.
"""

_CHAT_EPILOG = """\
A line that you type is sent to the user or group chosen. Lines that begin with / are commands;
/help lists them. With a pipe or a file as input each line is a message, and the exit code is 1
when one of them was not stored.

examples:
  skyeim-ws chat --user 1001 --to 1002
  echo hello | skyeim-ws chat --user 1001 --group g1
  skyeim-ws chat --user 1001 --to 1002 --url wss://chat.example.com/ws --token TOKEN
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code of the process; argparse exits with 2 by itself."""
    arguments = make_parser().parse_args(argv)
    try:
        if getattr(arguments, "env_file", None):
            # As systemd does with an EnvironmentFile: it wins over what was there.
            os.environ.update(read_env_file(arguments.env_file))
            arguments.env = True
        code: int = arguments.run(arguments)
        return code
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(arguments: argparse.Namespace) -> int:
    return _run_daemon("serve", _load_with_warnings(arguments))


def _demo(arguments: argparse.Namespace) -> int:
    return _run_daemon("demo", _load_with_warnings(arguments), arguments.port, arguments.data_dir)


def _services(arguments: argparse.Namespace) -> int:
    if arguments.dry_run and not arguments.what:
        print("error: --dry-run goes with `services migrate`", file=sys.stderr)
        return 2
    config = _load_with_warnings(arguments)
    if not arguments.what:
        return _run_daemon("run_services", config)
    migrate = importlib.import_module("skyeim_ws.process.database").migrate
    return int(migrate(config, dry_run=arguments.dry_run))


def _run_daemon(function: str, *arguments: Any) -> int:
    # Imported late: the servers take a second to import, which no other command should wait for.
    daemon = importlib.import_module("skyeim_ws.process.daemon")
    return int(getattr(daemon, function)(*arguments))


def _check(arguments: argparse.Namespace) -> int:
    loaded = load(arguments.file, env=arguments.env)
    refused = problems(loaded) if arguments.strict else []
    for problem in refused:
        print(f"error: {problem}", file=sys.stderr)
    if refused:
        return 1
    _print_warnings(loaded)
    print(f"config file {arguments.file} is valid")
    return _connect(loaded.config, services=arguments.services) if arguments.connect else 0


def _connect(config: Config, *, services: bool) -> int:
    """Ask what the configuration names; tell of each, and return the exit code."""
    # Imported late, as the servers are.
    probe = importlib.import_module("skyeim_ws.process.check").ask_backends
    found = probe(config, services=services)
    if not found:
        print("there is nothing to ask: the program starts everything itself")
    for what, problem in found:
        print(f"{what}: {problem or 'answers'}", file=sys.stderr if problem else sys.stdout)
    return int(any(problem for _, problem in found))


def _token(arguments: argparse.Namespace) -> int:
    config = load(arguments.file, env=arguments.env).config
    secret = config.auth.access_secret
    print(tokens.issue(secret, arguments.user, arguments.name, ttl=arguments.ttl))
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    target = Target(user_id=arguments.to or 0, group_id=arguments.group or "")
    if not target and not chat_client.is_terminal():
        print("error: --to or --group is wanted: whom are the lines for?", file=sys.stderr)
        return 2
    token: chat_client.Token
    if arguments.token:
        token, url = arguments.token, DEFAULT_URL
    else:
        config = load(arguments.file, env=arguments.env).config
        secret, url = config.auth.access_secret, config.local_url("ws") + "/ws"

        def token(_: bool) -> str:
            return tokens.issue(secret, arguments.user, ttl=CHAT_TOKEN_SECONDS)

    chat = chat_client.run_in_terminal(arguments.url or url, arguments.user, target, token)
    return asyncio.run(chat)


def _load_with_warnings(arguments: argparse.Namespace) -> Config:
    loaded = load(arguments.file, env=arguments.env)
    _print_warnings(loaded)
    return loaded.config


def _print_warnings(loaded: Loaded) -> None:
    problems = [f'field "{name}" is not known' for name in loaded.unknown]
    if loaded.ignored:
        problems.append(f"keys without an effect here: {', '.join(loaded.ignored)}")
    for problem in problems + warnings(loaded.config):
        print(f"warning: config file {loaded.config.path}, {problem}", file=sys.stderr)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="skyeim-ws",
        description="WebSocket gateway of the SkyeIM chat backend.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and stop")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    file = argparse.ArgumentParser(add_help=False)
    file.add_argument(
        "-f", "--file", default=_default_file(), metavar="FILE", help="configuration (%(default)s)"
    )
    file.add_argument(
        "--env", action="store_true", help="replace ${NAME} in the file from the environment"
    )
    file.add_argument(
        "--env-file", metavar="FILE", help="and from this file of NAME=value lines; goes with --env"
    )

    def command(name: str, summary: str, run: Any, **more: Any) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name, parents=[file], help=summary, description=summary, allow_abbrev=False, **more
        )
        made.set_defaults(run=run)
        return made

    command("serve", "Run the gateway.", _serve)

    demo = command("demo", "Run a gateway with services and sample users, to try it out.", _demo)
    demo.add_argument("--port", type=_port, metavar="N", help="instead of the file's Port")
    demo.add_argument("--data-dir", metavar="DIR", help="where the data lives")

    services = command("services", "Run the Message, Friend and Group services alone.", _services)
    services.add_argument(
        "what", nargs="?", choices=("migrate",), help="bring their database up to date instead"
    )
    services.add_argument(
        "--dry-run", action="store_true", help="of migrate: print its SQL, change nothing"
    )

    check = command("check", "Check a configuration file, start nothing.", _check)
    check.add_argument(
        "--strict",
        action="store_true",
        help="refuse what will not work here: unknown keys, keys without an effect, "
        "certificates that do not fit their keys, folders that cannot be written to",
    )
    check.add_argument(
        "--connect",
        action="store_true",
        help="ask the Redis, services, etcd and database that the file names",
    )
    check.add_argument(
        "--services",
        action="store_true",
        help="of --connect: ask what `skyeim-ws services` needs, not what `serve` does",
    )

    token = command("token", "Print an access token for a user.", _token)
    token.add_argument("--user", type=_user_id, required=True, metavar="N", help="user id")
    token.add_argument("--name", default="", metavar="S", help="user name")
    token.add_argument(
        "--ttl", type=_ttl, default="7d", metavar="TIME", help="such as 30m, 12h, 7d (%(default)s)"
    )

    chat = command(
        "chat",
        "Chat from the terminal.",
        _chat,
        epilog=_CHAT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    chat.add_argument("--user", type=_user_id, required=True, metavar="N", help="who you are")
    target = chat.add_mutually_exclusive_group()
    target.add_argument("--to", type=_user_id, metavar="N", help="write to this user")
    target.add_argument("--group", type=_group_id, metavar="G", help="write to this group")
    chat.add_argument(
        "--url", type=_url, metavar="URL", help=f"the gateway (the file's, or {DEFAULT_URL})"
    )
    chat.add_argument("--token", metavar="T", help="use this token; the file is not read")

    admin.add_commands(commands, file, user_id=_user_id, group_id=_group_id)
    return parser


class _Version(argparse.Action):
    """Tells the version; Git may be asked for the commit, so not before somebody wants it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        made = build()
        print(f"skyeim-ws {made['version']} ({made['commit']})")
        parser.exit()


def _default_file() -> str:
    """Return the file of this folder, or the installed one where there is none."""
    installed = not Path(DEFAULT_FILE).exists() and Path(INSTALLED_FILE).exists()
    return INSTALLED_FILE if installed else DEFAULT_FILE


def _user_id(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
    if not 0 < number <= tokens.MAX_USER_ID:
        raise argparse.ArgumentTypeError(f"a user id is a number above 0, not {text!r}")
    return number


def _group_id(text: str) -> str:
    if not 1 <= len(text) <= 64:
        raise argparse.ArgumentTypeError("a group id has 1 to 64 characters")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _ttl(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is {error}") from error
    if not 1 <= seconds < 100 * 365 * 86400:
        raise argparse.ArgumentTypeError("a token lives from 1s to 100 years")
    return seconds


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"a URL begins with ws:// or wss://, not {text!r}")
    return text
