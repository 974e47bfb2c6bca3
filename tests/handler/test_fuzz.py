"""Tokens, and what else a header says, whoever wrote it: an answer, and never a fault of ours."""

import base64
import hashlib
import hmac
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from skyeim_ws.handler.remote import TrustedProxies
from skyeim_ws.handler.tokens import MAX_TIME, MAX_USER_ID, Identity, TokenError, lifetime, verify
from skyeim_ws.handler.upgrade import refusal
from skyeim_ws.logic.ports import Refused
from tests.long import examples

SECRET = "a secret that has more than 32 bytes in it"

fuzzed = settings(max_examples=examples(300))

texts = st.text(max_size=20) | st.sampled_from(["\0", "1001", "9" * 400, "HS256", "none", "JWT"])
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 2**63, 2**53, 1e308])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
later = st.just(4_000_000_000)
good = {"userId": 1001, "tokenType": 0, "exp": 4_000_000_000}
claims = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["userId", "tokenType", "exp", "nbf", "iat"], values | later),
        **dict.fromkeys(["username", "iss", "aud", "sub", "jti", "other"], values),
    },
)
heads = st.fixed_dictionaries(
    {"alg": st.just("HS256") | texts},
    optional=dict.fromkeys(("typ", "kid", "crit", "b64", "cty", "jwk", "x5u"), values),
)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(head: str, body: str) -> str:
    """Sign the two parts as they are, with the right secret."""
    said = f"{head}.{body}"
    return f"{said}.{encoded(hmac.digest(SECRET.encode(), said.encode(), hashlib.sha256))}"


@st.composite
def near_tokens(draw: st.DrawFn) -> str:
    """Draw a token that is signed, of which anything may be wrong."""
    said: dict[str, Any] = good | draw(claims)
    for name in draw(st.sets(st.sampled_from(sorted(good)), max_size=1)):
        del said[name]
    body = draw(st.just(json.dumps(said).encode()) | values.map(json.dumps).map(str.encode))
    head = json.dumps(draw(heads)).encode()
    parts = [encoded(draw(st.just(head) | st.binary(max_size=20))), encoded(body)]
    if draw(st.integers(0, 9)) == 0:
        parts[draw(st.integers(0, 1))] = draw(st.text(max_size=20))
    return signed(*parts) if draw(st.integers(0, 9)) else ".".join(parts)


def check(token: str) -> Identity | None:
    try:
        identity = verify(token, ["", SECRET])
    except TokenError:
        return None
    assert 0 < identity.user_id <= MAX_USER_ID
    assert 0 < identity.expires_at <= MAX_TIME
    return identity


@fuzzed
@given(near_tokens())
@example(signed(encoded(b'{"alg":"HS256"}'), encoded(b'{"userId":1,"exp":' + b"9" * 400 + b"}")))
@example(signed(encoded(b'{"alg":"HS256"}'), encoded(b'{"userId":1,"exp":Infinity}')))
@example(signed(encoded(b'{"alg":"HS256"}'), encoded(b'{"userId":1,"exp":4e9,"iat":[]}')))
@example(signed(encoded(b'{"alg":"HS256"}'), encoded(b"[" * 2_000)))
@example(signed(encoded(b'{"alg":"HS256"}'), encoded(b'{"a":' * 500)))
def test_a_token_names_a_user_or_is_refused(token: str) -> None:
    try:
        token.encode()
    except UnicodeEncodeError:
        return  # no request can say this
    check(token)


@fuzzed
@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda data: data.decode("latin-1")))
def test_no_other_text_is_a_token(text: str) -> None:
    assert check(text) is None


@fuzzed
@given(near_tokens())
def test_a_lifetime_is_a_user_and_seconds_or_a_refusal(token: str) -> None:
    try:
        user_id, _ = lifetime(token, [SECRET])
    except Refused:
        return
    assert user_id > 0


lines = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60)


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(["X-Forwarded-For", "X-Real-IP"]), lines), max_size=3))
def test_the_address_of_a_client_is_one(forwarded: list[tuple[str, str]]) -> None:
    headers = HTTPHeaders()
    for name, value in forwarded:
        headers[name] = value
    address = TrustedProxies(["10.0.0.0/8"]).client_address("10.0.0.1", headers)
    assert address == address.strip()
    assert set(address) <= set("0123456789abcdef.:%")


@fuzzed
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "Upgrade",
                "Connection",
                "Sec-WebSocket-Version",
                "Sec-WebSocket-Key",
                "Content-Length",
            ]
        ),
        lines | st.sampled_from(["websocket", "upgrade", "13", "AAAAAAAAAAAAAAAAAAAAAA==", "0"]),
    ),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.2"]),
)
def test_a_request_is_an_upgrade_or_refused(headers: dict[str, str], version: str) -> None:
    start = RequestStartLine("GET", "/ws", version)
    refused = refusal(
        HTTPServerRequest(start_line=start, headers=HTTPHeaders(headers | {"Host": "x"}))
    )
    assert refused is None or refused.status in (400, 426, 505)
