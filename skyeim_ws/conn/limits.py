"""The bounds of one connection; `config.web_socket` has their defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in frames or bytes, rates in frames per second."""

    ping_interval: float
    pong_timeout: float
    confirm_interval: float
    close_timeout: float
    max_message_size: int
    send_queue_size: int
    send_queue_bytes: int
    ledger_size: int
    rate_limit: float
    rate_burst: float
