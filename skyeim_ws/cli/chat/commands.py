"""The commands of the chat: a line that begins with / becomes one."""

import re
from dataclasses import dataclass

from skyeim_ws.cli.chat.people import Target
from skyeim_ws.handler.tokens import MAX_USER_ID

HELP = (
    "/to N        write to user N",
    "/group G     write to group G",
    "/who         friends and groups; in a group, its members",
    "/history     what was said before",
    "/search X    messages that have X in them",
    "/read        mark the conversation as read",
    "/quit        leave; so does Ctrl-D",
    "//           at the start sends a single /",
    "… waits  ✓ sent  ✓✓ delivered  ✔✔ read  ✗ not sent",
    "Alt-Enter begins a new line; PageUp and PageDown scroll",
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command; `target` is that of `to` and `group`, `wrong` says what is wrong with it."""

    name: str
    argument: str = ""
    target: Target | None = None
    wrong: str = ""


def parse(text: str) -> Command | None:
    """Return the command of a line, or None for a message."""
    if not text.startswith("/") or text.startswith("//"):
        return None
    name, _, argument = text[1:].strip().partition(" ")
    argument, wrong, target = argument.strip(), "", None
    match name:
        case "to":
            number = int(argument) if re.fullmatch("[0-9]{1,19}", argument) else 0
            target = Target(user_id=number) if 0 < number <= MAX_USER_ID else None
            wrong = "" if target else "/to wants the number of a user, as in /to 1002"
        case "group":
            target = Target(group_id=argument) if 1 <= len(argument) <= 64 else None
            wrong = "" if target else "/group wants the id of a group, as in /group g_demo"
        case "search":
            wrong = "" if argument else "/search wants something to look for"
        case "help" | "who" | "history" | "read" | "quit":
            pass
        case _:
            wrong = "there is no such command"
    return Command(name, argument, target, wrong)
