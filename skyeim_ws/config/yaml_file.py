"""A YAML file becomes plain values: text, numbers, lists and mappings, and no more of either.

YAML can do much that no configuration needs, and that costs time and memory without limit, so that
is refused, or read as the text it is. Whatever the file holds, this ends soon, and an error names
the key and never shows a value.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from skyeim_ws.config.errors import ConfigError, shown

MAX_BYTES = 65536
MAX_NODES = 5000
"""Keys and values, those that `<<` adds included."""
MAX_DEPTH = 20
MAX_NUMBER_CHARACTERS = 40

_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KEY = re.compile(r"[ \t{,-]*(\w{1,60})[ \t]*:", re.ASCII)
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")
_SIGN = re.compile(r"'(<[a-z ]+>|[][{},:?-]|\\t)'")
_TAG = "tag:yaml.org,2002:"
# Nothing here is a date, so what looks like one is a text; so is `=`, and `<<` where it is no key.
_TEXT = {_TAG + name for name in ("str", "timestamp", "value", "merge")}


def read(path: str, *, env: bool = False) -> dict[str, Any]:
    """Parse a YAML file whose top level is a mapping; with `env`, `${NAME}` is replaced.

    Replacement works on single values, never on the structure, so that no variable can add a key.
    An unquoted value is typed after it: `Port: ${PORT}` is an integer. Raises ConfigError.
    """
    text = _text(path)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except Exception as error:
        # Not its own errors alone: PyYAML lets through what its parts raise, such as the
        # OverflowError of a character that there cannot be.
        line = _line_of(error, text, loader)
        raise ConfigError(path, f"{_problem(error)}{_near(text, line)}", line=line) from None
    if root is None:
        return {}
    document = _Document(path, loader, env=env).value(root, "")
    if not isinstance(document, dict):
        raise ConfigError(path, "must be a mapping of keys", line=1)
    return document


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "no such name"
        raise ConfigError(path, f"cannot be read: {problem}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(path, f"is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(path, "is not UTF-8 text") from error


def _problem(error: Exception) -> str:
    if isinstance(error, _TooMuchError):
        return str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        problem = error.problem or error.context or ""
        if problem.startswith("but "):
            problem = f"{error.context}, {problem}"
        # Of what it quotes only the signs of YAML: the rest may be of a secret.
        return _QUOTED.sub(lambda part: part[0] if _SIGN.fullmatch(part[0]) else "...", problem)
    return "is not valid YAML"


def _line_of(error: Exception, text: str, loader: "_Loader | None") -> int:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return mark.line + 1 if mark else 1
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    return loader.line + 1 if loader is not None else 1


def _near(text: str, line: int) -> str:
    """Return the key that stands on a line, for the end of an error."""
    lines = text.splitlines()
    match = _KEY.match(lines[line - 1]) if 0 < line <= len(lines) else None
    return f' (at "{match[1]}")' if match else ""


class _TooMuchError(Exception):
    """There is more in the file than any configuration needs."""


class _Loader(yaml.SafeLoader):
    """PyYAML's loader, which stops when the nodes become too many or too deep."""

    line: int  # where it reads, counted from 0

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._count += 1
        self._depth += 1
        if self._count > MAX_NODES:
            raise _TooMuchError(f"holds more than {MAX_NODES} keys and values")
        if self._depth > MAX_DEPTH:
            raise _TooMuchError(f"is nested more than {MAX_DEPTH} levels deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Document:
    """Turns the nodes of a document into values, each once, however often it is referred to."""

    def __init__(self, path: str, loader: _Loader, *, env: bool) -> None:
        self._path = path
        self._loader = loader
        self._env = env
        self._values: dict[int, Any] = {}
        self._inside: set[int] = set()
        self._merged = 0

    def value(self, node: yaml.Node, name: str) -> Any:
        """Return the value of a node; `name` is the dotted name of its key."""
        if id(node) in self._inside:
            raise self._error(node, name, "contains itself")
        if id(node) not in self._values:
            self._inside.add(id(node))
            self._values[id(node)] = self._convert(node, name)
            self._inside.discard(id(node))
        return self._values[id(node)]

    def _convert(self, node: yaml.Node, name: str) -> Any:
        match node:
            case yaml.MappingNode() if node.tag == _TAG + "map":
                return self._mapping(node, name)
            case yaml.SequenceNode() if node.tag == _TAG + "seq":
                return [self.value(item, name) for item in node.value]
            case yaml.ScalarNode():
                return self._scalar(node, name)
        raise self._error(node, name, "has a YAML tag that nothing here takes")

    def _mapping(self, node: yaml.MappingNode, name: str) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: set[str] = set()
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, name, "has a key that is no name")
            if key.tag == _TAG + "merge":
                merged = self._merge(item, name) | merged
                continue
            full = f"{name}.{key.value}" if name else key.value
            text = self._checked(key, key.value, name)
            if text.lower() in seen:
                problem = f'"{shown(text)}" is set twice'
                raise ConfigError(self._path, problem, line=_line(key))
            seen.add(text.lower())
            own[text] = self.value(item, full)
        return {key: value for key, value in merged.items() if key.lower() not in seen} | own

    def _merge(self, node: yaml.Node, name: str) -> dict[str, Any]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Any] = {}
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise self._error(node, name, "merges what is no mapping")
            added = self.value(source, name)
            self._merged += len(added)
            if self._merged > MAX_NODES:
                raise self._error(node, name, f"merges more than {MAX_NODES} keys")
            result = added | result
        return result

    def _scalar(self, node: yaml.ScalarNode, name: str) -> Any:
        text, tag = node.value, node.tag
        if self._env and "${" in text:
            text = self._expand(node, text)
            if node.style is None:  # unquoted
                resolve: Any = self._loader.resolve
                tag = resolve(yaml.ScalarNode, text, (True, False))
        text = self._checked(node, text, name)
        if tag in _TEXT:
            return text
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool" and text.lower() in yaml.SafeLoader.bool_values:
            return yaml.SafeLoader.bool_values[text.lower()]
        if tag not in (_TAG + "int", _TAG + "float"):
            raise self._error(node, name, "has a YAML tag that nothing here takes")
        if len(text) > MAX_NUMBER_CHARACTERS:
            raise self._error(node, name, "is a number too long to be one: put a text in quotes")
        number = yaml.ScalarNode(tag, text, node.start_mark)
        try:
            if tag == _TAG + "int":
                return self._loader.construct_yaml_int(number)
            return self._loader.construct_yaml_float(number)
        except (ValueError, ArithmeticError, LookupError):  # the last of an empty text
            raise self._error(node, name, "is no number: put a text in quotes") from None

    def _expand(self, node: yaml.ScalarNode, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            found = os.environ.get(match[1])
            if found is None:
                problem = f"environment variable {match[1]} is not set"
                raise ConfigError(self._path, problem, line=_line(node))
            return found

        return _ENV.sub(value, text)

    def _checked(self, node: yaml.Node, text: str, name: str) -> str:
        """Refuse what no file system, socket or log takes."""
        if "\0" in text:
            raise self._error(node, name, "holds a null character")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._error(node, name, "holds half of a character") from None
        return text

    def _error(self, node: yaml.Node, name: str, problem: str) -> ConfigError:
        return ConfigError(self._path, problem, field=name, line=_line(node))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
