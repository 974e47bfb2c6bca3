"""How many files and connections this process may have open at once."""

import resource

import structlog

log = structlog.get_logger()

SPARE = 100
"""Descriptors beside those of the clients: Redis, services, logs, a crowd at its handshakes."""


def raise_limit(max_conns: int) -> int:
    """Allow this process as many descriptors as it may allow itself; return the limit.

    Warns if that is too little for `max_conns` clients, unless that is 0, which means no limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:  # more than the kernel itself allows
            log.warning("descriptor_limit_not_raised", limit=soft, error=str(error))
    if soft != resource.RLIM_INFINITY and max_conns and soft < max_conns + SPARE:
        log.warning("descriptor_limit_low", limit=soft, wanted=max_conns + SPARE)
    return soft
