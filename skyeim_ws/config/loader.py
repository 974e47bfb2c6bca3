"""Parsed YAML becomes frozen dataclasses in the manner of go-zero: any key case, strict types.

A dataclass is a section of the file and its fields are the keys: `pong_timeout` is `PongTimeout`
unless the field's metadata names another `key`. A field without a default is required. The field's
type says what is accepted: `str`, `int`, `bool`, `Literal[...]`, `tuple[str, ...]`, a section,
`X | None` for what may be absent, and `Annotated` with limits (`msgspec.Meta`) or `Duration`.
A field whose metadata says `no_effect` is read and nothing comes of it.
A field with `repr=False` is a secret, which no error text repeats. The class attribute `IGNORED`
holds the keys, in lower case, that go-zero knows and that have no effect here.
"""

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from skyeim_ws.config.errors import ConfigError, shown

T = TypeVar("T")

NO_EFFECT = {"no_effect": True}
"""Of a field that go-zero's files have, so that its type is checked."""

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_UNIT_SECONDS = {
    **{"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3},
    **{"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0},
}
_KINDS: dict[Any, str] = {
    **{bool: "a boolean", int: "an integer", float: "a number", str: "a string"},
    **{list: "a list", dict: "a section of strings"},
}
_MAX_DURATION_CHARACTERS = 40


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
    if len(text) > _MAX_DURATION_CHARACTERS:
        raise ValueError("not a duration such as 500ms, 5s or 1m30s")
    parts = list(_DURATION_PART.finditer(text))
    if not parts or "".join(part.group() for part in parts) != text:
        raise ValueError("not a duration such as 500ms, 5s or 1m30s")
    return math.fsum(float(part[1]) * _UNIT_SECONDS[part[2]] for part in parts)


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """The dotted names of the keys that no field takes, as the file spells them.

    `ignored` are those of go-zero that have no effect here, also of a field, `unknown` all others.
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

    def section(self, cls: type[T], values: Mapping[str, Any], prefix: str) -> T:
        given = {key.lower(): (key, value) for key, value in values.items()}
        hints = get_type_hints(cls, include_extras=True)
        bound: dict[str, Any] = {}
        for spec in dataclasses.fields(cls):  # type: ignore[arg-type]  # T is a dataclass
            name = spec.metadata.get("key", go_name(spec.name))
            if name is None:  # not a key of the file
                continue
            full = prefix + name
            present = name.lower() in given
            key, raw = given.pop(name.lower(), ("", None))
            if present and spec.metadata.get("no_effect"):
                self.leftover.ignored.append(prefix + key)
            if raw is None and present and spec.metadata.get("bare"):
                raw = {}
            hint = _without_none(hints[spec.name])
            if raw is None and dataclasses.is_dataclass(hint) and hint is hints[spec.name]:
                raw = {}  # a section that is not optional: its own fields say what is missing
            if raw is not None:
                bound[spec.name] = self.value(hint, raw, full, secret=not spec.repr)
            elif spec.default is spec.default_factory:  # MISSING both: there is no default
                raise ConfigError(self.path, "is not set", field=full)
        ignored: frozenset[str] = getattr(cls, "IGNORED", frozenset())
        for low, (key, _) in given.items():
            kind = self.leftover.ignored if low in ignored else self.leftover.unknown
            kind.append(prefix + shown(key))
        return cls(**bound)

    def value(self, hint: Any, raw: Any, name: str, *, secret: bool) -> Any:
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(raw, dict):
                # What was found is not shown: a secret may stand where its section should be.
                raise self.wanted("a section", raw, name, secret=True)
            return self.section(hint, raw, name + ".")
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        if any(isinstance(mark, Duration) for mark in marks):
            return self.duration(raw, name, allow_zero=Duration(allow_zero=True) in marks)
        try:
            return msgspec.convert(raw, hint)
        except msgspec.ValidationError:
            # Its own words are those of Python, and may repeat a secret.
            raise self.wanted(_wanted(hint, raw), raw, name, secret) from None

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


def go_name(attribute: str) -> str:
    """Return the key of a field that names no other: `PongTimeout` for `pong_timeout`."""
    return "".join(word.capitalize() for word in attribute.split("_"))


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (arg for arg in get_args(hint) if arg is not types.NoneType)
    return hint


def _wanted(hint: Any, raw: object) -> str:
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        return "a list of strings" if get_args(hint)[0] is str else "a list of integers above 0"
    if get_origin(hint) is not Annotated:
        return _KINDS[get_origin(hint) or hint]
    kind, limits = get_args(hint)
    if type(raw) not in ((int, float) if kind is float else (kind,)):
        return _KINDS[kind]
    if kind is str:
        return "a string that is not empty"
    most = f"from {limits.ge} to {limits.le}" if limits.le else f"of {limits.ge} or more"
    return f"{_KINDS[kind]} {most}"


def _describe(raw: object) -> str:
    if isinstance(raw, dict):
        return "a section"
    kind = _KINDS.get(type(raw), f"a {type(raw).__name__}")
    if isinstance(raw, bool):
        return f"{str(raw).lower()} ({kind})"
    if isinstance(raw, int | float):
        return f"{raw} ({kind})"
    if isinstance(raw, str):
        return f'"{shown(raw)}" ({kind})'
    return kind
