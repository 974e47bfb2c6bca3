"""How a Redis is named: from the configuration to the services, and what is no address."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyeim_ws.config.redis import RedisConf, SentinelConf
from skyeim_ws.contract.redis_address import RedisAddress, host_and_port

LOGIN: dict[str, Any] = {"user": "u", "password": "p@ss:w/rd?#,"}


@pytest.mark.parametrize(
    ("conf", "address"),
    [
        (RedisConf(host="/run/s"), RedisAddress(hosts=("/run/s",))),
        (
            RedisConf(host="r:1", **LOGIN, tls=True),
            RedisAddress(hosts=("r:1",), **LOGIN, tls=True),
        ),
        (
            RedisConf(host="10.0.0.1:1, 10.0.0.2", type="cluster", **LOGIN),
            RedisAddress(hosts=("10.0.0.1:1", "10.0.0.2"), kind="cluster", **LOGIN),
        ),
        (
            RedisConf(
                sentinel=SentinelConf(hosts=("s1:1", "s2"), master="main", password="asked"),
                **LOGIN,
            ),
            RedisAddress(
                hosts=("s1:1", "s2"),
                kind="sentinel",
                master="main",
                sentinel_password="asked",
                **LOGIN,
            ),
        ),
    ],
)
def test_the_configuration_says_which_redis_it_is(conf: RedisConf, address: RedisAddress) -> None:
    assert conf.address == address


@given(
    st.builds(
        RedisAddress,
        hosts=st.lists(st.text()).map(tuple),
        kind=st.sampled_from(["node", "cluster", "sentinel"]),
        user=st.text(),
        password=st.text(),
        tls=st.booleans(),
        master=st.text(),
        sentinel_password=st.text(),
    )
)
def test_another_program_is_told_the_same(address: RedisAddress) -> None:
    assert RedisAddress.decode(address.encode()) == address


@pytest.mark.parametrize("text", ["", "redis://r:1", '{"hosts": [1]}', '{"kind": "node"}'])
def test_what_is_no_address_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|truncated|Expected|missing"):
        RedisAddress.decode(text)


def test_no_password_is_shown() -> None:
    shown = repr(RedisAddress(hosts=("r:1",), password="one-1", sentinel_password="two-2"))
    assert "one-1" not in shown
    assert "two-2" not in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:6380", ("localhost", 6380)),
        ("redis", ("redis", 6379)),
        ("[::1]:7000", ("::1", 7000)),
        ("10.0.0.1:0", ("10.0.0.1", 0)),
    ],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert host_and_port(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a:b", "a:1,b:2", "a:1;b:2", "u:p@h:1", "h:1/0", "h:99999", "/run/redis.sock"]
)
def test_what_is_no_address_of_a_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Redis address"):
        host_and_port(text)
