"""Which pages of other origins may read an answer, and how browsers are told so."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from skyeim_ws.contract.origins import OriginList, parse_origin

_HEADERS = "Authorization, Content-Type"
_EXPOSED = "Retry-After"
_PREFLIGHT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """The pages of these origins; where none is listed, of any origin or of none.

    No answer allows credentials: what counts is the token, which no browser adds by itself.
    """

    origins: OriginList
    otherwise_any: bool = False

    @classmethod
    def of(cls, patterns: Sequence[str], *, otherwise_any: bool) -> "CrossOrigin":
        """Return what a configured list allows; raises ValueError for what is not an origin."""
        return cls(OriginList(patterns), otherwise_any)

    def allows(self, header: str | None) -> bool:
        """Whether a page may read the answer; the header is its Origin."""
        if header is None:
            return False
        origin = parse_origin(header)
        if not self.origins:
            return self.otherwise_any and (origin is not None or header == "null")
        return origin is not None and origin in self.origins

    def headers(self, header: str | None) -> Mapping[str, str]:
        """Return what an answer to a page says of it."""
        # A cache must not show one page the permission of another.
        told = {"Vary": "Origin"}
        if header is not None and self.allows(header):
            told["Access-Control-Allow-Origin"] = header
            told["Access-Control-Expose-Headers"] = _EXPOSED
        return told


def preflight(methods: Iterable[str]) -> Mapping[str, str]:
    """Return what the answer to an allowed preflight says beside that."""
    return {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": _HEADERS,
        "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
    }
