"""Access tokens: JSON Web Tokens signed with HS256, made for the CLI, checked at the handshake."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from skyeim_ws.contract.codes import Reason
from skyeim_ws.contract.texts import Phrase, Text
from skyeim_ws.handler.numbers import MAX_INT64, parse_number
from skyeim_ws.logic.ports import Refused

ALGORITHM = "HS256"
ACCESS, REFRESH = 0, 1
MAX_USER_ID = MAX_INT64
MAX_TIME = 2**53
"""Unix seconds that are exact also as a float; far beyond any year that means something."""

MAX_TOKEN_CHARACTERS = 4096

_OPTIONS: Any = {
    "require": ["exp"],
    **dict.fromkeys(["verify_exp", "verify_nbf", "verify_iat"], True),
    **dict.fromkeys(["verify_iss", "verify_aud", "verify_sub", "verify_jti"], False),
}


class TokenError(Exception):
    """A token that is not accepted; the phrase is safe to show to its bearer."""

    def __init__(self, phrase: Phrase) -> None:
        super().__init__(str(phrase))
        self.phrase = phrase


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token names, and until when, in Unix seconds."""

    user_id: int
    expires_at: int


def issue(
    secret: str,
    user_id: int,
    username: str = "",
    *,
    ttl: float,
    token_type: int = ACCESS,
    now: float | None = None,
) -> str:
    """Return a token that lives for `ttl` seconds from `now` (Unix seconds, default the clock)."""
    issued_at = int(time.time() if now is None else now)
    claims = {
        "userId": user_id,
        "username": username,
        "tokenType": token_type,
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + int(ttl),
        "iss": "skyeim-ws",
    }
    return jwt.encode(claims, _key(secret), algorithm=ALGORITHM)


def verify(token: str, secrets: Sequence[str]) -> Identity:
    """Return whom the token names, if one of the secrets has signed it; empty ones are skipped.

    Raises TokenError.
    """
    if not token:
        raise TokenError(Text.TOKEN_MISSING())
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenError(Text.TOKEN_TOO_LONG())
    claims = _claims(token, secrets)
    token_type = claims.get("tokenType", ACCESS)
    if type(token_type) is not int or token_type != ACCESS:
        raise TokenError(Text.TOKEN_NOT_ACCESS())
    return Identity(_user_id(claims.get("userId")), _expiry(claims["exp"]))


def lifetime(token: str, secrets: Sequence[str]) -> tuple[int, int]:
    """Return the user of a token, and when it expires in Unix seconds; raises Refused."""
    try:
        identity = verify(token, secrets)
    except TokenError as error:
        raise Refused(Reason.INVALID, error.phrase) from None
    return identity.user_id, identity.expires_at


def _claims(token: str, secrets: Sequence[str]) -> Mapping[str, Any]:
    for secret in filter(None, secrets):
        try:
            return jwt.decode(token, _key(secret), algorithms=[ALGORITHM], options=_OPTIONS)
        except jwt.InvalidSignatureError:
            continue
        except jwt.ExpiredSignatureError:
            raise TokenError(Text.TOKEN_EXPIRED()) from None
        except jwt.ImmatureSignatureError:
            raise TokenError(Text.TOKEN_NOT_YET_VALID()) from None
        except Exception:
            # Beside its own errors PyJWT lets those of what it calls through on hostile input: a
            # claim that is infinite, a number of a thousand digits, a list where a name should be.
            raise TokenError(Text.TOKEN_MALFORMED()) from None
    raise TokenError(Text.TOKEN_WRONG_SIGNATURE())


def _user_id(claim: object) -> int:
    if isinstance(claim, str):
        claim = parse_number(claim, 1)
    if type(claim) is not int or not 0 < claim <= MAX_USER_ID:
        raise TokenError(Text.TOKEN_NO_USER())
    return claim


def _expiry(claim: object) -> int:
    if isinstance(claim, str):
        claim = parse_number(claim, 1)
    if type(claim) not in (int, float) or not 0 < claim <= MAX_TIME:  # type: ignore[operator]
        raise TokenError(Text.TOKEN_MALFORMED())
    return int(claim)  # type: ignore[call-overload, no-any-return]


def _key(secret: str) -> bytes:
    # HMAC itself pads a short key with zero bytes (RFC 2104), so this signs as the bare secret
    # does; it keeps PyJWT from warning about the length at each call. `config.warnings` does once.
    return secret.encode().ljust(32, b"\0")
