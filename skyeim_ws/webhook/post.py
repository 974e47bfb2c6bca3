"""One signed POST to the push service, and what its answer means."""

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

from tornado.httpclient import HTTPRequest
from tornado.httputil import HTTPHeaders, parse_response_start_line
from tornado.simple_httpclient import SimpleAsyncHTTPClient

_AGAIN = {408, 425, 429}
_LONGEST_ANSWER = 64 * 1024
_LONGEST_PAUSE = 300.0
"""Seconds, of those that a service may ask for."""


class Verdict(Enum):
    """What becomes of the notices of a POST."""

    TAKEN = "taken"
    REFUSED = "refused"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a POST has come to; `why` is for the log, `pause` the seconds that were asked for."""

    verdict: Verdict
    why: str = ""
    pause: float = 0.0


def body(notices: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the JSON of notices, each an id and a JSON object."""
    named = (b'{"id":"%b",%b' % (name, notice[1:]) for name, notice in notices)
    return b'{"notices":[%b]}' % b",".join(named)


def signature(secret: str, timestamp: int, data: bytes) -> str:
    """Return the HMAC-SHA256, in hex, of the time stamp, a dot and the body."""
    return hmac.new(secret.encode(), b"%d.%b" % (timestamp, data), hashlib.sha256).hexdigest()


class Post:
    """Posts to one URL and checks its certificate; `timeout` in seconds is for the whole of it."""

    def __init__(self, url: str, secret: str, timeout: float) -> None:
        self._url = url
        self._secret = secret
        self._timeout = timeout
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_LONGEST_ANSWER)

    def close(self) -> None:
        """Close what is open."""
        self._http.close()

    async def __call__(self, notices: Sequence[tuple[bytes, bytes]]) -> Answer:
        """Post notices; never raises for what the other side or the network does."""
        data, now = body(notices), int(time.time())
        head: list[str] = []
        why = ""
        request = HTTPRequest(
            self._url,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "X-Skyeim-Timestamp": str(now),
                "X-Skyeim-Signature": f"v1={signature(self._secret, now, data)}",
            },
            body=data,
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            follow_redirects=False,
            header_callback=head.append,
        )
        try:
            await self._http.fetch(request, raise_error=False)
        except Exception as error:  # a resolver, a socket, TLS, or what is no HTTP
            why = type(error).__name__
        # A body that is too long, too slow or cut off changes nothing of what was said before it.
        return read(head) or Answer(Verdict.LATER, why)


def read(head: Sequence[str]) -> Answer | None:
    """Return what the lines before a body say; None if there are none of a final answer."""
    starts = [number for number, line in enumerate(head) if line.startswith("HTTP/")]
    if not starts:
        return None
    first, *lines = head[starts[-1] :]
    status = parse_response_start_line(first.strip()).code
    if status < 200:
        return None
    if status < 300:
        return Answer(Verdict.TAKEN)
    if status < 500 and status not in _AGAIN:
        return Answer(Verdict.REFUSED, f"HTTP {status}")
    headers = HTTPHeaders.parse("".join(lines))
    return Answer(Verdict.LATER, f"HTTP {status}", asked(headers.get("Retry-After")))


def asked(retry_after: str | None) -> float:
    """Return the seconds of a `Retry-After`, a number or a date; 0 if there is none to read."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after) if retry_after.isdecimal() else _until(retry_after)
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_PAUSE)


def _until(date: str) -> float:
    return parsedate_to_datetime(date).timestamp() - time.time()
