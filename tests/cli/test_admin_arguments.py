"""The arguments of the admin commands: what is refused, and the examples that help shows."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyeim_ws.cli import main as cli


@pytest.mark.parametrize(
    "words",
    [
        "",
        "fly",
        "friend",
        "friend add 1",
        "friend add 1 x",
        "friend add 0 1",
        "group create --owner 1",
        "group create --owner 1 --name n --members 1,,2",
        "group list",
        "group add g",
        "group role g 1 king",
        f"group info {'g' * 65}",
        "message history --user 1",
        "message history --user 1 --peer 2 --group g",
        "message history --user 1 --peer 2 --limit 0",
        "message history --user 1 --peer 2 --limit 10001",
        "unread",
        "unread 1 --jso",
    ],
)
def test_wrong_arguments_exit_2(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["admin", *words.split()])
    assert caught.value.code == 2
    assert "usage: skyeim-ws" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["", "friend", "group", "message"])
def test_help_has_examples(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["admin", *words.split(), "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"examples:\n  skyeim-ws admin {words}" in shown


def test_all_examples_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    parser = cli.make_parser()
    with pytest.raises(SystemExit):
        parser.parse_args(["admin", "--help"])
    shown = capsys.readouterr().out.splitlines()
    examples = [line for line in shown if line.startswith("  skyeim-ws admin")]
    assert len(examples) > 5
    for line in examples:
        parser.parse_args(shlex.split(line)[1:])


def leaves(parser: argparse.ArgumentParser, *words: str) -> Iterator[str]:
    """Give the commands of a parser that have none below them."""
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001 - argparse has no other way
    for each in below:
        for name, made in each.choices.items():
            yield from leaves(made, *words, name)
    if not below:
        yield " ".join(words)


def test_the_page_for_operators_has_every_command_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs/admin.md").read_text()
    told = set(re.findall(r"`(admin(?: [a-z]+)+)(?=[` ])", page))
    known = {each for each in leaves(cli.make_parser()) if each.startswith("admin ")}
    assert told == known
