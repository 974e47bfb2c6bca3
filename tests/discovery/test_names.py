"""Names and their addresses, with a table in place of the resolver."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import pytest
from structlog.testing import capture_logs

from skyeim_ws.discovery import names
from skyeim_ws.discovery.names import Name, fixed, name_of, resolved
from tests.discovery.following import following
from tests.waiting import until


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("message:10400", Name("message", 10400)),
        ("dns:///message.internal:10400", Name("message.internal", 10400)),
        ("dns:message:1", Name("message", 1)),
        ("127.0.0.1:10400", None),
        ("dns:///127.0.0.1:10400", None),
        ("[::1]:10400", None),
        ("dns:///[fe80::1]:1", None),
        ("dns://9.9.9.9/message:10400", None),
        ("unix:/run/s.sock", None),
        ("unix:///run/s.sock", None),
        ("unix-abstract:name", None),
        ("ipv4:10.0.0.1:80,10.0.0.2:80", None),
        ("xds:///message:80", None),
        ("message", None),
        (":10400", None),
        ("", None),
    ],
)
def test_which_targets_hold_a_name_for_us(target: str, name: Name | None) -> None:
    assert name_of(target) == name


class Resolver:
    """Answers from a table; a name that is not in it is not found, and None does not answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table: dict[str, list[str] | None] = {}
        self.asked = 0
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", self._getaddrinfo)
        for name in ("INTERVAL", "RETRY", "TIMEOUT"):
            monkeypatch.setattr(names, name, 0.05)

    async def _getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked += 1
        if host not in self.table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        while (found := self.table[host]) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


def given(
    source: AsyncIterator[Sequence[str]],
) -> AbstractAsyncContextManager[list[dict[str, str]]]:
    return following(resolved(source))


@pytest.mark.gen_test
async def test_replicas_behind_a_name_come_and_go(resolver: Resolver) -> None:
    resolver.table["m"] = ["10.0.0.1", "10.0.0.2", "fd00::1"]
    async with given(fixed(["unix:/s", "dns:///m:80"])) as found:
        replicas = {"10.0.0.1:80": "m:80", "10.0.0.2:80": "m:80", "[fd00::1]:80": "m:80"}
        await until(lambda: found == [{"unix:/s": "", **replicas}])
        resolver.table["m"] = ["10.0.0.2"]
        await until(lambda: found[-1] == {"unix:/s": "", "10.0.0.2:80": "m:80"})
        asked = resolver.asked
        await until(lambda: resolver.asked > asked + 2)
    assert len(found) == 2


@pytest.mark.gen_test
async def test_a_name_that_is_not_found_is_looked_up_again_soon(resolver: Resolver) -> None:
    with capture_logs() as logs:
        async with given(fixed(["m:80", "unix:/s"])) as found:
            await until(lambda: found == [{"unix:/s": ""}])
            await until(lambda: resolver.asked > 2)
            resolver.table["m"] = ["10.0.0.1"]
            await until(lambda: found[-1] == {"10.0.0.1:80": "m:80", "unix:/s": ""})
            del resolver.table["m"]
            asked = resolver.asked
            await until(lambda: resolver.asked > asked + 2)
    assert len(found) == 2
    assert [(entry["event"], entry["host"]) for entry in logs] == [
        ("name_not_found", "m"),
        ("name_found", "m"),
        ("name_not_found", "m"),
    ]
    assert [entry["kept"] for entry in logs if "kept" in entry] == [0, 1]


@pytest.mark.gen_test
async def test_a_resolver_that_hangs_holds_up_no_other_name(resolver: Resolver) -> None:
    resolver.table = {"hung": None, "m": ["10.0.0.1"]}
    async with given(fixed(["hung:80", "m:80"])) as found:
        await until(lambda: found == [{"10.0.0.1:80": "m:80"}])
        asked = resolver.asked
        await until(lambda: resolver.asked > asked + 2)
        resolver.table["hung"] = ["10.0.0.9"]
        await until(lambda: found[-1] == {"10.0.0.9:80": "hung:80", "10.0.0.1:80": "m:80"})


@pytest.mark.gen_test
async def test_the_targets_themselves_may_change(resolver: Resolver) -> None:
    resolver.table = {"m": ["10.0.0.1"], "n": ["10.0.0.1"]}
    told: asyncio.Queue[list[str]] = asyncio.Queue()

    async def source() -> AsyncIterator[list[str]]:
        while True:
            yield await told.get()

    async with given(source()) as found:
        told.put_nowait(["10.0.0.7:1"])
        await until(lambda: found == [{"10.0.0.7:1": ""}])
        told.put_nowait(["m:1", "n:1"])
        await until(lambda: found[-1] == {"10.0.0.1:1": "m:1"})
        told.put_nowait([])
        await until(lambda: found[-1] == {})


@pytest.mark.gen_test
async def test_a_source_that_fails_is_not_hidden() -> None:
    async def source() -> AsyncIterator[list[str]]:
        yield ["10.0.0.7:1"]
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        async for _ in resolved(source()):
            pass


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "odd", ["h:99999999999999999999", "h\0x:80", f"{'a' * 300}:80", "h h:80", "..:80", "\ufffd:80"]
)
async def test_what_is_no_name_harms_nothing(odd: str) -> None:
    """Whatever somebody has written into etcd."""
    async with aclosing(resolved(fixed([odd, "10.0.0.1:80"]))) as source:
        assert await anext(source) == {"10.0.0.1:80": ""}


@pytest.mark.gen_test
async def test_the_real_resolver_finds_this_machine() -> None:
    async with aclosing(resolved(fixed(["localhost:80"]))) as source:
        assert (await anext(source)).get("127.0.0.1:80") == "localhost:80"
