"""Access tokens: what is accepted, what is refused and why."""

import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.handler.tokens import MAX_USER_ID, REFRESH, Identity, TokenError, issue, verify

SECRET = "a-secret-of-more-than-thirty-two-bytes"


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    """Return a token as another program would sign it."""
    claims = {"userId": 1001, "exp": int(time.time()) + 86_400} | claims
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm)


def test_an_issued_token_names_its_user() -> None:
    now = time.time()
    token = issue(SECRET, 1001, "ann", ttl=60, now=now)
    assert verify(token, [SECRET]) == Identity(1001, int(now) + 60)


@given(st.integers(1, MAX_USER_ID), st.booleans())
def test_any_user_id_is_taken_as_number_or_decimal_string(user_id: int, as_text: bool) -> None:
    token = signed(userId=str(user_id) if as_text else user_id)
    assert verify(token, [SECRET]).user_id == user_id


def test_a_token_of_the_auth_service_is_accepted() -> None:
    """Other claims are not looked at, whatever they hold."""
    token = signed(iss="im-auth", sub=7, aud="web", jti=1, tokenType=0, username="ann")
    assert verify(token, [SECRET]).user_id == 1001


def test_the_previous_secret_is_accepted_and_an_empty_one_never() -> None:
    token = issue("the-old-secret-of-more-than-32-bytes", 1, ttl=60)
    assert verify(token, [SECRET, "the-old-secret-of-more-than-32-bytes"]).user_id == 1
    with pytest.raises(TokenError, match="wrong signature"):
        verify(jwt.encode({"userId": 1, "exp": 2**40}, b"\0" * 32, "HS256"), ["", SECRET])
    with pytest.raises(TokenError, match="wrong signature"):
        verify(token, [])


def test_a_short_secret_signs_as_everywhere_and_warns_nobody() -> None:
    token = issue("short", 1001, ttl=60)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        assert jwt.decode(token, "short", ["HS256"])["userId"] == 1001
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        other = signed("short")
    assert verify(other, ["short"]).user_id == 1001


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "missing"),
        ("x" * 5000, "too long"),
        ("no-token", "malformed"),
        ("a.b.c", "malformed"),
        ("\ud800.b.c", "malformed"),
        (signed(exp=None), "malformed"),
        (signed(exp="soon"), "malformed"),
        (signed(exp=int(time.time()) - 1), "has expired"),
        (signed(nbf=int(time.time()) + 86_400), "not valid yet"),
        (signed(iat=int(time.time()) + 86_400), "not valid yet"),
        (signed("another-secret-of-more-than-32-bytes"), "wrong signature"),
        (signed("x" * 64, algorithm="HS512"), "malformed"),
        (signed("", algorithm="none"), "malformed"),
        (issue(SECRET, 1, ttl=3600, token_type=REFRESH), "not an access token"),
        (signed(tokenType="0"), "not an access token"),
        (signed(tokenType=False), "not an access token"),
        (signed(userId=None), "no valid user"),
        (signed(userId=0), "no valid user"),
        (signed(userId=-1), "no valid user"),
        (signed(userId=True), "no valid user"),
        (signed(userId=1.0), "no valid user"),
        (signed(userId=MAX_USER_ID + 1), "no valid user"),
        (signed(userId="+1"), "no valid user"),
        (signed(userId="\u0661"), "no valid user"),
        (signed(userId=""), "no valid user"),
    ],
    # Tokens differ from one collection to the next, and with them the names that pytest makes.
    ids=[f"case{number}" for number in range(25)],
)
def test_what_is_refused_says_why(token: str, reason: str) -> None:
    with pytest.raises(TokenError, match=reason):
        verify(token, [SECRET])


@given(st.text(max_size=200))
def test_no_text_at_all_raises_anything_but_token_error(text: str) -> None:
    with pytest.raises(TokenError):
        verify(text, [SECRET])


def test_whatever_the_name_is_it_does_not_matter() -> None:
    assert verify(signed(username=7), [SECRET]).user_id == 1001
