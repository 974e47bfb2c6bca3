"""A gateway whose services are spoken to over TLS, with certificates on both sides."""

from pathlib import Path

import pytest

from skyeim_ws.config.rpc import RpcConf, RpcTlsConf
from skyeim_ws.contract.grpc_tls import server_credentials
from skyeim_ws.services.events import Events
from skyeim_ws.services.server import serve_services
from tests.gateway.conftest import MakeWorld
from tests.ports import free_port
from tests.waiting import until_async

TLS = Path(__file__).parent / "tls"
CERT, KEY = str(TLS / "localhost-cert.pem"), str(TLS / "localhost-key.pem")


@pytest.mark.gen_test
@pytest.mark.parametrize("shown", [True, False])
async def test_a_gateway_is_served_if_it_shows_its_certificate(
    make_world: MakeWorld, shown: bool
) -> None:
    address = f"localhost:{free_port()}"
    own = {"cert_file": CERT, "key_file": KEY} if shown else {}
    tls = RpcTlsConf(ca_cert_file=CERT, **own)
    rpc = RpcConf(endpoints=(address,), tls=tls, timeout=1_000)
    async with make_world(group_rpc=rpc) as world:
        events = Events(world.database)
        credentials = server_credentials(CERT, KEY, CERT)
        async with serve_services(world.database, events, [address], tls=credentials, grace=0):

            async def answered() -> bool:
                return (await world.get("/group/list", 1001)).code == (200 if shown else 503)

            await until_async(answered)
        await events.close()
