"""Brings a push to a gateway, over HTTP or TLS."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

PUSH_DEADLINE = 2.0

FAULTS = 10
"""Answers 500 in a row after which a push is left out: else it would hold up all others."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"

log = structlog.get_logger()


class TryLaterError(Exception):
    """A target did not do its part now and may do so later."""


class Pusher:
    """Pushes to the gateway at a URL.

    `cert_file` has the certificate of a gateway that speaks TLS: it is known by that alone, since
    no certificate names 127.0.0.1.
    """

    def __init__(self, url: str, secret: str | None, cert_file: str | None) -> None:
        self._http = SimpleAsyncHTTPClient(force_instance=True)
        self._url = url.rstrip("/") + "/api/push"
        self._cert_file = cert_file
        self._faults = 0
        self._headers = {"Content-Type": "application/json"}
        if secret:
            self._headers["X-Skyeim-Push-Secret"] = secret

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    async def push(self, body: Mapping[str, object]) -> None:
        """Bring a push, unless the gateway refuses it for good. Raises TryLaterError."""
        try:
            request = HTTPRequest(
                self._url,
                method="POST",
                headers=self._headers,
                body=msgspec.json.encode(body),
                connect_timeout=PUSH_DEADLINE,
                request_timeout=PUSH_DEADLINE,
                follow_redirects=False,
                # Read anew each time: a renewed certificate is known at once.
                ssl_options=pinned(self._cert_file) if self._cert_file else None,
            )
            await self._http.fetch(request)
        except HTTPClientError as error:
            self._faults = self._faults + 1 if error.code == 500 else 0
            # 599 is Tornado's code for no answer at all.
            if (error.code >= 500 and self._faults < FAULTS) or error.code in (408, 429):
                raise TryLaterError(f"push: HTTP {error.code}") from error
            log.error("push_refused", status=error.code, push=kind(body))
        except OSError as error:  # such as ssl.SSLError
            raise TryLaterError(f"push: {type(error).__name__}") from error
        self._faults = 0


def pinned(cert_file: str) -> ssl.SSLContext:
    """Return what trusts the first certificate of a file and no other, whatever it names.

    Raises OSError, also if the file has no certificate.
    """
    text = Path(cert_file).read_text("ascii", "replace")
    first = text[max(text.find(_BEGIN), 0) :].partition(_END)[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=f"{first}{_END}\n")
    return context


def kind(body: Mapping[str, object]) -> object:
    """Return what the log may show of a push."""
    return body.get("eventType") or body.get("notificationType")
