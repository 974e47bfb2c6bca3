"""The chat page: its files, served from memory, and the users of a demo."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from skyeim_ws.contract.names import DEMO_NAMES
from skyeim_ws.contract.texts import Text
from skyeim_ws.handler.answers import answer
from skyeim_ws.handler.base import JsonHandler
from skyeim_ws.handler.tokens import issue

ROOT = Path(__file__).parent.parent / "web"
TOKEN_SECONDS = 3600.0

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}

_HEADERS = {
    # Nothing but what this gateway serves; no text of a user can become markup or code.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for anew each time, answered by 304 (Tornado sets the ETag): an update is seen at once.
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page, as it goes out."""

    body: bytes
    type: str


def page_files() -> dict[str, File]:
    """Read the page, its client and the documents of the wire; returns path -> file.

    "" is the page.
    """
    found = [*ROOT.glob("*.*"), *ROOT.glob("skyeim/*.js")]
    files = {
        str(path.relative_to(ROOT)): File(path.read_bytes(), _TYPES[path.suffix]) for path in found
    }
    files[""] = files.pop("index.html")
    return files


class PageHandler(JsonHandler):
    """`GET /` and `GET /web/...`: the page and what it loads."""

    def initialize(self, files: Mapping[str, File]) -> None:
        """Take the files."""
        self._files = files

    def get(self, path: str = "") -> None:
        """Answer with a file."""
        file = self._files.get(path)
        if file is None or (not path and self.request.path != "/"):
            self.fail(HTTPStatus.NOT_FOUND, 404, Text.NOTHING_HERE())
            return
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Type", file.type)
        self.write(file.body)

    def head(self, path: str = "") -> None:
        """Answer as `get` does; Tornado leaves the body out."""
        self.get(path)


class DemoHandler(JsonHandler):
    """`GET /demo/users`: who one may be in a demo, with a token for each."""

    def initialize(self, secret: str) -> None:
        """Take the secret that signs the tokens."""
        self._secret = secret

    def get(self) -> None:
        """Answer."""
        found = [
            {
                "userId": user_id,
                "name": name,
                "token": issue(self._secret, user_id, name, ttl=TOKEN_SECONDS),
            }
            for user_id, name in DEMO_NAMES.items()
        ]
        answer(self, HTTPStatus.OK, {"code": 200, "message": "success", "data": {"list": found}})
