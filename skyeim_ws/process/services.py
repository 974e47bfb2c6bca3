"""The business services alone: this process becomes them, so nothing stands between."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from skyeim_ws.config.errors import ConfigError
from skyeim_ws.config.redis import RedisConf
from skyeim_ws.config.tree import Config, EmbeddedConf
from skyeim_ws.process import valkey
from skyeim_ws.process.embedded import (
    services_address,
    services_announcements,
    services_command,
    services_environment,
)


def become_services(config: Config) -> NoReturn:
    """Become the services, at the endpoints that the gateway would call.

    Without endpoints they listen where a gateway with the same data folder looks for its own, and
    hold that folder. Raises ConfigError, EmbeddedError, OSError.
    """
    for name, section in config.rpcs.items():
        if section is not None and not section.endpoints:
            problem = "is not set: the services listen there"
            raise ConfigError(config.path, problem, field=f"{name}.Endpoints")
    addresses = tuple(
        dict.fromkeys(e for rpc in config.rpcs.values() if rpc for e in rpc.endpoints)
    )
    data_dir = Path((config.embedded or EmbeddedConf()).data_dir)
    with ExitStack() as stack:
        with valkey.explained(data_dir):
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            socket = valkey.runtime_dir(data_dir) / valkey.SOCKET_NAME
            if not addresses:
                addresses = (services_address(data_dir),)
                lock = stack.enter_context(valkey.locked(data_dir))
                os.set_inheritable(lock, True)
        redis = config.redis or RedisConf(host=str(socket))
        command = services_command(
            addresses, config.local_url("http"), demo=False, conf=config.services
        )
        if config.cert_file:
            command += ["--push-cert-file", str(Path(config.cert_file).absolute())]
        announced = services_announcements(config)
        environment = os.environ | services_environment(config, redis, announced)
        # This process becomes the services: nothing is left to do here, and a signal reaches them.
        os.execve(command[0], command, environment)  # noqa: S606
