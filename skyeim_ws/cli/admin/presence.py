"""The admin command for who is online: it asks the gateways, over their Redis."""

from contextlib import aclosing
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from skyeim_ws.cli.admin.calls import DEADLINE, AdminError
from skyeim_ws.cli.admin.output import Answer
from skyeim_ws.config.tree import Config
from skyeim_ws.contract.names import BROADCAST, REPAIR
from skyeim_ws.contract.redis_address import RedisAddress, host_and_port
from skyeim_ws.contract.redis_client import client_options, open_server
from skyeim_ws.process import valkey


async def repair(config: Config) -> Answer:
    """Ask all gateways to compare who is online with the truth, now; raises AdminError."""
    address = _address(config)
    try:
        async with aclosing(_open(address)) as redis:
            heard = int(await redis.publish(BROADCAST, REPAIR))
    except (RedisError, OSError) as error:
        raise AdminError(f"cannot reach Redis ({type(error).__name__}): see `Redis`") from None
    if address.kind == "cluster":
        # Each of its nodes knows only of those who listen at it.
        return Answer({"asked": None}, "all gateways were asked")
    if not heard:
        raise AdminError("no gateway listens: start one with `skyeim-ws serve`")
    return Answer({"asked": heard}, f"{heard} gateways were asked: they are done within seconds")


def _open(address: RedisAddress) -> Redis:
    if address.kind != "cluster":
        return open_server(address, DEADLINE, DEADLINE)
    host, port = host_and_port(address.hosts[0])
    return Redis(host=host, port=port, **client_options(address, DEADLINE))


def _address(config: Config) -> RedisAddress:
    if config.redis is not None:
        return config.redis.address
    folder = Path(config.embedded.data_dir if config.embedded is not None else "")
    if not folder.is_dir():
        raise AdminError(f"there is no data folder {folder.absolute()}: start the gateway first")
    try:
        return RedisAddress(hosts=(str(valkey.runtime_dir(folder) / valkey.SOCKET_NAME),))
    except (OSError, valkey.EmbeddedError) as error:
        raise AdminError(str(error)) from None
