"""Numbers and names on which several programs of the project agree."""

import logging
from typing import Literal

EVERYONE = -1
"""Among the mentions of a group message: all of its members."""

MAX_BATCH = 1000
"""Messages that one `SendBatch` of our Message service stores."""

MAX_USERS = 200
"""Users whose lists our Friend and Group services give in one answer."""

MAX_CONTENT = 16_384
"""Characters of a message's content."""

LONGEST_FRAME = 12 * MAX_CONTENT + 16_384
"""Bytes of the longest frame that a client has reason to send.

A character outside of Unicode's first plane takes twelve, as JSON libraries escape it; the rest is
for 500 mentions of 19 digits, and for what stands around.
"""

DEFAULT_PORT = 10300
DEFAULT_URL = f"ws://127.0.0.1:{DEFAULT_PORT}/ws"

DEMO_USERS = (1001, 1002, 1003)
"""The users of a demo: friends of each other, and the members of `DEMO_GROUP`."""

DEMO_NAMES = {1001: "Anna Berg", 1002: "Ben Okafor", 1003: "Mei Chen"}

DEMO_GROUP = "g_demo"

LogLevel = Literal["debug", "info", "warn", "error", "severe"]
LOG_LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "severe": logging.CRITICAL,
}
"""go-zero's names of the levels."""

SLOW_LOG = "skyeim_ws.slow"
"""The logger of what took longer than it should; its lines have the level `slow`."""

STAT_LOG = "skyeim_ws.stat"
"""The logger of what a process has done in a minute; its lines have the level `stat`."""

BROADCAST = "ws:broadcast"
"""The channel of all nodes."""
