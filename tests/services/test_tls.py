"""The services over TLS: who is trusted is served, who is not is not, and who needs it is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from structlog.testing import capture_logs

from skyeim_ws.contract.grpc_tls import client_tls, server_credentials
from skyeim_ws.contract.pb import message_pb2 as pb
from skyeim_ws.contract.pb.message_pb2_grpc import MessageStub
from skyeim_ws.rpc.errors import RpcFailed
from skyeim_ws.rpc.pool import Pool
from skyeim_ws.rpc.service import Service
from skyeim_ws.services.db import open_database
from skyeim_ws.services.events import Events
from skyeim_ws.services.server import serve_services
from tests.services.test_server import process

FOLDER = Path(__file__).parent.parent / "gateway" / "tls"
CERT, KEY = str(FOLDER / "localhost-cert.pem"), str(FOLDER / "localhost-key.pem")


@asynccontextmanager
async def served(
    tmp_path: Path, tls: grpc.ServerCredentials | None, *addresses: str
) -> AsyncIterator[list[str]]:
    database = await open_database(str(tmp_path / "im.db"))
    events = Events(database)
    try:
        async with serve_services(database, events, addresses, tls=tls, grace=0) as bound:
            yield bound
    finally:
        await events.close()
        await database.close()


async def ask(
    address: str, files: tuple[str, str, str] | None = None, timeout: float = 5.0
) -> int | StatusCode:
    """Ask as the gateway does; return the answer, or why there is none."""
    tls = None if files is None else client_tls(*files, server_name="")
    pool = Pool("message", [address], timeout, tls)
    try:
        service = Service(pool, MessageStub)
        request = pb.GetUnreadCountReq(user_id=1)
        return (await service.call(lambda stub: stub.GetUnreadCount, request)).count
    except RpcFailed as failed:
        return failed.code
    finally:
        await pool.close()


@pytest.mark.gen_test
async def test_whoever_trusts_the_certificate_is_served_over_tls_alone(tmp_path: Path) -> None:
    socket = f"unix:{tmp_path / 's'}"
    async with served(tmp_path, server_credentials(CERT, KEY, ""), "127.0.0.1:0", socket) as bound:
        assert await ask(bound[0], (CERT, "", "")) == 0
        by_name = f"localhost:{bound[0].rpartition(':')[2]}"
        assert await ask(by_name, (CERT, "", "")) == 0
        assert await ask(bound[0], timeout=0.5) is StatusCode.UNAVAILABLE
        # Nobody has said that this certificate is to be trusted.
        assert await ask(bound[0], ("", "", ""), timeout=0.5) is StatusCode.UNAVAILABLE
        # On a unix socket there is none, whatever the client was told.
        assert await ask(socket, (CERT, "", "")) == 0
        assert await ask(socket) == 0


@pytest.mark.gen_test
async def test_with_a_ca_for_clients_only_those_that_it_has_certified_are_served(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, server_credentials(CERT, KEY, CERT), "127.0.0.1:0") as [address]:
        assert await ask(address, (CERT, CERT, KEY)) == 0
        assert await ask(address, (CERT, "", ""), timeout=0.5) is StatusCode.UNAVAILABLE


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("address", "warned"),
    [("127.0.0.1:0", False), ("localhost:0", False), ("[::1]:0", False), ("0.0.0.0:0", True)],
)
async def test_services_without_tls_warn_beyond_this_machine(
    tmp_path: Path, address: str, warned: bool
) -> None:
    with capture_logs() as logs:
        async with served(tmp_path, None, address, f"unix:{tmp_path / 's'}") as bound:
            pass
    warnings = [line["addresses"] for line in logs if line["event"] == "services_without_tls"]
    assert warnings == ([[bound[0]]] if warned else [])
    with capture_logs() as logs:
        async with served(tmp_path, server_credentials(CERT, KEY, ""), address):
            pass
    assert "services_without_tls" not in [line["event"] for line in logs]


@pytest.mark.gen_test
async def test_the_program_takes_the_files_and_says_which_it_cannot_read(tmp_path: Path) -> None:
    common = ("--data-source", str(tmp_path / "im.db"), "--listen", "127.0.0.1:0")
    missing = str(tmp_path / "none.pem")
    async with process(*common, "--cert-file", missing, "--key-file", KEY) as child:
        _, said = await child.communicate()
        assert child.returncode == 1
        assert missing in said.decode()
    for half in (("--cert-file", CERT), ("--key-file", KEY), ("--client-ca-file", CERT)):
        async with process(*common, *half) as child:
            _, said = await child.communicate()
            assert child.returncode == 2
            assert "--cert-file" in said.decode()
