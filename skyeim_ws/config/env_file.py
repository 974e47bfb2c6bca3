"""A file of NAME=value lines, as systemd's `EnvironmentFile` reads it: values for `${NAME}`."""

import re
from pathlib import Path

from skyeim_ws.config.errors import ConfigError

_LINE = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.ASCII)
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>.*)(?P=quote)""")


def read_env_file(path: str) -> dict[str, str]:
    """Return the values by their names; raises ConfigError, which never shows a value.

    Empty lines and those that begin with # or ; are left out, quotes around a value are taken off.
    Values over several lines, and escapes in quotes, are not known here.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise ConfigError(path, f"cannot be read: {problem}") from None
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()  # noqa: PLW2901 - nobody needs it with spaces
        if not line or line[0] in "#;":
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise ConfigError(path, "wants lines such as NAME=value", line=number)
        value = found["value"].strip()
        quoted = _QUOTED.fullmatch(value)
        values[found["name"]] = quoted["text"] if quoted else value
    return values
