"""Reading YAML into frozen dataclasses in the manner of go-zero: any key case, strict types.

A dataclass is a section of the file and its fields are the keys: `pong_timeout` is `PongTimeout`
unless the field's metadata names another `key`. A field without a default is required. The field's
type says what is accepted: `str`, `int`, `bool`, `Literal[...]`, `tuple[str, ...]`, a section,
`X | None` for what may be absent, and `Annotated` with the marks `Range`, `NonEmpty`, `Duration`.
A field with `repr=False` is a secret, which no error text repeats. The class attribute `IGNORED`
holds the keys, in lower case, that go-zero knows and that have no effect here.
"""

import dataclasses
import math
import os
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

T = TypeVar("T")

_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_UNIT_SECONDS = {
    **{"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3},
    **{"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0},
}
_KINDS = {bool: "a boolean", int: "an integer", float: "a number", str: "a string", list: "a list"}
_SHOWN_CHARACTERS = 60


class ConfigError(Exception):
    """What is wrong with a configuration file: which file, which key, what was wanted."""

    def __init__(self, path: str, problem: str, *, field: str = "", line: int = 0) -> None:
        place = f'field "{field}" ' if field else f"line {line}: " if line else ""
        super().__init__(f"config file {path}, {place}{problem}")
        self.field = field


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Marks an integer that lies between two limits, both included."""

    low: int
    high: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NonEmpty:
    """Marks a string that must not be empty."""


@dataclasses.dataclass(frozen=True, slots=True)
class Duration:
    """Marks a time in seconds, written as a number or as a Go duration such as 1m30s."""

    allow_zero: bool = False


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration such as `500ms`, `1m30s` or `720h`; also days, `7d`.

    Raises ValueError for anything else, a sign included.
    """
    if text == "0":
        return 0.0
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError("not a duration such as 500ms, 5s or 1m30s")
    return math.fsum(float(part[1]) * _UNIT_SECONDS[part[2]] for part in parts)


def read(path: str, *, env: bool = False) -> dict[str, Any]:
    """Parse a YAML file whose top level is a mapping; with `env`, `${NAME}` is replaced.

    Replacement works on single values, never on the structure, so that no variable can add a key.
    An unquoted value is typed after it: `Port: ${PORT}` is an integer. Raises ConfigError.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "is not UTF-8 text") from error
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}
        _prepare(path, loader, node, env)
        document = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(path, f"{error.problem or error.context}", line=line) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Taken from the first line: what follows repeats the file's text, secrets included.
        raise ConfigError(path, f"is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict):
        raise ConfigError(path, f"must be a mapping of keys, found {_describe(document)}", line=1)
    return document


def _prepare(path: str, loader: yaml.SafeLoader, root: yaml.Node, env: bool) -> None:
    """Refuse keys that stand twice and put the environment's values in, in place."""
    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:  # an alias leads to a node that was visited
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = key.value.lower() if isinstance(key, yaml.ScalarNode) else ""
                if name and name != "<<" and name in keys:
                    raise ConfigError(path, f'"{key.value}" is set twice', line=_line(key))
                keys.add(name)
                pending.append(value)
        elif isinstance(node, yaml.ScalarNode) and env and "${" in node.value:
            node.value = _expand(path, node)
            if node.style is None:  # unquoted
                resolve: Any = loader.resolve
                node.tag = resolve(yaml.ScalarNode, node.value, (True, False))


def _expand(path: str, node: yaml.ScalarNode) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            problem = f"environment variable {match[1]} is not set"
            raise ConfigError(path, problem, line=_line(node))
        return found

    return _ENV.sub(value, node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """The dotted names of the keys that no field takes, as the file spells them.

    `ignored` are those of go-zero that have no effect here, `unknown` all others.
    """

    ignored: list[str] = dataclasses.field(default_factory=list)
    unknown: list[str] = dataclasses.field(default_factory=list)


def bind(section: type[T], path: str, values: Mapping[str, Any]) -> tuple[T, Leftover]:
    """Fill a section's dataclass from parsed YAML; return it with the keys that are left over.

    Raises ConfigError.
    """
    leftover = Leftover()
    return _Binder(path, leftover).section(section, values, ""), leftover


@dataclasses.dataclass(frozen=True, slots=True)
class _Binder:
    path: str
    leftover: Leftover

    def section(self, cls: type[T], values: Mapping[Any, Any], prefix: str) -> T:
        given = {str(key).lower(): (str(key), value) for key, value in values.items()}
        hints = get_type_hints(cls, include_extras=True)
        bound: dict[str, Any] = {}
        for spec in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is a dataclass
            name = spec.metadata.get("key", _go_name(spec.name))
            if name is None:  # not a key of the file
                continue
            full = prefix + name
            present = name.lower() in given
            _, raw = given.pop(name.lower(), ("", None))
            if raw is None and present and spec.metadata.get("bare"):
                raw = {}
            hint = _without_none(hints[spec.name])
            if raw is None and dataclasses.is_dataclass(hint) and hint is hints[spec.name]:
                raw = {}  # a section that is not optional: its own fields say what is missing
            if raw is not None:
                bound[spec.name] = self.value(hint, raw, full, secret=not spec.repr)
            elif spec.default is dataclasses.MISSING:
                raise ConfigError(self.path, "is not set", field=full)
        ignored: frozenset[str] = getattr(cls, "IGNORED", frozenset())
        for low, (key, _) in given.items():
            kind = self.leftover.ignored if low in ignored else self.leftover.unknown
            kind.append(prefix + key)
        return cls(**bound)

    def value(self, hint: Any, raw: Any, name: str, *, secret: bool) -> Any:
        marks: tuple[object, ...] = ()
        if get_origin(hint) is Annotated:
            hint, *rest = get_args(hint)
            marks = tuple(rest)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(raw, dict):
                raise self.wanted("a section", raw, name, secret)
            return self.section(hint, raw, name + ".")
        if get_origin(hint) is Literal:
            options = get_args(hint)
            if not isinstance(raw, str) or raw not in options:
                raise self.wanted(f"one of {', '.join(options)}", raw, name, secret)
            return raw
        if get_origin(hint) is tuple:
            if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
                raise self.wanted("a list of strings", raw, name, secret)
            return tuple(raw)
        if any(isinstance(mark, Duration) for mark in marks):
            allow_zero = Duration(allow_zero=True) in marks
            return self.duration(raw, name, allow_zero=allow_zero)
        return self.scalar(hint, marks, raw, name, secret=secret)

    def scalar(
        self, hint: type, marks: tuple[object, ...], raw: Any, name: str, *, secret: bool
    ) -> Any:
        if type(raw) is not hint:  # exact: a bool is an int to isinstance
            raise self.wanted(_KINDS[hint], raw, name, secret)
        for mark in marks:
            if isinstance(mark, NonEmpty) and not raw:
                raise ConfigError(self.path, "must not be empty", field=name)
            if isinstance(mark, Range) and not (isinstance(raw, int) and _within(mark, raw)):
                limits = (
                    f"from {mark.low} to {mark.high}" if mark.high else f"of {mark.low} or more"
                )
                raise self.wanted(f"an integer {limits}", raw, name, secret)
        return raw

    def duration(self, raw: Any, name: str, *, allow_zero: bool) -> float:
        try:
            if isinstance(raw, bool) or not isinstance(raw, int | float | str):
                raise TypeError("neither a number nor a string")
            seconds = parse_duration(raw) if isinstance(raw, str) else float(raw)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not allow_zero):
            above = "" if allow_zero else " above 0"
            wanted = f"a time{above}, in seconds or such as 500ms, 5s or 1m30s"
            raise self.wanted(wanted, raw, name, secret=False)
        return seconds

    def wanted(self, wanted: str, raw: object, name: str, secret: bool) -> ConfigError:
        found = _KINDS.get(type(raw), "something else") if secret else _describe(raw)
        return ConfigError(self.path, f"must be {wanted}, found {found}", field=name)


def _go_name(attribute: str) -> str:
    return "".join(word.capitalize() for word in attribute.split("_"))


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (arg for arg in get_args(hint) if arg is not types.NoneType)
    return hint


def _within(limits: Range, number: int) -> bool:
    return limits.low <= number and (limits.high is None or number <= limits.high)


def _describe(raw: object) -> str:
    if isinstance(raw, dict):
        return "a section"
    kind = _KINDS.get(type(raw), f"a {type(raw).__name__}")
    if isinstance(raw, bool):
        return f"{str(raw).lower()} ({kind})"
    if isinstance(raw, int | float):
        return f"{raw} ({kind})"
    if isinstance(raw, str):
        shown = raw if len(raw) <= _SHOWN_CHARACTERS else raw[:_SHOWN_CHARACTERS] + "..."
        return f'"{shown}" ({kind})'
    return kind
