"""`check --connect`: asks what a configuration names, once, and stops."""

import asyncio
import logging

import structlog

from skyeim_ws.config.tree import Config
from skyeim_ws.gateway.probe import Finding, probe


def ask_backends(config: Config) -> list[Finding]:
    """Return what was asked and what is wrong with it; the log stays silent."""
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    return asyncio.run(probe(config))
