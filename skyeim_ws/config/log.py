"""The section of the configuration for the log."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from skyeim_ws.config.kinds import Count, CountOrOff, SecondsOrNone, Text
from skyeim_ws.contract.names import LogLevel


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldKeysConf:
    """The names of the fields that go-zero has on its lines."""

    timestamp_key: Text = "@timestamp"
    level_key: Text = "level"
    content_key: Text = "content"
    caller_key: Text = "caller"
    duration_key: Text = "duration"
    trace_key: Text = "trace"
    span_key: Text = "span"
    truncated_key: Text = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConf:
    """Where the log goes and what it looks like; `max_size` in MB, 0 means no limit throughout.

    The formats of times are layouts of Go. Without `service_name` it is the name of the gateway.
    What takes longer than `slow_threshold` has a line.
    """

    IGNORED: ClassVar = frozenset({"compresstype"})

    service_name: str = ""
    mode: Literal["console", "file", "volume"] = "console"
    encoding: Literal["json", "plain"] = "json"
    time_format: str = ""
    file_time_format: str = ""
    field_keys: FieldKeysConf = FieldKeysConf()
    path: Text = "logs"
    level: LogLevel = "info"
    max_content_length: CountOrOff = 0
    compress: bool = False
    stat: bool = True
    keep_days: CountOrOff = 0
    stack_cooldown_millis: CountOrOff = 100
    max_backups: CountOrOff = 0
    max_size: CountOrOff = 0
    rotation: Literal["daily", "size"] = "daily"
    queue_size: Count = 10_000
    slow_threshold: SecondsOrNone = 0.5
