"""Our addresses in a real etcd, as go-zero's own clients look for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from skyeim_ws.config.rpc import EtcdConf
from skyeim_ws.discovery import announce
from skyeim_ws.discovery.announce import Announcement, announcing, decode, encode, reached_at
from tests.discovery.etcd_server import PASSWORD, Etcd, needs_etcd, running_etcd
from tests.waiting import until, until_async


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "INTERVAL", 0.1)
    monkeypatch.setattr(announce, "RETRY", 0.1)


async def shown(etcd: Etcd, key: str, *values: str) -> dict[str, str]:
    """Wait until exactly these values stand under a key; return them with their keys."""

    async def stand() -> list[dict[str, str]]:
        found = await etcd.keys(f"{key}/")
        return [found] if sorted(found.values()) == sorted(values) else []

    [found] = await until_async(stand)
    return found


@asynccontextmanager
async def in_etcd() -> AsyncIterator[Etcd]:
    async with running_etcd() as etcd:
        yield etcd


@needs_etcd
@pytest.mark.gen_test
async def test_an_address_is_there_under_its_lease_until_the_end() -> None:
    async with in_etcd() as etcd:
        here = [Announcement(etcd.conf("m.rpc"), "h:1"), Announcement(etcd.conf("f.rpc"), "h:1")]
        async with announcing(here):
            (key,) = await shown(etcd, "m.rpc", "h:1")
            await shown(etcd, "f.rpc", "h:1")
            lease = key.removeprefix("m.rpc/")
            found = await etcd.ask("kv/lease/timetolive", ID=lease, keys=True)
            assert found["grantedTTL"] == "10"
        # Withdrawn, not left to the end of the lease.
        assert await etcd.keys("m.rpc/") == {}
        assert await etcd.keys("f.rpc/") == {}


@needs_etcd
@pytest.mark.gen_test
async def test_an_id_takes_the_place_of_the_lease() -> None:
    async with in_etcd() as etcd:
        async with announcing([Announcement(etcd.conf("m.rpc", instance=7), "h:1")]):
            assert await shown(etcd, "m.rpc", "h:1") == {"m.rpc/7": "h:1"}
        assert await etcd.keys("m.rpc/") == {}


@needs_etcd
@pytest.mark.gen_test
async def test_it_is_written_again_when_it_was_lost() -> None:
    async with in_etcd() as etcd:
        with capture_logs() as logs:
            async with announcing([Announcement(etcd.conf("m.rpc"), "h:1")]):
                (key,) = await shown(etcd, "m.rpc", "h:1")
                await etcd.delete(key)
                (again,) = await shown(etcd, "m.rpc", "h:1")
                assert again != key
                await etcd.ask("kv/lease/revoke", ID=again.removeprefix("m.rpc/"))
                await shown(etcd, "m.rpc", "h:1")
                etcd.stop()
                etcd.clear()
                await etcd.start()
                await shown(etcd, "m.rpc", "h:1")
            assert await etcd.keys("m.rpc/") == {}
        # Whether a sign of life met the outage is a matter of luck.
        events = [entry["event"] for entry in logs if entry["event"] != "address_not_announced"]
        assert events == ["address_announced"] * 4 + ["address_withdrawn"]


@needs_etcd
@pytest.mark.gen_test
async def test_a_password() -> None:
    async with in_etcd() as etcd:
        await etcd.lock("service", "m.rpc/")
        conf = etcd.conf("m.rpc", user="service", password=PASSWORD)
        async with announcing([Announcement(conf, "h:1")]):
            await shown(etcd, "m.rpc", "h:1")
        assert await etcd.keys("m.rpc/") == {}


@pytest.mark.gen_test
async def test_without_etcd_the_start_and_the_end_wait_for_nothing() -> None:
    conf = EtcdConf(hosts=("127.0.0.1:1",), key="m.rpc")
    with capture_logs() as logs:
        async with announcing([Announcement(conf, "h:1")]):
            await until(lambda: logs)
    assert [entry["event"] for entry in logs] == ["address_not_announced"]


@pytest.mark.parametrize(
    ("host", "configured", "address"),
    [
        ("10.0.0.5", "", "10.0.0.5:1"),
        ("message.internal", "", "message.internal:1"),
        ("10.0.0.5", "10.0.0.9", "10.0.0.9:1"),
        ("0.0.0.0", "10.0.0.9", "10.0.0.9:1"),
        ("0.0.0.0", "", "10.1.1.1:1"),
        ("::", "", "10.1.1.1:1"),
        ("[::]", "", "10.1.1.1:1"),
        ("", "", "10.1.1.1:1"),
        ("fe80::1", "", "[fe80::1]:1"),
        ("[fe80::1]", "", "[fe80::1]:1"),
    ],
)
def test_what_others_are_told(
    host: str, configured: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_IP", "10.1.1.1")
    assert reached_at(host, 1, configured) == address


def test_without_any_hint_the_address_towards_others_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the point of view of this machine, others are on loopback here."""
    monkeypatch.delenv("POD_IP", raising=False)
    monkeypatch.setattr(announce, "_ELSEWHERE", ("127.0.0.1", 9))
    assert reached_at("0.0.0.0", 80, "") == "127.0.0.1:80"


def test_announcements_are_handed_on_as_text() -> None:
    conf = EtcdConf(hosts=("e:1",), key="k", password="p", instance=3)
    told = [Announcement(conf, "h:1")]
    assert decode(encode(told)) == told
    assert decode(encode([])) == []
