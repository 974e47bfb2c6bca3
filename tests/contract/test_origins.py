"""Origins are compared by their parts, never as texts that look alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.contract.origins import Origin, OriginList, parse_origin


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("https://chat.example.com", Origin("https", "chat.example.com", 443)),
        ("HTTPS://Chat.Example.COM:443", Origin("https", "chat.example.com", 443)),
        ("http://localhost:8080", Origin("http", "localhost", 8080)),
        ("http://[::1]:8080", Origin("http", "[::1]", 8080)),
        ("http://[0:0:0:0:0:0:0:1]", Origin("http", "[::1]", 80)),
        ("http://10.0.0.1", Origin("http", "10.0.0.1", 80)),
        ("capacitor://localhost", Origin("capacitor", "localhost", 0)),
        ("file://", Origin("file", "", 0)),
        *(
            (text, None)
            for text in (
                *("", "null", "example.com", "https://", "https://:443", "https://a:b", "*"),
                *("https://a:99999", "https://a/", "https://a?b", "https://u@a", "https://a b"),
                *("http://[::1", "http://[::1]x", "http://[1]", "https://a..b", "https://.a"),
                *("https://a,https://b", "https://a\n", "https://ä.example", "https://[v1.x]"),
                "https://*.example.com",
            )
        ),
    ],
)
def test_an_origin_is_scheme_host_and_port_or_none(text: str, parsed: Origin | None) -> None:
    assert parse_origin(text) == parsed


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        (
            "https://chat.example.com",
            ["https://chat.example.com", "https://CHAT.example.com:443"],
            [
                *("http://chat.example.com", "https://chat.example.com:8443"),
                *("https://a.chat.example.com", "https://chat.example.com.evil.example"),
            ],
        ),
        (
            "https://*.example.com",
            ["https://a.example.com", "https://a.b.example.com"],
            [
                *("https://example.com", "https://evilexample.com", "https://a.example.com:8443"),
                "https://a.example.com.evil.example",
            ],
        ),
        ("https://*.example.com:8443", ["https://a.example.com:8443"], ["https://a.example.com"]),
        ("http://[::1]:8080", ["http://[::1]:8080", "http://[0::1]:8080"], ["http://[::2]:8080"]),
        # Nothing in a pattern is a wildcard but the leading one.
        ("https://chat-1.example.com", ["https://chat-1.example.com"], ["https://chat-2.a"]),
    ],
)
def test_a_pattern_allows_these_and_not_those(
    pattern: str, taken: list[str], refused: list[str]
) -> None:
    allowed = OriginList([pattern])

    def is_allowed(text: str) -> bool:
        origin = parse_origin(text)
        return origin is not None and origin in allowed

    assert [text for text in taken if not is_allowed(text)] == []
    assert [text for text in refused if is_allowed(text)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "https://*", "https://*.", "*.example.com", "https://a.*.com", "https://[*]"),
        *("https://*.*.example.com", "https://*example.com", "https://*.[::1]", "null"),
        "https://[a-z].com",
    ],
)
def test_what_is_no_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no origin") as raised:
        OriginList(["https://good.example", pattern])
    assert pattern in str(raised.value)


@given(st.text(max_size=40) | st.from_regex(r"https?://[a-z.:\[\]*0-9]{0,30}", fullmatch=True))
def test_any_text_is_an_origin_or_none(text: str) -> None:
    origin = parse_origin(text)
    if origin is not None:
        assert (origin in OriginList([text])) is True
