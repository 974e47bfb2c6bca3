"""Other processes of the program, which answer operators' questions on unix sockets."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPResponse
from tornado.netutil import Resolver
from tornado.simple_httpclient import SimpleAsyncHTTPClient

_SECONDS = 2.0
"""For an answer: less than a scrape waits."""


class Neighbours:
    """Asks processes by name; `sockets` are the paths at which they listen."""

    def __init__(self, sockets: Mapping[str, str]) -> None:
        self.names = tuple(sockets)
        self._client = SimpleAsyncHTTPClient(
            force_instance=True, resolver=_Sockets(sockets), max_clients=2 * len(sockets) + 1
        )

    async def get(self, path: str) -> dict[str, HTTPResponse | None]:
        """Return the answer of each, all asked at once; None for one that does not answer."""
        answers = await asyncio.gather(*(self._get(name, path) for name in self.names))
        return dict(zip(self.names, answers, strict=True))

    async def problems(self, path: str) -> list[str]:
        """Return what is wrong with them, as their probe at this path says.

        One that does not answer is being started again; that is a problem if nobody answers.
        """
        answers = (await self.get(path)).items()
        found = [f"{name}: {each.body.decode()}" for name, each in answers if each and each.error]
        return found if any(each for _, each in answers) else ["no_answer"]

    def close(self) -> None:
        """Ask no more."""
        self._client.close()

    async def ask(self, name: str, path: str, seconds: float) -> HTTPResponse | None:
        """Return the answer of one, which takes so many seconds; None if it does not answer."""
        return await self._get(name, path, seconds + _SECONDS)

    async def _get(self, name: str, path: str, seconds: float = _SECONDS) -> HTTPResponse | None:
        url = f"http://{name}{path}"
        try:
            return await self._client.fetch(url, raise_error=False, request_timeout=seconds)
        except (OSError, HTTPClientError):
            return None


class _Sockets(Resolver):
    """Finds a process at its socket, whatever the port."""

    def initialize(self, sockets: Mapping[str, str]) -> None:
        """Take the paths."""
        self._sockets = sockets

    async def resolve(self, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:
        """Return the address of a process."""
        return [(socket.AF_UNIX, self._sockets[host])]
