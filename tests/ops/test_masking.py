"""No secret in a log, however it is written; and no text that takes long to look through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.ops.masking import masked, masked_field

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOjF9.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "text",
    [
        f"GET /ws?token={TOKEN}&device=1",
        "GET /ws?token=hush",
        "GET /ws?token=\x1fhush",
        "GET /ws?token=a\x00hush",
        "access_token: hush",
        "{'push_secret': 'hush'}",
        'AccessSecret: "hush"',
        "Bearer hush",
        "bEARER\thush",
        "bearer\x00hush",
        "bearer, hush",
        "Sec-WebSocket-Protocol: bearer,hush",
        "Authorization: Basic hush",
        "AUTHORIZATION:hush",
        "proxy-authorization : Digest a=b, c=hush",
        "('Authorization', 'Basic hush')",
        "Cookie: a=b; c=hush",
        "set-cookie=hush",
        "X-Skyeim-Push-Secret: hush and hush",
        "x_skyeim_push_secret: hush",
        "redis://user:hush@localhost:6379",
        f"x{TOKEN}",
        f"\x7f{TOKEN}",
        TOKEN.replace(".", "%2E"),
        TOKEN.rsplit(".", 1)[0],
    ],
)
def test_a_secret_is_masked_in_any_text(text: str) -> None:
    shown = masked(text)
    assert "hush" not in shown
    assert "eyJ" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/ws?token={TOKEN}&device=1", "/ws?token=***&device=1"),
        ("the token has expired", "the token has expired"),
        ("a secret of 32 bytes", "a secret of 32 bytes"),
        ("http://localhost:8080/a", "http://localhost:8080/a"),
        ("eyJust a word", "eyJust a word"),
        ("Authorization: a\nHost: b", "Authorization:***\nHost: b"),
    ],
)
def test_what_is_no_secret_stays(text: str, shown: str) -> None:
    assert masked(text, multiline=True) == shown


@pytest.mark.parametrize("name", ["access_token", "Authorization", "pass", b"Cookie", "PASSWORD"])
def test_a_field_is_secret_by_its_name(name: object) -> None:
    assert masked_field(name, "hush") == "***"
    assert masked({"headers": {name: "hush"}}) == {"headers": {name: "***"}}


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "eyJ",
            "eyJ-",
            "eyJa.",
            "token",
            "token=",
            "token =",
            "bearer",
            "bearer ",
            "://",
            "://a:",
        ),
        *("authorization", "cookie ", "push-secret:", "'", " ", "\t", "=", "a", ".", "%2e", "\x00"),
        *("secret\ufffd", "passw", "://:", "token'", "eyJhbGci.e30.x "),
    ],
)
def test_a_megabyte_of_anything_is_looked_through(piece: str) -> None:
    """A pattern whose time grows with the square would need hours, and the test would not end."""
    for text in (piece * (1_000_000 // len(piece)), "eyJ" + piece * (1_000_000 // len(piece))):
        masked(text)


pieces = st.sampled_from(
    ["token", "=", ":", " ", "'", "bearer", "authorization", "eyJ", ".", "://", "@", "\x00", "\n"]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_is_shown_without_control_characters(text: str) -> None:
    shown = masked(text)
    assert all(ord(character) >= 0x20 and not 0x7F <= ord(character) < 0xA0 for character in shown)
    shown.encode()


@given(
    st.sampled_from(["token=", "Authorization: ", "bearer ", "Cookie: a=b; ", "password: "]),
    st.sampled_from(["", "\x00", "\x1f", "\t", "'"]),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=8, max_size=40),
)
def test_a_secret_behind_its_name_never_shows(before: str, between: str, secret: str) -> None:
    assert f"{secret}" not in masked(f"x {before}{between}{secret}")
