"""The command line: what it prints where, and its exit codes."""

import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import jwt
import pytest

from skyeim_ws import __version__
from skyeim_ws.cli import main as cli
from skyeim_ws.config.tree import Config
from skyeim_ws.handler import tokens

SECRET = "a-secret-of-more-than-thirty-two-bytes"
VALID = f"Name: ws\nPort: 10300\nMode: dev\nAuth: {{AccessSecret: {SECRET}}}\nEmbedded:\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ws.yaml"
    path.write_text(VALID)
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand in for the application, and record what it is asked to run."""
    made: list[tuple[Any, ...]] = []
    app = types.ModuleType("skyeim_ws.process.daemon")

    def record(name: str) -> Any:
        def call(*arguments: Any) -> int:
            made.append((name, *arguments))
            return 7

        return call

    for name in ("serve", "demo", "run_services"):
        setattr(app, name, record(name))
    monkeypatch.setitem(sys.modules, "skyeim_ws.process.daemon", app)
    return made


@pytest.mark.parametrize(
    ("arguments", "name", "more"),
    [
        (["serve"], "serve", []),
        (["demo"], "demo", [None, None]),
        (["demo", "--port", "0", "--data-dir", "d"], "demo", [0, "d"]),
        (["services"], "run_services", []),
    ],
)
def test_the_application_gets_the_configuration_and_gives_the_exit_code(
    arguments: list[str], name: str, more: list[Any], file: Path, calls: list[tuple[Any, ...]]
) -> None:
    assert cli.main([*arguments, "-f", str(file)]) == 7
    ((called, config, *rest),) = calls
    assert (called, rest) == (name, more)
    assert isinstance(config, Config)
    assert config.path == str(file)


def test_a_wrong_configuration_exits_1_and_names_the_key(
    file: Path, capsys: pytest.CaptureFixture[str], calls: list[tuple[Any, ...]]
) -> None:
    file.write_text(VALID.replace("Port: 10300\n", ""))
    assert cli.main(["serve", "-f", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f'error: config file {file}, field "Port" is not set\n'
    assert (captured.out, calls) == ("", [])


def test_unknown_keys_are_warned_about_and_refused_only_when_strict(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(VALID + "Foo: 1\n")
    assert cli.main(["check", "-f", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"config file {file} is valid\n"
    assert captured.err == f'warning: config file {file}, field "Foo" is not known\n'
    assert cli.main(["check", "-f", str(file), "--strict"]) == 1
    assert capsys.readouterr().err == f'error: config file {file}, field "Foo" is not known\n'


def test_the_environment_is_used_only_under_env(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WS_PORT", "10301")
    file.write_text(VALID.replace("10300", "${WS_PORT}"))
    assert cli.main(["check", "-f", str(file)]) == 1
    assert cli.main(["check", "-f", str(file), "--env"]) == 0


def test_token_prints_the_token_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(VALID + "Foo: 1\n")
    arguments = ["token", "-f", str(file), "--user", "1001", "--name", "ann", "--ttl", "1h"]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    token = captured.out.removesuffix("\n")
    assert tokens.verify(token, [SECRET]).user_id == 1001
    assert jwt.decode(token, options={"verify_signature": False})["username"] == "ann"
    assert captured.err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["serve", "--prot", "1"],
        ["demo", "--port", "70000"],
        ["token"],
        ["token", "--user", "0"],
        ["token", "--user", "ann"],
        ["token", "--user", "9223372036854775808"],
        ["token", "--user", "1", "--ttl", "soon"],
        ["token", "--user", "1", "--ttl", "0s"],
        ["chat", "--user", "1", "--to", "2", "--group", "g"],
        ["chat", "--user", "1", "--url", "http://h/ws"],
        ["chat", "--user", "1", "--group", "g" * 65],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: skyeim-ws" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_interrupting_is_no_crash(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("skyeim_ws.process.daemon.serve", interrupt)
    assert cli.main(["serve", "-f", str(file)]) == 130


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ("", "ws://127.0.0.1:10300/ws"),
        ("Host: ::1\n", "ws://[::1]:10300/ws"),
        ("Host: h\nCertFile: c\nKeyFile: k\n", "wss://h:10300/ws"),
    ],
)
def test_chat_finds_the_gateway_of_the_file(
    more: str, url: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    async def record(*arguments: Any) -> int:
        asked.append(arguments)
        return 3

    monkeypatch.setattr("skyeim_ws.cli.chat.terminal.run_in_terminal", record)
    file.write_text(VALID + more)
    assert cli.main(["chat", "-f", str(file), "--user", "1001", "--to", "1002"]) == 3
    ((called, user_id, target, token),) = asked
    assert (called, user_id, target.user_id) == (url, 1001, 1002)
    assert tokens.verify(token(True), [SECRET]).user_id == 1001
    # With a token of one's own no file is read.
    arguments = ["chat", "-f", "none.yaml", "--user", "1", "--group", "g", "--token", "T"]
    assert cli.main([*arguments, "--url", "wss://h/ws"]) == 3
    called, user_id, target, token = asked[1]
    assert (called, user_id, target.group_id, token) == ("wss://h/ws", 1, "g", "T")


def test_the_package_can_be_run() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "skyeim_ws", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(
        rf"skyeim-ws {re.escape(__version__)} \((unknown|[0-9a-f]{{12}})\)\n", shown.stdout
    )


def test_a_dry_run_of_nothing_is_wrong_usage(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["services", "--dry-run", "-f", str(file)]) == 2
    assert "services migrate" in capsys.readouterr().err


def test_without_a_file_in_this_folder_the_installed_one_is_read(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "INSTALLED_FILE", str(file))
    file.write_text(VALID)
    assert cli.main(["check"]) == 0
    assert capsys.readouterr().out == f"config file {file} is valid\n"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ws.yaml").write_text(VALID)
    assert cli.main(["check"]) == 0
    assert capsys.readouterr().out == "config file etc/ws.yaml is valid\n"


def test_a_file_of_the_environment_stands_for_env(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WS_PORT", "no number")
    file.write_text(VALID.replace("10300", "${WS_PORT}"))
    (tmp_path / "secrets.env").write_text("WS_PORT=10301\n")
    assert cli.main(["check", "-f", str(file)]) == 1
    assert cli.main(["check", "-f", str(file), "--env-file", str(tmp_path / "secrets.env")]) == 0
    assert cli.main(["check", "-f", str(file), "--env-file", str(tmp_path / "none")]) == 1
