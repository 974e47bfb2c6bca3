"""The calls over HTTP: history, search, friends, groups; and the token that all of them show."""

import asyncio
import http.client
import inspect
import json
import re
import ssl as tls
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from skyeim_ws.client.events import Message
from skyeim_ws.client.rules import UNAUTHORIZED, SkyeError, refusal
from skyeim_ws.client.shapes import is_whole

CALL_DEADLINE = 10.0
TOKEN_DEADLINE = 15.0

PAGE = 200
"""Messages of a sync."""

ROWS = 100
"""Friends, groups and members: servers give no more at a time."""

_TOKEN = re.compile("[!-~]+")
"""What may stand in a header."""

TokenSource = str | Callable[[bool], str | Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, and whether there are more behind them."""

    messages: list[Message]
    has_more: bool


class Api:
    """The calls over HTTP; each raises SkyeError when it fails, in 10 s at the latest."""

    def __init__(self, url: str, token: TokenSource, ssl: tls.SSLContext | None = None) -> None:
        self.base = _base(url)
        self._source = token
        self._token = ""
        self._ssl = ssl

    async def token(self, fresh: bool = False) -> str:
        """Return the token, from its source if there is none or a fresh one is wanted."""
        if isinstance(self._source, str):
            return self._source
        if fresh or not self._token:
            try:
                async with asyncio.timeout(TOKEN_DEADLINE):
                    given = self._source(fresh)
                    token = await given if inspect.isawaitable(given) else given
            except TimeoutError:
                raise SkyeError("timeout", "no token came") from None
            if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                raise SkyeError("no_token", "what came is no token")
            self._token = token
        return self._token

    async def history(
        self,
        *,
        peer_id: int | None = None,
        group_id: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page:
        """Return messages of a conversation, newest first, with a smaller id than `before`."""
        query = {"peerId": peer_id, "groupId": group_id, "lastMsgId": before, "limit": limit}
        path = "message/history" if group_id is None else "message/group/history"
        return _page(await self.get(path, **query))

    async def sync(self, group_id: str, seq: int) -> Page:
        """Return messages of a group with a larger seq, ascending, at most 200."""
        return _page(await self.get("message/group/sync", groupId=group_id, seq=seq, limit=PAGE))

    async def search(self, keyword: str) -> list[Message]:
        """Return the user's messages that have a keyword, newest first."""
        return _page(await self.get("message/search", keyword=keyword)).messages

    async def mentions(self, group_id: str | None = None, before: int | None = None) -> Page:
        """Return messages that mention the user, newest first."""
        return _page(await self.get("message/at-me", groupId=group_id, lastMsgId=before))

    async def conversations(self, before: int | None = None) -> list[dict[str, Any]]:
        """Return the newest conversations, as `GET /message/conversations` lists them."""
        return _rows(await self.get("message/conversations", before=before))

    async def unread_count(self, peer_id: int | None = None) -> int:
        """Return how many private messages are unread, of a peer or of all."""
        found = await self.get("message/unread/count", peerId=peer_id)
        with _no_answer():
            return int(found["count"])

    async def friends(self) -> list[dict[str, Any]]:
        """Return all friends, as `GET /friend/list` lists them."""
        return await self._all("friend/list")

    async def groups(self) -> list[dict[str, Any]]:
        """Return all groups of the user, as `GET /group/list` lists them."""
        return await self._all("group/list")

    async def members(self, group_id: str) -> list[dict[str, Any]]:
        """Return all members of a group, as `GET /group/member/list` lists them."""
        return await self._all("group/member/list", groupId=group_id)

    async def _all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            page = len(found) // ROWS + 1
            answer = await self.get(path, page=page, pageSize=ROWS, **query)
            rows = _rows(answer)
            found += rows
            if len(rows) < ROWS or len(found) >= answer.get("total", 0):
                return found

    async def get(self, path: str, **query: Any) -> Any:
        """Call a path of the gateway; return `data` of the answer. None is left out of the query.

        Where the token is refused, a fresh one is tried.
        """
        try:
            return await self._call(path, query, await self.token())
        except SkyeError as error:
            if error.code != UNAUTHORIZED or isinstance(self._source, str):
                raise
        return await self._call(path, query, await self.token(fresh=True))

    async def _call(self, path: str, query: dict[str, Any], token: str) -> Any:
        named = urlencode({name: value for name, value in query.items() if value is not None})
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked in `_base`
            f"{self.base}/{path}?{named}"
        )
        # Not to be shown to wherever a redirect leads.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
        try:
            async with asyncio.timeout(CALL_DEADLINE):
                status, body = await asyncio.to_thread(_exchange, request, self._ssl)
            answer = json.loads(body)
            if status == 200 and answer["code"] == 200:
                return answer["data"]
            code, message = int(answer["code"]), str(answer["message"])
        except (OSError, http.client.HTTPException) as error:
            raise SkyeError("unreachable", "the server cannot be reached") from error
        except (ValueError, LookupError, TypeError) as error:
            raise SkyeError("unreachable", "the server answers what is no JSON") from error
        raise refusal(status, code, message)


def _exchange(request: urllib.request.Request, ssl: tls.SSLContext | None) -> tuple[int, bytes]:
    """Make a call, in a thread; its time-out is that of the call, so no thread stays behind."""
    try:
        with urllib.request.urlopen(  # noqa: S310 - the scheme is checked in `_base`
            request, timeout=CALL_DEADLINE, context=ssl
        ) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _page(data: dict[str, Any]) -> Page:
    rows = _rows(data)
    with _no_answer():
        if not all(is_whole("group_chat" if each["groupId"] else "chat", each) for each in rows):
            raise TypeError
        return Page([Message.of(each) for each in rows], bool(data.get("hasMore")))


def _rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    with _no_answer():
        rows: list[dict[str, Any]] = data["list"]
        return [*rows]


@contextmanager
def _no_answer() -> Iterator[None]:
    """Turn what is missing in an answer into a SkyeError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SkyeError("unreachable", "the server answers what is not of this protocol") from error


def _base(url: str) -> str:
    """Return the address of a gateway over HTTP, from any of the four schemes."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https", "http": "http", "https": "https"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError(f"a URL begins with ws://, wss://, http:// or https://, not {url!r}")
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/ws')}"
