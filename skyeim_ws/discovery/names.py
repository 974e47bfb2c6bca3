"""Targets of gRPC, with the names in them resolved here, and again every few seconds.

gRPC would wait up to two minutes before it looks again for a name that was not found, and would
not tell replicas behind one name apart.
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog

INTERVAL = 5.0
"""Seconds until a name is looked up again."""

RETRY = 1.0
"""Seconds until that after a name was not found."""

TIMEOUT = 3.0
"""Seconds that look-ups are waited for; one that takes longer counts when it is done."""

log = structlog.get_logger()


class Name(NamedTuple):
    """A host and port of which the addresses may change."""

    host: str
    port: int


async def fixed(targets: Sequence[str]) -> AsyncIterator[list[str]]:
    """Give these targets, once, and never end."""
    yield list(targets)
    await asyncio.Event().wait()


async def resolved(source: AsyncIterator[Sequence[str]]) -> AsyncGenerator[dict[str, str]]:
    """Give address -> authority for the targets of a source, now and after each change.

    The authority is the name that an address was found by; empty if there was none. While a name
    is not found, what was found last stays true.
    """
    targets: Sequence[str] = ()
    given: dict[str, str] = {}
    look_ups = LookUps()
    news = asyncio.Event()

    async def follow() -> None:
        nonlocal targets
        async for latest in source:
            targets = latest
            news.set()

    following = asyncio.create_task(follow())
    following.add_done_callback(lambda _: news.set())
    try:
        while not following.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(look_ups.pause):
                    await news.wait()
            news.clear()
            found = await look_ups.addresses(targets)
            if found != given:
                given = found
                yield found
        following.result()
    finally:
        look_ups.close()
        following.cancel()
        await asyncio.wait({following})


class LookUps:
    """What was found for each name, and the look-ups under way.

    `pause` is how long what was found is taken for true, in seconds; None for ever.
    """

    def __init__(self) -> None:
        self.pause: float | None = None
        self._found: dict[Name, list[str]] = {}
        self._under_way: dict[Name, asyncio.Task[list[str]]] = {}
        self._missed: set[Name] = set()

    async def addresses(self, targets: Iterable[str]) -> dict[str, str]:
        """Return address -> authority; raises nothing, and takes no longer than `TIMEOUT`."""
        names = {target: name_of(target) for target in targets}
        await self._look_up({name for name in names.values() if name is not None})
        result: dict[str, str] = {}
        for target, name in names.items():
            if name is None:
                result.setdefault(target, "")
            else:
                for address in self._found.get(name, ()):
                    result.setdefault(address, f"{name.host}:{name.port}")
        return result

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in self._under_way.values():
            task.cancel()

    async def _look_up(self, names: set[Name]) -> None:
        for name in names - self._under_way.keys():
            self._under_way[name] = asyncio.create_task(_addresses(name))
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=TIMEOUT)
        for name in names:
            task = self._under_way[name]
            if not task.done():
                self._note(name, "no answer in time")
                continue
            del self._under_way[name]
            try:
                self._found[name] = task.result()
                self._note(name, "")
            except (OSError, ValueError, OverflowError) as error:
                self._note(name, str(error))
        self._found = {name: found for name, found in self._found.items() if name in names}
        self._missed &= names
        self.pause = (RETRY if self._missed else INTERVAL) if names else None

    def _note(self, name: Name, error: str) -> None:
        if error and name not in self._missed:
            self._missed.add(name)
            kept = len(self._found.get(name, ()))
            log.warning("name_not_found", host=name.host, error=error, kept=kept)
        elif not error and name in self._missed:
            self._missed.discard(name)
            log.info("name_found", host=name.host)


def name_of(target: str) -> Name | None:
    """Return the name in a target that is to be resolved here; None if gRPC takes it as it is."""
    host, colon, port = target.removeprefix("dns:///").removeprefix("dns:").rpartition(":")
    if not colon or not port.isdecimal() or not host or "/" in host or ":" in host:
        return None  # a path, an IPv6 address, a scheme of gRPC's own, or no port
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return Name(host, int(port))
    return None


async def _addresses(name: Name) -> list[str]:
    """Return the addresses of a name; raises OSError, and other errors for what is not a name."""
    found = await asyncio.get_running_loop().getaddrinfo(
        name.host, name.port, type=socket.SOCK_STREAM
    )
    hosts = (str(address[0]) for *_, address in found)
    return [f"[{host}]:{name.port}" if ":" in host else f"{host}:{name.port}" for host in hosts]
