"""SIGHUP: opens the log files anew, and takes what may change of the configuration."""

from collections.abc import Callable

import structlog

from skyeim_ws.config.changes import differences, with_live
from skyeim_ws.config.check import check, load
from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.tree import Config
from skyeim_ws.ops import logs, systemd

log = structlog.get_logger()


def reread_file(config: Config) -> Config:
    """Return what the file of a configuration says now; raises ConfigError."""
    return load(config.path, env=config.env).config


def reloader(
    config: Config,
    reread: Callable[[], Config],
    take: Callable[[Config], object],
    *,
    process: str = "gateway",
) -> Callable[[], bool]:
    """Return what reloads a process that runs with `config`, and says whether it went well.

    `reread` reads the file and raises ConfigError; `take` gives the process what has changed, or
    raises OSError before it has given anything. `process` is its name in the log. A worker leaves
    it to its parent to speak of the keys that need a restart, and to systemd.
    """
    running = config
    alone = process in logs.FIRST

    def reload() -> bool:
        nonlocal running
        if alone:
            systemd.notify(systemd.reloading())
        try:
            # Also with a bad configuration: the file of before may be moved away by now.
            logs.reopen(running.named_log, process=process)
            read = reread()
            new = with_live(running, read)
            # As a whole it may be wrong where each part is right: a Mode that is not taken.
            check(new)
            take(new)
        except (ConfigError, OSError) as error:
            log.error("reload_failed", error=str(error))
            return False
        else:
            logs.set_level(new.log.level)
            log.info("reloaded", changed=differences(running, new))
            running = new
            if alone and (waiting := differences(running, read)):
                log.warning("restart_needed", keys=waiting)
            return True
        finally:
            if alone:
                systemd.notify(systemd.READY)

    return reload
