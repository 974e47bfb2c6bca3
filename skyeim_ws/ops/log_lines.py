"""What a line of the log holds and in which order: the fields of go-zero, then our own."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder
from structlog.typing import EventDict, Processor, WrappedLogger

from skyeim_ws.config.log import FieldKeysConf, LogConf
from skyeim_ws.contract.names import SLOW_LOG, STAT_LOG
from skyeim_ws.contract.spans import SPAN
from skyeim_ws.ops import time_layout
from skyeim_ws.ops.masking import masked_field
from skyeim_ws.ops.stacks import place

_LEVELS = {"warning": "warn", "critical": "fatal"}
"""go-zero has a name of its own for the second; the first is that of `Log.Level`."""

_PLACE = (CallsiteParameter.PATHNAME.value, "level")

KINDS = {SLOW_LOG: "slow", STAT_LOG: "stat"}
"""What the lines of some loggers are: to go-zero these are levels, with files of their own."""


def processors(log: LogConf, process: str) -> list[Processor]:
    """Return what makes a line of an event of ours, or of a library, up to its encoding."""
    plain = log.encoding == "plain"
    # What writes lines for people looks for the event under this name.
    keys = FieldKeysConf(content_key="event") if plain else log.field_keys
    return [
        add_trace,
        structlog.stdlib.add_log_level,
        _name_level,
        CallsiteParameterAdder(
            {CallsiteParameter.PATHNAME, CallsiteParameter.LINENO},
            additional_ignores=["skyeim_ws.contract.timing"],  # it logs for others
        ),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        mask_secrets,
        *([_shorten(log.max_content_length, keys)] if log.max_content_length else []),
        _arrange(
            keys,
            {"service": log.service_name, "process": process},
            time_layout.formatter(log.time_format or time_layout.LINES),
            for_people=plain,
        ),
    ]


def renderer(log: LogConf, *, colors: bool) -> Processor:
    """Return what encodes a line."""
    if log.encoding == "json":
        # Its `encode` is made once, where `json.dumps` makes it anew for each line.
        encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode
        return structlog.processors.JSONRenderer(lambda line, **_: encode(line))
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key=FieldKeysConf().timestamp_key,
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
        sort_keys=False,
    )


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask fields that are secret by their name, and tokens in any text."""
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own record
            event[name] = masked_field(name, value)
    return event


def add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say to which trace a line belongs, if it is known."""
    if (span := SPAN.get()) is not None:
        event["trace"], event["span"] = span.trace_id, span.span_id
    return event


def _name_level(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    level = event["level"]
    event["level"] = KINDS.get(getattr(logger, "name", "")) or _LEVELS.get(level, level)
    return event


def _arrange(
    keys: FieldKeysConf,
    ours: Mapping[str, str],
    stamp: Callable[[float], str],
    *,
    for_people: bool,
) -> Processor:
    """Put the fields in order; no field of an event takes the place of one that is on all lines.

    People read first what has happened, machines what is on all lines.
    """
    optional = {"duration": keys.duration_key, "trace": keys.trace_key, "span": keys.span_key}
    ours = {name: value for name, value in ours.items() if value}

    def arrange(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        line: dict[str, Any] = {
            keys.timestamp_key: stamp(time.time()),
            keys.level_key: event.pop("level"),
            keys.content_key: event.pop("event"),
        }
        origin = ours | {keys.caller_key: place(event.pop("pathname"), event.pop("lineno"))}
        named = {key: event.pop(name) for name, key in optional.items() if name in event}
        fields = {
            name: value
            for name, value in event.items()
            if name not in line and name not in origin and name not in named
        }
        return line | (fields | named | origin if for_people else named | origin | fields)

    return arrange


def _shorten(limit: int, keys: FieldKeysConf) -> Processor:
    """Cut text fields to `limit` characters, and mark the line, as go-zero does its content."""

    def shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        long = [
            name
            for name, value in event.items()
            if isinstance(value, str) and len(value) > limit and name not in _PLACE
        ]
        for name in long:
            event[name] = event[name][:limit]
        if long:
            event[keys.truncated_key] = True
        return event

    return shorten
