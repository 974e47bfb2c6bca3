"""Which messages are traced."""

from dataclasses import dataclass

from skyeim_ws.config.kinds import Count, Share, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceConf:
    """A part of all messages, from 0 to 1, and all messages from and to `users`.

    Redis keeps about `size` lines, of all nodes together; `queue_size` of a node wait for it.
    """

    sampler: Share = 0.0
    users: tuple[UserId, ...] = ()
    size: Count = 100_000
    queue_size: Count = 10_000
