"""What the business services need, asked and migrated by processes of theirs."""

import json
import os
import subprocess
import sys

from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.tree import Config
from skyeim_ws.process.embedded import DATA_SOURCE_VARIABLE, REDIS_VARIABLE, data_source


def migrate(config: Config, *, dry_run: bool) -> int:
    """Bring the database up to date, or print the SQL of it; return the exit code."""
    more = ["--dry-run"] if dry_run else []
    return _run(config, None, "migrate", *more, captured=False).returncode


def ask(config: Config, redis: RedisConf | None) -> list[tuple[str, str]]:
    """Ask the database, and Redis if one is given; return of each what is wrong, or ""."""
    more = [] if redis is None else ["--redis-env", REDIS_VARIABLE]
    asked = _run(config, redis, "probe", *more, captured=True)
    if asked.returncode:
        return [("Database", "could not be asked: see above")]
    return [(what, problem) for what, problem in json.loads(asked.stdout)]


def _run(
    config: Config, redis: RedisConf | None, module: str, *more: str, captured: bool
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"skyeim_ws.services.{module}"]
    command += ["--data-source-env", DATA_SOURCE_VARIABLE, *more]
    # What has a password is not shown in the list of processes.
    secret = {DATA_SOURCE_VARIABLE: data_source(config)}
    if redis is not None:
        secret[REDIS_VARIABLE] = redis.address.encode()
    stdout = subprocess.PIPE if captured else None
    return subprocess.run(  # noqa: S603 - our own words
        command, env=os.environ | secret, stdout=stdout, text=True, check=False
    )
