"""The bounds of one connection."""

from dataclasses import dataclass

from skyeim_ws.contract.names import LONGEST_FRAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in frames or bytes, rates in frames per second."""

    ping_interval: float = 54
    pong_timeout: float = 60
    confirm_interval: float = 0.5
    close_timeout: float = 5
    max_message_size: int = LONGEST_FRAME
    send_queue_size: int = 256
    send_queue_bytes: int = 1048576
    ledger_size: int = 1024
    rate_limit: float = 200
    rate_burst: float = 400
