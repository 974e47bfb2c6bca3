"""The addresses of a service in a real etcd, through whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.contract.pb import etcd_pb2_grpc
from skyeim_ws.discovery import etcd as etcd_module
from skyeim_ws.discovery.etcd import EtcdFailed, connect
from skyeim_ws.discovery.watch import read_once, watched
from tests.discovery.etcd_server import PASSWORD, needs_etcd, running_etcd
from tests.discovery.following import following
from tests.waiting import until

pytestmark = needs_etcd

TLS = Path(__file__).parent.parent / "gateway" / "tls"
CERTIFICATE = (TLS / "localhost-cert.pem", TLS / "localhost-key.pem")


class Watching:
    """What has been given so far."""

    def __init__(self, given: list[list[str]]) -> None:
        self.given = given

    @property
    def last(self) -> list[str] | None:
        return self.given[-1] if self.given else None

    async def is_given(self, *addresses: str) -> None:
        await until(lambda: self.last == sorted(addresses))


@asynccontextmanager
async def watching(conf: EtcdConf) -> AsyncIterator[Watching]:
    async with following(watched(conf)) as given:
        yield Watching(given)


@pytest.mark.gen_test
async def test_instances_come_go_and_move() -> None:
    async with running_etcd() as etcd:
        await etcd.put("m.rpc/1", "h:1")
        await etcd.put("m.rpcs/9", "another:1")
        async with watching(etcd.conf("m.rpc")) as found:
            await found.is_given("h:1")
            await etcd.put("m.rpc/2", "h:2")
            await found.is_given("h:1", "h:2")
            await etcd.put("m.rpc/1", "h:3")
            await found.is_given("h:2", "h:3")
            await etcd.delete("m.rpc/2")
            await found.is_given("h:3")
            # Registered anew, while the old lease is still there.
            await etcd.put("m.rpc/4", "h:3")
            await etcd.put("m.rpc/5", "h:5")
            await found.is_given("h:3", "h:5")
        assert found.given == [["h:1"], ["h:1", "h:2"], ["h:2", "h:3"], ["h:3"], ["h:3", "h:5"]]


@pytest.mark.gen_test
async def test_what_was_known_stays_true_through_an_outage() -> None:
    async with running_etcd() as etcd:
        await etcd.put("m.rpc/1", "h:1")
        with capture_logs() as logs:
            async with watching(etcd.conf("m.rpc")) as found:
                await found.is_given("h:1")
                etcd.stop()
                await until(lambda: "etcd_lost" in [entry["event"] for entry in logs])
                await etcd.start()
                await until(lambda: "etcd_reached" in [entry["event"] for entry in logs])
                await etcd.put("m.rpc/2", "h:2")
                await found.is_given("h:1", "h:2")
        assert found.given == [["h:1"], ["h:1", "h:2"]]
        assert [entry["event"] for entry in logs] == ["etcd_lost", "etcd_reached"]


@pytest.mark.gen_test
async def test_what_changed_while_etcd_was_away_is_read_when_it_is_back() -> None:
    """The first server goes on without its clients: they find the other one of the hosts."""
    async with running_etcd() as etcd, running_etcd() as other:
        for server in (etcd, other):
            await server.put("m.rpc/1", "h:1")
        both = replace(etcd.conf("m.rpc"), hosts=(etcd.address, other.address))
        async with watching(both) as found:
            await found.is_given("h:1")
            for server in (etcd, other):
                await server.put("m.rpc/2", "h:2")
            await found.is_given("h:1", "h:2")
            await other.delete("m.rpc/1")
            etcd.stop()
            await found.is_given("h:2")


@pytest.mark.gen_test
async def test_an_etcd_that_stands_still_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel still answers; the watch would hear nothing for ever."""
    hasty = dict(etcd_module.OPTIONS) | {"grpc.keepalive_time_ms": 1_000}
    assert hasty["grpc.http2.ping_timeout_ms"] == hasty["grpc.keepalive_timeout_ms"] == 5_000
    monkeypatch.setattr(etcd_module, "OPTIONS", tuple(hasty.items()))
    async with running_etcd() as etcd, running_etcd() as other:
        await etcd.put("m.rpc/1", "h:1")
        await other.put("m.rpc/2", "h:2")
        both = replace(etcd.conf("m.rpc"), hosts=(etcd.address, other.address))
        monkeypatch.setattr("random.randrange", lambda _: 0)
        async with watching(both) as found:
            await found.is_given("h:1")
            etcd.freeze()
            await found.is_given("h:2")


@pytest.mark.gen_test
async def test_a_watch_ends_when_it_is_cancelled_as_its_connection_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the two, grpcio tells the task only that the call has failed."""

    async def fails(*_: Any, **__: Any) -> None:
        reading.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            none = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, none, none, "Socket closed", None
            ) from None

    reading = asyncio.Event()
    monkeypatch.setattr(etcd_pb2_grpc, "KVStub", lambda _: SimpleNamespace(Range=fails))
    async with watching(EtcdConf(hosts=("127.0.0.1:1",), key="m.rpc")):
        await reading.wait()


@pytest.mark.gen_test
async def test_an_etcd_that_has_lost_its_data_takes_no_address_away() -> None:
    async with running_etcd() as etcd:
        await etcd.put("m.rpc/1", "h:1")
        with capture_logs() as logs:
            async with watching(etcd.conf("m.rpc")) as found:
                await found.is_given("h:1")
                etcd.stop()
                etcd.clear()
                await etcd.start()
                await until(lambda: "etcd_has_no_addresses" in [entry["event"] for entry in logs])
                await etcd.put("m.rpc/7", "h:7")
                await found.is_given("h:7")
        assert found.given == [["h:1"], ["h:7"]]


@pytest.mark.gen_test
async def test_a_start_without_etcd_goes_on_trying() -> None:
    async with running_etcd() as etcd:
        await etcd.put("m.rpc/1", "h:1")
        etcd.stop()
        with capture_logs() as logs:
            async with watching(etcd.conf("m.rpc")) as found:
                await until(lambda: logs)
                assert found.last is None
                await etcd.start()
                await found.is_given("h:1")
        assert [entry["event"] for entry in logs] == ["etcd_lost", "etcd_reached"]
        assert "UNAVAILABLE" in logs[0]["error"]


@pytest.mark.gen_test
async def test_a_revision_that_was_compacted_away_ends_the_watch() -> None:
    """And so it is read again from the beginning."""
    async with running_etcd() as etcd:
        for number in range(5):
            await etcd.put("m.rpc/1", f"h:{number}")
        await etcd.compact()
        async with connect(etcd.conf("m.rpc"), 0) as connection:
            with pytest.raises(EtcdFailed, match="compacted"):
                async for _ in connection.watch("m.rpc/", 2):
                    pass
        async with watching(etcd.conf("m.rpc")) as found:
            await found.is_given("h:4")
            await etcd.compact()
            await etcd.put("m.rpc/1", "h:9")
            await found.is_given("h:9")


@pytest.mark.gen_test
async def test_a_password() -> None:
    async with running_etcd() as etcd:
        await etcd.put("m.rpc/1", "h:1")
        await etcd.lock("gateway", "m.rpc/")
        conf = etcd.conf("m.rpc", user="gateway", password=PASSWORD)
        with capture_logs() as logs:
            async with watching(conf) as found:
                await found.is_given("h:1")
                etcd.stop()
                await etcd.start()  # its tokens are gone
                await etcd.log_in()
                await etcd.put("m.rpc/2", "h:2")
                await found.is_given("h:1", "h:2")
        assert [entry["event"] for entry in logs] == ["etcd_lost", "etcd_reached"]
        for wrong, said in (
            (replace(conf, user="", password=""), "user name is empty"),
            (replace(conf, password="wrong"), "authentication failed"),
            (replace(conf, key="g.rpc"), "permission denied"),
        ):
            with pytest.raises(EtcdFailed, match=said) as caught:
                await read_once(wrong)
            assert PASSWORD not in str(caught.value)


@pytest.mark.gen_test
@pytest.mark.parametrize("verified", [True, False])
async def test_tls_with_certificates_on_both_sides(verified: bool) -> None:
    certificate, key = map(str, CERTIFICATE)
    async with running_etcd(CERTIFICATE) as etcd:
        await etcd.put("m.rpc/1", "h:1")
        conf = etcd.conf("m.rpc", cert_file=certificate, cert_key_file=key)
        checks = {"ca_cert_file": certificate} if verified else {"insecure_skip_verify": True}
        async with watching(replace(conf, **checks)) as found:
            await found.is_given("h:1")
            await etcd.put("m.rpc/2", "h:2")
            await found.is_given("h:1", "h:2")


@pytest.mark.gen_test
async def test_tls_refuses_whoever_is_not_known(tmp_path: Path) -> None:
    certificate, key = map(str, CERTIFICATE)
    async with running_etcd(CERTIFICATE) as etcd:
        # Verified against what the system trusts, where this certificate is not.
        unknown = etcd.conf("m.rpc", cert_file=certificate, cert_key_file=key)
        with pytest.raises(EtcdFailed, match=r"(?i)certificate|handshake|ssl"):
            await read_once(unknown)
        missing = replace(unknown, ca_cert_file=str(tmp_path / "none.pem"))
        with pytest.raises(EtcdFailed, match=r"none\.pem"):
            await read_once(missing)


@pytest.mark.gen_test
async def test_read_once_asks_one_host_after_the_other() -> None:
    async with running_etcd() as etcd:
        await etcd.put("m.rpc/1", "h:1")
        conf = replace(etcd.conf("m.rpc"), hosts=("127.0.0.1:1", f"http://{etcd.address}"))
        assert await read_once(conf) == ["h:1"]
        with pytest.raises(EtcdFailed, match="UNAVAILABLE"):
            await read_once(replace(conf, hosts=("127.0.0.1:1",)))
