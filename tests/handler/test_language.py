"""Whose language wins: the caller's, as far as we speak it, else the configured one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.contract.texts import Language
from skyeim_ws.handler.language import preferred

EN, ZH = Language.EN, Language.ZH


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("zh", ZH),
        ("ZH-Hans-CN", ZH),
        ("zh-CN,zh;q=0.9,en;q=0.8", ZH),
        ("en-US,en;q=0.9,zh;q=0.8", EN),
        ("de-CH, zh;q=0.5, en;q=0.7", EN),
        ("en;q=0.2, zh;q=0.3", ZH),
        ("zh ; q=1.0 , en", ZH),
        ("en;q=0, zh;q=0.1", ZH),
        ("zh;q=0", None),
        ("de,fr;q=0.5", None),
        ("*", None),
        ("", None),
        ("zhx", None),
        ("zh;q=nan", None),
        ("zh;q=2", None),
        ("zh;q=x", None),
        ("zh;level=1", None),
        ("de," * 100_000 + "zh", None),
    ],
)
def test_the_language_that_is_ranked_highest(header: str, expected: Language | None) -> None:
    for default in Language:
        assert preferred(header, default) is (expected or default)


@given(header=st.text(max_size=200))
def test_any_header_is_taken(header: str) -> None:
    assert preferred(header, EN) in Language
