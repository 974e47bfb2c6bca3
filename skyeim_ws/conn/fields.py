"""What is kept for each connection; ten thousand idle ones cost memory and nothing else."""

import sys
from collections.abc import Callable
from typing import Any

from skyeim_ws.conn.ending import Ending
from skyeim_ws.conn.flusher import Flusher
from skyeim_ws.conn.ledger import Ledger
from skyeim_ws.conn.limits import Limits
from skyeim_ws.conn.outbox import Outbox
from skyeim_ws.conn.rate import TokenBucket
from skyeim_ws.conn.stats import Stats
from skyeim_ws.conn.wire import Wire
from skyeim_ws.contract.texts import Language

MAX_USER_AGENT = 200
"""Characters that are kept; browsers say about 110."""


class ClientFields:
    """In slots, beside the dictionary that a handler has from Tornado.

    When a message goes to a thousand receivers, most of its cost is the memory that is touched.
    """

    __slots__ = (
        "_wire",
        "acks_due",
        "bucket",
        "close_timeout",
        "conn_id",
        "connected_at",
        "device",
        "direct",
        "ending",
        "expires_at",
        "flusher",
        "frames_in",
        "frames_out",
        "language",
        "last_ping",
        "last_seen",
        "ledger",
        "next_check",
        "next_ping",
        "opened_at",
        "outbox",
        "remote",
        "session",
        "stats",
        "unconfirmed",
        "user_agent",
        "user_id",
    )

    # Set by `identify`, before the upgrade.
    user_id: int
    conn_id: str
    device: str
    remote: str
    user_agent: str
    connected_at: int
    expires_at: float

    def set_up(self, limits: Limits, stats: Stats, flusher: Flusher, now: float) -> None:
        """Begin with nothing, `now` on the context's clock."""
        self.stats = stats
        self.flusher = flusher
        self.close_timeout = limits.close_timeout
        # None before the upgrade.
        self._wire: Wire | None = None
        # The socket's own `send`, while the session is open and nothing waits to be written; else
        # None.
        self.direct: Callable[[bytes], int] | None = None
        self.outbox = Outbox(limits.send_queue_size, limits.send_queue_bytes)
        self.ledger = Ledger(limits.ledger_size)
        self.bucket = TokenBucket(limits.rate_limit, limits.rate_burst, now)
        # How many frames may still acknowledge what was sent: the limit does not count those.
        self.acks_due = 0
        # For the line that tells of the connection at its end.
        self.opened_at = now
        self.frames_in = self.frames_out = self.unconfirmed = 0
        self.ending: Ending | None = None
        self.language = Language.EN
        self.last_seen = now
        self.next_check = now
        self.next_ping = now
        self.last_ping = now - limits.confirm_interval
        # Belongs to whoever implements `SessionEvents`, and has a type of theirs.
        self.session: Any = None

    def identify(
        self,
        *,
        user_id: int,
        conn_id: str,
        device: str,
        connected_at: int,
        expires_at: float,
        remote: str = "",
        user_agent: str = "",
    ) -> None:
        """Say who this is, before the upgrade.

        `connected_at` is in Unix seconds, `expires_at` on the context's clock.
        """
        self.remote = remote
        # Thousands of clients have the same one.
        self.user_agent = sys.intern(user_agent[:MAX_USER_AGENT])
        self.user_id = user_id
        self.conn_id = conn_id
        self.device = device
        self.connected_at = connected_at
        self.expires_at = expires_at

    @property
    def gone(self) -> bool:
        """Whether the peer has closed its side, so that nobody waits for a login."""
        return self._wire is not None and self._wire.gone

    @property
    def reading_paused(self) -> bool:
        """Whether reading is paused, so that the client's silence means nothing."""
        return self._wire is not None and self._wire.paused
