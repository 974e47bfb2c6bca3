"""`check --connect`: asks what a configuration names, once, and stops."""

import asyncio
import logging

import structlog

from skyeim_ws.config.tree import Config
from skyeim_ws.gateway.probe import Finding, probe, probe_announced
from skyeim_ws.process import database


def ask_backends(config: Config, *, services: bool) -> list[Finding]:
    """Return what was asked and what is wrong with it; the log stays silent.

    With `services` that is what the business services need, else what the gateway needs; both have
    the database, where one is named.
    """
    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent)
    if services:
        found = asyncio.run(probe_announced(config))
        return [*found, *(Finding(*each) for each in database.ask(config, config.redis))]
    found = asyncio.run(probe(config))
    if config.database is not None:
        found += [Finding(*each) for each in database.ask(config, None)]
    return found
