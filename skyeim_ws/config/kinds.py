"""The kinds of values that the keys of a configuration have; times are in seconds."""

from typing import Annotated

from msgspec import Meta

from skyeim_ws.config.loader import Duration

Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Count = Annotated[int, Meta(ge=1)]
CountOrOff = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
UserId = Annotated[int, Meta(ge=1, le=2**63 - 1)]
MessageSize = Annotated[int, Meta(ge=1, le=16 * 1024 * 1024)]
Seconds = Annotated[float, Duration()]
SecondsOrNone = Annotated[float, Duration(allow_zero=True)]
